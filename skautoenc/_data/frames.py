"""Columns of frames and arrays, with conversions from and to their own types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .libraries import read_frame, to_library
from .objects import as_objects, kind_of_objects, read_number_form, write_numbers
from .plain_columns import PlainNumbers, is_exact, plain_places, read_plain

# Advice on types that are not supported, by name.
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
# Types that few functions of pyarrow support.
_UNREADABLE = re.compile("_view|run_end_encoded")
# Kinds of columns by type; other types are numbers.
_CATEGORIES = (nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object)
_DATES = (nw.Date, nw.Datetime)


def _is_date(dtype: Any) -> bool:
    return isinstance(dtype, _DATES) or dtype in _DATES


@dataclass(frozen=True)
class Schema:
    """Names and types of the columns of a frame.

    Parameters
    ----------
    library : str
        Library of the frame, one of `LIBRARIES`.
    types : dict
        Type of each column, by its name: one of polars, or else of pandas.
    as_arrow : bool, default=False
        Whether X was a pyarrow table, which is converted to a pandas frame.
    """

    library: str
    types: dict[Any, Any]
    as_arrow: bool = False


class Columns(Mapping[int, Any]):
    """The columns of a frame or an array, by their position.

    Parameters
    ----------
    X : frame or ndarray of shape (n_samples, n_features)
        The data.
    """

    def __init__(self, X: Any) -> None:
        self.is_frame = not isinstance(X, np.ndarray)
        self.library = ""
        if self.is_frame:
            X, self.library = read_frame(X)
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
        """Return a column, as a narwhals Series or an array."""
        if not self.is_frame:
            return self._X[:, place]
        column = self._X.get_column(self.names[place])
        native = column.to_native()
        # narwhals does not support all names of time zones, such as America/New_York.
        if isinstance(native.dtype, pd.DatetimeTZDtype) and column.dtype == nw.Unknown:
            native = native.dt.tz_convert("UTC")
            column = nw.from_native(native, series_only=True)
        return column

    @cached_property
    def _plain_places(self) -> frozenset[int]:
        return frozenset(plain_places(self.native, self._types))

    @cached_property
    def plain(self) -> PlainNumbers:
        """The columns of plain numbers."""
        return read_plain(self.native, sorted(self._plain_places))

    def numbers(self, place: int) -> Any:
        """Return a column, as float64 if these equal its numbers."""
        if place in self._plain_places:
            found = self.plain.column(place)
            if not self.is_integer(place) or is_exact(found):
                return found
        return self[place]

    def take(self, chosen: NDArray[np.bool_]) -> Columns:
        """Return the columns of selected rows."""
        is_polars = self.library == "polars"
        rows = self.native.filter(chosen) if is_polars else self.native[chosen]
        found = Columns(rows)
        found.library = self.library
        return found

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._X.shape[0])

    def place(self, name: Any) -> int | None:
        """Return the position of a column, given its name or position, or None."""
        if name in self.names:
            return self.names.index(name)
        is_place = isinstance(name, int) and 0 <= name < len(self)
        return name if is_place else None

    def kind(self, place: int) -> str:
        """Return the kind that follows from a column's type."""
        if not self.is_frame or place in self._plain_places:
            return "number"
        dtype = self[place].dtype
        if not self._is_taken(place, dtype):
            raise self._refuse_type(place)
        if dtype == nw.Object:
            return kind_of_objects(self[place])
        if _is_date(dtype):
            return "date"
        return "number" if dtype.is_numeric() else "category"

    def _is_taken(self, place: int, dtype: Any) -> bool:
        if dtype == nw.String:
            return not _UNREADABLE.search(self.type_name(place))
        is_category = any(dtype == kind for kind in _CATEGORIES)
        return is_category or _is_date(dtype) or bool(dtype.is_numeric())

    def check_type(self, place: int, kind: str) -> None:
        """Raise an error if a column's type does not suit its kind in `fit`."""
        if not self.is_frame or place in self._plain_places:
            return
        dtype = self[place].dtype
        is_taken = self._is_taken(place, dtype)
        is_moment = kind == "number" and _is_date(dtype)
        if is_taken and not is_moment:
            return
        # pyarrow does not find missing values in string views.
        if dtype != nw.String:
            is_real = pd.api.types.is_any_real_numeric_dtype(self._types[place])
            if kind == "number" and is_real:
                return  # A sparse column, for example.
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
        """Whether a column may have another kind than that of its type."""
        if kind == "category" or (not self.is_frame and kind == "number"):
            return True
        if not self.is_frame:
            return False
        dtype = self[place].dtype
        if kind == "date":
            return _is_date(dtype) or self.is_text(place)
        return dtype.is_numeric() or dtype == nw.Boolean or self.is_text(place)

    def type_name(self, place: int) -> str:
        """Return the name of a column's type in its library."""
        return str(self._types[place] if self.is_frame else self._X.dtype)

    def is_text(self, place: int) -> bool:
        """Whether a column's type allows strings."""
        if not self.is_frame or place in self._plain_places:
            return False
        return self[place].dtype in (nw.String, nw.Object)

    def has_zone(self, place: int) -> bool:
        """Whether the type of a column is dates with a time zone."""
        return getattr(self[place].dtype, "time_zone", None) is not None

    def has_missing(self, place: int) -> bool:
        """Whether a column of numbers has missing values."""
        values = self[place]
        if isinstance(values, np.ndarray):
            return bool(np.isnan(values).any())
        numbers = values.cast(nw.Float64).to_numpy()
        return bool(np.isnan(np.asarray(numbers, dtype=np.float64)).any())

    def is_integer(self, place: int) -> bool:
        """Whether a column's type is integer or boolean."""
        if self.is_frame:
            own = self._types[place]
            if place in self._plain_places:
                is_numpy = isinstance(own, np.dtype)
                return own.kind in "iu" if is_numpy else bool(own.is_integer())
            dtype = self[place].dtype
            return bool(dtype.is_integer() or dtype == nw.Boolean)
        return bool(np.issubdtype(self._X.dtype, np.integer))

    def suit(self, place: int, values: NDArray[Any]) -> NDArray[Any]:
        """Convert decoded values to values that the type of a column can hold.

        The type may differ from that in `fit`: integers need rounded values, and
        objects may be strings, decimals or numbers of Python.
        """
        if not self.is_frame:
            return values
        dtype = self[place].dtype
        if dtype == nw.Object or dtype == nw.String:
            return _like_objects(values, self[place])
        if not (dtype.is_numeric() or dtype == nw.Boolean):
            return values
        if values.dtype == object:
            values = _to_numbers(values)
        if dtype == nw.Boolean and values.dtype != object:
            return values > 0.5
        is_rounded = dtype.is_integer() and values.dtype.kind == "f"
        return np.round(values) if is_rounded else values

    def as_given(self, frame: Any) -> Any:
        """Convert a pandas frame to the library of X."""
        return to_library(frame, self.library)

    def schema(self) -> Schema | None:
        """Return the schema of a frame, or None for an array."""
        if not self.is_frame:
            return None
        is_polars = self.library == "polars"
        types = dict(self.native.schema if is_polars else self.native.dtypes)
        as_arrow = self.library == "pyarrow"
        return Schema("pandas" if as_arrow else self.library, types, as_arrow)


