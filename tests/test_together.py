"""Joint training of the fits of a search."""

import os
import pickle
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skautoenc import AutoencoderTransformer, ConvAutoencoderTransformer, train_together
from skautoenc._parallel import together as _together
from skautoenc._training import fitting, joint, optimizers
from skautoenc._training.run import Run


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:200].astype(np.float32)


@pytest.fixture
def sizes(monkeypatch):
    """Record the number of runs of each joint run."""
    found = []

    class Spy(fitting.JointRun):
        def __init__(self, runs):
            found.append(len(runs))
            super().__init__(runs)

    monkeypatch.setattr(fitting, "JointRun", Spy)
    return found


def make_estimator(**parameters):
    small = {
        "n_components": 8,
        "hidden_layer_sizes": (12,),
        "max_iter": 4,
        "random_state": 0,
    }
    return AutoencoderTransformer(**{**small, **parameters})


def search(estimator, grid, X, **parameters):
    return GridSearchCV(estimator, grid, cv=4, error_score="raise", **parameters).fit(X)


def scores(search):
    return search.cv_results_["mean_test_score"]


WIDE = {"n_components": 80, "hidden_layer_sizes": ()}
CASES = {
    "plain": ({}, {"learning_rate_init": [0.001, 0.01], "random_state": [0, 1]}),
    "alpha": ({}, {"alpha": [0.0, 0.01, 0.1]}),
    "wide": (WIDE, {"sparsity_rate": [0.1, 0.3]}),
    "topk": ({**WIDE, "sparsity": "topk"}, {"random_state": [0, 1]}),
    "tied": ({"tied_weights": True}, {"corruption_rate": [0.0, 0.2]}),
    "untied": ({"linear_skip": False, "activation": "relu"}, {"max_iter": [2, 5]}),
    "noise": ({"corruption_rate": 0.1}, {"corruption": ["swap", "gaussian"]}),
    "sgd": ({"solver": "sgd", "batch_size": 50}, {"momentum": [0.0, 0.5, 0.9]}),
    "solvers": ({}, {"solver": ["sgd", "adam"], "max_grad_norm": [None, 0.01]}),
    "widths": ({}, {"hidden_layer_sizes": [(9,), (9, 7)], "random_state": [0, 1]}),
    "held out": (
        {"early_stopping": True, "n_iter_no_change": 1, "max_iter": 9},
        {"learning_rate_init": [0.001, 0.3]},
    ),
    "prepared": (
        {"normalize_rows": 0.3, "whiten": "zca"},
        {"whiten_regularization": [0.1, 0.5]},
    ),
    "neighbours": (WIDE, {"n_neighbors": [None, 3]}),
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_separate_fits(rows, sizes, case):
    parameters, grid = CASES[case]
    estimator = make_estimator(**parameters)
    alone = search(estimator, grid, rows)
    assert not sizes
    with train_together():
        together = search(estimator, grid, rows)
    assert max(sizes) >= 4
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)
    assert len(set(scores(alone))) == len(scores(alone))
    assert together.best_params_ == alone.best_params_
    np.testing.assert_array_equal(
        together.best_estimator_.transform(rows), alone.best_estimator_.transform(rows)
    )


def test_estimators_that_are_kept_own_their_memory(rows):
    parameters = {"cv": 4, "return_estimator": True}
    alone = cross_validate(make_estimator(), rows, **parameters)["estimator"]
    with train_together():
        together = cross_validate(make_estimator(), rows, **parameters)["estimator"]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-4)
        memory = {
            p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
            for p in one.network_.parameters()
        }
        n_bytes = 4 * sum(p.numel() for p in one.network_.parameters())
        assert sum(memory.values()) == n_bytes
        assert all(p.grad is None for p in one.network_.parameters())
        again = pickle.loads(pickle.dumps(one))
        np.testing.assert_array_equal(again.transform(rows), one.transform(rows))


def test_without_the_private_function_of_torch(rows, monkeypatch):
    grid = {"learning_rate_init": [0.001, 0.01], "alpha": [0.1]}
    alone = search(make_estimator(), grid, rows, refit=False)
    monkeypatch.setattr(optimizers, "_has_fused_adamw", lambda: False)
    with train_together():
        together = search(make_estimator(), grid, rows, refit=False)
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)


