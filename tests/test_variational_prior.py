"""Mixtures as priors of variational autoencoders."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skautoenc import Blocks, VariationalAutoencoder, load
from skautoenc._objectives.variational import _agrees_with_autograd

NAMES = "prior_weights_", "prior_means_", "prior_precisions_cholesky_"


def clusters(n_samples, seed=0):
    """Rows of five far clusters, which a normal code does not have."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(size=(5, 2)) * 4
    noise = rng.normal(size=(n_samples, 2)) * [0.5, 0.3]
    return centres[rng.integers(5, size=n_samples)] + noise


@pytest.fixture(scope="module")
def normal():
    return VariationalAutoencoder(2, max_iter=40, random_state=0).fit(clusters(600))


@pytest.fixture(scope="module")
def mixed(normal):
    return clone(normal).set_params(prior="mixture").fit(clusters(600))


def test_the_mixture_makes_new_rows_more_likely(normal, mixed):
    X = clusters(1000, seed=1)
    assert mixed.score(X) > normal.score(X) + 0.05
    assert len(mixed.prior_weights_) > 2
    assert mixed.prior_weights_.sum() == pytest.approx(1)
    assert mixed.prior_means_.shape == (len(mixed.prior_weights_), 2)
    # The mixture is learnt after training, which stays the same.
    np.testing.assert_array_equal(mixed.transform(X), normal.transform(X))
    assert all(getattr(normal, name) is None for name in NAMES)


def test_no_row_is_far_less_likely_than_with_a_normal_prior(normal, mixed):
    X = clusters(300, seed=1) + np.linspace(-30, 30, 300)[:, None]
    lowest = normal.score_samples(X) + np.log(0.01)
    assert (mixed.score_samples(X) >= lowest - 1e-3).all()


def test_score_samples_is_the_density_of_sample(mixed):
    sides = np.linspace(-14, 14, 187)
    grid = np.stack(np.meshgrid(sides, sides), axis=-1).reshape(-1, 2)
    density, cell = mixed.score_samples(grid), (sides[1] - sides[0]) ** 2
    assert np.exp(density).sum() * cell == pytest.approx(1, abs=0.03)
    entropy = -(np.exp(density) * density).sum() * cell
    drawn = mixed.sample(4000, random_state=0)
    assert -mixed.score(drawn) == pytest.approx(entropy, abs=0.1)
    np.testing.assert_array_equal(drawn, mixed.sample(4000, random_state=0))


def test_draws_of_correlated_codes_have_their_covariance():
    rng = np.random.default_rng(0)
    # The second column is nearly a function of the first one, and so are the codes.
    X = rng.normal(size=(2000, 1)) ** 3 @ [[1.0, 0.6]]
    X += 0.1 * rng.normal(size=X.shape)
    mixed = VariationalAutoencoder(2, prior="mixture", max_iter=30, random_state=0)
    code = mixed.fit(X)._model.code
    drawn = mixed.sample(4000, random_state=0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), rtol=0.25)
    assert code.prior is not None


def test_zeros_and_ones_have_a_mixture_of_codes():
    rng = np.random.default_rng(0)
    shares = np.repeat([[0.9] * 4 + [0.1] * 4, [0.1] * 4 + [0.9] * 4], 300, axis=0)
    X, new = (rng.random((600, 8)) < shares for _ in range(2))
    normal = VariationalAutoencoder(2, max_iter=30, random_state=0)
    mixed = clone(normal).set_params(prior="mixture").fit(X)
    assert mixed.score(new) > normal.fit(X).score(new)
    every = (np.arange(256)[:, None] >> np.arange(8)) % 2
    total = np.exp(mixed.set_params(n_importance_samples=200).score_samples(every))
    assert 0.97 < total.sum() < 1.001
    # Codes of shares that are drawn are those of zeros and ones.
    drawn = VariationalAutoencoder(
        2, binarize=True, prior="mixture", max_iter=30, random_state=0
    ).fit(shares)
    assert drawn.score(new) == pytest.approx(mixed.score(new), abs=0.2)


