"""Limits of float32: the type of decoded values, and rows that are too large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import computing_type

# Largest standardised value that a network can process in float32: values are squared,
# summed and multiplied by weights of any size.
LARGEST = 2.0**40
# Ratio of offset to scale above which decoded values are float64: the offset would use
# three of the seven digits of float32.
_LARGE_OFFSET = 1024


def restored_type(mean: NDArray[np.float64] | float, scale: float) -> np.dtype:
    """Return the type of decoded values in the units of the data.

    It is float32, unless the offset would use up its digits or overflow it. It depends
    on fitted attributes only, so it is the same for all rows.

    Parameters
    ----------
    mean : ndarray of shape (n_features,) or float
        Offset that is added to the values.
    scale : float
        Factor that the values are multiplied by first.
    """
    means = np.atleast_1d(mean)
    if np.abs(means).max() > _LARGE_OFFSET * scale:
        return np.dtype(np.float64)
    return computing_type(np.dtype(np.float32), means, scale)


def scale_down(
    rows: NDArray[Any], mean: NDArray[Any], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standardise rows of any finite values, each divided to be at most `LARGEST`.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Rows in the units of the data.
    mean, scale : ndarray of shape (n_features,), float
        Offset and divisor of the standardisation.

    Returns
    -------
    rows : ndarray of shape (n, n_features), float64
        Standardised rows, divided by the divisors.
    divisors : ndarray of shape (n, 1), float64
        One for rows that are not too large; infinity where float64 overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # Half of a value that would overflow does not.
        centred = rows.astype(np.float64) / 2 - mean / 2
        largest = np.abs(centred).max(axis=1, keepdims=True)
        divisors = np.maximum(2 * (largest / scale) / LARGEST, 1)
        standardised = 2 * (centred / scale)
        shrunk = centred / np.maximum(largest, np.finfo(np.float64).tiny) * LARGEST
    return np.where(divisors > 1, shrunk, standardised), divisors
