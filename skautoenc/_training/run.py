"""The loop over epochs."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.rows import N_SAMPLE, Rows
from .._networks.weights import own_array
from .batches import Batches
from .captured import fastest
from .resources import compute
from .revival import dead_units, revive
from .schedule import Schedule
from .step import Step, TrainingStep
from .stopping import Stopping

# Random corruption makes the losses of small fits vary by chance, and the rows that
# weights are compared on are not corrupted. Differences up to this share of the
# deviance do not count.
_NOISE = 0.05


class Run:
    """A fit in progress, which advances one epoch at a time.

    Parameters
    ----------
    step : Step
        Trains the network by one batch.
    rows : Rows
        The training rows.
    batches : Batches
        The rows of each batch.
    schedule : Schedule
        Maximum number of epochs, and learning rates.
    stopping : Stopping
        Decides when to stop earlier.
    validation : Rows or None
        Held-out rows; without them, `stopping` watches the training loss.
    generator : torch.Generator
        Draws the rows that dead units are reinitialised for; on the CPU.
    work : float
        Approximate number of floating point operations of one step.

    Attributes
    ----------
    losses : list of float
        Mean training loss of each epoch, up to the last finite one.
    validation_losses : list of float
        Loss on the held-out rows after each of these epochs; empty without them.
    finished : bool
        Whether all epochs are trained or the run was stopped.
    agree : callable
        Returns whether a condition holds in any of the processes of the fit.
    reports : bool
        Whether this process prints.
    went_back : bool
        Whether the run has restored the weights of its best epoch, because the last
        training loss was far higher.
    """

    agree: Callable[[Any], bool] = staticmethod(bool)
    reports = True

    def __init__(
        self,
        step: Step,
        rows: Rows,
        batches: Batches,
        schedule: Schedule,
        stopping: Stopping,
        *,
        validation: Rows | None,
        generator: torch.Generator,
        work: float,
    ) -> None:
        self.step = step
        self.rows = rows
        self.batches = batches
        self.schedule = schedule
        self.stopping = stopping
        self.validation = validation
        self.generator = generator
        self.work = work
        self._train = fastest(step, rows.device)
        # Rows and targets, if all of them together are small.
        self._prepared: tuple[Tensor, Tensor] | None = None
        self.losses: list[float] = []
        self.validation_losses: list[float] = []
        self.finished = schedule.max_iter == 0
        self.went_back = False

    @property
    def has_begun(self) -> bool:
        """Whether any epoch was trained."""
        return bool(self.losses) or self.stopping.diverged

    def state(self) -> dict[str, Any]:
        """Copy all that training changes into plain values and arrays."""
        return {
            "weights": [own_array(tensor) for tensor in self.step.tensors()],
            "optimizer": self.step.optimizer.state(),
            "generators": [own_array(g.get_state()) for g in self._generators],
            "stopping": self.stopping.state(),
            "losses": list(self.losses),
            "validation_losses": list(self.validation_losses),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Restore `state` in a run with equal settings."""
        tensors = self.step.tensors()
        self._prepared = None
        for tensor, array in zip(tensors, state["weights"], strict=True):
            tensor.copy_(torch.tensor(array, device="cpu"))
        self.step.optimizer.load(state["optimizer"])
        for generator, array in zip(self._generators, state["generators"], strict=True):
            generator.set_state(torch.tensor(array, device="cpu"))
        self.stopping.load(state["stopping"], tensors)
        self.losses = list(state["losses"])
        self.validation_losses = list(state["validation_losses"])
        self.finished = self._is_finished()

    @property
    def validation_scores(self) -> list[float]:
        """Scores of the held-out rows: larger is better."""
        best = self.step.objective.score_of_zero_loss
        return [best - loss for loss in self.validation_losses]

    @property
    def _generators(self) -> tuple[torch.Generator, ...]:
        return self.generator, self.batches.generator, self.step.generator

    def resume(self) -> None:
        """Compare the present weights by held-out loss with those of later epochs."""
        if self.validation is not None:
            held_out = self._validate(self.validation)
            self.stopping.start_from(held_out, self.step.tensors())

    def advance(self) -> None:
        """Train for one epoch."""
        (loss,) = train_epoch([self], self._train, [self])
        self.end_epoch(loss)

    def set_learning_rate(self, batch: int) -> None:
        """Set the learning rate of one batch of the present epoch."""
        epoch = len(self.losses) + batch / self.batches.number
        self.step.optimizer.learning_rate = self.schedule.rate(epoch)

    @property
    def n_grouped(self) -> int:
        """Number of rows that take 4 MiB when they are prepared for the step."""
        n_features = self.rows.shape[1]
        return self.rows.block_size * n_features // self.step.width(n_features)

    def take(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return rows, targets and weights, prepared for the step."""
        n_features = self.rows.shape[1]
        is_small = len(self.rows) <= self.n_grouped
        if not is_small or self.step.width(n_features) == n_features:
            rows, targets, weights = self.rows.take(index)
            return *self.step.prepare(rows, targets), weights
        if self._prepared is None:
            rows, targets, _ = self.rows.take(slice(None))
            self._prepared = self.step.prepare(rows, targets)
        chosen = torch.from_numpy(index).to(self.rows.device)
        rows, targets = (part.index_select(0, chosen) for part in self._prepared)
        return rows, targets, self.rows.weights(index)

    @property
    def n_bytes(self) -> int:
        """Size of the rows, the weights, their gradients and the optimizer state."""
        tensors = self.step.tensors()
        # The weights, their gradients and two moments.
        return self.rows.n_bytes + 4 * sum(tensor.nbytes for tensor in tensors)

    def end_epoch(self, loss: float) -> None:
        """Record the training loss of an epoch, validate, and revive dead units."""
        if self._ends_a_quarter():
            self._revive()
        held_out = None if self.validation is None else self._validate(self.validation)
        self.stopping.update(loss, held_out, self.step.tensors())
        if not self.stopping.diverged:
            self.losses.append(loss)
            if held_out is not None:
                self.validation_losses.append(held_out)
        self.finished = self._is_finished()

    def _is_finished(self) -> bool:
        return len(self.losses) >= self.schedule.max_iter or self.stopping.finished

    def finish(self) -> None:
        """Set the final weights, and evaluation mode."""
        self.stopping.restore(self.step.tensors())
        self.step.network.eval()
        better = self.stopping.best_epoch(self.losses[-1] if self.losses else 0.0)
        if better:
            with compute(self.work, self.rows.device):
                self._go_back(better)

    @torch.no_grad()
    def _go_back(self, weights: list[list[Tensor]]) -> None:
        """Choose among the last weights and others that had a lower training loss.

        A training loss is a mean over an epoch, in which the weights may have improved
        or got worse. Each set of weights is therefore evaluated on the training rows.
        """
        tensors = self.step.tensors()
        candidates = [[tensor.clone() for tensor in tensors], *weights]
        losses = []
        for candidate in candidates:
            _copy_into(tensors, candidate)
            loss = self._validate(self.rows)
            losses.append(loss if math.isfinite(loss) else math.inf)
        best = losses.index(min(losses))
        if self.step.objective.is_random and losses[0] < losses[best] + _NOISE:
            best = 0
        _copy_into(tensors, candidates[best])
        self.went_back = best > 0

    def summary(self) -> str:
        """Return a line about the last epoch."""
        if self.stopping.diverged:
            return f"Epoch {len(self.losses) + 1}: the loss is not finite"
        line = f"Epoch {len(self.losses)}/{self.schedule.max_iter}"
        line += f", loss = {self.losses[-1]:.6f}"
        if self.validation_losses:
            line += f", validation score = {self.validation_scores[-1]:.6f}"
        return line

    def _ends_a_quarter(self) -> bool:
        """Whether this epoch ends the first, second or third quarter of the epochs."""
        before, n_epochs = len(self.losses), self.schedule.max_iter
        quarter = 4 * (before + 1) // n_epochs
        return 4 * before // n_epochs < quarter < 4

    @torch.no_grad()
    def _revive(self) -> None:
        network = self.step.network.eval()
        if not network.is_sparse:
            return
        x, _ = self.rows.sample(N_SAMPLE)
        dead = dead_units(network, x)
        if len(dead):
            errors = self.step.objective.evaluate(network, x)
            revive(network, self.step.optimizer, dead, errors, x, self.generator)

    @torch.no_grad()
    def _validate(self, rows: Rows) -> float:
        """Return the mean loss of the network in evaluation mode."""
        network = self.step.network.eval()
        evaluate = self.step.objective.evaluate
        return float(
            rows.average(lambda batch: evaluate(network, batch), max(network.widths))
        )


def _copy_into(tensors: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@torch.no_grad()
def train_epoch(
    runs: Sequence[Run], step: TrainingStep, leaders: Sequence[Run]
) -> list[float]:
    """Train for one epoch.

    Parameters
    ----------
    runs : sequence of Run
        One run, or several with the same number of rows and of batches.
    step : callable
        Trains one run by a batch, or several by the stack of their batches.
    leaders : sequence of Run
        One run of each team, whose optimizer updates the whole team.

    Returns
    -------
    list of float
        Mean loss of each run.
    """
    for run in runs:
        if not run.step.network.training:
            run.step.network.train()
    losses: list[Tensor] = []
    n_rows = max(1, runs[0].n_grouped // len(runs))
    groups = [run.batches.in_groups(n_rows) for run in runs]
    for indices_and_sizes in zip(*groups, strict=True):
        indices = [index for index, _ in indices_and_sizes]
        sizes = indices_and_sizes[0][1]
        # (n, n_features), or (n_networks, n, n_features)
        rows, targets, weights = _take(runs, indices)
        for batch, target, sample_weight in zip(
            torch.split(rows, sizes, dim=-2),
            torch.split(targets, sizes, dim=-2),
            repeat(None) if weights is None else torch.split(weights, sizes, dim=-1),
            strict=False,
        ):
            for run in leaders:
                run.set_learning_rate(len(losses))
            losses.append(step(batch, target, sample_weight))
    totals = torch.tensor(runs[0].batches.totals, dtype=torch.float64, device="cpu")
    shares = totals / totals.sum()
    means: list[float] = (shares @ torch.stack(losses).cpu().double()).view(-1).tolist()
    return means


def _take(
    runs: Sequence[Run], indices: Sequence[NDArray[np.int64]]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return rows, targets and weights, stacked if there are several runs."""
    taken = [run.take(index) for run, index in zip(runs, indices, strict=True)]
    if len(runs) == 1:
        return taken[0]
    rows, targets, weights = zip(*taken, strict=True)
    stacked = torch.stack(rows)  # (n_networks, n, n_features)
    given = [weight for weight in weights if weight is not None]
    same_targets = all(map(operator.is_, rows, targets))
    return (
        stacked,
        stacked if same_targets else torch.stack(targets),
        torch.stack(given) if given else None,
    )
