"""Cells of tables drawn one by one, each given those that are there already."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._data.columns import Table
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
    is_calibrated: bool = True,
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
    is_calibrated : bool, default=True
        Whether cells are drawn from the calibrated distributions, so that the draws of
        a cell scatter as widely as its value does given the others. Calibration makes
        columns less dependent: a network errs, and wide distributions allow for that.
        In new rows these errors average out, but weaker dependence does not.

    Returns
    -------
    list of ndarray of shape (n_samples,)
        Values of each column, in the order of the frame. Those of cells that are not
        NaN in `matrix` mean nothing.
    """
    table = model.side.table
    parts = [
        _Draw(model, matrix[start : start + _N_ROWS], random_state, is_calibrated).run()
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


class _Draw:
    """Rows whose missing cells are being drawn.

    Parameters
    ----------
    model, matrix, random_state, is_calibrated
        See `draw_cells`.
    """

    def __init__(
        self,
        model: Model[TableSide],
        matrix: NDArray[np.float32],
        random_state: np.random.RandomState,
        is_calibrated: bool,
    ) -> None:
        self.model = model.where_the_network_is()
        table = self.model.side.table
        self.temperatures = None if is_calibrated else _temperatures(self.model)
        if self.temperatures is not None:
            # (1, n_logits)
            nothing = np.full((1, matrix.shape[1]), np.nan, dtype=np.float32)
            self.base = cell_logits(self.model, nothing)
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
        self.uniform = random_state.random_sample((*shape, 2))
        self.values = np.zeros(shape)

    def run(self) -> Floats:
        """Return drawn values, (n_samples, n_cells), in the order of the cells."""
        for step in range(self.n_missing.max(initial=0)):
            rows = np.flatnonzero(self.n_missing > step)
            self._draw_a_cell(rows, self.order[rows, step])
        return self.values

    def _draw_a_cell(self, rows: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Draw one cell of each row."""
        logits = cell_logits(self.model, self.matrix[rows])
        if self.temperatures is not None:
            logits = self.base + (logits - self.base) * self.temperatures
        slices = list(pairwise(accumulate(self.widths, initial=0)))
        order = np.argsort(cells, kind="stable")
        bounds = np.searchsorted(cells[order], np.arange(len(self.columns) + 1))
        for cell, (start, end) in enumerate(pairwise(bounds)):
            if start == end:
                continue
            chosen = order[start:end]
            of_cell = slice(*slices[cell])
            self._fill(cell, rows[chosen], logits[chosen, of_cell])

    def _fill(
        self, cell: int, rows: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> None:
        """Draw a cell of some rows, given logits, (n, n_bins or n_levels)."""
        column, places = self.columns[cell], self.inputs[cell]
        which, where = self.uniform[rows, cell].T
        numbers = _choose(logits, which)
        if column.kind == "category":
            self.values[rows, cell] = numbers
            self.matrix[rows, places[0]] = numbers
            return
        values = column.bins.values(numbers, where)
        self.values[rows, cell] = values
        self.matrix[np.ix_(rows, places)] = column.encode_floats(values)


def _temperatures(model: Model[TableSide]) -> NDArray[np.float32] | None:
    """Return what each of `cell_logits` was divided by, (n_logits,); None for one."""
    temperatures = model.network.config.get("temperatures")
    if temperatures is None:
        return None
    counts = logits_of_cells(model.side.table)
    return np.repeat(np.array(temperatures, dtype=np.float32), counts)


def _choose(logits: NDArray[np.float32], uniform: Floats) -> NDArray[np.int64]:
    """Choose an entry of each row of logits, (n,), by numbers between 0 and 1."""
    cumulative = softmax(logits).cumsum(axis=1)
    wanted = uniform * cumulative[:, -1]
    found = (cumulative <= wanted[:, None]).sum(axis=1)
    chosen: NDArray[np.int64] = np.minimum(found, logits.shape[1] - 1)
    return chosen


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Return probabilities, (n, n_bins or n_levels)."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def cell_logits(
    model: Model[TableSide], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Predict the distributions of all cells of rows from what is not NaN in them.

    Returns
    -------
    ndarray of shape (n_samples, sum(logits_of_cells)), float32
        Logits of the bins of each number, then of the levels of each category.
    """
    here = model.where_the_network_is()
    network: Any = here.network

    def logits(batch: Tensor) -> Tensor:
        found: Tensor = network.logits(batch)
        return found

    width = sum(logits_of_cells(here.side.table))
    return here.blockwise.apply("logits", logits, here.side.new_rows(matrix), width)


def logits_of_cells(table: Table) -> list[int]:
    """Count the logits of each cell, in the order of the cells."""
    layout = table.layout
    return [*(layout.n_bins or [0] * layout.n_numbers), *layout.n_levels]


def inputs_of_cells(table: Table) -> list[NDArray[np.int64]]:
    """Return the columns of the matrix that belong to each cell, its value first."""
    cells = np.array(table.layout.cells)
    return [np.flatnonzero(cells == cell) for cell in range(table.layout.n_cells)]
