"""Steps that are recorded and repeated, as on a CUDA device.

A recorder for the CPU takes the device's place. It repeats the operations that torch
has called, on the same memory and with the same numbers, as a CUDA graph does. It
refuses what a graph cannot hold.
"""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.accelerator import one_by_one
from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
)
from skautoenc._networks import codes
from skautoenc._training import run
from skautoenc._training.captured import CapturedStep

RUN = {"max_iter": 6, "batch_size": 32, "random_state": 0}
# Operations whose result, or its shape, depends on values, or that copy from the CPU.
READS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.equal,
    torch.ops.aten.lift_fresh,
    torch.ops.aten.masked_select,
    torch.ops.aten.nonzero,
}


def is_read(function, args):
    """Whether an operation would wait for the device."""
    packet = function.overloadpacket
    if packet in READS:
        return True
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
    indexes = packet in (torch.ops.aten.index, torch.ops.aten.index_put_)
    return indexes and any(tensor.dtype == torch.bool for tensor in tensors[1:])


class Tape(TorchDispatchMode):
    """Keeps the operations that torch calls, with their arguments and results."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.before = {}
        self.made = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if is_read(function, args):
            raise RuntimeError(f"{function} cannot be recorded")
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        for tensor in given:
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                self.before[place] = tensor, tensor.untyped_storage().clone()
        result = function(*args, **kwargs)
        places = {tensor.untyped_storage().data_ptr() for tensor in given}
        new = [
            tensor
            for tensor in tree_leaves(result)
            if isinstance(tensor, torch.Tensor)
            and tensor.untyped_storage().data_ptr() not in places
        ]
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in new}
        self.calls.append((function, args, kwargs, result, places))
        return result

    def undo(self):
        """Restore all memory that the operations have changed."""
        for tensor, storage in self.before.values():
            tensor.untyped_storage().copy_(storage)

    def repeat(self):
        """Call all operations again, with results in the same memory."""
        for function, args, kwargs, result, places in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if (
                    isinstance(old, torch.Tensor)
                    and old.untyped_storage().data_ptr() not in places
                ):
                    old.copy_(new)


class TapeRecorder:
    """Records on the CPU."""

    def __init__(self):
        self.n_recorded = self.n_repeated = self.n_refused = 0

    def run(self, function):
        return function()

    def record(self, function, generator):
        state, tape = generator.get_state(), Tape()
        refuse = mock.Mock(side_effect=RuntimeError("the CPU reads values"))
        try:
            with mock.patch.multiple(torch.Tensor, numpy=refuse, tolist=refuse), tape:
                result = function()
        except RuntimeError:
            self.n_refused += 1
            raise
        finally:
            tape.undo()
            generator.set_state(state)
        self.n_recorded += 1

        @torch.no_grad()
        def repeat():
            self.n_repeated += 1
            tape.repeat()

        return repeat, result


@pytest.fixture
def recorder(monkeypatch):
    """Make fits record their steps, with the operations of a device."""
    recorder = TapeRecorder()
    real = run.fastest

    def fastest(step, device):
        assert real(step, device) is step  # On the CPU.
        return CapturedStep(step, recorder)

    monkeypatch.setattr(run, "fastest", fastest)
    return recorder


@pytest.fixture(autouse=True)
def torch_selects(monkeypatch):
    """Select as on a device: numpy's partition is for the CPU."""
    monkeypatch.setattr(
        codes,
        "largest",
        lambda columns, n: columns.topk(n, dim=1).values.flip(1),
    )


