"""Closed-form gradients of the network for tables agree with autograd."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from skautoenc import TabularAutoencoderTransformer
from skautoenc._networks import gradients, tabular_gradients
from skautoenc._networks.layers import bind_generator
from skautoenc._networks.tabular import TabularAutoencoder
from skautoenc._objectives import tabular
from skautoenc._objectives.distributions import BinnedNumbers, DistributionObjective
from skautoenc._objectives.losses import LOSSES, SquaredError
from skautoenc._objectives.softmaxes import Softmaxes
from skautoenc._objectives.tabular import TabularObjective
from skautoenc._objectives.tabular_gradients import TabularBackward
from skautoenc._training.optimizers import Solver, make_optimizer
from skautoenc._training.run import Run

CPU = torch.device("cpu")
N_ROWS = 40
# Three numbers, one more that is not decoded, and categories: with codes for rare
# values, with one level, and with none.
DEFAULTS = {
    "n_numbers": 3,
    "n_extras": 1,
    "n_codes": (4, 2, 1, 6, 0),
    "n_levels": (3, 2, 1, 6, 0),
    "n_components": 7,
    "hidden_layer_sizes": (9, 8),
    "activation": "silu",
    "dropout": 0.3,
    "number_encoding": "piecewise_linear",
}
BINS = (4, 1, 12)
CASES = {
    "default": {},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "one hidden layer": {"hidden_layer_sizes": (9,), "dropout": 0.0},
    "no encoding": {"number_encoding": None, "activation": "tanh"},
    "periodic": {"number_encoding": "periodic", "activation": "logistic"},
    "periodic, no hidden layer": {
        "number_encoding": "periodic",
        "hidden_layer_sizes": (),
    },
    "numbers only": {"n_codes": (), "n_levels": (), "n_extras": 0},
    "categories only": {"n_numbers": 0, "n_extras": 0},
    "categories, periodic": {
        "n_numbers": 0,
        "n_extras": 0,
        "number_encoding": "periodic",
    },
    "many codes": {"n_codes": (90, 2), "n_levels": (70, 2), "activation": "relu"},
}


def make_network(has_bins, config):
    config = {**DEFAULTS, **config}
    n_bins = BINS if has_bins and config["n_numbers"] else ()
    network = TabularAutoencoder(
        **config,
        n_bins=n_bins,
        bin_centers=tuple(np.linspace(-5, 5, sum(n_bins)).tolist()),
    )
    generator = torch.Generator().manual_seed(0)
    rows = make_rows(network, generator)
    network.initialise(generator, rows, None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        if n_bins:
            # Beyond the limits of means and of sharpness, where gradients are zero.
            network.skip_outward.bias[0] = 30
            network.skip_outward.bias[-1] = 30
    return network.train(), rows


def make_rows(network, generator):
    """Return rows with ties, missing values, rare and unknown categories."""
    rows = network.noise(N_ROWS, generator)
    rows[:, :1] = rows[:, :1].round()
    n_codes = network.config["n_codes"]
    if n_codes:
        rows[3, -len(n_codes) :] = 99
    missing = torch.rand(rows.shape, generator=generator) < 0.2
    missing[5] = True
    return rows.masked_fill(missing, torch.nan)


def make_objective(network, loss="squared_error", **parameters):
    config = network.config
    n_levels, n_bins = config["n_levels"], config.get("n_bins", ())
    n, n_numbers = len(n_levels), config["n_numbers"]
    decoded = list(range(n_numbers))
    extras = [0] * config["n_extras"]
    given = {
        "n_levels": n_levels,
        "deviances": torch.linspace(0.5, 2, n),
        "cells": torch.tensor([*decoded, *extras, *range(n_numbers, n_numbers + n)]),
        "rates": torch.linspace(0.2, 0.7, n_numbers + n),
        "swaps": False,
        "corruption_weight": 30.0,
        "rare_costs": torch.full((n,), torch.nan),
        "unknown_costs": torch.full((n,), torch.nan),
        **parameters,
    }
    error = LOSSES[loss](torch.zeros(0), 1.0)
    if not n_bins:
        return TabularObjective(error, **given)
    edges = [np.linspace(-1, 1, n - 1).tolist() if n > 1 else [] for n in n_bins]
    bins = BinnedNumbers(edges, [0.8, 1.0, 1.3], n_bins, CPU)
    return DistributionObjective(error, bins, weight=0.4, **given)


def by_autograd(network, objective, rows, sample_weight):
    generator = torch.Generator().manual_seed(3)
    bind_generator(network, generator)
    loss = objective(network, rows, rows, sample_weight, generator)
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return [loss.detach(), *found]


def by_closed_form(network, objective, rows, sample_weight):
    generator = torch.Generator().manual_seed(3)
    bind_generator(network, generator)
    make_optimizer(network, Solver("adam", 0.01, 0.9, 0.0, None), 0.01)
    for parameter in network.parameters():
        parameter.grad.fill_(7.0)  # What an earlier step has left.
    closed_form = objective.closed_form([network], generator)
    assert closed_form is not None
    with torch.no_grad():
        prepared, target = closed_form.prepare(rows, rows)
        assert prepared.shape[1] == closed_form.width(rows.shape[1])
        loss = closed_form(prepared, target, sample_weight)
    return [loss, *(parameter.grad for parameter in network.parameters())]


def assert_same_gradients(network, objective, rows, sample_weight=None):
    expected = by_autograd(copy.deepcopy(network), objective, rows, sample_weight)
    found = by_closed_form(network, objective, rows, sample_weight)
    names = ["loss", *dict(network.named_parameters())]
    for name, ours, theirs in zip(names, found, expected, strict=True):
        atol = 1e-5 * max(1.0, float(theirs.abs().max()) if theirs.numel() else 0.0)
        torch.testing.assert_close(
            ours, theirs, rtol=1e-4, atol=atol, msg=lambda m, name=name: f"{name}: {m}"
        )
    # Otherwise all of them could be zero.
    assert sum(bool(gradient.any()) for gradient in found[1:]) >= len(found) // 2


@pytest.mark.parametrize("has_bins", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd(case, has_bins):
    network, rows = make_network(has_bins, CASES[case])
    assert_same_gradients(network, make_objective(network), rows)


@pytest.mark.parametrize("has_bins", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [{"loss": "huber"}, {"swaps": True}, {"corruption_weight": 0.0}],
    ids=repr,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_objectives_have_the_gradients_of_autograd(has_bins, parameters, weighted):
    network, rows = make_network(has_bins, {})
    weights = torch.rand(N_ROWS, generator=torch.Generator().manual_seed(1))
    sample_weight = weights if weighted else None
    objective = make_objective(network, **parameters)
    assert_same_gradients(network, objective, rows, sample_weight)


def test_a_row_without_values_has_no_effect():
    """Whatever its weight, by which a weight of zero would be divided."""
    network, rows = make_network(True, {})
    objective = make_objective(network)
    sample_weight = torch.ones(N_ROWS)
    expected = by_closed_form(network, objective, rows, sample_weight)
    expected = [gradient.clone() for gradient in expected]
    sample_weight[5] = 1e6
    found = by_closed_form(network, objective, rows, sample_weight)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_batches_of_prepared_rows_are_those_of_rows():
    network, rows = make_network(True, {})
    objective = make_objective(network)
    make_optimizer(network, Solver("adam", 0.01, 0.9, 0.0, None), 0.01)
    losses = []
    for together in (True, False):
        generator = torch.Generator().manual_seed(3)
        bind_generator(network, generator)
        closed_form = objective.closed_form([network], generator)
        with torch.no_grad():
            if together:
                parts = zip(
                    *(each.split(10) for each in closed_form.prepare(rows, rows)),
                    strict=True,
                )
            else:
                parts = (closed_form.prepare(part, part) for part in rows.split(10))
            losses.append([float(closed_form(*part, None)) for part in parts])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("counts", [(3,), (2, 30, 1, 7, 29, 0, 3), (5, 5), ()])
def test_softmaxes_are_those_of_each_variable(counts):
    generator = torch.Generator().manual_seed(0)
    softmaxes = Softmaxes(counts, CPU)
    logits = 20 * torch.randn(11, sum(counts), generator=generator)
    weights = torch.rand(11, len(counts), generator=generator)
    codes = torch.stack(
        [torch.randint(max(n, 1), (11,), generator=generator) for n in counts]
        or [torch.zeros(11).long()],
        dim=1,
    )[:, : len(counts)]
    order = softmaxes.order
    cost, slopes = softmaxes.cost_and_slopes(logits, codes[:, order], weights[:, order])
    given = logits.clone().requires_grad_()
    expected = given.sum() * 0
    for number, column in enumerate(given.split(counts or [0], dim=1)):
        if column.shape[1]:
            entropies = torch.nn.functional.cross_entropy(
                column, codes[:, number], reduction="none"
            )
            expected = expected + (entropies * weights[:, number]).sum()
    expected.backward()
    torch.testing.assert_close(cost, expected.detach())
    torch.testing.assert_close(slopes, given.grad)


def make_frame():
    rng = np.random.default_rng(0)
    n = 300
    size = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "size": size,
            "weight": 3 * size + rng.normal(size=n),
            "count": rng.poisson(np.exp(size)),
            "kind": np.where(size > 0.3, "big", "small"),
            "color": rng.choice(list("rgby"), n),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.1)


def fit(**parameters):
    estimator = TabularAutoencoderTransformer(
        max_iter=6, batch_size=60, random_state=0, **parameters
    )
    return estimator.fit(make_frame())


FITS = [{}, {"number_output": "distribution"}, {"corruption": "swap", "loss": "huber"}]


@pytest.mark.parametrize("parameters", FITS, ids=repr)
def test_a_whole_fit_is_the_same(monkeypatch, parameters):
    fast = fit(**parameters)
    monkeypatch.setattr(TabularObjective, "closed_form", lambda *arguments: None)
    slow = fit(**parameters)
    np.testing.assert_allclose(fast.loss_curve_, slow.loss_curve_, rtol=1e-3)


def test_a_fit_computes_no_graph(monkeypatch):
    def refuse(*arguments, **others):
        raise AssertionError("autograd is used")

    fit(number_output="distribution")  # Compares with autograd.
    monkeypatch.setattr(DistributionObjective, "__call__", refuse)
    assert fit(number_output="distribution").n_iter_ == 6


@pytest.mark.parametrize("parameters", FITS, ids=repr)
def test_small_tables_are_encoded_once(monkeypatch, parameters):
    counts, prepare = [], TabularBackward.prepare

    def spy(self, rows, target):
        counts.append(len(rows))
        return prepare(self, rows, target)

    monkeypatch.setattr(TabularBackward, "prepare", spy)
    once = fit(**parameters)
    assert counts[-1] == len(make_frame())
    assert len(counts) <= 2  # One is that of the comparison with autograd.
    # As a large table, of which a few batches are encoded at a time.
    monkeypatch.setattr(Run, "n_grouped", 130)
    again = fit(**parameters)
    assert counts[-3:] == [120, 120, 60]
    assert again.loss_curve_ == once.loss_curve_


@pytest.mark.parametrize("fault", ["changed", "gone"])
def test_kernels_that_changed_are_left_to_autograd(monkeypatch, fault):
    def gone(gradient, inputs, outputs):
        raise AttributeError("no such kernel")

    expected = fit().loss_curve_
    derivative = gone if fault == "gone" else lambda g, x, y: 2 * g
    monkeypatch.setitem(gradients._DERIVATIVES, "silu", derivative)
    tabular._agrees_with_autograd.cache_clear()
    try:
        found = fit().loss_curve_
    finally:
        tabular._agrees_with_autograd.cache_clear()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_other_losses_are_left_to_autograd():
    class Cubed(SquaredError):
        has_slopes = False

    network, _ = make_network(False, {})
    objective = make_objective(network)
    objective.loss = Cubed(torch.zeros(0), 1.0)
    assert objective.closed_form([network], torch.Generator()) is None


def test_many_codes_are_summed_by_code():
    few, _ = make_network(False, {})
    many, _ = make_network(False, CASES["many codes"])
    for network in (few, many):
        make_optimizer(network, Solver("adam", 0.01, 0.9, 0.0, None), 0.01)
    assert tabular_gradients.TabularPasses(few).by_ones
    assert not tabular_gradients.TabularPasses(many).by_ones
