"""Calls of a share without the arguments that they have in common.

A backend of joblib sends the arguments of a call to other machines. Dask sends a large
argument once, or not at all if it is there already (``scatter``), but does not look
into the calls that a share is made of.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class _Place(NamedTuple):
    """Stands for an argument that is passed apart."""

    number: int


def outline(functions: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Take from calls what two or more of them have as an argument.

    Parameters
    ----------
    functions : sequence of joblib.parallel.BatchedCalls
        Batches of calls, as joblib submits them.

    Returns
    -------
    outlines : list of BatchedCalls
        The same batches, with places for these arguments.
    values : list of object
        The arguments.
    """
    calls = [item for function in functions for item in function.items]
    found = [value for _, args, kwargs in calls for value in (*args, *kwargs.values())]
    counts = Counter(map(id, found))
    shared = {id(value): value for value in found if counts[id(value)] > 1}
    places = {key: _Place(number) for number, key in enumerate(shared)}
    outlines = [
        _map(function, lambda v: places.get(id(v), v)) for function in functions
    ]
    return outlines, list(shared.values())


def fill_in(outlines: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Undo `outline`."""

    def value_of(value: Any) -> Any:
        return values[value.number] if isinstance(value, _Place) else value

    return [_map(function, value_of) for function in outlines]


def _map(function: Any, change: Callable[[Any], Any]) -> Any:
    """Return a batch of calls with changed arguments."""
    changed = copy.copy(function)
    changed.items = [
        (call, tuple(map(change, args)), {k: change(v) for k, v in kwargs.items()})
        for call, args, kwargs in function.items
    ]
    return changed
