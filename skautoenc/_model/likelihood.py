"""Log-likelihoods of the cells of a table, each given the others of its row."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._data.columns import Table
from .model import Model
from .sampling import inputs_of_cells, logits_of_cells, softmax
from .table import TableSide


def cell_log_likelihoods(
    model: Model[TableSide], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the log probability of each cell, hidden from the network, in nats.

    Parameters
    ----------
    model : Model
        A model of a table that predicts distributions of all numbers.
    matrix : ndarray of shape (n_samples, n_inputs), float32
        Encoded rows.

    Returns
    -------
    ndarray of shape (n_samples, n_columns), float32
        In the order of the table's columns; NaN where nothing can be said.
    """
    here = model.where_the_network_is()
    table = here.side.table
    n_cells = table.layout.n_cells
    found = np.full((len(matrix), n_cells), np.nan, dtype=np.float32)
    bounds = pairwise(accumulate(logits_of_cells(table), initial=0))
    cells = zip(inputs_of_cells(table), bounds, strict=True)
    for cell, (places, (start, stop)) in enumerate(cells):
        known = np.flatnonzero(~np.isnan(matrix[:, places[0]]))
        if stop == start or not len(known):
            continue
        holed = matrix[known]
        holed[:, places] = np.nan
        logits = _logits(here, holed, slice(start, stop))
        values = matrix[known, places[0]]
        found[known, cell] = _log_shares(table, cell, values, logits)
    return found[:, table.places]


def _logits(
    model: Model[TableSide], matrix: NDArray[np.float32], chosen: slice
) -> NDArray[np.float32]:
    """Return some of the logits of rows, (n, width)."""
    network: Any = model.network

    def logits(batch: Tensor) -> Tensor:
        found: Tensor = network.logits(batch)[:, chosen]
        return found

    rows, width = model.side.new_rows(matrix), chosen.stop - chosen.start
    return model.blockwise.apply(f"logits {chosen.start}", logits, rows, width)


def _log_shares(
    table: Table,
    cell: int,
    values: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return log probabilities of encoded values, (n,), from logits, (n, width)."""
    column = table.in_order[cell]
    logs = np.log(np.maximum(softmax(logits), np.finfo(np.float64).tiny))
    rows = np.arange(len(values))
    if column.kind == "category":
        width = logits.shape[1]
        is_known = values < width
        codes = np.where(is_known, values, 0).astype(np.int64)
        # Rare and unknown categories have no logit: at best they are as unlikely as
        # the least likely category.
        return np.where(is_known, logs[rows, codes], logs.min(axis=1))
    edges = column.edges
    codes = np.searchsorted(edges, values, side="left")
    found: NDArray[np.float64] = logs[rows, codes] - _excess(column, edges, values)
    return found


def _excess(
    column: Any, edges: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return how far values are out of the range of `fit`, (n,), in scaled units.

    The density of an exponential distribution falls by a nat for each unit.
    """
    number = column if column.kind == "number" else column._time
    if number.lowest is None or number.highest is None:
        return np.zeros(len(values))
    ends = np.array([number.lowest, number.highest], dtype=np.float64)
    low, high = number.encode(ends)
    beyond = np.maximum(low - values, values - high)
    # Encoded values are rounded to float32.
    beyond[beyond <= 1e-5 * np.maximum(1, np.abs(values))] = 0.0
    found: NDArray[np.float64] = np.maximum(beyond, 0.0)
    return found