def _to_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Convert objects to numbers, if all of them are numbers."""
    try:
        found = np.asarray(pd.to_numeric(pd.Series(values).infer_objects()))
    except (ValueError, TypeError):
        return values
    # Floats cannot represent all integers in objects.
    are_integers = found.dtype.kind == "f" and all(type(each) is int for each in values)
    return values if are_integers else found


def _like_objects(values: NDArray[Any], column: Any) -> NDArray[Any]:
    """Write numbers as objects of the class that the column holds."""
    if values.dtype.kind not in "iuf":
        return values
    form = read_number_form(as_objects(column))
    return values if form is None else write_numbers(values, form)


def round_within(values: NDArray[Any], lowest: int, highest: int) -> NDArray[Any]:
    """Round numbers to integers within a range whose limits a float may not represent.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Floats without missing values, or integers.
    lowest, highest : int
        The range.

    Returns
    -------
    ndarray of shape (n,)
        int64 or uint64, whichever can hold the range, otherwise objects.
    """
    if values.dtype.kind in "iu":
        bounds = np.iinfo(values.dtype)
        found: NDArray[Any] = np.clip(
            values, max(lowest, bounds.min), min(highest, bounds.max)
        )
        return found
    kinds = [k for k in (np.int64, np.uint64) if _holds(k, lowest, highest)]
    rounded = np.round(values)
    # As floats, the limits may be outside of the range; floats between them are inside.
    is_low, is_high = rounded <= float(lowest), rounded >= float(highest)
    found = np.empty(len(values), dtype=kinds[0] if kinds else object)
    found[is_high] = highest
    found[is_low] = lowest
    inner = rounded[~(is_low | is_high)]
    found[~(is_low | is_high)] = inner if kinds else [int(each) for each in inner]
    return found


def _holds(kind: type[np.integer], lowest: int, highest: int) -> bool:
    bounds = np.iinfo(kind)
    return bool(bounds.min <= lowest and highest <= bounds.max)


def _make_column(values: NDArray[Any], dtype: Any, library: str) -> Any:
    """Return values as a column of a library's type, if that can hold them.

    Without a type, the library infers it. Either all values are missing, if the column
    had none in `fit`, or none is.
    """
    is_missing = values.dtype.kind in "fO" and bool(pd.isna(values).any())
    make = _make_polars if library == "polars" else _make_pandas
    return make(values, dtype, is_missing=is_missing)


def _make_polars(values: NDArray[Any], dtype: Any, *, is_missing: bool) -> Any:
    import polars as pl

    if is_missing:
        return pl.Series([None] * len(values), dtype=dtype)
    if values.dtype.kind == "M":
        series = pl.Series(values).cast(pl.Datetime("us"))
        return series if dtype is None else series.cast(dtype)
    if dtype is None:
        return pl.Series(values.tolist())
    if values.dtype.kind in "iuf":
        if dtype == pl.Boolean:
            return pl.Series(values > 0.5)
        if dtype.is_integer():
            whole = round_within(values, *_polars_bounds(dtype))
            if whole.dtype == object:
                return pl.Series(whole.tolist(), dtype=dtype)
            return pl.Series(whole).cast(dtype)
    return pl.Series(list(values), dtype=dtype, strict=False)


def _polars_bounds(dtype: Any) -> tuple[int, int]:
    n_bits = int(re.sub(r"\D", "", str(dtype)))
    if dtype.is_unsigned_integer():
        return 0, 2**n_bits - 1
    return -(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1


def _make_pandas(values: NDArray[Any], dtype: Any, *, is_missing: bool) -> Any:
    kind = getattr(dtype, "kind", "")
    if is_missing and kind in ("i", "u", "b") and isinstance(dtype, np.dtype):
        return pd.Series(values)  # The type has no way to say that all is missing.
    if values.dtype.kind in "iuf" and not is_missing:
        if kind == "b":
            values = values > 0.5
        elif kind in ("i", "u"):
            bounds = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
            values = round_within(values, int(bounds.min), int(bounds.max))
    # Without a type, pandas would convert dates that are objects to its timestamps.
    series = pd.Series(values, dtype=object if str(dtype) == "object" else None)
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_localize("UTC")
    return series if dtype is None else series.astype(dtype)


def make_frame(
    values: Sequence[NDArray[Any]], schema: Schema, index: Any = None
) -> Any:
    """Make a frame like the one that `schema` describes.

    Parameters
    ----------
    values : sequence of ndarray
        Values of each column.
    schema : Schema
        Names and types.
    index : pandas.Index, optional
        Index of the frame; polars has none.
    """
    columns = {
        name: _make_column(found, dtype, schema.library)
        for (name, dtype), found in zip(schema.types.items(), values, strict=True)
    }
    if schema.library == "polars":
        import polars as pl

        return pl.DataFrame(columns)
    frame = pd.DataFrame(columns)
    if index is not None:
        frame.index = index
    return to_library(frame, "pyarrow" if schema.as_arrow else schema.library)


def make_array(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return an array with the values of each column; integers become floats."""
    return np.column_stack([_to_floats(each) for each in values])


