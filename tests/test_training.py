"""The training engine: batches, seeds, threads, devices, stopping."""

import threading

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone

from skautoenc import AutoencoderTransformer
from skautoenc._training.batches import Batches
from skautoenc._training.resources import compute, resolve_device
from skautoenc._training.schedule import SCHEDULES

CPU = torch.device("cpu")


def fit_bytes(X, **parameters):
    estimator = AutoencoderTransformer(random_state=3, **parameters).fit(X)
    return estimator.transform(X).tobytes()


NOISY = {
    "n_components": 16,
    "dropout": 0.1,
    "corruption_rate": 0.1,
    "normalization": "batch",
    "max_iter": 3,
}


@pytest.mark.parametrize("parameters", [{"max_iter": 3}, NOISY], ids=["default", "all"])
@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_equal_seeds_give_equal_bytes(train_rows, parameters, backend, n_jobs):
    expected = fit_bytes(train_rows, **parameters)
    results = Parallel(n_jobs=n_jobs, backend=backend)(
        delayed(fit_bytes)(train_rows, **parameters) for _ in range(4)
    )
    assert set(results) == {expected}


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_the_number_of_threads_does_not_change_the_bytes(normalization):
    X = np.random.default_rng(0).normal(size=(600, 700))
    parameters = {
        "n_components": 200,
        "hidden_layer_sizes": (600,),
        "batch_size": 200,
        "max_iter": 1,
        "normalization": normalization,
    }
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = fit_bytes(X, **parameters)
        torch.set_num_threads(2)
        two = fit_bytes(X, **parameters)
    finally:
        torch.set_num_threads(before)
    assert one == two


@pytest.mark.parametrize(
    "change",
    [
        {"corruption_rate": 0.3},
        {"corruption_rate": 0.3, "corruption": "gaussian"},
        {"corruption_rate": 0.3, "corruption": "salt_and_pepper"},
        {"corruption_rate": 0.3, "corruption": "swap"},
        {"dropout": 0.3},
        {"alpha": 0.1},
        {"learning_rate": "constant"},
        {"max_grad_norm": 1e-3, "solver": "sgd"},
        {"momentum": 0.5, "solver": "sgd"},
        {"shuffle": False},
        {"normalization": "batch"},
        {"normalization": "layer"},
        {"linear_skip": False},
        {"tied_weights": True},
        {"batch_size": 64},
    ],
    ids=str,
)
def test_every_knob_changes_the_weights(train_rows, change):
    base = {"n_components": 8, "max_iter": 2}
    base |= {name: change[name] for name in ("solver",) if name in change}
    assert fit_bytes(train_rows, **base) != fit_bytes(
        train_rows,
        **base,
        **{name: value for name, value in change.items() if name != "solver"},
    )


def test_weight_decay_shrinks_and_clipping_slows(train_rows):
    def size(**parameters):
        estimator = AutoencoderTransformer(
            8, hidden_layer_sizes=(), max_iter=5, random_state=0, **parameters
        ).fit(train_rows)
        return float(estimator.network_.encoder[0].weight.detach().norm())

    assert size(alpha=1.0) < 0.95 * size()
    start = size(learning_rate_init=1e-12)
    clipped = size(solver="sgd", max_grad_norm=1e-6)
    assert abs(clipped - start) < 1e-3 < abs(size(solver="sgd") - start)


def test_corruption_hides_inputs_but_not_targets(train_rows):
    noisy = AutoencoderTransformer(
        random_state=0, max_iter=20, corruption_rate=0.5
    ).fit(train_rows)
    plain = AutoencoderTransformer(random_state=0, max_iter=20).fit(train_rows)
    hidden = np.random.default_rng(0).random(train_rows.shape) < 0.5
    masked = np.where(hidden, train_rows.mean(axis=0), train_rows)

    def error(estimator):
        restored = estimator.inverse_transform(estimator.transform(masked))
        return ((restored - train_rows) ** 2).mean()

    assert error(noisy) < 0.8 * error(plain)


def test_different_seeds_give_different_weights(train_rows):
    first, second = (
        AutoencoderTransformer(8, max_iter=1, random_state=seed).fit_transform(
            train_rows
        )
        for seed in (0, 1)
    )
    assert not np.allclose(first, second)


