"""Checks in `fit` that the content of a table can be saved."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pandas as pd

from .._data.columns import Table
from .._data.frames import Schema
from .plain import PLAIN_CODECS, Reader, Writer
from .plain_frames import FRAME_CODECS, is_same

# All values of these types survive saving and loading.
_ALWAYS_RETURN = (str, int, float, bool, bytes, datetime.date, Decimal)
_IS_NO_TEXT = (
    "holds a lone surrogate, which is half of a character: neither Arrow nor pandas "
    "makes text of it"
)


def returns(value: Any) -> bool:
    """Whether a value, a name or a type survives saving and loading."""
    if type(value) in _ALWAYS_RETURN or (
        type(value) is pd.Timestamp and value.tz is None
    ):
        return True
    codecs = [*PLAIN_CODECS, *FRAME_CODECS]
    writer = Writer(codecs)
    try:
        plain = writer.write(value, "")
        return is_same(value, Reader(codecs, writer.arrays, []).read(plain))
    except Exception:
        # Comparisons with a foreign type may raise any error.
        return False


def is_unicode(value: Any) -> bool:
    """Whether the strings in a name or a type are text, without lone surrogates.

    Python's strings may hold half of a pair of code units. Those of Arrow may not, and
    pandas makes Arrow's strings of names and categories.
    """
    writer = Writer([*PLAIN_CODECS, *FRAME_CODECS])
    try:
        json.dumps(writer.write(value, ""), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except Exception:
        # A foreign type, which `returns` refuses.
        return True
    return True


def check_returns(table: Table, schema: Schema | None) -> None:
    """Refuse categories and types of columns that cannot be saved.

    Parameters
    ----------
    table : Table
        The columns.
    schema : Schema or None
        Types of the frame; None for an array.

    Raises
    ------
    ValueError
        With the name of the column and a suggestion.
    """
    for column in table.categories:
        for level in [*column.levels, *column.rare]:
            if not returns(level):
                raise ValueError(
                    f"Column {column.name!r} holds a {type(level).__name__}, "
                    f"{level!r:.40}, which is neither a number, a string, a date nor "
                    "another plain value. Make a string of it, with .astype(str)."
                )
    for name, dtype in ({} if schema is None else schema.types).items():
        if not is_unicode(name):
            raise ValueError(
                f"The name of column {name!r} {_IS_NO_TEXT}. Rename the column."
            )
        if isinstance(dtype, pd.CategoricalDtype) and not is_unicode(dtype):
            raise ValueError(
                f"A category of column {name!r} {_IS_NO_TEXT}. Rename the category, or "
                "convert the column, with .astype(object)."
            )
        if not (returns(name) and returns(dtype)):
            raise ValueError(
                f"Column {name!r} holds {dtype}, which is no type that files hold. "
                "Convert it, or leave it out."
            )
