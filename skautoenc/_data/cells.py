"""Cells of arrays and frames that are not numbers, and advice on them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from numbers import Rational
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

TABLES = "TabularAutoencoderTransformer"
_LISTS = list, tuple, np.ndarray
_DATES = datetime.date, datetime.time, np.datetime64
_DURATIONS = datetime.timedelta, np.timedelta64
# numpy silently converts these to numbers.
_MISREAD = np.datetime64, np.timedelta64
# Some errors of numpy list all of its types, which does not help.
_LONGEST_REASON = 100
_LONGEST_VALUE = 40
# Advice on cells of arrays that an estimator of tables gets.
_OF_TABLES = {
    "large": "Take its logarithm or divide it, or name it in categorical_features to "
    "take it as a category",
    "complex": "Complex data not supported: pass real and imaginary parts as columns",
    "date": "Pass a frame, in which dates are taken as they are, and durations as "
    "numbers (.dt.total_seconds())",
    "other": "Name it in categorical_features to take it as a category",
}


def first_fault(values: NDArray[Any]) -> tuple[int, Any] | None:
    """Return the first value that is not a number, and its row, or None."""
    if values.dtype.kind in "biuf" or not len(values):
        return None
    if values.dtype.kind in "mMc":
        return 0, values[0]
    for row, value in enumerate(values):
        if value is None:
            continue
        if type(value).__name__ == "NAType":
            return row, None
        if not _is_number(value):
            return row, value
    return None


def _is_number(value: Any) -> bool:
    if isinstance(value, _MISREAD):
        return False
    try:
        float(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def misread_row(values: NDArray[Any]) -> int | None:
    """Return the first row in which numpy would convert a date or a duration."""
    if values.dtype.kind in "mM":
        return 0 if len(values) else None
    if values.dtype != object:
        return None
    # Collecting the types takes a tenth of the time of checking each value.
    kinds = set(map(type, values))
    if not any(issubclass(kind, _MISREAD) for kind in kinds):
        return None
    return next(n for n, value in enumerate(values) if isinstance(value, _MISREAD))


def unmasked(X: Any) -> Any:
    """Return a masked array with missing values in place of masked cells."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    if not np.ma.is_masked(X):
        return np.asarray(X)
    if X.dtype.kind in "biuf":
        dtype, missing = np.result_type(X.dtype, np.float32), np.nan
    else:
        dtype, missing = np.dtype(object), None
    # Integers cannot represent missing values.
    found = X.data.astype(dtype)
    found[np.ma.getmaskarray(X)] = missing
    return found


def is_too_large(value: Any) -> bool:
    """Whether a value is an integer or a fraction beyond the range of float64."""
    # In Python, numpy's durations are integers.
    if not isinstance(value, Rational) or isinstance(value, _MISREAD):
        return False
    try:
        float(value)
    except OverflowError:
        return True
    return False


def too_large(value: Any) -> str:
    """Describe a number that `is_too_large`, of more digits than Python prints."""
    if not isinstance(value, int):
        return f"a {type(value).__name__} that is too large for float64"
    n_digits = int(value.bit_length() * math.log10(2)) + 1
    return f"an integer of about {n_digits} digits, too large for float64,"


