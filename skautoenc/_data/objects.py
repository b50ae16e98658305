"""Columns of Python objects, as databases give them, and numbers written as objects."""

from __future__ import annotations

import datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# float64 has no digit after so many places.
MOST_PLACES = 400
# The first class that a value's type belongs to decides. Durations of numpy are
# integers, and flags of Python are, too.
_SORTS: list[tuple[str, tuple[type, ...]]] = [
    ("flags", (bool, np.bool_)),
    ("durations", (datetime.timedelta, np.timedelta64)),
    ("numbers", (Real, Decimal)),
    ("dates", (datetime.date, np.datetime64)),
    ("strings", (str,)),
    ("times of day", (datetime.time,)),
    ("periods", (pd.Period,)),
]
_ZONED = "dates with a time zone"
_KINDS = {"numbers": "number", "dates": "date", _ZONED: "date"}
# Quantities that are neither numbers nor dates, with advice.
_QUANTITIES = {
    "durations": "Make numbers of them, such as each.total_seconds()",
    "times of day": "Make numbers of them, such as hours",
    "periods": "Make dates of them, such as each.to_timestamp()",
}


def as_objects(values: Any) -> NDArray[Any]:
    """Return a column as an array of objects, with missing values as they are."""
    if isinstance(values, np.ndarray):
        return values.astype(object)
    native = values.to_native()
    if isinstance(native, pd.Series):
        return native.astype(object).to_numpy()
    found = np.empty(len(values), dtype=object)
    found[:] = values.to_list()
    return found


def distinct_objects(values: Any) -> tuple[NDArray[np.intp] | None, NDArray[Any]]:
    """Return the distinct values of a column as objects, and which of them a row has.

    Parameters
    ----------
    values : Series or ndarray of shape (n,)
        The values.

    Returns
    -------
    places : ndarray of shape (n,) or None
        Index into `objects` of each row, -1 for a missing value. None if `objects`
        are all values, in the order of the rows.
    objects : ndarray
        The values, in the order of their first rows.
    """
    native = values if isinstance(values, np.ndarray) else values.to_native()
    if not isinstance(native, pd.Series) or not isinstance(
        native.dtype, pd.StringDtype | pd.CategoricalDtype
    ):
        return None, as_objects(values)
    # A Python object a row takes five times as long as what the series has itself.
    places, levels = pd.factorize(native)
    first = np.empty(len(levels), dtype=np.intp)
    rows = np.flatnonzero(places >= 0)[::-1]
    first[places[rows]] = rows
    objects: NDArray[Any] = native.iloc[first].astype(object).to_numpy()
    return places, objects


def _sorts(objects: NDArray[Any]) -> dict[str, Any]:
    """Return what an array of objects holds, with the first value of each sort."""
    present = objects[~pd.isna(objects)]
    # Collecting the types takes a tenth of the time of checking each value.
    kinds = list(dict.fromkeys(map(type, present)))
    names = {kind: _sort_of(kind) for kind in kinds}
    found: dict[str, Any] = {}
    has_dates = "dates" in names.values()
    for value in present:
        name = names[type(value)]
        if has_dates and name == "dates" and _has_zone(value):
            name = _ZONED
        found.setdefault(name, value)
        if len(found) == len(kinds) and not has_dates:
            break
    return found


def _sort_of(kind: type) -> str:
    for name, classes in _SORTS:
        if issubclass(kind, classes):
            return name
    return kind.__name__


def _has_zone(value: Any) -> bool:
    return getattr(value, "tzinfo", None) is not None


def kind_of_objects(values: Any) -> str:
    """Return the kind of a column of objects: a category unless all are of one kind."""
    sorts = list(_sorts(as_objects(values)))
    return _KINDS.get(sorts[0], "category") if len(sorts) == 1 else "category"


def advise_on_objects(name: Any, values: Any) -> str | None:
    """Return a warning of a category that is likely to be something else, or None."""
    found = _sorts(as_objects(values))
    if len(found) > 1:
        first, second = (
            f"{value!r:.60} ({type(value).__name__})"
            for value in list(found.values())[:2]
        )
        return (
            f"Column {name!r} holds values of several types, such as {first} and "
            f"{second}, and is taken for a category. Give all of them one type, or "
            f"say that it is a category, with column_kinds={{{name!r}: 'category'}}."
        )
    for sort in found:
        if sort in _QUANTITIES:
            return (
                f"Column {name!r} holds nothing but {sort}, as objects, and is taken "
                f"for a category. {_QUANTITIES[sort]}, or say that it is a category, "
                f"with column_kinds={{{name!r}: 'category'}}."
            )
    return None


# Numbers as objects


class NumberForm(NamedTuple):
    """How numbers are written as objects.

    Parameters
    ----------
    form : {"int", "float", "Decimal", "str"}
        Class of the objects.
    places : int
        Number of decimal places of decimals and strings.
    """

    form: str
    places: int = 0


def read_number_form(objects: NDArray[Any]) -> NumberForm | None:
    """Return how a column's numbers are written; None if they are not numbers.

    Numbers of several classes are written as one that holds all of them.
    """
    present = objects[~pd.isna(objects)]
    kinds = set(map(type, present))
    if not kinds or any(issubclass(kind, bool | np.bool_) for kind in kinds):
        return None
    if all(issubclass(kind, str) for kind in kinds):
        return NumberForm("str", _places(present))
    if all(issubclass(kind, Integral) for kind in kinds):
        return NumberForm("int")
    if all(issubclass(kind, Integral | Decimal) for kind in kinds):
        return NumberForm("Decimal", _places(present))
    if all(issubclass(kind, Real | Decimal) for kind in kinds):
        return NumberForm("float")
    return None


def _places(values: NDArray[Any]) -> int:
    """Return the largest number of decimal places."""
    exponents = (Decimal(str(value)).as_tuple().exponent for value in values)
    places = -min([0, *(each for each in exponents if isinstance(each, int))])
    return min(places, MOST_PLACES)


def write_numbers(values: NDArray[Any], form: NumberForm) -> NDArray[Any]:
    """Write numbers, (n,), as objects; missing ones become None."""
    found = np.full(len(values), None, dtype=object)
    for row, value in enumerate(values.tolist()):
        if value == value:
            found[row] = _write(value, form)
    return found


def _write(value: float, form: NumberForm) -> Any:
    if form.form == "int":
        return round(value)
    if form.form == "float":
        return float(value)
    # As a decimal, since an integer would become a float, which may differ from it.
    text = f"{Decimal(value):z.{form.places}f}"
    return Decimal(text) if form.form == "Decimal" else text
