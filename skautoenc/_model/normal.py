"""Joint normal distributions of variables, learnt from rows with missing values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Rows of independent variables that count like the rows of the data (ridge penalty).
_N_INDEPENDENT = 20.0
# Iterations end when no correlation changes by more, or after so many multiplications,
# which take about a second.
_TOLERANCE = 0.01
_WORK = 3e9
_FEWEST, _MOST = 3, 12
# Values of the matrices that are solved at a time.
_BLOCK = 2**20


@dataclass(frozen=True)
class Normal:
    """A multivariate normal distribution.

    Parameters
    ----------
    mean : ndarray of shape (n_variables,)
        Means.
    precision : ndarray of shape (n_variables, n_variables)
        Inverse of the covariance matrix.
    """

    mean: Floats
    precision: Floats

    def expected(self, values: Floats) -> Floats:
        """Replace missing values by their expectations given the others of the row.

        The result for a row has the same bits among any other rows.

        Parameters
        ----------
        values : ndarray of shape (n, n_variables)
            Rows; NaN for missing values.
        """
        missing = np.isnan(values)
        centred = np.where(missing, 0.0, values - self.mean)
        for rows, gaps in _by_number_missing(missing):
            precisions, sides = _equations(self.precision, centred[rows], gaps)
            found = np.linalg.solve(precisions, sides)[:, :, 0]
            centred[rows[:, None], gaps] = found
        return np.where(missing, centred + self.mean, values)


def learn_normal(
    values: Floats, weights: Floats, start: Normal | None = None
) -> Normal | None:
    """Learn the distribution by expectation maximisation [1]_, with a ridge penalty.

    Parameters
    ----------
    values : ndarray of shape (n, n_variables)
        Rows; NaN for missing values.
    weights : ndarray of shape (n,)
        How many rows each row counts as.
    start : Normal, optional
        A distribution to start from, of nearly the same rows.

    Returns
    -------
    Normal or None
        The distribution; None if numbers overflow.

    References
    ----------
    .. [1] Little and Rubin, "Statistical analysis with missing data", Wiley, 2002.
    """
    missing = np.isnan(values)
    scaler = _Scaler(values, weights)
    scaled = np.where(missing, np.nan, scaler.forward(values))
    total = weights.sum()
    # Independent variables: few iterations are a penalty, too.
    mean: Floats = np.zeros(values.shape[1])
    covariance: Floats = np.eye(values.shape[1])
    if start is not None:
        mean = scaler.forward(start.mean)
        covariance = _inverse(start.precision) / scaler.squares
    n_iterations = int(min(max(_WORK / work_of(missing), _FEWEST), _MOST))
    for _ in range(n_iterations):
        normal = Normal(mean, _inverse(covariance))
        filled, spread = _expectation(normal, scaled, missing, weights)
        before, mean = covariance, weights @ filled / total
        filled -= mean
        covariance = _with_ridge((filled.T * weights) @ filled + spread, total)
        if np.abs(covariance - before).max() < _TOLERANCE:
            break
    precision = _inverse(covariance) / scaler.squares
    if not np.isfinite(precision).all():
        return None
    return Normal(scaler.backward(mean), precision)


def _inverse(matrix: Floats) -> Floats:
    """Invert a positive definite matrix; the result is exactly symmetric."""
    inverse = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    return (inverse + inverse.T) / 2


class _Scaler:
    """Scales variables to mean zero and variance one.

    Parameters
    ----------
    values, weights : ndarray
        See `learn_normal`.
    """

    def __init__(self, values: Floats, weights: Floats) -> None:
        shares = np.where(np.isnan(values), 0.0, weights[:, None])
        totals = np.maximum(shares.sum(axis=0), 1e-300)
        known = np.nan_to_num(values)
        self.mean = (shares * known).sum(axis=0) / totals
        variance = (shares * np.square(known - self.mean)).sum(axis=0) / totals
        self.scale = np.sqrt(variance)
        self.scale[~(self.scale > 0)] = 1.0
        self.squares = np.outer(self.scale, self.scale)

    def forward(self, values: Floats) -> Floats:
        """Scale values."""
        scaled: Floats = (values - self.mean) / self.scale
        return scaled

    def backward(self, values: Floats) -> Floats:
        """Undo `forward`."""
        unscaled: Floats = values * self.scale + self.mean
        return unscaled


def _with_ridge(products: Floats, total: float) -> Floats:
    """Return the covariance from sums of products over rows of weight `total`."""
    ridge = _N_INDEPENDENT * np.eye(len(products))
    covariance: Floats = (products + ridge) / (total + _N_INDEPENDENT)
    return covariance


def work_of(missing: Mask) -> float:
    """Return the approximate number of multiplications of an iteration.

    Parameters
    ----------
    missing : ndarray of shape (n, n_variables)
        Which values are missing.
    """
    counts = missing.sum(axis=1, dtype=np.float64)
    return float(2 * (counts**3).sum() + missing.shape[1] ** 2 * (len(missing) + 1.0))


def _expectation(
    normal: Normal, values: Floats, missing: Mask, weights: Floats
) -> tuple[Floats, Floats]:
    """Return expected rows, and the weighted sum of their covariances."""
    n_variables = values.shape[1]
    centred = np.where(missing, 0.0, values - normal.mean)
    spread = np.zeros(n_variables**2)
    for rows, gaps in _by_number_missing(missing):
        precisions, sides = _equations(normal.precision, centred[rows], gaps)
        # (n, n_missing, n_missing)
        covariances = np.linalg.inv(precisions)
        centred[rows[:, None], gaps] = (covariances @ sides)[:, :, 0]
        places = gaps[:, :, None] * n_variables + gaps[:, None, :]
        covariances *= weights[rows, None, None]
        spread += np.bincount(places.ravel(), covariances.ravel(), n_variables**2)
    return centred + normal.mean, spread.reshape(n_variables, n_variables)


def _by_number_missing(
    missing: Mask,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Iterate over rows that have equal numbers of missing values.

    Yields
    ------
    rows : ndarray of shape (n,)
        Positions of the rows.
    gaps : ndarray of shape (n, n_missing)
        Positions of their missing values.
    """
    counts, n_variables = missing.sum(axis=1), missing.shape[1]
    for count in np.unique(counts[counts > 0]):
        alike = np.flatnonzero(counts == count)
        size = max(1, _BLOCK // int(count * n_variables))
        for first in range(0, len(alike), size):
            rows = alike[first : first + size]
            yield rows, missing[rows].nonzero()[1].reshape(len(rows), count)


def _equations(
    precision: Floats, centred: Floats, gaps: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the equations whose solutions are the expected missing values.

    Parameters
    ----------
    precision : ndarray of shape (n_variables, n_variables)
        That of the distribution.
    centred : ndarray of shape (n, n_variables)
        Rows minus the mean, zero where values are missing.
    gaps : ndarray of shape (n, n_missing)
        Positions of the missing values.

    Returns
    -------
    precisions : ndarray of shape (n, n_missing, n_missing)
        Precisions of the missing values given the others.
    sides : ndarray of shape (n, n_missing, 1)
        Right-hand sides.
    """
    of_gaps = precision[gaps]  # (n, n_missing, n_variables)
    # Sums that depend on no other row, and not on the number of threads.
    sides: Floats = -np.einsum("nmv,nv->nm", of_gaps, centred)[:, :, None]
    return np.take_along_axis(of_gaps, gaps[:, None, :], axis=2), sides
