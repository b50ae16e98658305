"""Bins of a column of numbers, and values within them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fewest rows for a value, or for a stretch of values, to be remembered: those of single
# rows are not, but for the lowest and the highest.
_FEWEST = 5
# No more than so many are remembered.
_MOST_KNOTS = 1000
# Powers of ten that values may be multiples of, the largest first.
EXPONENTS = range(3, -7, -1)


class Bins:
    """A partition of the values of a column, with about as many rows in each part.

    A value that many rows share has a bin of its own. Within a bin, values are
    distributed as in `fit`, by linear interpolation of their quantiles.

    Parameters
    ----------
    edges : ndarray of shape (n_bins - 1,)
        Ascending bounds between bins. Each is halfway between two neighbouring values.
    levels : ndarray of shape (n_bins + 1,)
        Shares of the rows below each bin, then 1.
    knots : ndarray of shape (2, n_knots)
        Levels, and the quantiles at them, both ascending. A value that several rows
        share is the quantile at two levels.
    exponent : int or None
        Every value is a multiple of ten to the power of it. None if it is not known.
    """

    def __init__(
        self, edges: Floats, levels: Floats, knots: Floats, exponent: int | None
    ) -> None:
        self.edges = edges
        self.levels = levels
        self.knots = knots
        self.exponent = exponent

    def __len__(self) -> int:
        return len(self.levels) - 1

    @property
    def shares(self) -> Floats:
        """Share of the rows in each bin, (n_bins,)."""
        return np.diff(self.levels)

    def values(self, bins: NDArray[np.int64], shares: Floats) -> Floats:
        """Return values by their bins and the shares of the rows below them, (n,)."""
        low, high = self.levels[bins], self.levels[bins + 1]
        return self.rounded(np.interp(low + shares * (high - low), *self.knots))

    def rounded(self, values: Floats) -> Floats:
        """Round values to the multiples that all values of `fit` were."""
        if self.exponent is None:
            return values
        # A multiple of a tenth is the nearest float to a quotient, not to a product.
        power = 10.0 ** abs(self.exponent)
        if self.exponent < 0:
            return np.round(values * power) / power
        return np.round(values / power) * power

    def codes(self, values: Floats) -> NDArray[np.int64]:
        """Find the bins of values, (n,)."""
        return np.searchsorted(self.edges, values, side="left")


def learn_bins(values: Floats, counts: Floats, most: int) -> Bins:
    """Divide values into bins.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Each value of the column once, ascending.
    counts : ndarray of shape (n,)
        How often it occurs.
    most : int
        Number of bins, if no value has one of its own.
    """
    groups = _group(counts, most)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    below, above = values[starts[1:] - 1], values[starts[1:]]
    # Halves first: the sum of two large numbers may overflow.
    edges = below / 2 + above / 2
    reached = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    reached[-1] = 1.0
    levels = np.append(reached[starts], 1.0)
    knots = _quantiles(values, counts, reached, starts)
    return Bins(edges, levels, knots, _exponent(values))


def _group(counts: Floats, most: int) -> NDArray[np.int64]:
    """Assign values to bins; return the number of each one's, ascending, (n,)."""
    if len(counts) <= most:
        return np.arange(len(counts))
    size = counts.sum() / most
    alone = counts >= size
    # Values between two that have bins of their own are divided evenly.
    runs = np.cumsum(alone) * 2 + ~alone
    groups = np.zeros(len(counts), dtype=np.int64)
    next_group = 0
    for run in np.unique(runs):
        members = np.flatnonzero(runs == run)
        inner = counts[members]
        n_groups = max(1, min(len(members), round(inner.sum() / size)))
        middle = (np.cumsum(inner) - inner / 2) / inner.sum()
        found = np.minimum((middle * n_groups).astype(np.int64), n_groups - 1)
        # A heavy value may leave a group empty.
        found = np.unique(found, return_inverse=True)[1]
        groups[members] = next_group + found
        next_group += found[-1] + 1
    return groups


def _quantiles(
    values: Floats, counts: Floats, reached: Floats, starts: NDArray[np.int64]
) -> Floats:
    """Return levels and quantiles, (2, n_knots), so that no bin reaches into another.

    Parameters
    ----------
    values, counts : ndarray of shape (n,)
        See `learn_bins`.
    reached : ndarray of shape (n + 1,)
        Shares of the rows below each value, then 1.
    starts : ndarray of shape (n_bins,)
        Where bins begin.
    """
    fewest = max(_FEWEST, counts.sum() / _MOST_KNOTS)
    is_shared = counts >= fewest
    begins = is_shared.copy()
    begins[1:] |= is_shared[:-1]
    begins[starts] = True
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(values)) - 1
    found: list[Any] = []
    for first, last in zip(firsts, lasts, strict=True):
        low, high = reached[first], reached[last + 1]
        found.append((low, values[first]))
        if last > first:
            # A stretch of values, each of few rows.
            inner = slice(first, last + 1)
            n_knots = int(counts[inner].sum() / fewest)
            middles = (reached[inner] + reached[first + 1 : last + 2]) / 2
            wanted = np.linspace(low, high, n_knots + 1)[1:-1]
            quantiles = np.interp(wanted, middles, values[inner])
            found.extend(zip(wanted, quantiles, strict=True))
        found.append((high, values[last]))
    return np.ascontiguousarray(np.array(found, dtype=np.float64).T)


def _exponent(values: Floats) -> int | None:
    """Return the largest power of ten that all values are multiples of."""
    # float64 holds 15 digits.
    if np.abs(values).max() >= 1e15:
        return None
    for exponent in EXPONENTS:
        power = 10.0 ** abs(exponent)
        with np.errstate(over="ignore"):
            scaled = values * power if exponent < 0 else values / power
            whole = np.round(scaled)
            again = whole / power if exponent < 0 else whole * power
        # Above it, float64 does not hold all whole numbers.
        is_exact = bool((np.abs(whole) < 2**53).all())
        if is_exact and np.array_equal(again, values):
            return exponent
    return None
