"""Errors that explain why data cannot be converted to numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse
from torch.utils.data import DataLoader, Dataset

from .cells import TABLES, describe, each_column, first_fault, misread_row
from .partitions import read_collection

_STREAMED = (
    "AutoencoderTransformer, ConvAutoencoderTransformer, ConvVariationalAutoencoder, "
    "PatchAutoencoderTransformer, TabularAutoencoderTransformer or "
    "VariationalAutoencoder"
)
_IMAGES = (
    "ConvAutoencoderTransformer, ConvVariationalAutoencoder and "
    "PatchAutoencoderTransformer"
)


def refuse_unread(X: Any) -> None:
    """Raise a TypeError if `X` is not data, but something that yields data.

    Raises
    ------
    TypeError
        With advice on how to get the data.
    """
    if isinstance(X, np.ndarray) and X.ndim == 0 and X.dtype == object:
        X = X.item()
    name = type(X).__name__
    refuse_delayed(X)
    if hasattr(X, "shape") or isinstance(X, list | tuple):
        return
    if X is None or isinstance(X, str | bytes | Set):
        raise TypeError(
            f"X is a {name}. Pass an array or a frame of shape (n_samples, n_features)."
        )
    if read_collection(X) is not None:
        how = "X.collect()" if hasattr(X, "collect") else "an array or a frame"
        advice = (
            f"is a {name}, whose rows are not in memory. Pass {how}, or one part at a "
            "time, as iteration over Blocks(X) gives them. Methods fit of "
            f"autoencoders of arrays, images and tables take a {name}."
        )
    elif isinstance(X, DataLoader):
        advice = (
            f"is a {name}. Pass Blocks(X) to fit of {_STREAMED}, and one batch at a "
            "time elsewhere."
        )
    elif isinstance(X, Dataset):
        advice = (
            f"is a {name}. Pass an array of its rows, or, to fit of {_STREAMED}, "
            "Blocks(X)."
        )
    elif isinstance(X, Iterator):
        advice = (
            f"is a {name}, which can be read only once. Pass an array, or, to fit of "
            f"{_STREAMED}, Blocks of a function that returns such an iterator anew."
        )
    elif isinstance(X, Mapping):
        advice = f"is a {name}. Pass a frame, such as pandas.DataFrame(X)."
    else:
        return
    raise TypeError(f"X {advice}")


def refuse_delayed(X: Any) -> None:
    """Raise a TypeError if `X` is lazy, but no array and no frame."""
    kind = type(X)
    name = kind.__name__
    if hasattr(kind, "data_vars"):
        raise TypeError(
            f"X is a {name} of several arrays. Pass one of them, such as X['name'], "
            "or X.to_dataarray() if they are to be put together."
        )
    if hasattr(kind, "to_frame") and hasattr(kind, "to_delayed"):
        raise ValueError(
            f"Expected 2D array, got a {name} of Dask instead. Pass X.to_frame() if "
            "its values are one column."
        )
    if hasattr(kind, "__dask_graph__") and not hasattr(kind, "shape"):
        raise TypeError(
            f"X is a {name} of Dask. Pass an array or a frame of Dask, such as "
            "dask.array.from_delayed(X, shape, dtype), or X.compute()."
        )


def advise_on_missing(what: str, row: int, label: Any) -> str:
    """Return advice on a value that is "NaN" or "infinity"."""
    advice = (
        f"Fill the missing values (SimpleImputer), drop the rows, or use {TABLES}, "
        "which takes missing values."
        if what == "NaN"
        else "Replace it by a number or clip it first (numpy.nan_to_num, numpy.clip): "
        "SimpleImputer does not take infinity."
    )
    return f"Input X contains {what}: row {row}, column {label}. {advice}"


def refuse_misread(X: Any, first_row: int = 0) -> None:
    """Raise an error if numpy would silently convert `X` to wrong numbers.

    It converts dates and durations to numbers of their unit, uses the masked values of
    masked arrays, and the first field of a record for the record.

    Parameters
    ----------
    X : object
        The data, not yet converted.
    first_row : int, default=0
        Index of its first row in a stream.
    """
    refuse_records(X)
    _refuse_masked(X, first_row)
    refuse_dates(X, first_row)


def refuse_dates(X: Any, first_row: int = 0) -> None:
    """Raise a TypeError for dates and durations, which numpy converts to numbers."""
    if not _may_hold_dates(X):
        return
    array = X
    if isinstance(X, list | tuple):
        try:
            array = np.asarray(X)
        except Exception:
            return  # Rows of different lengths, for example, which fail later anyway.
    if not hasattr(array, "columns"):
        array = array.reshape(len(array), -1) if np.ndim(array) > 1 else array[:, None]
    for label, values in each_column(array):
        row = misread_row(values)
        if row is not None:
            is_frame = hasattr(X, "columns")
            raise _refusal(values[row], first_row + row, label, None, is_frame=is_frame)


def _may_hold_dates(X: Any) -> bool:
    """Whether the types of `X` allow dates or durations."""
    if hasattr(X, "iloc"):
        # A Series has one type, and is refused later.
        return hasattr(X, "columns") and any(
            getattr(each, "kind", "O") in "mMO" for each in X.dtypes
        )
    if hasattr(X, "columns"):
        types = nw.from_native(X, eager_only=True).schema.values()
        return any(each.is_temporal() or each == nw.Object for each in types)
    if isinstance(X, list | tuple):
        return True
    return isinstance(X, np.ndarray) and X.dtype.kind in "mMO" and X.ndim > 0


def refuse_records(X: Any) -> None:
    """Raise a TypeError for a structured array."""
    if getattr(getattr(X, "dtype", None), "names", None):
        raise TypeError(
            "X is a structured array. Pass a frame, such as pandas.DataFrame(X)."
        )


def _refuse_masked(X: Any, first_row: int) -> None:
    if not (isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X)):
        return
    row, *place = np.argwhere(np.ma.getmaskarray(X))[0].tolist()
    where = f", column {place[0]}" if len(place) == 1 else ""
    raise ValueError(
        f"Input X contains masked values: row {first_row + row}{where}. Fill them, "
        "with X.filled(np.nan) and SimpleImputer, for one, drop the rows, or use "
        f"{TABLES}, which takes them for missing values."
    )


def explain(
    estimator: Any, X: Any, error: Exception, first_row: int = 0
) -> Exception | None:
    """Find a better error than the one that the conversion of `X` has raised.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator that gets the data.
    X : object
        The data.
    error : ValueError, TypeError or OverflowError
        The error that was raised.
    first_row : int, default=0
        Index of the first row in a stream.

    Returns
    -------
    ValueError, TypeError or None
        An error with the position of the fault and advice; None if shape and values of
        `X` are valid.
    """
    try:
        return (
            explain_ragged(X, first_row)
            or _explain_shape(estimator, X)
            or _explain_values(X, error, first_row)
        )
    except Exception:
        # Whatever cannot be examined keeps the original error.
        return None


def explain_codes(X: Any) -> Exception | None:
    """Find the error of codes that cannot be converted; None if all are numbers."""
    advice = "Pass what transform returned."
    try:
        error = explain_ragged(X)
        if error is not None:
            return ValueError(f"{str(error).partition('. ')[0]}. {advice}")
        for label, values in each_column(X):
            fault = first_fault(values)
            if fault is not None and fault[1] is not None:
                what, _ = describe(fault[1], fault[0], label, None, is_frame=False)
                return ValueError(
                    f"Column {label} of X does not hold numbers but {what}. {advice}"
                )
    except Exception:
        pass
    return None


def explain_weights(sample_weight: Any) -> Exception | None:
    """Find the error of weights that are masked or not numbers; None if all are."""
    if isinstance(sample_weight, np.ma.MaskedArray) and np.ma.is_masked(sample_weight):
        row = int(np.argwhere(np.ma.getmaskarray(sample_weight))[0][0])
        return ValueError(
            f"sample_weight contains masked values: row {row}. Fill them, or leave the "
            "rows out."
        )
    try:
        values = np.asarray(sample_weight)
        fault = first_fault(values) if values.ndim == 1 else None
        if fault is None or fault[1] is None:
            return None
        what, _ = describe(fault[1], fault[0], None, None, is_frame=True)
    except Exception:
        return None
    return ValueError(
        f"sample_weight does not hold numbers but {what}. Give each row a number of "
        "zero or more."
    )


def explain_ragged(X: Any, first_row: int = 0) -> Exception | None:
    """Return an error that names rows of different lengths in a list or an array."""
    is_of_objects = isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    if not (isinstance(X, list | tuple) or is_of_objects) or not len(X):
        return None
    shapes = [_shape(row) for row in X]
    if None in shapes and np.asarray(X, dtype=object).ndim > 1:
        return None  # The cells are lists.
    if is_of_objects and shapes[0] and len(set(shapes)) == 1:
        return ValueError(
            f"X is an array of arrays of shape {shapes[0]}. Make one array of it, with "
            "numpy.stack(X)."
        )
    odd = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is None:
        return None
    first, other = (_told_shape(X[n], shapes[n]) for n in (0, odd))
    what = "shape" if max(len(shape or ()) for shape in shapes) > 1 else "length"
    return ValueError(
        f"The rows of X differ in {what}: row {first_row} has {first}, row "
        f"{first_row + odd} has {other}. Give all rows as many entries, by cutting or "
        "filling them, or leave the others out."
    )


def _shape(row: Any) -> tuple[int, ...] | None:
    try:
        shape: tuple[int, ...] = np.shape(row)
    except ValueError:
        return None  # The row itself has entries of different lengths.
    return shape


def _told_shape(row: Any, shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "entries that differ in length"
    if not shape:
        return f"no entries, but is a {type(row).__name__}"
    return f"{shape[0]} entries" if len(shape) == 1 else f"shape {shape}"


def _explain_shape(estimator: Any, X: Any) -> Exception | None:
    shape = _shape(X) or ()
    if len(shape) < 3:
        return None
    return ValueError(
        f"Found array with dim {len(shape)}, of shape {tuple(shape)}, while "
        f"{type(estimator).__name__} takes rows: dim <= 2. Make each sample a row, by "
        f"X.reshape(len(X), -1); {_IMAGES} take images as arrays of shape (n_samples, "
        "height, width) or (n_samples, height, width, n_channels)."
    )


def _explain_values(X: Any, error: Exception, first_row: int) -> Exception | None:
    if sparse.issparse(X):
        return _explain_sparse(X, error)
    is_frame = hasattr(X, "columns")
    for label, values in each_column(X):
        fault = first_fault(values)
        if fault is not None:
            row, value = fault
            return _refusal(value, first_row + row, label, error, is_frame=is_frame)
    return None


def _explain_sparse(X: Any, error: Exception) -> Exception | None:
    if X.dtype.kind != "c":
        return None
    return ValueError(
        "Complex data not supported: X is sparse and holds complex numbers. Pass their "
        "real and imaginary parts as columns, with scipy.sparse.hstack([X.real, "
        "X.imag])."
    )


def _refusal(
    value: Any, row: int, label: Any, error: Exception | None, *, is_frame: bool
) -> Exception:
    """Return the error for a cell that is not a number."""
    if value is None:
        return ValueError(advise_on_missing("NaN", row, label))
    if isinstance(value, complex | np.complexfloating):
        return ValueError(
            f"Complex data not supported: column {label} of X holds complex numbers, "
            f"in row {row} for one. Pass their real and imaginary parts as columns."
        )
    what, advice = describe(value, row, label, error, is_frame=is_frame)
    kind = ValueError if isinstance(error, ValueError | OverflowError) else TypeError
    return kind(f"Column {label} of X does not hold numbers but {what}. {advice}")