def test_fits_of_different_length_go_on_in_smaller_groups(rows, sizes):
    grid = {"max_iter": [1, 2, 4]}
    with train_together():
        together = search(make_estimator(), grid, rows, refit=False)
    assert sizes == [12, 8, 4]
    alone = search(make_estimator(), grid, rows, refit=False)
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)


def test_weights_of_rows(rows, sizes):
    weights = np.random.default_rng(0).random(len(rows)) + 0.1
    grid = {"n_components": [8, 80], "random_state": [0, 1]}

    def fit():
        found = GridSearchCV(make_estimator(), grid, cv=4, error_score="raise")
        return found.fit(rows, sample_weight=weights)

    alone = fit()
    with train_together():
        together = fit()
    assert sizes == [8, 8]
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(
        StandardScaler(),
        make_union(
            make_estimator(n_components=2), make_estimator(n_components=3), PCA(2)
        ),
        LogisticRegression(),
    )


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_pipelines_and_processes(pipeline, n_jobs):
    X, y = load_iris(return_X_y=True)
    grid = {"logisticregression__C": [0.01, 1.0]}

    def fit():
        return GridSearchCV(pipeline, grid, cv=4, n_jobs=n_jobs).fit(X, y)

    alone = fit()
    with train_together():
        together = fit()
    np.testing.assert_allclose(scores(together), scores(alone), atol=1e-6)


def test_several_autoencoders_in_a_pipeline_train_in_turn(rows, sizes):
    union = make_union(make_estimator(), make_estimator(n_components=3))
    pipeline = make_pipeline(StandardScaler(), union, PCA(2))
    with train_together():
        cross_val_score(pipeline, rows, cv=4)
    assert sizes == [4, 4]


def test_searches_within_searches(rows, sizes):
    inner = RandomizedSearchCV(
        make_estimator(), {"random_state": [0, 1]}, n_iter=2, cv=2, random_state=0
    )
    alone = cross_val_score(inner, rows, cv=4)
    assert not sizes
    with train_together():
        together = cross_val_score(inner, rows, cv=4)
    # Two candidates on two folds and the last fit, for four outer folds at once.
    assert sizes == [4] * 5
    np.testing.assert_allclose(together, alone, rtol=1e-4)


@pytest.mark.parametrize(
    "estimator",
    [
        make_estimator(normalization="batch"),
        make_estimator(dropout=0.1),
        make_estimator(loss="huber"),
        make_estimator(ordered=True),
        make_estimator(n_components=1000),
        ConvAutoencoderTransformer(4, image_shape=(8, 8), max_iter=1, random_state=0),
        PCA(4),
    ],
    ids=lambda estimator: str(estimator)[:40],
)
def test_the_rest_is_trained_alone(rows, sizes, estimator):
    alone = cross_val_score(estimator, rows, cv=3)
    with train_together():
        together = cross_val_score(estimator, rows, cv=3)
    assert not sizes
    np.testing.assert_array_equal(together, alone)


def test_little_waits_where_data_is_large(rows, sizes, monkeypatch):
    n_bytes = 150 * 64 * 4 + 40_000
    monkeypatch.setattr(_together, "_WAITING_BYTES", 4 * n_bytes)
    with train_together():
        cross_val_score(make_estimator(), rows, cv=4)
    assert sizes == [4]
    monkeypatch.setattr(_together, "_WAITING_BYTES", 2.5 * n_bytes)
    with train_together():
        cross_val_score(make_estimator(), rows, cv=4)
    assert sizes == [4, 3]


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_one_that_fails_does_not_stop_the_others(rows, sizes):
    grid = {"learning_rate_init": [0.005, 1e30, 0.01]}
    together = GridSearchCV(make_estimator(), grid, cv=4, refit=False)
    with train_together(), pytest.warns(FitFailedWarning, match="being finite"):
        together.fit(rows)
    assert max(sizes) == 12
    found = scores(together)
    assert np.isnan(found).tolist() == [False, True, False]
    grid = {"learning_rate_init": [0.005, 0.01]}
    alone = scores(search(make_estimator(), grid, rows, refit=False))
    np.testing.assert_allclose(found[[0, 2]], alone, rtol=1e-4)


