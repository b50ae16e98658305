"""Convolutional features from an autoencoder of patches."""

import pickle
import tracemalloc

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer
from skautoenc._data.rows import TrainingData
from skautoenc._preparation.patches import cut_patches, pool

RULES = {"sparsity": "topk", "sparsity_rate": 0.1, "hidden_layer_sizes": ()}


def quick(**parameters):
    defaults = {"max_iter": 2, "batch_size": 1024, **RULES}
    return AutoencoderTransformer(12, **{**defaults, **parameters})


@pytest.fixture(scope="module")
def colour():
    """Images of 9 x 12 in three channels."""
    return np.random.default_rng(0).random((30, 9, 12, 3))


def windows(n_places, n_cells):
    """Weights that decrease from the centre of a cell to its neighbours."""
    cell = n_places / n_cells
    centres = (np.arange(n_cells) + 0.5) * cell
    places = np.arange(n_places) + 0.5
    weights = np.maximum(0, 1 - np.abs(places - centres[:, None]) / cell)
    return weights / weights.sum(axis=1, keepdims=True)


def by_hand(estimator, images):
    """The features, computed by loops over images, positions and cells."""
    height, width = estimator.patch_size_
    down, across = estimator.padding_
    padding = [(0, 0), (down, down), (across, across), (0, 0)]
    images = (images - estimator.mean_) / estimator.scale_
    images = np.pad(images, padding, mode="edge")
    places = images.shape[1] - height + 1, images.shape[2] - width + 1
    features = []
    for image in images:
        codes = [
            [
                encode_by_hand(estimator, image[r : r + height, c : c + width].ravel())
                for c in range(places[1])
            ]
            for r in range(places[0])
        ]
        means = np.einsum(
            "ir,jc,rcu->iju",
            windows(places[0], estimator.grid_[0]),
            windows(places[1], estimator.grid_[1]),
            np.array(codes),
        ).ravel()
        features.append(np.sign(means) * np.sqrt(np.abs(means)))
    features = np.array(features)
    if estimator.code_map_ is None:
        return features
    return (features - estimator.code_mean_) @ estimator.code_map_


def encode_by_hand(estimator, patch):
    if estimator.normalize_patches is not None:
        patch = patch - patch.mean()
        patch = patch / np.sqrt(np.mean(patch**2) + estimator._contrast**2)
    return estimator.autoencoder_.transform(patch.reshape(1, -1))[0]


