"""The closed-form step agrees with autograd and torch's own optimizers."""

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from skautoenc import AutoencoderTransformer, VariationalAutoencoder
from skautoenc._networks import gradients
from skautoenc._networks.convolutional import ConvolutionalAutoencoder
from skautoenc._networks.dense import DenseAutoencoder
from skautoenc._networks.gradients import closed_form_gradients
from skautoenc._networks.layers import ACTIVATIONS
from skautoenc._networks.variational import DenseVariationalAutoencoder
from skautoenc._objectives import objectives, variational
from skautoenc._objectives.likelihoods import LIKELIHOODS
from skautoenc._objectives.losses import LOSSES, SquaredError
from skautoenc._objectives.objectives import ReconstructionObjective
from skautoenc._objectives.variational import VariationalObjective
from skautoenc._training import optimizers
from skautoenc._training.fitting import train_alone, training_strategy
from skautoenc._training.joint import joint_key
from skautoenc._training.optimizers import Solver, make_optimizer
from skautoenc._training.step import Step

GENERATOR = torch.Generator()


def make_network(**parameters):
    network = DenseAutoencoder(
        **{
            "n_features": 12,
            "n_components": 5,
            "hidden_layer_sizes": (9, 7),
            "activation": "silu",
            "sparsity": None,
            "sparsity_rate": 0.3,
            "sparsity_penalty": 0.1,
            "tied_weights": False,
            "linear_skip": True,
            "normalization": None,
            "dropout": 0.0,
            **parameters,
        }
    )
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, network.widths[0], generator=generator)
    network.initialise(generator, rows, None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.train()


def make_adam(network, alpha=0.0, solver="adam", momentum=0.9):
    return make_optimizer(network, Solver(solver, 0.01, momentum, alpha, None), 0.01)


SHAPES = [
    {"sparsity": sparsity, "tied_weights": tied, "hidden_layer_sizes": hidden}
    for sparsity, tied, hidden in itertools.product(
        [None, "lifetime", "topk", "batch_topk"], [False, True], [(), (9,), (9, 7)]
    )
] + [{"activation": activation} for activation in sorted(ACTIVATIONS)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("corrupted", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_gradients_are_those_of_autograd(shape, weighted, corrupted):
    network = make_network(**shape)
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(30, 12, generator=generator)
    source = target + 0.3 * torch.randn(30, 12, generator=generator)
    source = source if corrupted else target
    sample_weight = torch.rand(30, generator=generator) if weighted else None
    objective = ReconstructionObjective(
        SquaredError(torch.zeros(12), 1.0), corruption=lambda batch, _: source
    )
    loss = objective(other, target, target, sample_weight, GENERATOR)
    loss.backward()
    make_adam(network)
    for parameter in network.parameters():
        parameter.grad.fill_(7.0)  # What an earlier step has left.
    with torch.no_grad():
        found = closed_form_gradients([network])(source, target, sample_weight)
    torch.testing.assert_close(found, loss.detach())
    for (name, parameter), (_, expected) in zip(
        network.named_parameters(), other.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            parameter.grad, expected.grad, msg=lambda m, name=name: f"{name}: {m}"
        )
    for buffer, expected in zip(network.buffers(), other.buffers(), strict=True):
        assert torch.equal(buffer, expected)


BOUNDS = [
    {"likelihood": "gaussian", "n_dispersions": 1},
    {"likelihood": "gaussian", "n_dispersions": 12},
    {"likelihood": "gaussian", "n_dispersions": 12, "varies": True},
    {"likelihood": "bernoulli"},
    {"likelihood": "poisson"},
    {"likelihood": "poisson", "has_offset": True},
    {"likelihood": "negative_binomial", "n_dispersions": 12},
    {"likelihood": "negative_binomial", "n_dispersions": 12, "has_offset": True},
]


def make_bound(hidden_layer_sizes=(9, 7), linear_skip=True, kl_weight=0.7, **given):
    """Return a variational network, with rows for it and its objective."""
    config = {"n_dispersions": 0, "varies": False, "has_offset": False, **given}
    generator = torch.Generator().manual_seed(0)
    network = DenseVariationalAutoencoder(
        n_features=12,
        n_components=5,
        hidden_layer_sizes=hidden_layer_sizes,
        activation="silu",
        linear_skip=linear_skip,
        **config,
    )
    network.initialise(generator, torch.zeros(1, 12), None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        # Beyond the limits of logarithms, where gradients are zero.
        network.encoder[-1].bias[6] = 20
        network.decoder[-1].bias[-1] = 20 if config["varies"] else 0
    network.floor.fill_(0.01)
    rows = torch.poisson(torch.full((30, 12), 2.0), generator=generator)
    if config["likelihood"] == "bernoulli":
        rows = rows.clamp(max=1)
    mean, scale = rows.mean(dim=0), float(rows.std(dim=0).mean())
    kind = LIKELIHOODS[config["likelihood"]]
    loss = LOSSES[kind.loss_name](mean, scale)
    likelihood = kind(loss, scale, has_offset=config["has_offset"])
    objective = VariationalObjective(likelihood, kl_weight=kl_weight)
    return network.train(), (rows - mean) / scale, objective


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (9, 7)])
@pytest.mark.parametrize("linear_skip", [False, True])
@pytest.mark.parametrize("config", BOUNDS, ids=repr)
def test_bounds_have_the_gradients_of_autograd(config, linear_skip, hidden, weighted):
    network, rows, objective = make_bound(hidden, linear_skip, **config)
    other = copy.deepcopy(network)
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    sample_weight = torch.rand(30, generator=GENERATOR) if weighted else None
    loss = objective(other, rows, rows, sample_weight, generators[0])
    loss.backward()
    make_adam(network)
    for parameter in network.parameters():
        parameter.grad.fill_(7.0)  # What an earlier step has left.
    gradients = objective.closed_form([network], generators[1])
    with torch.no_grad():
        found = gradients(rows, rows, sample_weight)
    torch.testing.assert_close(found, loss.detach())
    for (name, parameter), (_, expected) in zip(
        network.named_parameters(), other.named_parameters(), strict=True
    ):
        gradient = expected.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        torch.testing.assert_close(
            parameter.grad,
            gradient,
            rtol=1e-4,
            atol=1e-4,
            msg=lambda m, name=name: f"{name}: {m}",
        )


@pytest.mark.parametrize("fault", [AttributeError, None])
def test_bounds_whose_kernels_changed_are_left_to_autograd(monkeypatch, fault):
    def other(gradient, inputs, outputs):
        if fault is not None:
            raise fault("no such kernel")
        return 2 * gradient

    network, _, objective = make_bound(likelihood="gaussian", n_dispersions=1)
    make_adam(network)
    monkeypatch.setitem(gradients._DERIVATIVES, "silu", other)
    variational._agrees_with_autograd.cache_clear()
    try:
        assert objective.closed_form([network], GENERATOR) is None
    finally:
        monkeypatch.undo()
        variational._agrees_with_autograd.cache_clear()
    assert objective.closed_form([network], GENERATOR) is not None


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "negative_binomial"])
def test_a_whole_variational_fit_is_the_same(train_rows, monkeypatch, likelihood):
    X = train_rows if likelihood == "gaussian" else np.round(3 * abs(train_rows))
    X = np.minimum(X, 1) if likelihood == "bernoulli" else X

    def fit():
        estimator = VariationalAutoencoder(
            4, likelihood=likelihood, max_iter=3, random_state=0
        )
        return estimator.fit(X)

    fast = fit()
    monkeypatch.setattr(VariationalObjective, "closed_form", lambda *arguments: None)
    slow = fit()
    np.testing.assert_allclose(fast.loss_curve_, slow.loss_curve_, rtol=1e-3)


