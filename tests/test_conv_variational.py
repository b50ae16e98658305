"""The variational autoencoder of images: what its convolutions change."""

import pickle

import numpy as np
import pytest
from onnxruntime import InferenceSession
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import train_test_split

from skautoenc import Blocks, ConvVariationalAutoencoder, load
from skautoenc.inspection import DensityDisplay
from skautoenc.onnx import to_onnx

QUICK = {"hidden_channels": (4, 6), "max_iter": 3, "random_state": 0}


def colour(n_samples, seed=0):
    """Images of 5 x 7 in three channels, of which the third is noise by brightness."""
    rng = np.random.default_rng(seed)
    brightness = rng.uniform(-2, 1, size=(n_samples, 1, 1, 1))
    images = brightness * np.ones((n_samples, 5, 7, 3))
    images[..., 2] = 0
    noise = np.stack([0.1 * np.ones_like(brightness)] * 2 + [np.exp(brightness)], -1)
    return images + noise[..., 0, :] * rng.normal(size=images.shape)


@pytest.fixture(scope="module")
def fitted():
    return ConvVariationalAutoencoder(
        2, hidden_channels=(8,), max_iter=60, random_state=0
    ).fit(colour(1000))


@pytest.mark.parametrize(
    ("X", "n_components"),
    [(load_digits().images, 8), (colour(400), 3), (colour(200)[:, :1], 30)],
    ids=["digits", "colour", "lines, all components"],
)
def test_it_starts_at_probabilistic_pca(X, n_components):
    X_train, X_test = train_test_split(X, random_state=0)
    start = ConvVariationalAutoencoder(n_components, max_iter=0, random_state=0).fit(
        X_train
    )
    rows = X_test.reshape(len(X_test), -1)
    width = min(n_components, rows.shape[1] - 1)
    pca = PCA(width, svd_solver="full").fit(X_train.reshape(len(X_train), -1))
    expected = pca.score_samples(rows)
    np.testing.assert_allclose(start.score_samples(X_test), expected, atol=1e-3)
    one_draw = start.set_params(n_importance_samples=1)
    np.testing.assert_allclose(one_draw.score_samples(rows), expected, atol=1e-3)


def test_it_starts_at_factor_analysis():
    X = load_digits().images[:, 2:6, 2:6]
    start = ConvVariationalAutoencoder(2, covariance_type="diag", max_iter=0).fit(X)
    rows = X.reshape(len(X), -1)
    factors = FactorAnalysis(2, tol=1e-4, max_iter=5000).fit(rows)
    assert start.score(X) == pytest.approx(factors.score(rows), abs=0.01)


def test_training_beats_pca_on_new_images():
    X_train, X_test = train_test_split(load_digits().images, random_state=0)
    model = ConvVariationalAutoencoder(8, max_iter=15, random_state=0).fit(X_train)
    start = clone(model).set_params(max_iter=0).fit(X_train)
    assert model.score(X_test) > start.score(X_test) + 20
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.n_active_units_ == 8


def test_noise_depends_on_the_code_by_channel(fitted):
    drawn = fitted.sample(4000, random_state=0).reshape(-1, 5, 7, 3)
    level = drawn[..., 0].mean(axis=(1, 2))
    weak, strong = (
        drawn[chosen].std(axis=(1, 2)).mean(axis=0)
        for chosen in (level < -1.5, level > 0.5)
    )
    np.testing.assert_allclose(strong[:2] / weak[:2], 1, rtol=0.4)
    assert strong[2] > 3 * weak[2]
    X = colour(500, seed=1)
    rows = colour(1000).reshape(1000, -1)
    assert fitted.score(X) > PCA(2).fit(rows).score(X.reshape(500, -1)) + 10


def test_images_and_rows_are_the_same(fitted):
    X = colour(40, seed=1)
    rows = X.reshape(len(X), -1)
    assert fitted.image_shape_ == (5, 7, 3)
    for method in ("transform", "score_samples", "score"):
        given = getattr(fitted, method)
        np.testing.assert_array_equal(given(X), given(rows))
    for of_images, of_rows in zip(
        fitted.posterior(X), fitted.posterior(rows), strict=True
    ):
        np.testing.assert_array_equal(of_images, of_rows)
    again = fitted.inverse_transform(fitted.transform(X))
    assert again.shape == fitted.sample(40).shape == rows.shape
    with pytest.raises(ValueError, match=r"images of shape \(7, 5, 3\)"):
        fitted.score(X.transpose(0, 2, 1, 3))


