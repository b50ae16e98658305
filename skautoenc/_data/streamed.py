"""A matrix whose rows are read from a stream, and partly held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Starts a pass: returns an iterator over blocks of rows, dense or CSR.
Pass = Callable[[], Iterator[Any]]


class StreamedMatrix:
    """Rows of a stream, which are best requested in order.

    The latest `capacity` rows are held in memory. Later rows are read from the stream;
    earlier ones need a new pass. Within windows of `capacity` rows, rows can be
    requested in any order in one pass.

    Parameters
    ----------
    start : callable
        Starts a pass.
    shape : tuple of int
        Number of rows and of columns.
    dtype : dtype
        float32 or float64.
    capacity : int
        Number of rows in memory.
    """

    def __init__(
        self, start: Pass, shape: tuple[int, int], dtype: np.dtype, capacity: int
    ) -> None:
        self.start = start
        self.shape = shape
        self.dtype = dtype
        self.capacity = min(capacity, shape[0])
        # Row r is stored at r modulo the capacity.
        self._held = np.empty((self.capacity, shape[1]), dtype)
        self._n_read = 0
        self._blocks: Iterator[Any] = iter(())
        self._block: Any = None
        self._n_used = 0

    @property
    def nbytes(self) -> int:
        """Size of the rows in memory."""
        return self._held.nbytes

    def __getitem__(self, chosen: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Return rows as an array, in the requested order."""
        index = (
            np.arange(*chosen.indices(self.shape[0]))
            if isinstance(chosen, slice)
            else chosen
        )
        result = np.empty((len(index), self.shape[1]), self.dtype)
        order = np.argsort(index, kind="stable")
        ascending = index[order]
        done = 0
        while done < len(order):
            first = ascending[done]
            stop = int(np.searchsorted(ascending, first + self.capacity))
            self._reach(int(first), int(ascending[stop - 1]) + 1)
            part = order[done:stop]
            result[part] = self._held[index[part] % self.capacity]
            done = stop
        return result

    def _reach(self, first: int, stop: int) -> None:
        """Read until rows `first` to `stop` are in memory."""
        if first < self._n_read - self.capacity or self._n_read == 0:
            self._blocks, self._n_read = self.start(), 0
            self._next_block()
        while self._n_read < stop:
            n_left = self._block.shape[0] - self._n_used
            if n_left == 0:
                self._next_block()
                continue
            place = self._n_read % self.capacity
            n_rows = min(n_left, stop - self._n_read, self.capacity - place)
            rows = self._block[self._n_used : self._n_used + n_rows]
            dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
            self._held[place : place + n_rows] = dense
            self._n_used += n_rows
            self._n_read += n_rows

    def _next_block(self) -> None:
        # Release the block before the next one is made.
        self._block = None
        self._block, self._n_used = next(self._blocks, None), 0
        if self._block is None:
            raise ValueError(
                f"The blocks had {self.shape[0]} rows in the first pass and have "
                f"{self._n_read} now. They must be the same in each."
            )
