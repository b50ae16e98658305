"""Cells of tables drawn one by one, each given those that are there already."""

from __future__ import annotations

from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.columns import Table
from .._training.resources import one_thread
from .model import Model
from .table import TableSide

Floats = NDArray[np.float64]

# Rows that are drawn at the same time: what is drawn depends on it.
_N_ROWS = 8192


def draw_cells(
    model: Model[TableSide],
    matrix: NDArray[np.float32],
    random_state: np.random.RandomState,
    *,
    for_new_rows: bool = False,
) -> list[NDArray[Any]]:
    """Draw what is missing of rows, cell by cell in random order.

    Parameters
    ----------
    model : Model
        A model of a table, that predicts distributions of all numbers.
    matrix : ndarray of shape (n_samples, n_inputs), float32
        Encoded rows; what is to be drawn is NaN. It is not changed.
    random_state : RandomState
        Source of the order and of the values.
    for_new_rows : bool, default=False
        Whether the rows are new. Cells are then drawn from `logits_of_new_rows` of the
        network instead of its calibrated distributions. Also, the draws are stratified:
        each column's uniform random numbers are one in each of n_samples equal
        intervals (Latin hypercube sampling). Each row has the same distribution as
        without, but the margins of all rows vary less. Multiple imputation needs draws
        that are independent instead.

    Returns
    -------
    list of ndarray of shape (n_samples,)
        Values of each column, in the order of the frame. Those of cells that are not
        NaN in `matrix` mean nothing.
    """
    table = model.side.table
    parts = [
        Draw(
            model,
            matrix[start : start + _N_ROWS],
            random_state,
            for_new_rows=for_new_rows,
        ).run()
        for start in range(0, max(1, len(matrix)), _N_ROWS)
    ]
    # (n_samples, n_cells)
    cells = np.concatenate(parts)[:, table.places]
    return [
        column.decode(values) if column.kind == "category" else column.restore(values)
        for column, values in zip(table.columns, cells.T, strict=True)
    ]


def can_draw(model: Model[TableSide]) -> bool:
    """Whether a model predicts the distributions of all cells."""
    layout = model.side.table.layout
    return bool(layout.n_bins) or all(
        column.is_empty for column in model.side.table.in_order[: layout.n_numbers]
    )


class Draw:
    """Rows whose missing cells are being drawn.

    Parameters
    ----------
    model, matrix, random_state, for_new_rows
        See `draw_cells`.

    Attributes
    ----------
    expected : ndarray of shape (n_logits,)
        Sum of the probabilities of each bin and category, over the cells drawn so far.
    """

    def __init__(
        self,
        model: Model[TableSide],
        matrix: NDArray[np.float32],
        random_state: np.random.RandomState,
        *,
        for_new_rows: bool,
    ) -> None:
        self.model = model.where_the_network_is()
        table = self.model.side.table
        self.for_new_rows = for_new_rows
        self.columns = table.in_order
        self.matrix = matrix.copy()
        self.inputs = inputs_of_cells(table)
        first = [places[0] for places in self.inputs]
        missing = np.isnan(matrix[:, first])
        self.widths = logits_of_cells(table)
        # Nothing can be drawn where nothing was learnt.
        missing[:, np.array(self.widths) == 0] = False
        shape = missing.shape
        order = np.where(missing, random_state.random_sample(shape), np.inf)
        self.order = order.argsort(axis=1)
        self.n_missing = missing.sum(axis=1)
        draw = _stratified if for_new_rows else np.random.RandomState.random_sample
        self.uniform = draw(random_state, (*shape, 2))
        self.values = np.zeros(shape)
        self.expected = np.zeros(sum(self.widths))

    def run(self) -> Floats:
        """Return drawn values, (n_samples, n_cells), in the order of the cells."""
        for step in range(self.n_missing.max(initial=0)):
            rows = np.flatnonzero(self.n_missing > step)
            self._draw_a_cell(rows, self.order[rows, step])
        return self.values

    def _draw_a_cell(self, rows: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Draw one cell of each row."""
        matrix = self.matrix[rows]
        logits = cell_logits(self.model, matrix, for_new_rows=self.for_new_rows)
        slices = list(pairwise(accumulate(self.widths, initial=0)))
        order = np.argsort(cells, kind="stable")
        bounds = np.searchsorted(cells[order], np.arange(len(self.columns) + 1))
        for cell, (start, end) in enumerate(pairwise(bounds)):
            if start == end:
                continue
            chosen = order[start:end]
            of_cell = slice(*slices[cell])
            shares = softmax(logits[chosen, of_cell])
            self.expected[of_cell] += shares.sum(axis=0)
            self._fill(cell, rows[chosen], shares)

    def _fill(self, cell: int, rows: NDArray[np.int64], shares: Floats) -> None:
        """Draw a cell of some rows, given probabilities, (n, n_bins or n_levels)."""
        column, places = self.columns[cell], self.inputs[cell]
        which, where = self.uniform[rows, cell].T
        numbers = _choose(shares, which)
        if column.kind == "category":
            self.values[rows, cell] = numbers
            self.matrix[rows, places[0]] = numbers
            return
        values = column.bins.values(numbers, where)
        self.values[rows, cell] = values
        self.matrix[np.ix_(rows, places)] = column.encode_floats(values)


def _stratified(random_state: np.random.RandomState, shape: tuple[int, ...]) -> Floats:
    """Draw numbers between 0 and 1 that are spread evenly over the first axis."""
    strata = random_state.random_sample(shape).argsort(axis=0)
    drawn: Floats = (strata + random_state.random_sample(shape)) / max(1, shape[0])
    return drawn


def _choose(shares: Floats, uniform: Floats) -> NDArray[np.int64]:
    """Choose an entry of each row of probabilities, (n,), by numbers in [0, 1)."""
    cumulative = shares.cumsum(axis=1)
    wanted = uniform * cumulative[:, -1]
    found = (cumulative <= wanted[:, None]).sum(axis=1)
    chosen: NDArray[np.int64] = np.minimum(found, shares.shape[1] - 1)
    return chosen


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Return probabilities, (n, n_bins or n_levels)."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def cell_logits(
    model: Model[TableSide],
    matrix: NDArray[np.float32],
    *,
    for_new_rows: bool = False,
) -> NDArray[np.float32]:
    """Predict the distributions of all cells of rows from what is not NaN in them.

    Returns
    -------
    ndarray of shape (n_samples, sum(logits_of_cells)), float32
        Logits of the bins of each number, then of the levels of each category.
    """
    here = model.where_the_network_is()
    network: Any = here.network
    name, function = "logits", network.logits
    if for_new_rows:
        name = "logits_of_new_rows"
        with one_thread(here.side.device), torch.inference_mode():
            nothing = network.logits_of_nothing()
        function = partial(network.logits_of_new_rows, nothing=nothing)

    def logits(batch: Tensor) -> Tensor:
        found: Tensor = function(batch)
        return found

    width = sum(logits_of_cells(here.side.table))
    return here.blockwise.apply(name, logits, here.side.new_rows(matrix), width)


def logits_of_cells(table: Table) -> list[int]:
    """Count the logits of each cell, in the order of the cells."""
    layout = table.layout
    return [*(layout.n_bins or [0] * layout.n_numbers), *layout.n_levels]


def inputs_of_cells(table: Table) -> list[NDArray[np.int64]]:
    """Return the columns of the matrix that belong to each cell, its value first."""
    cells = np.array(table.layout.cells)
    return [np.flatnonzero(cells == cell) for cell in range(table.layout.n_cells)]
