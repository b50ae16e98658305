"""The variational autoencoder: densities, samples, codes with their uncertainty."""

import numpy as np
import pytest
from onnxruntime import InferenceSession
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import Blocks, VariationalAutoencoder, train_together
from skautoenc.onnx import to_onnx


def curve(n_samples, seed=0):
    """Rows near a curve, which no linear model describes."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-2, 2, n_samples)
    clean = np.column_stack([t, t**2, np.sin(3 * t), np.cos(2 * t), t**3 / 4])
    return clean + 0.1 * rng.normal(size=clean.shape)


@pytest.fixture(scope="module")
def fitted():
    return VariationalAutoencoder(2, max_iter=40, random_state=0).fit(curve(1000))


@pytest.fixture(scope="module")
def linear():
    return VariationalAutoencoder(
        2,
        covariance_type="spherical",
        hidden_layer_sizes=(),
        max_iter=20,
        random_state=0,
    ).fit(curve(400))


def standardised(load):
    return StandardScaler().fit_transform(load().data)


@pytest.mark.parametrize(
    ("X", "n_components"),
    [
        (load_digits().data, 8),
        (load_iris().data, 2),
        (load_iris().data, 4),
        (standardised(load_breast_cancer), 5),
        (1000 + 0.01 * curve(300), 3),
    ],
    ids=["digits", "iris", "all of iris", "cancer", "an offset"],
)
def test_it_starts_at_probabilistic_pca(X, n_components):
    X_train, X_test = train_test_split(X, random_state=0)
    start = VariationalAutoencoder(n_components, max_iter=0, random_state=0)
    start.fit(X_train)
    pca = PCA(min(n_components, X.shape[1] - 1), svd_solver="full").fit(X_train)
    expected = pca.score_samples(X_test)
    np.testing.assert_allclose(start.score_samples(X_test), expected, atol=1e-4)
    np.testing.assert_allclose(start.noise_variance_, pca.noise_variance_, rtol=1e-4)
    one_draw = start.set_params(n_importance_samples=1)
    np.testing.assert_allclose(one_draw.score_samples(X_test), expected, atol=1e-4)


def test_it_starts_at_factor_analysis():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))
    X += rng.normal(size=X.shape) * [0.2, 0.3, 0.5, 1, 1.5, 2]
    start = VariationalAutoencoder(2, covariance_type="diag", max_iter=0).fit(X)
    factors = FactorAnalysis(2, tol=1e-4, max_iter=5000).fit(X)
    assert start.score(X) == pytest.approx(factors.score(X), abs=0.01)
    assert start.score(X) > PCA(2).fit(X).score(X) + 0.5
    one_draw = clone(start).set_params(n_importance_samples=1).fit(X)
    np.testing.assert_allclose(
        one_draw.score_samples(X), start.score_samples(X), atol=1e-3
    )


def test_wide_data_starts_near_probabilistic_pca():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 1100))
    X += 0.3 * rng.normal(size=X.shape)
    start = VariationalAutoencoder(
        3, covariance_type="spherical", max_iter=0, random_state=0
    ).fit(X)
    # Unlike scikit-learn's, the noise has as many directions as there are columns.
    variance = start.noise_variance_
    assert variance == pytest.approx(0.09, rel=0.02)
    pca = PCA(3).fit(X)
    code, rest = pca.transform(X), X - pca.inverse_transform(pca.transform(X))
    quadratic = (code**2 / pca.explained_variance_).sum(axis=1)
    quadratic += (rest**2).sum(axis=1) / variance
    log_det = np.log(pca.explained_variance_).sum() + 1097 * np.log(variance)
    expected = -0.5 * (quadratic.mean() + log_det + 1100 * np.log(2 * np.pi))
    assert start.score(X) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("covariance_type", ["spherical", "diag", "heteroscedastic"])
def test_constant_columns_leave_some_noise(covariance_type):
    X = np.hstack([curve(200), np.zeros((200, 3))])
    start = VariationalAutoencoder(
        7, covariance_type=covariance_type, max_iter=0, n_importance_samples=1
    )
    narrow = clone(start).set_params(n_components=4).fit(X)
    assert start.fit(X).score(X) == pytest.approx(narrow.score(X), abs=1e-3)
    # A column that was constant may change a little.
    moved = X + 0.02
    assert start.score(moved) > -1000


def test_weights_count_rows_at_the_start():
    X = curve(60)
    weights = np.arange(60) % 3
    start = VariationalAutoencoder(2, max_iter=0)
    weighted = clone(start).fit(X, sample_weight=weights).score_samples(X)
    repeated = clone(start).fit(X.repeat(weights, axis=0)).score_samples(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)
    expected = PCA(2).fit(X.repeat(weights, axis=0)).score_samples(X)
    np.testing.assert_allclose(weighted, expected, atol=1e-4)


def test_training_beats_pca_on_new_rows(fitted):
    X_test = curve(500, seed=1)
    assert fitted.score(X_test) > PCA(2).fit(curve(1000)).score(X_test) + 1
    scores = fitted.validation_scores_
    assert len(scores) == fitted.n_iter_ == len(fitted.loss_curve_)
    assert fitted.best_validation_score_ == max(scores)
    # The negative bound in nats, of training rows and of held-out ones.
    assert -fitted.loss_ == pytest.approx(fitted.score(curve(1000)), abs=0.5)
    assert fitted.best_validation_score_ == pytest.approx(-fitted.loss_, abs=0.5)


def test_training_does_not_end_below_pca():
    X = np.random.default_rng(0).normal(size=(200, 6))
    fitted = VariationalAutoencoder(
        2, max_iter=30, learning_rate_init=0.05, random_state=0
    ).fit(X)
    assert fitted.n_iter_ > 0
    X_test = np.random.default_rng(1).normal(size=(500, 6))
    expected = PCA(2).fit(X).score_samples(X_test)
    # But for the weight of the model with heavy tails.
    np.testing.assert_allclose(fitted.score_samples(X_test), expected, atol=0.1)
    alone = fitted.set_params(linear_weight=0).score_samples(X_test)
    np.testing.assert_allclose(alone, expected, atol=1e-4)


def test_rows_far_from_the_training_rows_cost_little(fitted):
    X = curve(1000)
    start = clone(fitted).set_params(max_iter=0).fit(X)
    far = curve(200, seed=1)
    far[:, 1] += np.linspace(-300, 300, 200)
    for weight in (1e-3, 0.1):
        fitted.set_params(linear_weight=weight)
        # A t-distribution is below a normal one by little, and far above it far away.
        lowest = start.score_samples(far) + np.log(weight) - 2
        scores = fitted.score_samples(far)
        assert (scores >= lowest).all()
        assert scores.min() > -60
        # Of usual rows, almost all of the density is the network's.
        usual = fitted.score(X)
        pure = fitted.set_params(linear_weight=0).score(X)
        assert usual == pytest.approx(pure, abs=1.5 * weight + 1e-4)
    # The network alone would go on where it has seen nothing.
    worst = fitted.score_samples(far) - start.score_samples(far)
    assert worst.min() < -1000
    fitted.set_params(linear_weight=1e-3)


def test_density_with_the_linear_model_is_one():
    X = curve(300)[:, :2]
    fitted = VariationalAutoencoder(
        1, linear_weight=0.5, max_iter=30, random_state=0
    ).fit(X)
    axes = np.linspace(-12, 12, 241), np.linspace(-12, 16, 281)
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    total = np.exp(fitted.score_samples(grid)).sum() * 0.1**2
    assert total == pytest.approx(1, abs=0.03)
    # The draws are of the same density.
    drawn = fitted.sample(4000, random_state=0)
    entropy = -fitted.score(fitted.sample(4000, random_state=1))
    assert -fitted.score(drawn) == pytest.approx(entropy, abs=0.1)
    density = fitted.score_samples(grid)
    expected = -(np.exp(density) * density).sum() * 0.1**2
    assert entropy == pytest.approx(expected, abs=0.1)


@pytest.mark.slow  # whole fits at defaults
@pytest.mark.parametrize(
    "load", [load_iris, load_diabetes, load_breast_cancer, load_wine, load_digits]
)
def test_defaults_do_not_end_below_pca(load):
    X = load().data if load is load_digits else standardised(load)
    X_train, X_test = train_test_split(X, random_state=0)
    fitted = VariationalAutoencoder(random_state=0).fit(X_train)
    linear = PCA(fitted.n_components_).fit(X_train).score(X_test)
    assert fitted.score(X_test) >= linear - 1e-4
    if load is load_digits:
        assert fitted.score(X_test) > linear + 30


def test_bound_of_a_linear_model_is_tight(linear):
    assert linear.best_validation_score_ is not None
    network, X = linear.network_, curve(300, seed=1)
    loadings = network.decoder[-1].weight.detach().double().numpy() * linear.scale_
    mean = linear.inverse_transform(np.zeros((1, 2))).ravel()
    noise = linear.noise_variance_ * np.eye(5)
    exact = multivariate_normal(mean, loadings @ loadings.T + noise).logpdf(X)
    bound = linear.score_samples(X)
    assert (bound <= exact + 0.05).all()
    assert abs(bound.mean() - exact.mean()) < 0.01


def test_score_belongs_to_the_row(fitted):
    X = curve(300, seed=1)
    scores = fitted.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(fitted.score_samples(X[order]), scores[order])
    np.testing.assert_array_equal(fitted.score_samples(X[7:8]), scores[7:8])
    np.testing.assert_array_equal(fitted.score_samples(sparse.csr_array(X)), scores)
    # The score is continuous in the row: a tiny change does not change the noise.
    nearly = fitted.score_samples(X * (1 + 1e-7))
    np.testing.assert_allclose(nearly, scores, atol=1e-2)
    coarse = fitted.set_params(n_importance_samples=1).score(X)
    assert coarse < fitted.set_params(n_importance_samples=50).score(X)
    weights = np.arange(300) % 2
    assert fitted.score(X, sample_weight=weights) == pytest.approx(scores[1::2].mean())


def test_units_of_the_data_are_those_of_the_density(fitted):
    X = curve(1000)
    scaled = clone(fitted).fit(8 * X + 16)
    expected = fitted.score(X) - 5 * np.log(8)
    assert scaled.score(8 * X + 16) == pytest.approx(expected, abs=0.01)


def test_far_rows_have_scores(fitted):
    X = curve(3, seed=1)
    X[1] *= 1e12
    X[2] *= 1e170
    scores = fitted.score_samples(X)
    assert scores[0] > scores[1] > scores[2] == -np.inf
    assert fitted.score(X, sample_weight=[1, 0, 0]) == pytest.approx(scores[0])


@pytest.mark.parametrize("covariance_type", ["spherical", "heteroscedastic"])
def test_samples_are_like_the_rows(fitted, covariance_type):
    fitted = clone(fitted).set_params(covariance_type=covariance_type, max_iter=80)
    fitted.fit(curve(1000))
    X, drawn = curve(4000, seed=1), fitted.sample(4000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.25)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.6)
    np.testing.assert_array_equal(drawn, fitted.sample(4000, random_state=0))
    assert (drawn != fitted.sample(4000, random_state=1)).any()
    assert (fitted.sample() != fitted.sample()).any()
    smooth = fitted.sample(4000, random_state=0, add_noise=False)
    # Rows of the linear model have codes of their own.
    drawn = fitted.set_params(linear_weight=0).sample(4000, random_state=0)
    residual = (drawn - smooth).var(axis=0)
    if covariance_type == "spherical":
        np.testing.assert_allclose(residual, fitted.noise_variance_, rtol=0.1)
    assert (residual > 0.005).all()
    assert (residual < 0.3 * X.var(axis=0)).all()
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(0)


def test_samples_come_as_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(curve(100), columns=list("abcde"))
    fitted = VariationalAutoencoder(2, max_iter=2).set_output(transform="pandas")
    assert fitted.fit(frame).sample(3).columns.tolist() == list("abcde")


def test_noise_by_column():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 1)) + rng.normal(size=(1000, 4)) * [0.1, 0.5, 1, 2]
    fitted = VariationalAutoencoder(
        1, covariance_type="diag", max_iter=60, random_state=0
    ).fit(X)
    expected = np.square([0.1, 0.5, 1, 2])
    np.testing.assert_allclose(fitted.noise_variance_, expected, rtol=0.2, atol=0.03)
    spherical = VariationalAutoencoder(
        1, covariance_type="spherical", max_iter=60, random_state=0
    ).fit(X)
    assert fitted.score(X) > spherical.score(X) + 0.5


def test_noise_that_depends_on_the_code():
    rng = np.random.default_rng(0)
    strength = rng.uniform(-2, 1, size=(2000, 1))
    X = np.hstack([strength, np.exp(strength) * rng.normal(size=(2000, 3))])
    X_train, X_test = X[:1500], X[1500:]
    kwargs = {"max_iter": 60, "random_state": 0}
    varying = VariationalAutoencoder(1, covariance_type="heteroscedastic", **kwargs)
    constant = VariationalAutoencoder(1, covariance_type="diag", **kwargs)
    start = clone(varying).set_params(max_iter=0).fit(X_train)
    expected = PCA(1).fit(X_train)
    assert start.score(X_test) == pytest.approx(expected.score(X_test), abs=1e-4)
    gain = varying.fit(X_train).score(X_test) - constant.fit(X_train).score(X_test)
    assert gain > 0.5
    drawn = varying.sample(4000, random_state=0)
    weak, strong = drawn[drawn[:, 0] < -1.5, 1:], drawn[drawn[:, 0] > 0.5, 1:]
    assert strong.std() > 3 * weak.std()


def test_posterior_is_exact_at_the_start():
    X = curve(200)
    start = VariationalAutoencoder(2, max_iter=0).fit(X)
    mean, std = start.posterior(X)
    np.testing.assert_array_equal(mean, start.transform(X))
    pca = PCA(2).fit(X)
    expected = np.sqrt(pca.noise_variance_ / pca.explained_variance_)
    np.testing.assert_allclose(std, np.tile(expected, (200, 1)), rtol=1e-4)
    spread = np.sqrt(1 - pca.noise_variance_ / pca.explained_variance_)
    np.testing.assert_allclose(mean.std(axis=0), spread, rtol=1e-2)


def test_collapse_is_noticed(fitted):
    assert fitted.n_active_units_ >= 1
    estimator = VariationalAutoencoder(
        2, kl_weight=100.0, max_iter=60, early_stopping=False, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="kl_weight"):
        estimator.fit(curve(300))
    assert estimator.n_active_units_ == 0


def test_held_out_rows_need_rows():
    assert (
        VariationalAutoencoder(2, max_iter=1).fit(curve(50)).validation_scores_ is None
    )
    chosen = VariationalAutoencoder(2, max_iter=1, early_stopping=True).fit(curve(50))
    assert len(chosen.validation_scores_) == 1
    none = VariationalAutoencoder(2, max_iter=0, early_stopping=True).fit(curve(50))
    assert none.n_iter_ == 0


def test_a_fit_goes_on(fitted):
    X = curve(1000)
    again = clone(fitted).set_params(warm_start=True, max_iter=5).fit(X)
    before = again.best_validation_score_
    again.fit(X)
    assert again.n_iter_ == 10
    assert again.score(X) > PCA(2).fit(X).score(X)
    assert np.isfinite(before)


def test_partial_fit_learns():
    stream = VariationalAutoencoder(2, random_state=0)
    for seed in range(30):
        stream.partial_fit(curve(1000, seed=seed))
    X_test = curve(500, seed=100)
    assert stream.score(X_test) > PCA(2).fit(curve(1000)).score(X_test) + 0.5
    refusing = VariationalAutoencoder(2, early_stopping=True)
    assert not hasattr(refusing, "partial_fit")


def test_blocks_give_the_bytes_of_an_array():
    X = curve(600)
    estimator = VariationalAutoencoder(2, max_iter=2, random_state=0)
    expected = clone(estimator).fit(X).score_samples(X)
    blocks = Blocks([X[:200], X[200:]])
    np.testing.assert_array_equal(estimator.fit(blocks).score_samples(X), expected)


def test_checkpoint_goes_on_with_the_same_bytes(tmp_path):
    class Killed(Exception):
        pass

    class Kill:
        """Stops the second epoch from outside."""

        def __init__(self):
            self.n_epochs = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            if context.task_name == "epoch":
                self.n_epochs += 1
                if self.n_epochs == 3:
                    raise Killed

        def on_fit_task_end(self, estimator, context, **kwargs):
            return False

    X = curve(400)
    estimator = VariationalAutoencoder(2, max_iter=5, random_state=0)
    expected = clone(estimator).fit(X).score_samples(X)
    kept = clone(estimator).set_params(checkpoint=tmp_path)
    with pytest.raises(Killed):
        clone(kept).set_callbacks(Kill()).fit(X)
    np.testing.assert_array_equal(kept.fit(X).score_samples(X), expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"hidden_layer_sizes": ()},
        {"covariance_type": "heteroscedastic"},
        {"likelihood": "bernoulli"},
        {"likelihood": "negative_binomial"},
    ],
)
def test_onnx_has_the_means(parameters):
    X = curve(200).astype(np.float32)
    if "likelihood" in parameters:
        X = (X > 0).astype(np.float32)
    fitted = VariationalAutoencoder(2, max_iter=3, random_state=0, **parameters).fit(X)
    for part, expected in [
        ("encoder", fitted.transform(X)),
        ("autoencoder", fitted.inverse_transform(fitted.transform(X))),
    ]:
        session = InferenceSession(to_onnx(fitted, part).SerializeToString())
        (found,) = session.run(None, {"X": X})
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_searches_choose_by_likelihood():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8))
    X += 0.2 * rng.normal(size=X.shape)
    search = GridSearchCV(
        VariationalAutoencoder(max_iter=0), {"n_components": [1, 2, 3, 5, 7]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"n_components": 3}
    with train_together():
        trained = GridSearchCV(
            VariationalAutoencoder(max_iter=2, random_state=0),
            {"n_components": [1, 3]},
            cv=2,
        ).fit(X)
    assert trained.best_params_ == {"n_components": 3}


def test_it_runs_in_a_pipeline_as_pca_would():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(),
        VariationalAutoencoder(3, max_iter=20, random_state=0),
        LogisticRegression(),
    )
    assert pipeline.fit(X, y).score(X, y) > 0.9


def counts(n_samples, n_features=12, depth=None, seed=0):
    """Counts of two groups of rows, with more variance than Poisson counts."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n_samples)
    rates = np.where(np.arange(n_features) % 2 == group[:, np.newaxis], 6.0, 1.0)
    rates = rates * rng.gamma(2, 0.5, size=rates.shape)
    if depth is not None:
        rates = rates * rng.uniform(1, depth, size=(n_samples, 1))
    return rng.poisson(rates).astype(float)


