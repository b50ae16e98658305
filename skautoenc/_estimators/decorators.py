"""Decorators of scikit-learn, whose types are lost: here, methods keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.callback import with_callbacks as _with_callbacks
from sklearn.utils.metaestimators import available_if as _available_if

Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """Decorate a `fit` that supports callbacks."""
    decorated: Method = _with_callbacks(method)
    return decorated


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorate a method that exists only if a check of the estimator passes."""
    decorator: Callable[[Method], Method] = _available_if(check)
    return decorator
