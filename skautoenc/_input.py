"""What estimators take in and give back: checks, weights, frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config
from sklearn.utils.validation import _check_sample_weight, validate_data

from .training import StreamedMatrix, blocks, take

# Number of the first row that is checked, of those of a stream.
first_row: ContextVar[int] = ContextVar("first_row", default=0)

# Columns beyond which steps over sparse rows take far longer than other methods do.
_WIDE = 1000
# Of two, for weights: products and sums of many stay far from the ends of float64.
_LARGEST_EXPONENT = 500


def check_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, min_rows: int = 1
) -> Any:
    """Check the data of `fit`, `transform` and their kin.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose `n_features_in_` and `feature_names_in_` are set or compared.
    X : array-like, sparse matrix or frame of shape (n_samples, n_features)
        The data.
    reset : bool
        Whether to set these attributes rather than compare.
    min_rows : int, default=1
        Fewest rows accepted.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features)
        float32 as it came, everything else float64.

    Raises
    ------
    ValueError
        If `X` has the wrong shape or names, or values that are not finite numbers.
    TypeError
        If `X` has entries that are not numbers.
    """
    try:
        matrix = validate_data(
            estimator,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=min_rows,
            reset=reset,
        )
    except (ValueError, TypeError) as error:
        column = _column_without_numbers(X)
        if column is None:
            raise
        raise type(error)(
            f"Column {column!r} of X does not hold numbers ({error}). Encode it, with "
            "OrdinalEncoder or OneHotEncoder for one, or leave it out."
        ) from error
    _check_finite(matrix, getattr(estimator, "feature_names_in_", None))
    return matrix


def _column_without_numbers(X: Any) -> str | None:
    """Name the first column of a frame that cannot be read as numbers."""
    if not hasattr(X, "columns"):
        return None
    for name in X.columns:
        column = np.asarray(X[name])
        try:
            column.astype(np.float64)
        except (ValueError, TypeError):
            return str(name)
        if column.dtype.kind in "mM":
            return str(name)
    return None


def _check_finite(matrix: Any, names: NDArray[Any] | None) -> None:
    """Raise a ValueError that names the column of the first value that is not."""
    values = matrix.data if sparse.issparse(matrix) else matrix
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values)):
            return
    for block in blocks(*matrix.shape):
        rows = take(matrix, block)
        faults = np.argwhere(~np.isfinite(rows))
        if len(faults):
            row, column = faults[0]
            first = first_row.get() + block.start
            what = "NaN" if np.isnan(rows[row, column]) else "infinity"
            label = column if names is None else repr(str(names[column]))
            raise ValueError(
                f"Input X contains {what}: row {first + row}, column {label}. "
                "Fill the gaps (SimpleImputer) or drop the rows first."
            )


def refuse(estimator: BaseEstimator, name: str, expected: str) -> NoReturn:
    """Raise the error of a parameter that is not as expected."""
    raise InvalidParameterError(
        f"The {name!r} parameter of {type(estimator).__name__} must be {expected}. Got "
        f"{getattr(estimator, name)!r} instead."
    )


def check_layer_sizes(estimator: BaseEstimator) -> None:
    """Raise the error of `hidden_layer_sizes` that are no widths, nor "auto"."""
    sizes = estimator.hidden_layer_sizes
    if not isinstance(sizes, str) and not all(
        isinstance(size, Integral) and int(size) > 0 for size in sizes
    ):
        refuse(
            estimator,
            "hidden_layer_sizes",
            "'auto' or a sequence of positive integers, such as (256, 128)",
        )


def check_range(data: TrainingData, lowest: float, highest: float, why: str) -> None:
    """Raise a ValueError if values are outside a range.

    Parameters
    ----------
    data : TrainingData
        The rows.
    lowest, highest : float
        The range; infinite for none.
    why : str
        What asks for it, to begin the message with.
    """
    for rows in data.in_blocks():
        # Scalers leave the range by rounding.
        outside = (rows < lowest - 1e-6) | (rows > highest + 1e-6)
        if outside.any():
            what = "between 0 and 1" if np.isfinite(highest) else "of 0 and more"
            raise ValueError(
                f"{why} needs values {what}, got {rows[outside][0]:g}. Bring X into "
                "that range first, or train anew with loss='squared_error'."
            )


def is_binary(data: TrainingData) -> bool:
    """Whether the data is zeros and ones only."""
    return all(bool(((rows == 0) | (rows == 1)).all()) for rows in data.in_blocks())


def check_codes(estimator: Any, X: Any, *widths: int) -> NDArray[np.float32]:
    """Check what `inverse_transform` is given.

    Parameters
    ----------
    estimator : BaseEstimator
        Named in the error.
    X : array-like or frame of shape (n_samples, n_features_out)
        The codes.
    *widths : int
        Numbers of columns that are accepted, that of `transform` last.

    Raises
    ------
    ValueError
        If `X` has another number of columns, or values that are not finite.
    """
    codes: NDArray[np.float32] = check_array(X, dtype=np.float32, input_name="X")
    if codes.shape[1] not in widths:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but transform of this "
            f"{type(estimator).__name__} gives {widths[-1]}. Pass what it returned."
        )
    return codes


def check_weights(sample_weight: ArrayLike | None, matrix: Any) -> NDArray[Any] | None:
    """Check the sample weights: one a row, none negative, not all zero.

    Weights so large that their sum overflows, or so small that they have lost digits,
    are multiplied by a power of two: only their ratios matter.
    """
    if sample_weight is None:
        return None
    weights: NDArray[Any] = _check_sample_weight(
        sample_weight, matrix, dtype=np.float64, ensure_non_negative=True
    )
    exponent = int(np.frexp(weights.max())[1])
    if abs(exponent) > _LARGEST_EXPONENT:
        wanted = int(np.copysign(_LARGEST_EXPONENT, exponent))
        weights = np.ldexp(weights, wanted - exponent)
    return weights


@dataclass(frozen=True)
class TrainingData:
    """Rows of a matrix, with their weights; the matrix is not copied.

    Parameters
    ----------
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The data.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows at `index`.
    index : ndarray of shape (n_samples,) or None
        The rows that take part; None for all.
    """

    matrix: Any
    weights: NDArray[Any] | None = None
    index: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.matrix.shape[0] if self.index is None else len(self.index))

    @property
    def window(self) -> int:
        """How many rows, one after the other, can be read in any order."""
        if not isinstance(self.matrix, StreamedMatrix):
            return len(self)
        capacity = self.matrix.capacity
        if self.index is None:
            return capacity
        ends = np.searchsorted(self.index, self.index + capacity)
        sizes = (ends - np.arange(len(self)))[ends < len(self)]
        return int(sizes.min(initial=len(self)))

    @property
    def is_wide_sparse(self) -> bool:
        """Whether the rows are sparse and wide, as those of words are."""
        return bool(sparse.issparse(self.matrix) and self.matrix.shape[1] > _WIDE)

    def in_blocks(self) -> Iterator[NDArray[Any]]:
        """Run through the rows, a dense block at a time."""
        for block in blocks(len(self), self.matrix.shape[1]):
            yield take(self.matrix, block, self.index)

    def _select(self, chosen: NDArray[np.int64]) -> TrainingData:
        return TrainingData(
            self.matrix,
            None if self.weights is None else self.weights[chosen],
            chosen if self.index is None else self.index[chosen],
        )

    def without_zero_weights(self) -> TrainingData:
        """Leave out the rows that weigh nothing."""
        if self.weights is None or self.weights.all():
            return self
        return self._select(np.flatnonzero(self.weights))

    def split(
        self, fraction: float, random_state: np.random.RandomState
    ) -> tuple[TrainingData, TrainingData]:
        """Hold out a random share of the rows.

        Raises
        ------
        ValueError
            If that leaves fewer than two rows on either side.
        """
        held_out = int(np.ceil(fraction * len(self)))
        if min(held_out, len(self) - held_out) < 2:
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} splits "
                f"{len(self)} rows into {len(self) - held_out} and {held_out}; both "
                "need two at least. Change validation_fraction, or set "
                "early_stopping=False."
            )
        order = random_state.permutation(len(self))
        parts = order[held_out:], order[:held_out]
        # In order, as they come from a disk or a stream.
        training, validation = (self._select(np.sort(part)) for part in parts)
        return training, validation

    def merge_equal_rows(self) -> TrainingData:
        """Sort the rows and let weights stand for repetition.

        A fit that sees all rows in each step depends on the weighted set of rows
        alone. In this form neither their order nor a repetition in place of a weight
        reaches the rounding.
        """
        rows = take(self.matrix, slice(None), self.index)
        gaps = np.isnan(rows)
        # NaN is equal to nothing, a gap is equal to a gap.
        keys = np.hstack([np.nan_to_num(rows), gaps]) if gaps.any() else rows
        _, first, inverse = np.unique(
            keys, axis=0, return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse.ravel(), weights=self.weights)
        return TrainingData(rows[first], None if (weights == 1).all() else weights)

    def moments(self) -> tuple[NDArray[np.float64], float]:
        """Return the columns' means and the root of their mean variance.

        Raises
        ------
        ValueError
            If the values are too large for their variance to be a number.
        """
        scaler = StandardScaler()
        relative = None if self.weights is None else self.weights / self.weights.max()
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks(len(self), self.matrix.shape[1]):
                rows = take(self.matrix, block, self.index)
                weights = None if relative is None else relative[block]
                scaler.partial_fit(rows.astype(np.float64, copy=False), None, weights)
            mean: NDArray[np.float64] = scaler.mean_
            # The scaler divides columns that are constant to rounding by one.
            constant = scaler.scale_ != np.sqrt(scaler.var_)
            variance = np.where(constant, 0, scaler.var_).mean()
        if not np.isfinite(scaler.var_).all() or not np.isfinite(variance):
            raise ValueError(
                "The values of X are too large: their variance overflows. Scale them "
                "first, with StandardScaler or RobustScaler for one."
            )
        return mean, float(np.sqrt(variance)) if variance > 0 else 1.0


def as_configured_frame(
    estimator: BaseEstimator, values: NDArray[Any], columns: Any, original: Any
) -> Any:
    """Wrap `values` in the frame that `set_output` asks for, if it asks for one.

    scikit-learn does so for `transform` alone, and with the output's names.
    """
    library = _get_output_config("transform", estimator)["dense"]
    if library == "default" or columns is None:
        return values
    adapter = ADAPTERS_MANAGER.adapters[library]
    return adapter.create_container(values, original, columns=columns)