def _to_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Replace integers that float64 cannot represent by the next ones towards zero."""
    if values.dtype.kind not in "iu":
        return values
    found = values.astype(np.float64)
    pairs = zip(found.tolist(), values.tolist(), strict=True)
    outside = [abs(as_float) > abs(value) for as_float, value in pairs]
    return np.where(outside, np.nextafter(found, 0), found)


def fill_gaps(
    frame: Any,
    gaps: Sequence[NDArray[np.bool_]],
    values: Sequence[NDArray[Any]],
    schema: Schema | None,
) -> Any:
    """Return a copy of a frame with missing values filled.

    A column keeps its type, unless it is empty or its categories lack a new value.

    Parameters
    ----------
    frame : frame of shape (n_samples, n_features)
        The frame.
    gaps : sequence of ndarray of bool
        Which cells of each column to fill.
    values : sequence of ndarray
        Values to fill them with, one per row. If these are missing, cells stay missing.
    schema : Schema or None
        Schema of the frame in `fit`, if it was one.
    """
    library = "pandas" if isinstance(frame, pd.DataFrame) else "polars"
    fill = _fill_pandas if library == "pandas" else _fill_polars
    types: list[Any] = [None] * len(gaps)
    is_polars = library == "polars"
    if schema is not None and (schema.library == "polars") == is_polars:
        types = list(schema.types.values())
    found = frame.copy() if library == "pandas" else frame.clone()
    for place, (gap, filling) in enumerate(zip(gaps, values, strict=True)):
        if gap.any() and not pd.isna(filling[gap]).all():
            fill(found, place, gap, filling, types[place])
    return found


def _fill_pandas(
    frame: pd.DataFrame,
    place: int,
    gap: NDArray[np.bool_],
    values: NDArray[Any],
    fitted: Any,
) -> None:
    old = frame.iloc[:, place]
    filling = values[gap]
    if gap.all():
        is_number = values.dtype.kind in "iuf" and pd.api.types.is_numeric_dtype(old)
        dtype = old.dtype if fitted is None and is_number else fitted
        merged: Any = _make_column(filling, dtype, "pandas")
        merged.index = old.index
    else:
        dtype = _type_for_pandas(filling, old.dtype, fitted)
        try:
            new = _make_column(filling, dtype, "pandas")
        except (ValueError, TypeError) as error:
            raise _cannot_hold(old.name, dtype, filling) from error
        if dtype == old.dtype:
            merged = old.copy()
            # As an array, since pandas would convert dates in a Series to timestamps.
            merged[gap] = new.array
        else:
            # The new type need not support missing values.
            parts = pd.concat([old[~gap].astype(dtype), new])
            order = np.concatenate([np.flatnonzero(~gap), np.flatnonzero(gap)])
            merged = parts.iloc[np.argsort(order)].set_axis(old.index)
    # As a Series, since pandas would convert an array of objects to strings.
    frame.isetitem(place, merged)


def _type_for_pandas(filling: NDArray[Any], own: Any, fitted: Any) -> Any:
    """Return a type that holds a column's values and the values to fill it with."""
    if getattr(own, "kind", "") in ("i", "u"):
        bounds = np.iinfo(getattr(own, "numpy_dtype", own))
        if _are_within(filling, int(bounds.min), int(bounds.max)):
            return own
        return np.dtype(np.int64) if fitted is None else fitted
    if not isinstance(own, pd.CategoricalDtype):
        return own
    lacking = _lacking(filling, own.categories)
    is_alike = isinstance(fitted, pd.CategoricalDtype)
    if lacking and is_alike and not _lacking(own.categories, fitted.categories):
        return fitted
    # The position of new categories in an order is unknown.
    return pd.CategoricalDtype([*own.categories, *lacking]) if lacking else own