def grid(highest, n_features):
    """All rows of integers up to a maximum."""
    axes = [np.arange(highest + 1.0)] * n_features
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, n_features)


@pytest.mark.parametrize(
    ("likelihood", "X", "rows", "n_draws"),
    [
        ("bernoulli", counts(300, 4) > 2, grid(1, 4), 500),
        ("poisson", counts(300, 2), grid(60, 2), 20),
        ("negative_binomial", counts(300, 2), grid(150, 2), 20),
    ],
)
def test_probabilities_of_all_rows_sum_to_one(likelihood, X, rows, n_draws):
    fitted = VariationalAutoencoder(
        1,
        likelihood=likelihood,
        max_iter=10,
        n_importance_samples=n_draws,
        random_state=0,
    ).fit(X)
    assert fitted.likelihood_ == likelihood
    total = np.exp(fitted.score_samples(rows)).sum()
    assert total == pytest.approx(1, abs=0.03)
    drawn = fitted.sample(2000, random_state=0)
    assert (drawn == np.rint(drawn)).all()
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), rtol=0.2)
    assert not hasattr(fitted, "noise_variance_")


def test_zeros_and_ones_are_noticed():
    X = (counts(300) > 2).astype(float)
    X_test = (counts(300, seed=1) > 2).astype(float)
    fitted = VariationalAutoencoder(2, max_iter=30, random_state=0).fit(X)
    assert fitted.likelihood_ == "bernoulli"
    shares = X.mean(axis=0)
    independent = X_test * np.log(shares) + (1 - X_test) * np.log(1 - shares)
    assert fitted.score(X_test) > independent.sum(axis=1).mean() + 1


