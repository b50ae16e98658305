"""Labels of rows, some of which have none."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._missing import is_pandas_na, is_scalar_nan

# Label of rows without one, as in `sklearn.semi_supervised`.
UNLABELLED = -1


@dataclass(frozen=True)
class Target:
    """Labels of rows.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), float64
        Positions in `classes`, or numbers; NaN for rows without a label.
    classes : ndarray of shape (n_classes,) or None
        The classes, in order; None if labels are numbers, or if there are none.
    """

    labels: NDArray[np.float64]
    classes: NDArray[Any] | None

    @property
    def n_labels(self) -> int:
        """Number of rows that have a label."""
        return int(np.isfinite(self.labels).sum())


def read_target(y: Any, n_rows: int, target_type: str) -> Target:
    """Validate labels.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        The labels. None, NaN and missing values of pandas mark rows without one, and
        so does -1 if labels are classes.
    n_rows : int
        Number of rows of the data.
    target_type : {"auto", "multiclass", "continuous"}
        Whether labels are classes or numbers. "auto": numbers that are not all whole
        are numbers, everything else is classes.

    Raises
    ------
    ValueError
        If there is not one label per row, if all labels are one class, or if labels
        are neither numbers nor strings.
    """
    nothing = np.full(n_rows, np.nan)
    if y is None:
        return Target(nothing, None)
    values = _as_objects(y)
    if len(values) != n_rows:
        raise ValueError(f"y has {len(values)} labels, but X has {n_rows} rows.")
    known = np.array([not _is_missing(value) for value in values], dtype=bool)
    if not known.any():
        return Target(nothing, None)
    if _is_continuous(values[known], target_type):
        return _read_numbers(values, known)
    known &= np.array([not _is_unlabelled(value) for value in values], dtype=bool)
    return _read_classes(y, values, known) if known.any() else Target(nothing, None)


def _as_objects(y: Any) -> NDArray[np.object_]:
    """Return labels as objects: numpy would make strings of missing values."""
    found = y.to_numpy() if hasattr(y, "to_numpy") else y
    if not isinstance(found, np.ndarray):
        is_array = hasattr(found, "__array__")
        found = np.asarray(found) if is_array else np.array(list(found), dtype=object)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ValueError(
            f"y must have one label per row, got an array of shape {found.shape}. Fit "
            "an estimator for each column."
        )
    objects = np.empty(len(found), dtype=object)
    # Python's own numbers, as which equal labels of several types are equal.
    objects[:] = found.tolist() if found.dtype.kind in "biuf" else list(found)
    return objects


def _is_missing(value: Any) -> bool:
    return value is None or is_scalar_nan(value) or is_pandas_na(value)


def _is_unlabelled(value: Any) -> bool:
    return isinstance(value, Real) and value == UNLABELLED


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _is_continuous(known: NDArray[np.object_], target_type: str) -> bool:
    if target_type != "auto":
        return target_type == "continuous"
    if not all(map(_is_number, known)):
        return False
    return any(float(value) != np.floor(float(value)) for value in known)


def _read_numbers(values: NDArray[np.object_], known: NDArray[np.bool_]) -> Target:
    labels = np.full(len(values), np.nan)
    for row in np.flatnonzero(known):
        value = values[row]
        if not isinstance(value, Real) or not np.isfinite(float(value)):
            raise ValueError(
                f"y holds {value!r} in row {row}, which is no finite number. Mark rows "
                "without a label by NaN, or set target_type='multiclass' for classes."
            )
        labels[row] = float(value)
    return Target(labels, None)


def _read_classes(
    y: Any, values: NDArray[np.object_], known: NDArray[np.bool_]
) -> Target:
    for row in np.flatnonzero(known):
        if not isinstance(values[row], str | Real | np.bool_):
            raise ValueError(
                f"y holds {values[row]!r} in row {row}. Labels are strings, numbers or "
                "booleans, and None, NaN or -1 for rows without one."
            )
    try:
        classes, positions = np.unique(values[known], return_inverse=True)
    except TypeError as error:
        raise ValueError(
            "y mixes strings and numbers. Use one of them, and None or NaN for rows "
            "without a label."
        ) from error
    if len(classes) < 2:
        raise ValueError(
            f"All labels of y are {classes[0]!r}: there is nothing to tell apart. -1 "
            "marks a row without a label, so name the classes otherwise if -1 is one."
        )
    labels = np.full(len(values), np.nan)
    labels[known] = positions
    return Target(labels, _in_type_of(y, classes))


def _in_type_of(y: Any, classes: NDArray[np.object_]) -> NDArray[Any]:
    """Return classes as an array of numbers, or of strings if they are strings."""
    if isinstance(classes[0], str):
        return classes
    dtype = getattr(y, "dtype", None)
    is_plain = isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    return np.array(classes.tolist(), dtype=dtype if is_plain else None)


@dataclass(frozen=True)
class Coding:
    """How labels are written into a code.

    Parameters
    ----------
    n_classes : int
        Number of classes; 0 for numbers.
    mean, scale : float
        Mean of labels that are numbers, and their standard deviation.
    deviance : float
        Mean cost of the frequencies of the labels, or of their mean.
    """

    n_classes: int
    mean: float
    scale: float
    deviance: float

    @property
    def n_components(self) -> int:
        """Number of components: one for numbers and for two classes."""
        return 1 if self.n_classes <= 2 else self.n_classes

    @property
    def width(self) -> int:
        """Number of columns of coded labels."""
        return max(self.n_classes, 1)


def learn_coding(
    labels: NDArray[np.float64], weights: NDArray[Any] | None, n_classes: int
) -> Coding:
    """Learn the coding of labels, some of which are NaN."""
    known = np.isfinite(labels)
    found = labels[known]
    shares = np.ones(len(found)) if weights is None else weights[known]
    if n_classes:
        counts = np.bincount(found.astype(int), shares, n_classes)
        frequencies = counts[counts > 0] / counts.sum()
        entropy = -(frequencies * np.log(frequencies)).sum()
        return Coding(n_classes, 0.0, 1.0, float(entropy) or 1.0)
    mean = float(np.average(found, weights=shares))
    variance = float(np.average((found - mean) ** 2, weights=shares))
    return Coding(0, mean, variance**0.5 or 1.0, 1.0)