@pytest.mark.parametrize(
    "autoencoder",
    [
        quick(),
        quick(whiten="zca"),
        quick(whiten="pca", normalize_rows=0.5),
        quick(sparsity="lifetime", tied_weights=False),
        quick(sparsity="kl"),
        quick(features="sparse"),
        quick(whiten_code=True),
        AutoencoderTransformer(5, max_iter=2),
        AutoencoderTransformer(5, max_iter=2, features="stack"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "parameters",
    [
        {"normalize_patches": None, "padding": 0, "whiten_code": False},
        {"padding": (2, 1)},
        {"n_components": 7},
    ],
    ids=repr,
)
def test_features_are_roots_of_mean_codes(colour, autoencoder, parameters):
    estimator = PatchAutoencoderTransformer(
        autoencoder, patch_size=(4, 5), pooling=(2, 3), random_state=0, **parameters
    ).fit(colour)
    features = estimator.transform(colour[:2])
    expected = by_hand(estimator, colour[:2])
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, expected, atol=2e-4 * np.abs(expected).max(), rtol=1e-3
    )


def test_names_say_where_a_feature_looks(digits):
    X, _, _, _ = digits
    estimator = PatchAutoencoderTransformer(
        quick(),
        pooling=(1, 4),
        patch_size=2,
        padding=0,
        whiten_code=False,
        random_state=0,
    ).fit(X)
    names = list(estimator.get_feature_names_out())
    assert names[:2] == ["patch0_r0_c0", "patch1_r0_c0"]
    assert names[-1] == "patch11_r0_c3"
    # Changes on the right affect only the cells near them.
    image = np.zeros((1, 8, 8))
    changed = image.copy()
    changed[0, :, 6] = 1
    difference = estimator.transform(changed) - estimator.transform(image)
    # A millionth is rounding.
    changes = zip(names, np.abs(difference[0]), strict=True)
    moved = {name[-2:] for name, change in changes if change > 1e-6}
    assert moved == {"c2", "c3"}


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
        ({"padding": (-1, 0)}, "'padding' parameter .* an integer of 0 and more"),
        ({"normalize_patches": 0}, "'normalize_patches' parameter"),
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


@pytest.mark.parametrize("n_components", [None, 60])
def test_way_back_gives_blurred_images(train_rows, test_rows, n_components):
    errors = []
    for whiten_code in (True, False):
        estimator = PatchAutoencoderTransformer(
            quick(),
            pooling=3,
            n_components=n_components,
            whiten_code=whiten_code,
            random_state=0,
        ).fit(train_rows)
        images = estimator.inverse_transform(estimator.transform(test_rows))
        errors.append(np.mean((images - test_rows) ** 2))
    assert errors[0] < 0.15 * test_rows.var(axis=0).mean()
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    with pytest.raises(ValueError, match=r"64 columns, but transform of this Patch"):
        estimator.inverse_transform(test_rows)


def test_features_are_uncorrelated(train_rows):
    estimator = PatchAutoencoderTransformer(
        quick(), pooling=2, whiten_regularization=1e-6, random_state=0
    ).fit(train_rows)
    covariance = np.cov(estimator.transform(train_rows).T)
    np.testing.assert_allclose(covariance, np.eye(48), atol=0.05)
    # A strong penalty weakens directions that hardly vary.
    estimator.set_params(whiten_regularization=1.0).fit(train_rows)
    assert estimator.transform(train_rows).var(axis=0).mean() < 0.5


def test_components_are_principal(train_rows):
    pooled, kept, white = (
        PatchAutoencoderTransformer(
            quick(),
            n_components=n_components,
            whiten_code=whiten_code,
            random_state=0,
        )
        .fit(train_rows)
        .transform(train_rows)
        for n_components, whiten_code in ((None, False), (5, False), (5, True))
    )
    expected = PCA(5).fit_transform(pooled)
    signs = np.sign((kept * expected).sum(axis=0))
    np.testing.assert_allclose(kept, expected * signs, atol=1e-3)
    np.testing.assert_allclose(
        white / white.std(axis=0), kept / kept.std(axis=0), atol=1e-3
    )
    assert (np.diff(white.std(axis=0)) < 0).all()
    assert white.std(axis=0)[0] == pytest.approx(1, abs=0.01)


def test_parameters_set_after_the_fit_change_nothing(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), random_state=0).fit(train_rows)
    features, names = estimator.transform(train_rows), estimator.get_feature_names_out()
    estimator.set_params(
        n_components=3,
        normalize_patches=None,
        pooling=1,
        padding=0,
        patch_size=2,
        whiten_code=False,
        image_shape=(4, 16),
    )
    np.testing.assert_array_equal(estimator.transform(train_rows), features)
    np.testing.assert_array_equal(estimator.get_feature_names_out(), names)


def test_names_of_components(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), n_components=2).fit(train_rows)
    assert list(estimator.get_feature_names_out()) == [
        "patchautoencodertransformer0",
        "patchautoencodertransformer1",
    ]
    with pytest.raises(ValueError, match="no more than 192, cells times units"):
        PatchAutoencoderTransformer(quick(), n_components=193).fit(train_rows)


def test_units_and_offsets_do_not_matter(train_rows):
    features = PatchAutoencoderTransformer(quick(), random_state=0)
    expected = features.fit_transform(train_rows)
    other = clone(features).fit_transform(1000 + 50 * train_rows)
    np.testing.assert_allclose(other, expected, atol=0.02)


def test_faint_images_have_the_same_features(train_rows):
    """Contrast is divided out, except in images that are nearly constant."""
    estimator = PatchAutoencoderTransformer(
        quick(), normalize_patches=0.001, whiten_code=False, random_state=0
    ).fit(train_rows)
    strong, faint, nothing = (
        estimator.transform(estimator.mean_ + (train_rows - estimator.mean_) * factor)
        for factor in (1, 0.5, 1e-5)
    )
    np.testing.assert_allclose(faint, strong, atol=0.02 * strong.max())
    assert np.abs(nothing - strong).max() > 0.1 * strong.max()


