"""Training data that is read in blocks."""

import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

from skautoenc import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
)
from skautoenc._training.batches import Batches


@pytest.fixture
def X():
    """More rows than are stored in memory at once."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(4000, 3)) + np.linspace(-2, 2, 4000)[:, None]
    return factors @ rng.normal(size=(3, 300)) + 1.0


@pytest.fixture
def quick():
    return AutoencoderTransformer(3, max_iter=3, random_state=0)


def cut(X, *sizes):
    """Cut rows into blocks of the given sizes, repeatedly."""
    blocks, start = [], 0
    while start < X.shape[0]:
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(X[start : start + size])
        start += size
    return blocks


def weights(estimator):
    state = estimator.network_.state()["weights"]
    return {name: array.tobytes() for name, array in state.items()}


def same(estimator, X, blocks, **others):
    """Whether a fit of blocks equals that of an array, bit for bit."""
    whole, parts = clone(estimator).fit(X, **others), estimator.fit(blocks, **others)
    return (
        weights(whole) == weights(parts)
        and whole.loss_curve_ == parts.loss_curve_
        and whole.validation_scores_ == parts.validation_scores_
        and whole.n_dead_ == parts.n_dead_
        and np.array_equal(whole.mean_, parts.mean_)
    )


PARAMETERS = [
    {},
    {"n_components": 512, "corruption_rate": 0.1},
    {"early_stopping": True, "whiten_code": True},
    {"early_stopping": True, "validation_fraction": 0.9},
    {"whiten": "zca", "normalize_rows": 0.5, "loss": "huber"},
]


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_blocks_in_a_large_buffer_give_the_fit_of_an_array(quick, X, parameters):
    assert same(quick.set_params(**parameters), X, Blocks(cut(X, 300, 1, 999)))


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("buffer_size", [1, 700])
def test_without_shuffling_any_buffer_does(quick, X, parameters, buffer_size):
    quick.set_params(shuffle=False, **parameters)
    assert same(quick, X, Blocks(cut(X, 300, 1, 999), buffer_size=buffer_size))


def test_weights_are_those_of_the_rows_in_their_order(quick, X):
    given = np.linspace(0, 3, len(X)).round()
    blocks = Blocks(cut(X, 500), buffer_size=600)
    quick.set_params(shuffle=False)
    assert same(quick, X, blocks, sample_weight=given)


@pytest.mark.parametrize(
    "convert",
    [sparse.csr_array, np.float32, lambda X: X.round().astype(int)],
)
def test_blocks_are_what_fit_takes(quick, X, convert):
    X = convert(X)
    assert same(quick, X, Blocks(cut(X, 900)))


@pytest.mark.parametrize(
    "library",
    [lambda X, names: pd.DataFrame(X, columns=names), pl.DataFrame],
    ids=["pandas", "polars"],
)
def test_names_are_those_of_the_first_block(quick, X, library):
    names = [f"x{column}" for column in range(X.shape[1])]
    frames = [library(part, names) for part in cut(X, 900)]
    assert same(quick, X, Blocks(frames))
    assert list(quick.fit(Blocks(frames)).feature_names_in_) == names
    frames[2] = library(X[:9], ["other", *names[1:]])
    with pytest.raises(ValueError, match="feature names should match"):
        quick.fit(Blocks(frames))


def test_images(X):
    images = X[:600].reshape(-1, 15, 20)
    estimator = ConvAutoencoderTransformer(3, max_iter=1, random_state=0)
    assert same(estimator, images, Blocks(cut(images, 250)))
    assert estimator.image_shape_ == (15, 20, 1)


@pytest.mark.parametrize("n_patches", [500, 10**6])
def test_patches(X, n_patches):
    images = X[:300].reshape(-1, 15, 20)
    estimator = PatchAutoencoderTransformer(
        AutoencoderTransformer(8, max_iter=1, batch_size=10_000),
        n_patches=n_patches,
        random_state=0,
    )
    whole = clone(estimator).fit(images)
    parts = clone(estimator).fit(Blocks(cut(images, 90), buffer_size=100))
    assert parts.image_shape_ == (15, 20, 1)
    assert parts.decoder_map_.tobytes() == whole.decoder_map_.tobytes()
    expected = whole.transform(images[:9])
    assert parts.transform(images[:9]).tobytes() == expected.tobytes()


class Passes:
    """Blocks that count how often each of them is requested."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.counts = [0] * len(blocks)

    def __call__(self):
        for number, block in enumerate(self.blocks):
            self.counts[number] += 1
            yield block


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}])
def test_an_epoch_is_one_pass(quick, X, parameters):
    quick.set_params(loss="squared_error", **parameters)
    counts = []
    for n_epochs in (2, 5):
        source = Passes(cut(X, 100))
        blocks = Blocks(source, buffer_size=400)
        clone(quick).set_params(max_iter=n_epochs).fit(blocks)
        counts.append(np.array(source.counts))
    assert (counts[1] - counts[0] == 3).all()
    # To check, for means and scale, and for the first weights; held-out rows are read
    # once where they are few.
    assert counts[0].max() == 3 + 2 + (1 if parameters else 0)


