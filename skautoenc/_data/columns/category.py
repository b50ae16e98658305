"""Columns of categories."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..._warnings import warn
from ..date_text import is_date_text
from ..objects import as_objects, distinct_objects
from .values import Floats, refuse

# If there are fewer values, all of them may be new by chance.
_FEW = 10


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
        codes, levels = self.factorize(values)
        seen = codes >= 0
        share = None if weights is None else weights[seen]
        counts = np.bincount(codes[seen], share, minlength=len(levels))
        return self.learn(levels, counts)

    def factorize(self, values: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return codes, -1 for missing values, and the categories that they mean."""
        places, objects = distinct_objects(values)
        if places is not None:
            return places, objects
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
        places, objects = distinct_objects(values)
        codes = self._encode_objects(objects)
        # The last one is for the place -1, that of missing values.
        return codes if places is None else np.append(codes, np.nan)[places]

    def _encode_objects(self, objects: NDArray[Any]) -> Floats:
        with _naming_unhashable(self.name, objects):
            codes = self.levels.get_indexer(pd.Index(objects, dtype=object))
        numbers = codes.astype(np.float64)
        gaps = pd.isna(objects)
        others = (codes < 0) & ~gaps
        if others.any():
            rare = self.rare.get_indexer(pd.Index(objects[others], dtype=object)) >= 0
            if self.handle_unknown == "error" and not rare.all():
                level = objects[others][np.argmin(rare)]
                raise refuse(
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
                raise refuse(
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
