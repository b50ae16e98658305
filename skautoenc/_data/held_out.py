"""Cells of a table that are held out of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .row_keys import Keys, mix, row_keys
from .rows import TrainingData, take

Matrix = NDArray[np.float32]

# Share of the cells that is held out, of up to so many rows.
_SHARE = 0.1
_MOST_ROWS = 4000
# Salts of the draws of rows, cells, rates, and further cells to hide.
_ROWS, _CELLS, _RATES, _OTHERS = (np.uint64(n) << np.uint64(32) for n in range(1, 5))


def hold_out_cells(
    data: TrainingData, cells: Sequence[int]
) -> tuple[TrainingData, TrainingData | None]:
    """Hold out some of the cells of some rows.

    Which cells these are depends on the values of the rows, so the order of the rows
    does not matter. Equal rows have different cells held out: otherwise a common row
    would be trained on without its own value, and look unlikely.

    Parameters
    ----------
    data : TrainingData
        Encoded rows.
    cells : sequence of int of length n_inputs
        Index of the cell that each column of the matrix belongs to.

    Returns
    -------
    training : TrainingData
        The rows, without the cells that are held out.
    held_out : TrainingData or None
        See `beside_targets`, for the rows with cells that are held out. None if there
        are no such rows.
    """
    matrix = take(data.matrix, slice(None), data.index)
    keys, owners = _distinct_keys(matrix), np.asarray(cells)
    chosen = _uniform(keys, _ROWS, 1)[:, 0] * len(keys) < _MOST_ROWS
    held = _uniform(keys, _CELLS, owners.max() + 1) < _SHARE
    held = (held & chosen[:, None])[:, owners] & ~np.isnan(matrix)  # (n, n_inputs)
    rows = np.flatnonzero(held.any(axis=1))
    if not len(rows):
        return data, None
    training = np.where(held, np.float32(np.nan), matrix)
    weights = data.weights
    return (
        TrainingData(training, weights),
        TrainingData(
            beside_targets(training[rows], matrix[rows], held[rows], owners),
            None if weights is None else weights[rows],
        ),
    )


def hold_out_of_rows(data: TrainingData, cells: Sequence[int]) -> TrainingData:
    """Return what `beside_targets` gives of held-out rows: all cells are targets."""
    matrix = take(data.matrix, slice(None), data.index)
    known = ~np.isnan(matrix)
    rows = beside_targets(matrix, matrix, known, np.asarray(cells))
    return TrainingData(rows, data.weights)


def beside_targets(
    rows: Matrix, values: Matrix, held: NDArray[np.bool_], owners: NDArray[np.int64]
) -> Matrix:
    """Return rows in which further cells are hidden, beside the cells to predict.

    Each row has its own rate, as in training.

    Parameters
    ----------
    rows, values : ndarray of shape (n, n_inputs)
        Rows to predict from, and rows with all their values.
    held : ndarray of shape (n, n_inputs)
        Cells to predict, if they are not in the rows or hidden.
    owners : ndarray of shape (n_inputs,)
        Index of the cell of each column.

    Returns
    -------
    ndarray of shape (n, 2 * n_inputs)
        The rows, and the values to predict, NaN elsewhere.
    """
    keys = _distinct_keys(values)
    rates = _uniform(keys, _RATES, 1)
    hidden = (_uniform(keys, _OTHERS, owners.max() + 1) < rates)[:, owners]
    gap = np.float32(np.nan)
    given = np.where(hidden, gap, rows)
    targets = np.where(held & np.isnan(given), values, gap)
    return np.hstack([given, targets])


def _distinct_keys(rows: Matrix) -> Keys:
    """Return a key for each row, (n,): equal rows have different ones."""
    keys = row_keys(rows)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, side="left")
    times = np.empty(len(keys), dtype=np.uint64)
    times[order] = (np.arange(len(keys)) - first).astype(np.uint64)
    return mix(keys + times)


def _uniform(keys: Keys, salt: np.uint64, width: int) -> NDArray[np.float64]:
    """Draw numbers between 0 and 1, (n, width), that are functions of the keys."""
    salts = mix(np.arange(1, width + 1, dtype=np.uint64) + salt)
    mixed = mix(keys[:, None] + salts)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
