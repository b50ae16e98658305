"""Totals of rows: counts of an exposure, brought to rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .rows import TrainingData


def row_totals(matrix: Any) -> NDArray[np.float64]:
    """Return the sum of each row of a dense or CSR matrix, (n_rows,)."""
    with np.errstate(over="ignore"):
        totals: NDArray[np.float64] = np.asarray(matrix.sum(axis=1, dtype=np.float64))
    return totals.ravel()


def with_total(matrix: Any, total: float) -> Any:
    """Copy a dense or CSR matrix, its rows scaled to one total; empty ones as is."""
    totals = row_totals(matrix)
    factors = np.divide(total, totals, out=np.ones_like(totals), where=totals > 0)
    factors = factors.astype(matrix.dtype)
    if not sparse.issparse(matrix):
        return matrix * factors[:, np.newaxis]
    scaled = matrix.copy()
    scaled.data *= np.repeat(factors, np.diff(matrix.indptr))
    return scaled


def as_exposures(data: TrainingData, total: float | None) -> tuple[TrainingData, float]:
    """Bring rows to one total; each weighs by what it had.

    The deviance of counts of an exposure is that of their rates, times it.

    Parameters
    ----------
    data : TrainingData
        All rows of a dense or CSR matrix.
    total : float or None
        The total; None for the mean of the rows'.

    Returns
    -------
    data : TrainingData
        Rows of a copy of the matrix.
    total : float
        Their total.

    Raises
    ------
    ValueError
        If nothing is left that weighs anything.
    """
    weights, totals = data.weights, row_totals(data.matrix)
    weights = totals if weights is None else weights * totals
    if not weights.any():
        raise ValueError("normalize_rows='total' needs rows that are not all zero.")
    if total is None:
        total = float(np.average(totals, weights=data.weights))
    return TrainingData(with_total(data.matrix, total), weights / total), total