def test_errors_reach_the_user(rows):
    grid = {"learning_rate_init": [0.005, 1e30]}
    with train_together(), pytest.raises(ValueError, match="stopped being finite"):
        search(make_estimator(), grid, rows)
    with train_together(), pytest.raises(ValueError, match="'alpha' parameter"):
        search(make_estimator(), {"alpha": [0.1, -1]}, rows)
    wait_for_threads()


class AfterEpochs:
    """Runs a function after an epoch of some estimators."""

    def __init__(self, act):
        self.act = act

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            return self.act(estimator, context.task_id)
        return None


def test_callbacks_stop_their_own_fit(rows, sizes):
    def stop(estimator, epoch):
        return estimator.random_state == 1 and epoch == 1

    estimator = make_estimator().set_callbacks(AfterEpochs(stop))
    grid = {"random_state": [0, 1]}
    alone = search(estimator, grid, rows, refit=False)
    with train_together():
        together = search(estimator, grid, rows, refit=False)
    assert sizes == [8, 4]
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)


def test_steps_are_counted_on_when_another_network_leads(rows, sizes):
    def stop(estimator, epoch):
        return estimator.random_state == 0 and epoch == 1

    stops = AfterEpochs(stop)
    fits = [make_estimator(random_state=n, max_iter=6) for n in range(3)]
    fits = [each.set_callbacks(stops) for each in fits]
    alone = [clone(each).set_callbacks(stops).fit(rows).loss_curve_ for each in fits]
    with train_together():
        together = Parallel()(delayed(each.fit)(rows) for each in fits)
    assert sizes == [3, 2]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_callbacks_that_fail_fail_their_own_fit(rows, sizes):
    def fail(estimator, epoch):
        if estimator.random_state == 1 and epoch == 1:
            raise OSError("no room for a log")

    estimator = make_estimator().set_callbacks(AfterEpochs(fail))
    found = GridSearchCV(estimator, {"random_state": [0, 1]}, cv=4, refit=False)
    with train_together(), pytest.warns(FitFailedWarning, match="no room for a log"):
        found.fit(rows)
    assert sizes == [8, 4]
    assert np.isnan(scores(found)).tolist() == [False, True]


