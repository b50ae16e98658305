"""Schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return 1.0 - progress


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


# Each is a function of the finished share of the fit, so it suits fits of any length.
# Cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, without the restarts.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
}


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step, over a number of epochs.

    Parameters
    ----------
    learning_rate : str
        Key of `SCHEDULES`.
    learning_rate_init : float
        Learning rate at the start.
    max_iter : int
        Maximum number of epochs.
    """

    learning_rate: str
    learning_rate_init: float
    max_iter: int

    def rate(self, epoch: float) -> float:
        """Return the learning rate after `epoch` epochs, which may be a fraction."""
        share = SCHEDULES[self.learning_rate](epoch / self.max_iter)
        return self.learning_rate_init * share
