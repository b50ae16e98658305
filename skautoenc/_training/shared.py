"""A run of which several processes each train on a part of every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.world import World
from .._networks.codes import BatchSparsity, Exchange, bind_exchange
from .batches import Batches, number_of_batches
from .run import Run
from .step import Step


class SharedBatches(Batches):
    """The part of one process of the batches of all processes.

    All processes have the same number of batches. A process may have no row in some of
    them, but all processes together have batches of equal sizes, give or take one row.

    Parameters
    ----------
    n_samples, batch_size, shuffle, generator, window
        See `Batches`. `batch_size` is that of all processes together.
    counts : sequence of int
        Number of rows of each process.
    rank : int
        Number of this process.

    Attributes
    ----------
    most_rows : int
        Maximum number of rows of a batch in one process.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        *,
        counts: Sequence[int],
        rank: int,
        shuffle: bool,
        generator: torch.Generator,
        window: int | None = None,
    ) -> None:
        super().__init__(
            n_samples,
            batch_size,
            shuffle=shuffle,
            generator=generator,
            window=window,
        )
        self.number = number_of_batches(sum(counts), batch_size)
        self.shuffle = shuffle and self.number > 1
        self.window = max(1, self.window)
        totals = np.zeros(self.number, dtype=np.int64)
        start = 0
        for number, count in enumerate(counts):
            sizes = _sizes(count, start, self.number)
            totals += sizes
            if number == rank:
                self.sizes = sizes.tolist()
            start += count
        self.totals = totals.tolist()
        self.most_rows = -(-max(counts) // self.number)


def _sizes(count: int, start: int, number: int) -> NDArray[np.int64]:
    """Return the sizes of `number` batches of `count` rows.

    The larger ones follow those of the processes before, which have `start` rows.
    """
    is_larger = (np.arange(number) - start) % number < count % number
    return count // number + is_larger


class SharedStep(Step):
    """A step of which each process computes the gradients of its rows.

    Parameters
    ----------
    world : World
        The processes.
    *arguments, **others
        See `Step`.
    """

    def __init__(self, world: World, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.world = world
        # All gradients and the loss, in one tensor, so that one sum is enough.
        self._flat = self.optimizer.join_gradients(1)
        self._share = 1.0
        self.reduce = self._add_up

    def begin_batch(self, n_rows: int, n_total: int) -> None:
        """Prepare for a batch: its numbers of rows here and in all processes."""
        self._share = n_rows / n_total

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by a batch of all processes; return its loss."""
        if len(batch):
            return super().__call__(batch, target, sample_weight)
        self._compare_no_rows(sample_weight)
        self.optimizer.zero_grad()
        loss = self._add_up(self._flat.new_zeros(()))
        self.optimizer.step(self.max_grad_norm)
        return loss

    def _add_up(self, loss: Tensor) -> Tensor:
        """Replace gradients and loss by those of the batch of all processes."""
        self._flat[-1] = loss
        self._flat.mul_(self._share)
        self.world.add_into(self._flat)
        return self._flat[-1].clone()

    def _compare_no_rows(self, sample_weight: Tensor | None) -> None:
        """Let the rows of other processes be compared."""
        code = self._flat.new_empty(0, self.network.widths[-1])
        for module in self.network.modules():
            if isinstance(module, BatchSparsity):
                module(code, sample_weight)


class SharedRun(Run):
    """A run of one of several processes, which all end with the same weights.

    Parameters
    ----------
    world : World
        The processes.
    seed : int
        Seed of the order and the noise, which differ between processes.
    *arguments, **others
        See `Run`.
    """

    step: SharedStep
    batches: SharedBatches

    def __init__(self, world: World, seed: int, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.world = world
        self.seed = seed
        self.reports = world.rank == 0
        self.agree = lambda condition: any(world.gather(bool(condition)))
        self._exchange = Exchange(world.gather_tensor, self.batches.most_rows)
        bind_exchange(self.step.network, self._exchange)
        # Callbacks may need the sample, in some of the processes only.
        self.rows.of_this_process()

    def advance(self) -> None:
        """Train for one epoch."""
        # Seeds by epoch: a checkpoint need not hold the generators of all processes.
        seeds = np.random.SeedSequence((self.seed, self.world.rank, len(self.losses)))
        drawn = seeds.generate_state(2, np.uint64) >> np.uint64(1)
        for generator, number in zip(
            (self.batches.generator, self.step.generator), drawn, strict=True
        ):
            generator.manual_seed(int(number))
        super().advance()

    def end_epoch(self, loss: float) -> None:
        """Make buffers equal in all processes, and do the work after an epoch."""
        for module in self.step.network.modules():
            if isinstance(module, BatchSparsity):
                continue
            for buffer in module.buffers(recurse=False):
                self._average(buffer)
        super().end_epoch(loss)

    def _average(self, buffer: Tensor) -> None:
        """Average a buffer of a user's network over the processes."""
        mean = buffer.double()
        self.world.add_into(mean)
        buffer.copy_(mean / self.world.size)

    def finish(self) -> None:
        """Set the final weights, and evaluation mode."""
        super().finish()
        bind_exchange(self.step.network, None)

    def set_learning_rate(self, batch: int) -> None:
        """Set the learning rate of one batch of the present epoch."""
        super().set_learning_rate(batch)
        n_total = self.batches.totals[batch]
        self.step.begin_batch(self.batches.sizes[batch], n_total)
        self._exchange.n_rows = n_total


class Kinds(NamedTuple):
    """What makes the batches, the step and the run of a fit."""

    batches: Callable[..., Batches]
    step: Callable[..., Step]
    run: Callable[..., Run]


def shared_kinds(world: World, counts: Sequence[int], seed: int) -> Kinds:
    """Return the kinds for one of several processes.

    Parameters
    ----------
    world : World
        The processes.
    counts : sequence of int
        Number of rows of each process.
    seed : int
        Seed of the fit.
    """
    return Kinds(
        partial(SharedBatches, counts=counts, rank=world.rank),
        partial(SharedStep, world),
        partial(SharedRun, world, seed),
    )
