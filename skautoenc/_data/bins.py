"""Bins of a column of numbers, and values within them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Quantiles within a bin, its ends included.
N_KNOTS = 9
# The largest and the smallest power of ten that values may be multiples of.
EXPONENTS = range(3, -7, -1)


class Positions(NamedTuple):
    """Where values are in the bins of their column.

    Parameters
    ----------
    bins : ndarray of shape (n,), int64
        The bin of each value.
    shares : ndarray of shape (n,)
        Share of the bin's rows that lie below the value, from 0 to 1.
    """

    bins: NDArray[np.int64]
    shares: Floats


class Bins:
    """A partition of the values of a column, with about as many rows in each part.

    A value that many rows share has a bin of its own.

    Parameters
    ----------
    edges : ndarray of shape (n_bins - 1,)
        Ascending bounds between bins. Each is halfway between two neighbouring values.
    knots : ndarray of shape (n_bins, N_KNOTS)
        Quantiles of the values in each bin, from the lowest to the highest.
    shares : ndarray of shape (n_bins,)
        Share of the rows in each bin.
    exponent : int or None
        Every value is a multiple of ten to the power of it. None if it is not known.
    """

    def __init__(
        self, edges: Floats, knots: Floats, shares: Floats, exponent: int | None
    ) -> None:
        self.edges = edges
        self.knots = knots
        self.shares = shares
        self.exponent = exponent

    def __len__(self) -> int:
        return len(self.knots)

    def values(self, bins: NDArray[np.int64], shares: Floats) -> Floats:
        """Return values by their bins and the shares of the rows below them, (n,)."""
        places = np.clip(shares, 0, 1) * (N_KNOTS - 1)
        lower = np.minimum(places.astype(np.int64), N_KNOTS - 2)
        rest = places - lower
        left, right = self.knots[bins, lower], self.knots[bins, lower + 1]
        # Not left + rest * (right - left): equal ends must give that very value.
        found: Floats = np.where(left == right, left, (1 - rest) * left + rest * right)
        return self.rounded(found)

    def rounded(self, values: Floats) -> Floats:
        """Round values to the multiples that all values of `fit` were."""
        if self.exponent is None:
            return values
        # Dividing by a power of ten is exact to the last digit, multiplying is not.
        if self.exponent < 0:
            power = 10.0**-self.exponent
            return np.round(values * power) / power
        power = 10.0**self.exponent
        return np.round(values / power) * power

    def positions(self, values: Floats) -> Positions:
        """Find values, (n,), in the bins."""
        bins = np.searchsorted(self.edges, values, side="left")
        shares = np.empty(len(values))
        for number in np.unique(bins):
            rows = bins == number
            shares[rows] = _share_below(self.knots[number], values[rows])
        return Positions(bins, shares)


def _share_below(knots: Floats, values: Floats) -> Floats:
    """Return the share of a bin that lies below values; half of a bin of one value."""
    levels = np.linspace(0, 1, N_KNOTS)
    first = np.interp(values, *_unique(knots, levels, np.minimum))
    last = np.interp(values, *_unique(knots, levels, np.maximum))
    return (first + last) / 2


def _unique(knots: Floats, levels: Floats, choose: np.ufunc) -> tuple[Floats, Floats]:
    """Return each knot once, with the lowest or the highest of its levels."""
    found, inverse = np.unique(knots, return_inverse=True)
    chosen = np.full(len(found), np.inf if choose is np.minimum else -np.inf)
    choose.at(chosen, inverse, levels)
    return found, chosen


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
    ends = np.append(starts[1:], len(values))
    knots = np.array(
        [
            _quantiles(values[start:end], counts[start:end])
            for start, end in zip(starts, ends, strict=True)
        ]
    )
    below, above = values[ends[:-1] - 1], values[starts[1:]]
    # Halves first: the sum of two large numbers may overflow.
    edges = below / 2 + above / 2
    shares = np.add.reduceat(counts, starts) / counts.sum()
    return Bins(edges, knots, shares, _exponent(values))


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


def _quantiles(values: Floats, counts: Floats) -> Floats:
    """Return the lowest value, the highest, and quantiles at even distances between."""
    if len(values) == 1:
        return np.full(N_KNOTS, values[0])
    ranks = np.cumsum(counts) - counts / 2
    ranks = (ranks - ranks[0]) / (ranks[-1] - ranks[0])
    found = np.interp(np.linspace(0, 1, N_KNOTS), ranks, values)
    found[[0, -1]] = values[[0, -1]]
    return found


def _exponent(values: Floats) -> int | None:
    """Return the largest power of ten that all values are multiples of."""
    # float64 holds 15 digits.
    if np.abs(values).max() >= 1e15:
        return None
    for exponent in EXPONENTS:
        power = 10.0 ** abs(exponent)
        apply: Callable[..., Floats] = np.multiply if exponent < 0 else np.divide
        with np.errstate(over="ignore"):
            scaled = apply(values, power)
            whole = np.round(scaled)
            again = whole / power if exponent < 0 else whole * power
        # Above it, float64 does not hold all whole numbers.
        is_exact = bool((np.abs(whole) < 2**53).all())
        if is_exact and np.array_equal(again, values):
            return exponent
    return None
