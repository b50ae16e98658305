"""Similarities to prototypes, as features of images."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

import skautoenc
from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer
from skautoenc._preparation import compression


def patches(**parameters):
    inner = AutoencoderTransformer(
        12, sparsity="topk", sparsity_rate=0.1, max_iter=2, batch_size=1024
    )
    defaults = {"pooling": 2, "n_patches": 5000, "random_state": 0}
    return PatchAutoencoderTransformer(inner, **defaults | parameters)


@pytest.fixture(scope="module")
def X(digits):
    return digits[0][:150]


@pytest.fixture(scope="module")
def fitted(X):
    return patches(n_prototypes=40).fit(X)


@pytest.fixture(scope="module")
def roots(X):
    """Roots of the pooled codes of the same dictionary."""
    return patches(whiten_code=False).fit(X).transform(X).astype(np.float64)


def kernel_of(roots, prototypes):
    """Gaussian kernel whose width is the root mean square distance of the rows."""
    square = 2 * roots.var(axis=0).sum()
    return rbf_kernel(roots, prototypes, gamma=1 / (2 * square))


@pytest.fixture(scope="module")
def plain(X):
    """The same as `fitted`, without whitening."""
    return patches(n_prototypes=40, whiten_code=False).fit(X)


def test_similarities_are_the_nystroem_map_of_a_gaussian_kernel(plain, roots, X):
    chosen = np.linspace(0, len(X) - 1, 40).astype(int)
    np.testing.assert_allclose(plain.prototypes_, roots[chosen], atol=1e-6)
    kernel = kernel_of(roots, roots[chosen])
    inner = kernel[chosen] + 1e-3 * np.eye(40)
    centred = kernel - kernel.mean(axis=0)
    found = plain.transform(X)[:, -40:].astype(np.float64)
    # Products of the results, which no rotation changes, are the kernel but for scale.
    expected = centred @ np.linalg.solve(inner, centred.T)
    products = found @ found.T
    products *= expected.trace() / products.trace()
    np.testing.assert_allclose(products, expected, atol=1e-4)


def test_other_features_stay_as_they_are(fitted, X):
    alone = patches().fit(X)
    columns = fitted.transform(X)[:, : alone.transform(X).shape[1]]
    assert columns.tobytes() == alone.transform(X).tobytes()
    names = fitted.get_feature_names_out()
    assert list(names[:-40]) == list(alone.get_feature_names_out())
    assert names[-1] == "prototype39"


@pytest.mark.parametrize("whiten_code", [True, False])
def test_similarities_count_as_much_as_the_rest(X, whiten_code):
    values = patches(n_prototypes=40, whiten_code=whiten_code).fit(X).transform(X)
    variances = values.var(axis=0)
    assert variances[-40:].mean() / variances[:-40].mean() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("whiten_code", [True, False])
def test_components_are_those_of_the_similarities(plain, X, whiten_code):
    similar = plain.transform(X)[:, -40:].astype(np.float64)
    found = patches(
        n_prototypes=40,
        n_components=5,
        whiten_code=whiten_code,
        whiten_regularization=1e-6,
    ).fit(X)
    values = found.transform(X).astype(np.float64)
    assert values.shape == (150, 5)
    left, variances, _ = np.linalg.svd(similar - similar.mean(axis=0))
    for number in range(5):
        cosine = left[:, number] @ values[:, number] / np.linalg.norm(values[:, number])
        assert abs(cosine) > 0.999
    spread = values.std(axis=0)
    if whiten_code:
        np.testing.assert_allclose(spread, 1, rtol=1e-3)
    else:
        expected = variances[:5] / variances[0]
        np.testing.assert_allclose(spread / spread[0], expected, rtol=1e-2)
    assert found.inverse_transform(values).shape == X.shape


def test_a_linear_model_tells_more_apart(digits):
    X_train, X_test, y_train, y_test = digits
    scores = []
    for n_prototypes in (None, 500):
        features = patches(pooling=1, n_prototypes=n_prototypes).fit(X_train)
        classifier = LogisticRegression(max_iter=500)
        # Odd and even digits are no two halves of a space.
        classifier.fit(features.transform(X_train), y_train % 2)
        scores.append(classifier.score(features.transform(X_test), y_test % 2))
    assert scores[1] > scores[0] + 0.05


def test_unwhitened_similarities_are_not_decomposed(X, monkeypatch):
    sizes = []

    def whitening(covariance, *args):
        sizes.append(len(covariance))
        return plain_whitening(covariance, *args)

    plain_whitening = compression._whitening
    monkeypatch.setattr(compression, "_whitening", whitening)
    patches(n_prototypes=40, whiten_code=False).fit(X)
    # The regression back to images needs that of the 48 roots.
    assert sizes == [48]


def test_similarities_are_whitened(X):
    estimator = patches(n_prototypes=40, whiten_regularization=1e-6).fit(X)
    similar = estimator.transform(X)[:, -40:]
    correlations = np.corrcoef(similar, rowvar=False)
    np.testing.assert_allclose(correlations, np.eye(40), atol=0.01)


def test_there_are_no_more_prototypes_than_images(X):
    many = patches(n_prototypes=10_000).fit(X[:60])
    assert many.prototypes_.shape[0] == 60
    with pytest.raises(ValueError, match=r"n_components.* no more than 60, one per pr"):
        patches(n_prototypes=10_000, n_components=61).fit(X[:60])


@pytest.mark.parametrize(
    ("n_images", "parameters", "n_prototypes"),
    [
        (1999, {}, None),
        (2000, {}, 1000),
        (4100, {}, 2000),
        (2000, {"n_components": 5}, None),
        (2000, {"n_prototypes": None}, None),
        (2000, {"n_prototypes": 7}, 7),
    ],
)
def test_many_images_have_prototypes(X, n_images, parameters, n_prototypes):
    images = np.resize(X, (n_images, 64))
    estimator = patches(n_patches=500, **parameters).fit(images)
    found = estimator.prototypes_
    assert (None if found is None else len(found)) == n_prototypes


def test_weights_are_repetitions(X):
    weights = np.arange(len(X)) % 3
    weighted = patches(n_prototypes=500, n_patches=50_000).fit(X, sample_weight=weights)
    repeated = clone(weighted).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=5e-3)


def test_equal_images_have_equal_similarities():
    estimator = patches(n_prototypes=10).fit(np.ones((20, 64)))
    assert np.isfinite(estimator.transform(np.ones((3, 64)))).all()


def test_the_way_back_is_that_of_the_roots(fitted, X):
    alone = patches().fit(X)
    images = alone.inverse_transform(alone.transform(X))
    again = fitted.inverse_transform(fitted.transform(X))
    np.testing.assert_allclose(again, images, atol=1e-5)


def test_a_second_fit_forgets_the_prototypes(X):
    estimator = patches(n_prototypes=10).fit(X)
    estimator.set_params(n_prototypes=None).fit(X)
    assert estimator.prototypes_ is None
    assert estimator.transform(X).shape[1] == 48


@pytest.mark.parametrize("n_components", [None, 4])
def test_files_keep_them(X, tmp_path, n_components):
    estimator = patches(n_prototypes=10, n_components=n_components).fit(X)
    estimator.save(tmp_path / "prototypes.safetensors")
    loaded = skautoenc.load(tmp_path / "prototypes.safetensors")
    assert loaded.transform(X).tobytes() == estimator.transform(X).tobytes()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("prototypes_", lambda values: values[:, 1:]),
        ("prototypes_", lambda values: None),
        ("prototype_mean_", lambda values: values[1:]),
        ("prototype_map_", lambda values: values[:, 1:]),
        ("prototype_map_", lambda values: values[1:]),
        ("prototype_map_", lambda values: None),
        ("_prototype_rate", lambda values: None),
        ("_prototype_rate", lambda values: -1.0),
    ],
)
def test_arrays_that_do_not_fit_are_not_saved(X, tmp_path, name, change):
    estimator = patches(n_prototypes=10).fit(X)
    setattr(estimator, name, change(getattr(estimator, name)))
    with pytest.raises(ValueError, match="cannot be saved"):
        estimator.save(tmp_path / "prototypes.safetensors")