def test_overdispersed_counts_have_a_likelihood_of_their_own():
    X, X_test = counts(600), counts(300, seed=1)
    kwargs = {"max_iter": 40, "random_state": 0}
    poisson = VariationalAutoencoder(2, likelihood="poisson", **kwargs).fit(X)
    dispersed = VariationalAutoencoder(2, likelihood="negative_binomial", **kwargs)
    assert dispersed.fit(sparse.csr_array(X)).score(X_test) > poisson.score(X_test) + 1


def test_totals_of_rows_are_an_offset():
    X, X_test = counts(600, depth=20), counts(300, depth=20, seed=1)
    kwargs = {"likelihood": "poisson", "max_iter": 40, "random_state": 0}
    plain = VariationalAutoencoder(1, **kwargs).fit(X)
    given = VariationalAutoencoder(1, offset="total", **kwargs).fit(X)
    assert given.score(X_test) > plain.score(X_test) + 5
    # For the mean total, whatever the row's own total is.
    rates = given.inverse_transform(given.transform(X_test))
    assert rates.sum(axis=1) == pytest.approx(X.sum(axis=1).mean(), rel=0.5)


def test_shares_are_drawn_anew():
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=(400, 1))
    shares = np.where(group == np.arange(12) % 2, 0.9, 0.2)
    zeros_and_ones = (rng.random(shares.shape) < shares).astype(float)
    kwargs = {"max_iter": 60, "early_stopping": False, "random_state": 0}
    drawn = VariationalAutoencoder(2, binarize=True, **kwargs).fit(shares)
    once = VariationalAutoencoder(2, **kwargs).fit(zeros_and_ones)
    assert drawn.likelihood_ == "bernoulli"
    X_test = (rng.random(shares.shape) < shares).astype(float)
    assert drawn.score(X_test) > once.score(X_test)
    np.testing.assert_allclose(
        drawn.inverse_transform([[0, 0]]), shares.mean(axis=0)[None], atol=0.3
    )
    held_out = clone(drawn).set_params(early_stopping=True, max_iter=3).fit(shares)
    score = held_out.best_validation_score_
    assert score == pytest.approx(held_out.score(X_test), abs=1)
    assert score == clone(held_out).fit(shares).best_validation_score_
    with pytest.raises(ValueError, match="zeros and ones only"):
        drawn.score_samples(shares)
    with pytest.raises(ValueError, match="binarize=True"):
        clone(drawn).fit(2 * shares)
    with pytest.raises(ValueError, match=r"likelihood.*binarize=True"):
        clone(drawn).set_params(likelihood="gaussian").fit(shares)


