"""Tables of numbers, categories and dates, converted to one matrix and back.

The matrix has a column for each number and date, then further features of dates, then a
column of integer codes for each categorical column. The next code stands for rare
categories, and the one after it for categories that were not in `fit`. Missing values
are NaN.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, NoReturn

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from .._warnings import warn
from .bins import Bins, learn_bins
from .cells import first_fault, misread_row
from .date_text import Forms, is_date_text, read_forms, write_dates
from .frames import Columns, round_within
from .objects import NumberForm, as_objects, read_number_form, write_numbers
from .ranges import LARGEST

Floats = NDArray[np.float64]

KINDS = ("number", "category", "date")
# Number of knots of the map to a normal distribution.
_N_QUANTILES = 1000
_DAY = 86_400e6  # In microseconds.
_YEAR = 365.2425 * _DAY
# If there are fewer values, all of them may be new by chance.
_FEW = 10
# Up to this limit float64 holds every integer.
_EXACT = 2**53


def _refuse(name: Any, problem: str, way_out: str) -> ValueError:
    return ValueError(f"Column {name!r} {problem}. {way_out}")


class NumberColumn:
    """A column of numbers, which are scaled.

    Parameters
    ----------
    name : object
        Name of the column, for messages.
    scaling : {"standard", "quantile"}
        Centred and divided by the standard deviation, or mapped to a normal
        distribution by its quantiles (RankGauss).
    is_integer : bool
        Whether decoded values are rounded.

    Attributes
    ----------
    lowest, highest : float or int or None
        Range of the training values. Decoded values are clipped to it. They are
        integers for a column of integers, and exact where float64 is not. None means no
        limit, as in older files.
    bins : Bins or None
        What the distribution of a value is predicted over, if it is.
    form : str or None
        Class of the numbers if they are objects or strings, see `NumberForm`.
    places : int
        Number of decimal places of these.
    """

    kind = "number"
    bins: Bins | None = None
    form: str | None = None
    places: int = 0
    lowest: float | None = None
    highest: float | None = None

    def __init__(self, name: Any, scaling: str, *, is_integer: bool) -> None:
        self.name = name
        self.scaling = scaling
        self.is_integer = is_integer

    def fit(self, values: Any, weights: Floats | None) -> NumberColumn:
        """Learn the scale; missing values are ignored."""
        numbers = self._to_numbers(values)
        seen = ~np.isnan(numbers)
        self.is_empty = not seen.any()
        self.mean, self.scale = 0.0, 1.0
        self.quantiles: tuple[Floats, Floats] | None = None
        if self.is_empty:
            return self
        self._learn_form(values)
        # Distinct values with counts: weights and repeated rows then give equal
        # results.
        known, inverse = np.unique(numbers[seen], return_inverse=True)
        self.lowest, self.highest = self._range(values, known)
        share = None if weights is None else weights[seen]
        counts = np.bincount(inverse, share).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean = float(np.average(known, weights=counts))
            variance = float(np.average((known - self.mean) ** 2, weights=counts))
        if not np.isfinite(variance):
            raise _refuse(
                self.name, "has values whose variance overflows", "Scale it first."
            )
        if variance > 0:
            self.scale = float(np.sqrt(variance))
        if self.scaling == "quantile":
            self.quantiles = _normal_quantiles(known, counts)
        return self

    def _learn_form(self, values: Any) -> None:
        """Learn how numbers in objects or strings are written."""
        if isinstance(values, np.ndarray) or _is_numeric(values):
            return
        form = read_number_form(as_objects(values))
        if form is None:
            return
        self.form, self.places = form
        if form.form == "int":
            self.is_integer = _are_of_64_bits(as_objects(values))

    def written(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return decoded values as objects like those of `fit`, if it had objects."""
        if self.form is None or self.is_empty:
            return values
        return write_numbers(values, NumberForm(self.form, self.places))

    def encode(self, values: Any) -> Floats:
        """Convert values to scaled numbers, (n,); missing values are NaN."""
        numbers = self._to_numbers(values)
        if self.quantiles is not None:
            known, scores = self.quantiles
            found: Floats = np.interp(numbers, known, scores)
            # With a single known value, numpy would replace NaN.
            found[np.isnan(numbers)] = np.nan
            return found
        with np.errstate(over="ignore"):
            scaled: Floats = (numbers - self.mean) / self.scale
        return scaled

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Return which values are missing, (n,)."""
        return np.isnan(self._to_numbers(values))

    def decode(self, numbers: Floats) -> NDArray[Any]:
        """Convert scaled numbers, (n,), to values within the range of `fit`.

        They are float64, or integers where float64 would not be exact. A column without
        any value in `fit` gets NaN.
        """
        if self.is_empty:
            return np.full(len(numbers), np.nan)
        if self.quantiles is not None:
            known, scores = self.quantiles
            values = np.interp(numbers, scores, known)
        else:
            values = numbers * self.scale + self.mean
        return self.restore(values)

    def learn_bins(self, values: Any, weights: Floats | None, most: int) -> None:
        """Divide the values that were seen into bins, after `fit`."""
        numbers = self._to_numbers(values)
        seen = ~np.isnan(numbers)
        if not seen.any():
            return
        known, inverse = np.unique(numbers[seen], return_inverse=True)
        share = None if weights is None else weights[seen]
        counts = np.bincount(inverse, share).astype(np.float64)
        self.bins = learn_bins(known, counts, most)

    @property
    def n_bins(self) -> int:
        """Number of bins, 0 if none were learnt."""
        return 0 if self.bins is None else len(self.bins)

    @property
    def edges(self) -> Floats:
        """Bounds between the bins, scaled as `encode` does it."""
        assert self.bins is not None
        return self.encode(self.bins.edges)

    def to_floats(self, values: Any) -> Floats:
        """Return values as floats that `restore` takes, (n,), gaps as NaN."""
        return self._to_numbers(values)

    def encode_floats(self, numbers: Floats) -> Floats:
        """Return what `encode` gives of the values of these floats, (n, 1)."""
        return self.encode(numbers)[:, None]

    def restore(self, values: Floats) -> NDArray[Any]:
        """Bring floats, (n,), into the range and the type of the values seen."""
        if self.is_empty:
            return np.full(len(values), np.nan)
        if self.lowest is None or self.highest is None:
            return np.round(values) if self.is_integer else values
        if self.is_integer and max(-self.lowest, self.highest) > _EXACT:
            return round_within(values, int(self.lowest), int(self.highest))
        values = np.clip(values, self.lowest, self.highest)
        return np.round(values) if self.is_integer else values

    def widened(self, values: Any) -> NumberColumn:
        """Return a copy with a range that includes further values."""
        numbers = self._to_numbers(values)
        known = numbers[~np.isnan(numbers)]
        found = copy.copy(self)
        if self.lowest is not None and self.highest is not None and len(known):
            lowest, highest = self._range(values, known)
            found.lowest = min(self.lowest, lowest)
            found.highest = max(self.highest, highest)
        return found

    def rescaled(self, mean: float, scale: float) -> NumberColumn:
        """Return a copy with the mean and the scale of more rows than `fit` had."""
        found = copy.copy(self)
        found.mean, found.scale = mean, scale
        return found

    def _range(self, values: Any, known: Floats) -> tuple[float, float]:
        """Return the lowest and highest value; `known` holds the values as floats."""
        lowest, highest = float(known.min()), float(known.max())
        if not self.is_integer:
            return lowest, highest
        if max(-lowest, highest) < _EXACT:
            return int(lowest), int(highest)
        if not _is_numeric(values):
            whole = _integers(as_objects(values))
            return min(whole), max(whole)
        return int(values.min()), int(values.max())

    def _to_numbers(self, values: Any) -> Floats:
        if not _is_numeric(values) and is_missing(values):
            return np.full(len(values), np.nan)
        try:
            if not isinstance(values, np.ndarray):
                # Polars does not cast objects.
                is_object = values.dtype == nw.Object
                values = as_objects(values) if is_object else _to_float64(values)
            row = misread_row(values)
            if row is not None:
                raise TypeError(f"but {values[row]!s:.40}")
            # Values of longdouble that float64 does not hold become infinite.
            with np.errstate(over="ignore"):
                numbers = np.asarray(values, dtype=np.float64)
        except Exception as error:  # Each library raises its own type.
            raise _refuse(
                self.name,
                f"does not hold numbers ({error}){_place_of_fault(values)}",
                "Name it in categorical_features to take it as a category.",
            ) from error
        is_infinite = np.isinf(numbers)
        if is_infinite.any():
            raise _refuse(
                self.name,
                f"holds infinity in row {np.argmax(is_infinite)}",
                "Replace it by a number or a missing value.",
            )
        return numbers


def _integers(objects: NDArray[Any]) -> list[int]:
    """Return the integers among objects that are integers, strings of such or None."""
    return [int(value) for value in objects[~pd.isna(objects)]]


def _are_of_64_bits(objects: NDArray[Any]) -> bool:
    """Whether a type of 64 bits holds all integers of a column."""
    whole = _integers(objects)
    lowest, highest = min(whole), max(whole)
    return lowest >= -(2**63) and highest < (2**63 if lowest < 0 else 2**64)


def _place_of_fault(values: Any) -> str:
    """Say in which row a column has a value that is not a number, if it can be told."""
    try:
        objects = as_objects(values)
        row = misread_row(objects)
        if row is None:
            fault = first_fault(objects)
            row = None if fault is None else fault[0]
    except Exception:
        return ""
    return "" if row is None else f" in row {row}"


def _normal_quantiles(values: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return ascending values, and the normal scores of their ranks (RankGauss).

    scikit-learn's QuantileTransformer does not support weights.
    """
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    scores: Floats = ndtri(ranks)
    if len(values) > _N_QUANTILES:
        wanted = np.linspace(scores[0], scores[-1], _N_QUANTILES)
        values, scores = np.interp(wanted, scores, values), wanted
    return values, scores


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
        the day, each as a point on a circle, so that the last day is next to the first.
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
        """Return dates as points in time that `restore` takes, (n,), gaps as NaN."""
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
            raise _refuse(
                self.name,
                f"holds dates without a time zone ({date}), but held dates with one in "
                "fit",
                "Say which zone they are of, with dt.tz_localize in pandas or "
                "dt.replace_time_zone in polars.",
            )
        raise _refuse(
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
            raise _refuse(
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
            raise _refuse(
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
    raise _refuse(
        name,
        f"holds dates with a time zone ({zoned}) and without one ({naive})",
        "Give all of them one, or none.",
    )


class CategoryColumn:
    """A column of categories.

    Parameters
    ----------
    name : object
        Name of the column, for messages.
    min_frequency : int or float or None
        Minimum number of rows, or their minimum share, of a category with its own code.
    max_categories : int or None
        Maximum number of codes, including that of the rare categories.
    handle_unknown : {"infrequent_if_exist", "error"}
        Treatment of a category that was not in `fit`.

    Attributes
    ----------
    levels : pandas.Index
        Categories with their own code, the most frequent first.
    has_infrequent : bool
        Whether one more code stands for all rare categories. It is never decoded to.
    rare_cost, unknown_cost : float
        Costs of a rare category and of one that was not in `fit`, in scores of rows:
        minus the logarithm of the share, divided by the entropy of all categories. The
        share of an unknown category is that of one additional row, and at most that of
        the rarest category. NaN means no cost: for columns without any value, for rare
        categories if all are rare, and in older files.
    """

    kind = "category"
    rare_cost = math.nan
    unknown_cost = math.nan

    def __init__(
        self,
        name: Any,
        *,
        min_frequency: float | None,
        max_categories: int | None,
        handle_unknown: str,
    ) -> None:
        self.name = name
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown

    def fit(self, values: Any, weights: Floats | None) -> CategoryColumn:
        """Learn the categories."""
        codes, levels = self.factorize(as_objects(values))
        seen = codes >= 0
        share = None if weights is None else weights[seen]
        counts = np.bincount(codes[seen], share, minlength=len(levels))
        return self.learn(levels, counts)

    def factorize(self, objects: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return codes, -1 for missing values, and the levels that they stand for."""
        with _naming_unhashable(self.name, objects):
            codes, levels = pd.factorize(objects)
        return codes, levels

    def learn(self, levels: NDArray[Any], counts: NDArray[Any]) -> CategoryColumn:
        """Learn categories from their frequencies, in the order of their first rows."""
        # Names decide among equally frequent categories, not the order of the rows.
        order = np.lexsort((np.array(list(map(str, levels)), dtype=str), -counts))
        least = self.min_frequency or 0
        if isinstance(least, float):
            least *= counts.sum()
        n_frequent = int((counts >= least).sum())
        if self.max_categories is not None and len(order) > self.max_categories:
            n_frequent = min(n_frequent, self.max_categories - 1)
        self.levels = pd.Index(levels[order[:n_frequent]], dtype=object)
        self.rare = pd.Index(levels[order[n_frequent:]], dtype=object)
        self.has_infrequent = len(self.rare) > 0
        self.is_empty = len(self.levels) == 0
        if len(counts):
            self._learn_costs(counts, counts[order[n_frequent:]].sum())
        return self

    def _learn_costs(self, counts: NDArray[Any], n_rare: float) -> None:
        n, scale = counts.sum(), entropy(counts)
        self.unknown_cost = float(max(np.log1p(n), np.log(n / counts.min())) / scale)
        if 0 < n_rare < n:
            self.rare_cost = float(np.log(n / n_rare) / scale)

    @property
    def n_codes(self) -> int:
        """Number of codes: categories, and one for the rare ones if there are any."""
        return len(self.levels) + self.has_infrequent

    def encode(self, values: Any) -> Floats:
        """Convert categories to codes, (n,); missing values are NaN.

        Rare categories have the code after the others, unknown ones the next one.
        """
        objects = as_objects(values)
        with _naming_unhashable(self.name, objects):
            codes = self.levels.get_indexer(pd.Index(objects, dtype=object))
        numbers = codes.astype(np.float64)
        gaps = pd.isna(objects)
        others = (codes < 0) & ~gaps
        if others.any():
            rare = self.rare.get_indexer(pd.Index(objects[others], dtype=object)) >= 0
            if self.handle_unknown == "error" and not rare.all():
                level = objects[others][np.argmin(rare)]
                raise _refuse(
                    self.name,
                    f"has the category {level!r}, which was not in fit",
                    "Use handle_unknown='infrequent_if_exist' to let it pass.",
                )
            numbers[others] = len(self.levels) + np.where(rare, 0, 1)
        numbers[gaps] = np.nan
        found: Floats = numbers
        return found

    def warn_of_unknown(self, values: Any, codes: Floats) -> None:
        """Warn if most values were not in `fit`.

        Parameters
        ----------
        values : Series or ndarray of shape (n,)
            The values.
        codes : ndarray of shape (n,)
            Result of `encode`.
        """
        if 2 * int((codes < len(self.levels)).sum()) >= len(codes):
            return
        objects = as_objects(values)
        present = objects[~pd.isna(objects)]
        learnt = self.levels.append(self.rare)
        unknown = present[learnt.get_indexer(pd.Index(present, dtype=object)) < 0]
        if 2 * len(unknown) <= len(present):
            return
        is_other_type = not _types(learnt) & _types(unknown)
        # A few values may be new by chance, but a new type is a mistake.
        if len(present) < _FEW and not is_other_type:
            return
        was = f"held such as {_example(learnt)}" if len(learnt) else "held nothing"
        warn(
            f"Column {self.name!r}: {len(unknown)} of {len(present)} values, such as "
            f"{_example(unknown)}, were not there in fit, where it {was}. They are "
            f"read as {'rare categories' if self.has_infrequent else 'missing values'}."
            " If they are the same ones, give the column the type that it had in fit."
        )

    def suggested_kind(self) -> str | None:
        """Return "number" or "date" if all categories are strings of such."""
        levels = [*self.levels, *self.rare]
        if not levels or not all(isinstance(level, str) for level in levels):
            return None
        return self._suggested_for_text(levels)

    def _suggested_for_text(self, levels: list[str]) -> str | None:
        if is_date_text(levels):
            return "date"
        if not all(map(_is_number_text, levels)):
            return None
        # Integers may be identifiers, unless there are too many for codes of their own.
        is_whole = all(level.lstrip("+-").isdecimal() for level in levels)
        return None if is_whole and self.has_infrequent is False else "number"

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Return which values are missing, (n,); unknown categories are not."""
        return np.asarray(pd.isna(as_objects(values)))

    def decode(self, numbers: Floats) -> NDArray[Any]:
        """Convert codes, (n,), to categories."""
        if self.is_empty:
            return np.full(len(numbers), None, dtype=object)
        found: NDArray[Any] = self.levels.to_numpy()[numbers.astype(np.int64)]
        return found

    def written(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return decoded categories, which are those of `fit`."""
        return values


@contextmanager
def _naming_unhashable(name: Any, objects: NDArray[Any]) -> Iterator[None]:
    """Name the first value that is not hashable, such as a list, in an error."""
    try:
        yield
    except TypeError as error:
        for row, value in enumerate(objects):
            if not _is_hashable(value):
                raise _refuse(
                    name,
                    f"holds a {type(value).__name__} in row {row}, which cannot be a "
                    "category",
                    "Make columns of what is in it, or turn it into a string.",
                ) from error
        raise


def _is_hashable(value: Any) -> bool:
    # Tuples have the method whatever they contain.
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _types(values: Any) -> set[str]:
    """Return the names of the types of values; all numbers count as one type."""
    return {
        "number" if isinstance(value, Real | Decimal) else type(value).__name__
        for value in values
    }


def _example(values: Any) -> str:
    value = values[0]
    return f"{value!r:.40} ({type(value).__name__})"


def _is_number_text(text: str) -> bool:
    """Whether a string is a number, and not a code such as 007."""
    digits = text.strip().lstrip("+-")
    if digits[:1] == "0" and digits[1:2].isdecimal():
        return False
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def entropy(counts: NDArray[Any]) -> float:
    """Return the cross-entropy of categories under their own frequencies."""
    shares = counts[counts > 0] / max(counts.sum(), 1e-300)
    # The minimum prevents a rare category of a nearly constant column from dominating.
    return max(float(-(shares * np.log(shares)).sum()), 0.05)


def _is_numeric(values: Any) -> bool:
    """Whether the type of a column is numeric."""
    if isinstance(values, np.ndarray):
        return bool(values.dtype != object)
    return bool(values.dtype.is_numeric())


def is_missing(values: Any) -> bool:
    """Whether a column has no values at all.

    Such a column has no type of its own: file readers make it floats or objects.
    """
    if isinstance(values, np.ndarray):
        return bool(pd.isna(values).all())
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return bool(values.is_null().all())


def _to_float64(values: Any) -> Any:
    native = values.to_native()
    if isinstance(native, pd.Series) and values.dtype.is_integer():
        # Arrow does not cast integers that float64 does not hold exactly.
        return native.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.cast(nw.Float64).to_numpy()


def _clipped(matrix: Floats) -> NDArray[np.float32]:
    # Larger values would overflow in the network's sums.
    return np.clip(matrix, -LARGEST, LARGEST, out=matrix).astype(np.float32)


def _values(column: Any, place: int, columns: Mapping[int, Any]) -> Any:
    """Return the values of a column, of plain numbers as floats."""
    if column.kind == "number" and isinstance(columns, Columns):
        return columns.numbers(place)
    return columns[place]


@dataclass(frozen=True)
class Layout:
    """Meaning of the columns of the matrix.

    Parameters
    ----------
    n_numbers : int
        Number of columns of numbers and dates, which are decoded.
    n_extras : int
        Number of columns of further features of dates, which are not decoded.
    n_codes : tuple of int
        Number of codes of each categorical column.
    n_levels : tuple of int
        Number of codes of each categorical column that are decoded.
    cells : tuple of int
        Index of the cell that each column of the matrix belongs to: first the cells of
        numbers and dates, then those of categories.
    n_bins : tuple of int, default=()
        Number of bins of each number and date; empty if there are none.
    """

    n_numbers: int
    n_extras: int
    n_codes: tuple[int, ...]
    n_levels: tuple[int, ...]
    cells: tuple[int, ...]
    n_bins: tuple[int, ...] = ()

    @property
    def n_cells(self) -> int:
        """Number of cells of a row."""
        return self.n_numbers + len(self.n_codes)


class Table:
    """The columns of a frame or of an array.

    Parameters
    ----------
    columns : sequence of NumberColumn, DateColumn and CategoryColumn
        One for each column, in order.
    """

    def __init__(self, columns: Sequence[Any]) -> None:
        self.columns = columns
        numbers = [c for c in columns if c.kind != "category"]
        categories = self.categories
        places = {id(column): n for n, column in enumerate(self.in_order)}
        self.places = [places[id(column)] for column in columns]
        extras = [
            n
            for n, column in enumerate(numbers)
            if column.kind == "date"
            for _ in range(column.n_extras)
        ]
        n_numbers = len(numbers)
        n_bins = tuple(column.n_bins for column in numbers)
        self.layout = Layout(
            n_numbers,
            len(extras),
            tuple(column.n_codes for column in categories),
            tuple(len(column.levels) for column in categories),
            (*range(n_numbers), *extras, *range(n_numbers, len(columns))),
            n_bins if any(n_bins) else (),
        )

    @property
    def bin_centers(self) -> tuple[float, ...]:
        """A scaled value in the middle of each bin of each number."""
        numbers = self.in_order[: self.layout.n_numbers]
        found: list[float] = []
        for column in numbers:
            if column.bins is not None:
                places = np.arange(column.n_bins)
                middle = column.bins.values(places, np.full(len(places), 0.5))
                found.extend(column.encode_floats(middle)[:, 0].tolist())
        return tuple(found)

    @property
    def in_order(self) -> list[Any]:
        """The columns in the order of the cells: categorical ones come last."""
        return sorted(self.columns, key=lambda column: column.kind == "category")

    @property
    def categories(self) -> list[CategoryColumn]:
        """The categorical columns."""
        return [column for column in self.columns if column.kind == "category"]

    def widened(self, columns: Mapping[int, Any]) -> Table:
        """Return a table whose ranges include a later part of the data.

        Other models share the present table, so it is not changed.
        """
        return Table(
            [
                column
                if column.kind == "category"
                else column.widened(_values(column, place, columns))
                for place, column in enumerate(self.columns)
            ]
        )

    def encode(
        self, columns: Mapping[int, Any], *, warns: bool = True
    ) -> NDArray[np.float32]:
        """Convert the values of all columns, by position, to one matrix.

        Warns if most values of a category are unknown, unless `warns` is False.
        """
        scaled, at_once = self._scaled_at_once(columns)
        if len(scaled) == len(self.columns):
            return _clipped(at_once)
        numbers: list[Floats] = []
        extras: list[Floats] = []
        codes: list[Floats] = []
        for place, column in enumerate(self.columns):
            if place in scaled:
                numbers.append(at_once[:, scaled[place]])
                continue
            encoded = column.encode(columns[place])
            if column.kind == "category":
                codes.append(encoded)
                if warns:
                    column.warn_of_unknown(columns[place], encoded)
            elif column.kind == "date":
                numbers.append(encoded[:, 0])
                extras.append(encoded[:, 1:])
            else:
                numbers.append(encoded)
        return _clipped(np.column_stack([*numbers, *extras, *codes]))

    def _scaled_at_once(
        self, columns: Mapping[int, Any]
    ) -> tuple[dict[int, int], Floats]:
        """Encode the columns of plain numbers that are centred and divided.

        Returns
        -------
        indices : dict
            From their positions to those in `scaled`; nothing where a value is
            infinite, which the column refuses by its name.
        scaled : ndarray of shape (n_samples, n_plain)
            Scaled values.
        """
        nothing: tuple[dict[int, int], Floats] = {}, np.zeros((0, 0))
        if not isinstance(columns, Columns):
            return nothing
        plain = columns.plain
        chosen = [
            (place, column.mean, column.scale)
            for place, column in enumerate(self.columns)
            if column.kind == "number"
            and column.quantiles is None
            and place in plain.indices
        ]
        if not chosen or np.isinf(plain.matrix).any():
            return nothing
        places, means, scales = map(list, zip(*chosen, strict=True))
        indices = {place: n for n, place in enumerate(places)}
        return indices, plain.scaled(places, means, scales)

    def gaps(self, columns: Columns) -> list[NDArray[np.bool_]]:
        """Return which values are missing, one array per column."""
        return [
            column.gaps(_values(column, place, columns))
            for place, column in enumerate(self.columns)
        ]

    def decode(
        self,
        numbers: NDArray[Any],
        codes: NDArray[Any],
        like: Mapping[int, Any] | None = None,
    ) -> list[NDArray[Any]]:
        """Convert numbers and codes of categories to values, one array per column.

        Dates in text columns are formatted as in the columns of `like`.
        """
        found = []
        pairs = zip(self.columns, self.places, strict=True)
        for n, (column, place) in enumerate(pairs):
            if column.kind == "date" and like is not None:
                column = column.written_as(like[n])
            if column.kind == "category":
                found.append(column.decode(codes[:, place - numbers.shape[1]]))
            else:
                found.append(column.decode(numbers[:, place].astype(np.float64)))
        return found

    def written(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return decoded values in the form that they had in the frame of `fit`."""
        pairs = zip(self.columns, values, strict=True)
        return [column.written(found) for column, found in pairs]
