"""Convolutional features by an autoencoder of patches."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer
from skautoenc.networks.patches import cut_patches, pool

RULES = {"sparsity": "topk", "sparsity_rate": 0.1, "hidden_layer_sizes": ()}


def quick(**parameters):
    defaults = {"max_iter": 2, "batch_size": 1024, **RULES}
    return AutoencoderTransformer(12, **{**defaults, **parameters})


@pytest.fixture(scope="module")
def colour():
    """Images of 9 x 12 in three channels."""
    return np.random.default_rng(0).random((30, 9, 12, 3))


def by_hand(estimator, images):
    """The features, by loops over images, places and cells."""
    height, width = estimator.patch_size_
    rows, columns = estimator.grid_
    features = []
    for image in images:
        places = image.shape[0] - height + 1, image.shape[1] - width + 1
        codes = np.array(
            [
                [
                    estimator.autoencoder_.transform(
                        image[r : r + height, c : c + width].reshape(1, -1)
                    )[0]
                    for c in range(places[1])
                ]
                for r in range(places[0])
            ]
        )
        for i in range(rows):
            top, bottom = i * places[0] // rows, -(-(i + 1) * places[0] // rows)
            for j in range(columns):
                left = j * places[1] // columns
                right = -(-(j + 1) * places[1] // columns)
                features.append(codes[top:bottom, left:right].mean(axis=(0, 1)))
    return np.array(features).reshape(len(images), -1)


@pytest.mark.parametrize(
    "autoencoder",
    [
        quick(),
        quick(whiten="zca"),
        quick(whiten="pca", normalize_rows=0.5),
        quick(normalize_rows=0.3),
        quick(sparsity="lifetime", tied_weights=False),
        quick(sparsity="kl"),
        quick(features="sparse"),
        quick(whiten_code=True),
        AutoencoderTransformer(5, max_iter=2),
        AutoencoderTransformer(5, max_iter=2, features="stack"),
    ],
    ids=repr,
)
def test_features_are_means_of_codes(colour, autoencoder):
    estimator = PatchAutoencoderTransformer(
        autoencoder, patch_size=(4, 5), pooling=(2, 3), random_state=0
    ).fit(colour)
    features = estimator.transform(colour[:3])
    expected = by_hand(estimator, colour[:3])
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4
    )


def test_names_say_where_a_feature_looks(digits):
    X, _, _, _ = digits
    estimator = PatchAutoencoderTransformer(
        quick(), pooling=(1, 2), patch_size=3, random_state=0
    ).fit(X)
    names = list(estimator.get_feature_names_out())
    assert names[:2] == ["patch0_r0_c0", "patch1_r0_c0"]
    assert names[-1] == "patch11_r0_c1"
    # What changes on the right reaches the right cell only.
    image = np.zeros((1, 8, 8))
    changed = image.copy()
    changed[0, :, 7] = 1
    difference = estimator.transform(changed) - estimator.transform(image)
    moved = {name[-2:] for name, d in zip(names, difference[0], strict=True) if d}
    assert moved == {"c1"}


def test_sizes_follow_from_the_shape(digits):
    X, _, _, _ = digits
    square = PatchAutoencoderTransformer(quick()).fit(X)
    assert square.image_shape_ == (8, 8, 1)
    assert square.patch_size_ == (4, 4)
    assert square.grid_ == (4, 4)
    line = PatchAutoencoderTransformer(quick()).fit(X[:, :24])
    assert line.image_shape_ == (1, 24, 1)
    assert line.patch_size_ == (1, 6)
    assert line.grid_ == (1, 4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_size": 9}, "no larger than the image, 8x8"),
        ({"patch_size": (2, 2, 2)}, "'patch_size' parameter .* pair"),
        ({"pooling": (0, 2)}, "'pooling' parameter .* pair"),
        ({"pooling": 0}, "'pooling' parameter"),
        ({"autoencoder": AutoencoderTransformer}, "'autoencoder' parameter"),
    ],
)
def test_errors_name_the_fault(train_rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        PatchAutoencoderTransformer(**parameters).fit(train_rows)


def test_a_part_of_the_patches_is_drawn(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), n_patches=500, random_state=0)
    first = estimator.fit(train_rows).transform(train_rows)
    again = clone(estimator).fit(train_rows).transform(train_rows)
    np.testing.assert_array_equal(first, again)
    other = clone(estimator).set_params(random_state=1).fit(train_rows)
    assert np.abs(other.transform(train_rows) - first).max() > 0.01
    unlike = clone(estimator).set_params(n_patches=400).fit(train_rows)
    assert np.abs(unlike.transform(train_rows) - first).max() > 0.001


def test_images_without_weight_do_not_count(train_rows):
    weights = np.repeat([1.0, 0.0], [300, len(train_rows) - 300])
    # As many patches as there are: none is left out by chance.
    estimator = PatchAutoencoderTransformer(quick(), random_state=0)
    weighed = clone(estimator).fit(train_rows, sample_weight=weights)
    alone = clone(estimator).fit(train_rows[:300])
    np.testing.assert_allclose(
        weighed.autoencoder_.mean_, alone.autoencoder_.mean_, rtol=1e-6
    )


def test_way_back_gives_blurred_images(train_rows, test_rows):
    estimator = PatchAutoencoderTransformer(random_state=0).fit(train_rows)
    images = estimator.inverse_transform(estimator.transform(test_rows))
    error = np.mean((images - test_rows) ** 2)
    assert error < 0.1 * test_rows.var(axis=0).mean()
    with pytest.raises(ValueError, match=r"64 columns, but transform .* gives 3200"):
        estimator.inverse_transform(test_rows)


def test_pickles_alike(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), random_state=0).fit(train_rows)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        copy.transform(train_rows), estimator.transform(train_rows)
    )


def test_better_than_codes_of_whole_images(digits):
    X, X_test, y, y_test = digits

    def accuracy(features):
        code = features.fit(X).transform(X)
        scale = np.sqrt(code.var(axis=0).mean())
        classifier = LogisticRegression(max_iter=1000).fit(code / scale, y)
        return classifier.score(features.transform(X_test) / scale, y_test)

    patches = accuracy(PatchAutoencoderTransformer(pooling=3, random_state=0))
    assert patches > 0.985
    assert patches > accuracy(AutoencoderTransformer(random_state=0))


def test_parameters_of_the_autoencoder_can_be_searched(digits):
    X, _, y, _ = digits
    pipeline = make_pipeline(
        PatchAutoencoderTransformer(quick(), pooling=2, random_state=0),
        LogisticRegression(C=100, max_iter=2000),
    )
    name = "patchautoencodertransformer__autoencoder__n_components"
    search = GridSearchCV(pipeline, {name: [1, 24]}, cv=2).fit(X[:400], y[:400])
    assert search.best_params_ == {name: 24}


def test_patches_keep_the_order_of_their_rows():
    image = torch.arange(24).view(1, 3, 4, 2)
    patches = cut_patches(image, (2, 3))
    assert patches.shape == (1, 2, 2, 12)
    assert torch.equal(patches[0, 1, 0], image[0, 1:3, 0:3].flatten())


def test_pooling_covers_all_places():
    codes = torch.rand(2, 5, 3, 4)
    torch.testing.assert_close(pool(codes, (1, 1))[:, 0, 0], codes.mean(dim=(1, 2)))
    torch.testing.assert_close(pool(codes, (5, 3)), codes)
    pooled = pool(codes, (2, 1))
    torch.testing.assert_close(pooled[:, 0, 0], codes[:, :3].mean(dim=(1, 2)))
    torch.testing.assert_close(pooled[:, 1, 0], codes[:, 2:].mean(dim=(1, 2)))
