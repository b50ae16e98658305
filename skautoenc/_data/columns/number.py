"""Columns of numbers."""

from __future__ import annotations

import copy
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from ..bins import Bins, learn_bins
from ..cells import first_fault, misread_row
from ..frames import round_within
from ..objects import NumberForm, as_objects, read_number_form, write_numbers
from .values import Floats, is_missing, refuse

# Number of knots of the map to a normal distribution.
_N_QUANTILES = 1000
# Up to this limit float64 holds every integer.
_EXACT = 2**53


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
            raise refuse(
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
        """Return values as floats that `restore` takes, (n,), NaN if missing."""
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
            raise refuse(
                self.name,
                f"does not hold numbers ({error}){_row_of_fault(values)}",
                "Name it in categorical_features to take it as a category.",
            ) from error
        is_infinite = np.isinf(numbers)
        if is_infinite.any():
            raise refuse(
                self.name,
                f"holds infinity in row {np.argmax(is_infinite)}",
                "Replace it by a number or a missing value.",
            )
        return numbers


def _is_numeric(values: Any) -> bool:
    """Whether the type of a column is numeric."""
    if isinstance(values, np.ndarray):
        return bool(values.dtype != object)
    return bool(values.dtype.is_numeric())


def _to_float64(values: Any) -> Any:
    native = values.to_native()
    if isinstance(native, pd.Series) and values.dtype.is_integer():
        # Arrow does not cast integers that float64 does not hold exactly.
        return native.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.cast(nw.Float64).to_numpy()


def _integers(objects: NDArray[Any]) -> list[int]:
    """Return the integers among objects that are integers, strings of such or None."""
    return [int(value) for value in objects[~pd.isna(objects)]]


def _are_of_64_bits(objects: NDArray[Any]) -> bool:
    """Whether a type of 64 bits holds all integers of a column."""
    whole = _integers(objects)
    lowest, highest = min(whole), max(whole)
    return lowest >= -(2**63) and highest < (2**63 if lowest < 0 else 2**64)


def _row_of_fault(values: Any) -> str:
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
