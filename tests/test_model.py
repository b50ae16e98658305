"""Plan, learn, Model: random draws of a fit, and the parts of its result."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from skautoenc import (
    AutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._data.rows import Rows
from skautoenc._estimators import base
from skautoenc._model.model import CodeMap
from skautoenc._preparation.whitening import Whitening
from skautoenc._training.seeds import spawn_streams

CPU = torch.device("cpu")
# Parameters without values, and those that show which tensors were moved.
ELSEWHERE = torch.device("meta")
MOST = np.iinfo(np.int32).max


@pytest.fixture
def X():
    return np.random.default_rng(0).poisson(3, size=(60, 6)).astype(float)


def make_frame(n_rows=60):
    rng = np.random.default_rng(0)
    number = rng.normal(size=n_rows)
    number[3] = np.nan
    return pd.DataFrame({"a": number, "b": rng.choice(["x", "y", "z"], n_rows)})


MATRICES = [
    {},
    {"loss": "huber", "normalize_rows": 0.5, "whiten": "zca"},
    {"loss": "poisson"},
    {"loss": "poisson", "normalize_rows": "total"},
    {"whiten_code": True},
    {"features": "stack", "whiten_code": True},
]


def make_models():
    """Yield models that together have all parts."""
    X = np.random.default_rng(0).poisson(3, size=(60, 6)).astype(float)
    for parameters in MATRICES:
        parameters = dict(parameters)
        yield (
            AutoencoderTransformer(
                2, hidden_layer_sizes=(5,), max_iter=1, random_state=0, **parameters
            )
            .fit(X)
            ._model
        )
    yield (
        TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
        .fit(make_frame())
        ._model
    )


@pytest.fixture(scope="module")
def models():
    return list(make_models())


def tensors(value):
    """Yield all tensors that an object is made of."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("skautoenc"):
        for each in vars(value).values():
            yield from tensors(each)


# Copies on other devices


def test_sides_and_codes_move_as_a_whole(models):
    for model in models:
        for part in (model.side, model.code):
            before = [each.clone() for each in tensors(part)]
            moved = part.to(ELSEWHERE)
            assert type(moved) is type(part)
            assert [each.device for each in tensors(moved)] == [ELSEWHERE] * len(before)
            # Parts that are shared with other threads are not changed.
            assert all(map(torch.equal, tensors(part), before))
        side = model.side
        assert side.to(CPU) is side
        assert side.to(ELSEWHERE).device == ELSEWHERE
        assert side.to(ELSEWHERE).loss.constants == side.loss.constants
    assert sum(1 for model in models for _ in tensors(model.code)) == 6


# Round trips


def test_models_are_what_their_attributes_say(models, X):
    for model in models:
        side, code = model.side, model.code
        attributes = side.attributes() | {"features_": code.features}
        attributes |= code.attributes()
        again = replace(
            model,
            side=type(side).from_attributes(attributes),
            code=CodeMap.from_attributes(attributes),
        )
        assert again.side.loss.constants == side.loss.constants
        assert again.code.scale == code.scale
        for old, new in (side, again.side), (code, again.code):
            assert all(map(torch.equal, tensors(old), tensors(new)))
        width = model.network.widths[0]
        rows = X if width == X.shape[1] else np.zeros((9, width), np.float32)
        for apply in ("encode", "errors"):
            expected = getattr(model, apply)(rows)
            np.testing.assert_array_equal(getattr(again, apply)(rows), expected)
        found = again.decode(again.encode(rows))
        np.testing.assert_array_equal(found, model.decode(model.encode(rows)))


def test_nothing_in_a_model_can_be_set(models, digits):
    patches = PatchAutoencoderTransformer(
        AutoencoderTransformer(2, max_iter=1), patch_size=(4, 4), random_state=0
    )
    models = [*models, patches.fit(digits[0][:20].reshape(-1, 8, 8))._model]
    waiting, n_parts = list(models), 0
    while waiting:
        part = waiting.pop()
        for field in fields(part):
            value = getattr(part, field.name)
            with pytest.raises(AttributeError):
                setattr(part, field.name, value)
            n_parts += 1
            is_ours = type(value).__module__.startswith("skautoenc._model")
            is_ours |= type(value).__module__.startswith("skautoenc._preparation")
            if is_ours and is_dataclass(value):
                waiting.append(value)
    assert n_parts > 40


# Parts that do not fit each other


