"""The columns of a table, converted to one matrix and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import Columns
from ..ranges import LARGEST
from .category import CategoryColumn
from .values import Floats

KINDS = ("number", "category", "date")


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


def _clipped(matrix: Floats) -> NDArray[np.float32]:
    # Larger values would overflow in the network's sums.
    return np.clip(matrix, -LARGEST, LARGEST, out=matrix).astype(np.float32)


def _values(column: Any, place: int, columns: Mapping[int, Any]) -> Any:
    """Return the values of a column, of plain numbers as floats."""
    if column.kind == "number" and isinstance(columns, Columns):
        return columns.numbers(place)
    return columns[place]
