"""Costs of errors, and reconstructions from the network's output."""

import numpy as np
import pytest
import torch
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance

from skautoenc import AutoencoderTransformer
from skautoenc._objectives.losses import LOSSES


@pytest.fixture(scope="module")
def counts():
    """Counts whose rates are exponentials of points in a plane."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(2, 20))
    return generator.poisson(np.exp(generator.normal(size=(600, 2)) @ directions / 2))


def mean_reconstruction(estimator, X):
    return np.broadcast_to(estimator.mean_, X.shape)


def deviance(loss, X, reconstruction):
    """Independent implementation, in the units of the data."""
    if loss == "poisson":
        return mean_poisson_deviance(X.ravel(), reconstruction.ravel() + 1e-9)
    q = np.clip(reconstruction.astype(float), 1e-7, 1 - 1e-7)
    cross = -X * np.log(q) - (1 - X) * np.log(1 - q)
    return (cross + xlogy(X, X) + xlogy(1 - X, 1 - X)).mean()


@pytest.mark.parametrize("loss", ["poisson", "binary_cross_entropy"])
@pytest.mark.parametrize("n_components", [6, None])
def test_loss_is_the_share_of_deviance_that_is_left(
    train_rows, test_rows, loss, n_components
):
    estimator = AutoencoderTransformer(
        n_components or "auto", loss=loss, early_stopping=True, random_state=0
    ).fit(train_rows)
    assert estimator.loss_function_ == loss
    assert estimator.loss_ < 0.3
    reconstruction = estimator.inverse_transform(estimator.transform(test_rows))
    share = deviance(loss, test_rows, reconstruction) / deviance(
        loss, test_rows, mean_reconstruction(estimator, test_rows)
    )
    # Held-out rows of the fit and test rows differ by chance.
    assert 1 - share == pytest.approx(estimator.best_validation_score_, abs=0.05)
    # Whatever the loss, `score` is the squared error.
    error = np.mean((reconstruction - test_rows) ** 2)
    assert -estimator.score(test_rows) == pytest.approx(error, rel=1e-3)
    assert error < 0.5 * test_rows.var(axis=0).mean()


def test_reconstructions_are_of_the_kind_of_the_data(train_rows, test_rows, counts):
    shares = AutoencoderTransformer(loss="binary_cross_entropy", random_state=0)
    reconstruction = shares.fit(train_rows).inverse_transform(
        shares.transform(test_rows)
    )
    assert reconstruction.min() >= 0
    assert reconstruction.max() <= 1
    rates = AutoencoderTransformer(2, loss="poisson", random_state=0).fit(counts)
    assert rates.inverse_transform(rates.transform(counts)).min() >= 0


def test_poisson_suits_counts(counts):
    train, test = counts[:400], counts[400:]

    def explained(loss):
        estimator = AutoencoderTransformer(2, loss=loss, random_state=0).fit(train)
        rates = estimator.inverse_transform(estimator.transform(test))
        return d2_tweedie_score(test.ravel(), rates.ravel().clip(min=1e-3), power=1)

    pca = PCA(2).fit(train)
    linear = pca.inverse_transform(pca.transform(test)).ravel().clip(min=1e-3)
    assert explained("poisson") > explained("squared_error")
    assert explained("poisson") > d2_tweedie_score(test.ravel(), linear, power=1)


def test_huber_is_not_carried_away_by_outliers(train_rows, test_rows):
    generator = np.random.default_rng(0)
    soiled = train_rows.copy()
    hit = generator.random(soiled.shape) < 0.002
    soiled[hit] = generator.normal(scale=20, size=hit.sum())

    def error(loss):
        estimator = AutoencoderTransformer(8, loss=loss, random_state=0).fit(soiled)
        return -estimator.score(test_rows)

    assert error("huber") < 0.8 * error("squared_error")


def test_auto_takes_cross_entropy_for_zeros_and_ones_only(train_rows):
    binary = (train_rows > 0.5).astype(int)
    quick = AutoencoderTransformer(4, max_iter=1, random_state=0)
    assert quick.fit(binary).loss_function_ == "binary_cross_entropy"
    assert quick.fit(train_rows).loss_function_ == "squared_error"
    assert quick.fit(2 * binary).loss_function_ == "squared_error"
    whitened = clone(quick).set_params(whiten="zca")
    assert whitened.fit(binary).loss_function_ == "squared_error"


@pytest.mark.parametrize(
    ("loss", "values"),
    [("poisson", "0 and more"), ("binary_cross_entropy", "between 0 and 1")],
)
def test_data_outside_the_range_is_refused(train_rows, loss, values):
    estimator = AutoencoderTransformer(4, loss=loss, max_iter=1)
    with pytest.raises(ValueError, match=f"{loss}.* needs values .*{values}, got -"):
        estimator.fit(train_rows - 1)
    estimator.partial_fit(train_rows)
    with pytest.raises(ValueError, match="needs values"):
        estimator.partial_fit(train_rows - 1)


@pytest.mark.parametrize("loss", ["poisson", "binary_cross_entropy"])
@pytest.mark.parametrize("parameter", [{"whiten": "zca"}, {"normalize_rows": 0.5}])
def test_losses_for_raw_values_are_refused_for_others(train_rows, loss, parameter):
    estimator = AutoencoderTransformer(4, loss=loss, **parameter)
    with pytest.raises(ValueError, match="raw values"):
        estimator.fit(train_rows)


def test_training_goes_on_with_the_same_loss(train_rows):
    estimator = AutoencoderTransformer(4, max_iter=2, loss="huber", warm_start=True)
    estimator.fit(train_rows)
    estimator.set_params(loss="auto").fit(train_rows)
    assert estimator.loss_function_ == "huber"
    with pytest.raises(ValueError, match="began with 'huber'"):
        estimator.set_params(loss="squared_error").fit(train_rows)


@pytest.mark.parametrize("loss", ["poisson", "binary_cross_entropy"])
def test_constant_columns_stay(loss):
    X = np.random.default_rng(0).integers(0, 2, (200, 6)).astype(float)
    X[:, 0], X[:, 1] = 0, 1
    estimator = AutoencoderTransformer(3, loss=loss, random_state=0).fit(X)
    reconstruction = estimator.inverse_transform(estimator.transform(X))
    np.testing.assert_allclose(reconstruction[:, 0], 0, atol=0.01)
    np.testing.assert_allclose(reconstruction[:, 1], 1, atol=0.05)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_deviance_is_zero_for_a_perfect_output_and_has_its_least_there(name):
    mean = torch.tensor([0.3, 0.6])
    loss = LOSSES[name](mean, 0.5)
    output = torch.tensor([[0.4, -0.7], [1.0, 0.1]], requires_grad=True)
    target = loss.mean(output).detach()
    costs = loss.rows(output, target)
    np.testing.assert_allclose(costs.detach(), 0, atol=1e-6)
    costs.sum().backward()
    np.testing.assert_allclose(output.grad, 0, atol=1e-6)
    assert (loss.rows(output.detach() + 0.1, target) > 0).all()


@pytest.mark.parametrize("excess", [0.001, 0.005, 0.009, 0.011, 0.05, -0.002, -0.02])
def test_small_deviances_of_counts_have_their_digits(excess):
    mean = torch.tensor([0.5, 3.0, 200.0])
    loss = LOSSES["poisson"](mean, 2.0)
    target = (mean * (1 + excess) - mean).unsqueeze(0) / 2
    found = loss.deviance(torch.zeros(1, 3), target)[0]
    rate = mean.double().numpy() / 2
    expected = rate * ((1 + excess) * np.log1p(excess) - excess)
    np.testing.assert_allclose(found, expected, rtol=0.05)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_zero_output_means_the_column_means(name):
    loss = LOSSES[name](torch.tensor([0.3, 0.6, 0.999]), 0.5)
    np.testing.assert_allclose(loss.mean(torch.zeros(2, 3)), 0, atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e6, 1e7])
def test_counts_far_from_zero_keep_their_digits(train_rows, test_rows, offset):
    train, test = (offset + np.round(1000 * rows) for rows in (train_rows, test_rows))
    estimator = AutoencoderTransformer(8, loss="poisson", random_state=0).fit(train)
    assert min(estimator.loss_curve_) > 0
    assert 1 + estimator.score(test) / test.var(axis=0).mean() > 0.7


@pytest.mark.parametrize("contrast", [1, 0.1, 0.01])
def test_shares_of_little_contrast(train_rows, test_rows, contrast):
    train, test = (0.5 + contrast * (rows - 0.5) for rows in (train_rows, test_rows))
    estimator = AutoencoderTransformer(
        8, loss="binary_cross_entropy", random_state=0
    ).fit(train)
    assert 1 + estimator.score(test) / test.var(axis=0).mean() > 0.75


@pytest.mark.parametrize("loss", ["poisson", "binary_cross_entropy", "huber"])
@pytest.mark.parametrize("value", [0, 0.1, 0.3, 1])
def test_constant_data(loss, value):
    X = np.full((40, 5), value)
    estimator = AutoencoderTransformer(loss=loss, max_iter=3, random_state=0).fit(X)
    assert np.all(np.isfinite(estimator.loss_curve_))
    assert min(estimator.loss_curve_) >= 0
    reconstruction = estimator.inverse_transform(estimator.transform(X))
    np.testing.assert_allclose(reconstruction, value, atol=0.2)


def test_rounding_of_a_scaler_is_within_the_range(train_rows):
    almost = train_rows.copy()
    almost[0, 20], almost[1, 20] = 1 + 1e-15, -1e-15
    AutoencoderTransformer(4, loss="binary_cross_entropy", max_iter=1).fit(almost)


def test_rows_without_weight_do_not_choose_the_loss(train_rows):
    binary = np.vstack([train_rows > 0.5, train_rows[:1]])
    weights = np.repeat([1, 0], [len(train_rows), 1])
    estimator = AutoencoderTransformer(4, max_iter=1)
    estimator.fit(binary, sample_weight=weights)
    assert estimator.loss_function_ == "binary_cross_entropy"
    estimator.set_params(loss="poisson").fit(
        binary - weights[:, None] + 1, None, weights
    )


def test_a_stream_has_the_squared_error(train_rows):
    stream = AutoencoderTransformer(4).partial_fit(train_rows[:100] > 0.5)
    assert stream.loss_function_ == "squared_error"
    stream.partial_fit(2 * train_rows)
