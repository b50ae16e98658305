"""Codecs of values and types of pandas and polars."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from .hashes import check_hashes_of_pandas
from .plain import CannotBeSaved, Codec, Reader, Writer, is_a, is_just
from .plain_values import VALUE_CODECS

# Fixed offsets, in the format of Python and pandas.
_OFFSET = re.compile(r"UTC([+-]\d\d:\d\d)?")


@cache
def _zone_names() -> frozenset[str]:
    """Return the names of time zones; "localtime" depends on the machine."""
    return frozenset(zoneinfo.available_timezones()) - {"localtime"}


def _check_zone(name: Any) -> None:
    """Check that a name is that of a time zone.

    pandas accepts other names, some of which are paths of files that it opens.
    """
    if name is None:
        return
    if not (_OFFSET.fullmatch(name) or name in _zone_names()):
        raise ValueError(f"{name!r:.80} is no time zone")


def _write_timestamp(value: pd.Timestamp, writer: Writer, place: str) -> Any:
    zone = None if value.tz is None else str(value.tz)
    plain = [int(value.asm8.astype(np.int64)), value.unit, zone]
    _check_return(value, lambda: _read_timestamp(plain), place)
    return plain


def _read_timestamp(plain: Any, reader: Reader | None = None) -> pd.Timestamp:
    moment, unit, zone = plain
    if unit not in ("s", "ms", "us", "ns"):
        raise ValueError(f"{unit!r:.80} is no unit of time")
    _check_zone(zone)
    stamp = pd.Timestamp(np.int64(moment).view(f"M8[{unit}]"))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)


def _write_datetime(value: datetime.datetime, writer: Writer, place: str) -> Any:
    if value.tzinfo is None or type(value.tzinfo) is datetime.timezone:
        plain: Any = value.isoformat()
    else:
        plain = _write_timestamp(pd.Timestamp(value), writer, place)
    _check_return(value, lambda: _read_datetime(plain), place)
    return plain


def _read_datetime(plain: Any, reader: Reader | None = None) -> datetime.datetime:
    if isinstance(plain, str):
        return datetime.datetime.fromisoformat(plain)
    return _read_timestamp(plain).to_pydatetime()


def _write_timedelta(value: pd.Timedelta, writer: Writer, place: str) -> Any:
    return [int(value.asm8.astype(np.int64)), value.unit]


def _read_timedelta(plain: Any, reader: Reader) -> pd.Timedelta:
    length, unit = plain
    return pd.Timedelta(np.int64(length).view(f"m8[{unit}]"))


def _write_interval(value: pd.Interval, writer: Writer, place: str) -> Any:
    ends = [writer.write(end, place) for end in (value.left, value.right)]
    return [*ends, value.closed]


def _read_interval(plain: Any, reader: Reader) -> pd.Interval:
    left, right, closed = plain
    return pd.Interval(reader.read(left), reader.read(right), closed)


_PERIOD = re.compile(r"\d*[A-Za-z]+(-[A-Z]{3})?")


def _write_period(value: pd.Period, writer: Writer, place: str) -> Any:
    return [value.ordinal, value.freqstr]


def _read_period(plain: Any, reader: Reader) -> pd.Period:
    ordinal, freq = plain
    if not _PERIOD.fullmatch(freq):
        raise ValueError(f"{freq:.80} is no frequency")
    return pd.Period(ordinal=ordinal, freq=freq)


def _check_return(value: Any, read: Callable[[], Any], place: str) -> None:
    """Check that a description restores the same value."""
    found = None
    with suppress(Exception):
        found = read()
    if not is_same(value, found):
        raise CannotBeSaved(place, f"{value!r:.80}")


def is_same(value: Any, found: Any) -> bool:
    if isinstance(value, pd.DatetimeTZDtype):
        # By name: pandas 2 makes a zone of pytz of it, which equals no other one.
        return str(found) == str(value)
    return type(found) is type(value) and bool(found == value)


def _write_index(value: pd.Index, writer: Writer, place: str) -> Any:
    return [writer.write(value.dtype, place), writer.write(value.tolist(), place)]


def _read_index(plain: Any, reader: Reader) -> Any:
    kind, items = plain
    dtype, values = reader.read(kind), reader.read_list(items)
    if not all(isinstance(value, _element_type(dtype)) for value in values):
        # pandas would parse strings.
        raise ValueError("a point in time is none")
    # A list of tuples would become a MultiIndex.
    found = pd.Index(values, dtype=dtype, tupleize_cols=False)
    if isinstance(found, pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex):
        check_hashes_of_pandas(found.asi8)
    elif found.dtype.kind in "iuf":
        check_hashes_of_pandas(np.asarray(found.dropna(), f"{found.dtype.kind}8"))
    else:
        check_hashes_of_pandas(values)
    return found


def _element_type(dtype: Any) -> type:
    if isinstance(dtype, pd.PeriodDtype):
        return pd.Period
    kinds: dict[str, type] = {"M": pd.Timestamp, "m": pd.Timedelta}
    return kinds.get(dtype.kind, object)


_PANDAS_TYPES = re.compile(
    r"bool|boolean|object|str|string|(string|large_string|bool|u?int(8|16|32|64)|double"
    r"|float|date32\[day\])\[(python|pyarrow)\]|[uU]?[iI]nt(8|16|32|64)"
    r"|[fF]loat(16|32|64)|datetime64\[(s|ms|us|ns)(, (?P<zone>[\w/+:-]+))?\]"
    r"|timedelta64\[(s|ms|us|ns)\]|period\[\d*[A-Za-z]+(-[A-Z]{3})?\]"
)


def _write_pandas_type(value: Any, writer: Writer, place: str) -> Any:
    if isinstance(value, pd.CategoricalDtype):
        return [writer.write(value.categories, place), value.ordered]
    name = str(value)
    with suppress(ValueError, TypeError):
        if is_same(value, _read_pandas_name(name)):
            return name
    plain = _describe_type(value, writer, place)
    _check_return(value, lambda: _TYPES_IN_PARTS[plain[0]](*plain[1:]), place)
    return {"parts": plain}


def _describe_type(value: Any, writer: Writer, place: str) -> list[Any]:
    """Describe a type that its name does not identify, in parts."""
    if isinstance(value, pd.StringDtype):
        return ["string", value.storage, value.na_value is pd.NA]
    if isinstance(value, pd.IntervalDtype):
        subtype = _write_pandas_type(value.subtype, writer, place)
        return ["interval", subtype, value.closed]
    if isinstance(value, pd.ArrowDtype):
        return ["arrow", *_describe_arrow(value.pyarrow_dtype)]
    raise CannotBeSaved(place, f"values of type {value}")


def _describe_arrow(value: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(value):
        parts = [_describe_arrow(t) for t in (value.index_type, value.value_type)]
        return ["dictionary", *parts, value.ordered]
    if pa.types.is_timestamp(value) and value.tz is not None:
        return ["timestamp", value.unit, value.tz]
    if pa.types.is_decimal(value):
        return [f"decimal{value.bit_width}", value.precision, value.scale]
    return [str(value)]


def _read_arrow(name: str, *arguments: Any) -> Any:
    import pyarrow as pa

    if name == "dictionary":
        index, values, ordered = arguments
        return pa.dictionary(_read_arrow(*index), _read_arrow(*values), ordered)
    if name == "timestamp":
        unit, zone = arguments
        # The same time zones are allowed as in types of pandas, which write fixed
        # offsets as UTC+09:00.
        prefix = "UTC" if zone[:1] in ("+", "-") else ""
        _read_pandas_name(f"datetime64[{unit}, {prefix}{zone}]")
        return pa.timestamp(unit, zone)
    if re.fullmatch(r"decimal(32|64|128|256)", name):
        return getattr(pa, name)(*arguments)
    return pa.type_for_alias(name)


def _read_pandas_name(name: str) -> Any:
    found = _PANDAS_TYPES.fullmatch(name)
    if not found:
        raise ValueError(f"{name:.80} is no type of pandas")
    _check_zone(found["zone"])
    return pd.api.types.pandas_dtype(name)


# Constructors of the types that are described in parts, by the first part.
_TYPES_IN_PARTS: dict[str, Callable[..., Any]] = {
    "string": lambda storage, is_na: pd.StringDtype(
        storage, pd.NA if is_na else np.nan
    ),
    "interval": lambda subtype, closed: pd.IntervalDtype(
        _read_pandas_name(subtype), closed
    ),
    "arrow": lambda *parts: pd.ArrowDtype(_read_arrow(*parts)),
}


def _read_pandas_type(plain: Any, reader: Reader) -> Any:
    if isinstance(plain, list):
        categories, ordered = map(reader.read, plain)
        if not isinstance(categories, pd.Index):
            raise ValueError("categories are no index")
        return pd.CategoricalDtype(categories, ordered)
    if isinstance(plain, dict):
        kind, *parts = plain["parts"]
        return _TYPES_IN_PARTS[kind](*parts)
    return _read_pandas_name(plain)


_INTEGERS = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128)]
_FLOATS = [f"Float{bits}" for bits in (16, 32, 64)]
_PLAIN_POLARS_TYPES = [
    *("Boolean", "Categorical", "Date", "Object", "String"),
    *_FLOATS,
    *_INTEGERS,
]


def _write_polars_type(value: Any, writer: Writer, place: str) -> Any:
    name = type(value).__name__
    arguments = {
        "Datetime": lambda: [value.time_unit, value.time_zone],
        "Decimal": lambda: [value.precision, value.scale],
        "Enum": lambda: [value.categories.to_list()],
        "Categorical": lambda: _describe_categories(value),
    }.get(name, list)()
    plain = [name, *arguments]
    if name not in (*_PLAIN_POLARS_TYPES, "Datetime", "Decimal", "Enum"):
        raise CannotBeSaved(place, f"values of type {value!r}")
    _check_return(value, lambda: _read_polars_type(plain), place)
    return plain


def _describe_categories(value: Any) -> list[Any]:
    """Describe categories that have a name; the global ones have none."""
    categories = getattr(value, "categories", None)
    if categories is None or categories.is_global():
        return []
    return [categories.name(), categories.namespace()]


def _read_polars_type(plain: Any, reader: Reader | None = None) -> Any:
    import polars as pl

    name, *arguments = plain
    if name == "Datetime":
        _check_zone(arguments[1])
    if arguments:
        kinds: dict[str, Callable[..., Any]] = {
            "Datetime": pl.Datetime,
            "Decimal": pl.Decimal,
            "Enum": pl.Enum,
            "Categorical": lambda *parts: pl.Categorical(pl.Categories(*parts)),
        }
        return kinds[name](*arguments)
    if name not in _PLAIN_POLARS_TYPES:
        raise ValueError(f"{name} is no type of polars")
    return getattr(pl, name)()


def _is_polars_type(value: Any) -> bool:
    # Without an import of polars, which need not be there.
    kinds = type(value).__mro__
    return any(k.__name__ == "DataType" and "polars" in k.__module__ for k in kinds)


FRAME_CODECS = [
    *VALUE_CODECS,
    Codec("timestamp", is_a(pd.Timestamp), _write_timestamp, _read_timestamp),
    Codec("datetime", is_just(datetime.datetime), _write_datetime, _read_datetime),
    Codec("length", is_a(pd.Timedelta), _write_timedelta, _read_timedelta),
    Codec("interval", is_a(pd.Interval), _write_interval, _read_interval),
    Codec("period", is_a(pd.Period), _write_period, _read_period),
    Codec("index", is_a(pd.Index), _write_index, _read_index),
    Codec(
        "pandas_type",
        is_a(np.dtype, pd.api.extensions.ExtensionDtype),
        _write_pandas_type,
        _read_pandas_type,
    ),
    Codec("polars_type", _is_polars_type, _write_polars_type, _read_polars_type),
]
