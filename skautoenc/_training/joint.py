"""Joint training of networks of one architecture."""

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

# Weights, gradients, moments and activations of all networks should fit into the cache.
_CACHE_BYTES = 2**22
_MAX_GROUP_SIZE = 64


def joint_key(run: Run) -> Hashable | None:
    """Return a key that is equal for runs that can be trained jointly.

    Returns
    -------
    hashable or None
        None if the run must be trained alone.
    """
    step, rows = run.step, run.rows
    network = step.network
    is_known = step.has_closed_form and step.objective.is_squared_error
    if not is_known or rows.device.type != "cpu":
        return None
    # `reduce` may wait for other processes, which may group their runs differently.
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
        # Runs that resume from a checkpoint may be at different epochs.
        len(run.losses),
    )


def max_group_size(run: Run) -> int:
    """Return the number of runs like this one that are best trained jointly."""
    network = run.step.network
    batch = len(run.rows) // run.batches.number
    # Weights, gradients and two moments; activations and gradients in both directions.
    n_values = 4 * count_parameters(network) + 4 * batch * sum(network.widths)
    n_bytes = n_values * torch.float32.itemsize
    return max(1, min(_MAX_GROUP_SIZE, _CACHE_BYTES // n_bytes))


class JointRun:
    """Several runs that are trained jointly, one epoch at a time.

    Matrix products of all networks are batched, and so are the updates of networks with
    equal settings. Random draws, sparsity rules and the work between epochs remain
    separate for each run.

    Parameters
    ----------
    runs : sequence of Run
        Runs with equal `joint_key`.
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
        gradients = closed_form_gradients([step.network for step in self._steps])
        assert gradients is not None
        self._gradients = gradients

    def advance(self) -> None:
        """Train for one epoch."""
        losses = train_epoch(self.runs, self._step, self.leaders)
        for run, loss in zip(self.runs, losses, strict=True):
            run.end_epoch(loss)

    def leave_group(self) -> None:
        """Move each network to its own memory, so that it can be trained alone."""
        self._optimizer.leave_group()

    def _step(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch of each network; return the losses.

        All tensors have the runs as their first dimension.
        """
        source = batch
        if self._is_random:
            source, target = self._draw(batch, target)
        losses = self._gradients(source, target, sample_weight)
        for step in self._steps:
            if step.max_grad_norm is not None:
                step.optimizer.clip_gradients(step.max_grad_norm)
        self._optimizer.step()
        return losses

    def _draw(self, batch: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        drawn = [
            step.objective.draw(rows, clean, step.generator)
            for step, rows, clean in zip(self._steps, batch, target, strict=True)
        ]
        sources, _, targets = zip(*drawn, strict=True)
        # (n_networks, n, n_features) each
        return torch.stack(sources), torch.stack(targets)


def _teams(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the runs whose optimizer settings and schedules are equal."""
    teams = defaultdict(list)
    for run in runs:
        teams[run.step.optimizer.settings, run.schedule].append(run)
    return list(teams.values())


class JointOptimizer:
    """Updates several networks in as few calls as possible.

    Parameters
    ----------
    optimizers : sequence of Adam or of SGD
        Optimizers of equal layout, for networks that may be moved in memory: they are
        moved side by side, at equal distances. Those of one team come one after the
        other.
    teams : sequence of int
        Numbers of consecutive optimizers with equal settings and schedules. The
        learning rate of the first one applies to its team.
    """

    def __init__(self, optimizers: Sequence[Optimizer], teams: Sequence[int]) -> None:
        self._optimizers = optimizers
        self._updates: list[tuple[Optimizer, UpdateArgs]] = []
        # One tensor per group, of shape (2 + n_buffers, n_networks, size).
        memory = optimizers[0].memory(len(optimizers))
        for number, optimizer in enumerate(optimizers):
            optimizer.relocate([tensor[:, number] for tensor in memory])
        groups = zip(*(each.groups for each in optimizers), strict=True)
        for tensor, alike in zip(memory, groups, strict=True):
            self._join(tensor, [group.update_args for group in alike], teams)

    def _join(
        self, memory: Tensor, held: Sequence[UpdateArgs], teams: Sequence[int]
    ) -> None:
        """Make one update per team from the same group of each network.

        `memory` holds the tensors of these groups.
        """
        names = list(held[0].buffers)
        start = 0
        for size in teams:
            leader = held[start]
            for args in held[start : start + size]:
                args.steps = leader.steps
            # (size, n_values) each
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
        """Update all parameters by their gradients; autograd must be off."""
        for optimizer, args in self._updates:
            optimizer.update(args)

    def leave_group(self) -> None:
        """Move each network to its own memory."""
        for optimizer in self._optimizers:
            optimizer.relocate(optimizer.memory())
