"""The loop over epochs."""

from itertools import repeat

import torch
from torch import Tensor

from .batches import Batches
from .budget import Budget
from .optimizers import SCHEDULES
from .revival import dead_units, revive
from .rows import Rows
from .step import Step
from .stopping import Stopping

# Enough rows to tell a dead unit from a rare one: of units that are active for one row
# in a hundred, one that is alive shows in about forty of them.
N_SAMPLE = 4096


class Run:
    """A fit in progress, an epoch at a time.

    Parameters
    ----------
    step : Step
        What is done with each batch.
    rows : Rows
        The training rows.
    batches : Batches
        Which rows make up each batch.
    budget : Budget
        Number of epochs, if nothing stops the run before, and learning rates.
    stopping : Stopping
        Decides when to stop before.
    validation : Rows or None
        Held-out rows; without them `stopping` watches the training loss.
    generator : torch.Generator
        Draws the rows that dead units are revived by; on the CPU.
    work : float
        Floating point operations of one step, about.

    Attributes
    ----------
    losses : list of float
        Mean training loss of each epoch, as far as it was finite.
    validation_losses : list of float
        Loss on the held-out rows after each of these epochs; empty without them.
    """

    def __init__(
        self,
        step: Step,
        rows: Rows,
        batches: Batches,
        budget: Budget,
        stopping: Stopping,
        *,
        validation: Rows | None,
        generator: torch.Generator,
        work: float,
    ) -> None:
        self.step = step
        self.rows = rows
        self.batches = batches
        self.budget = budget
        self.stopping = stopping
        self.validation = validation
        self.generator = generator
        self.work = work
        self.losses: list[float] = []
        self.validation_losses: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or the run was stopped."""
        return len(self.losses) >= self.budget.max_iter or self.stopping.finished

    def resume(self) -> None:
        """Take the weights as trained before: held-out rows may prefer them."""
        if self.validation is not None:
            self.stopping.start_from(self._validate(self.validation))

    def advance(self) -> None:
        """Train for one epoch."""
        loss = self._train_epoch()
        if self._ends_a_quarter():
            self._revive()
        held_out = None if self.validation is None else self._validate(self.validation)
        self.stopping.update(loss, held_out)
        if self.stopping.diverged:
            return
        if held_out is not None:
            self.validation_losses.append(held_out)
        self.losses.append(loss)

    def finish(self) -> None:
        """End the run with the right weights, in evaluation mode."""
        self.stopping.restore()
        self.step.network.eval()

    def summary(self) -> str:
        """Tell the last epoch in a line."""
        if self.stopping.diverged:
            return f"Epoch {len(self.losses) + 1}: the loss is not finite"
        line = f"Epoch {len(self.losses)}/{self.budget.max_iter}"
        line += f", loss = {self.losses[-1]:.6f}"
        if self.validation_losses:
            line += f", validation score = {1 - self.validation_losses[-1]:.6f}"
        return line

    @torch.no_grad()
    def _train_epoch(self) -> float:
        if not self.step.network.training:
            self.step.network.train()
        losses: list[Tensor] = []
        counts: list[int] = []
        schedule = SCHEDULES[self.budget.learning_rate]
        n_steps = self.budget.max_iter * self.batches.number
        done = len(self.losses) * self.batches.number
        for index, sizes in self.batches.in_groups(self.rows.block_size):
            rows, weights = self.rows[index], self.rows.weights(index)
            targets = self.rows.target(index, rows)
            for batch, target, sample_weight in zip(
                torch.split(rows, sizes),
                torch.split(targets, sizes),
                repeat(None) if weights is None else torch.split(weights, sizes),
                strict=False,
            ):
                self.step.set_learning_rate(
                    self.budget.learning_rate_init * schedule(done / n_steps)
                )
                losses.append(self.step(batch, target, sample_weight))
                done += 1
            counts += sizes
        means = torch.stack(losses).double().cpu()
        shares = torch.tensor(counts, dtype=torch.float64, device="cpu")
        return float(means @ shares) / len(self.rows)

    def _ends_a_quarter(self) -> bool:
        """Whether this epoch ends the first, second or third quarter of the budget."""
        before, n_epochs = len(self.losses), self.budget.max_iter
        quarter = 4 * (before + 1) // n_epochs
        return 4 * before // n_epochs < quarter < 4

    @torch.no_grad()
    def _revive(self) -> None:
        network = self.step.network.eval()
        if not network.is_sparse:
            return
        x = self.rows[self.rows.spread(N_SAMPLE)]
        dead = dead_units(network, x)
        if len(dead):
            errors = self.step.objective.evaluate(network, x)
            revive(network, self.step.optimizer, dead, errors, x, self.generator)

    @torch.no_grad()
    def _validate(self, rows: Rows) -> float:
        """Return the mean loss of the network as it is used after the fit."""
        network = self.step.network.eval()
        evaluate = self.step.objective.evaluate
        return float(
            rows.average(lambda batch: evaluate(network, batch), max(network.widths))
        )