def test_fit_leaves_global_state_as_it_found_it(train_rows):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    estimator = AutoencoderTransformer(random_state=0, **NOISY).fit(train_rows)
    estimator.inverse_transform(estimator.transform(train_rows))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_global_settings_of_the_user_do_not_reach_the_fit(train_rows):
    expected = fit_bytes(train_rows, **NOISY)
    try:
        torch.set_default_dtype(torch.float64)
        with torch.inference_mode(), torch.device("meta"):
            assert fit_bytes(train_rows, **NOISY) == expected
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            assert fit_bytes(train_rows, **NOISY) == expected
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("n_samples", "batch_size"), [(10, 3), (128, 128), (129, 128), (257, 128), (5, 128)]
)
@pytest.mark.parametrize("n_rows", [1, 7, 200, 1000])
def test_batches_cover_all_rows_and_none_is_small(n_samples, batch_size, n_rows):
    batches = Batches(
        n_samples, batch_size, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    for _ in range(2):
        groups = list(batches.in_groups(n_rows))
        assert sorted(np.concatenate([g for g, _ in groups])) == list(range(n_samples))
        assert [sum(sizes) for _, sizes in groups] == [len(g) for g, _ in groups]
        sizes = [size for _, sizes in groups for size in sizes]
        assert len(sizes) == batches.number
        assert min(sizes) >= min(batch_size, n_samples)
        assert max(sizes) - min(sizes) <= 1
        # A group holds as many batches as fit, and at least one.
        assert all(len(s) == 1 or sum(s) <= n_rows for _, s in groups)


def draw_order(batches):
    return [row for group, _ in batches.in_groups(20) for row in group.tolist()]


def test_shuffling_draws_a_new_order_each_epoch():
    shuffled = Batches(50, 10, shuffle=True, generator=torch.Generator().manual_seed(0))
    assert draw_order(shuffled) != draw_order(shuffled)
    fixed = Batches(50, 10, shuffle=False, generator=torch.Generator())
    assert draw_order(fixed) == list(range(50))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_are_shares_of_the_fit(name):
    schedule = SCHEDULES[name]
    factors = [schedule(progress) for progress in np.linspace(0, 1, 11)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(1 if name == "constant" else 0)


def test_small_work_gets_one_thread_and_puts_the_others_back():
    before = torch.get_num_threads()
    with compute(1e3, CPU):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_large_work_shares_the_threads_with_other_fits():
    seen = []
    inside, done = threading.Event(), threading.Event()

    def first():
        with compute(1e12, CPU):
            inside.set()
            done.wait(10)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        other = threading.Thread(target=first)
        other.start()
        inside.wait(10)
        with compute(1e12, CPU):
            seen.append(torch.get_num_threads())
        done.set()
        other.join()
        with compute(1e12, CPU):
            seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 4]


def test_fits_in_threads_leave_the_number_of_threads(train_rows):
    before = torch.get_num_threads()
    seen = []
    try:
        torch.set_num_threads(2)
        Parallel(n_jobs=4, backend="threading")(
            delayed(fit_bytes)(train_rows, max_iter=1) for _ in range(8)
        )
        new = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        new.start()
        new.join()
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2]


def test_nested_work_keeps_the_threads_of_the_outer():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with compute(1e3, CPU):
            with compute(1e12, CPU):
                pass
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_auto_device_is_the_cpu_for_small_work():
    assert resolve_device("auto", 1e6) == torch.device("cpu")


@pytest.mark.parametrize("has_memory", [True, False])
def test_rows_that_stay_on_a_device_are_those_that_are_loaded(has_memory, monkeypatch):
    """The CPU takes the place of the accelerator."""
    X = np.random.default_rng(0).random((1500, 800), dtype=np.float32)
    estimator = AutoencoderTransformer(
        4, hidden_layer_sizes=(16,), early_stopping=True, random_state=0
    ).set_params(max_iter=3)
    loaded = clone(estimator).fit(X)
    joined, join = [], torch.cat

    def cat(tensors, *arguments, **others):
        if len(tensors) > 1 and tensors[0].shape[1:] == (800,):
            joined.append(sum(map(len, tensors)))
            if not has_memory:
                raise torch.OutOfMemoryError
        return join(tensors, *arguments, **others)

    monkeypatch.setattr("skautoenc._data.rows._most_kept", lambda device: 2**27)
    monkeypatch.setattr(torch, "cat", cat)
    kept = clone(estimator).fit(X)
    assert set(joined) == {1350}  # Without the rows held out, which are few.
    monkeypatch.undo()
    np.testing.assert_array_equal(kept.transform(X), loaded.transform(X))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "nonsense"])
def test_a_missing_device_is_refused_by_name(train_rows, device):
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used"):
        AutoencoderTransformer(8, device=device).fit(train_rows)


def test_the_names_of_gpus_are_given_for_one_that_torch_does_not_know(train_rows):
    with pytest.raises(ValueError, match="torch calls a GPU 'cuda', 'mps' or 'xpu'"):
        AutoencoderTransformer(8, device="gpu").fit(train_rows)


@pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="there is no accelerator here"
)
def test_accelerator_gives_the_codes_of_the_cpu(train_rows):
    accelerator = torch.accelerator.current_accelerator()
    codes = [
        AutoencoderTransformer(8, random_state=0, max_iter=1, device=device)
        .fit(train_rows)
        .transform(train_rows)
        for device in ("cpu", accelerator)
    ]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-3)


def test_stops_when_the_loss_no_longer_improves(train_rows):
    estimator = AutoencoderTransformer(
        8, max_iter=50, tol=10.0, n_iter_no_change=4, random_state=0
    ).fit(train_rows)
    # The first epoch always counts as an improvement.
    assert estimator.n_iter_ == 5