@pytest.mark.parametrize(
    ("X", "likelihood", "message"),
    [
        (np.full((20, 2), 0.5), "bernoulli", "zeros and ones only, got 0.5"),
        (np.full((20, 2), 2.0), "bernoulli", "zeros and ones only, got 2"),
        (np.full((20, 2), -1.0), "poisson", "counts, 0 or more, only, got -1"),
        (np.full((20, 2), 1.5), "negative_binomial", "likelihood='gaussian'"),
    ],
)
def test_likelihoods_refuse_what_they_are_not_for(X, likelihood, message):
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(likelihood=likelihood).fit(X)


def in_form(X, form):
    """Return rows as a type that users have."""
    if form == "frame":
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    return sparse.csr_array(X) if form == "sparse" else X


@pytest.mark.parametrize("form", ["dense", "sparse", "frame"])
@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({}, 0.25),
        ({"likelihood": "bernoulli"}, 2.0),
        ({"binarize": True}, 0.25),
        ({"likelihood": "poisson"}, 1.5),
        ({"likelihood": "negative_binomial"}, -1.0),
    ],
)
def test_values_without_a_probability_are_refused(parameters, wrong, form):
    X = (counts(40, 4) > 2).astype(float)
    fitted = VariationalAutoencoder(1, max_iter=1, random_state=0, **parameters)
    fitted.fit(in_form(X, form))
    assert np.isfinite(fitted.score(in_form(X, form)))
    bad = X.copy()
    bad[7, 2] = wrong
    column = "'c2'" if form == "frame" else "2"
    message = rf"got {wrong:g} \(row 7, column {column}\)\. .*likelihood='gaussian'"
    for method in (fitted.score, fitted.score_samples):
        with pytest.raises(ValueError, match=message):
            method(in_form(bad, form))
    if not (parameters.get("binarize") or not parameters):
        for method in (
            fitted.partial_fit,
            clone(fitted).partial_fit,
            clone(fitted).fit,
        ):
            with pytest.raises(ValueError, match=message):
                method(in_form(bad, form))
    # Codes of such rows are defined.
    assert np.isfinite(fitted.transform(in_form(bad, form))).all()


