"""Quality and options of AutoencoderTransformer."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvVariationalAutoencoder,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
)


def untrained(estimator):
    """The same network with its initial weights, except for rounding."""
    return clone(estimator).set_params(
        max_iter=1, learning_rate_init=1e-12, alpha=0, early_stopping=False
    )


def reconstruction_error(estimator, X):
    return np.mean((estimator.inverse_transform(estimator.transform(X)) - X) ** 2)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_components": 16},
        {"n_components": 128, "sparsity_rate": 0.2},
        {"n_components": 16, "tied_weights": True},
        {"n_components": 16, "tied_weights": False},
        {"n_components": 16, "hidden_layer_sizes": (48,)},
        {"n_components": 16, "linear_skip": False},
        {"n_components": 16, "linear_skip": False, "tied_weights": True},
        {"n_components": 128, "hidden_layer_sizes": (96,), "sparsity": "lifetime"},
        {"n_components": 16, "normalization": "batch"},
        {"n_components": 16, "normalization": "layer"},
        {"n_components": 16, "dropout": 0.1},
        {"sparsity": "topk"},
        {"sparsity": "batch_topk"},
        {"sparsity": "topk", "n_components": 16, "hidden_layer_sizes": (48,)},
        {"corruption_rate": 0.2},
        {"corruption_rate": 0.2, "corruption": "swap"},
        {"corruption_rate": 0.2, "corruption": "salt_and_pepper"},
        {"corruption_rate": 0.5, "corruption": "gaussian"},
        {"whiten": "zca"},
        {"n_components": 16, "whiten": "pca"},
        {"n_components": 16, "max_grad_norm": 1.0},
        {"n_components": 16, "alpha": 1e-3},
        {
            "n_components": 16,
            "solver": "sgd",
            "learning_rate_init": 0.1,
            "max_grad_norm": 1.0,
        },
        {"n_components": 16, "learning_rate": "constant"},
        {"n_components": 16, "learning_rate": "linear"},
        {"n_components": 16, "shuffle": False},
        {"n_components": 16, "batch_size": 10_000, "max_iter": 300},
        {"n_components": 16, "early_stopping": True},
    ],
    ids=str,
)
def test_training_beats_the_untrained_network(train_rows, test_rows, parameters):
    estimator = AutoencoderTransformer(random_state=0, **parameters)
    error = -estimator.fit(train_rows).score(test_rows)
    before = -untrained(estimator).fit(train_rows).score(test_rows)
    mean_only = test_rows.var(axis=0).mean()
    # The linear skip starts as PCA, which is a good start.
    assert error < min(0.85 * before, 0.5 * mean_only)


@pytest.mark.parametrize(
    "activation",
    [
        "identity",
        "logistic",
        "tanh",
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "selu",
    ],
)
def test_every_activation_trains(train_rows, test_rows, activation):
    estimator = AutoencoderTransformer(
        16, hidden_layer_sizes=(64,), activation=activation, random_state=0
    ).fit(train_rows)
    assert -estimator.score(test_rows) < 0.4 * test_rows.var(axis=0).mean()


@pytest.mark.parametrize("tied_weights", [False, True])
@pytest.mark.parametrize("n_components", [4, 16])
def test_linear_network_reaches_pca(train_rows, n_components, tied_weights):
    pca = PCA(n_components).fit(train_rows)
    optimum = reconstruction_error(pca, train_rows)
    estimator = AutoencoderTransformer(
        n_components,
        hidden_layer_sizes=(),
        sparsity=None,
        tied_weights=tied_weights,
        alpha=0,
        learning_rate_init=1e-2,
        max_iter=200,
        tol=0,
        random_state=0,
    ).fit(train_rows)
    assert reconstruction_error(estimator, train_rows) == pytest.approx(
        optimum, rel=0.01
    )


@pytest.mark.slow  # Fifteen pipelines.
def test_default_features_beat_raw_and_pca(digits):
    X, _, y, _ = digits
    cv = StratifiedKFold(5, shuffle=True, random_state=0)

    def accuracy(features):
        pipeline = make_pipeline(
            MinMaxScaler(), features, LogisticRegression(max_iter=1000)
        )
        return cross_val_score(pipeline, X, y, cv=cv).mean()

    features = accuracy(AutoencoderTransformer(random_state=0))
    assert features > accuracy("passthrough") + 0.003
    assert features > accuracy(PCA(32)) + 0.003


def test_default_reconstructs_held_out_rows(train_rows, test_rows):
    estimator = AutoencoderTransformer(random_state=0).fit(train_rows)
    error = reconstruction_error(estimator, test_rows)
    assert error < 0.15 * test_rows.var(axis=0).mean()
    assert -estimator.score(test_rows) == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("n_components", [8, 16])
def test_default_bottleneck_reconstructs_better_than_pca(
    train_rows, test_rows, n_components
):
    estimator = AutoencoderTransformer(n_components, random_state=0).fit(train_rows)
    pca = PCA(n_components).fit(train_rows)
    assert -estimator.score(test_rows) < reconstruction_error(pca, test_rows)


def test_scale_and_offset_of_the_data_do_not_matter(train_rows, test_rows):
    estimator = AutoencoderTransformer(random_state=0, max_iter=5)
    code = estimator.fit(train_rows).transform(test_rows)
    moved = estimator.fit(1e3 * train_rows + 1e7).transform(1e3 * test_rows + 1e7)
    np.testing.assert_allclose(moved, code, atol=1e-2 * code.max())
    assert np.corrcoef(moved.ravel(), code.ravel())[0, 1] > 0.999


def test_auto_has_a_fitted_attribute():
    X = load_iris().data
    wide = AutoencoderTransformer(max_iter=2, random_state=0).fit(X)
    assert wide.n_components_ == 32
    assert wide.sparsity_ == "lifetime"
    assert wide.sparsity_rate_ == 0.5
    assert wide.hidden_layer_sizes_ == ()
    narrow = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)
    assert narrow.n_components_ == 2
    assert narrow.sparsity_ is None
    assert narrow.sparsity_rate_ is None
    assert narrow.hidden_layer_sizes_ == (16, 8)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(300, 64), (20, 64)])
def test_a_share_of_the_variance_is_as_many_units_as_in_pca(train_rows, share, shape):
    X = 1e3 * train_rows[: shape[0], : shape[1]] + 1e6
    short = AutoencoderTransformer(share, max_iter=1, random_state=0)
    n_components = PCA(share, svd_solver="full").fit(X).n_components_
    assert short.fit(X).n_components_ == n_components
    assert short.transform(X).shape == (len(X), n_components)
    # It is of the rows with their weights, and stays what the first fit has found.
    weights = np.r_[np.ones(15), np.zeros(len(X) - 15)]
    weighted = clone(short).fit(X, sample_weight=weights)
    assert weighted.n_components_ == clone(short).fit(X[:15]).n_components_
    assert weighted.partial_fit(X).n_components_ == weighted.n_components_


def test_none_is_as_many_units_as_in_pca(train_rows):
    for X in (train_rows[:100], train_rows[:20]):
        estimator = AutoencoderTransformer(None, max_iter=1, random_state=0).fit(X)
        assert estimator.n_components_ == PCA(None).fit(X).n_components_ == min(X.shape)


@pytest.mark.parametrize("X", [np.zeros((30, 4)), np.eye(30, 3000) * 1e100])
def test_a_share_of_odd_variances_is_some_units(X):
    short = AutoencoderTransformer(0.9, max_iter=1, random_state=0).fit(X)
    assert 1 <= short.n_components_ <= 30


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [
        (AutoencoderTransformer, "hidden_layer_sizes"),
        (VariationalAutoencoder, "hidden_layer_sizes"),
        (TabularAutoencoderTransformer, "hidden_layer_sizes"),
        (ConvAutoencoderTransformer, "hidden_channels"),
        (ConvVariationalAutoencoder, "hidden_channels"),
    ],
)
def test_an_integer_is_one_hidden_layer(train_rows, kind, parameter):
    X = train_rows[:100]
    quick = kind(n_components=3, max_iter=2, random_state=0)
    one = clone(quick).set_params(**{parameter: np.int64(5)}).fit(X)
    listed = clone(quick).set_params(**{parameter: (5,)}).fit(X)
    np.testing.assert_array_equal(one.transform(X), listed.transform(X))
    if hasattr(one, "hidden_layer_sizes_"):
        assert one.hidden_layer_sizes_ == (5,)


def test_sparse_code_is_rectified_and_decodes_its_strongest_units(train_rows):
    estimator = AutoencoderTransformer(random_state=0).fit(train_rows)
    code = estimator.transform(train_rows)
    assert code.min() == 0
    # Weak activations do not reach the decoder: without them the result is the same.
    threshold = estimator.network_.sparsity.threshold.numpy()
    thinned = np.where(code >= threshold, code, 0)
    assert (thinned > 0).mean() == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(
        estimator.inverse_transform(thinned), estimator.inverse_transform(code)
    )


def test_dense_code_is_linear(train_rows):
    code = AutoencoderTransformer(8, random_state=0).fit_transform(train_rows)
    assert code.min() < 0 < code.max()


@pytest.mark.parametrize("whiten", ["zca", "pca"])
@pytest.mark.parametrize("regularization", [0.0, 0.1])
def test_whitening_is_learnt_and_undone(train_rows, test_rows, whiten, regularization):
    estimator = AutoencoderTransformer(
        whiten=whiten, whiten_regularization=regularization, random_state=0
    ).fit(train_rows)
    rows = (train_rows - estimator.mean_) / estimator.scale_
    variances = np.linalg.eigvalsh(np.cov((rows @ estimator.whitening_).T))
    assert variances.mean() == pytest.approx(1, rel=0.01)
    # A few pixels of the digits are always or nearly always empty.
    strong = variances[5:]
    assert (strong.std() / strong.mean() < 0.02) == (regularization == 0)
    np.testing.assert_allclose(
        rows @ estimator.whitening_ @ estimator.dewhitening_, rows, atol=1e-3
    )
    error = reconstruction_error(estimator, test_rows)
    assert -estimator.score(test_rows) == pytest.approx(error, rel=1e-3)
    assert error < 0.3 * test_rows.var(axis=0).mean()


def test_zca_stays_close_to_the_columns(train_rows):
    estimator = AutoencoderTransformer(4, whiten="zca", max_iter=1).fit(train_rows)
    np.testing.assert_allclose(estimator.whitening_, estimator.whitening_.T, atol=1e-5)
    assert np.linalg.eigvalsh(estimator.whitening_).min() > 0


def test_stack_is_all_activations_and_the_code(train_rows, test_rows):
    estimator = AutoencoderTransformer(
        8, hidden_layer_sizes=(40, 20), max_iter=2, random_state=0
    )
    code = clone(estimator).fit(train_rows).transform(test_rows)
    deep = estimator.set_params(features="stack").fit(train_rows)
    stack = deep.transform(test_rows)
    assert stack.shape == (len(test_rows), 68)
    assert len(deep.get_feature_names_out()) == 68
    np.testing.assert_array_equal(stack[:, -8:], code)
    # The code depends on the last hidden layer and the linear skip.
    weights = {k: v.detach().numpy() for k, v in deep.network_.named_parameters()}
    last_hidden = stack[:, 40:60]
    rows = (test_rows - deep.mean_) / deep.scale_
    expected = last_hidden @ weights["encoder.2.weight"].T
    expected += weights["encoder.2.bias"] + rows @ weights["projection.weight"].T
    np.testing.assert_allclose(stack[:, -8:], expected, atol=1e-4)
    np.testing.assert_array_equal(
        deep.inverse_transform(stack), deep.inverse_transform(code)
    )
    assert -deep.score(test_rows) == pytest.approx(
        reconstruction_error(deep, test_rows), rel=1e-4
    )


class Custom(torch.nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.inner = torch.nn.Sequential(
            torch.nn.Linear(n_features, 64), torch.nn.ReLU()
        )
        self.to_code = torch.nn.Linear(64, n_components)
        self.back = torch.nn.Linear(n_components, n_features)

    def encode(self, x):
        return self.to_code(self.inner(x))

    def decode(self, code):
        return self.back(code)


def build_narrower(n_features, n_components):
    return Custom(n_features, n_components - 1)


def test_a_network_of_your_own(train_rows, test_rows):
    state = torch.get_rng_state()
    estimator = AutoencoderTransformer(8, network=Custom, random_state=0)
    code = estimator.fit(train_rows).transform(test_rows)
    assert torch.equal(torch.get_rng_state(), state)
    assert code.shape == (len(test_rows), 8)
    assert -estimator.score(test_rows) < 0.4 * test_rows.var(axis=0).mean()
    np.testing.assert_array_equal(
        clone(estimator).fit(train_rows).transform(test_rows), code
    )
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.transform(test_rows), code)
    other = clone(estimator).set_params(random_state=1).fit(train_rows)
    assert not np.allclose(other.transform(test_rows), code)
    drawn = [
        untrained(estimator).set_params(random_state=seed).fit(train_rows)
        for seed in (0, 1)
    ]
    assert not np.allclose(*(each.transform(test_rows) for each in drawn))


def build_with_dropout(n_features, n_components):
    network = Custom(n_features, n_components)
    network.inner.append(torch.nn.Dropout(0.3))
    return network


def test_dropout_of_your_own_network_draws_from_the_seed(train_rows):
    estimator = AutoencoderTransformer(
        8, network=build_with_dropout, max_iter=2, random_state=0
    )
    state = torch.get_rng_state()
    first = clone(estimator).fit(train_rows)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(
        first.transform(train_rows), estimator.fit(train_rows).transform(train_rows)
    )
    plain = clone(estimator).set_params(network=Custom).fit(train_rows)
    assert not np.allclose(first.transform(train_rows), plain.transform(train_rows))


def build_nothing(n_features, n_components):
    return 3


def build_plain(n_features, n_components):
    return torch.nn.Linear(n_features, n_components)


def build_frozen(n_features, n_components):
    return Custom(n_features, n_components).requires_grad_(False)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (build_narrower, r"encode must give a tensor of shape \(2, 8\) .* \(2, 7\)"),
        (build_nothing, "returned int, not a torch.nn.Module"),
        (build_plain, "Linear has no encode and decode"),
        (build_frozen, "Custom has no parameters to train"),
        (Custom(64, 8), r"'network' .* never an instance. Got Custom"),
    ],
    ids=["shape", "type", "methods", "frozen", "instance"],
)
def test_a_network_of_your_own_that_does_not_fit(train_rows, builder, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(8, network=builder).fit(train_rows)


def test_a_network_of_your_own_has_no_stack(train_rows):
    estimator = AutoencoderTransformer(8, network=Custom, features="stack")
    with pytest.raises(ValueError, match=r"'features' parameter .* must be 'code'"):
        estimator.fit(train_rows)


def test_equal_rows_suit_any_network():
    for network in (None, Custom):
        estimator = AutoencoderTransformer(3, network=network, whiten="zca")
        code = estimator.fit(np.ones((20, 5))).transform(np.eye(5))
        assert np.abs(code).max() < 100


def test_grid_search_in_a_pipeline_runs_clean(digits):
    X, X_test, y, y_test = digits
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderTransformer(random_state=0),
        LogisticRegression(max_iter=2000),
    )
    grid = {"autoencodertransformer__n_components": [32, 256]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(X, y)
    assert search.score(X_test, y_test) > 0.95


def test_score_drives_a_search_without_labels(train_rows):
    search = GridSearchCV(
        AutoencoderTransformer(random_state=0, max_iter=20),
        {"n_components": [1, 16]},
        cv=2,
    ).fit(train_rows)
    assert search.best_params_ == {"n_components": 16}
