"""One fit on several processes: threads of this one, torchrun, and Dask's workers."""

import hashlib
import itertools
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from skautoenc import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    ConvVariationalAutoencoder,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
    train_across,
)
from skautoenc._parallel.across import ProcessesContext
from skautoenc._parallel.ranks import Ranks
from skautoenc._parallel.world import Heartbeat, ProcessWorld

X = load_digits().data[:240]
BINARY = (X > 8).astype(float)


class Exchange:
    """Gathers values of threads, as a store does for processes."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size)
        self.values = [None] * size

    def of(self, rank):
        def exchange(value):
            self.barrier.wait(60)
            self.values[rank] = value
            self.barrier.wait(60)
            return list(self.values)

        return exchange


def run(functions, timeout=60.0):
    """Call functions in threads, each as a process within `train_across`.

    Returns
    -------
    list
        What the functions return, or the errors that they raise.
    """
    size = len(functions)
    exchange = Exchange(size)

    def call(rank):
        start = rank, size, exchange.of(rank)
        try:
            with ProcessesContext(Ranks(start, None, timeout)):
                return functions[rank]()
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(call, range(size)))


def fit(estimator, shares, weights=None):
    """Fit one estimator to the shares of processes."""
    weights = [None] * len(shares) if weights is None else weights
    return run(
        [
            lambda share=share, weight=weight: clone(estimator).fit(
                share, sample_weight=weight
            )
            for share, weight in zip(shares, weights, strict=True)
        ]
    )


def fitted(found):
    """Return the estimators of all processes, or raise an error of one of them."""
    for each in found:
        if isinstance(each, Exception):
            raise each
    return found


def digest(estimator):
    """Return a digest of all that a fit leaves, and of what `transform` gives."""
    state = estimator.__getstate__()
    names = sorted(name for name in state if name.endswith("_") and name != "network_")
    weights = [w.tobytes() for w in state["network_"]["weights"].values()]
    plain = [(n, repr(np.asarray(state[n]).tolist())) for n in names]
    code = estimator.transform(X[:50]).tobytes()
    return hashlib.sha256(pickle.dumps((weights, plain, code))).hexdigest()


def spread(rows, size=2):
    """Deal rows to processes, so that their batches are those of one process."""
    return [rows[rank::size] for rank in range(size)]


def mean_loss(estimator, rows):
    return -estimator.score(rows)


SLURM = "SLURM_PROCID", "SLURM_NTASKS"
SETTINGS = {"random_state": 0, "max_iter": 3, "batch_size": 80}
DENSE = {"n_components": 8, **SETTINGS}


class Small(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Linear(n_features, n_components)
        self.decode = nn.Linear(n_components, n_features)


class Counts(Small):
    """A network with buffers that depend on its batches."""

    def __init__(self, n_features, n_components):
        super().__init__(n_features, n_components)
        self.register_buffer("mean", torch.zeros(n_components))
        self.register_buffer("n_rows", torch.zeros((), dtype=torch.int64))

    def __getattribute__(self, name):
        if name == "encode":
            return self.counted
        return super().__getattribute__(name)

    def counted(self, x):
        code = self._modules["encode"](x.view(len(x), -1))
        if self.training:
            self.mean += code.detach().mean(dim=0)
            self.n_rows += len(x)
        return code


ROW_WISE = {
    "one layer": (AutoencoderTransformer(8, hidden_layer_sizes=(), **SETTINGS), X),
    "two layers": (AutoencoderTransformer(**DENSE), X),
    "lifetime": (AutoencoderTransformer(96, **SETTINGS), X),
    "batch_topk": (AutoencoderTransformer(96, sparsity="batch_topk", **SETTINGS), X),
    "topk": (AutoencoderTransformer(96, sparsity="topk", **SETTINGS), X),
    "l1": (AutoencoderTransformer(96, sparsity="l1", **SETTINGS), X),
    "clipped": (AutoencoderTransformer(max_grad_norm=0.1, alpha=0.01, **DENSE), X),
    "sgd": (AutoencoderTransformer(solver="sgd", **DENSE), X),
    "float32": (AutoencoderTransformer(**DENSE), X.astype(np.float32)),
    "sparse": (AutoencoderTransformer(**DENSE), sp.csr_matrix(X)),
    "binary": (AutoencoderTransformer(**DENSE), BINARY),
    "huber": (AutoencoderTransformer(loss="huber", **DENSE), X),
    "counts": (
        AutoencoderTransformer(loss="poisson", normalize_rows="total", **DENSE),
        X,
    ),
    "layers": (AutoencoderTransformer(normalization="layer", **DENSE), X),
    "share": (AutoencoderTransformer(**{**DENSE, "n_components": 0.8}), X),
    "own network": (AutoencoderTransformer(network=Small, **DENSE), X),
    "images": (ConvAutoencoderTransformer(**DENSE), X),
    "variational": (VariationalAutoencoder(early_stopping=False, **DENSE), X),
    "variational images": (
        ConvVariationalAutoencoder(early_stopping=False, **DENSE),
        X,
    ),
}
# The linear algebra of these is sensitive to rounding, or noise differs by process.
OTHERS = {
    "whitened": (
        AutoencoderTransformer(
            whiten="zca", normalize_rows=0.5, whiten_code=True, **DENSE
        ),
        X,
    ),
    "kl": (
        AutoencoderTransformer(96, sparsity="kl", activation="logistic", **SETTINGS),
        X,
    ),
    "noise": (AutoencoderTransformer(corruption_rate=0.3, dropout=0.1, **DENSE), X),
    "ordered": (AutoencoderTransformer(ordered=True, **DENSE), X),
    "held out": (AutoencoderTransformer(early_stopping=True, **DENSE), X),
    "shifted": (ConvAutoencoderTransformer(max_shift=1, **DENSE), X),
    "buffers": (AutoencoderTransformer(network=Counts, **DENSE), X),
    "bound": (VariationalAutoencoder(early_stopping=True, **DENSE), X),
}
QUICK = {
    "one layer",
    "lifetime",
    "batch_topk",
    "clipped",
    "sparse",
    "own network",
    "whitened",
    "noise",
}


def by_name(names):
    """Return names as parameters; most of them are slow."""
    return [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


TOLERANCES = {"variational": np.inf, "variational images": np.inf, "share": 1e-5}


@pytest.mark.parametrize("name", by_name(ROW_WISE))
def test_processes_train_as_one_does(name):
    """With the same batches, the model is that of one process, except for rounding."""
    estimator, rows = ROW_WISE[name]
    estimator = clone(estimator).set_params(shuffle=False)
    first, second = fitted(fit(estimator, spread(rows)))
    assert digest(first) == digest(second)
    one = clone(estimator).fit(rows)
    bound = TOLERANCES.get(name, 1e-6)
    assert first.loss_ == pytest.approx(one.loss_, rel=bound)
    if np.isfinite(bound):
        assert first.score(rows) == pytest.approx(one.score(rows), rel=10 * bound)
        assert first.n_dead_ == one.n_dead_
    assert first.n_iter_ == one.n_iter_


@pytest.mark.parametrize("name", by_name(OTHERS))
def test_processes_end_alike(name):
    estimator, rows = OTHERS[name]
    found = fitted(fit(estimator, [rows[:100], rows[100:]]))
    assert len({digest(each) for each in found}) == 1
    one = clone(estimator).fit(rows)
    assert mean_loss(found[0], rows) == pytest.approx(mean_loss(one, rows), rel=0.05)


# Shares


QUARTERS = (100, 40, 100)
QUICK_SHARES = ("lifetime", (3, 237)), ("two layers", (0, 240))
SHARES = [
    *itertools.product(["two layers", "lifetime", "images"], [(3, 237), QUARTERS]),
    *itertools.product([*OTHERS, *ROW_WISE], [(0, 240)]),
    ("lifetime", (240, 0)),
]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        pytest.param(*each, marks=() if each in QUICK_SHARES else pytest.mark.slow)
        for each in SHARES
    ],
)
def test_shares_of_any_size(name, counts):
    """Batches of 80 rows each: some processes have no row in some or all of them."""
    estimator, rows = {**ROW_WISE, **OTHERS}[name]
    edges = np.cumsum((0, *counts))
    shares = [rows[a:b] for a, b in itertools.pairwise(edges)]
    found = fitted(fit(clone(estimator).set_params(batch_size=20), shares))
    assert len({digest(each) for each in found}) == 1
    if hasattr(estimator, "likelihood"):
        return  # A random bound.
    assert found[0].loss_ < 1
    # One process merges equal rows, of which binary images have some, and then draws
    # other initial weights.
    if 240 in counts and name in ROW_WISE and name != "binary":
        one = clone(estimator).set_params(batch_size=240)
        found = fitted(fit(one, shares))
        assert found[0].loss_ == pytest.approx(one.fit(rows).loss_, rel=1e-5)


def test_blocks_of_each_process():
    """A buffer that holds the rows of a process gives the bytes of an array."""
    estimator = AutoencoderTransformer(8, **SETTINGS)
    of_blocks = fitted(fit(estimator, [Blocks([X[:50], X[50:90]]), Blocks([X[90:]])]))
    of_arrays = fitted(fit(estimator, [X[:90], X[90:]]))
    assert digest(of_blocks[0]) == digest(of_blocks[1]) == digest(of_arrays[0])


def test_fewer_rows_than_processes():
    found = fitted(fit(AutoencoderTransformer(2, **SETTINGS), [X[:1], X[:0], X[1:2]]))
    assert len({digest(each) for each in found}) == 1


@pytest.mark.parametrize("name", by_name(["lifetime", "batch_topk", "counts"]))
def test_weights(name):
    """Weights of one process apply to its rows; the others have weight one."""
    estimator, rows = ROW_WISE[name]
    estimator = clone(estimator).set_params(shuffle=False, batch_size=240)
    weights = np.random.default_rng(0).integers(0, 4, 120).astype(float)
    found = fitted(fit(estimator, [rows[:120], rows[120:]], [weights, None]))
    both = np.concatenate([weights, np.ones(120)])
    one = clone(estimator).fit(rows, sample_weight=both)
    assert digest(found[0]) == digest(found[1])
    assert found[0].loss_ == pytest.approx(one.loss_, rel=1e-5)
    np.testing.assert_allclose(found[0].mean_, one.mean_, rtol=1e-12)


def test_a_process_whose_rows_have_no_weight():
    estimator = AutoencoderTransformer(4, **SETTINGS)
    found = fitted(fit(estimator, [X[:100], X[100:]], [None, np.zeros(140)]))
    alone = fitted(fit(estimator, [X[:100], X[:0]]))
    assert digest(found[0]) == digest(found[1])
    assert found[0].loss_ == pytest.approx(alone[0].loss_, rel=1e-5)
    found = fit(estimator, [X[:100], X[100:]], [np.zeros(100), np.zeros(140)])
    for error in found:
        with pytest.raises(ValueError, match="give weight to rows"):
            raise error


def test_order_and_noise_differ_between_processes():
    """Equal rows in both processes: with equal noise, one process would do."""
    estimator = AutoencoderTransformer(4, corruption_rate=0.5, **SETTINGS)
    both = fitted(fit(estimator, [X[:120], X[:120]]))
    again = fitted(fit(estimator, [X[:120], X[:120]]))
    assert digest(both[0]) == digest(again[0])
    other = fitted(fit(estimator.set_params(random_state=1), [X[:120], X[:120]]))
    assert digest(both[0]) != digest(other[0])


def test_a_drawn_seed_is_that_of_the_first_process():
    estimator = AutoencoderTransformer(4, random_state=None, max_iter=2)
    found = fitted(fit(estimator, spread(X)))
    assert digest(found[0]) == digest(found[1])


# What processes exchange


@pytest.mark.parametrize(
    ("setting", "per_step", "per_epoch"),
    [
        ({"n_components": 8}, 1, 1),
        ({"n_components": 8, "alpha": 0.1}, 1, 1),
        ({"n_components": 96}, 2, 1),
        ({"n_components": 8, "early_stopping": True}, 1, 2),
    ],
    ids=["dense", "weight decay", "lifetime", "held out"],
)
def test_number_of_exchanges(setting, per_step, per_epoch, monkeypatch):
    calls = []
    exchange = ProcessWorld._exchange

    def count(self, function):
        calls.append(self.rank)
        return exchange(self, function)

    monkeypatch.setattr(ProcessWorld, "_exchange", count)

    def number(max_iter, batch_size):
        estimator = AutoencoderTransformer(
            random_state=0, max_iter=max_iter, batch_size=batch_size, tol=0, **setting
        )
        estimator.set_params(n_iter_no_change=100)
        calls.clear()
        fitted(fit(estimator, spread(X)))
        return calls.count(0)

    n_rows = 216 if setting.get("early_stopping") else 240
    one, two = number(5, n_rows), number(6, n_rows)
    assert two - one == per_step + per_epoch
    assert number(6, n_rows // 4) - number(5, n_rows // 4) == 4 * per_step + per_epoch


# Faults


class Stop(RuntimeError):
    pass


def with_nan(rows):
    rows = rows.copy()
    rows[3, 5] = np.nan
    return rows


FAULTS = {
    "NaN": (lambda: AutoencoderTransformer(8).fit(with_nan(X)), "NaN"),
    "width": (lambda: AutoencoderTransformer(8).fit(X[:, :9]), "number of columns: 9"),
    "type": (
        lambda: AutoencoderTransformer(8).fit(X.astype(np.float32)),
        "type of X: .*float32",
    ),
    "parameter": (lambda: AutoencoderTransformer(9).fit(X), "n_components: 9 instead"),
    "invalid": (lambda: AutoencoderTransformer(-1).fit(X), "n_components"),
    "names": (
        lambda: AutoencoderTransformer(8).fit(pd.DataFrame(X).add_prefix("a")),
        "names of columns",
    ),
    "range": (
        lambda: AutoencoderTransformer(8, loss="binary_cross_entropy").fit(X),
        "loss",
    ),
    "class": (
        lambda: ConvAutoencoderTransformer(8).fit(X),
        "class of the estimator: ConvAutoencoderTransformer",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_one_process_is_an_error_of_all(name):
    faulty, message = FAULTS[name]
    good = lambda: AutoencoderTransformer(8).fit(X)  # noqa: E731
    found = run([good, faulty, good])
    for error in found:
        with pytest.raises(ValueError, match=f"(?s)(process 1.*)?{message}"):
            raise error
    told = str(found[0]) + str(found[2])
    assert told.count("process 1") == 2


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("skautoenc._estimators.shares.__version__", "skautoenc"),
        ("torch.__version__", "torch"),
    ],
)
def test_another_version_in_one_process(place, name, monkeypatch):
    local = threading.local()

    class Version:
        """It reaches other processes as the version of the one that sends it."""

        def __reduce__(self):
            return str, (local.version,)

        def partition(self, _):
            return [self]

    monkeypatch.setattr(place, Version())

    def of(version):
        def fit_it():
            local.version = version
            return AutoencoderTransformer(8, **SETTINGS).fit(X)

        return fit_it

    for error in run([of("1.0"), of("2.0")]):
        with pytest.raises(ValueError, match=f"version of {name}: 2.0 instead of 1.0"):
            raise error


def test_data_out_of_range_in_one_process():
    def of(rows):
        return lambda: AutoencoderTransformer(
            8, loss="binary_cross_entropy", max_iter=1
        ).fit(rows)

    for error in run([of(BINARY), of(X)]):
        with pytest.raises(ValueError, match="needs values between 0 and 1"):
            raise error


def test_an_error_in_the_middle_of_a_fit():
    """Processes can fit again in the same context."""

    class Fails:
        def __init__(self):
            self.n_calls = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_begin(self, estimator):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            self.n_calls += 1
            if self.n_calls == 3:
                raise Stop("enough")

        def on_fit_task_end(self, *args, **kwargs):
            return False

    def of(rank):
        def both():
            errors = []
            estimator = AutoencoderTransformer(4, **SETTINGS)
            if rank == 1:
                estimator.set_callbacks(Fails())
            try:
                estimator.fit(X[rank::5])
            except RuntimeError as error:
                errors.append(error)
            estimator = AutoencoderTransformer(4, **SETTINGS).fit(X[rank::5])
            return errors[0], digest(estimator)

        return both

    errors, digests = map(list, zip(*run([of(rank) for rank in range(5)]), strict=True))
    assert isinstance(errors.pop(1), Stop)
    for error in errors:
        assert "process 1" in str(error)
        assert "Stop: enough" in str(error)
    assert len(set(digests)) == 1


def test_a_process_that_does_not_fit():
    found = run(
        [lambda: AutoencoderTransformer(4).fit(X), lambda: time.sleep(1.5)], timeout=1
    )
    with pytest.raises(RuntimeError, match="Process 1 did not call fit within 1 s"):
        raise found[0]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_has_left(rank):
    functions = [lambda: AutoencoderTransformer(4).fit(X)] * 2
    functions[rank] = lambda: None
    began = time.monotonic()
    found = run(functions)
    with pytest.raises(RuntimeError, match=rf"Process {rank}.* left\s+train_across"):
        raise found[1 - rank]
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_a_process_that_begins_late(monkeypatch):
    """A new worker of a cluster imports torch first, and gives no sign meanwhile."""

    def late(connect, rank):
        return Heartbeat(lambda: (time.sleep(9 * rank), connect())[1], rank)

    monkeypatch.setattr("skautoenc._parallel.ranks.Heartbeat", late)

    def of(rank):
        def fit_it():
            time.sleep(9 * rank)
            return AutoencoderTransformer(4, **SETTINGS).fit(X[rank::2])

        return fit_it

    first, second = fitted(run([of(0), of(1)]))
    assert digest(first) == digest(second)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (AutoencoderTransformer(4, normalization="batch"), "batch normalization"),
        (AutoencoderTransformer(4, n_neighbors=3), "n_neighbors"),
        (VariationalAutoencoder(2, prior="mixture"), "prior='mixture'"),
        (SemiSupervisedAutoencoder(), "SemiSupervisedAutoencoder: labels"),
        (TabularAutoencoderTransformer(), "TabularAutoencoderTransformer: cat"),
        (PatchAutoencoderTransformer(), "PatchAutoencoderTransformer: its"),
        (AutoencoderOutlierDetector(), "AutoencoderOutlierDetector: it"),
        (AutoencoderImputer(), "AutoencoderImputer: its"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_needs_all_rows_is_refused_by_name(estimator, reason):
    found = run([lambda s=s: clone(estimator).fit(s) for s in spread(X)])
    for error in found:
        with pytest.raises(ValueError, match=f"train_across does not .*{reason}"):
            raise error


def test_partial_fit_is_refused():
    found = run([lambda s=s: AutoencoderTransformer().partial_fit(s) for s in (X, X)])
    with pytest.raises(ValueError, match="partial_fit"):
        raise found[0]


def test_without_processes():
    with pytest.raises(RuntimeError, match="torchrun --nproc-per-node=2"):
        train_across()


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), SLURM], ids=lambda n: n[0])
def test_processes_are_found_in_the_environment(names, monkeypatch):
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port = any_socket.getsockname()[1]
    found = dict(zip(names, ("0", "1"), strict=True))
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="srun torchrun"):
        train_across()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    for _ in range(2):
        with train_across() as processes:
            assert (processes.rank, processes.size) == (0, 1)
            assert AutoencoderTransformer(4, **SETTINGS).fit(X).n_iter_ == 3


def test_one_process_trains_alone():
    estimator = AutoencoderTransformer(8, **SETTINGS)
    (found,) = fitted(fit(estimator, [X]))
    assert digest(found) == digest(clone(estimator).fit(X))


def test_only_the_context_has_an_effect():
    """Fits within a fit, `transform` and later fits are those of one process."""

    def builder(n_features, n_components):
        AutoencoderTransformer(2, max_iter=1).fit(X[:50])
        return Small(n_features, n_components)

    estimator = AutoencoderTransformer(4, network=builder, **SETTINGS)
    first, _ = fitted(fit(estimator, spread(X)))
    assert first.transform(X).shape == (240, 4)


def test_unknown_interface():
    (error,) = run_with_interface("nothing0")
    with pytest.raises(ValueError, match=r"nothing0.*Choose one of"):
        raise error


def run_with_interface(interface):
    def exchange(value):
        return [value]

    try:
        with ProcessesContext(Ranks((0, 1, exchange), interface, 1.0)):
            return [None]
    except ValueError as error:
        return [error]


# Continued fits


def test_warm_start():
    def twice(share):
        def fit_twice():
            estimator = AutoencoderTransformer(4, warm_start=True, **SETTINGS)
            return estimator.fit(share).fit(share)

        return fit_twice

    first, second = fitted(run([twice(share) for share in spread(X)]))
    assert digest(first) == digest(second) == digest(pickle.loads(pickle.dumps(first)))
    assert first.n_iter_ == 6


def test_callbacks_of_one_process_stop_all():
    class StopsAfterTwo:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            pass

        def on_fit_task_end(self, *args, fitted_estimator=None, **kwargs):
            return fitted_estimator is not None and fitted_estimator.n_iter_ == 2

    def of(rank):
        estimator = AutoencoderTransformer(96, whiten_code=True, **SETTINGS)
        if rank == 1:
            estimator.set_callbacks(StopsAfterTwo())
        return lambda: estimator.fit(X[rank::2])

    first, second = fitted(run([of(0), of(1)]))
    assert first.n_iter_ == second.n_iter_ == 2
    assert digest(first) == digest(second)


@pytest.mark.parametrize("seed", [0, None])
def test_checkpoint(seed, tmp_path):
    """A fit that was interrupted ends with the bytes of one that was not."""
    estimator = AutoencoderTransformer(
        96, corruption_rate=0.2, dropout=0.1, hidden_layer_sizes=(32,), max_iter=6
    )
    estimator.set_params(random_state=seed, checkpoint=tmp_path / "a")

    class Dies:
        n_calls = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            self.n_calls += 1
            if self.n_calls == 5:
                raise Stop

        def on_fit_task_end(self, *args, **kwargs):
            return False

    def of(rank, *callbacks):
        own = clone(estimator)
        if callbacks:
            own.set_callbacks(*callbacks)
        return lambda: own.fit(X[rank::2])

    died = run([of(0), of(1, Dies())])
    assert all(isinstance(error, Exception) for error in died)
    resumed = fitted(run([of(0), of(1)]))
    assert digest(resumed[0]) == digest(resumed[1])
    if seed is not None:
        estimator.set_params(checkpoint=tmp_path / "b")
        whole = fitted(run([of(0), of(1)]))
        assert digest(resumed[0]) == digest(whole[0])
    again = fitted(run([of(0), of(1)]))
    if seed is None:
        assert digest(again[0]) == digest(resumed[0])


def test_verbose_fits_print_once(capsys):
    estimator = AutoencoderTransformer(4, verbose=True, **SETTINGS)
    fitted(fit(estimator, spread(X)))
    assert capsys.readouterr().out.count("Epoch 3/3") == 1


# Programs that torchrun starts, and processes that die

PROGRAM = """
import os, signal, sys, time
import numpy as np
from sklearn.datasets import load_digits
from skautoenc import AutoencoderTransformer, train_across
folder, victim = sys.argv[1], int(sys.argv[2])