def test_shares_that_go_on_are_refused():
    X = (counts(40, 4) > 2).astype(float)
    fitted = VariationalAutoencoder(1, max_iter=1, warm_start=True).fit(X)
    for method in (fitted.partial_fit, fitted.fit):
        with pytest.raises(ValueError, match=r"zeros and ones.*binarize=True takes"):
            method(np.where(X == 1, 0.5, X))
    with pytest.raises(ValueError, match=r"got 2 \(row 0.*set binarize=False"):
        VariationalAutoencoder(1, binarize=True).fit(np.full((20, 2), 2.0))


def test_a_fit_goes_on_with_its_likelihood():
    X = counts(50) > 2
    fitted = VariationalAutoencoder(1, max_iter=1, warm_start=True).fit(X)
    fitted.fit(X)
    assert fitted.likelihood_ == "bernoulli"
    with pytest.raises(ValueError, match="began with 'bernoulli'"):
        fitted.set_params(likelihood="gaussian").fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"likelihood": "normal"}, "likelihood.*Did you mean 'gaussian'"),
        ({"covariance_type": "full"}, "covariance_type"),
        ({"reg_covar": 0}, "reg_covar"),
        ({"n_importance_samples": 0}, "n_importance_samples"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"max_iter": -1}, "max_iter"),
    ],
)
def test_errors_name_the_parameter(parameters, message):
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(**parameters).fit(curve(20))
