"""Why data cannot be read as numbers, and what to do about it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

_TABLES = "TabularAutoencoderTransformer"
_IMAGES = "ConvAutoencoderTransformer and PatchAutoencoderTransformer"
_LISTS = list, tuple, np.ndarray
_DATES = datetime.date, datetime.time, np.datetime64
# An error of numpy's lists all its types, which helps nobody.
_LONGEST_REASON = 100
_LONGEST_VALUE = 40


def refuse_unread(X: Any) -> None:
    """Raise a TypeError if `X` is no data yet, but something that gives data.

    Raises
    ------
    TypeError
        That says how to get at the data.
    """
    if hasattr(X, "shape") or isinstance(X, list | tuple):
        return
    name = type(X).__name__
    if hasattr(X, "collect"):
        advice = (
            f"is a {name}, whose rows are not computed yet. Pass X.collect(), or, to "
            "fit of AutoencoderTransformer, Blocks of collected parts."
        )
    elif isinstance(X, DataLoader):
        advice = (
            f"is a {name}. Pass Blocks(X) to fit of AutoencoderTransformer or "
            "ConvAutoencoderTransformer, and one batch at a time elsewhere."
        )
    elif isinstance(X, Dataset):
        advice = (
            f"is a {name}. Pass an array of its rows, or, to fit of "
            "AutoencoderTransformer or ConvAutoencoderTransformer, "
            "Blocks(DataLoader(X, batch_size=1024))."
        )
    elif isinstance(X, Iterator):
        advice = (
            f"is a {name}, which can be read only once. Pass an array, or, to fit of "
            "AutoencoderTransformer or ConvAutoencoderTransformer, Blocks of a "
            "function that returns such an iterator anew."
        )
    elif isinstance(X, Mapping):
        advice = f"is a {name}. Pass a frame, such as pandas.DataFrame(X)."
    else:
        return
    raise TypeError(f"X {advice}")


def advise_on_missing(what: str, row: int, label: Any) -> str:
    """Say what to do about a value that is "NaN" or "infinity"."""
    advice = (
        f"Fill the gaps (SimpleImputer), drop the rows, or use {_TABLES}, which "
        "takes missing values."
        if what == "NaN"
        else "Replace it by a number or clip it first (numpy.nan_to_num, numpy.clip): "
        "SimpleImputer does not take infinity."
    )
    return f"Input X contains {what}: row {row}, column {label}. {advice}"


def explain(estimator: Any, X: Any, error: Exception) -> Exception | None:
    """Find a better error than the one that reading `X` as numbers ended with.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose data it is.
    X : object
        The data.
    error : ValueError or TypeError
        What was raised.

    Returns
    -------
    ValueError, TypeError or None
        An error that says where the fault is and what to do; None if nothing is wrong
        with the shape or the values of `X`.
    """
    try:
        return _explain_shape(estimator, X) or _explain_values(X, error)
    except Exception:
        # What cannot even be looked through is told by the error that is there.
        return None


def _explain_shape(estimator: Any, X: Any) -> Exception | None:
    if getattr(getattr(X, "dtype", None), "names", None):
        return TypeError(
            "X is a structured array. Pass a frame, such as pandas.DataFrame(X)."
        )
    shape = np.shape(X)
    if len(shape) < 3:
        return None
    return ValueError(
        f"Found array with dim {len(shape)}, of shape {tuple(shape)}, while "
        f"{type(estimator).__name__} takes rows: dim <= 2. Make each sample a row, by "
        f"X.reshape(len(X), -1); {_IMAGES} take images as arrays of shape (n_samples, "
        "height, width) or (n_samples, height, width, n_channels)."
    )


def _explain_values(X: Any, error: Exception) -> Exception | None:
    is_frame = hasattr(X, "columns")
    for label, values in _columns(X):
        fault = _first_fault(values)
        if fault is None:
            continue
        row, value = fault
        if value is None:
            return ValueError(advise_on_missing("NaN", row, label))
        if isinstance(value, complex | np.complexfloating):
            return ValueError(
                f"Complex data not supported: column {label} of X holds complex "
                "numbers. Pass their real and imaginary parts as columns."
            )
        what, advice = _describe(value, label, error, is_frame=is_frame)
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(f"Column {label} of X does not hold numbers but {what}. {advice}")
    return None


def _describe(
    value: Any, label: Any, error: Exception, *, is_frame: bool
) -> tuple[str, str]:
    """Say what a column holds that is no number, and what to do about it."""
    if isinstance(value, str | bytes):
        parameter = "" if is_frame else f"(categorical_features=[{label}])"
        return (
            f"text, such as {_shortened(value)}",
            "Encode it with OrdinalEncoder or OneHotEncoder, leave it out, or use "
            f"{_TABLES}{parameter}, which takes it as it is.",
        )
    if isinstance(value, _DATES):
        source = "" if is_frame else ", in a frame,"
        return (
            f"dates, such as {_shortened(str(value))}",
            "Turn it into numbers (a year, a weekday), leave it out, or use "
            f"{_TABLES}, which takes dates{source} as they are.",
        )
    what = "lists" if isinstance(value, _LISTS) else type(value).__name__
    reason = str(error)
    told = f" ({reason})" if len(reason) <= _LONGEST_REASON else ""
    return (
        f"{what}{told}",
        "Convert it to numbers, or leave it out.",
    )


def _shortened(text: str | bytes) -> str:
    # numpy's own strings show their class.
    whole = repr(bytes(text) if isinstance(text, bytes) else str(text))
    return whole if len(whole) <= _LONGEST_VALUE else f"{whole[:_LONGEST_VALUE]}..."


def _columns(X: Any) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Run through the columns of a frame by their names, of an array by position."""
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


def _first_fault(values: NDArray[Any]) -> tuple[int, Any] | None:
    """Return the first value that is no number, and its row; None for missing ones."""
    if values.dtype.kind in "biuf" or not len(values):
        return None
    if values.dtype.kind in "mMc":
        return 0, values[0]
    for row, value in enumerate(values):
        if value is None:
            continue
        if type(value).__name__ == "NAType":
            return row, None
        try:
            float(value)
        except (ValueError, TypeError):
            return row, value
    return None
