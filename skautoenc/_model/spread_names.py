"""Names of the features of `features="spread"`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from .._data.columns import CategoryColumn, DateColumn, Table
from .._networks.spread import Spread

_CIRCLES = "year", "week", "day"


def spread_names(table: Table, cells: Spread) -> list[str]:
    """Return the names of the columns that `cells` gives, each of them once.

    Parameters
    ----------
    table : Table
        The columns of the frame.
    cells : Spread
        Part of the network that spreads them.
    """
    n_numbers = table.layout.n_numbers
    ordered = table.in_order
    numbers, categories = ordered[:n_numbers], ordered[n_numbers:]
    kept = cells.kept.tolist()
    names = chain(
        (str(column.name) for column in numbers),
        chain.from_iterable(_of_date(column) for column in numbers),
        (f"{column.name}_missing" for column in numbers),
        (
            f"{column.name}_bin{n}"
            for column, of_column in zip(numbers, kept, strict=True)
            for n, is_kept in enumerate(of_column)
            if is_kept
        ),
        chain.from_iterable(map(_of_category, categories)),
        (
            f"{'+'.join(str(ordered[column].name) for column in kind.columns)}_{n}"
            for kind in cells.kinds
            for n in range(len(kind.values))
        ),
    )
    return _made_unique(names)


def _of_date(column: Any) -> Iterator[str]:
    """Yield the names of the positions in the year, the week and the day."""
    if isinstance(column, DateColumn):
        circles = _CIRCLES[: len(column.lengths)]
        for function in ("sin", "cos"):
            yield from (f"{column.name}_{circle}_{function}" for circle in circles)


def _of_category(column: CategoryColumn) -> Iterator[str]:
    yield from (f"{column.name}_{level}" for level in column.levels)
    if column.has_infrequent:
        yield f"{column.name}_infrequent"
    yield f"{column.name}_missing"


def _made_unique(names: Iterator[str]) -> list[str]:
    """Append underscores to names that occurred before."""
    found: dict[str, None] = {}
    for name in names:
        while name in found:
            name += "_"
        found[name] = None
    return list(found)
