"""Fits on an accelerator, if there is one."""

import pickle
from unittest import mock

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from test_captured import make_mixed_frame

import skautoenc
from benchmarks.accelerator import one_by_one
from skautoenc import (
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    train_together,
)
from skautoenc._training.captured import CapturedStep

pytestmark = pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="no accelerator on this machine"
)
DEVICE = "cpu"
if torch.accelerator.is_available():
    DEVICE = str(torch.accelerator.current_accelerator())
RUN = {"max_iter": 3, "random_state": 0, "device": DEVICE}


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:500].astype(np.float32)


@pytest.fixture(scope="module")
def frame():
    return make_mixed_frame(400)


DENSE = [
    AutoencoderTransformer(**RUN),
    AutoencoderTransformer(8, **RUN),
    AutoencoderTransformer(8, features="stack", whiten="zca", **RUN),
    AutoencoderTransformer(8, normalize_rows=0.5, whiten_code=True, **RUN),
    AutoencoderTransformer(96, sparsity="batch_topk", features="sparse", **RUN),
    AutoencoderTransformer(96, sparsity="l1", **RUN),
    AutoencoderTransformer(96, sparsity="kl", **RUN),
    AutoencoderTransformer(6, ordered=True, contractive_penalty=0.1, **RUN),
    AutoencoderTransformer(6, normalization="batch", dropout=0.2, **RUN),
    AutoencoderTransformer(6, loss="huber", solver="sgd", alpha=0.01, **RUN),
    AutoencoderTransformer(6, loss="poisson", early_stopping=True, **RUN),
    AutoencoderTransformer(6, n_neighbors=5, corruption_rate=0.2, **RUN),
    AutoencoderTransformer(6, corruption="swap", corruption_rate=0.2, **RUN),
    AutoencoderTransformer(6, max_grad_norm=1.0, warm_start=True, **RUN),
]
IMAGES = [
    ConvAutoencoderTransformer(8, **RUN),
    ConvAutoencoderTransformer(8, max_shift=1, normalization="batch", **RUN),
    PatchAutoencoderTransformer(
        AutoencoderTransformer(32, sparsity="topk", whiten="zca", **RUN),
        n_patches=4000,
        random_state=0,
    ),
    PatchAutoencoderTransformer(
        AutoencoderTransformer(5, **RUN), n_patches=4000, random_state=0
    ),
]


@pytest.mark.parametrize("estimator", [*DENSE, *IMAGES], ids=repr)
def test_matrices(estimator, digits, tmp_path):
    fitted = clone(estimator).fit(digits)
    code = fitted.transform(digits)
    assert np.isfinite(code).all()
    back = fitted.inverse_transform(code)
    assert ((back - digits) ** 2).mean() < 1.1 * digits.var(axis=0).mean()
    again = pickle.loads(pickle.dumps(fitted))  # On the CPU.
    np.testing.assert_allclose(again.transform(digits), code, rtol=1e-2, atol=1e-2)
    fitted.save(tmp_path / "file")
    loaded = skautoenc.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.transform(digits), again.transform(digits))
    second = clone(estimator).fit(digits).transform(digits)
    np.testing.assert_allclose(second, code, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("estimator", [*DENSE, *IMAGES], ids=repr)
def test_recorded_steps_are_steps(estimator, digits):
    record, n_recorded = CapturedStep._record, []

    def count(self, own):
        recording = record(self, own)
        n_recorded.append(len(own.rows))
        return recording

    with mock.patch.object(CapturedStep, "_record", count):
        recorded = clone(estimator).fit(digits)
    assert bool(n_recorded) == (torch.device(DEVICE).type == "cuda")
    with one_by_one():
        plain = clone(estimator).fit(digits)
    np.testing.assert_allclose(
        recorded.transform(digits), plain.transform(digits), rtol=1e-2, atol=1e-2
    )


def test_mixed_precision(digits):
    plain = AutoencoderTransformer(8, **RUN).fit(digits)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        mixed = AutoencoderTransformer(8, **RUN).fit(digits)
    finally:
        torch.set_float32_matmul_precision(before)
    assert abs(mixed.loss_ - plain.loss_) < 0.05 * plain.loss_


@pytest.mark.parametrize("encoding", [None, "piecewise_linear", "periodic"])
def test_tables(frame, encoding, tmp_path):
    estimator = TabularAutoencoderTransformer(number_encoding=encoding, **RUN)
    fitted = estimator.fit(frame)
    assert fitted.impute(frame).notna().all().all()
    errors = fitted.reconstruction_error(frame, per_column=True)
    assert errors.shape == frame.shape
    fitted.save(tmp_path / "file")
    loaded = skautoenc.load(tmp_path / "file")
    np.testing.assert_allclose(
        loaded.transform(frame), fitted.transform(frame), rtol=1e-2, atol=1e-2
    )


def test_parts_blocks_and_warm_starts(digits):
    estimator = AutoencoderTransformer(6, **RUN)
    for start in range(0, 500, 100):
        estimator.partial_fit(digits[start : start + 100])
    assert estimator.n_iter_ == 5
    blocks = Blocks([digits[:200], digits[200:]], buffer_size=500)
    streamed = clone(estimator).fit(blocks)
    whole = clone(estimator).fit(digits)
    np.testing.assert_allclose(
        streamed.transform(digits), whole.transform(digits), rtol=1e-2, atol=1e-2
    )
    whole.set_params(warm_start=True).fit(digits)
    assert whole.n_iter_ == 6


def test_a_network_that_the_user_moves(digits):
    fitted = AutoencoderTransformer(6, whiten="pca", **RUN).fit(digits)
    code = fitted.transform(digits)
    fitted.network_.to("cpu")
    np.testing.assert_allclose(fitted.transform(digits), code, rtol=1e-2, atol=1e-2)
    fitted.network_.to(DEVICE)
    np.testing.assert_allclose(fitted.transform(digits), code, rtol=1e-2, atol=1e-2)


def test_a_fit_resumes(digits, tmp_path):
    estimator = AutoencoderTransformer(6, checkpoint=tmp_path, **RUN)
    first = clone(estimator).fit(digits).transform(digits)
    np.testing.assert_array_equal(clone(estimator).fit(digits).transform(digits), first)


def test_an_accelerator_learns_as_the_cpu_does(digits):
    on_device = AutoencoderTransformer(8, random_state=0, device=DEVICE).fit(digits)
    on_cpu = AutoencoderTransformer(8, random_state=0, device="cpu").fit(digits)
    assert abs(on_device.loss_ - on_cpu.loss_) < 0.1 * on_cpu.loss_
    pca = PCA(8).fit(digits)
    error = ((pca.inverse_transform(pca.transform(digits)) - digits) ** 2).mean()
    assert -on_device.score(digits) < error


def test_searches_that_train_together(digits):
    search = GridSearchCV(AutoencoderTransformer(6, **RUN), {"alpha": [0, 0.1]}, cv=2)
    with train_together():
        assert np.isfinite(search.fit(digits).best_score_)


def test_auto_takes_the_accelerator_for_large_networks(digits):
    wide = AutoencoderTransformer(
        4096, batch_size=500, sparsity="topk", max_iter=1, random_state=0
    ).fit(np.tile(digits, 12))
    assert next(wide.network_.parameters()).device.type == torch.device(DEVICE).type
    small = AutoencoderTransformer(2, max_iter=1, random_state=0).fit(digits)
    assert next(small.network_.parameters()).device.type == "cpu"