def wait_for_threads():
    """Wait until abandoned calls have ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any("_run" in thread.name for thread in threading.enumerate()):
            return
        time.sleep(0.01)
    raise AssertionError("a thread has not ended")


def test_an_interrupt_ends_the_search(rows, monkeypatch):
    def interrupt(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting.JointRun, "advance", interrupt)
    with train_together(), pytest.raises(KeyboardInterrupt):
        cross_val_score(make_estimator(), rows, cv=4)
    wait_for_threads()


def test_verbose_tells_each_epoch(rows, capsys):
    with train_together():
        cross_val_score(make_estimator(verbose=True), rows, cv=3)
    assert capsys.readouterr().out.count("Epoch 4/4") == 3


def test_settings_of_torch_and_warnings_stay(rows):
    filters, threads = list(warnings.filters), torch.get_num_threads()
    with train_together(), torch.inference_mode():
        cross_val_score(make_estimator(), rows, cv=3)
        assert torch.is_inference_mode_enabled()
    assert warnings.filters == filters
    assert torch.get_num_threads() == threads


@pytest.mark.slow  # Starts workers of joblib.
def test_other_parallel_work_still_runs():
    with train_together():
        assert Parallel()(delayed(pow)(2, n) for n in range(600)) == [
            2**n for n in range(600)
        ]
        with pytest.raises(ZeroDivisionError):
            Parallel(n_jobs=2)(delayed(divmod)(1, n) for n in range(3))
        with pytest.raises(ValueError, match="n_jobs == 0"):
            Parallel(n_jobs=0)(delayed(pow)(2, n) for n in range(3))
        with parallel_config(backend="threading", n_jobs=2):
            assert Parallel()(delayed(abs)(n) for n in range(3)) == [0, 1, 2]


def test_memory_is_shared_where_joblib_is_asked_for_it():
    X, y = load_iris(return_X_y=True)
    alone = SGDClassifier(n_jobs=2, random_state=0).fit(X, y).coef_
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    with train_together():
        together = SGDClassifier(n_jobs=2, random_state=0).fit(X, y).coef_
        assert forest.score(X, y) > 0.9
        assert effective_n_jobs(None) == 1
        assert effective_n_jobs(2) == 2
    np.testing.assert_array_equal(together, alone)


def test_calls_may_be_made_while_others_search(rows):
    def lazy():
        for n in range(300):
            if n == 280:
                cross_val_score(make_estimator(max_iter=1), rows, cv=2)
            yield delayed(abs)(n)

    with train_together():
        assert Parallel()(lazy()) == list(range(300))


def test_batch_sizes_are_apart(rows, sizes):
    grid = {"batch_size": [30, 60], "random_state": [0, 1]}
    alone = search(make_estimator(), grid, rows, refit=False)
    with train_together():
        together = search(make_estimator(), grid, rows, refit=False)
    assert sizes == [8, 8]
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-4)


def test_no_more_than_fit_the_cache(rows, sizes, monkeypatch):
    monkeypatch.setattr(joint, "_MAX_GROUP_SIZE", 2)
    with train_together():
        cross_val_score(make_estimator(), rows, cv=5)
    assert sizes == [2, 2]
    monkeypatch.setattr(joint, "_MAX_GROUP_SIZE", 1)
    with train_together():
        cross_val_score(make_estimator(), rows, cv=5)
    assert sizes == [2, 2]


def test_the_last_fit_goes_on_alone(rows, sizes):
    fits = [make_estimator(max_iter=n, random_state=n) for n in (2, 3, 5)]
    alone = [each.fit(rows).loss_curve_ for each in fits]
    with train_together():
        together = Parallel()(delayed(each.fit)(rows) for each in fits)
    assert sizes == [3, 2]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other, rtol=1e-4)


def test_who_goes_on_alone_leaves_the_memory_of_the_group(rows, monkeypatch):
    shares, advance = [], Run.advance

    def spy(run):
        advance(run)
        for values in run.step.optimizer.values:
            shares.append(values.untyped_storage().nbytes() / values.nbytes)

    monkeypatch.setattr(Run, "advance", spy)
    with train_together():
        Parallel()(delayed(make_estimator(max_iter=n).fit)(rows) for n in (2, 2, 2, 4))
    # Weights, gradients and two moments.
    assert shares
    assert set(shares) == {4.0}


class Noisy(AutoencoderTransformer):
    """Stores the warnings of its fit."""

    def fit(self, X, y=None):
        with warnings.catch_warnings(record=True) as log:
            warnings.simplefilter("always")
            super().fit(X)
            warnings.warn(f"seed {self.random_state}", stacklevel=1)
        self.log_ = [str(each.message) for each in log]
        return self


def noisy():
    small = {"hidden_layer_sizes": (12,), "max_iter": 2}
    return [Noisy(8, random_state=seed, **small) for seed in range(4)]


def test_warnings_are_each_fit_s_own(rows):
    with train_together():
        found = Parallel()(delayed(each.fit)(rows) for each in noisy())
    assert [each.log_ for each in found] == [[f"seed {seed}"] for seed in range(4)]


def test_filters_of_calls_that_wait_are_seen_by_nobody_else(rows, monkeypatch):
    """Two calls wait within their own filters, and are trained outside of them."""
    seen, joint_run = [], fitting.JointRun

    def advance(run):
        seen.append((2, "trains", warnings.filters[0][0]))
        return original(run)

    original = joint_run.advance
    monkeypatch.setattr(joint_run, "advance", advance)

    def call(number):
        seen.append((number, "begins", warnings.filters[0][0]))
        with warnings.catch_warnings():
            warnings.simplefilter(("once", "always")[number])
            make_estimator(random_state=number).fit(rows)
            seen.append((number, "trained", warnings.filters[0][0]))
        seen.append((number, "ends", warnings.filters[0][0]))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        outside = warnings.filters, warnings.showwarning
        with train_together():
            Parallel()(delayed(call)(number) for number in range(2))
        assert (warnings.filters, warnings.showwarning) == outside
        assert warnings.filters is outside[0]
    assert sorted(set(seen)) == [
        (0, "begins", "default"),
        (0, "ends", "default"),
        (0, "trained", "once"),
        (1, "begins", "default"),
        (1, "ends", "default"),
        (1, "trained", "always"),
        (2, "trains", "default"),
    ]


def test_warnings_are_as_before_after_an_interrupt(rows, monkeypatch):
    def interrupt(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting.JointRun, "advance", interrupt)
    before = warnings.filters, warnings.showwarning
    with train_together(), pytest.raises(KeyboardInterrupt):
        Parallel()(delayed(each.fit)(rows) for each in noisy())
    wait_for_threads()
    assert warnings.filters is before[0]
    assert warnings.showwarning is before[1]


@contextmanager
def interrupted_after(seconds):
    """Press Ctrl-C, even if the shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def slowly(X):
    time.sleep(1.5)
    return X