def make_mixed_frame(n_rows):
    """Return numbers, counts and categories, with missing values."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n_rows),
            "count": rng.integers(0, 9, n_rows),
            "name": rng.choice(list("xyz"), n_rows),
        }
    )
    frame.loc[::7, "number"] = np.nan
    return frame


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).random((209, 16), dtype=np.float32) ** 3


DENSE = [
    AutoencoderTransformer(**RUN),
    AutoencoderTransformer(8, learning_rate="cosine", **RUN),
    AutoencoderTransformer(8, hidden_layer_sizes=(12, 10), activation="gelu", **RUN),
    AutoencoderTransformer(40, sparsity="batch_topk", **RUN),
    AutoencoderTransformer(40, sparsity="lifetime", tied_weights=True, **RUN),
    AutoencoderTransformer(40, sparsity="topk", **RUN),
    AutoencoderTransformer(40, sparsity="l1", **RUN),
    AutoencoderTransformer(40, sparsity="kl", **RUN),
    AutoencoderTransformer(6, ordered=True, contractive_penalty=0.1, **RUN),
    AutoencoderTransformer(6, normalization="batch", dropout=0.2, **RUN),
    AutoencoderTransformer(6, normalization="layer", **RUN),
    AutoencoderTransformer(6, loss="huber", solver="sgd", alpha=0.01, **RUN),
    AutoencoderTransformer(6, loss="poisson", early_stopping=True, **RUN),
    AutoencoderTransformer(6, n_neighbors=5, corruption_rate=0.2, **RUN),
    AutoencoderTransformer(6, corruption="swap", corruption_rate=0.2, **RUN),
    AutoencoderTransformer(6, max_grad_norm=0.01, alpha=0.01, **RUN),
    VariationalAutoencoder(4, **RUN),
    ConvAutoencoderTransformer(6, **RUN),
    ConvAutoencoderTransformer(6, max_shift=1, normalization="batch", **RUN),
]


def close(a, b):
    # A learning rate on the device is rounded to float32.
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("estimator", DENSE, ids=repr)
def test_repeated_steps_are_steps(estimator, X, recorder):
    recorded = clone(estimator).fit(X)
    assert recorder.n_refused == 0
    # Batches of 34 and of 35 rows, but 31 or 32 if a tenth is held out.
    assert recorder.n_recorded == 2
    assert recorder.n_repeated >= 24
    with one_by_one():
        plain = clone(estimator).fit(X)
    close(recorded.loss_curve_, plain.loss_curve_)
    close(recorded.transform(X), plain.transform(X))


@pytest.mark.parametrize("encoding", [None, "piecewise_linear", "periodic"])
@pytest.mark.parametrize("output", ["mean", "distribution"])
def test_tables(encoding, output, recorder):
    frame = make_mixed_frame(209)
    estimator = TabularAutoencoderTransformer(
        8, number_encoding=encoding, number_output=output, **RUN
    )
    recorded = clone(estimator).fit(frame)
    assert (recorder.n_recorded, recorder.n_refused) == (2, 0)
    with one_by_one():
        plain = clone(estimator).fit(frame)
    close(recorded.loss_curve_, plain.loss_curve_)
    close(recorded.transform(frame), plain.transform(frame))


def test_weights_and_targets(X, recorder):
    weights = np.random.default_rng(1).integers(1, 4, len(X))
    y = (X[:, 0] > X[:, 1]).astype(int)
    y[::3] = -1
    fits = [
        lambda: AutoencoderTransformer(8, **RUN).fit(X, sample_weight=weights),
        lambda: SemiSupervisedAutoencoder(8, **RUN).fit(X, y),
    ]
    for number, fit in enumerate(fits, start=1):
        recorded = fit()
        assert (recorder.n_recorded, recorder.n_refused) == (2 * number, 0)
        with one_by_one():
            plain = fit()
        close(recorded.transform(X), plain.transform(X))


def test_a_step_that_reads_values_remains_a_normal_one(X, recorder, monkeypatch):
    estimator = AutoencoderTransformer(40, sparsity="batch_topk", **RUN)
    monkeypatch.setattr(
        codes, "running_momentum", lambda n, lowest: max(1 / float(n), lowest)
    )
    recorded = clone(estimator).fit(X)
    assert (recorder.n_repeated, recorder.n_refused) == (0, 1)
    with one_by_one():
        plain = clone(estimator).fit(X)
    np.testing.assert_array_equal(recorded.transform(X), plain.transform(X))


def test_a_repetition_that_differs_is_not_used(X, monkeypatch):
    class Stale(TapeRecorder):
        """Repeats nothing of what it has recorded."""

        def record(self, function, generator):
            _, result = super().record(function, generator)
            return (lambda: None), result

    estimator = AutoencoderTransformer(6, corruption="swap", corruption_rate=0.2, **RUN)
    plain = clone(estimator).fit(X)
    monkeypatch.setattr(
        run, "fastest", lambda step, device: CapturedStep(step, Stale())
    )
    recorded = clone(estimator).fit(X)
    np.testing.assert_array_equal(recorded.transform(X), plain.transform(X))


def test_a_step_that_replaces_tensors_remains_a_normal_one(X, recorder, monkeypatch):
    def forward(self, code, sample_weight=None):
        if self.training:
            self.threshold = self.threshold.lerp(code.mean(), 0.1)
        return code

    monkeypatch.setattr(codes.BatchSparsity, "forward", forward)
    AutoencoderTransformer(40, sparsity="batch_topk", **RUN).fit(X)
    assert (recorder.n_recorded, recorder.n_refused) == (0, 0)


def test_memory_that_moves_is_recorded_again(X, recorder, monkeypatch):
    estimator = AutoencoderTransformer(8, **RUN).set_params(batch_size=16)
    end_epoch = run.Run.end_epoch

    def move(self, loss):
        optimizer = self.step.optimizer
        optimizer.relocate(optimizer.memory())
        end_epoch(self, loss)

    monkeypatch.setattr(run.Run, "end_epoch", move)
    # Enough batches of one size for each epoch.
    moved = clone(estimator).fit(X[:208])
    assert recorder.n_recorded == 6
    monkeypatch.setattr(run.Run, "end_epoch", end_epoch)
    with one_by_one():
        plain = clone(estimator).fit(X[:208])
    close(moved.transform(X), plain.transform(X))


def test_what_may_differ_between_steps_is_not_recorded(X, monkeypatch):
    def build(n_features, n_components):
        module = torch.nn.Module()
        module.encode = torch.nn.Linear(n_features, n_components)
        module.decode = torch.nn.Linear(n_components, n_features)
        return module

    found = []
    real = run.fastest

    def on_cuda(step, device):
        with mock.patch("skautoenc._training.captured.CudaRecorder"):
            for reduce in (None, lambda loss: loss):
                step.reduce = reduce
                chosen = real(step, torch.device("cuda", 0))
                found.append(isinstance(chosen, CapturedStep))
        step.reduce = None
        return step

    monkeypatch.setattr(run, "fastest", on_cuda)
    AutoencoderTransformer(8, **RUN).fit(X)
    AutoencoderTransformer(8, network=build, **RUN).fit(X)
    assert found == [True, False, False, False]
