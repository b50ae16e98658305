"""Codes: penalties, order, neighbours, normalisation, dead units."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from skautoenc import AutoencoderTransformer
from skautoenc._networks.dense import DenseAutoencoder
from skautoenc._objectives.objectives import squared_jacobian, truncate
from skautoenc._training.optimizers import Solver, make_optimizer
from skautoenc._training.revival import dead_units, revive


def reconstruct(estimator, X):
    return estimator.inverse_transform(estimator.transform(X))


def r2(estimator, X):
    return 1 + estimator.score(X) / np.var(X, axis=0).mean()


def make_network(**parameters):
    network = DenseAutoencoder(
        **{
            "n_features": 12,
            "n_components": 20,
            "hidden_layer_sizes": (),
            "activation": "silu",
            "sparsity": "topk",
            "sparsity_rate": 0.1,
            "sparsity_penalty": 0.1,
            "tied_weights": True,
            "linear_skip": True,
            "normalization": None,
            "dropout": 0.0,
            **parameters,
        }
    )
    generator = torch.Generator().manual_seed(0)
    network.initialise(generator, torch.randn(50, 12, generator=generator), None)
    return network.eval()


# Penalties


def test_l1_penalty_silences_activations(train_rows, test_rows):
    def active(penalty):
        estimator = AutoencoderTransformer(
            sparsity="l1", sparsity_penalty=penalty, random_state=0
        ).fit(train_rows)
        assert r2(estimator, test_rows) > 0.8
        return (estimator.transform(test_rows) > 0).mean()

    assert active(0.1) < 0.8 * active(0.001)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_kl_penalty_sets_the_mean_activation(train_rows, rate):
    estimator = AutoencoderTransformer(
        sparsity="kl", sparsity_rate=rate, sparsity_penalty=10, random_state=0
    ).fit(train_rows)
    code = estimator.transform(train_rows)
    assert code.min() >= 0
    assert code.max() <= 1
    assert code.mean() == pytest.approx(rate, rel=0.2)
    assert estimator.sparsity_ == "kl"


def test_l1_does_not_reward_a_small_code_with_large_weights():
    code = torch.rand(5, 20)
    network = make_network(sparsity="l1", tied_weights=False)
    before = network.penalty(code, None)
    with torch.no_grad():
        network.decoder[0].weight.mul_(10)
    torch.testing.assert_close(network.penalty(code / 10, None), before)


@pytest.mark.parametrize("sparsity", ["l1", "kl"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (16,)])
def test_penalties_count_a_weight_as_repetition(sparsity, hidden_layer_sizes):
    network = make_network(sparsity=sparsity, hidden_layer_sizes=hidden_layer_sizes)
    code = torch.rand(6, 20)
    repeats = torch.tensor([0, 1, 2, 3, 0, 0])
    torch.testing.assert_close(
        network.penalty(code, repeats.float()),
        network.penalty(code.repeat_interleave(repeats, dim=0), None),
    )


def jacobian_norms(network, x):
    norms = []
    for row in x:
        jacobian = torch.autograd.functional.jacobian(
            lambda v: network.encode(v.unsqueeze(0))[0], row
        )
        norms.append(jacobian.square().sum())
    return torch.stack(norms)


@pytest.mark.parametrize("sparsity", [None, "topk", "kl"])
def test_closed_form_of_the_contractive_penalty(sparsity):
    network = make_network(sparsity=sparsity)
    x = torch.randn(7, 12)
    found = network.squared_jacobian(network.encode(x))
    torch.testing.assert_close(found, jacobian_norms(network, x))


def test_probes_give_the_contractive_penalty_on_average():
    network = make_network(hidden_layer_sizes=(16,), sparsity=None, n_components=5)
    x = torch.randn(4, 12)
    assert network.squared_jacobian(network.encode(x)) is None
    generator = torch.Generator().manual_seed(0)
    many = x.repeat(4000, 1).requires_grad_()
    found = squared_jacobian(network.encode(many), many, generator)
    torch.testing.assert_close(
        found.view(4000, 4).mean(dim=0), jacobian_norms(network, x), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("parameters", [{}, {"n_components": 8}], ids=str)
def test_contraction_makes_codes_move_less(train_rows, test_rows, parameters):
    noise = np.random.default_rng(0).normal(scale=0.05, size=test_rows.shape)

    def movement(penalty):
        estimator = AutoencoderTransformer(
            contractive_penalty=penalty,
            tied_weights=True,
            learning_rate_init=0.005,
            random_state=0,
            **parameters,
        ).fit(train_rows)
        assert r2(estimator, test_rows) > 0.5
        code = estimator.transform(test_rows)
        moved = estimator.transform(test_rows + noise) - code
        return (moved**2).mean() / code.var(axis=0).mean()

    assert movement(0.3) < 0.8 * movement(0)


# Order


def test_first_components_of_an_ordered_code_are_the_best(train_rows, test_rows):
    n_components = 8
    estimator = AutoencoderTransformer(n_components, ordered=True, random_state=0).fit(
        train_rows
    )
    code = estimator.transform(test_rows)
    shares = []
    for k in range(1, n_components + 1):
        cut = code * (np.arange(n_components) < k)
        error = np.mean((estimator.inverse_transform(cut) - test_rows) ** 2)
        shares.append(1 - error / test_rows.var(axis=0).mean())
        pca = PCA(k).fit(train_rows)
        assert error < np.mean((reconstruct(pca, test_rows) - test_rows) ** 2)
    ratio = estimator.explained_variance_ratio_
    np.testing.assert_allclose(ratio.cumsum(), shares, atol=0.08)
    assert ratio[0] > 2 * ratio[-1] > 0
    free = AutoencoderTransformer(n_components, random_state=0).fit(train_rows)
    assert free.explained_variance_ratio_ is None
    assert estimator.score(test_rows) > 1.1 * free.score(test_rows)


def test_truncation_keeps_the_first_components():
    code = torch.ones(20_000, 4)
    kept = truncate(code, torch.Generator().manual_seed(0))
    assert (kept[:, 0] == 1).all()
    assert (kept.diff(dim=1) <= 0).all()
    # With 1 to 7 components to keep, four values mean all.
    shares = torch.tensor([1, 6 / 7, 5 / 7, 4 / 7])
    torch.testing.assert_close(kept.mean(dim=0), shares, atol=0.02, rtol=0)


def test_order_is_for_dense_codes(train_rows):
    wide = AutoencoderTransformer(70, ordered=True, max_iter=1).fit(train_rows)
    assert wide.sparsity_ is None
    with pytest.raises(ValueError, match=r"'sparsity' .* needs a dense code"):
        AutoencoderTransformer(sparsity="topk", ordered=True).fit(train_rows)


# Whitened codes


@pytest.mark.parametrize(
    "parameters",
    [{"n_components": 8}, {"n_components": 8, "features": "stack"}, {"sparsity": "l1"}],
    ids=str,
)
def test_whitened_code(train_rows, test_rows, parameters):
    plain = AutoencoderTransformer(max_iter=20, random_state=0, **parameters)
    white = clone(plain).set_params(whiten_code=True)
    plain.fit(train_rows)
    width = white.fit(train_rows).n_components_
    code = white.transform(train_rows)
    np.testing.assert_array_equal(
        code[:, :-width], plain.transform(train_rows)[:, :-width]
    )
    code = code[:, -width:].astype(float)
    covariance = np.cov(code.T, bias=True)
    if width == 8:
        np.testing.assert_allclose(covariance, np.eye(8), atol=0.05)
    # Some directions of a wide code hardly vary, and stay small.
    assert np.median(np.diag(covariance)) > 0.95
    assert np.diag(covariance).max() < 1.05
    assert np.abs(covariance - np.diag(np.diag(covariance))).mean() < 0.01
    np.testing.assert_allclose(code.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(
        reconstruct(white, test_rows), reconstruct(plain, test_rows), atol=0.01
    )


def test_whitening_keeps_the_order_of_a_code(train_rows):
    white = AutoencoderTransformer(4, whiten_code=True, random_state=0).fit(train_rows)
    assert np.array_equal(white.code_whitening_, np.triu(white.code_whitening_))


def test_whitened_codes_by_weights(train_rows):
    weights = np.random.default_rng(0).integers(0, 3, len(train_rows))
    estimator = AutoencoderTransformer(4, whiten_code=True, random_state=0)
    code = estimator.fit(train_rows, sample_weight=weights).transform(train_rows)
    covariance = np.cov(code.T, bias=True, fweights=weights)
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.02)


# Normalised rows


def test_normalised_rows_do_not_depend_on_contrast(digits):
    X, X_test, _, _ = digits
    estimator = AutoencoderTransformer(normalize_rows=0.05, random_state=0).fit(X)
    centred = X_test - X.mean(axis=0)
    strong = estimator.transform(X.mean(axis=0) + centred)
    faint = estimator.transform(X.mean(axis=0) + centred / 2)
    np.testing.assert_allclose(faint, strong, atol=0.05 * strong.max())


@pytest.mark.parametrize("regularization", [0.5, 1.0])
@pytest.mark.parametrize("parameters", [{}, {"n_components": 16}], ids=str)
def test_rows_get_their_lengths_back(train_rows, test_rows, regularization, parameters):
    # The brightness of digits hardly varies, so vary it.
    generator = np.random.default_rng(0)
    train = train_rows * generator.uniform(0.3, 1.5, (len(train_rows), 1))
    test = test_rows * generator.uniform(0.3, 1.5, (len(test_rows), 1))
    estimator = AutoencoderTransformer(
        normalize_rows=regularization, random_state=0, **parameters
    ).fit(train)
    reconstruction = reconstruct(estimator, test)
    assert r2(estimator, test) > 0.75
    error = np.mean((reconstruction - test) ** 2)
    assert -estimator.score(test) == pytest.approx(error, rel=1e-3)
    lengths = [
        np.linalg.norm(rows - train.mean(axis=0), axis=1)
        for rows in (reconstruction, test)
    ]
    assert np.corrcoef(*lengths)[0, 1] > 0.8


def test_normalised_and_whitened_rows(train_rows, test_rows):
    estimator = AutoencoderTransformer(
        normalize_rows=0.5, whiten="zca", random_state=0
    ).fit(train_rows)
    assert r2(estimator, test_rows) > 0.7


# Neighbours


def test_neighbours_are_averaged(train_rows, test_rows):
    near = AutoencoderTransformer(16, n_neighbors=10, random_state=0).fit(train_rows)
    reconstruction = reconstruct(near, train_rows)
    search = NearestNeighbors(n_neighbors=10).fit(train_rows)
    means = train_rows[search.kneighbors(return_distance=False)].mean(axis=1)
    assert np.mean((reconstruction - means) ** 2) < 0.5 * np.mean(
        (reconstruction - train_rows) ** 2
    )


def test_diffusion_leaves_the_group(digits):
    X, _, y, _ = digits

    def spread(n_steps):
        """Variance within classes, as a share of all."""
        code = AutoencoderTransformer(
            8, n_neighbors=5, n_diffusion_steps=n_steps, random_state=0
        ).fit_transform(X)
        within = sum(code[y == c].var(axis=0) * (y == c).mean() for c in range(10))
        return within.sum() / code.var(axis=0).sum()

    assert spread(8) < 0.8 * spread(1)


def test_neighbours_tell_groups_apart(digits):
    X, X_test, y, y_test = digits

    def accuracy(n_neighbors):
        estimator = AutoencoderTransformer(
            8, n_neighbors=n_neighbors, whiten_code=True, random_state=0
        ).fit(X)
        classifier = LogisticRegression(max_iter=1000)
        return classifier.fit(estimator.transform(X), y).score(
            estimator.transform(X_test), y_test
        )

    assert accuracy(10) > accuracy(None) + 0.01


def test_more_neighbours_than_rows():
    X = np.random.default_rng(0).normal(size=(5, 3))
    estimator = AutoencoderTransformer(2, n_neighbors=10, max_iter=2).fit(X)
    assert estimator.transform(X).shape == (5, 2)


# Corrupted entries


def test_corrupted_entries_may_weigh_more(train_rows, test_rows):
    generator = np.random.default_rng(0)
    hidden = generator.random(test_rows.shape) < 0.3
    masked = np.where(hidden, train_rows.mean(axis=0), test_rows)

    def errors(weight):
        estimator = AutoencoderTransformer(
            corruption_rate=0.3, corruption_weight=weight, random_state=0
        ).fit(train_rows)
        squares = (reconstruct(estimator, masked) - test_rows) ** 2
        return squares[hidden].mean(), squares[~hidden].mean()

    light, heavy = errors(0), errors(20)
    assert heavy[0] < 0.8 * light[0]
    assert heavy[1] > light[1]


def test_all_entries_of_gaussian_noise_weigh_alike(train_rows):
    estimator = AutoencoderTransformer(corruption="gaussian", corruption_weight=2)
    with pytest.raises(ValueError, match=r"'corruption_weight' .* must be 1"):
        estimator.fit(train_rows)


# Sparse codes


@pytest.mark.parametrize("sparsity", ["lifetime", "topk", "batch_topk"])
def test_sparse_features_are_what_the_decoder_gets(train_rows, test_rows, sparsity):
    estimator = AutoencoderTransformer(sparsity=sparsity, max_iter=20, random_state=0)
    code = estimator.fit(train_rows).transform(test_rows)
    thinned = estimator.set_params(features="sparse").fit(train_rows)
    sparse = thinned.transform(test_rows)
    assert (sparse > 0).mean() == pytest.approx(0.1, abs=0.03)
    assert ((sparse == code) | (sparse == 0)).all()
    np.testing.assert_array_equal(
        thinned.inverse_transform(sparse), thinned.inverse_transform(code)
    )


# Dead units


@pytest.mark.parametrize("tied_weights", [False, True])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (16,)])
@pytest.mark.parametrize("sparsity", ["lifetime", "topk", "batch_topk", "l1"])
def test_dead_units_are_found_and_revived(sparsity, hidden_layer_sizes, tied_weights):
    network = make_network(
        sparsity=sparsity,
        hidden_layer_sizes=hidden_layer_sizes,
        tied_weights=tied_weights,
    )
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(1))
    assert len(dead_units(network, x)) <= 2
    optimizer = make_optimizer(network, Solver("adam", 1e-3, 0.9, 0, None), 1e-3)
    network(x).square().mean().backward()
    optimizer.step()
    killed = torch.tensor([3, 7])
    with torch.no_grad():
        network.encoder[-1].weight[killed] = 0
        network.encoder[-1].bias[killed] = -5
        if network.projection is not None:
            network.projection.weight[killed] = 0
    dead = dead_units(network, x)
    assert set(killed.tolist()) <= set(dead.tolist())
    living = [k for k in range(20) if k not in dead.tolist()]
    before = network.encoder[-1].weight[living].clone()
    errors = torch.zeros(200)
    errors[5] = 1
    revive(network, optimizer, dead, errors, x, torch.Generator().manual_seed(0))
    assert torch.equal(network.encoder[-1].weight[living], before)
    assert len(dead_units(network, x)) == 0
    # They respond most to the row that was badly reconstructed.
    code = network.encode(x)
    assert (code[5, killed] > 0).all()
    for weight, dim in network.unit_weights():
        moment = optimizer.moments(weight)[0]
        assert not moment.index_select(dim, dead).any()
        assert moment.any()


def test_few_dead_units_are_left(train_rows):
    estimator = AutoencoderTransformer(
        sparsity="topk", sparsity_rate=0.02, random_state=0
    ).fit(train_rows)
    sparse = estimator.set_params(features="sparse").fit(train_rows)
    dead = (sparse.transform(train_rows) <= 0).all(axis=0).sum()
    assert estimator.n_dead_ == dead < 0.02 * 512
    assert AutoencoderTransformer(4, max_iter=1).fit(train_rows).n_dead_ is None


# Regressions


def test_revival_by_counts():
    X = np.random.default_rng(0).poisson(1e6, (400, 20)).astype(float)
    estimator = AutoencoderTransformer(
        loss="poisson", sparsity="topk", sparsity_rate=0.02, random_state=0
    ).fit(X)
    assert np.isfinite(estimator.transform(X)).all()


@pytest.mark.parametrize("seed", range(5))
def test_whitened_codes_of_few_weighted_rows(train_rows, seed):
    weights = np.random.default_rng(seed).exponential(size=50)
    estimator = AutoencoderTransformer(whiten_code=True, max_iter=3, random_state=seed)
    code = estimator.fit(train_rows[:50], sample_weight=weights).transform(train_rows)
    assert np.abs(code).max() < 1000


def test_codes_of_a_stream_are_not_whitened(train_rows):
    estimator = AutoencoderTransformer(whiten_code=True)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError) as refusal:
        estimator.partial_fit(train_rows)
    assert "does not support whiten_code=True" in str(refusal.value.__cause__)


def test_neighbours_have_no_held_out_targets(train_rows):
    estimator = AutoencoderTransformer(4, n_neighbors=3, early_stopping=True)
    with pytest.raises(ValueError, match=r"'early_stopping' .* False with n_neighbors"):
        estimator.fit(train_rows)


def test_neighbours_of_equal_rows(train_rows):
    X = np.repeat(train_rows[:1], 10, axis=0)
    estimator = AutoencoderTransformer(n_neighbors=3, max_iter=1).fit(X)
    assert np.isfinite(estimator.transform(X)).all()


def test_rows_of_corrupted_entries_only(train_rows):
    estimator = AutoencoderTransformer(
        corruption_rate=0.9, corruption_weight=0, max_iter=3, random_state=0
    ).fit(train_rows[:, 20:22])
    assert np.isfinite(estimator.loss_curve_).all()


@pytest.mark.parametrize("regularization", [1e-4, 1e-2])
def test_lengths_stay_finite(train_rows, regularization):
    X = np.random.default_rng(0).standard_t(1.5, size=(200, 10))
    for rows in (train_rows, X):
        estimator = AutoencoderTransformer(
            normalize_rows=regularization, max_iter=3, random_state=0
        ).fit(rows)
        assert np.isfinite(estimator.score(rows))


@pytest.mark.parametrize("seed", range(10))
def test_wide_dense_codes_of_two_rows(train_rows, seed):
    X = train_rows[2 * seed : 2 * seed + 2]
    estimator = AutoencoderTransformer(
        100, ordered=True, max_iter=1, random_state=seed
    ).fit(X)
    assert np.isfinite(estimator.transform(X)).all()


def refusal_of(estimator, X):
    """Fit, and return the message of the error, if there is one."""
    try:
        estimator.fit(X)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_combinations_of_parameters(train_rows, seed):
    """Any combination works, or is refused with the name of a parameter."""
    generator = np.random.default_rng(seed)
    choices = {
        "n_components": [1, 8, 70],
        "hidden_layer_sizes": ["auto", (), (20,)],
        "sparsity": ["auto", None, "lifetime", "topk", "batch_topk", "l1", "kl"],
        "sparsity_rate": ["auto", 0.02, 0.5],
        "contractive_penalty": [0.0, 0.1],
        "ordered": [False, True],
        "tied_weights": ["auto", True, False],
        "linear_skip": [True, False],
        "normalization": [None, "batch", "layer"],
        "dropout": [0.0, 0.2],
        "corruption": ["masking", "gaussian", "salt_and_pepper", "swap"],
        "corruption_rate": [0.0, 0.3],
        "corruption_weight": [1.0, 0.0, 3.0],
        "n_neighbors": [None, 3],
        "loss": ["auto", "squared_error", "huber", "binary_cross_entropy", "poisson"],
        "features": ["code", "sparse", "stack"],
        "normalize_rows": [None, 0.5],
        "whiten": [None, "zca", "pca"],
        "whiten_code": [False, True],
        "early_stopping": [False, True],
        "solver": ["adam", "sgd"],
    }
    X = train_rows[:120]
    worked = 0
    for _ in range(100):
        # Mostly defaults: otherwise some parameter would always be refused.
        parameters = {
            name: values[0]
            if generator.random() < 0.6
            else generator.choice(np.array(values, dtype=object))
            for name, values in choices.items()
        }
        estimator = AutoencoderTransformer(
            max_iter=2, batch_size=40, random_state=0, **parameters
        )
        if estimator.solver == "sgd":
            estimator.set_params(max_grad_norm=1.0, learning_rate_init=0.01)
        refusal = refusal_of(estimator, X)
        if refusal:
            assert "parameter of AutoencoderTransformer must be" in refusal, parameters
            continue
        worked += 1
        code = estimator.transform(X)
        assert code.shape == (120, len(estimator.get_feature_names_out())), parameters
        reconstruction = estimator.inverse_transform(code)
        assert np.isfinite(reconstruction).all(), parameters
        error = np.mean((reconstruction - X) ** 2)
        assert -estimator.score(X) == pytest.approx(error, rel=0.01), parameters
    assert worked > 40