class Dies:
    n_calls = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, *args, **kwargs):
        self.n_calls += 1
        if self.n_calls == 8:
            with open(f"{folder}/died", "w") as file:
                file.write(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    def on_fit_task_end(self, *args, **kwargs):
        return False


X = load_digits().data[:300]
autoencoder = AutoencoderTransformer(
    8, max_iter=10, random_state=0, corruption_rate=0.1, checkpoint=folder
)
with train_across() as processes:
    if processes.rank == victim:
        autoencoder.set_callbacks(Dies())
    try:
        autoencoder.fit(X[processes.rank :: processes.size])
    except RuntimeError as error:
        took = time.time() - float(open(f"{folder}/died").read())
        print(processes.rank, "took", took, error, flush=True)
        sys.exit(3)
"""


def start(program, size, *arguments):
    """Start a program as several processes; return what each has printed."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port = any_socket.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={**os.environ, **shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    return [(each.communicate(timeout=120), each.returncode) for each in running]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_is_named(victim, tmp_path):
    """Process 0 has the store that the others read from."""
    found = start(PROGRAM, 2, tmp_path, victim)
    assert found[victim][1] == -signal.SIGKILL
    (out, err), code = found[1 - victim]
    assert code == 3, err
    assert f"Process {victim} (" in out
    assert "died during the fit" in out
    assert float(out.split()[2]) < 10
    if victim == 0:
        return
    # The checkpoint of the first process is that of all.
    estimator = AutoencoderTransformer(
        8, max_iter=10, random_state=0, corruption_rate=0.1, checkpoint=tmp_path
    )
    shares = spread(load_digits().data[:300])
    resumed = fitted(fit(estimator, shares))
    whole = fitted(fit(estimator.set_params(checkpoint=None), shares))
    digests = {digest(each.set_params(checkpoint=None)) for each in resumed + whole}
    assert len(digests) == 1


EXAMPLE_AND_BENCHMARK = """
import runpy, sys
sys.argv = ["train_across.py", "--max-iter=3"]
runpy.run_path("examples/train_across.py", run_name="__main__")
sys.argv = ["across.py", "--parts", "exchanges"]
runpy.run_module("benchmarks.across", run_name="__main__")
"""


@pytest.mark.slow
def test_torchrun(tmp_path):
    """The example connects the processes, and the benchmark has connected them."""
    program, root = tmp_path / "program.py", Path(__file__).parents[1]
    program.write_text(EXAMPLE_AND_BENCHMARK)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # Processes may write into each other's lines.
    weights = re.findall(r"weights (\w{16})", done.stdout)
    assert len(weights) == 2
    assert weights[0] == weights[1]
    assert done.stdout.count("squared error of PCA") == 1
    for line in (
        "dense: 1 a step, 1 an epoch",
        "weight decay: 1 a step, 1 an epoch",
        "lifetime: 2 a step, 1 an epoch",
    ):
        assert done.stdout.count(line) == 1


# Workers of Dask


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="needs skautoenc[dask]")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def in_parts(rows, n_rows=60):
    dask_array = pytest.importorskip("dask.array")
    return dask_array.from_array(rows, chunks=(n_rows, *rows.shape[1:]))


