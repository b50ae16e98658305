"""How sparse a code is, and what it explains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import check_scalar, gen_batches
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import check_is_fitted

from .._model.matrix import MatrixSide
from .._model.model import CodeMap, Model

# Rows whose codes are in memory at a time.
_N_ROWS = 4096


@dataclass(frozen=True)
class SparsityReport:
    """How sparse a code is, and what it explains: the result of `sparsity_report`.

    Parameters
    ----------
    n_active : float
        Mean number of active units of a row (L0).

    explained_variance : float
        Share of the variance of the rows that the reconstruction explains.

    activation_rates : ndarray of shape (n_components,)
        Share of the rows in which each unit is active.

    dense_rate : float
        Share of the rows above which a unit counts as dense.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import SparsityReport
    >>> report = SparsityReport(0.55, 0.9, np.array([0, 0.05, 0.5]), dense_rate=0.1)
    >>> report.n_dead, report.n_dense
    (1, 1)
    """

    n_active: float
    explained_variance: float
    activation_rates: NDArray[np.float64]
    dense_rate: float

    @property
    def n_dead(self) -> int:
        """Number of units that are active in none of the rows."""
        return int((self.activation_rates == 0).sum())

    @property
    def n_dense(self) -> int:
        """Number of units that are active in more than `dense_rate` of the rows."""
        return int((self.activation_rates > self.dense_rate).sum())


def sparsity_report(
    estimator: Any, X: Any, *, dense_rate: float = 0.1
) -> SparsityReport:
    """Report how sparse a code is, and what it explains.

    Parameters
    ----------
    estimator : AutoencoderTransformer
        Fitted autoencoder with a rectified code, whatever its `features` are.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to encode. Held-out rows show what is true of new ones.

    dense_rate : float, default=0.1
        Share of the rows above which a unit counts as dense.

    Returns
    -------
    SparsityReport
        Active units are those that the decoder gets, after the sparsity rule.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If its code is not rectified: no unit of such a code is ever inactive.
    ValueError
        If the rows do not fit the estimator.

    Notes
    -----
    These are the measures that are usual for sparse autoencoders of language models
    [1]_. The variance is that of the rows given, around their own mean.

    References
    ----------
    .. [1] Karvonen et al., "SAEBench: a comprehensive benchmark for sparse autoencoders
       in language model interpretability", ICML 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skautoenc import AutoencoderTransformer
    >>> from skautoenc.inspection import sparsity_report
    >>> X = load_digits().data / 16
    >>> wide = AutoencoderTransformer(256, max_iter=10, random_state=0).fit(X[:1200])
    >>> report = sparsity_report(wide, X[1200:])
    >>> report.activation_rates.shape, report.n_dead < 256, report.n_active < 256
    ((256,), True, True)
    >>> 0.5 < report.explained_variance < 1
    True
    """
    check_is_fitted(estimator)
    check_scalar(dense_rate, "dense_rate", (int, float), min_val=0, max_val=1)
    model = _sparse_model(estimator)
    matrix = estimator._read_rows(X)
    n_rows = matrix.shape[0]
    counts = np.zeros(model.n_components)
    for code in _codes(model, matrix):
        counts += (code != 0).sum(axis=0)
    errors = estimator._errors(X).mean() * matrix.shape[1]
    variance = _total_variance(matrix)
    return SparsityReport(
        n_active=float(counts.sum() / n_rows),
        explained_variance=float(1 - errors / variance) if variance > 0 else np.nan,
        activation_rates=counts / n_rows,
        dense_rate=float(dense_rate),
    )


def _sparse_model(estimator: Any) -> Model[Any]:
    """Return the model with the code after the sparsity rule as its features."""
    model = getattr(estimator, "_model", None)
    if (
        not isinstance(model, Model)
        or not isinstance(model.side, MatrixSide)
        or not model.network.is_sparse
    ):
        raise TypeError(
            "sparsity_report expects an autoencoder of rows with a rectified code, got "
            f"{estimator!r:.200}. Set n_components to more than the number of columns, "
            "or sparsity, for instance to 'lifetime'."
        )
    return replace(model, code=CodeMap("sparse"))


def _codes(model: Model[Any], matrix: Any) -> Iterator[NDArray[np.float32]]:
    for rows in gen_batches(matrix.shape[0], _N_ROWS):
        yield model.encode(matrix[rows])


def _total_variance(matrix: Any) -> float:
    """Return the sum of the variances of the columns."""
    if issparse(matrix):
        return float(mean_variance_axis(matrix, axis=0)[1].sum(dtype=np.float64))
    return float(np.var(matrix, axis=0, dtype=np.float64).sum())
