"""Columns of frames and arrays, read and written in their own types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._plain_frames import returns

# What to do about types that are not taken, by their names.
_WAYS_OUT = [
    ("Sparse", "Make it dense, with .sparse.to_dense()"),
    ("period", "Make dates of it, with .dt.to_timestamp()"),
    ("interval", "Make categories of it, with .astype('category')"),
    ("complex", "Make two columns of it, with np.real and np.imag"),
    (
        "longdouble|float(80|96|128)",
        "Convert it from longdouble, with .astype('float64')",
    ),
    ("(?i)timedelta|duration", "Make numbers of it, with .dt.total_seconds()"),
    ("(?i)^null", "Cast it to the type that it has elsewhere"),
    ("(?i)list|array|struct|map", "Make columns of what is in it"),
    ("(?i)binary", "Decode it to strings"),
    ("datetime64|timestamp", "Convert it to a zone with a name, with .dt.tz_convert"),
    ("date64", "Cast it to date32 or to a timestamp"),
    ("(?i)^time", "Make numbers of it, of seconds, say"),
]
# Types that pyarrow has hardly any functions for.
_UNREADABLE = re.compile("_view|run_end_encoded")
# What a column is taken for by its type; numbers are not listed.
_CATEGORIES = (nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object)
_DATES = (nw.Date, nw.Datetime)


def _is_date(dtype: Any) -> bool:
    return isinstance(dtype, _DATES) or dtype in _DATES


def find_fault(X: Any) -> str | None:
    """Describe the first cell of an array that is no number; None if there is none."""
    cells = np.asarray(X)
    if cells.ndim != 2 or cells.dtype.kind not in "fOUS":
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
    """Say what is wrong with a cell of an array of numbers, and the way out."""
    if value is None:
        return None
    if value is pd.NA:
        return "pd.NA", "Use None or np.nan for a missing value"
    try:
        is_infinite = np.isinf(float(value))
    except (ValueError, TypeError, OverflowError):
        return (
            f"{value!r:.40}, which is no number,",
            "Name it in categorical_features to take it as a category",
        )
    return ("infinity", "Replace it by a number or by NaN") if is_infinite else None


@dataclass(frozen=True)
class Schema:
    """Names and types of the columns of a frame.

    Parameters
    ----------
    library : {"pandas", "polars"}
        What the frame was made with.
    types : dict
        The library's own type of each column, by its name.
    as_arrow : bool, default=False
        Whether it was a table of pyarrow, which is read as a frame of pandas.
    """

    library: str
    types: dict[Any, Any]
    as_arrow: bool = False


def is_frame(X: Any) -> bool:
    """Whether X is a frame. A lazy one, which holds no data yet, is refused."""
    if nw.dependencies.is_polars_lazyframe(X):
        raise TypeError(
            "X is a LazyFrame of polars, which holds no data yet. Call collect() first."
        )
    return hasattr(X, "columns")


def _is_arrow(X: Any) -> bool:
    return any(
        kind.__module__.startswith("pyarrow.") and kind.__name__ in _ARROW_TABLES
        for kind in type(X).__mro__
    )


_ARROW_TABLES = ("Table", "RecordBatch")


class Columns(Mapping[int, Any]):
    """The columns of a frame or an array, by their place.

    Parameters
    ----------
    X : frame or ndarray of shape (n_samples, n_features)
        The data.
    """

    def __init__(self, X: Any) -> None:
        self.is_frame = not isinstance(X, np.ndarray)
        self.is_arrow = _is_arrow(X)
        if self.is_arrow:
            X = X.to_pandas(types_mapper=pd.ArrowDtype)
        self.native = X
        self._types = list(X.dtypes) if self.is_frame else []
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
        if not self.is_frame:
            return self._X[:, place]
        column = self._X.get_column(self.names[place])
        native = column.to_native()
        # narwhals does not read all names of time zones, such as America/New_York.
        if isinstance(native.dtype, pd.DatetimeTZDtype) and column.dtype == nw.Unknown:
            native = native.dt.tz_convert("UTC")
            column = nw.from_native(native, series_only=True)
        return column

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
        if not self._is_taken(place, dtype):
            raise self._refuse_type(place)
        if _is_date(dtype):
            return "date"
        return "number" if dtype.is_numeric() else "category"

    def _is_taken(self, place: int, dtype: Any) -> bool:
        if dtype == nw.String:
            return not _UNREADABLE.search(self.type_name(place))
        is_category = any(dtype == kind for kind in _CATEGORIES)
        return is_category or _is_date(dtype) or bool(dtype.is_numeric())

    def check_type(self, place: int, kind: str) -> None:
        """Refuse a column whose type cannot be read as its kind in `fit`."""
        if not self.is_frame:
            return
        dtype = self[place].dtype
        is_taken = self._is_taken(place, dtype)
        is_moment = kind == "number" and _is_date(dtype)
        if is_taken and not is_moment:
            return
        # pyarrow cannot tell what is missing in string views.
        if dtype != nw.String:
            is_real = pd.api.types.is_any_real_numeric_dtype(self._types[place])
            if kind == "number" and is_real:
                return  # Sparse columns, for one.
            if bool(self[place].is_null().all()):
                return
        if is_moment:
            raise ValueError(
                f"Column {self.names[place]!r} holds {self.type_name(place)}, but held "
                "numbers in fit. Convert it first."
            )
        raise self._refuse_type(place)

    def _refuse_type(self, place: int) -> ValueError:
        name = self.type_name(place)
        ways = (way for pattern, way in _WAYS_OUT if re.search(pattern, name))
        known = type(self[place].dtype).__name__
        if known != "Unknown" and known not in name:
            name = f"{known} ({name})"
        return ValueError(
            f"Column {self.names[place]!r} holds {name}, which is neither number nor "
            f"category nor date. {next(ways, 'Convert it')}, or leave it out."
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
        """Name a column's type, as its library does."""
        return str(self._types[place] if self.is_frame else self._X.dtype)

    def is_text(self, place: int) -> bool:
        """Whether a column may hold strings by its type."""
        return self.is_frame and self[place].dtype in (nw.String, nw.Object)

    def is_integer(self, place: int) -> bool:
        """Whether a column holds whole numbers, or yes and no, by its type."""
        if self.is_frame:
            dtype = self[place].dtype
            return bool(dtype.is_integer() or dtype == nw.Boolean)
        return bool(np.issubdtype(self._X.dtype, np.integer))

    def suit(self, place: int, values: NDArray[Any]) -> NDArray[Any]:
        """Convert decoded values to what the type of a column can hold.

        The type may differ from that in `fit`: integers need rounded values, and
        objects may be strings or decimals.
        """
        if not self.is_frame:
            return values
        dtype = self[place].dtype
        if dtype == nw.Object or dtype == nw.String:
            return _like_objects(values, self[place])
        if dtype.is_numeric() and values.dtype == object:
            values = self._to_numbers(place, values)
        if dtype.is_integer() and values.dtype.kind == "f":
            return np.round(values)
        if dtype == nw.Boolean and values.dtype == object:
            return self._to_numbers(place, values) > 0.5
        return values

    def _to_numbers(self, place: int, values: NDArray[Any]) -> NDArray[Any]:
        try:
            return np.asarray(pd.to_numeric(pd.Series(values).infer_objects()))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"Column {self.names[place]!r} holds {self.type_name(place)}, which "
                f"cannot hold what it was fitted to ({error}). Bring it to the type of "
                "fit first."
            ) from error

    def as_given(self, frame: Any) -> Any:
        """Convert a frame of pandas to the library that X came from."""
        return _to_arrow(frame) if self.is_arrow else frame

    def schema(self) -> Schema | None:
        """Describe a frame, or return None for an array."""
        if not self.is_frame:
            return None
        is_pandas = isinstance(self.native, pd.DataFrame)
        types = dict(self.native.dtypes if is_pandas else self.native.schema)
        for place, (name, dtype) in enumerate(types.items()):
            if not (returns(name) and returns(dtype)):
                raise ValueError(
                    f"Column {name!r} holds {self.type_name(place)}, which is no type "
                    "that files hold. Convert it, or leave it out."
                )
        return Schema("pandas" if is_pandas else "polars", types, self.is_arrow)


def _like_objects(values: NDArray[Any], column: Any) -> NDArray[Any]:
    """Convert numbers to strings or decimals where a column holds those.

    They get as many decimal places as the column has.
    """
    if values.dtype.kind != "f":
        return values
    present = [each for each in column.to_list() if not pd.isna(each)]
    kind = type(next(iter(present), None))
    if not issubclass(kind, str | Decimal):
        return values
    exponents = [Decimal(str(each)).as_tuple().exponent for each in present]
    places = -min([0, *(e for e in exponents if isinstance(e, int))])
    found = np.full(len(values), None, dtype=object)
    for row in np.flatnonzero(~np.isnan(values)):
        found[row] = kind(f"{values[row]:.{places}f}")
    return found


def _to_arrow(frame: pd.DataFrame) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()


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
    # By default, pandas turns datetime objects into timestamps.
    series = pd.Series(values, dtype=object if str(dtype) == "object" else None)
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
    frame = pd.DataFrame(columns)
    return _to_arrow(frame) if schema.as_arrow else frame


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
            merged: Any = old.copy()
            # As an array: pandas would turn datetime objects of a Series, too.
            merged[gap] = new.array
            # As a Series: pandas would make strings of bare objects.
            found.isetitem(place, merged)
    return found
