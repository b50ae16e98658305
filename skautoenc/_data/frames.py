"""Columns of frames and arrays, read and written in their own types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What a column is taken for by its type; numbers are not listed.
_CATEGORIES = (nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object)
_DATES = (nw.Date, nw.Datetime)


def _is_date(dtype: Any) -> bool:
    return isinstance(dtype, _DATES) or dtype in _DATES


@dataclass(frozen=True)
class Schema:
    """Names and types of the columns of a frame.

    Parameters
    ----------
    library : {"pandas", "polars"}
        What the frame was made with.
    types : dict
        The library's own type of each column, by its name.
    """

    library: str
    types: dict[Any, Any]


class Columns(Mapping[int, Any]):
    """The columns of a frame or an array, by their place.

    Parameters
    ----------
    X : frame or ndarray of shape (n_samples, n_features)
        The data.
    """

    def __init__(self, X: Any) -> None:
        self.is_frame = not isinstance(X, np.ndarray)
        self.native = X
        self._X = nw.from_native(X, eager_only=True) if self.is_frame else X
        self.names: list[Any] = (
            list(self._X.columns) if self.is_frame else list(range(X.shape[1]))
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Any:
        return iter(range(len(self)))

    def __getitem__(self, place: int) -> Any:
        """Return a column, a narwhals Series or an array."""
        if self.is_frame:
            return self._X.get_column(self.names[place])
        return self._X[:, place]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._X.shape[0])

    def place(self, name: Any) -> int | None:
        """Say where a column is, by its name or its place; None if there is none."""
        if name in self.names:
            return self.names.index(name)
        is_place = isinstance(name, int) and 0 <= name < len(self)
        return name if is_place else None

    def kind(self, place: int) -> str:
        """Say what a column is taken for by its type."""
        if not self.is_frame:
            return "number"
        dtype = self[place].dtype
        if _is_date(dtype):
            return "date"
        if dtype.is_numeric():
            return "number"
        if any(dtype == kind for kind in _CATEGORIES):
            return "category"
        raise ValueError(
            f"Column {self.names[place]!r} holds {dtype}, which is neither number nor "
            "category nor date. Convert it, or leave it out."
        )

    def can_be(self, place: int, kind: str) -> bool:
        """Whether a column may be taken for a kind other than that of its type."""
        if kind == "category" or (not self.is_frame and kind == "number"):
            return True
        if not self.is_frame:
            return False
        dtype = self[place].dtype
        if kind == "date":
            return _is_date(dtype) or self.is_text(place)
        return dtype.is_numeric() or dtype == nw.Boolean or self.is_text(place)

    def type_name(self, place: int) -> str:
        """Name a column's type."""
        return str(self[place].dtype)

    def is_text(self, place: int) -> bool:
        """Whether a column may hold strings by its type."""
        return self.is_frame and self[place].dtype in (nw.String, nw.Object)

    def has_missing(self, place: int) -> bool:
        """Whether a column of numbers lacks a value."""
        values = self[place]
        if isinstance(values, np.ndarray):
            return bool(np.isnan(values).any())
        numbers = values.cast(nw.Float64).to_numpy()
        return bool(np.isnan(np.asarray(numbers, dtype=np.float64)).any())

    def is_integer(self, place: int) -> bool:
        """Whether a column holds whole numbers, or yes and no, by its type."""
        if self.is_frame:
            dtype = self[place].dtype
            return bool(dtype.is_integer() or dtype == nw.Boolean)
        return bool(np.issubdtype(self._X.dtype, np.integer))

    def schema(self) -> Schema | None:
        """Describe a frame, or return None for an array."""
        if not self.is_frame:
            return None
        if isinstance(self.native, pd.DataFrame):
            return Schema("pandas", dict(self.native.dtypes))
        return Schema("polars", dict(self.native.schema))


def _make_column(values: NDArray[Any], dtype: Any, library: str) -> Any:
    """Return values as a column of a type of a library, as far as it can hold them."""
    if library == "polars":
        import polars as pl

        if values.dtype.kind == "M":
            return pl.Series(values).cast(pl.Datetime("us")).cast(dtype)
        if dtype == pl.Boolean and values.dtype.kind == "f":
            return pl.Series(values > 0.5)
        if dtype.is_integer() and values.dtype.kind == "f":
            return pl.Series(values, nan_to_null=True).cast(dtype)
        return pl.Series(list(values), dtype=dtype, strict=False)
    series = pd.Series(values)
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_localize("UTC")
    if series.isna().any() and getattr(dtype, "kind", "") in "iub":
        return series  # Gaps that could not be filled, in a type without gaps.
    if getattr(dtype, "kind", "") == "b" and series.dtype.kind == "f":
        series = series > 0.5
    return series.astype(dtype)


def make_frame(values: Sequence[NDArray[Any]], schema: Schema) -> Any:
    """Make a frame like the one that `schema` describes.

    Parameters
    ----------
    values : sequence of ndarray
        Those of each column.
    schema : Schema
        Names and types.
    """
    columns = {
        name: _make_column(found, dtype, schema.library)
        for (name, dtype), found in zip(schema.types.items(), values, strict=True)
    }
    if schema.library == "polars":
        import polars as pl

        return pl.DataFrame(columns)
    return pd.DataFrame(columns)


def frame_like(values: NDArray[Any], original: Any) -> Any:
    """Return values in the form of the data they belong to.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
        A number for each cell; anything else is returned as it is.
    original : frame, sparse matrix or array-like
        A frame gives a frame with its names and index, an array of images one of its
        shape.
    """
    if not isinstance(values, np.ndarray):
        return values
    if isinstance(original, pd.DataFrame):
        return pd.DataFrame(values, index=original.index, columns=original.columns)
    if hasattr(original, "columns"):
        import polars as pl

        return pl.DataFrame(values, schema=list(original.columns))
    if isinstance(original, np.ndarray) and original.ndim > 2:
        return values.reshape(original.shape)
    return values


def fill_gaps(
    frame: Any, gaps: Sequence[NDArray[np.bool_]], values: Sequence[NDArray[Any]]
) -> Any:
    """Return a copy of a frame in which only the gaps are filled.

    Parameters
    ----------
    frame : frame of shape (n_samples, n_features)
        The data.
    gaps : sequence of ndarray of bool
        Where each column is to be filled.
    values : sequence of ndarray
        What with, one for each row.
    """
    if not isinstance(frame, pd.DataFrame):
        import polars as pl

        filled = [
            pl.select(
                pl.when(pl.Series(gap))
                .then(_make_column(found, c.dtype, "polars"))
                .otherwise(c)
            )
            .to_series()
            .alias(c.name)
            if gap.any()
            else c
            for c, gap, found in zip(frame.get_columns(), gaps, values, strict=True)
        ]
        return pl.DataFrame(filled)
    found = frame.copy()
    for place, (gap, column) in enumerate(zip(gaps, values, strict=True)):
        if gap.any():
            old = frame.iloc[:, place]
            new = _make_column(column[gap], old.dtype, "pandas")
            new.index = old.index[gap]
            merged: Any = old.copy()
            merged[gap] = new
            # As a Series: pandas would make strings of bare objects.
            found.isetitem(place, merged)
    return found