def test_score_belongs_to_the_image(fitted):
    X = colour(300, seed=1)
    scores = fitted.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(fitted.score_samples(X[order]), scores[order])
    np.testing.assert_array_equal(fitted.score_samples(X[7:8]), scores[7:8])


def test_probabilities_of_all_images_sum_to_one():
    images = np.stack(np.meshgrid(*[[0.0, 1.0]] * 6), axis=-1).reshape(-1, 2, 3)
    rng = np.random.default_rng(0)
    chosen = images[rng.choice(64, 300, p=rng.dirichlet(np.full(64, 0.3)))]
    model = ConvVariationalAutoencoder(1, **QUICK | {"n_importance_samples": 500})
    model.fit(chosen)
    assert model.likelihood_ == "bernoulli"
    assert np.exp(model.score_samples(images)).sum() == pytest.approx(1, abs=0.03)
    assert set(np.unique(model.sample(50))) == {0, 1}
    with pytest.raises(ValueError, match=r"got 0\.5 \(row 0, column 0\)"):
        model.score(0.5 + 0 * images)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"linear_skip": False, "activation": "relu"},
        {"likelihood": "negative_binomial", "offset": "total"},
        {"covariance_type": "spherical", "prior": "mixture"},
    ],
)
def test_files_pickles_and_graphs_give_the_same(parameters, tmp_path):
    X = colour(120)
    if "likelihood" in parameters:
        X = np.floor(np.exp(X))
    model = ConvVariationalAutoencoder(2, **QUICK, **parameters).fit(X)
    model.save(tmp_path / "model.safetensors")
    expected, code = model.score_samples(X), model.transform(X)
    for other in (
        load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_array_equal(other.score_samples(X), expected)
        np.testing.assert_array_equal(other.sample(5, 0), model.sample(5, 0))
    rows = X.reshape(len(X), -1).astype(np.float32)
    for part, values in [
        ("encoder", code),
        ("autoencoder", model.inverse_transform(code)),
    ]:
        session = InferenceSession(to_onnx(model, part).SerializeToString())
        (found,) = session.run(None, {"X": rows})
        np.testing.assert_allclose(found, values, atol=1e-3, rtol=1e-4)


def test_fits_go_on(tmp_path):
    X = colour(120)
    model = ConvVariationalAutoencoder(2, warm_start=True, **QUICK).fit(X)
    assert model.fit(X).n_iter_ == 6
    with pytest.raises(ValueError, match="hidden_channels was"):
        model.set_params(hidden_channels=(4, 8)).fit(X)
    parts = ConvVariationalAutoencoder(2, **QUICK)
    for part in (X[:60], X[60:], X[:1]):
        parts.partial_fit(part)
    assert parts.n_iter_ == 3
    with pytest.raises(ValueError, match="image_shape was"):
        parts.set_params(image_shape=(7, 5, 3)).partial_fit(X.reshape(120, -1))
    kept = ConvVariationalAutoencoder(2, checkpoint=tmp_path, **QUICK).fit(X)
    again = clone(kept).fit(X)
    fresh = clone(kept).set_params(checkpoint=None).fit(X)
    for other in (again, fresh):
        np.testing.assert_array_equal(other.score_samples(X), kept.score_samples(X))


def test_blocks_give_the_bytes_of_an_array():
    X = colour(120)
    model = ConvVariationalAutoencoder(2, early_stopping=False, **QUICK)
    expected = clone(model).fit(X).score_samples(X)
    blocks = Blocks(lambda: iter([X[:50], X[50:]]))
    np.testing.assert_array_equal(model.fit(blocks).score_samples(X), expected)


def test_samples_are_drawn_as_images(fitted):
    pytest.importorskip("matplotlib").use("agg")
    display = DensityDisplay.from_estimator(fitted, kind="samples", n_images=4)
    assert display.artists_[0, 0].get_array().shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_channels": ()}, "hidden_channels"),
        ({"kernel_size": 2}, "kernel_size.*odd"),
        ({"image_shape": (3, 3)}, "3 \\* 3 = 9 columns"),
        ({"binarize": True, "likelihood": "poisson"}, "binarize=True"),
    ],
)
def test_errors_name_the_parameter(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConvVariationalAutoencoder(**parameters).fit(np.eye(20, 16))