def _fill_polars(
    frame: Any, place: int, gap: NDArray[np.bool_], values: NDArray[Any], fitted: Any
) -> None:
    import polars as pl

    old = frame.to_series(place)
    if gap.all():
        is_number = values.dtype.kind in "iuf" and old.dtype.is_numeric()
        dtype = old.dtype if fitted is None and is_number else fitted
        filled = _make_column(values, dtype, "polars")
    else:
        dtype = _type_for_polars(values[gap], old.dtype, fitted)
        new = _make_column(values, dtype, "polars")
        if new.filter(gap).null_count():
            raise _cannot_hold(old.name, dtype, values[gap])
        merged = pl.when(pl.Series(gap)).then(new).otherwise(old.cast(dtype))
        filled = pl.select(merged).to_series()
    frame.replace_column(place, filled.alias(old.name))


def _type_for_polars(filling: NDArray[Any], own: Any, fitted: Any) -> Any:
    """Return a type that holds a column's values and the values to fill it with."""
    import polars as pl

    if own.is_integer() and not _are_within(filling, *_polars_bounds(own)):
        return pl.Int64() if fitted is None else fitted
    if not isinstance(own, pl.Enum):
        return own
    lacking = _lacking(filling, own.categories)
    is_alike = isinstance(fitted, pl.Enum)
    if lacking and is_alike and not _lacking(own.categories, fitted.categories):
        return fitted
    return pl.Enum([*own.categories, *lacking]) if lacking else own


def _cannot_hold(name: Any, dtype: Any, filling: NDArray[Any]) -> ValueError:
    return ValueError(
        f"Column {name!r} holds {dtype}, which cannot hold {filling[0]!r:.40}. Bring "
        "it to the type of fit first."
    )


def _are_within(values: NDArray[Any], lowest: int, highest: int) -> bool:
    """Whether an integer type holds all values that are integers, without rounding."""
    if values.dtype.kind not in "iuO":
        return True
    whole = (each for each in values.tolist() if isinstance(each, int))
    return all(lowest <= each <= highest for each in whole)


def _lacking(values: Any, categories: Any) -> list[Any]:
    """Return the distinct values that are not categories, in order."""
    known = set(categories)
    return [value for value in dict.fromkeys(values) if value not in known]