def wrong_parts(model):
    """Yield models with one part of the size of another network's."""
    width, side = model.n_components, model.side
    square = torch.eye(width + 1)
    whitening = Whitening(square, square, torch.zeros(width + 1))
    yield replace(model, code=replace(model.code, whitening=whitening))
    # One component more, for which nothing else would fail.
    rectangle = torch.zeros(width, width + 1)
    whitening = Whitening(rectangle, torch.eye(width), torch.zeros(width))
    yield replace(model, code=replace(model.code, whitening=whitening))
    if hasattr(side, "mean"):
        yield replace(model, side=replace(side, mean=side.mean[:1]))
        yield replace(model, side=replace(side, mean=side.mean[:-1]))
        mean = np.append(side.mean, 0.0)
        yield replace(model, side=replace(side, mean=mean))
    else:
        other = TabularAutoencoderTransformer(2, max_iter=1).fit(
            make_frame().assign(c=1.0, d="w")
        )
        yield replace(model, side=other._model.side)
        yield replace(model, side=replace(side, deviances=[]))


def test_models_of_parts_that_do_not_fit_are_not_usable(models):
    for model in models:
        model.check_usable()
        for wrong in wrong_parts(model):
            with pytest.raises((ValueError, RuntimeError, IndexError)):
                wrong.check_usable()


# Random draws of a fit


@pytest.fixture
def set_ups(monkeypatch):
    """Runs after their set-up: generators, initial weights, and generator states."""
    found, set_up = [], base.set_up

    def spy(*arguments, **others):
        training = set_up(*arguments, **others)
        run = training.run
        generators = run.generator, run.batches.generator, run.step.generator
        found.append(
            {
                "seeds": [each.initial_seed() for each in generators],
                "states": [each.get_state() for each in generators],
                "weights": [each.clone() for each in run.step.tensors()],
                "run": run,
            }
        )
        return training

    monkeypatch.setattr(base, "set_up", spy)
    return found


def test_a_fit_draws_one_number(X):
    given, expected = np.random.RandomState(0), np.random.RandomState(0)
    AutoencoderTransformer(2, max_iter=1, random_state=given).fit(X)
    expected.randint(MOST)
    assert given.randint(MOST) == expected.randint(MOST)


def test_weights_order_and_noise_have_a_generator_each(set_ups, X):
    AutoencoderTransformer(2, max_iter=2, random_state=3).fit(X)
    seed = np.random.RandomState(3).randint(MOST)
    streams = spawn_streams(seed, CPU)
    expected = [
        each.initial_seed() for each in (streams.weights, streams.order, streams.noise)
    ]
    (found,) = set_ups
    assert found["seeds"] == expected
    # Only weights are drawn before the first epoch.
    has_drawn = [
        not torch.equal(state, torch.Generator().manual_seed(each).get_state())
        for state, each in zip(found["states"], expected, strict=True)
    ]
    assert has_drawn == [True, False, False]


def test_what_the_generators_of_a_seed_are_does_not_change():
    streams = spawn_streams(0, CPU)
    assert [
        each.initial_seed() for each in (streams.weights, streams.order, streams.noise)
    ] == [4334430513956379144, 2440950710608614359, 8226343694796210948]


def test_order_and_noise_do_not_change_the_first_weights(set_ups, X):
    estimator = AutoencoderTransformer(2, max_iter=1, random_state=0, batch_size=20)
    for parameters in ({}, {"shuffle": False}, {"corruption_rate": 0.5}):
        clone(estimator).set_params(**parameters).fit(X)
    first, *others = (each["weights"] for each in set_ups)
    for other in others:
        assert all(map(torch.equal, first, other))


# From the plan to the run


def test_a_plan_reaches_the_run(set_ups, X):
    estimator = AutoencoderTransformer(
        2,
        batch_size=18,
        shuffle=False,
        max_iter=7,
        tol=0.25,
        n_iter_no_change=3,
        max_grad_norm=0.5,
        learning_rate_init=0.125,
        early_stopping=True,
        random_state=0,
    ).fit(X)
    run = set_ups[0]["run"]
    assert not run.batches.shuffle
    assert run.batches.number == 3
    assert run.schedule.max_iter == 7
    assert run.schedule.learning_rate_init == 0.125
    assert run.stopping.tol == 0.25
    assert run.stopping.n_iter_no_change == 3
    assert run.step.max_grad_norm == 0.5
    assert len(run.validation) == 6
    assert len(run.losses) == estimator.n_iter_


def test_a_result_holds_no_more_than_its_weights(X):
    network = AutoencoderTransformer(2, max_iter=1, dropout=0.1).fit(X).network_
    for parameter in network.parameters():
        assert parameter.grad is None
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
    held = [value for module in network.modules() for value in vars(module).values()]
    assert not any(isinstance(value, torch.Generator) for value in held)


def test_blocks_of_very_many_columns_hold_a_row():
    n_columns = 2**20 + 1
    matrix = np.zeros((2, n_columns), dtype=np.float32)
    rows = Rows(matrix, np.zeros(n_columns), 1.0, CPU)
    assert rows.block_size == 1