@pytest.mark.parametrize(
    "estimator",
    [
        make_estimator(dropout=0.1, max_iter=10**6, tol=0, n_iter_no_change=10**6),
        make_pipeline(FunctionTransformer(slowly), make_estimator()),
    ],
    ids=["while one trains alone", "before any trains"],
)
def test_an_interrupt_leaves_nothing_running(rows, estimator):
    with (
        interrupted_after(0.5),
        train_together(),
        pytest.raises(KeyboardInterrupt),
    ):
        cross_val_score(estimator, rows, cv=3)
    wait_for_threads()


def test_the_first_error_ends_the_search(rows, sizes):
    with train_together(), pytest.raises(ValueError, match="'alpha' parameter"):
        search(make_estimator(), {"alpha": [-1.0, 0.1, 0.2]}, rows)
    assert not sizes


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_errors_in_common_steps_are_errors_of_the_fits(rows, monkeypatch):
    def fail(run):
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(fitting.JointRun, "advance", fail)
    found = GridSearchCV(
        make_estimator(),
        {"max_iter": [4], "n_components": [8, 1000]},
        cv=2,
        refit=False,
    )
    with train_together(), pytest.warns(FitFailedWarning, match="no room for a batch"):
        found.fit(rows)
    assert np.isnan(scores(found)).tolist() == [True, False]


def test_settings_of_numpy_reach_the_calls():
    def setting():
        return np.geterr()["divide"]

    with train_together(), np.errstate(divide="raise"):
        assert Parallel()(delayed(setting)() for _ in range(2)) == ["raise"] * 2


class Pool(AutoencoderTransformer):
    """Fits other estimators in its own threads."""

    def fit(self, X, y=None):
        with ThreadPoolExecutor(2) as pool:
            fits = [
                pool.submit(
                    copy_context().run, make_estimator(random_state=seed).fit, X
                )
                for seed in range(2)
            ]
            assert [each.result().n_iter_ for each in fits] == [4, 4]
        return super().fit(X)


def test_threads_of_a_call(rows, sizes):
    pool = Pool(8, hidden_layer_sizes=(12,), max_iter=2, random_state=0)
    with train_together():
        cross_val_score(pool, rows, cv=4, error_score="raise")
    assert sizes == [4]


class Pretrained(torch.nn.Module):
    """A network whose builder fits another one."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)
        make_estimator(max_iter=1).fit(np.random.default_rng(0).random((50, 9)))


def test_a_builder_that_fits(rows):
    estimator = make_estimator(network=Pretrained)
    with train_together():
        cross_val_score(estimator, rows, cv=3, error_score="raise")


def test_those_who_hold_most_are_trained_first(rows, sizes, monkeypatch):
    monkeypatch.setattr(_together, "_WAITING_BYTES", 320_000)
    grid = {"hidden_layer_sizes": [(12,), (13,)], "random_state": [0, 1, 2]}
    with train_together():
        GridSearchCV(make_estimator(), grid, cv=2, refit=False).fit(rows)
    # A fit that is left over is trained alone.
    assert sizes == [6, 5]
