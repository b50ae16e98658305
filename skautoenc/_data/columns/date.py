"""Columns of dates."""

from __future__ import annotations

import copy
import datetime
import math
from typing import Any, NoReturn

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..bins import Bins
from ..date_text import Forms, read_forms, write_dates
from ..objects import as_objects
from .number import NumberColumn
from .values import Floats, is_missing, refuse

_DAY = 86_400e6  # In microseconds.
_YEAR = 365.2425 * _DAY


class DateColumn:
    """A column of dates, as a scaled point in time.

    Parameters
    ----------
    name : object
        Name of the column, for messages.
    is_text : bool
        Whether the dates are strings or objects.

    Attributes
    ----------
    form : str or None
        Format of strings, or the class of objects.
    is_zoned : bool or None
        Whether the dates have a time zone; None if unknown, for columns without any
        value and in older files.
    """

    kind = "date"
    form: str | None = None
    is_zoned: bool | None = None
    # Time zone of decoded objects. Files do not hold it.
    _zone: datetime.tzinfo | None = datetime.UTC

    def __init__(self, name: Any, *, is_text: bool) -> None:
        self.name = name
        self.is_text = is_text
        self._time = NumberColumn(name, "standard", is_integer=False)

    def fit(self, values: Any, weights: Floats | None) -> DateColumn:
        """Learn the scale, and whether there are times of day."""
        moments = self._moments(values)
        self._time.fit(moments, weights)
        self.is_empty = self._time.is_empty
        seen = moments[~np.isnan(moments)]
        self.has_times = bool((seen % _DAY != 0).any())
        forms = self._forms(values, moments)
        if len(forms.zoned) and len(forms.naive):
            _refuse_mixed(self.name, as_objects(values), forms)
        self.is_zoned = bool(len(forms.zoned)) if len(seen) else None
        self.form = forms.form
        return self

    def encode(self, values: Any) -> Floats:
        """Convert dates to numbers, (n, 1 + n_extras); missing values are NaN.

        The scaled point in time is followed by the positions in the year, the week and
        the day. Each is a point on a circle, so the last day is next to the first.
        """
        return self._encode_moments(self.to_floats(values))

    def _encode_moments(self, moments: Floats) -> Floats:
        angles = 2 * np.pi * moments[:, None] / np.array(self.lengths)
        times = self._time.encode(moments)
        return np.column_stack([times, np.sin(angles), np.cos(angles)])

    @property
    def lengths(self) -> list[float]:
        """Lengths of the circles on which dates have a position, in microseconds."""
        return [_YEAR, 7 * _DAY] + [_DAY] * self.has_times

    @property
    def n_extras(self) -> int:
        """Number of columns after the point in time."""
        return 6 if self.has_times else 4

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Return which values are missing, (n,)."""
        return np.isnan(self._moments(values))

    def decode(self, numbers: Floats) -> NDArray[Any]:
        """Convert scaled numbers, (n,), to dates; whole days if all were in `fit`."""
        return self._from_moments(self._time.decode(numbers))

    def learn_bins(self, values: Any, weights: Floats | None, most: int) -> None:
        """Divide the points in time that were seen into bins, after `fit`."""
        self._time.learn_bins(self._moments(values), weights, most)

    @property
    def bins(self) -> Bins | None:
        """What the distribution of a point in time is predicted over, if it is."""
        return self._time.bins

    @property
    def n_bins(self) -> int:
        """Number of bins, 0 if none were learnt."""
        return self._time.n_bins

    @property
    def edges(self) -> Floats:
        """Bounds between the bins, scaled as `encode` does it."""
        return self._time.edges

    def to_floats(self, values: Any) -> Floats:
        """Return dates as points in time that `restore` takes, (n,), NaN if missing."""
        moments = self._moments(values)
        self._check_zones(values, moments)
        return moments

    def encode_floats(self, numbers: Floats) -> Floats:
        """Return what `encode` gives of points in time, (n, 1 + n_extras)."""
        return self._encode_moments(numbers)

    def restore(self, values: Floats) -> NDArray[Any]:
        """Turn points in time, (n,), into dates, of whole days if all were."""
        return self._from_moments(self._time.restore(values))

    def _from_moments(self, moments: Floats) -> NDArray[Any]:
        whole = np.nan_to_num(self._round(moments)).astype(np.int64)
        dates = whole.astype("datetime64[us]")
        dates[np.isnan(moments)] = np.datetime64("NaT")
        if not self.is_text:
            return dates
        if self.form is not None:
            return write_dates(dates, self.form, self._zone if self.is_zoned else None)
        text = np.datetime_as_string(dates, unit="s" if self.has_times else "D")
        found: NDArray[Any] = text.astype(object)
        found[np.isnat(dates)] = None
        return found

    def written(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return decoded dates, which are already in the form of those of `fit`."""
        return values

    def _round(self, moments: Floats) -> Floats:
        """Round to whole seconds or days, within the range of `fit`."""
        unit = 1e6 if self.has_times else _DAY
        whole: Floats = np.round(moments / unit) * unit
        lowest, highest = self._time.lowest, self._time.highest
        if lowest is None or highest is None:
            return whole
        first, last = math.ceil(lowest / unit) * unit, highest // unit * unit
        # The range may be too short to contain a whole second.
        return np.clip(whole, *(first, last) if first <= last else (lowest, highest))

    def widened(self, values: Any) -> DateColumn:
        """Return a copy with a range that includes further dates."""
        found = copy.copy(self)
        found._time = self._time.widened(self._moments(values))
        return found

    def rescaled(self, mean: float, scale: float) -> DateColumn:
        """Return a copy with the mean and the scale of more rows than `fit` had."""
        found = copy.copy(self)
        found._time = self._time.rescaled(mean, scale)
        return found

    def written_as(self, values: Any) -> DateColumn:
        """Return a column that decodes dates in the format of other values."""
        if not self.is_text:
            return self
        found = copy.copy(self)
        if _has_dates(values):
            found.is_text = False
            return found
        forms = read_forms(as_objects(values))
        if forms.form is not None:
            found.form, found._zone = forms.form, forms.zone
        return found

    def _forms(self, values: Any, moments: Floats) -> Forms:
        """Return the format of dates, and which of them have a time zone."""
        if self.is_text and not _has_dates(values):
            return read_forms(as_objects(values))
        nothing = np.zeros(0, dtype=np.int64)
        seen = np.flatnonzero(~np.isnan(moments))
        is_zoned = getattr(values.dtype, "time_zone", None) is not None
        return Forms(None, None, *((seen, nothing) if is_zoned else (nothing, seen)))

    def _check_zones(self, values: Any, moments: Floats) -> None:
        """Refuse dates with a time zone if `fit` had none, and the other way round."""
        if self.is_zoned is None:
            return
        forms = self._forms(values, moments)
        wrong = forms.naive if self.is_zoned else forms.zoned
        if not len(wrong):
            return
        date = f"{as_objects(values)[wrong[0]]!s:.40} in row {wrong[0]}"
        if self.is_zoned:
            raise refuse(
                self.name,
                f"holds dates without a time zone ({date}), but held dates with one in "
                "fit",
                "Say which zone they are of, with dt.tz_localize in pandas or "
                "dt.replace_time_zone in polars.",
            )
        raise refuse(
            self.name,
            f"holds dates with a time zone ({date}), but held dates without one in fit",
            "Bring them to the zone that those were of (dt.tz_convert in pandas, "
            "dt.convert_time_zone in polars), and take it away (dt.tz_localize(None), "
            "dt.replace_time_zone(None)).",
        )

    def _moments(self, values: Any) -> Floats:
        """Return points in time as microseconds since 1970."""
        is_date = _has_dates(values)
        if not is_date and is_missing(values):
            return np.full(len(values), np.nan)
        if self.is_text:
            return self._read(values)
        if not is_date:
            raise refuse(
                self.name,
                f"holds {values.dtype}, but held dates in fit",
                "Convert it first.",
            )
        return np.asarray(
            values.dt.timestamp("us").cast(nw.Float64).to_numpy(), dtype=np.float64
        )

    def _read(self, values: Any) -> Floats:
        try:
            dates = pd.to_datetime(
                pd.Series(as_objects(values)), format="ISO8601", utc=True
            )
        except (ValueError, TypeError) as error:
            raise refuse(
                self.name,
                f"does not hold dates in ISO 8601 ({error})",
                "Convert it first, or take it for a category.",
            ) from error
        moments = dates.dt.tz_localize(None).to_numpy("datetime64[us]")
        found: Floats = moments.astype(np.int64).astype(np.float64)
        found[np.isnat(moments)] = np.nan
        return found


def _has_dates(values: Any) -> bool:
    return isinstance(values.dtype, nw.Date | nw.Datetime)


def _refuse_mixed(name: Any, dates: NDArray[Any], forms: Forms) -> NoReturn:
    zoned, naive = (
        f"{dates[rows[0]]!s:.40} in row {rows[0]}"
        for rows in (forms.zoned, forms.naive)
    )
    raise refuse(
        name,
        f"holds dates with a time zone ({zoned}) and without one ({naive})",
        "Give all of them one, or none.",
    )
