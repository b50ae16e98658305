"""Values and types of pandas and polars as JSON has them, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from .plain import CannotBeSaved, Codec, Reader, Writer, is_a


def _write_timestamp(value: pd.Timestamp, writer: Writer, place: str) -> Any:
    zone = None if value.tz is None else str(value.tz)
    plain = [int(value.asm8.astype(np.int64)), value.unit, zone]
    _check_return(value, _read_timestamp(plain), place)
    return plain


def _read_timestamp(plain: Any, reader: Reader | None = None) -> pd.Timestamp:
    moment, unit, zone = plain
    stamp = pd.Timestamp(np.int64(moment).view(f"M8[{unit}]"))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)


def _check_return(value: Any, found: Any, place: str) -> None:
    """Make sure that what can be described in words is what was described."""
    if not (type(found) is type(value) and found == value):
        raise CannotBeSaved(place, f"{value!r:.80}")


def _write_index(value: pd.Index, writer: Writer, place: str) -> Any:
    return [writer.write(value.dtype, place), writer.write(value.tolist(), place)]


def _read_index(plain: Any, reader: Reader) -> Any:
    dtype, values = plain
    return pd.Index(reader.read_list(values), dtype=reader.read(dtype))


_PANDAS_TYPES = re.compile(
    r"bool|boolean|object|str|string|(string|large_string|bool|u?int(8|16|32|64)|double"
    r"|float|date32\[day\])\[(python|pyarrow)\]|[uU]?[iI]nt(8|16|32|64)"
    r"|[fF]loat(16|32|64)|datetime64\[(s|ms|us|ns)(, [\w/+:-]+)?\]"
)


def _write_pandas_type(value: Any, writer: Writer, place: str) -> Any:
    if isinstance(value, pd.CategoricalDtype):
        return [writer.write(value.categories, place), value.ordered]
    name = str(value)
    if not _PANDAS_TYPES.fullmatch(name):
        raise CannotBeSaved(place, f"values of type {name}")
    _check_return(value, pd.api.types.pandas_dtype(name), place)
    return name


def _read_pandas_type(plain: Any, reader: Reader) -> Any:
    if isinstance(plain, list):
        categories, ordered = map(reader.read, plain)
        return pd.CategoricalDtype(categories, ordered)
    if not _PANDAS_TYPES.fullmatch(plain):
        raise ValueError(f"{plain} is no type of pandas")
    return pd.api.types.pandas_dtype(plain)


_INTEGERS = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128)]
_PLAIN_POLARS_TYPES = [
    *("Boolean", "Categorical", "Date", "Float32", "Float64", "Object", "String"),
    *_INTEGERS,
]


def _write_polars_type(value: Any, writer: Writer, place: str) -> Any:
    name = type(value).__name__
    arguments = {
        "Datetime": lambda: [value.time_unit, value.time_zone],
        "Decimal": lambda: [value.precision, value.scale],
        "Enum": lambda: [value.categories.to_list()],
    }.get(name, list)()
    plain = [name, *arguments]
    if name not in (*_PLAIN_POLARS_TYPES, "Datetime", "Decimal", "Enum"):
        raise CannotBeSaved(place, f"values of type {value!r}")
    _check_return(value, _read_polars_type(plain), place)
    return plain


def _read_polars_type(plain: Any, reader: Reader | None = None) -> Any:
    import polars as pl

    name, *arguments = plain
    if arguments:
        return {"Datetime": pl.Datetime, "Decimal": pl.Decimal, "Enum": pl.Enum}[name](
            *arguments
        )
    if name not in _PLAIN_POLARS_TYPES:
        raise ValueError(f"{name} is no type of polars")
    return getattr(pl, name)()


def _is_polars_type(value: Any) -> bool:
    # Without an import of polars, which need not be there.
    kinds = type(value).__mro__
    return any(k.__name__ == "DataType" and "polars" in k.__module__ for k in kinds)


FRAME_CODECS = [
    Codec("timestamp", is_a(pd.Timestamp), _write_timestamp, _read_timestamp),
    Codec("index", is_a(pd.Index), _write_index, _read_index),
    Codec(
        "pandas_type",
        is_a(np.dtype, pd.api.extensions.ExtensionDtype),
        _write_pandas_type,
        _read_pandas_type,
    ),
    Codec("polars_type", _is_polars_type, _write_polars_type, _read_polars_type),
]