def _sort_of(value: Any) -> str:
    """Return what a value is that is not a plain number."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return "missing"
    if is_too_large(value):
        return "large"
    sorts = {
        "complex": (complex, np.complexfloating),
        "text": (str, bytes),
        "duration": _DURATIONS,
        "date": _DATES,
        "list": _LISTS,
    }
    found = (sort for sort, kinds in sorts.items() if isinstance(value, kinds))
    return next(found, "other")


def describe(
    value: Any, row: int, label: Any, error: Exception | None, *, is_frame: bool
) -> tuple[str, str]:
    """Describe a value of a column that is not a number, with advice.

    Parameters
    ----------
    value : object
        The first such value.
    row : int
        Its row.
    label : object
        Name or position of the column.
    error : Exception or None
        Error of its conversion to a number.
    is_frame : bool
        Whether the data is a frame.
    """
    sort = _sort_of(value)
    told, advice = _told(value, sort, error), "Convert it to numbers, or leave it out."
    if sort == "large":
        advice = "Take its logarithm, divide it, or leave it out."
    elif sort == "text":
        parameter = "" if is_frame else f"(categorical_features=[{label}])"
        advice = (
            "Encode it with OrdinalEncoder or OneHotEncoder, leave it out, or use "
            f"{TABLES}{parameter}, which takes it as it is."
        )
    elif sort == "duration":
        way = ".dt.total_seconds()" if is_frame else "a division by one second"
        advice = f"Make numbers of it, by {way}, or leave it out."
    elif sort == "date":
        source = "" if is_frame else ", in a frame,"
        advice = (
            "Turn it into numbers (a year, a weekday), leave it out, or use "
            f"{TABLES}, which takes dates{source} as they are."
        )
    return f"{told} in row {row}", advice


def _told(value: Any, sort: str, error: Exception | None) -> str:
    """Say what a column holds, of which a value is an example."""
    if sort == "large":
        return too_large(value)
    if sort in ("text", "duration", "date"):
        name = sort if sort == "text" else f"{sort}s"
        example = value if sort == "text" else str(value)
        return f"{name}, such as {_shortened(example)}"
    what = "lists" if sort == "list" else type(value).__name__
    reason = str(error or "")
    return f"{what} ({reason})" if 0 < len(reason) <= _LONGEST_REASON else what


def _shortened(text: str | bytes) -> str:
    # numpy's own strings would show their class.
    whole = repr(bytes(text) if isinstance(text, bytes) else str(text))
    return whole if len(whole) <= _LONGEST_VALUE else f"{whole[:_LONGEST_VALUE]}..."


def each_column(X: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Iterate over the columns of a frame by name, of an array by position."""
    if hasattr(X, "iloc"):
        for position, name in enumerate(X.columns):
            yield repr(str(name)), np.asarray(X.iloc[:, position])
    elif hasattr(X, "columns"):
        frame = nw.from_native(X, eager_only=True)
        for name in frame.columns:
            yield repr(name), frame.get_column(name).to_numpy()
    else:
        array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        for position in range(array.shape[1]):
            yield position, array[:, position]


def find_fault(X: Any) -> str | None:
    """Describe the first cell of an array that is not a number, or return None.

    For estimators of tables, which accept missing values and categories.
    """
    # As objects, since lists of different lengths make an array of objects, too.
    cells = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
    if cells.ndim != 2 or cells.dtype.kind not in "fcmMOUST":
        return None
    is_float = cells.dtype.kind == "f"
    places = np.argwhere(np.isinf(cells)) if is_float else np.ndindex(cells.shape)
    for row, column in places:
        fault = _fault_of(cells[row, column])
        if fault is not None:
            problem, way_out = fault
            return f"Column {column} holds {problem} in row {row}. {way_out}."
    return None


def _fault_of(value: Any) -> tuple[str, str] | None:
    """Return what is wrong with a cell of an array of numbers, and advice."""
    if value is None:
        return None
    sort = _sort_of(value)
    if sort == "missing":
        name = type(value).__name__.removesuffix("Type")
        return f"pd.{name}", "Use None or np.nan for a missing value"
    if sort == "large":
        return too_large(value), _OF_TABLES[sort]
    if sort == "complex":
        return f"{value!s:.40}, which is complex,", _OF_TABLES[sort]
    if sort in ("date", "duration"):
        return f"{value!s:.40}, which is no number,", _OF_TABLES["date"]
    if not _is_number(value):
        told = _shortened(value) if sort == "text" else f"{value!r:.40}"
        return f"{told}, which is no number,", _OF_TABLES["other"]
    is_infinite = np.isinf(float(value))
    return ("infinity", "Replace it by a number or by NaN") if is_infinite else None