@pytest.mark.parametrize("fault", ["changed", "gone"])
def test_kernels_that_changed_are_left_to_autograd(monkeypatch, train_rows, fault):
    def fit():
        return AutoencoderTransformer(4, max_iter=2, random_state=0).fit(train_rows)

    def gone(gradient, inputs, outputs):
        raise AttributeError("no such kernel")

    expected = fit().transform(train_rows)
    derivative = gone if fault == "gone" else lambda g, x, y: 2 * g
    monkeypatch.setitem(gradients._DERIVATIVES, "silu", derivative)
    gradients._agrees_with_autograd.cache_clear()
    try:
        found = fit().transform(train_rows)
    finally:
        gradients._agrees_with_autograd.cache_clear()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "shape",
    [
        {"normalization": "layer"},
        {"dropout": 0.1},
        {"sparsity": "l1"},
        {"sparsity": "kl"},
    ],
    ids=repr,
)
def test_other_networks_are_left_to_autograd(shape):
    network = make_network(**shape)
    make_adam(network)
    assert closed_form_gradients([network]) is None


def test_convolutions_are_left_to_autograd():
    network = ConvolutionalAutoencoder(
        image_shape=(4, 4, 1),
        n_components=2,
        hidden_channels=(3,),
        kernel_size=3,
        activation="relu",
        linear_skip=True,
        normalization=None,
    )
    assert closed_form_gradients([network]) is None


