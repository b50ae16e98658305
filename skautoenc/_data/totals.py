"""Totals of rows: counts with an exposure, converted to rates."""

from __future__ import annotations

from dataclasses import replace
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
    """Copy a dense or CSR matrix, with rows scaled to one total, except empty ones."""
    totals = row_totals(matrix)
    factors = np.divide(total, totals, out=np.ones_like(totals), where=totals > 0)
    factors = factors.astype(matrix.dtype)
    if not sparse.issparse(matrix):
        return matrix * factors[:, np.newaxis]
    scaled = matrix.copy()
    scaled.data *= np.repeat(factors, np.diff(matrix.indptr))
    return scaled


def as_exposures(data: TrainingData, total: float | None) -> tuple[TrainingData, float]:
    """Scale rows to one total, and weight each by its original total.

    The deviance of counts is the deviance of their rates, multiplied by the exposure.

    Parameters
    ----------
    data : TrainingData
        All rows of a dense or CSR matrix.
    total : float or None
        The total; None for the mean of the row totals.

    Returns
    -------
    data : TrainingData
        Rows of a copy of the matrix.
    total : float
        Their total.

    Raises
    ------
    ValueError
        If no row has a positive weight.
    """
    weights, totals = data.weights, row_totals(data.matrix)
    weights = totals if weights is None else weights * totals
    if not data.in_any(bool(weights.any())):
        raise ValueError("normalize_rows='total' needs rows that are not all zero.")
    if total is None:
        total = data.mean_of(totals)
    matrix = with_total(data.matrix, total)
    return replace(data, matrix=matrix, weights=weights / total), total