@pytest.mark.slow
def test_dask_workers_train_as_processes_do(client):
    estimator = AutoencoderTransformer(8, **SETTINGS)
    with train_across(client):
        on_workers = clone(estimator).fit(in_parts(X))
    processes = fitted(fit(estimator, [X[:120], X[120:]]))
    assert digest(on_workers) == digest(processes[0])
    assert digest(pickle.loads(pickle.dumps(on_workers))) == digest(processes[0])
    assert clone(on_workers).fit(X).n_iter_ == 3


@pytest.mark.slow
def test_frames_and_weights_on_dask_workers(client):
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X).add_prefix("pixel")
    weights = np.arange(240.0)
    estimator = AutoencoderTransformer(8, **SETTINGS)
    with train_across(client):
        data = dask_frame.from_pandas(frame, npartitions=3)
        found = clone(estimator).fit(data, sample_weight=weights)
        lazy = clone(estimator).fit(in_parts(X), sample_weight=in_parts(weights))
    assert found.feature_names_in_[0] == "pixel0"
    np.testing.assert_allclose(found.mean_, lazy.mean_)
    one = clone(estimator).fit(X, sample_weight=weights)
    np.testing.assert_allclose(found.mean_, one.mean_)


@pytest.mark.slow
def test_errors_on_dask_workers(client):
    estimator = AutoencoderTransformer(8, **SETTINGS)
    with train_across(client):
        with pytest.raises(ValueError, match=r"In process 0 .*NaN: row 3, column 5"):
            estimator.fit(in_parts(with_nan(X)))
        with pytest.raises(TypeError, match="takes a Dask array or frame, got ndarray"):
            estimator.fit(X)
        with pytest.raises(ValueError, match="partitions"):
            estimator.fit(in_parts(X), sample_weight=in_parts(np.ones(240), 120))
        with pytest.raises(ValueError, match="TabularAutoencoderTransformer"):
            TabularAutoencoderTransformer().fit(in_parts(X))