@pytest.mark.parametrize(
    "parameters",
    [{"ordered": True}, {"contractive_penalty": 0.1}, {"corruption_weight": 2.0}],
    ids=repr,
)
def test_other_objectives_are_left_to_autograd(parameters):
    loss = SquaredError(torch.zeros(12), 1.0)
    assert not ReconstructionObjective(loss, **parameters).is_squared_error
    assert ReconstructionObjective(loss).is_squared_error


@pytest.mark.parametrize("parameters", [{}, {"n_components": 4}], ids=repr)
def test_a_whole_fit_is_the_same(train_rows, monkeypatch, parameters):
    def fit():
        estimator = AutoencoderTransformer(random_state=0, max_iter=3, **parameters)
        return estimator.fit(train_rows)

    fast = fit()
    monkeypatch.setattr(objectives, "closed_form_gradients", lambda networks: None)
    slow = fit()
    np.testing.assert_allclose(fast.loss_curve_, slow.loss_curve_, rtol=1e-4)
    code = slow.transform(train_rows)
    np.testing.assert_allclose(
        fast.transform(train_rows), code, atol=0.01 * np.abs(code).max()
    )


# Steps


def make_step(network, max_grad_norm=None):
    loss = SquaredError(torch.zeros(12), 1.0)
    return Step(
        network,
        ReconstructionObjective(loss),
        make_adam(network),
        max_grad_norm=max_grad_norm,
        generator=GENERATOR,
    )


@torch.no_grad()
def train(step, rows, n_steps=3):
    for _ in range(n_steps):
        step(rows, rows, None)
    return [parameter.clone() for parameter in step.network.parameters()]


@pytest.mark.parametrize("shape", [{}, {"normalization": "layer"}], ids=repr)
def test_a_step_after_relocation_trains_the_network(shape):
    """Holders of views need not be told that parameters are relocated."""
    rows = torch.randn(30, 12, generator=torch.Generator().manual_seed(1))
    step, unmoved = make_step(make_network(**shape)), make_step(make_network(**shape))
    before = train(step, rows)
    train(unmoved, rows)
    version = step.optimizer.version
    with torch.no_grad():
        step.optimizer.relocate(step.optimizer.memory())
    assert step.optimizer.version > version
    for old, found, expected in zip(
        before, train(step, rows), train(unmoved, rows), strict=True
    ):
        assert not torch.equal(found, old)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
