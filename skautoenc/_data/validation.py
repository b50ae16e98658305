"""Validation of input, weights and codes, and frames as output."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config
from sklearn.utils.validation import _check_sample_weight, validate_data

from .array_api import to_numpy
from .explain import (
    advise_on_missing,
    explain,
    explain_codes,
    explain_weights,
    refuse_misread,
    refuse_unread,
)
from .rows import TrainingData, blocks, take

# Exponent of two for weights: sums and products of many stay in the range of float64.
_LARGEST_EXPONENT = 500


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    *,
    reset: bool,
    min_rows: int = 1,
    first_row: int = 0,
) -> Any:
    """Validate the data of `fit`, `transform` and similar methods.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose `n_features_in_` and `feature_names_in_` are set or compared.
    X : array-like, sparse matrix or frame of shape (n_samples, n_features)
        The data.
    reset : bool
        Whether to set these attributes instead of comparing.
    min_rows : int, default=1
        Minimum number of rows.
    first_row : int, default=0
        Index of the first row in a stream; errors name rows by it.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features)
        float32 if `X` is float32, otherwise float64.

    Raises
    ------
    ValueError
        If `X` has the wrong shape or names, or values that are not finite numbers.
    TypeError
        If `X` has entries that are not numbers, or is something that yields data.
    """
    if not reset and _is_as_in_fit(estimator, X, min_rows):
        _check_finite(X, None, first_row)
        return X
    if type(X) is not np.ndarray or X.dtype.kind not in "biuf":
        X = to_numpy(X)
        refuse_unread(X)
        refuse_misread(X, first_row)
    try:
        # Values of longdouble that float64 does not hold become infinite.
        with np.errstate(over="ignore"):
            matrix = validate_data(
                estimator,
                X,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
                ensure_min_samples=min_rows,
                reset=reset,
            )
    except (ValueError, TypeError, OverflowError) as error:
        better = explain(estimator, X, error, first_row)
        if better is None:
            raise
        raise better from error
    _check_finite(matrix, getattr(estimator, "feature_names_in_", None), first_row)
    return matrix


def _is_as_in_fit(estimator: BaseEstimator, X: Any, min_rows: int) -> bool:
    """Whether scikit-learn's checks would certainly accept the data unchanged.

    For a single row, they take as long as the network.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in (np.float64, np.float32)
        and X.dtype.isnative
        and len(X) >= max(min_rows, 1)
        and X.shape[1] == estimator.n_features_in_
        # Names would have to be compared.
        and not hasattr(estimator, "feature_names_in_")
    )


def _check_finite(matrix: Any, names: NDArray[Any] | None, first_row: int) -> None:
    """Raise a ValueError with row and column of the first value that is not finite."""
    values = matrix.data if sparse.issparse(matrix) else matrix
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values)):
            return
    for block in blocks(*matrix.shape):
        rows = take(matrix, block)
        faults = np.argwhere(~np.isfinite(rows))
        if len(faults):
            row, column = faults[0]
            what = "NaN" if np.isnan(rows[row, column]) else "infinity"
            label = column if names is None else repr(str(names[column]))
            row += first_row + block.start
            raise ValueError(advise_on_missing(what, row, label))


def refuse(estimator: BaseEstimator, name: str, expected: str) -> NoReturn:
    """Raise the error of an invalid parameter."""
    raise InvalidParameterError(
        f"The {name!r} parameter of {type(estimator).__name__} must be {expected}. Got "
        f"{getattr(estimator, name)!r} instead."
    )


def as_widths(widths: Any) -> Any:
    """Return the widths of layers as a sequence; one number is one layer."""
    return (widths,) if isinstance(widths, Integral) else widths


def check_layer_sizes(estimator: BaseEstimator) -> None:
    """Raise the error of `hidden_layer_sizes` that are neither widths nor "auto"."""
    sizes = as_widths(estimator.hidden_layer_sizes)
    if not isinstance(sizes, str) and not all(
        isinstance(size, Integral) and not isinstance(size, bool) and int(size) > 0
        for size in sizes
    ):
        refuse(
            estimator,
            "hidden_layer_sizes",
            "'auto', a positive integer or a sequence of them, such as (256, 128)",
        )


