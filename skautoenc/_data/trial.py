"""Tests of columns of a table: a row is decoded and encoded again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .columns import CategoryColumn, Table
from .frames import Columns, Schema, make_array, make_frame

# Attributes that affect how a column is decoded and encoded, where it has them.
_SORTED_BY = (
    *("scaling", "is_integer", "is_empty"),
    *("is_text", "has_times", "form", "is_zoned"),
)


def try_some_columns(table: Table, schema: Schema | None) -> None:
    """Decode and encode a row of one column of each kind.

    Attributes of all columns have been checked before, so thousands of similar columns
    need no test. Only whether a type holds the categories is tested for each column.

    Raises
    ------
    Exception
        Of any type, if it fails.
    """
    types: list[Any] = [None] * len(table.columns)
    if schema is not None:
        types = list(schema.types.values())
    sorts = {}
    for column, dtype in zip(table.columns, types, strict=True):
        is_held = column.kind != "category" or dtype is None
        if not is_held and len(column.levels):
            _try_type(column, dtype, schema)
        sorts[_sort(column, dtype)] = (column, dtype)
    columns, types = map(list, zip(*sorts.values(), strict=True))
    part = Table(columns)
    codes = np.zeros((1, len(part.layout.n_codes)), np.float32)
    values = part.decode(np.zeros((1, part.layout.n_numbers), np.float32), codes)
    if schema is None:
        rows: Any = make_array(values)
    else:
        names = [str(number) for number in range(len(columns))]
        kinds = dict(zip(names, types, strict=True))
        rows = make_frame(part.written(values), replace(schema, types=kinds))
    part.encode(Columns(rows), warns=False)


def _try_type(column: CategoryColumn, dtype: Any, schema: Schema | None) -> None:
    assert schema is not None
    levels = column.decode(np.arange(len(column.levels), dtype=np.float64))
    make_frame([levels], replace(schema, types={"level": dtype}))


def _sort(column: Any, dtype: Any) -> tuple[Any, ...]:
    return (
        column.kind,
        str(dtype),
        *(getattr(column, name, None) for name in _SORTED_BY),
        *(sorted({type(level).__name__ for level in getattr(column, "levels", ())})),
    )