@pytest.mark.parametrize("shape", [{}, {"normalization": "layer"}], ids=repr)
def test_averaged_gradients_train_two_networks_as_one(shape, max_grad_norm):
    """Each process has half of the rows; clipping uses the mean gradient."""
    rows = torch.randn(30, 12, generator=torch.Generator().manual_seed(1))
    one = make_step(make_network(**shape), max_grad_norm)
    barrier, given = threading.Barrier(2, timeout=60), [None, None]

    def make_half(number):
        def reduce(loss):
            gradients = step.optimizer.gradients
            given[number] = [gradient.clone() for gradient in gradients]
            barrier.wait()
            for gradient, *both in zip(gradients, *given, strict=True):
                gradient.copy_(sum(both) / 2)
            barrier.wait()
            return loss

        step = make_step(make_network(**shape), max_grad_norm)
        step.reduce = reduce
        return step

    halves = [make_half(0), make_half(1)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(train, halves, rows.split(15))
    for a, b, expected in zip(first, second, train(one, rows), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, expected, rtol=1e-3, atol=1e-4)


def test_a_step_that_reduces_is_trained_alone(train_rows):
    keys = []

    def spy(fit):
        keys.append(joint_key(fit.run))
        fit.run.step.reduce = lambda loss: loss
        keys.append(joint_key(fit.run))
        train_alone(fit)

    token = training_strategy.set(spy)
    try:
        AutoencoderTransformer(4, max_iter=1).fit(train_rows)
    finally:
        training_strategy.reset(token)
    assert keys[0] is not None
    assert keys[1] is None


# Optimisers


def random_gradients(network, generator):
    for parameter in network.parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            parameter.grad.copy_(gradient)


@pytest.mark.parametrize("fault", [None, AttributeError, TypeError, RuntimeError])
def test_the_private_function_of_torch_is_tried_out(monkeypatch, fault):
    def other(*arguments, **others):
        if fault is not None:
            raise fault("another version of torch")

    monkeypatch.setattr(torch, "_fused_adamw_", other)
    optimizers._has_fused_adamw.cache_clear()
    try:
        assert not optimizers._has_fused_adamw()
    finally:
        optimizers._has_fused_adamw.cache_clear()


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_updates_are_those_of_torch(monkeypatch, private, alpha, solver, momentum):
    assert optimizers._has_fused_adamw()  # As it is in the version of constraints.txt.
    if not private:
        monkeypatch.setattr(optimizers, "_has_fused_adamw", lambda: False)
    network = make_network()
    other = copy.deepcopy(network)
    ours = make_adam(network, alpha, solver, momentum)
    groups = [
        {"params": [p for p in other.parameters() if p.ndim > 1]},
        {"params": [p for p in other.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    theirs = (
        torch.optim.AdamW(groups, lr=0.01, weight_decay=alpha)
        if solver == "adam"
        else torch.optim.SGD(
            groups, 0.01, momentum, weight_decay=alpha, nesterov=momentum > 0
        )
    )
    streams = [torch.Generator().manual_seed(0) for _ in range(2)]
    for number in range(5):
        if number == 3:
            ours.learning_rate = theirs.param_groups[0]["lr"] = 0.001
            theirs.param_groups[1]["lr"] = 0.001
        random_gradients(network, streams[0])
        random_gradients(other, streams[1])
        with torch.no_grad():
            ours.step()
        theirs.step()
    for parameter, expected in zip(
        network.parameters(), other.parameters(), strict=True
    ):
        torch.testing.assert_close(parameter, expected)


def test_no_fused_function_is_noticed(monkeypatch):
    optimizers._has_fused_adamw.cache_clear()
    monkeypatch.delattr(torch, "_fused_adamw_")
    assert not optimizers._has_fused_adamw()
    optimizers._has_fused_adamw.cache_clear()


def test_parameters_stay_what_they_are():
    module = nn.Module()
    module.is_movable = True
    module.weight = nn.Parameter(torch.rand(3, 2, 3, 3))
    module.weight.data = module.weight.data.to(memory_format=torch.channels_last)
    module.bias = nn.Parameter(torch.rand(5, 3).t())
    module.fixed = nn.Parameter(torch.rand(2), requires_grad=False)
    before = {k: (p.clone(), p.stride()) for k, p in module.named_parameters()}
    make_adam(module)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.stride() == before[name][1]
    assert module.fixed.grad is None
    assert module.weight.grad.stride() == module.weight.stride()


def test_gradients_are_clipped_by_their_total_norm():
    network = make_network()
    other = copy.deepcopy(network)
    optimizer = make_adam(network, alpha=0.1)
    streams = [torch.Generator().manual_seed(0) for _ in range(2)]
    random_gradients(network, streams[0])
    random_gradients(other, streams[1])
    optimizer.clip_gradients(0.5)
    nn.utils.clip_grad_norm_(other.parameters(), 0.5)
    for parameter, expected in zip(
        network.parameters(), other.parameters(), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_states_go_on(train_rows):
    """A stream that changes its weight decay half-way keeps its moments."""
    network = make_network()
    first = make_adam(network)
    random_gradients(network, torch.Generator().manual_seed(0))
    with torch.no_grad():
        first.step()
    state = first.state()
    second = make_adam(network, alpha=0.1)
    second.load(state)
    for parameter in network.parameters():
        for ours, theirs in zip(
            second.moments(parameter), first.moments(parameter), strict=True
        ):
            assert torch.equal(ours, theirs)
            assert ours.any()
    assert second.state()["n_steps"] == 1


class TiedByMemory(nn.Module):
    """Two parameters, or a parameter and a view of it, in one block of memory."""

    def __init__(self, n_features, n_components, *, keeps_view):
        super().__init__()
        self.inward = nn.Linear(n_features, n_components)
        self.outward = nn.Linear(n_components, n_features)
        if keeps_view:
            del self.outward.weight
            self.outward.weight = self.inward.weight.data.t()
        else:
            self.outward.weight = nn.Parameter(self.inward.weight.t())

    def encode(self, x):
        return self.inward(x)

    def decode(self, code):
        return self.outward(code)


def tied_parameters(n_features, n_components):
    return TiedByMemory(n_features, n_components, keeps_view=False)


def tied_to_a_view(n_features, n_components):
    return TiedByMemory(n_features, n_components, keeps_view=True)


@pytest.mark.parametrize("network", [tied_parameters, tied_to_a_view])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_weights_tied_by_memory_stay_tied(train_rows, network, solver, alpha):
    estimator = AutoencoderTransformer(
        4, network=network, max_iter=5, solver=solver, alpha=alpha, random_state=0
    ).fit(train_rows)
    module = estimator.network_.module
    assert torch.equal(module.inward.weight, module.outward.weight.t())
    again = copy.deepcopy(estimator)
    np.testing.assert_array_equal(
        again.transform(train_rows), estimator.transform(train_rows)
    )
    assert again.score(train_rows) == pytest.approx(estimator.score(train_rows))


def complex_network(n_features, n_components):
    module = TiedByMemory(n_features, n_components, keeps_view=False)
    module.extra = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    return module


def test_complex_parameters_are_refused(train_rows):
    with pytest.raises(ValueError, match="has complex parameters"):
        AutoencoderTransformer(4, network=complex_network).fit(train_rows)


def test_loss_of_a_large_batch_is_exact():
    """A sum of many squares, kept far below `tol`."""
    network = make_network(n_features=100)
    make_adam(network)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60_000, 100, generator=generator)
    with torch.no_grad():
        found = closed_form_gradients([network])(rows, rows, None)
        expected = (network(rows) - rows).double().square().mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


class InPlace(nn.Module):
    """Changes the rows that it gets."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.inward = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)

    def encode(self, x):
        return self.inward(x.sub_(0.05))


def test_rows_stay_when_a_network_works_in_place(train_rows):
    estimator = AutoencoderTransformer(
        4, network=InPlace, max_iter=20, early_stopping=True, random_state=0
    ).fit(train_rows)
    assert estimator.validation_scores_[-1] > estimator.validation_scores_[0]


def test_rules_learn_from_every_batch(train_rows):
    """Also after evaluation mode for the held-out rows."""
    estimator = AutoencoderTransformer(
        80, early_stopping=True, max_iter=3, batch_size=100, random_state=0
    ).fit(train_rows)
    per_epoch = int(len(train_rows) * 0.9) // 100
    best = int(np.argmax(estimator.validation_scores_)) + 1
    assert int(estimator.network_.sparsity.n_batches) == best * per_epoch


def test_thresholds_go_back_with_the_weights(train_rows):
    estimator = AutoencoderTransformer(
        80,
        early_stopping=True,
        learning_rate="constant",
        learning_rate_init=0.05,
        n_iter_no_change=3,
        max_iter=100,
        batch_size=100,
        random_state=0,
    ).fit(train_rows)
    per_epoch = int(len(train_rows) * 0.9) // 100
    best = int(np.argmax(estimator.validation_scores_)) + 1
    assert best < estimator.n_iter_
    assert int(estimator.network_.sparsity.n_batches) == best * per_epoch


def test_the_learning_rate_falls_within_an_epoch(train_rows, monkeypatch):
    rates = []
    update = optimizers.Adam.update

    def spy(optimizer, args):
        rates.append(optimizer.learning_rate)
        update(optimizer, args)

    monkeypatch.setattr(optimizers.Adam, "update", spy)
    AutoencoderTransformer(
        4, max_iter=1, batch_size=100, learning_rate="linear", learning_rate_init=1e-3
    ).fit(train_rows)
    np.testing.assert_allclose(
        rates, 1e-3 * (1 - np.arange(len(rates)) / len(rates)), rtol=1e-6
    )
    assert len(rates) > 3


@pytest.mark.parametrize("network", [None, tied_parameters])
def test_a_fitted_network_holds_no_gradients(train_rows, network):
    estimator = AutoencoderTransformer(4, network=network, max_iter=1)
    for train in (estimator.fit, estimator.partial_fit, estimator.partial_fit):
        train(train_rows)
        assert all(p.grad is None for p in estimator.network_.parameters())