def check_range(
    data: TrainingData,
    lowest: float,
    highest: float,
    why: str,
    *,
    otherwise: str,
    names: NDArray[Any] | None = None,
) -> None:
    """Raise a ValueError if values are outside a range.

    Parameters
    ----------
    data : TrainingData
        The rows.
    lowest, highest : float
        The range; infinite for none.
    why : str
        What requires the range; the message begins with it.
    otherwise : str
        What to do instead of bringing the data into the range.
    names : ndarray of str objects, optional
        Names of the columns.
    """

    # Scalers exceed the range by rounding errors.
    def is_outside(rows: NDArray[Any]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (rows < lowest - 1e-6) | (rows > highest + 1e-6)
        return found

    fault = _first_of(data, is_outside, names)
    if fault is not None:
        what = "between 0 and 1" if np.isfinite(highest) else "of 0 and more"
        raise ValueError(
            f"{why} needs values {what}, got {fault}. Bring X into that range first, "
            f"or {otherwise}."
        )


def check_whole(
    data: TrainingData,
    highest: float,
    likelihood: str,
    *,
    otherwise: str,
    names: NDArray[Any] | None = None,
) -> None:
    """Raise a ValueError unless all values are whole numbers from 0 to a highest.

    Parameters
    ----------
    data : TrainingData
        The rows.
    highest : float
        Maximum value; infinite for none.
    likelihood : str
        Name of the likelihood, for the message.
    otherwise : str
        What to do with other data, a sentence.
    names : ndarray of str objects, optional
        Names of the columns.
    """

    def is_wrong(rows: NDArray[Any]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_]
        found = (rows < 0) | (rows > highest) | (rows != np.floor(rows))
        return found

    fault = _first_of(data, is_wrong, names)
    if fault is not None:
        what = "zeros and ones" if highest == 1 else "counts, 0 or more,"
        raise ValueError(
            f"The likelihood {likelihood!r} needs {what} only, got {fault}. {otherwise}"
        )


def _first_of(
    data: TrainingData,
    is_wrong: Callable[[NDArray[Any]], NDArray[np.bool_]],
    names: NDArray[Any] | None,
) -> str | None:
    """Return the first wrong value with its row and column, or None."""
    first = 0
    for rows in data.in_blocks():
        wrong = is_wrong(rows)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            place = first + row if data.index is None else data.index[first + row]
            label = column if names is None else repr(str(names[column]))
            return f"{rows[row, column]:g} (row {place}, column {label})"
        first += len(rows)
    return None


def check_codes(
    estimator: Any, X: Any, *widths: int, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Validate the input of `inverse_transform`.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator that the error names.
    X : array-like or frame of shape (n_samples, n_features_out)
        The codes.
    *widths : int
        Numbers of columns that are accepted, that of `transform` last.
    dtype : dtype, default=float32
        Type of the result.

    Raises
    ------
    ValueError
        If `X` has another number of columns, or values that are not finite.
    """
    codes = _check_code_values(X, dtype)
    if codes.shape[1] not in widths:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but transform of this "
            f"{type(estimator).__name__} gives {widths[-1]}. Pass what it returned."
        )
    return codes


def _check_code_values(X: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return codes as an array; an error names the first cell that is not a number."""
    X = to_numpy(X)
    try:
        refuse_misread(X)
        codes: NDArray[Any] = check_array(X, dtype=dtype, input_name="X")
    except (ValueError, TypeError, OverflowError) as error:
        better = explain_codes(X)
        if better is None:
            raise
        raise better from error
    return codes


def check_weights(sample_weight: ArrayLike | None, matrix: Any) -> NDArray[Any] | None:
    """Validate the sample weights: one per row, none negative, not all zero.

    Weights whose sum overflows, or that are so small that they lose digits, are
    multiplied by a power of two: only their ratios matter.
    """
    if sample_weight is None:
        return None
    sample_weight = to_numpy(sample_weight)
    fault = explain_weights(sample_weight)
    if fault is not None:
        raise fault
    weights: NDArray[Any] = _check_sample_weight(
        sample_weight, matrix, dtype=np.float64, ensure_non_negative=True
    )
    exponent = int(np.frexp(weights.max())[1])
    if abs(exponent) > _LARGEST_EXPONENT:
        wanted = int(np.copysign(_LARGEST_EXPONENT, exponent))
        weights = np.ldexp(weights, wanted - exponent)
    return weights


def weighted_mean(
    values: NDArray[np.float64], weights: NDArray[Any] | None
) -> np.float64:
    """Return the mean of values; those of weight zero may be infinite."""
    if weights is not None:
        # Infinity times zero would be NaN.
        values[weights == 0] = 0
    return np.float64(np.average(values, weights=weights))


def as_configured_frame(
    estimator: BaseEstimator, values: NDArray[Any], columns: Any, original: Any
) -> Any:
    """Wrap `values` in the frame that `set_output` requests, if it requests one.

    scikit-learn does this for `transform` only, with names of output features.
    """
    library = _get_output_config("transform", estimator)["dense"]
    if library == "default" or columns is None:
        return values
    adapter = ADAPTERS_MANAGER.adapters[library]
    return adapter.create_container(values, original, columns=columns)
