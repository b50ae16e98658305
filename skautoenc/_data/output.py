"""Frames put together for the output of transformers, in the library they came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import _get_output_config

from .libraries import read_frame, to_library


def select_columns(table: Any, places: NDArray[np.int64]) -> Any:
    """Return some of the columns of a frame or an array, by position."""
    if isinstance(table, np.ndarray):
        return table[:, places]
    if isinstance(table, pd.DataFrame):
        return table.iloc[:, places]  # Names may occur twice.
    return nw.from_native(table, eager_only=True)[:, places.tolist()].to_native()


def as_array(table: Any) -> NDArray[Any]:
    """Return a frame as an array, and an array as it is."""
    if isinstance(table, np.ndarray):
        return table
    found: NDArray[Any] = nw.from_native(table, eager_only=True).to_numpy()
    return found


def add_columns(table: Any, names: Sequence[str], values: NDArray[np.bool_]) -> Any:
    """Append columns of yes and no; they are numbers in an array of numbers.

    Parameters
    ----------
    table : frame or ndarray of shape (n_samples, n_features)
        The data.
    names : sequence of str
        Names of the new columns.
    values : ndarray of shape (n_samples, n), bool
        Their values.
    """
    if isinstance(table, np.ndarray):
        kind = bool if table.dtype == object else table.dtype
        return np.hstack([table, values.astype(kind)])
    columns = dict(zip(names, values.T, strict=True))
    frame, library = read_frame(table)
    if library == "polars":
        series = (nw.new_series(k, v, backend="polars") for k, v in columns.items())
        return nw.from_native(frame).with_columns(series).to_native()
    new = pd.DataFrame(columns, index=frame.index, dtype=bool)
    return to_library(pd.concat([frame, new], axis=1), library)


def as_configured_library(estimator: BaseEstimator, table: Any) -> Any:
    """Convert a frame to the library that `set_output` asks for, if it asks for one.

    scikit-learn wraps arrays, but takes frames as they are.
    """
    library = _get_output_config("transform", estimator)["dense"]
    if isinstance(table, np.ndarray) or library == "default":
        return table
    frame = nw.from_native(table, eager_only=True)
    if frame.implementation.name.lower() == library:
        return table
    return frame.to_pandas() if library == "pandas" else frame.to_polars()


def fill_with_zero(table: Any, places: NDArray[np.int64]) -> Any:
    """Return a copy in which missing numbers of some columns are zero.

    Columns of other types stay as they are.
    """
    if isinstance(table, np.ndarray):
        filled = table.copy()
        filled[:, places] = np.where(pd.isna(table[:, places]), 0, table[:, places])
        return filled
    frame = nw.from_native(table, eager_only=True)
    for place in places:
        name = frame.columns[place]
        column = frame.get_column(name)
        if not column.dtype.is_numeric():
            continue
        if column.dtype.is_float():
            column = column.fill_nan(0.0)
        frame = frame.with_columns(column.fill_null(0).alias(name))
    return frame.to_native()
