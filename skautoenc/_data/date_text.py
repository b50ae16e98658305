"""Dates in columns of strings and objects, and their formats.

A form is a format of `strftime` with the time zone as text, such as
``"%Y-%m-%dT%H:%M:%SZ"``, or the name of a class: date, datetime or Timestamp.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Strings that pandas parses as ISO 8601.
_ISO = re.compile(
    r"\s*(?P<year>\d{4})"
    r"(?:(?P<mark>[-/. \\]?)(?P<month>\d\d?)(?:(?P=mark)(?P<day>\d\d?)"
    r"(?:(?P<between>[T ])(?P<hour>\d\d?)"
    r"(?:(?P<colon>:?)(?P<minute>\d\d)"
    r"(?:(?P=colon)(?P<second>\d\d)(?P<fraction>\.\d+)?)?)?"
    r"(?P<zone>\s?(?:Z|[+-]\d\d(?::?\d\d)?))?)?)?)?"
)
_FIELDS = {
    "year": "%Y",
    "month": "%m",
    "day": "%d",
    "hour": "%H",
    "minute": "%M",
    "second": "%S",
}
# Positions of the fields in 2024-12-31T23:59:59.
_STARTS = dict(zip(_FIELDS.values(), (0, 5, 8, 11, 14, 17), strict=True))
_FIRST, _LAST = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us")
_ZONE = re.compile(r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?)$")
_TO_ZEROS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True)
class Forms:
    """Format of the dates of a column.

    Parameters
    ----------
    form : str or None
        The most frequent form; None if there is none.
    zone : tzinfo or None
        Time zone of a date of that form, if it is an object with a time zone.
    zoned, naive : ndarray of int
        Rows whose dates have a time zone, and rows whose dates have none.
    """

    form: str | None
    zone: datetime.tzinfo | None
    zoned: NDArray[np.int64]
    naive: NDArray[np.int64]


def read_forms(values: NDArray[Any]) -> Forms:
    """Determine the forms of dates in an array of strings, objects, missing values."""
    present = np.flatnonzero(~pd.isna(values))
    seen = [values[row] for row in present]
    codes, outlines = pd.factorize(np.array([*map(_outline, seen)], dtype=object))
    _, firsts = np.unique(codes, return_index=True)
    forms = [_form_of(seen[first]) for first in firsts]
    says_zone = [
        form is not None and _says_zone(form, seen[first])
        for form, first in zip(forms, firsts, strict=True)
    ]
    zoned = np.array(says_zone, dtype=bool)[codes]
    known = np.array([form is not None for form in forms], dtype=bool)[codes]
    rows = {"zoned": present[zoned], "naive": present[known & ~zoned]}
    if not known.any():
        return Forms(None, None, **rows)
    counts = Counter(codes[known].tolist())
    # The order of rows must not matter: in a tie, the greater text wins.
    most = max(counts, key=lambda code: (counts[code], outlines[code]))
    alike = [value for value, code in zip(seen, codes, strict=True) if code == most]
    return Forms(_with_zone(str(forms[most]), alike), _zone_of(alike[0]), **rows)


def is_date_text(values: Sequence[str]) -> bool:
    """Whether all strings are complete dates, and not just numbers."""
    written = [_ISO.fullmatch(value) for value in values]
    return all(each and each["day"] and each["mark"] for each in written)


def _outline(value: Any) -> str:
    """Return a key that all dates of one form have in common."""
    if isinstance(value, str):
        return value.translate(_TO_ZEROS)
    return f"{_class_of(value)} {_zone_of(value) is not None}"


def _class_of(value: Any) -> str:
    for kind in (pd.Timestamp, datetime.datetime, datetime.date):
        if isinstance(value, kind):
            return kind.__name__
    return "Timestamp"


def _zone_of(value: Any) -> datetime.tzinfo | None:
    zone: datetime.tzinfo | None = getattr(value, "tzinfo", None)
    return zone


def _says_zone(form: str, value: Any) -> bool:
    if not isinstance(value, str):
        return _zone_of(value) is not None
    return "%H" in form and _ZONE.search(form) is not None


def _form_of(value: Any) -> str | None:
    """Return the form of a date, or None if it is unknown."""
    if not isinstance(value, str):
        return _class_of(value)
    found = _ISO.fullmatch(value)
    if found is None:
        return None
    parts = list(value)
    for field, code in _FIELDS.items():
        start, end = found.span(field)
        parts[start:end] = [code] + [""] * (end - start - 1) if start >= 0 else []
    start, end = found.span("fraction")
    if start >= 0:
        # Decoded times are rounded to whole seconds.
        parts[start + 1 : end] = "0" * (end - start - 1)
    return "".join(parts)


def _with_zone(form: str, alike: Sequence[Any]) -> str:
    """Replace the time zone in a form by the most frequent one of its strings."""
    zone = _ZONE.search(form)
    if zone is None or "%H" not in form:
        return form
    counts = Counter(value[-len(zone[0]) :] for value in alike)
    most = max(counts, key=lambda text: (counts[text], text))
    return form[: zone.start()] + str(most)


def write_dates(
    dates: NDArray[np.datetime64], form: str, zone: datetime.tzinfo | None = None
) -> NDArray[Any]:
    """Format dates, in UTC or without a zone, (n,); missing dates become None.

    Fields of a date that the form does not contain are cut off.
    """
    found = np.full(len(dates), None, dtype=object)
    known = ~np.isnat(dates)
    dates = np.clip(dates[known], _FIRST, _LAST)
    found[known] = _as_text(dates, form) if "%" in form else _as(form, dates, zone)
    return found


def _as(
    form: str, dates: NDArray[np.datetime64], zone: datetime.tzinfo | None
) -> NDArray[Any]:
    """Convert dates to objects of the class that a form names."""
    if form == "date":
        return dates.astype("datetime64[D]").astype(object)
    stamps = pd.DatetimeIndex(dates)
    if zone is not None:
        stamps = stamps.tz_localize("UTC").tz_convert(zone)
    found: NDArray[Any] = stamps.astype(object).to_numpy()
    return stamps.to_pydatetime() if form == "datetime" else found


def _as_text(dates: NDArray[np.datetime64], form: str) -> NDArray[Any]:
    zone = _ZONE.search(form) if "%H" in form else None
    if zone is not None:
        dates = dates + np.timedelta64(_offset(zone))
    # (n, 19) characters, as in 2024-12-31T23:59:59
    text = np.datetime_as_string(dates, unit="s")
    characters = text.astype("U19").view("U1").reshape(len(dates), 19)
    sources = _sources(form)
    written = np.empty((len(dates), len(sources)), dtype="U1")
    for place, source in enumerate(sources):
        written[:, place] = characters[:, source] if isinstance(source, int) else source
    return written.view(f"U{len(sources)}").ravel().astype(object)


def _sources(form: str) -> list[int | str]:
    """Return each character of a form, or its position in 2024-12-31T23:59:59."""
    found: list[int | str] = []
    for part in re.split("(%[YmdHMS])", form):
        start = _STARTS.get(part)
        if start is None:
            found.extend(part)
        else:
            found.extend(range(start, start + (4 if part == "%Y" else 2)))
    return found


def _offset(zone: re.Match[str]) -> datetime.timedelta:
    if zone["sign"] is None:
        return datetime.timedelta(0)
    offset = datetime.timedelta(
        hours=int(zone["hours"]), minutes=int(zone["minutes"] or 0)
    )
    return -offset if zone["sign"] == "-" else offset
