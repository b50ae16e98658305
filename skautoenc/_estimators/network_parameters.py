"""Parameters of a user's network: `network__name` is an argument of its builder."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

Builder = Callable[..., Any]

# The estimator passes these.
_FROM_THE_ESTIMATOR = {"n_features", "n_components"}


def network_parameters(builder: Builder) -> dict[str, Any]:
    """Return the arguments of a builder that have a value, bound or by default."""
    found = {
        name: parameter.default
        for name, parameter in _arguments(builder).items()
        if parameter.default is not parameter.empty
    }
    return {**found, **_bound(builder)}


def bind(builder: Builder, values: Mapping[str, Any], estimator: str) -> Builder:
    """Return a builder with other values of its arguments.

    Parameters
    ----------
    builder : callable
        Class, function or `functools.partial`, which is not changed.
    values : mapping of str to object
        The arguments.
    estimator : str
        Name of the estimator, for the error.

    Raises
    ------
    ValueError
        If the builder has no such argument.
    """
    known = _arguments(builder)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values())
    valid = sorted(name for name, each in known.items() if each.kind in _BY_NAME)
    for name in values:
        is_known = name in valid or takes_any
        if name in _FROM_THE_ESTIMATOR or not is_known:
            raise ValueError(_unknown(builder, name, valid, estimator))
    is_partial = type(builder) is functools.partial and not vars(builder)
    function = builder.func if is_partial else builder  # type: ignore[attr-defined]
    arguments = builder.args if is_partial else ()  # type: ignore[attr-defined]
    bound = {**(_bound(builder) if is_partial else {}), **values}
    if not takes_any:
        # Checkpoints tell fits apart by the order of arguments, too.
        bound = dict(sorted(bound.items()))
    return functools.partial(function, *arguments, **bound)


_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _arguments(builder: Builder) -> dict[str, inspect.Parameter]:
    """Return the arguments of a builder that are not the estimator's."""
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):
        # Some callables written in C have no signature; they may take anything.
        kind = inspect.Parameter.VAR_KEYWORD
        return {"arguments": inspect.Parameter("arguments", kind)}
    found = signature.parameters.items()
    return {name: each for name, each in found if name not in _FROM_THE_ESTIMATOR}


def _bound(builder: Builder) -> dict[str, Any]:
    return dict(builder.keywords) if isinstance(builder, functools.partial) else {}


def _unknown(builder: Builder, name: str, valid: list[str], estimator: str) -> str:
    """Return the message for an argument that a builder does not have."""
    while isinstance(builder, functools.partial):
        builder = builder.func
    code = getattr(builder, "__name__", None) or type(builder).__name__
    told = f"network__{name} of {estimator} cannot be set:"
    if name in _FROM_THE_ESTIMATOR:
        advice = "set n_components" if name == "n_components" else "fit determines it"
        return f"{told} {estimator} passes {name} to {code}; {advice}."
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f" Did you mean network__{near[0]}?" if near else ""
    return f"{told} {code} has no argument {name!r}. It has {valid}.{hint}"
