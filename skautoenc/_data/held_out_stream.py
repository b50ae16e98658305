"""Cells of a table that are held out of training, where its rows are a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .held_out import (
    Matrix,
    beside_targets,
    is_held,
    is_sampled,
)
from .row_keys import Keys, row_keys
from .rows import TrainingData, blocks
from .streamed import StreamedMatrix


def hold_out_of_stream(
    data: TrainingData, cells: Sequence[int]
) -> tuple[TrainingData, TrainingData | None]:
    """Hold out some of the cells of some rows, as `hold_out_cells` does.

    The rows that lose cells are found in one pass. In later passes these are hidden
    when the rows are read. How many distinct rows there are is not known: the number of
    all rows stands for it, so that fewer rows lose cells if many are repeated.

    Parameters
    ----------
    data : TrainingData
        All rows of a stream.
    cells : sequence of int of length n_inputs
        Index of the cell that each column of the matrix belongs to.

    Returns
    -------
    training : TrainingData
        The rows, without the cells that are held out.
    held_out : TrainingData or None
        See `beside_targets`. None if no row loses a cell.
    """
    owners = np.asarray(cells)
    keys, values = _sampled_rows(data)
    held = is_held(keys, owners) & ~np.isnan(values)
    chosen = held.any(axis=1)
    if not chosen.any():
        return data, None
    keys, values, held = keys[chosen], values[chosen], held[chosen]
    lost = np.where(held, np.float32(np.nan), values)
    held_out = TrainingData(beside_targets(lost, values, held, owners))
    matrix: StreamedMatrix = data.matrix

    def start() -> Iterator[Matrix]:
        for block in matrix.start():
            yield _without(block, keys, owners)

    hidden = StreamedMatrix(start, matrix.shape, matrix.dtype, matrix.capacity)
    return TrainingData(hidden, data.weights), held_out


def _sampled_rows(data: TrainingData) -> tuple[Keys, Matrix]:
    """Return distinct rows that may lose cells: not those more common than most."""
    n_rows, n_read = len(data), 0
    totals: dict[int, float] = {}
    rows: dict[int, NDArray[Any]] = {}
    for block in blocks(*data.shape):
        matrix = data.matrix[block]
        keys = row_keys(matrix)
        for place in np.flatnonzero(is_sampled(keys, n_rows)):
            key = int(keys[place])
            weight = 1.0 if data.weights is None else data.weights[n_read + place]
            totals[key] = totals.get(key, 0.0) + float(weight)
            rows.setdefault(key, matrix[place])
        n_read += len(matrix)
    most = np.median(list(totals.values())) if totals else 0.0
    kept = [key for key, total in totals.items() if total <= most]
    width = data.shape[1]
    values = np.array([rows[key] for key in kept], dtype=np.float32).reshape(-1, width)
    return np.array(kept, dtype=np.uint64), values


def _without(block: Matrix, keys: Keys, owners: NDArray[np.int64]) -> Matrix:
    """Return a block in which the cells of rows with these keys are hidden."""
    own = row_keys(block)
    places = np.flatnonzero(np.isin(own, keys))
    if not len(places):
        return block
    found = block.copy()
    held = is_held(own[places], owners)
    found[places] = np.where(held, np.float32(np.nan), found[places])
    return found
