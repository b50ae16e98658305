"""Means and variances of columns, from one pass over the rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Values that are computed at a time: they stay in the cache.
_PART_VALUES = 2**17
# Sums over a single column add the rows in another order.
_FEWEST_COLUMNS = 16


class ColumnMoments:
    """Means and variances of columns, updated by blocks of rows [1]_.

    They are those of `sklearn.preprocessing.StandardScaler`, to the last bit. It copies
    each block several times, in one thread.

    Parameters
    ----------
    n_features : int
        Number of columns.

    Attributes
    ----------
    count : int
        Number of rows.
    mean, variance : ndarray of shape (n_features,), float64
        Means, and means of squared differences from them.

    References
    ----------
    .. [1] Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The
       American Statistician 37, 1983.
    """

    def __init__(self, n_features: int) -> None:
        self.count = 0
        self.mean = np.zeros(n_features)
        self.variance = np.zeros(n_features)

    def add(
        self,
        rows: NDArray[np.floating],
        pool: Executor,
        n_parts: int,
    ) -> None:
        """Update the moments by rows.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
            The rows.
        pool : Executor
            Threads that compute parts of the columns, if there are several parts.
        n_parts : int
            Number of these parts. The result does not depend on it.
        """
        n_features = rows.shape[1]
        n_parts = max(1, min(n_parts, n_features // _FEWEST_COLUMNS))
        ends = np.linspace(0, n_features, n_parts + 1).astype(np.int64).tolist()
        parts = [slice(*pair) for pair in pairwise(ends)]
        computed = map if n_parts == 1 else pool.map
        for _ in computed(lambda part: self._add(rows[:, part], part), parts):
            pass
        self.count += len(rows)

    def _add(self, rows: NDArray[np.floating], part: slice) -> None:
        """Update the moments of some of the columns, (n, n_columns)."""
        n, count = len(rows), self.count
        # Each thread has its own state of errors. Callers look at the result.
        with np.errstate(over="ignore", invalid="ignore"):
            total, deviations = _sums(rows)
            if count:
                ratio, before = count / n, self.mean[part] * count
                between = ratio / (count + n) * (before / ratio - total) ** 2
                deviations = self.variance[part] * count + deviations + between
                total = before + total
        self.mean[part] = total / (count + n)
        self.variance[part] = deviations / (count + n)


class _Sum:
    """Sum of rows in parts, one row after the other, as NumPy adds all at once."""

    total: Floats

    def __init__(self) -> None:
        self.has_begun = False

    def add(self, rows: Floats) -> None:
        """Add all but the first row, whose values are replaced."""
        if self.has_begun:
            rows[0] = self.total
        self.total = rows[not self.has_begun :].sum(axis=0)
        self.has_begun = True


def _sums(rows: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return sums of columns, and sums of squared differences from their means."""
    n, n_columns = rows.shape
    # Columns that are contiguous are added in another order, that of NumPy.
    is_by_row = n_columns > 1 and abs(rows.strides[0]) >= abs(rows.strides[1])
    size = min(n, max(1, _PART_VALUES // n_columns)) if is_by_row else n
    memory = np.empty((size + 1, n_columns), order="C" if is_by_row else "F")
    total, rest, squares = _Sum(), _Sum(), _Sum()
    for part, chosen in _parts(memory, rows):
        part[1:] = chosen
        total.add(part)
    mean = total.total / n
    for part, chosen in _parts(memory, rows):
        np.subtract(chosen, mean, out=part[1:])
        rest.add(part)
        np.square(part[1:], out=part[1:])
        squares.add(part)
    # The mean is rounded, so the differences from it have a sum.
    return total.total, squares.total - rest.total**2 / n


def _parts(
    memory: Floats, rows: NDArray[np.floating]
) -> Iterator[tuple[Floats, NDArray[np.floating]]]:
    """Iterate over parts of rows, with memory for each and for one row more."""
    size = len(memory) - 1
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        yield memory[: len(chosen) + 1], chosen


def is_constant(mean: Floats, variance: Floats, n: float) -> NDArray[np.bool_]:
    """Return which columns vary by rounding errors only, by scikit-learn's rule."""
    eps = np.finfo(np.float64).eps
    found: NDArray[np.bool_] = variance <= n * eps * variance + (n * mean * eps) ** 2
    return found