@pytest.mark.slow
def test_two_fits_at_once_on_dask_workers(client):
    def fit_it(seed):
        with train_across(client):
            estimator = AutoencoderTransformer(8, **SETTINGS)
            return digest(estimator.set_params(random_state=seed).fit(in_parts(X)))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fit_it, (0, 0))
    assert first == second


# The last one: it kills a worker.
@pytest.mark.slow
def test_a_dask_worker_that_dies(client, tmp_path):
    estimator = AutoencoderTransformer(
        8, max_iter=300, n_iter_no_change=300, random_state=0, corruption_rate=0.1
    )
    whole = fitted(fit(estimator, [X[:120], X[120:]]))[0]
    estimator.set_params(checkpoint=tmp_path)
    address, pid = sorted(client.run(os.getpid).items())[1]
    rows = in_parts(X)

    def kill():
        while not list(tmp_path.glob("*/unfinished*")):
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()

    with ThreadPoolExecutor(1) as pool, train_across(client):
        killed = pool.submit(kill)
        with pytest.raises(RuntimeError, match=f"The Dask worker {address} died"):
            estimator.fit(rows)
        assert time.monotonic() - killed.result() < 12
        client.wait_for_workers(2, timeout=60)
        # It goes on from the checkpoint.
        estimator.fit(rows)
    assert digest(estimator.set_params(checkpoint=None)) == digest(whole)