def test_weights_of_zero_cost_no_pass(quick, X):
    given = np.ones(len(X))
    given[500:900] = 0
    source = Passes(cut(X, 100))
    quick.set_params(max_iter=5, loss="squared_error")
    quick.fit(Blocks(source, buffer_size=400), sample_weight=given)
    assert max(source.counts) == 3 + 5


def test_rows_change_places_within_the_buffer():
    generator = torch.Generator().manual_seed(0)
    batches = Batches(1000, 10, shuffle=True, generator=generator, window=100)
    borders = []
    for _ in range(2):
        order = np.concatenate([index for index, _ in batches.in_groups(10)])
        assert sorted(order) == list(range(1000))
        moved = np.abs(order - np.arange(1000))
        assert moved.mean() > 20
        assert moved.max() < 100
        # All rows before have lower numbers than all rows after.
        highest = np.maximum.accumulate(order)
        borders.append(np.flatnonzero(highest == np.arange(1000)))
    assert not np.array_equal(*borders)


def test_a_small_buffer_learns_as_well(quick, X):
    quick.set_params(max_iter=10)
    whole = clone(quick).fit(X)
    parts = quick.fit(Blocks(cut(X, 100), buffer_size=400))
    assert weights(parts) != weights(whole)
    assert parts.loss_ < 1.1 * whole.loss_ + 1e-3
    assert weights(clone(quick).fit(Blocks(cut(X, 99), buffer_size=400))) == weights(
        parts
    )


def test_memory_is_that_of_the_buffer(quick):
    def blocks():
        rng = np.random.default_rng(0)
        for _ in range(60):
            yield rng.random((500, 1000), dtype=np.float32)

    AutoencoderTransformer(2, max_iter=1).fit(np.ones((9, 9)))
    tracemalloc.start()
    quick.set_params(max_iter=1).fit(Blocks(blocks, buffer_size=2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The buffer has 8 MB, a block 2 MB, all rows 120 MB.
    assert peak < 40e6


def test_partial_fit_and_warm_start(quick, X):
    blocks = Blocks(cut(X, 900))
    whole, parts = clone(quick).partial_fit(X), clone(quick).partial_fit(blocks)
    assert weights(whole) == weights(parts)
    whole, parts = whole.partial_fit(X), parts.partial_fit(blocks)
    assert weights(whole) == weights(parts)
    for estimator, data in ((whole, X), (parts, blocks)):
        estimator.set_params(warm_start=True).fit(data)
    assert weights(whole) == weights(parts)
    assert whole.loss_curve_ == parts.loss_curve_


def test_a_checkpoint_knows_the_buffer(quick, X, tmp_path):
    quick.set_params(checkpoint=tmp_path)
    small, large = (Blocks(cut(X, 900), buffer_size=size) for size in (300, 800))
    first, second = (weights(clone(quick).fit(blocks)) for blocks in (small, large))
    assert first != second
    assert weights(clone(quick).fit(small)) == first


@pytest.mark.parametrize(
    "source",
    [(part for part in []), iter([]), 3, np.float64(1.0)],
    ids=lambda source: type(source).__name__,
)
def test_a_source_that_can_be_read_once_is_refused(source):
    with pytest.raises(TypeError, match=r"more than once.* function that makes"):
        Blocks(source)


@pytest.mark.parametrize("buffer_size", [0, -1, 1.5, "all"])
def test_a_bad_buffer_is_refused(buffer_size):
    with pytest.raises(ValueError, match="'buffer_size' parameter of Blocks"):
        Blocks([], buffer_size=buffer_size)


def test_blocks_must_not_change(quick, X):
    left = [7]

    def shrinking():
        left[0] -= 1
        return iter(cut(X, 100)[: 30 + left[0]])

    with pytest.raises(ValueError, match="rows in the first pass and have"):
        quick.fit(Blocks(shrinking, buffer_size=200))


def test_a_missing_value_is_named(quick, X):
    blocks = cut(X.copy(), 900)
    blocks[2][5, 7] = np.nan
    with pytest.raises(ValueError, match="NaN: row 1805, column 7"):
        quick.fit(Blocks(blocks))


@pytest.mark.parametrize("blocks", [[], [np.ones((1, 3))], [np.ones((0, 3))]], ids=len)
def test_too_few_rows(quick, blocks):
    with pytest.raises(ValueError, match="two are needed"):
        quick.fit(Blocks(blocks))


def test_what_needs_all_rows_refuses_blocks(quick, X):
    blocks = Blocks(cut(X, 900))
    with pytest.raises(ValueError, match="None for Blocks"):
        clone(quick).set_params(n_neighbors=3).fit(blocks)
    with pytest.raises(ValueError, match="does not take Blocks"):
        AutoencoderOutlierDetector().fit(blocks)
    with pytest.raises(TypeError, match="one block at a time"):
        quick.fit(X).transform(blocks)
