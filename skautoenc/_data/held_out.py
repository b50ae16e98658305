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
# With fewer distinct rows, none can be spared.
_FEWEST_ROWS = 50
# Salts of the draws of rows, cells, rates, and further cells to hide.
_ROWS, _CELLS, _RATES, _OTHERS = (np.uint64(n) << np.uint64(32) for n in range(1, 5))


def hold_out_cells(
    data: TrainingData, cells: Sequence[int]
) -> tuple[TrainingData, TrainingData | None]:
    """Hold out some of the cells of some rows.

    Which cells these are depends on the values of the rows, so neither the order of the
    rows matters, nor whether a row is repeated or has a weight. Equal rows lose the
    same cells. Rows that are more common than most lose none: they would never be
    trained on with these values, and look unlikely.

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
        See `beside_targets`, for the distinct rows with cells that are held out, each
        once. None if there are no such rows, or fewer than 50 distinct ones.
    """
    matrix = take(data.matrix, slice(None), data.index)
    owners = np.asarray(cells)
    keys, first, places = np.unique(
        row_keys(matrix), return_index=True, return_inverse=True
    )
    if len(keys) < _FEWEST_ROWS:
        return data, None
    totals = np.bincount(places, weights=data.weights)
    chosen = is_sampled(keys, len(keys)) & (totals <= np.median(totals))
    held = is_held(keys, owners) & chosen[:, None]  # (n_distinct, n_inputs)
    held &= ~np.isnan(matrix[first])
    rows = np.flatnonzero(held.any(axis=1))
    if not len(rows):
        return data, None
    training = np.where(held[places], np.float32(np.nan), matrix)
    lost, values = training[first[rows]], matrix[first[rows]]
    held_out = TrainingData(beside_targets(lost, values, held[rows], owners))
    return TrainingData(training, data.weights), held_out


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
    keys = row_keys(values)
    rates = _uniform(keys, _RATES, 1)
    hidden = (_uniform(keys, _OTHERS, owners.max() + 1) < rates)[:, owners]
    gap = np.float32(np.nan)
    given = np.where(hidden, gap, rows)
    targets = np.where(held & np.isnan(given), values, gap)
    return np.hstack([given, targets])


def is_sampled(keys: Keys, n_distinct: int) -> NDArray[np.bool_]:
    """Return which rows are among those that may lose cells, (n,).

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
        Keys of rows.
    n_distinct : int
        Number of all distinct rows.
    """
    sampled: NDArray[np.bool_] = (
        _uniform(keys, _ROWS, 1)[:, 0] * n_distinct < _MOST_ROWS
    )
    return sampled


def is_held(keys: Keys, owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which inputs rows lose if they are sampled, (n, n_inputs).

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
        Keys of rows.
    owners : ndarray of shape (n_inputs,)
        Index of the cell of each column.
    """
    held: NDArray[np.bool_] = _uniform(keys, _CELLS, owners.max() + 1) < _SHARE
    return held[:, owners]


def _uniform(keys: Keys, salt: np.uint64, width: int) -> NDArray[np.float64]:
    """Draw numbers between 0 and 1, (n, width), that are functions of the keys."""
    salts = mix(np.arange(1, width + 1, dtype=np.uint64) + salt)
    mixed = mix(keys[:, None] + salts)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
