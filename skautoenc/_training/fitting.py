"""Training of fits from the first epoch to the last, alone or jointly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar

import torch

from .joint import JointRun
from .resources import compute
from .run import Run


class Fit:
    """A run, with the work before and after each of its epochs.

    Parameters
    ----------
    run : Run
        The run.
    epochs : iterator
        Advanced before each epoch and after the last one. It ends when training is
        finished.
    """

    def __init__(self, run: Run, epochs: Iterator[None]) -> None:
        self.run = run
        self.epochs = epochs
        self._error: Exception | None = None

    def begin_epoch(self) -> bool:
        """Do the work before an epoch; return whether there is an epoch to train."""
        try:
            return next(self.epochs, self) is not self
        except Exception as error:
            # Only this fit has failed; others of its group go on.
            self._error = error
            return False

    def fail(self, error: Exception) -> None:
        """Store an error, which `check` raises."""
        self._error = error

    def check(self) -> None:
        """Raise the error of the work between epochs, if there was one."""
        if self._error is not None:
            raise self._error


def train(fits: Sequence[Fit]) -> None:
    """Train fits to their ends.

    Parameters
    ----------
    fits : sequence of Fit
        One fit, or several whose runs have the same `joint_key`.
    """
    first = fits[0].run
    work = first.work * len(fits)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        compute(work, first.rows.device),
    ):
        active = [fit for fit in fits if fit.begin_epoch()]
        while active:
            active = _train_epochs(active)


def _train_epochs(fits: Sequence[Fit]) -> list[Fit]:
    """Train until one or more fits are finished, and return the others."""
    runs, active = [fit.run for fit in fits], list(fits)
    group = JointRun(runs) if len(runs) > 1 else None
    advance = runs[0].advance if group is None else group.advance
    while len(active) == len(fits):
        advance()
        active = [fit for fit in fits if fit.begin_epoch()]
    if group is not None:
        group.leave_group()
    return active


def train_alone(fit: Fit) -> None:
    """Train one fit."""
    train([fit])
    fit.check()


# Strategy that trains a `Fit`. Default: train immediately. `train_together` sets it,
# per context, to queue fits and train them jointly.
training_strategy: ContextVar[Callable[[Fit], None]] = ContextVar(
    "training_strategy", default=train_alone
)
