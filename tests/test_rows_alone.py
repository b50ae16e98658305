"""A row's result depends on this row only, not on order, batch or memory layout."""

import os
import subprocess
import sys
from itertools import count

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

from skautoenc import (
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._model import blocks
from skautoenc._preparation.compression import learn_compression

# Odd widths leave incomplete tiles and vectors; with 700, products are summed in parts.
WIDTHS = [1, 2, 3, 5, 7, 8, 11, 13, 16, 22, 30, 31, 32, 47, 59, 64, 70, 300, 700]
N_ROWS = 131


def draw(width, n_rows=N_ROWS):
    return np.random.default_rng(width).normal(size=(n_rows, width))


def orders(rows):
    """Yield the rows in different memory layouts, with their indices."""
    n_rows, width = rows.shape
    everything = np.arange(n_rows)
    yield np.asfortranarray(rows), everything
    yield rows[::-1], everything[::-1]
    wide = np.empty((n_rows, 2 * width), dtype=rows.dtype)
    wide[:, ::2] = rows
    yield wide[:, ::2], everything
    yield rows[7:60], everything[7:60]
    for n_few in (1, 2, 9, 20, 33):
        yield rows[3 : 3 + n_few], everything[3 : 3 + n_few]
    shuffled = np.random.default_rng(0).permutation(n_rows)
    yield np.tile(rows[shuffled], (3, 1)), np.tile(shuffled, 3)
    shifted = np.empty(rows.nbytes + 4, dtype=np.uint8)[4:].view(rows.dtype)
    shifted = shifted.reshape(rows.shape)
    shifted[:] = rows
    yield shifted, everything


def assert_alone(function, rows):
    """Assert that `function` gives each row the same result in any context."""
    whole = function(np.ascontiguousarray(rows))
    for other, index in orders(rows):
        np.testing.assert_array_equal(function(other), whole[index])


def read_all(estimator, rows):
    assert_alone(estimator.transform, rows)
    assert_alone(estimator.score_samples, rows)
    assert_alone(estimator.inverse_transform, estimator.transform(rows))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # Several whole blocks of few rows.
    monkeypatch.setattr(blocks, "_BLOCK_VALUES", 2**12)


@pytest.mark.parametrize("width", WIDTHS)
def test_dense(width):
    estimator = AutoencoderTransformer(max_iter=1, random_state=0)
    rows = draw(width)
    read_all(estimator.fit(rows), rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "parameters",
    [
        {"features": "sparse", "sparsity": "topk"},
        {"features": "stack", "sparsity": None, "activation": "gelu"},
        {"sparsity": "kl"},
        {"n_components": 1, "hidden_layer_sizes": (7,), "activation": "tanh"},
        {"n_components": 5, "normalization": "layer", "activation": "elu"},
        {"whiten": "zca", "normalize_rows": 0.5},
        {"n_components": 5, "whiten": "pca", "whiten_code": True},
        {"loss": "poisson", "n_components": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("width", [7, 30])
def test_parameters(width, parameters, dtype):
    estimator = AutoencoderTransformer(max_iter=2, random_state=0, **parameters)
    rows = np.abs(draw(width)).astype(dtype)
    read_all(estimator.fit(rows), rows)


def test_frames_of_one_type_and_sparse_rows():
    rows = draw(13)
    rows[rows < 0] = 0
    estimator = AutoencoderTransformer(max_iter=1, random_state=0).fit(rows)
    expected = estimator.transform(rows)
    frame = pd.DataFrame(np.asfortranarray(rows))
    np.testing.assert_array_equal(estimator.transform(frame), expected)
    np.testing.assert_array_equal(
        estimator.transform(sparse.csr_matrix(rows)), expected
    )


@pytest.mark.parametrize("shape", [(5, 7), (8, 8), (4, 5, 3), (1, 13)])
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_convolutional(shape, normalization):
    rows = draw(int(np.prod(shape)))
    estimator = ConvAutoencoderTransformer(
        3,
        image_shape=shape,
        hidden_channels=(5, 6),
        normalization=normalization,
        max_iter=1,
        random_state=0,
    )
    read_all(estimator.fit(rows), rows)


@pytest.mark.parametrize("limit", [96 * 64, 96 * 64 - 1])
def test_images_with_large_maps_are_blocks_of_their_own(limit, monkeypatch):
    monkeypatch.setattr(blocks, "_LARGEST_MAP", limit)
    rows = draw(64)
    estimator = ConvAutoencoderTransformer(3, hidden_channels=(4, 6), max_iter=1)
    read_all(estimator.set_params(random_state=0).fit(rows), rows)
    is_large = limit < 96 * 64
    assert (estimator._model.blockwise.block.size == 1) == is_large
    # Maps of dense networks are no larger than their weights.
    dense = AutoencoderTransformer(100, max_iter=1).fit(rows)
    assert dense._model.blockwise.block.size > 1


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((8, 8), {}),
        ((7, 5), {"n_components": 11}),
        ((5, 5, 3), {"whiten_code": False}),
        ((1, 30), {"pooling": 3, "normalize_patches": None}),
        ((6, 6), {"autoencoder": AutoencoderTransformer(7, max_iter=2)}),
        ((8, 8), {"n_prototypes": 37}),
        ((7, 5), {"n_prototypes": 64, "n_components": 11}),
    ],
)
def test_patches(shape, parameters):
    rows = draw(int(np.prod(shape)), 70)
    patches = AutoencoderTransformer(20, sparsity="topk", whiten="zca", max_iter=2)
    estimator = PatchAutoencoderTransformer(
        image_shape=shape,
        n_patches=300,
        random_state=0,
        **{"autoencoder": patches, **parameters},
    ).fit(rows)
    assert_alone(estimator.transform, rows)
    assert_alone(estimator.inverse_transform, estimator.transform(rows))


@pytest.mark.parametrize("width", [1, 5, 7, 30])
@pytest.mark.parametrize("number_encoding", [None, "piecewise_linear", "periodic"])
def test_tables(width, number_encoding):
    frame = pd.DataFrame(draw(width)).rename(columns=str)
    letters = np.random.default_rng(0).choice(["a", "b", "c"], N_ROWS)
    frame["letter"] = letters
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)
    estimator = TabularAutoencoderTransformer(
        max_iter=1, number_encoding=number_encoding, random_state=0
    ).fit(frame)
    functions = {
        "transform": estimator.transform,
        "score": estimator.score_samples,
        "error": lambda rows: estimator.reconstruction_error(rows, per_column=True),
        "impute": lambda rows: estimator.impute(rows).to_numpy(),
    }
    for function in functions.values():
        whole = function(frame)
        for index in ([5], [6, 9], range(40, 120), range(N_ROWS - 1, -1, -1)):
            found = function(frame.iloc[list(index)])
            np.testing.assert_array_equal(found, whole[list(index)])
    assert_alone(
        lambda code: estimator.inverse_transform(code).to_numpy(),
        estimator.transform(frame),
    )


class OfTheUsers(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.there = nn.Linear(n_features, n_components)
        self.back = nn.Linear(n_components, n_features)

    def encode(self, x):
        return torch.tanh(self.there(x))

    def decode(self, code):
        return self.back(code)


class Watched(OfTheUsers):
    seen = []

    def encode(self, x):
        self.seen.append(x.detach().clone())
        return super().encode(x)


def test_blocks_are_filled_up_with_zeros():
    rows = draw(7) + 9
    estimator = AutoencoderTransformer(2, network=Watched, max_iter=1).fit(rows)
    Watched.seen.clear()
    estimator.transform(rows[:101])
    first, second = Watched.seen
    assert len(first) == len(second) == 96
    assert (first != 0).any(dim=1).all()
    assert (second[:5] != 0).any(dim=1).all()
    # Neither with the rows of the block before, nor with old content of the memory.
    assert (second[5:] == 0).all()


def test_a_network_of_the_users():
    rows = draw(7)
    estimator = AutoencoderTransformer(
        3, network=OfTheUsers, max_iter=1, random_state=0
    )
    read_all(estimator.fit(rows), rows)


def test_any_number_of_threads():
    rows = draw(700, 500)
    estimator = AutoencoderTransformer(max_iter=1, random_state=0).fit(rows)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            found.append(estimator.transform(rows))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.slow  # It runs some tests once more, in a process.
def test_on_a_processor_with_smaller_tiles():
    # Torch's matrix products on x86 can be told to do without AVX-512.
    chosen = [f"test_dense[{width}]" for width in (5, 7, 13, 300)]
    tests = [f"{__file__}::{name}" for name in (*chosen, "test_patches")]
    if os.environ.get("MKL_ENABLE_INSTRUCTIONS"):
        pytest.skip("one is enough")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_blocks_are_only_smaller_where_they_round_alike():
    """A function whose rounding depends on the number of rows gets whole blocks."""

    def fickle(rows):
        return rows * (1 if len(rows) >= 96 else 1 + 2**-20)

    rows = torch.randn(192, 3)
    assert blocks.same_rounding(fickle, rows) == [96, 192]
    assert blocks.same_rounding(lambda rows: 2 * rows, rows) == [8, 16, 32, 96, 192]


@pytest.mark.parametrize(("call", "rest"), [(4.0, [8] * 5), (100.0, [96])])
def test_the_rest_of_the_rows_goes_into_blocks_that_suit_it(call, rest):
    cuts = blocks._cut(2000, [8, 96, 980], call)
    assert [row for rows, _ in cuts for row in range(2000)[rows]] == list(range(2000))
    assert [size for _, size in cuts] == [980, 980, *rest]


def test_blocks_all_have_one_shape(monkeypatch):
    rows = draw(5)
    estimator = AutoencoderTransformer(
        2, network=OfTheUsers, max_iter=1, random_state=0
    ).fit(rows)
    seen = []
    encode = type(estimator.network_).encode

    def watched(network, x):
        seen.append(tuple(x.shape))
        return encode(network, x)

    monkeypatch.setattr(type(estimator.network_), "encode", watched)
    estimator.transform(rows)
    estimator.transform(rows[:1])
    assert set(seen) == {(96, 5)}


@pytest.mark.parametrize("size", [9e305, 1.7e308, 5e-324, 1e-310])
@pytest.mark.parametrize("weighs", ["alike", "differently"])
def test_weights_of_any_size_train(size, weighs):
    rows = draw(6, 200)
    weights = np.full(200, size)
    if weighs == "differently":
        weights[:50] = 0
    relative = (weights > 0).astype(float)
    estimator = AutoencoderTransformer(2, max_iter=3, batch_size=64, random_state=0)
    found = estimator.fit(rows, sample_weight=weights)
    losses, codes = found.loss_curve_, found.transform(rows)
    score = found.score(rows, sample_weight=weights)
    expected = estimator.fit(rows, sample_weight=relative)
    np.testing.assert_allclose(losses, expected.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(codes, expected.transform(rows), rtol=1e-4, atol=1e-5)
    assert score == pytest.approx(expected.score(rows, sample_weight=relative))


@pytest.mark.parametrize("size", [9e305, 5e-324])
def test_weights_of_any_size_for_images_and_tables(size):
    rows = draw(36, 40)
    weights = np.full(40, size)
    patches = AutoencoderTransformer(20, sparsity="topk", max_iter=2)
    images = PatchAutoencoderTransformer(patches, n_patches=500, random_state=0)
    found = images.fit(rows, sample_weight=weights).transform(rows)
    expected = images.fit(rows, sample_weight=np.ones(40)).transform(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    frame = pd.DataFrame({"a": rows[:, 0], "b": list("xyzw") * 10})
    table = TabularAutoencoderTransformer(max_iter=2, random_state=0)
    found = table.fit(frame, sample_weight=weights).transform(frame)
    expected = table.fit(frame, sample_weight=np.ones(40)).transform(frame)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_contrast_of_patches_heeds_weights():
    rows = draw(36, 40)
    rows[20:] *= 10
    weights = np.r_[np.ones(20), np.full(20, 1e-6)]
    patches = AutoencoderTransformer(20, sparsity="topk", max_iter=1)
    images = PatchAutoencoderTransformer(patches, n_patches=10_000, random_state=0)
    faint = images.fit(rows[:20])._contrast
    weighed = images.fit(rows, sample_weight=weights)._contrast
    assert weighed == pytest.approx(faint, rel=1e-2)


def test_compression_heeds_weights():
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(60, 4, generator=draws)
    targets = torch.randn(60, 3, generator=draws)
    weights = torch.randint(0, 4, (60,), generator=draws).double()
    parameters = {"n_components": None, "whiten": True, "regularization": 0.1}
    found, _ = learn_compression(features, targets, weights, **parameters)
    times = weights.long()
    expected, _ = learn_compression(
        features.repeat_interleave(times, 0),
        targets.repeat_interleave(times, 0),
        torch.ones(int(times.sum()), dtype=torch.float64),
        **parameters,
    )
    for name in ("mean", "forward", "backward", "intercept"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5
        )


def test_a_fault_in_blocks_is_named_by_its_row_in_the_stream():
    rows = draw(3, 90)
    rows[71, 2] = np.nan
    parts = Blocks([rows[:40], rows[40:60], rows[60:]])
    with pytest.raises(ValueError, match=r"row 71, column 2"):
        AutoencoderTransformer(2, max_iter=1).fit(parts)


def test_a_fault_that_comes_later_is_named_by_its_row_in_the_stream():
    passes = count()

    def source():
        rows = draw(3, 90)
        if next(passes):
            rows[71, 2] = np.inf
        return iter([rows[:40], rows[40:60], rows[60:]])

    with pytest.raises(ValueError, match=r"row 71, column 2"):
        AutoencoderTransformer(2, max_iter=1).fit(Blocks(source))


@pytest.mark.parametrize("linear_skip", [True, False])
def test_wide_sparse_rows_take_few_epochs(linear_skip):
    rows = sparse.random(60, 1200, density=0.01, format="csr", random_state=0)
    estimator = AutoencoderTransformer(
        2, hidden_layer_sizes=(4,), linear_skip=linear_skip, random_state=0
    )
    n_epochs = estimator.fit(rows).n_iter_
    assert (n_epochs <= 3) == linear_skip
    assert estimator.fit(rows[:, :900]).n_iter_ > 3
    assert estimator.set_params(max_iter=4).fit(rows).n_iter_ == 4


def test_sparse_rows_are_standardised_as_dense_ones():
    rows = sparse.random(50, 40, density=0.1, format="csr", random_state=0)
    doubled = sparse.csr_matrix(
        (
            np.r_[rows.data, 1.0, 1.0],
            np.r_[rows.indices, 3, 3],
            np.r_[rows.indptr[:-1], len(rows.data) + 2],
        ),
        shape=rows.shape,
    )
    for matrix in (rows, doubled, rows.astype(np.float32)):
        estimator = AutoencoderTransformer(3, max_iter=2, random_state=0)
        found = estimator.fit(matrix.copy()).transform(matrix.copy())
        expected = estimator.fit(matrix.toarray()).transform(matrix.toarray())
        np.testing.assert_array_equal(found, expected)


def test_graphs_keep_shares_below_one():
    onnx = pytest.importorskip("skautoenc.onnx")
    runtime = pytest.importorskip("onnxruntime")
    rows = (np.random.default_rng(0).random((61, 40)) < np.linspace(0.1, 0.9, 40)) * 1.0
    estimator = AutoencoderTransformer(3, max_iter=2, random_state=0).fit(rows)
    assert estimator.loss_function_ == "binary_cross_entropy"
    model = onnx.to_onnx(estimator, "autoencoder").SerializeToString()
    session = runtime.InferenceSession(model)
    # So far away that shares are one, except for the rounding of mean and scale.
    (found,) = session.run(None, {"X": (rows * 1e4).astype(np.float32)})
    assert found.max() == 1
    assert found.min() == 0
