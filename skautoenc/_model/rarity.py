"""How rare large values are: minus the logarithm of the share of larger ones, in nats.

Beyond the 10 % largest values, shares are those of an exponential distribution, so a
value larger than all others is the rarer, the larger it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Share of the values in the tail, and how rare its start and the median are.
_SHARE = 0.1
_START = -math.log(_SHARE)
_MEDIAN = math.log(2)
# Number of values of a column that count as much as those of all columns together.
_FEW = 10.0
# Smallest scale of a column's tail, relative to that of all columns.
_STEEPEST = 0.25


def learn_cell_tails(surprise: Doubles, weights: Doubles | None) -> Doubles:
    """Learn where the tail of each column starts, and its scale.

    Parameters
    ----------
    surprise : ndarray of shape (n_rows, n_cells)
        Values of zero and more; NaN for missing ones.
    weights : ndarray of shape (n_rows,) or None
        Weights of the rows.

    Returns
    -------
    ndarray of shape (2, n_cells)
    """
    shares = np.ones(len(surprise)) if weights is None else weights
    found = [_tail(values, shares) for values in surprise.T]
    starts, excesses, counts = np.array(found).reshape(-1, 3).T
    common = excesses.sum() / max(counts.sum(), 1e-12) or 1.0
    scales = (excesses + _FEW * common) / (counts + _FEW)
    scales = np.maximum(scales, _STEEPEST * common)
    # Where nine of ten cells are as expected, the others are rare.
    return np.array([np.maximum(starts, 0.1 * scales), scales])


def rarity_of_cells(surprise: Doubles, tails: Doubles) -> Doubles:
    """Return how rare the surprise of cells, (n, n_cells), is in their columns."""
    starts, scales = tails
    body = _START * np.minimum(surprise / starts, 1.0)
    found: Doubles = body + np.maximum(surprise - starts, 0.0) / scales
    return found


def learn_part_tail(
    values: Doubles, weights: Doubles | None
) -> tuple[float, float, float]:
    """Learn the median, the distance to the start of the tail, and the tail's scale.

    The scale is relative to that distance.
    """
    shares = np.ones(len(values)) if weights is None else weights
    finite = np.isfinite(values)
    values, shares = values[finite], shares[finite]
    if not len(values):
        return 0.0, 1.0, 1.0
    start, excess, count = _tail(values, shares)
    median = float(weighted_quantile(values, np.array([0.5]), shares)[0])
    width = start - median
    if width < 1e-9:
        # Rows may be all alike, or so few that most of them are.
        width = max(float(values.std()), 1e-12)
    relative = excess / count / width
    return median, width, relative if relative > 1e-3 else 1.0


def rarity_of_parts(parts: Doubles, scales: Doubles) -> Doubles:
    """Return how rare parts, (n, n_parts), are.

    Parameters
    ----------
    parts : ndarray of shape (n, n_parts)
        Zero for the median, one at the start of the tail.
    scales : ndarray of shape (n_parts,)
        Scales of the tails.
    """
    body = _START * (_START / _MEDIAN) ** np.minimum(parts - 1.0, 0.0)
    found: Doubles = body + np.maximum(parts - 1.0, 0.0) / scales
    return found


def _tail(values: Doubles, weights: Doubles) -> tuple[float, float, float]:
    """Return the start of the tail, the sum of excesses, and the number of values."""
    known = ~np.isnan(values)
    if not known.any():
        return 0.0, 0.0, 0.0
    values, weights = values[known], weights[known]
    start = float(weighted_quantile(values, np.array([1 - _SHARE]), weights)[0])
    excess = float(weights @ np.maximum(values - start, 0.0))
    return start, excess, _SHARE * float(weights.sum())


def weighted_quantile(
    values: Doubles, shares: Doubles, weights: Doubles | None
) -> Doubles:
    """Return weighted quantiles, (n_shares,).

    They lie halfway between two values, so that rounding moves no value across.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    reached = np.cumsum(np.ones(len(values)) if weights is None else weights[order])
    wanted = shares * reached[-1]
    above = np.searchsorted(reached, wanted * (1 + 1e-12), side="right")
    above = np.minimum(above, len(values) - 1)
    below = np.maximum(above - 1, 0)
    found: Doubles = (ascending[above] + ascending[below]) / 2
    return found
