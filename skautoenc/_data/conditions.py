"""Cells that new rows of a table are to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .columns import CategoryColumn, Table
from .frames import Columns
from .objects import as_objects


class Given(NamedTuple):
    """Cells that are given.

    Parameters
    ----------
    matrix : ndarray of shape (n_samples, n_inputs), float32
        Encoded rows; cells that are not given are NaN.
    values : dict of tuple
        By the position of a column: which of its cells are given, and their values in
        the type of decoded ones.
    """

    matrix: NDArray[np.float32]
    values: dict[int, tuple[NDArray[np.bool_], NDArray[Any]]]

    def put_into(self, columns: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return drawn columns with the given values in their places."""
        found = list(columns)
        for place, (is_given, values) in self.values.items():
            found[place] = np.where(is_given, values, columns[place])
        return found

    def repeated(self, n_times: int) -> Given:
        """Return each row as many times."""
        return Given(
            self.matrix.repeat(n_times, axis=0),
            {
                place: (is_given.repeat(n_times), values.repeat(n_times))
                for place, (is_given, values) in self.values.items()
            },
        )


def nothing_given(table: Table) -> Given:
    """Return a row without any cell."""
    shape = 1, len(table.layout.cells)
    return Given(np.full(shape, np.nan, dtype=np.float32), {})


def read_conditions(conditions: Any, table: Table) -> Given:
    """Encode given cells.

    Parameters
    ----------
    conditions : mapping, frame or array-like
        Values by column, for all rows alike, or a row of cells for each new row, in
        which missing values are not given.
    table : Table
        What was learnt of the columns.

    Raises
    ------
    ValueError
        If a column or a category was not there in `fit`, or if a number or a date is
        out of the range seen.
    """
    if isinstance(conditions, Mapping):
        conditions = _as_row(conditions, table)
    elif not hasattr(conditions, "columns"):
        conditions = np.asarray(conditions)
        if conditions.ndim != 2 or conditions.shape[1] != len(table.columns):
            raise ValueError(
                f"conditions must be a mapping, a frame, or an array with "
                f"{len(table.columns)} columns, as in fit. Got an array of shape "
                f"{conditions.shape}."
            )
    columns = Columns(conditions)
    cells = np.array(table.layout.cells)
    matrix = np.full((columns.n_rows, len(cells)), np.nan, dtype=np.float32)
    values = {}
    for place, name in zip(columns, columns.names, strict=True):
        own = _place_of(name, table)
        column, cell = table.columns[own], table.places[own]
        columns.check_type(place, column.kind)
        is_given, found = _values_of(column, columns[place])
        values[own] = is_given, found
        encoded = np.reshape(column.encode(columns[place]), (len(is_given), -1))
        matrix[:, cells == cell] = encoded
    return Given(matrix, values)


def _place_of(name: Any, table: Table) -> int:
    names = [column.name for column in table.columns]
    if name not in names:
        raise ValueError(
            f"conditions has the column {name!r}, which was not there in fit. The "
            f"columns are {names}."
        )
    return names.index(name)


def _as_row(conditions: Mapping[Any, Any], table: Table) -> pd.DataFrame:
    """Make a frame of one row of values by column."""
    row = {}
    for name, value in conditions.items():
        column = table.columns[_place_of(name, table)]
        if not (np.ndim(value) == 0 or isinstance(value, str)):
            raise ValueError(
                f"conditions[{name!r}] must be a single value. Got {value!r:.80}. For "
                "a value for each row, pass a frame."
            )
        is_category = column.kind == "category"
        series = pd.Series([value], dtype=object if is_category else None)
        if column.kind == "date" and not column.is_text:
            series = pd.to_datetime(series)
        row[name] = series
    return pd.DataFrame(row, index=[0])


def _values_of(column: Any, values: Any) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which cells of a column are given, and their values as decoded ones."""
    is_given = ~np.asarray(column.gaps(values))
    if column.is_empty and is_given.any():
        raise ValueError(
            f"Column {column.name!r} cannot be given: it held nothing to learn in fit."
        )
    if isinstance(column, CategoryColumn):
        objects = as_objects(values)
        _check_levels(column, objects[is_given])
        return is_given, objects
    if isinstance(values, nw.Series):
        column = column.written_as(values) if column.kind == "date" else column
    floats = column.to_floats(values)
    restored = column.restore(np.nan_to_num(floats))
    _check_within(column, floats[is_given], restored[is_given])
    return is_given, restored


def _check_levels(column: CategoryColumn, levels: NDArray[Any]) -> None:
    known = {*column.levels, *column.rare}
    for level in levels:
        if level not in known:
            examples = ", ".join(f"{each!r:.40}" for each in column.levels[:5])
            raise ValueError(
                f"Column {column.name!r} is to be {level!r:.80}, which was not there "
                f"in fit. Its categories are {examples}"
                f"{', ...' if len(known) > 5 else ''}."
            )


def _check_within(
    column: Any, floats: NDArray[np.float64], restored: NDArray[Any]
) -> None:
    time = column if column.kind == "number" else column._time
    if time.lowest is None or time.highest is None:
        return
    outside = (floats < time.lowest) | (floats > time.highest)
    if outside.any():
        lowest, highest = column.restore(
            np.array([time.lowest, time.highest], dtype=np.float64)
        )
        wanted = floats[outside][0]
        shown = wanted if column.kind == "number" else pd.Timestamp(wanted, unit="us")
        raise ValueError(
            f"Column {column.name!r} is to be {shown}, but was between {lowest} and "
            f"{highest} in fit. Nothing is known of rows out of this range."
        )