def test_independent_columns_keep_the_normal_prior():
    X = np.random.default_rng(0).normal(size=(200, 4))
    fitted = VariationalAutoencoder(2, prior="mixture", max_iter=5, random_state=0).fit(
        X
    )
    rows = np.random.default_rng(1).normal(size=(500, 4))
    plain = clone(fitted).set_params(prior="normal").fit(X)
    assert fitted.score(rows) > plain.score(rows) - 0.02


def test_weights_choose_rows_of_the_mixture():
    X = clusters(400)
    lower = X[:, 0] < np.median(X[:, 0])
    weighted = VariationalAutoencoder(
        2, prior="mixture", max_iter=0, linear_weight=0, random_state=0
    ).fit(X, sample_weight=np.where(lower, 1.0, 1e-3))
    mean = weighted.prior_weights_ @ weighted.prior_means_
    expected = weighted.transform(X[lower]).mean(axis=0)
    np.testing.assert_allclose(mean, expected, atol=0.2)


@pytest.mark.filterwarnings("error", "ignore:The code is not used")
@pytest.mark.parametrize("shape", [(2, 3), (3, 1), (7, 2), (80, 1)])
def test_few_rows_and_columns_are_enough(shape):
    _agrees_with_autograd.cache_clear()
    X = np.random.default_rng(0).normal(size=shape)
    X = np.vstack([X, X])
    fitted = VariationalAutoencoder(
        1, prior="mixture", hidden_layer_sizes=(4,), max_iter=2, random_state=0
    ).fit(X)
    assert np.isfinite(fitted.score(X))
    assert fitted.sample(3).shape == (3, shape[1])
    constant = clone(fitted).fit(np.zeros((20, 3)))
    assert constant.prior_weights_ is None


def test_a_stream_has_the_mixture_of_an_array():
    X = clusters(900).astype(np.float32)
    mixed = VariationalAutoencoder(
        2, prior="mixture", max_iter=2, early_stopping=False, random_state=0
    )
    stream = Blocks(lambda: (X[start : start + 300] for start in range(0, 900, 300)))
    expected = clone(mixed).fit(X).score_samples(X)
    np.testing.assert_array_equal(clone(mixed).fit(stream).score_samples(X), expected)


def test_copies_have_the_mixture(mixed, tmp_path):
    X = clusters(50, seed=1)
    path = tmp_path / "vae.safetensors"
    mixed.save(path)
    for copy in (pickle.loads(pickle.dumps(mixed)), load(path)):
        np.testing.assert_array_equal(copy.score_samples(X), mixed.score_samples(X))
        drawn = copy.sample(9, random_state=0)
        np.testing.assert_array_equal(drawn, mixed.sample(9, random_state=0))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("prior_weights_", lambda value: -value),
        ("prior_weights_", lambda value: value[:-1]),
        ("prior_weights_", lambda value: None),
        ("prior_means_", lambda value: value[:, :-1]),
        ("prior_precisions_cholesky_", lambda value: 0 * value),
        ("prior_precisions_cholesky_", lambda value: value[:-1]),
    ],
)
def test_mixtures_that_do_not_fit_are_refused(mixed, name, change, tmp_path):
    path = tmp_path / "vae.safetensors"
    forged = pickle.loads(pickle.dumps(mixed))
    setattr(forged, name, change(getattr(mixed, name)))
    with pytest.raises(ValueError, match="could not be loaded: prior_"):
        forged.save(path)


def test_a_fit_that_goes_on_learns_its_prior_anew(mixed):
    X = clusters(600)
    model = pickle.loads(pickle.dumps(mixed))
    model.set_params(warm_start=True, max_iter=0).fit(X)
    assert model.score(X) == pytest.approx(mixed.score(X), abs=0.1)
    model.set_params(prior="normal").fit(X)
    assert all(getattr(model, name) is None for name in NAMES)
    part = clone(mixed).partial_fit(X)
    assert part.prior_weights_ is None
