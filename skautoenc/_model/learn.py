"""Runs of the training engine from plans and data, and models from runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .._data.rows import N_SAMPLE, Rows, TrainingData
from .._data.shared import SharedData
from .._data.world import World
from .._networks.autoencoder import Autoencoder
from .._networks.layers import bind_generator
from .._networks.variational import VariationalNetwork
from .._networks.weights import copy_weights, from_arrays, same_shapes, to_arrays
from .._preparation.whitening import learn_code_whitening
from .._training.batches import Batches, number_of_batches
from .._training.optimizers import Solver, make_optimizer
from .._training.ordering import explained_by_each
from .._training.resources import compute, one_thread, resolve_device, step_work
from .._training.revival import dead_layer, dead_units
from .._training.run import Run
from .._training.schedule import Schedule
from .._training.seeds import Streams, draw_seed, spawn_streams
from .._training.shared import Kinds, shared_kinds
from .._training.step import Step
from .._training.stopping import Stopping
from .._warnings import warn
from .model import CodeMap, Model, Side
from .plan import Budget, Plan
from .prior import learn_prior

_CPU = torch.device("cpu")
_ALONE = Kinds(Batches, Step, Run)
# Number of rows that the shares of ordered components are measured on.
_N_ORDERED = 512


@dataclass(frozen=True)
class Training:
    """A run that is set up, with its plan and its input side.

    Parameters
    ----------
    plan : Plan
        The plan.
    side : MatrixSide or TableSide
        The input side, on the device of the run.
    run : Run
        The run.
    held_out : Rows or None, default=None
        Rows that are held out.
    """

    plan: Plan
    side: Side
    run: Run
    held_out: Rows | None = None


@dataclass(frozen=True)
class Learnt:
    """A model, and measurements on its training rows.

    Parameters
    ----------
    model : Model
        The model.
    n_dead : int or None
        Number of units of a rectified code that are never active; None for other codes.
    explained_variance_ratio : ndarray of shape (n_components,) or None
        Share of the variance of each component of an ordered code.
    code_variance : ndarray of shape (n_components,) or None, default=None
        Variance of each component, if it was asked for.
    """

    model: Model[Any]
    n_dead: int | None
    explained_variance_ratio: NDArray[np.float64] | None
    code_variance: NDArray[np.float64] | None = None


def set_up(
    plan: Plan,
    data: TrainingData,
    held_out: TrainingData | None,
    random_state: np.random.RandomState,
    *,
    before: Model[Any] | None = None,
    optimizer_state: Mapping[str, Any] | None = None,
) -> Training:
    """Learn the input side, and set up the run.

    Parameters
    ----------
    plan : Plan
        The plan of the fit.
    data : TrainingData
        The training rows.
    held_out : TrainingData or None
        Rows for validation and calibration.
    random_state : RandomState
        One number is drawn from it, the seed of all random draws of the fit.
    before : Model, optional
        Model of an earlier fit to continue from: its weights, and its input side,
        updated by `plan.continue_side`.
    optimizer_state : mapping, optional
        Optimizer state of the earlier fit, used if "solver" in it is the same.

    Raises
    ------
    ValueError
        If batches are too small, or if the weights do not fit the network.
    """
    network = _network_to_train(plan, before)
    rate, factors = _learning_rates(plan.solver, network)
    seen = None if held_out is None or plan.start is None else data.union(held_out)
    schedule = _schedule(plan.budget, network, rate)
    data = _in_batches(data, network, plan)
    n_rows = -(-min(plan.budget.batch_size, data.n_total) // data.n_processes)
    work = step_work(network.n_multiplications, n_rows)
    device = _choose_device(plan, data, work)
    with one_thread(_CPU):
        seed, kinds = _seed_and_kinds(data, random_state)
        streams = spawn_streams(seed, device)
        # What is learnt in closed form is learnt from held-out rows too.
        seen = data if seen is None else seen
        side, rows = _start(plan, network, seen, before, streams)
        rows = rows if seen is data else side.rows(data)
        targets = plan.make_targets and plan.make_targets(rows, data.labels)
    bind_generator(network.to(device), streams.noise)
    if device != _CPU or targets is not None:
        side = side.to(device)
        rows = side.rows(data, targets)
    batches = kinds.batches(
        data.shape[0],
        plan.budget.batch_size,
        shuffle=plan.shuffle,
        generator=streams.order,
        window=data.window,
    )
    step = kinds.step(
        network,
        plan.make_objective(side),
        make_optimizer(network, plan.solver, rate, factors, optimizer_state),
        max_grad_norm=plan.solver.max_grad_norm,
        generator=streams.noise,
    )
    stopping = Stopping(
        step.tensors(),
        tol=plan.tol,
        n_iter_no_change=plan.n_iter_no_change,
        far=plan.far,
    )
    others = None if held_out is None else side.rows(held_out)
    run = kinds.run(
        step,
        rows,
        batches,
        schedule,
        stopping,
        validation=others if plan.validates else None,
        generator=streams.weights,
        work=work,
    )
    return Training(plan, side, run, others)


def _choose_device(plan: Plan, data: TrainingData, work: float) -> torch.device:
    """Return the device, which processes choose together."""
    resolve = partial(resolve_device, plan.device, work)
    if data.world is None:
        return resolve()
    return data.world.choose_device(plan.device, resolve)


def _seed_and_kinds(
    data: TrainingData, random_state: np.random.RandomState
) -> tuple[int, Kinds]:
    """Return the seed of the fit, and what it is run with, alone or with others."""
    seed = draw_seed(random_state)
    if not isinstance(data, SharedData):
        return seed, _ALONE
    seed = data.world.broadcast(seed)
    return seed, shared_kinds(data.world, data.counts, seed)


def conclude(training: Training) -> Learnt:
    """Finish a run, and return its model.

    Raises
    ------
    ValueError
        If the loss became infinite or NaN before any usable weights.

    Warns
    -----
    ConvergenceWarning
        If it did so later.
    """
    run = training.run
    run.finish()
    if run.stopping.diverged:
        _report_divergence(run)
    network = run.step.network
    bind_generator(network, None)
    # With the weights, the block of memory holds gradients and moments, which are
    # no longer needed. Copies of the weights release it.
    network.zero_grad(set_to_none=True)
    if network.is_movable:
        for parameter in network.parameters():
            parameter.data = parameter.detach().clone()
    learnt = _describe(training, network, run.rows)
    calibrate = training.plan.calibrate
    if calibrate is not None:
        with one_thread(run.rows.device):
            model = calibrate(
                learnt.model, run.step.objective, run.rows, training.held_out
            )
        learnt = replace(learnt, model=model)
    return learnt


def report_dead_layer(training: Training) -> None:
    """Warn of a rectified layer in which most units are dead after training.

    Warns
    -----
    ConvergenceWarning
        If most of the rectified units of a hidden layer are zero for all rows.
    """
    network, rows = training.run.step.network, training.run.rows
    with one_thread(rows.device):
        found = dead_layer(network, lambda n_rows: rows.sample(n_rows)[0])
    if found is None:
        return
    advice = "Set" if training.plan.solver.learning_rate_init == "auto" else "Lower"
    warn(
        f"{found[0]} of {found[1]} rectified units of a hidden layer are zero for "
        f"all training rows, and learn nothing more. {advice} learning_rate_init "
        f"(now {training.run.schedule.learning_rate_init:g}), or choose "
        "activation='silu' or 'leaky_relu'.",
        ConvergenceWarning,
    )


def snapshot(training: Training) -> Learnt:
    """Return the present model of a run, with a copy of its network."""
    run = training.run
    network = Autoencoder.from_state(run.step.network.state())
    # A callback may ask for it in one of several processes.
    rows = run.rows.of_this_process()
    return _describe(training, network.to(rows.device), rows)


# Before training


def _network_to_train(plan: Plan, before: Model[Any] | None) -> Autoencoder:
    """Build a network, with the weights of the earlier fit if there is one."""
    network = plan.build_network()
    if before is None:
        return network
    network.prepare_for(before.network)
    if not same_shapes(network, before.network):
        old, new = before.network.config, network.config
        changes = [
            f"{name} was {old.get(name)!r} and is now {new.get(name)!r}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        raise ValueError(
            "Training cannot go on, the weights do not fit the network any more: "
            f"{', '.join(changes) or 'it builds another one'}. Use fit with "
            "warm_start=False to start anew."
        )
    copy_weights(before.network, network)
    return network


def _in_batches(data: TrainingData, network: Autoencoder, plan: Plan) -> TrainingData:
    """Return the rows in the form that batches need."""
    n_samples = data.n_total
    if data.world is not None:
        _refuse_shared(plan, network)
    n_batches = number_of_batches(n_samples, plan.budget.batch_size)
    smallest = n_samples // n_batches
    is_single = plan.single_row and n_samples == 1
    if smallest < network.smallest_batch and not is_single:
        raise ValueError(
            f"Batch normalisation needs {network.smallest_batch} rows in a batch, got "
            f"{smallest}. Raise batch_size (now {plan.budget.batch_size}), give weight "
            "to more rows, or leave batch normalisation out."
        )
    if n_batches == 1 and network.weighs_rows:
        return data.merge_equal_rows()
    return data


def _refuse_shared(plan: Plan, network: Autoencoder) -> None:
    """Raise a ValueError for what needs all rows in one process."""
    if not network.weighs_rows:
        raise ValueError(
            "train_across does not support batch normalization: each process would "
            "normalize by the moments of its own rows. Use normalization='layer' or "
            "None, or fit in one process."
        )
    if plan.make_targets is not None:
        raise ValueError(
            "train_across does not support n_neighbors: the nearest neighbors of a "
            "row may be in other processes. Set n_neighbors=None, or fit in one "
            "process."
        )
    if plan.code.mixes_prior:
        raise ValueError(
            "train_across does not support prior='mixture': the mixture is learnt from "
            "the codes of all rows. Set prior='normal', or fit in one process."
        )


def _continued(plan: Plan, before: Model[Any]) -> Side:
    side: Side = before.side.to(_CPU)
    return side if plan.continue_side is None else plan.continue_side(side)


def _start(
    plan: Plan,
    network: Autoencoder,
    data: TrainingData,
    before: Model[Any] | None,
    streams: Streams,
) -> tuple[Side, Rows]:
    """Learn the input side, and choose the first weights if there are none."""
    side = plan.learn_side(data) if before is None else _continued(plan, before)
    rows = side.rows(data)
    if before is None:
        _initialise(network, rows, streams)
        if plan.start is not None:
            plan.start(network, rows, data.count, streams.weights)
        if data.world is not None:
            _take_over_weights(network, data.world)
    return side, rows


def _take_over_weights(network: Autoencoder, world: World) -> None:
    """Start with the weights of the first process: others may round differently."""
    arrays = world.broadcast(to_arrays(network) if world.rank == 0 else {})
    from_arrays(network, arrays)


def _initialise(network: Autoencoder, rows: Rows, streams: Streams) -> None:
    """Initialise the weights by a sample of the rows, on the CPU."""
    n_rows = min(network.n_rows_at_start, 2**24 // network.widths[0] + 1)
    order = torch.randperm(rows.n_total, generator=streams.weights, device="cpu")
    batch, weights = rows.choose(np.sort(order[:n_rows].numpy()))
    network.initialise(streams.weights, batch, weights)


def _learning_rates(
    solver: Solver, network: Autoencoder
) -> tuple[float, dict[Tensor, float]]:
    """Return the learning rate, and its factors for single parameters."""
    rate, is_adam = solver.learning_rate_init, solver.name == "adam"
    if rate == "auto":
        return network.adam_rates() if is_adam else (network.learning_rate, {})
    return rate, network.safe_factors(rate) if is_adam else {}


def _schedule(budget: Budget, network: Autoencoder, rate: float) -> Schedule:
    max_iter = budget.max_iter
    if budget.max_iter_from_pca is not None and network.starts_as_pca:
        max_iter = min(max_iter, budget.max_iter_from_pca)
    return Schedule(budget.learning_rate, rate, max_iter)


# After training


def _report_divergence(run: Run) -> None:
    advice = (
        f"Lower learning_rate_init (now {run.schedule.learning_rate_init:g}), set "
        "max_grad_norm=1.0, or scale X."
    )
    epoch = len(run.losses) + 1
    if not run.stopping.has_weights:
        raise ValueError(
            f"The loss stopped being finite in epoch {epoch}, before any weights "
            f"were worth keeping. {advice}"
        )
    warn(
        f"The loss stopped being finite in epoch {epoch}; the best weights until "
        f"then are kept. {advice}",
        ConvergenceWarning,
    )


def _describe(training: Training, network: Autoencoder, rows: Rows) -> Learnt:
    """Return the model, with measurements on the training rows."""
    plan, side = training.plan.code, training.side
    n_dead, shares = None, None
    if network.is_sparse:
        with one_thread(rows.device):
            n_dead = len(dead_units(network, rows.sample(N_SAMPLE)[0]))
    if plan.is_ordered:
        with compute(training.run.work, rows.device), torch.no_grad():
            shares = _explained_by_each(rows, side, network)
    code = _learn_code_map(training, network, rows)
    variance = _code_variance(rows, network) if plan.measures_variance else None
    return Learnt(Model(side, network, code), n_dead, shares, variance)


def _code_variance(rows: Rows, network: Autoencoder) -> NDArray[np.float64]:
    """Return the variance of each component over some rows."""
    with one_thread(rows.device), torch.no_grad():
        sample, weights = rows.sample(N_SAMPLE)
        return _weighted_variance(network.encode(sample), weights)


def _learn_code_map(training: Training, network: Autoencoder, rows: Rows) -> CodeMap:
    """Learn the map from the network's codes to features, and their prior."""
    plan = training.plan.code
    code = CodeMap(plan.features)
    if plan.mixes_prior:
        assert isinstance(network, VariationalNetwork)
        objective = training.run.step.objective
        prior = learn_prior(network, objective, rows, training.held_out)
        return replace(code, prior=prior)
    if plan.whiten:
        encode = network.sparse if plan.features == "sparse" else network.encode
        with one_thread(rows.device), torch.no_grad():
            whitening = learn_code_whitening(rows, encode, max(network.widths))
        return CodeMap(plan.features, whitening.to(rows.device))
    if plan.n_columns is not None:
        with one_thread(rows.device), torch.no_grad():
            # Cells are not divided: they have the scale that a linear model needs.
            select = (
                network.stack if plan.features == "spread" else code.select(network)
            )
            sample, weights = rows.sample(N_SAMPLE)
            scale = _scale(select(sample), weights, plan.n_columns)
        return CodeMap(plan.features, scale=scale)
    return code


def _scale(features: Tensor, weights: Tensor | None, n_columns: int) -> float:
    """Return the divisor that gives features the total variance of `n_columns`."""
    variance = _weighted_variance(features, weights).sum()
    return math.sqrt(variance / n_columns) or 1.0


def _weighted_variance(values: Tensor, weights: Tensor | None) -> NDArray[np.float64]:
    """Return the variance of each column of values, (n, n_columns)."""
    measured = values.cpu().double().numpy()
    shares = None if weights is None else weights.cpu().numpy()
    mean = np.average(measured, axis=0, weights=shares)
    variance: NDArray[np.float64]
    variance = np.average((measured - mean) ** 2, axis=0, weights=shares)
    return variance


def _explained_by_each(
    rows: Rows, side: Side, network: Autoencoder
) -> NDArray[np.float64]:
    sample, weights = rows.sample(_N_ORDERED)
    return explained_by_each(
        network.encode(sample),
        lambda code: side.decoded(network.decode(code)),
        rows.sample_standardised(_N_ORDERED),
        weights,
    )
