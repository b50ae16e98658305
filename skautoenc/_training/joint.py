"""Runs of networks of one architecture, trained in common steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain

import torch
from torch import Tensor

from .._networks.gradients import closed_form_gradients
from .._networks.weights import count_parameters
from .memory import UpdateArgs
from .optimizers import Optimizer
from .run import Run, train_epoch

# Weights, gradients, moments and activations of all networks are to stay in the cache.
_CACHE_BYTES = 2**22
_MOST_TOGETHER = 64


def joint_key(run: Run) -> Hashable | None:
    """Return what runs must have in common to be trained jointly.

    Returns
    -------
    hashable or None
        None if the run must be trained alone.
    """
    step, rows = run.step, run.rows
    network = step.network
    if not step.has_closed_form or rows.device.type != "cpu":
        return None
    # It may wait for other processes, in which steps are not joined alike.
    if step.reduce is not None:
        return None
    # Ignore `sparsity_rate`: thresholds are computed per network, so fits with
    # different rates can share a step.
    config = {**network.config, "sparsity_rate": None}
    return (
        tuple(config.items()),
        step.optimizer.layout,
        len(rows),
        run.batches.number,
        rows.has_weights,
        # Those that go on from a checkpoint are elsewhere in their schedules.
        len(run.losses),
    )


def most_together(run: Run) -> int:
    """Say how many runs of this kind are best trained together."""
    network = run.step.network
    batch = len(run.rows) // run.batches.number
    # Weights, gradients and two moments; activations and gradients of both halves.
    n_values = 4 * count_parameters(network) + 4 * batch * sum(network.widths)
    n_bytes = n_values * torch.float32.itemsize
    return max(1, min(_MOST_TOGETHER, _CACHE_BYTES // n_bytes))


class JointRun:
    """Several runs, an epoch at a time.

    The products of all networks are one call, and so are the updates of those that are
    alike. What is drawn at random, rules of sparsity and all that happens between
    epochs are each run's own.

    Parameters
    ----------
    runs : sequence of Run
        With equal `joint_key`.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        teams = _teams(runs)
        self.runs = list(chain.from_iterable(teams))
        self.leaders = [team[0] for team in teams]
        self._steps = [run.step for run in self.runs]
        self._optimizer = JointOptimizer(
            [step.optimizer for step in self._steps], [len(team) for team in teams]
        )
        self._is_random = any(step.objective.is_random for step in self._steps)
        self._clipped = [s for s in self._steps if s.max_grad_norm is not None]
        gradients = closed_form_gradients([step.network for step in self._steps])
        assert gradients is not None
        self._gradients = gradients

    def advance(self) -> None:
        """Train for one epoch."""
        losses = train_epoch(self.runs, self._step, self.leaders)
        for run, loss in zip(self.runs, losses, strict=True):
            run.end_epoch(loss)

    def leave_group(self) -> None:
        """Let each run go on by itself."""
        self._optimizer.leave_group()

    def _step(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch of each network; return the losses."""
        source = batch
        if self._is_random:
            source, target = self._draw(batch, target)
        losses = self._gradients(source, target, sample_weight)
        for step in self._clipped:
            step.clip_gradients()
        self._optimizer.step()
        return losses

    def _draw(self, batch: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        drawn = [
            step.objective.draw(rows, wanted, step.generator)
            for step, rows, wanted in zip(self._steps, batch, target, strict=True)
        ]
        sources, _, targets = zip(*drawn, strict=True)
        return torch.stack(sources), torch.stack(targets)


def _teams(runs: Sequence[Run]) -> list[list[Run]]:
    """Put together those whose updates are, and will be, the same function."""
    teams = defaultdict(list)
    for run in runs:
        teams[run.step.optimizer.settings, run.schedule].append(run)
    return list(teams.values())


class JointOptimizer:
    """Updates several networks in as few calls as can be.

    Parameters
    ----------
    optimizers : sequence of Adam or of SGD
        Of equal layout, for networks that may be moved: they are moved side by side,
        at even distances. Those whose settings are equal, and whose learning rates
        always will be, come one after the other.
    teams : sequence of int
        How many of them do, each time. The first one's learning rate is that of all.
    """

    def __init__(self, optimizers: Sequence[Optimizer], teams: Sequence[int]) -> None:
        self._optimizers = optimizers
        self._updates: list[tuple[Optimizer, UpdateArgs]] = []
        # A tensor for each group: (2 + n_buffers, n_networks, size).
        memory = optimizers[0].memory(len(optimizers))
        for number, optimizer in enumerate(optimizers):
            optimizer.relocate([of_all[:, number] for of_all in memory])
        groups = zip(*(each.groups for each in optimizers), strict=True)
        for of_all, alike in zip(memory, groups, strict=True):
            self._join(of_all, [group.update_args for group in alike], teams)

    def _join(
        self, memory: Tensor, held: Sequence[UpdateArgs], teams: Sequence[int]
    ) -> None:
        """Update one group of each network, of which `memory` has the tensors."""
        names = list(held[0].buffers)
        start = 0
        for size in teams:
            leader = held[start]
            for args in held[start : start + size]:
                args.steps = leader.steps
            values, gradients, *buffers = memory[:, start : start + size]
            args = UpdateArgs(
                leader.decay,
                leader.factor,
                [values],
                [gradients],
                {name: [buffer] for name, buffer in zip(names, buffers, strict=True)},
                leader.steps,
            )
            self._updates.append((self._optimizers[start], args))
            start += size

    def step(self) -> None:
        """Update all parameters by their gradients, where autograd is off."""
        for optimizer, args in self._updates:
            optimizer.update(args)

    def leave_group(self) -> None:
        """Move each network into memory of its own."""
        for optimizer in self._optimizers:
            optimizer.relocate(optimizer.memory())
