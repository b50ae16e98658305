"""Predictions of hidden cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.rows import RowMap
from .._training.resources import one_thread
from .matrix import MatrixSide
from .model import Model
from .table import TableSide

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Guesses:
    """Costs of hidden cells, and the values that were expected in them.

    Guesses of several models with the same columns can be averaged.

    Parameters
    ----------
    costs : ndarray of shape (n_samples, n_hidden_costs), float32
        For numbers squared errors, for categories differences of log-likelihoods; NaN
        for missing values. See `cost_cells`.
    votes : ndarray of shape (n_samples, n_hidden_votes), float32
        Expected numbers in the units of the matrix, or outputs of a table's network.
    """

    costs: Floats
    votes: Floats


def vote_cells(side: MatrixSide | TableSide) -> NDArray[np.int64]:
    """Return the index of the cell that each vote is for, (n_votes,)."""
    cells = np.arange(side.width)
    if isinstance(side, MatrixSide):
        return cells
    layout = side.table.layout
    counts = [1] * layout.n_numbers + list(layout.n_levels)
    return np.repeat(cells, counts)


def cost_cells(side: MatrixSide | TableSide) -> NDArray[np.int64]:
    """Return the index of the cell that each cost is of, (n_costs,).

    All cells come first. If a table has distributions of its numbers, the numbers
    follow once more: how far their bins are from the likeliest ones.
    """
    cells = np.arange(side.width)
    if isinstance(side, TableSide) and side.table.layout.n_bins:
        return np.concatenate([cells, cells[: side.table.layout.n_numbers]])
    return cells


def guess(
    model: Model[Any],
    matrix: Any,
    hidden: NDArray[np.bool_],
    *,
    limit: float = math.inf,
    with_votes: bool = True,
) -> Guesses:
    """Predict some cells from the others.

    Parameters
    ----------
    model : Model
        The model.
    matrix : ndarray of shape (n_samples, n_columns)
        Rows; for a table, encoded ones.
    hidden : ndarray of shape (n_cells,), bool
        The cells to hide and to predict.
    limit : float, default=inf
        Numbers are clipped to this many standard deviations before the network, because
        networks extrapolate badly. Costs are computed with the original numbers.
    with_votes : bool, default=True
        Whether votes are needed. Otherwise they have a width of zero, to save time.
    """
    here = model.where_the_network_is()
    predict, n_costs, width = _predictor(here, hidden, limit, with_votes)
    # Hidden cells have no effect on rounding, so one test of blocks is enough.
    found = here.blockwise.apply("guess", predict, here.side.new_rows(matrix), width)
    costs, votes = found[:, :n_costs], found[:, n_costs:]
    side = model.side
    if with_votes and isinstance(side, MatrixSide):
        votes = votes * np.float32(side.scale) + side.mean[hidden].astype(np.float32)
    return Guesses(costs, votes)


def check_guess(model: Model[Any], hidden: NDArray[np.bool_]) -> None:
    """Predict cells of a single row, to detect parts that do not fit each other."""
    here = model.where_the_network_is()
    device = here.side.device
    predict, _, width = _predictor(here, hidden)
    row = torch.zeros(1, n_columns(here.side), dtype=torch.float32, device=device)
    with one_thread(device), torch.inference_mode():
        shape = tuple(predict(row).shape)
    if shape != (1, width):
        raise ValueError(f"Guesses of shape {shape} came out")


def n_columns(side: MatrixSide | TableSide) -> int:
    """Return the number of columns of the rows that a side accepts."""
    return len(side.table.layout.cells) if isinstance(side, TableSide) else side.width


def _predictor(
    model: Model[Any],
    hidden: NDArray[np.bool_],
    limit: float = math.inf,
    with_votes: bool = True,
) -> tuple[RowMap, int, int]:
    """Return a function that predicts hidden cells.

    Returns
    -------
    predict : callable
        Maps standardised rows to costs and votes, (n, width).
    n_costs : int
        Number of costs, which come first.
    width : int
        Number of costs and votes.
    """
    side, network = model.side, model.network
    cells = torch.tensor(np.flatnonzero(hidden), device=side.device)
    is_asked_for = hidden[cost_cells(side)]
    costs_of = torch.tensor(np.flatnonzero(is_asked_for), device=side.device)
    is_voted_on = hidden[vote_cells(side)] & with_votes
    votes_about = torch.tensor(np.flatnonzero(is_voted_on), device=side.device)

    def predict(batch: Tensor) -> Tensor:
        if isinstance(side, TableSide):
            costs, votes = _guess_table(side, network, batch, hidden, limit)
        else:
            costs, votes = _guess_matrix(side, network, batch, cells, limit)
        costs = costs.index_select(1, costs_of)  # (n, n_hidden_costs)
        if not with_votes:
            return costs
        return torch.cat([costs, votes.index_select(1, votes_about)], dim=1)

    return predict, len(costs_of), len(costs_of) + len(votes_about)


def _guess_matrix(
    side: MatrixSide, network: Any, batch: Tensor, cells: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """Return costs and votes, (n, n_features); hidden values are set to the mean."""
    source = batch.index_fill(1, cells, 0.0)
    if limit < math.inf:
        source = source.clamp(-limit, limit)
    output = network(side.prepare(source))
    expected = side.decoded(output)
    return (expected - batch).square(), expected


def _guess_table(
    side: TableSide,
    network: Any,
    batch: Tensor,
    hidden: NDArray[np.bool_],
    limit: float,
) -> tuple[Tensor, Tensor]:
    """Return costs, (n, n_costs), and votes, (n, n_votes)."""
    layout = side.table.layout
    inputs = np.flatnonzero(hidden[list(layout.cells)])
    source = batch.index_fill(1, torch.tensor(inputs, device=batch.device), torch.nan)
    source[:, : layout.n_numbers].clamp_(-limit, limit)
    output, logits = network.decode_all(network.encode(source)).tensor_split(
        [network.n_outputs], dim=1
    )
    costs, seen = side.evaluation.gaps(output, batch)
    if layout.n_bins:
        costs = torch.cat(
            [costs, side.bins.gaps(logits, batch[:, : layout.n_numbers])], 1
        )
        seen = torch.cat([seen, seen[:, : layout.n_numbers]], dim=1)
    return costs.masked_fill(seen == 0, torch.nan), output


def expected_values(side: MatrixSide | TableSide, votes: Floats) -> Any:
    """Convert votes to values: an array for a matrix, a list of columns for a table."""
    if isinstance(side, MatrixSide):
        return votes
    return side.restore(side.decoded(torch.from_numpy(votes)).numpy())
