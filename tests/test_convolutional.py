"""Codes of images by a convolutional autoencoder."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from torch import nn

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
)
from skautoenc._networks.convolutional import ConvolutionalAutoencoder
from skautoenc._networks.maps import Convolution, TransposedConvolution
from skautoenc._objectives.augmentation import shift

QUICK = {"hidden_channels": (4, 6), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def colour():
    """Images of 9 x 13 in three channels: a bright square somewhere on a slope."""
    rng = np.random.default_rng(0)
    images = np.zeros((200, 9, 13, 3))
    images += np.linspace(0, 1, 13)[:, None] * rng.random((200, 1, 1, 3))
    for image, top, left in zip(
        images, rng.integers(6, size=200), rng.integers(10, size=200), strict=True
    ):
        image[top : top + 3, left : left + 3] += rng.random(3)
    return images


def relative_error(estimator, rows, reference):
    reconstruction = estimator.inverse_transform(estimator.transform(rows))
    other = reference.inverse_transform(reference.transform(rows))
    return np.mean((reconstruction - rows) ** 2) / np.mean((other - rows) ** 2)


@pytest.mark.parametrize("n_components", [pytest.param(4, marks=pytest.mark.slow), 16])
def test_reconstructs_digits_better_than_pca(train_rows, test_rows, n_components):
    estimator = ConvAutoencoderTransformer(n_components, random_state=0)
    pca = PCA(n_components).fit(train_rows)
    assert relative_error(estimator.fit(train_rows), test_rows, pca) < 0.7


def test_convolutions_alone_learn(train_rows, test_rows):
    estimator = ConvAutoencoderTransformer(16, linear_skip=False, random_state=0)
    pca = PCA(16).fit(train_rows)
    assert relative_error(estimator.fit(train_rows), test_rows, pca) < 0.85


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (9, 13, 3), (1, 24, 1), (5, 1, 2), (3, 3, 1), (1, 1, 4)]
)
@pytest.mark.parametrize("normalization", ["layer", "batch", None])
def test_images_of_any_size_come_back(shape, normalization):
    images = np.random.default_rng(0).random((40, *shape)).astype(np.float32)
    estimator = ConvAutoencoderTransformer(3, normalization=normalization, **QUICK)
    estimator.fit(images)
    assert estimator.image_shape_ == shape
    code = estimator.transform(images)
    assert code.shape == (40, 3)
    assert code.dtype == np.float32
    rows = estimator.inverse_transform(code)
    assert rows.shape == (40, np.prod(shape))
    assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    "estimator",
    [
        ConvAutoencoderTransformer(3, **QUICK),
        PatchAutoencoderTransformer(
            AutoencoderTransformer(12, sparsity="topk", max_iter=1), n_patches=2000
        ),
    ],
    ids=repr,
)
class TestImageInput:
    """Input of all estimators of images."""

    def test_images_of_any_form_are_the_same(self, colour, estimator):
        rows = colour.reshape(len(colour), -1)
        seeded = clone(estimator).set_params(random_state=0)
        flat = clone(seeded).set_params(image_shape=(9, 13, 3))
        shaped = clone(seeded).fit(colour).transform(rows)
        np.testing.assert_array_equal(shaped, clone(flat).fit(rows).transform(colour))
        thin = sparse.csr_matrix(rows)
        np.testing.assert_array_equal(shaped, clone(flat).fit(thin).transform(thin))

    def test_shape_is_found(self, train_rows, estimator):
        assert clone(estimator).fit(train_rows).image_shape_ == (8, 8, 1)
        assert clone(estimator).fit(train_rows[:, :24]).image_shape_ == (1, 24, 1)

    def test_long_rows_are_squares_of_three_channels(self, colour, estimator):
        rows = np.tile(colour[:20].reshape(20, -1), 2)
        images = clone(estimator).set_params(random_state=0)
        fitted = clone(images).fit(rows[:, : 10 * 10 * 3])
        assert fitted.image_shape_ == (10, 10, 3)
        shaped = clone(images).fit(rows[:, :300].reshape(-1, 10, 10, 3))
        np.testing.assert_array_equal(
            fitted.transform(rows[:, :300]), shaped.transform(rows[:, :300])
        )

    @pytest.mark.parametrize("width", [193, 10 * 10 * 2, 3 * 8 * 9, 10 * 10 * 3 + 1])
    def test_a_shape_that_cannot_be_guessed_is_asked_for(
        self, colour, estimator, width
    ):
        rows = np.tile(colour[:20].reshape(20, -1), 2)[:, :width]
        with pytest.raises(ValueError, match=rf"{width} columns.*\(1, {width}\)"):
            clone(estimator).fit(rows)
        line = clone(estimator).set_params(image_shape=(1, width)).fit(rows)
        assert line.image_shape_ == (1, width, 1)

    def test_grey_images_need_no_channels(self, train_rows, estimator):
        images = train_rows.reshape(-1, 8, 8)
        fitted = clone(estimator).fit(images)
        np.testing.assert_array_equal(
            fitted.transform(images[..., np.newaxis]), fitted.transform(train_rows)
        )

    @pytest.mark.parametrize(
        ("image_shape", "message"),
        [
            ((28, 28), r"\(28, 28\) is for 28 \* 28 = 784 columns, but X has 64"),
            ((64,), r"'image_shape' parameter of .* \(height, width"),
            ((8, 8.0), r"'image_shape' parameter of .* \(height, width"),
            ((8, 0), r"'image_shape' parameter of .* \(height, width"),
        ],
    )
    def test_shape_has_to_fit(self, train_rows, estimator, image_shape, message):
        with pytest.raises(ValueError, match=message):
            clone(estimator).set_params(image_shape=image_shape).fit(train_rows)

    def test_other_images_are_refused(self, colour, estimator):
        fitted = clone(estimator).fit(colour)
        turned = colour.transpose(0, 2, 1, 3)
        with pytest.raises(ValueError, match=r"\(13, 9, 3\), but .* \(9, 13, 3\)"):
            fitted.transform(turned)
        with pytest.raises(ValueError, match=r"\(13, 9, 3\), but image_shape"):
            clone(fitted).set_params(image_shape=(9, 13, 3)).fit(turned)

    def test_lists_and_tensors_are_images(self, colour, estimator):
        fitted = clone(estimator).set_params(random_state=0).fit(colour)
        expected = fitted.transform(colour)
        np.testing.assert_array_equal(fitted.transform(colour.tolist()), expected)
        tensor = torch.from_numpy(colour)
        np.testing.assert_array_equal(fitted.transform(tensor), expected)
        with pytest.raises(ValueError, match="0 sample"):
            fitted.transform(colour[:0])

    def test_channels_in_front_are_noticed(self, colour, estimator):
        first = np.moveaxis(colour, -1, 1)
        with pytest.raises(ValueError, match=r"np.moveaxis\(X, 1, -1\)"):
            clone(estimator).fit(first)
        meant = clone(estimator).set_params(image_shape=first.shape[1:])
        assert meant.fit(first).image_shape_ == (3, 9, 13)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_channels": ()}, "positive integer or a sequence"),
        ({"hidden_channels": (4, 0)}, "positive integer or a sequence"),
        ({"hidden_channels": (4.5,)}, "positive integer or a sequence"),
        ({"kernel_size": 4}, "'kernel_size' parameter .* odd"),
        ({"max_shift": -1}, "'max_shift' parameter"),
        ({"max_shift": 1, "loss": "poisson"}, "'max_shift' parameter .* 0 for loss"),
        ({"hidden_channels": (4, 1)}, "more than one channel each"),
        ({"corruption_rate": 1.0}, "below 1"),
        (
            {"loss": "binary_cross_entropy", "normalize_rows": 0.5},
            "'normalize_rows' parameter",
        ),
    ],
)
def test_errors_name_the_fault(train_rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        ConvAutoencoderTransformer(**parameters).fit(train_rows)


def test_pickles_and_goes_on(train_rows):
    estimator = ConvAutoencoderTransformer(4, **QUICK).fit(train_rows)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        copy.transform(train_rows), estimator.transform(train_rows)
    )
    loss = estimator.loss_
    estimator.set_params(warm_start=True).fit(train_rows)
    assert estimator.n_iter_ == 6
    assert estimator.loss_ < loss


def test_shape_cannot_change_half_way(train_rows):
    estimator = ConvAutoencoderTransformer(4, warm_start=True, **QUICK).fit(train_rows)
    estimator.set_params(image_shape=(8, 8)).fit(train_rows)
    estimator.set_params(image_shape=(4, 16))
    for train in (estimator.fit, estimator.partial_fit):
        with pytest.raises(
            ValueError, match=r"was \(8, 8, 1\) and is now \(4, 16, 1\)"
        ):
            train(train_rows)
    estimator.set_params(image_shape=(4, 17))
    with pytest.raises(ValueError, match="68 columns, but X has 64"):
        estimator.fit(train_rows)


def test_parts_of_a_stream(train_rows, test_rows):
    estimator = ConvAutoencoderTransformer(4, random_state=0)
    images = train_rows.reshape(-1, 8, 8)
    for _ in range(5):
        for part in np.array_split(images, 4):
            estimator.partial_fit(part)
    assert estimator.n_iter_ == 20
    pca = PCA(4).fit(train_rows)
    error = -estimator.score(test_rows)
    reconstruction = pca.inverse_transform(pca.transform(test_rows))
    assert error < 0.9 * np.mean((reconstruction - test_rows) ** 2)


def test_binary_images_get_their_loss(train_rows):
    binary = (train_rows > 0.5).astype(float)
    estimator = ConvAutoencoderTransformer(4, **QUICK).fit(binary)
    assert estimator.loss_function_ == "binary_cross_entropy"
    images = estimator.inverse_transform(estimator.transform(binary))
    assert images.min() >= 0
    assert images.max() <= 1


# Augmentation


def test_shift_moves_images_and_repeats_the_edge():
    image = torch.arange(12.0).view(1, 3, 4, 1)
    many = image.expand(2000, -1, -1, -1)
    moved = shift(many, 1, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(
        image.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate"
    )[0, 0]
    expected = {
        (down, across): padded[1 + down : 4 + down, 1 + across : 5 + across]
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }
    counts = {
        where: int((moved[..., 0] == window).all(dim=(1, 2)).sum())
        for where, window in expected.items()
    }
    assert sum(counts.values()) == 2000
    assert min(counts.values()) > 150


@pytest.mark.parametrize("parameters", [{}, {"normalize_rows": 0.5}], ids=repr)
def test_shifts_make_up_for_images(train_rows, test_rows, parameters):
    """A network that was trained with shifted images reconstructs them better."""
    few = train_rows[:300]
    moved = np.roll(test_rows.reshape(-1, 8, 8), 1, axis=1)
    moved[:, 0] = moved[:, 1]
    moved = moved.reshape(len(test_rows), -1)
    still, shifted = (
        ConvAutoencoderTransformer(
            12, max_shift=max_shift, random_state=0, **parameters
        ).fit(few)
        for max_shift in (0, 1)
    )
    assert shifted.score(moved) > 0.7 * still.score(moved)
    assert shifted.score(few) < still.score(few)


# The network


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 6)])
def test_layers_are_convolutions(size, height, width):
    generator = torch.Generator().manual_seed(0)
    layer = Convolution(2, 3, size)
    back = TransposedConvolution(3, 2, size, (height, width))
    maps = torch.rand(4, height, width, 2, generator=generator)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.bias.zero_()
        back.weight.copy_(layer.weight)
        back.bias.zero_()
        result = layer(maps)
        reference = nn.functional.conv2d(
            nn.functional.pad(maps.movedim(3, 1), [size // 2] * 4), layer.weight
        )[:, :, ::2, ::2].movedim(1, 3)
        torch.testing.assert_close(result, reference)
        # With the same weights, the transposed convolution is the adjoint.
        other = torch.rand(result.shape, generator=generator)
        torch.testing.assert_close(
            (result * other).sum(), (maps * back(other)).sum(), rtol=1e-4, atol=1e-4
        )


def test_multiplications_are_counted():
    network = ConvolutionalAutoencoder(
        image_shape=(5, 4, 2),
        n_components=3,
        hidden_channels=(6, 7),
        kernel_size=3,
        activation="relu",
        linear_skip=True,
        normalization="layer",
    )
    first, second = 3 * 2 * (2 * 6 * 9), 2 * 1 * (6 * 7 * 9)
    assert network.widths == [40, 36, 14, 3]
    assert network.n_multiplications == 2 * (first + second) + 2 * 14 * 3 + 40 * 3


def test_starts_as_pca(train_rows):
    """At a tiny learning rate the code spans the principal axes."""
    estimator = ConvAutoencoderTransformer(
        5, learning_rate_init=1e-9, max_iter=1, random_state=0
    ).fit(train_rows)
    assert relative_error(estimator, train_rows, PCA(5).fit(train_rows)) < 1.2
