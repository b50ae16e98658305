"""Tables of numbers, categories and dates, as one matrix of numbers and back.

The matrix has a column for each number and date, then what else is known of dates, then
a column for each category that holds the number of the level. Gaps are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

KINDS = ("number", "category", "date")
# Knots of the map to a normal distribution.
_N_QUANTILES = 1000
_DAY = 86_400e6  # In microseconds.
_YEAR = 365.2425 * _DAY


def _refuse(name: Any, problem: str, way_out: str) -> ValueError:
    return ValueError(f"Column {name!r} {problem}. {way_out}")


class NumberColumn:
    """A column of numbers, brought to a common scale.

    Parameters
    ----------
    name : object
        Its name, for messages.
    scaling : {"standard", "quantile"}
        Centred and divided by the standard deviation, or mapped to a normal
        distribution by its quantiles (RankGauss).
    is_integer : bool
        Whether decoded values are rounded.
    """

    kind = "number"

    def __init__(self, name: Any, scaling: str, *, is_integer: bool) -> None:
        self.name = name
        self.scaling = scaling
        self.is_integer = is_integer

    def fit(self, values: Any, weights: Floats | None) -> NumberColumn:
        """Learn the scale; gaps are left out."""
        numbers = self._to_numbers(values)
        seen = ~np.isnan(numbers)
        if weights is not None:
            seen &= weights > 0
        self.is_empty = not seen.any()
        self.mean, self.scale = 0.0, 1.0
        self.quantiles: tuple[Floats, Floats] | None = None
        if self.is_empty:
            return self
        # Each value once: weights and repetitions, in any order, are then the same.
        known, inverse = np.unique(numbers[seen], return_inverse=True)
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

    def encode(self, values: Any) -> Floats:
        """Turn values into scaled numbers, (n,), gaps into NaN."""
        numbers = self._to_numbers(values)
        if self.quantiles is not None:
            known, scores = self.quantiles
            found: Floats = np.interp(numbers, known, scores)
            # With a single known value, numpy takes a gap for it.
            found[np.isnan(numbers)] = np.nan
            return found
        return (numbers - self.mean) / self.scale

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Say where there is no value, (n,)."""
        return np.isnan(self._to_numbers(values))

    def decode(self, numbers: Floats) -> Floats:
        """Turn scaled numbers, (n,), into values; a column of gaps stays one."""
        if self.is_empty:
            return np.full(len(numbers), np.nan)
        if self.quantiles is not None:
            known, scores = self.quantiles
            values = np.interp(numbers, scores, known)
        else:
            values = numbers * self.scale + self.mean
        return np.round(values) if self.is_integer else values

    def _to_numbers(self, values: Any) -> Floats:
        try:
            if not isinstance(values, np.ndarray):
                values = values.cast(nw.Float64).to_numpy()
            numbers = np.asarray(values, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise _refuse(
                self.name,
                f"does not hold numbers ({error})",
                "Name it in categorical_features to take it as a category.",
            ) from error
        if np.isinf(numbers).any():
            raise _refuse(
                self.name, "holds infinity", "Replace it by a number or by a gap."
            )
        return numbers


def _normal_quantiles(values: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return ascending values, and the normal scores of their ranks (RankGauss).

    scikit-learn's QuantileTransformer knows no weights.
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
        Its name, for messages.
    is_text : bool
        Whether the dates are strings.
    """

    kind = "date"

    def __init__(self, name: Any, *, is_text: bool) -> None:
        self.name = name
        self.is_text = is_text
        self._time = NumberColumn(name, "standard", is_integer=False)

    def fit(self, values: Any, weights: Floats | None) -> DateColumn:
        """Learn the scale, and whether the times of day matter."""
        moments = self._moments(values)
        self._time.fit(moments, weights)
        self.is_empty = self._time.is_empty
        seen = moments[~np.isnan(moments)]
        self.has_times = bool((seen % _DAY != 0).any())
        return self

    def encode(self, values: Any) -> Floats:
        """Turn dates into scaled numbers, (n, 1 + n_extras), gaps into NaN.

        After the point in time comes where in the year, the week and the day each date
        is, as a point on a circle, so that the last day is next to the first.
        """
        moments = self._moments(values)
        lengths = [_YEAR, 7 * _DAY] + [_DAY] * self.has_times
        angles = 2 * np.pi * moments[:, None] / np.array(lengths)
        times = self._time.encode(moments)
        return np.column_stack([times, np.sin(angles), np.cos(angles)])

    @property
    def n_extras(self) -> int:
        """Number of columns after the point in time."""
        return 6 if self.has_times else 4

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Say where there is no value, (n,)."""
        return np.isnan(self._moments(values))

    def decode(self, numbers: Floats) -> NDArray[Any]:
        """Turn scaled numbers, (n,), into dates, of whole days if all were."""
        moments = self._time.decode(numbers)
        unit = 1e6 if self.has_times else _DAY
        whole = np.nan_to_num(np.round(moments / unit) * unit).astype(np.int64)
        dates = whole.astype("datetime64[us]")
        dates[np.isnan(moments)] = np.datetime64("NaT")
        if not self.is_text:
            return dates
        text = np.datetime_as_string(dates, unit="s" if self.has_times else "D")
        found: NDArray[Any] = text.astype(object)
        found[np.isnat(dates)] = None
        return found

    def _moments(self, values: Any) -> Floats:
        """Return microseconds since 1970."""
        if self.is_text:
            return self._read(values)
        if not isinstance(values.dtype, nw.Date | nw.Datetime):
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
                pd.Series(_objects(values)), format="ISO8601", utc=True
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


class CategoryColumn:
    """A column of categories.

    Parameters
    ----------
    name : object
        Its name, for messages.
    min_frequency : int or float or None
        Fewest rows, or smallest share of them, for a level of its own.
    max_categories : int or None
        Most levels, that of the rare ones included.
    handle_unknown : {"infrequent_if_exist", "error"}
        What is done about a level that was not there in `fit`.

    Attributes
    ----------
    levels : pandas.Index
        Those with a number of their own, the most frequent first.
    has_infrequent : bool
        Whether one more number stands for all rare levels. It is never decoded to.
    """

    kind = "category"

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
        """Learn the levels."""
        codes, levels = pd.factorize(_objects(values))
        seen = codes >= 0
        share = None if weights is None else weights[seen]
        counts = np.bincount(codes[seen], share, minlength=len(levels))
        # Where rows stand must not show: names decide among equally frequent levels.
        order = np.lexsort((np.array(list(map(str, levels)), dtype=str), -counts))
        order = order[counts[order] > 0]
        least = self.min_frequency or 0
        if isinstance(least, float):
            least *= counts.sum()
        n_frequent = int((counts >= max(least, 1e-300)).sum())
        if self.max_categories is not None and len(order) > self.max_categories:
            n_frequent = min(n_frequent, self.max_categories - 1)
        self.levels = pd.Index(levels[order[:n_frequent]], dtype=object)
        self.rare = pd.Index(levels[order[n_frequent:]], dtype=object)
        self.has_infrequent = len(self.rare) > 0
        self.is_empty = len(self.levels) == 0
        return self

    @property
    def n_codes(self) -> int:
        """Number of codes: levels, and one for the rare ones if there are any."""
        return len(self.levels) + self.has_infrequent

    def encode(self, values: Any) -> Floats:
        """Turn levels into their numbers, (n,), gaps and unknown ones into NaN."""
        objects = _objects(values)
        codes = self.levels.get_indexer(pd.Index(objects, dtype=object))
        numbers = codes.astype(np.float64)
        gaps = pd.isna(objects)
        others = (codes < 0) & ~gaps
        if self.handle_unknown == "error" and others.any():
            unknown = others & (self.rare.get_indexer(pd.Index(objects)) < 0)
            if unknown.any():
                level = objects[np.argmax(unknown)]
                raise _refuse(
                    self.name,
                    f"has the level {level!r}, which was not there in fit",
                    "Use handle_unknown='infrequent_if_exist' to let it pass.",
                )
        numbers[others] = len(self.levels) if self.has_infrequent else np.nan
        numbers[gaps] = np.nan
        found: Floats = numbers
        return found

    def gaps(self, values: Any) -> NDArray[np.bool_]:
        """Say where there is no value, (n,); an unknown level is none."""
        return np.asarray(pd.isna(_objects(values)))

    def decode(self, numbers: Floats) -> NDArray[Any]:
        """Turn numbers of levels, (n,), into levels."""
        if self.is_empty:
            return np.full(len(numbers), None, dtype=object)
        found: NDArray[Any] = self.levels.to_numpy()[numbers.astype(np.int64)]
        return found


def _objects(values: Any) -> NDArray[Any]:
    """Return a column as an array of objects, gaps as they are."""
    if isinstance(values, np.ndarray):
        return values.astype(object)
    native = values.to_native()
    if isinstance(native, pd.Series):
        return native.astype(object).to_numpy()
    found = np.empty(len(values), dtype=object)
    found[:] = values.to_list()
    return found


@dataclass(frozen=True)
class Layout:
    """Which columns of the matrix stand for what.

    Parameters
    ----------
    n_numbers : int
        Columns of numbers and dates, which are decoded.
    n_extras : int
        Columns of what else is known of dates, which are not.
    n_codes : tuple of int
        Number of codes of each category.
    n_levels : tuple of int
        How many of them are decoded to.
    cells : tuple of int
        The cell that each column of the matrix belongs to: those of numbers and dates,
        then those of categories.
    """

    n_numbers: int
    n_extras: int
    n_codes: tuple[int, ...]
    n_levels: tuple[int, ...]
    cells: tuple[int, ...]

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
        categories = [c for c in columns if c.kind == "category"]
        places = {id(column): n for n, column in enumerate(self.in_order)}
        self.places = [places[id(column)] for column in columns]
        extras = [
            n
            for n, column in enumerate(numbers)
            if column.kind == "date"
            for _ in range(column.n_extras)
        ]
        n_numbers = len(numbers)
        self.layout = Layout(
            n_numbers,
            len(extras),
            tuple(column.n_codes for column in categories),
            tuple(len(column.levels) for column in categories),
            (*range(n_numbers), *extras, *range(n_numbers, len(columns))),
        )

    @property
    def in_order(self) -> list[Any]:
        """The columns in the order of the cells: categories come last."""
        return sorted(self.columns, key=lambda column: column.kind == "category")

    def encode(
        self, columns: Mapping[int, Any], *, marks_unseen: bool = False
    ) -> NDArray[np.float32]:
        """Turn the values of all columns, by their place, into one matrix.

        Categories that are new are missing values, or, where `marks_unseen`, have the
        number after the last code.
        """
        numbers: list[Floats] = []
        extras: list[Floats] = []
        codes: list[Floats] = []
        for place, column in enumerate(self.columns):
            encoded = column.encode(columns[place])
            if column.kind == "category":
                if marks_unseen:
                    is_new = np.isnan(encoded) & ~column.gaps(columns[place])
                    encoded = np.where(is_new, column.n_codes, encoded)
                codes.append(encoded)
            elif column.kind == "date":
                numbers.append(encoded[:, 0])
                extras.append(encoded[:, 1:])
            else:
                numbers.append(encoded)
        matrix = np.column_stack([*numbers, *extras, *codes])
        return matrix.astype(np.float32)

    def decode(self, numbers: NDArray[Any], codes: NDArray[Any]) -> list[NDArray[Any]]:
        """Turn numbers, and numbers of levels, into values, an array a column."""
        found = []
        for column, place in zip(self.columns, self.places, strict=True):
            if column.kind == "category":
                found.append(column.decode(codes[:, place - numbers.shape[1]]))
            else:
                found.append(column.decode(numbers[:, place].astype(np.float64)))
        return found
