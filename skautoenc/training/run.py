"""The loop over epochs."""

import torch
from torch import Tensor

from ..objectives import squared_error, weighted_mean
from .batches import Batches
from .budget import Budget
from .optimizers import SCHEDULES
from .rows import Rows, blocks
from .step import Step
from .stopping import Stopping


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
        work: float,
    ) -> None:
        self.step = step
        self.rows = rows
        self.batches = batches
        self.budget = budget
        self.stopping = stopping
        self.validation = validation
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
            self.stopping.start_from(self._validate(self.validation), self.step.network)

    def advance(self) -> None:
        """Train for one epoch."""
        loss = self._train_epoch()
        held_out = None if self.validation is None else self._validate(self.validation)
        self.stopping.update(loss, held_out, self.step.network)
        if self.stopping.diverged:
            return
        if held_out is not None:
            self.validation_losses.append(held_out)
        self.losses.append(loss)

    def finish(self) -> None:
        """End the run with the right weights, in evaluation mode."""
        self.stopping.restore(self.step.network)
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

    def _train_epoch(self) -> float:
        self.step.network.train()
        total = torch.zeros((), dtype=torch.float32, device=self.rows.device)
        schedule = SCHEDULES[self.budget.learning_rate]
        n_steps = self.budget.max_iter * self.batches.number
        done = len(self.losses) * self.batches.number
        for index in self.batches:
            progress = done / n_steps
            self.step.set_learning_rate(
                self.budget.learning_rate_init * schedule(progress)
            )
            loss = self.step(self.rows[index], self.rows.weights(index))
            total += loss * len(index)
            done += 1
        return float(total) / len(self.rows)

    @torch.no_grad()
    def _validate(self, rows: Rows) -> float:
        """Return the mean loss of the network as it is used after the fit."""
        network = self.step.network.eval()
        total: Tensor = torch.zeros((), dtype=torch.float32, device=rows.device)
        for block in blocks(len(rows), max(network.widths)):
            batch = rows[block]
            errors = squared_error(network(batch), batch)
            total += weighted_mean(errors, rows.weights(block)) * len(batch)
        return float(total) / len(rows)
