"""Codecs of values of the standard library.

Dates with a time are in `plain_frames`, which knows time zones.
"""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal

from .plain import CannotBeSaved, Codec, Writer, is_just


def _write_time(value: datetime.time, writer: Writer, place: str) -> str:
    if value.tzinfo is not None:
        raise CannotBeSaved(place, "a time of day in a time zone")
    return value.isoformat()


VALUE_CODECS = [
    Codec(
        "bytes",
        is_just(bytes),
        lambda value, writer, place: value.hex(),
        lambda plain, reader: bytes.fromhex(plain),
    ),
    Codec(
        "decimal",
        is_just(Decimal),
        lambda value, writer, place: str(value),
        lambda plain, reader: Decimal(plain),
    ),
    Codec(
        "date",
        is_just(datetime.date),
        lambda value, writer, place: value.isoformat(),
        lambda plain, reader: datetime.date.fromisoformat(plain),
    ),
    Codec(
        "time",
        is_just(datetime.time),
        _write_time,
        lambda plain, reader: datetime.time.fromisoformat(plain),
    ),
    Codec(
        "timedelta",
        is_just(datetime.timedelta),
        lambda value, writer, place: [value.days, value.seconds, value.microseconds],
        lambda plain, reader: datetime.timedelta(*plain),
    ),
    Codec(
        "uuid",
        is_just(uuid.UUID),
        lambda value, writer, place: value.hex,
        lambda plain, reader: uuid.UUID(plain),
    ),
]