def test_progress_bar_shows_epochs(train_rows, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    estimator = PatchAutoencoderTransformer(quick(), random_state=0)
    bar = ProgressBar(max_propagation_depth=None)
    estimator.set_callbacks(bar).fit(train_rows)
    assert "AutoencoderTransformer - fit" in capsys.readouterr().out
    pickle.dumps(estimator)


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
    assert patches > 0.99
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


def test_pooling_is_by_overlapping_windows():
    codes = torch.rand(2, 5, 3, 4)
    torch.testing.assert_close(pool(codes, (5, 3)), codes)
    pooled = pool(codes, (2, 1))
    expected = np.einsum("ir,jc,nrcu->niju", windows(5, 2), windows(3, 1), codes)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)


def test_values_of_any_size_have_the_same_features(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), random_state=0)
    expected = estimator.fit_transform(train_rows)
    for factor in (1e-30, 1e20):
        other = clone(estimator).fit(train_rows * factor)
        features = other.transform(train_rows * factor)
        np.testing.assert_allclose(features, expected, atol=0.02)
    images = other.inverse_transform(features) / 1e20
    assert np.mean((images - train_rows) ** 2) < 0.2 * train_rows.var(axis=0).mean()


def test_brightness_of_an_image_does_not_matter(train_rows):
    """Patches are encoded as in training, however bright the image is."""
    estimator = PatchAutoencoderTransformer(
        quick(), whiten_code=False, random_state=0
    ).fit(train_rows)
    bright = train_rows + np.linspace(0, 1000, len(train_rows))[:, np.newaxis]
    expected = estimator.transform(train_rows)
    np.testing.assert_allclose(
        estimator.transform(bright), expected, atol=0.01 * expected.max()
    )


def test_constant_images_have_features(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), normalize_patches=1e-25)
    flat = np.repeat(train_rows.max(axis=1, keepdims=True), 64, axis=1)
    for rows in (flat, np.ones_like(flat), train_rows):
        assert np.isfinite(clone(estimator).fit(rows).transform(rows)).all()


def test_a_fit_that_fails_leaves_nothing_fitted(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), random_state=0)
    for fault in ({"n_components": 10**6}, {"patch_size": 9}, {"image_shape": (3, 3)}):
        fitted = clone(estimator).fit(train_rows).set_params(**fault)
        with pytest.raises(ValueError, match=r"no more than 192|no larger|columns"):
            fitted.fit(2 * train_rows)
        with pytest.raises(NotFittedError):
            fitted.transform(train_rows)


def test_patches_to_look_at(train_rows):
    estimator = PatchAutoencoderTransformer(quick(), random_state=0).fit(train_rows)
    patches = estimator.extract_patches(train_rows, max_patches=100)
    assert patches.shape == (100, 16)
    np.testing.assert_allclose(patches.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_array_equal(
        patches, estimator.extract_patches(train_rows, max_patches=100)
    )
    every = estimator.extract_patches(train_rows[:2], max_patches=10_000)
    assert len(every) == 2 * 49
    assert len(np.unique(every.round(4), axis=0)) > 40
    with pytest.raises(ValueError, match="max_patches == 0, must be >= 1"):
        estimator.extract_patches(train_rows, max_patches=0)
    with pytest.raises(TypeError, match="max_patches must be an instance of"):
        estimator.extract_patches(train_rows, max_patches=10.5)


def test_few_patches_of_many_images_take_little_memory():
    images = np.random.default_rng(0).random((4000, 28, 28)).astype(np.float32)
    estimator = PatchAutoencoderTransformer(quick(), n_patches=1000, random_state=0)
    estimator.fit(images[:200])
    tracemalloc.start()
    patches, _ = estimator._model.features.source.draw(
        TrainingData(images.reshape(4000, -1)), 1000, np.random.RandomState(0)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert patches.shape == (1000, 36)
    # All patches of all images would take 420 MB.
    assert peak < 20e6


def test_read_only_estimators_do_not_warn(train_rows, tmp_path):
    estimator = PatchAutoencoderTransformer(quick(whiten="zca"), random_state=0).fit(
        train_rows
    )
    joblib.dump(estimator, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(
        mapped.transform(train_rows), estimator.transform(train_rows)
    )


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
def test_losses_for_raw_values_are_refused(train_rows, loss):
    with pytest.raises(ValueError, match=f"autoencoder__loss='{loss}' is for raw"):
        PatchAutoencoderTransformer(quick(loss=loss)).fit(train_rows)
