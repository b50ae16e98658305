"""What `fit` reads within `train_across`."""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .world import ProcessWorld


class Across(Protocol):
    """How `fit` reaches the other processes."""

    def fit(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        """Train the estimator with the other processes."""


# Set within `train_across`; `fit` reads it, and no layer below does.
across: ContextVar[Across | None] = ContextVar("across", default=None)


def fit_share(
    estimator: Any, X: Any, y: Any, sample_weight: Any, world: ProcessWorld | None
) -> None:
    """Train with the other processes of a world, or alone if it is None."""
    # A user's network builder or callback may call `fit`, too, in this process.
    token = across.set(None)
    try:
        with nullcontext() if world is None else world:
            estimator._fit_here(X, y, sample_weight, world)
    finally:
        across.reset(token)
