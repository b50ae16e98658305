"""Codes and layers."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skautoenc._networks.codes import SPARSITIES, share_threshold
from skautoenc._networks.dense import DenseAutoencoder
from skautoenc._networks.layers import NORMALIZATIONS, scaled_mask
from skautoenc._networks.numbers import PiecewiseLinear


@pytest.fixture
def code():
    return torch.rand(40, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_share_threshold_keeps_the_share(code, rate):
    kept = code >= share_threshold(code, rate)
    assert kept.sum(dim=0).tolist() == [round(rate * 40)] * 7


def test_weights_stand_for_repetition(code):
    repeats = torch.arange(40) % 4
    repeated = code.repeat_interleave(repeats, dim=0)
    expected = share_threshold(repeated, 0.1)
    weighted = share_threshold(code, 0.1, repeats.float())
    assert torch.equal(weighted, expected)
    ones = share_threshold(code, 0.1, torch.ones(40))
    assert torch.equal(ones, share_threshold(code, 0.1))


@pytest.mark.parametrize("rule", sorted(SPARSITIES))
def test_each_rule_keeps_its_share_of_the_strongest(code, rule):
    kept = SPARSITIES[rule](7, 0.3)(code)
    weakest = {
        "batch_topk": code.flatten().topk(84).values.min(),
        "lifetime": code.topk(12, dim=0).values.amin(dim=0),
        "topk": code.topk(3, dim=1).values.amin(dim=1, keepdim=True),
    }
    assert torch.equal(kept, code * (code >= weakest[rule]))


@pytest.mark.parametrize("rule", sorted(SPARSITIES))
def test_reading_a_sparse_code_treats_each_row_alone(code, rule):
    sparsity = SPARSITIES[rule](7, 0.1)
    for _ in range(3):
        trained = sparsity(code)
    sparsity.eval()
    rows = torch.cat([sparsity(row.unsqueeze(0)) for row in code])
    torch.testing.assert_close(rows, sparsity(code))
    # The thresholds of three equal batches are those of the batch, except for rounding.
    assert ((rows > 0) != (trained > 0)).sum() <= 7


@pytest.mark.parametrize("rule", sorted(SPARSITIES))
def test_each_rule_counts_a_weight_as_repetition(code, rule):
    repeats = torch.arange(40) % 4
    kept = SPARSITIES[rule](7, 0.2)(code, repeats.float())
    repeated = SPARSITIES[rule](7, 0.2)(code.repeat_interleave(repeats, dim=0))
    assert torch.equal(kept.repeat_interleave(repeats, dim=0), repeated)


def build(**changes):
    config = {
        "n_features": 6,
        "n_components": 3,
        "hidden_layer_sizes": (5, 4),
        "activation": "relu",
        "sparsity": None,
        "sparsity_rate": 0.1,
        "sparsity_penalty": 0.1,
        "tied_weights": False,
        "linear_skip": False,
        "normalization": None,
        "dropout": 0.0,
    }
    network = DenseAutoencoder(**{**config, **changes})
    rows = torch.randn(
        50, network.widths[0], generator=torch.Generator().manual_seed(1)
    )
    network.initialise(torch.Generator().manual_seed(0), rows, None)
    return network


def test_tied_decoder_has_no_weights_of_its_own():
    untied = sum(p.numel() for p in build().parameters())
    tied = sum(p.numel() for p in build(tied_weights=True).parameters())
    assert untied - tied == 6 * 5 + 5 * 4 + 4 * 3


@pytest.mark.parametrize("tied_weights", [False, True])
def test_directions_are_what_a_unit_adds(tied_weights):
    network = build(hidden_layer_sizes=(), tied_weights=tied_weights)
    zero = network.decode(torch.zeros(1, 3))
    added = network.decode(torch.eye(3)) - zero
    torch.testing.assert_close(network.directions(), added.detach())


def test_a_deep_decoder_has_no_directions():
    assert build().directions() is None


def test_dropout_acts_in_training_only():
    network = build(dropout=0.5)
    x = torch.ones(1000, 6)
    network.eval()
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("rate", [1e-3, 0.3, 0.5, 0.95, 0.999999])
@pytest.mark.parametrize("is_contiguous", [True, False])
def test_masks_have_the_rate_and_keep_the_mean(rate, is_contiguous):
    x = torch.ones(401, 999) if is_contiguous else torch.ones(999, 401).t()
    generator = torch.Generator().manual_seed(0)
    mask = scaled_mask(x, rate, generator)
    kept = (mask > 0).double()
    assert mask.shape == x.shape
    assert mask.dtype == x.dtype
    noise = (rate * (1 - rate) / x.numel()) ** 0.5
    assert kept.mean().item() == pytest.approx(1 - rate, abs=5 * noise + 2e-5)
    values = mask[mask > 0].unique()
    assert len(values) <= 1
    assert mask.isfinite().all()
    if rate < 0.99:
        assert values.item() == pytest.approx(1 / (1 - rate), rel=1e-3)
        # Neighbours come from the same integer, and do not depend on each other.
        pairs = (kept[:, :-1] - kept.mean()) * (kept[:, 1:] - kept.mean())
        assert abs(pairs.mean().item()) < 5 * noise
        assert not torch.equal(mask, scaled_mask(x, rate, generator))
    again = scaled_mask(x, rate, torch.Generator().manual_seed(0))
    assert torch.equal(mask, again)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("batch", torch.nn.BatchNorm1d), ("layer", torch.nn.LayerNorm)],
)
def test_normalizations_agree_with_torch(kind, reference):
    x = 3 + 2 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = NORMALIZATIONS[kind](5), reference(5)
    torch.testing.assert_close(ours(x), theirs(x))
    for _ in range(200):
        ours(x), theirs(x)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), atol=0.05, rtol=0)
    torch.testing.assert_close(ours(x[:1]), ours(x)[:1])


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_first_weights_keep_the_variance(activation):
    network = build(
        n_features=400,
        hidden_layer_sizes=(400, 400, 400),
        n_components=400,
        activation=activation,
    )
    x = torch.randn(500, 400, generator=torch.Generator().manual_seed(1))
    assert 0.1 < network.encode(x).detach().numpy().var() < 3
    assert np.isfinite(network(x).detach().numpy()).all()


@pytest.mark.parametrize("tied_weights", [False, True])
def test_linear_skip_starts_as_pca(train_rows, tied_weights):
    rows = train_rows - train_rows.mean(axis=0)
    network = build(
        n_features=64, n_components=5, linear_skip=True, tied_weights=tied_weights
    )
    tensor = torch.tensor(rows, dtype=torch.float32)
    network.initialise(torch.Generator().manual_seed(0), tensor, None)
    pca = PCA(5).fit(rows)
    expected = pca.inverse_transform(pca.transform(rows))
    optimum = ((expected - rows) ** 2).mean()
    error = ((network(tensor).detach().numpy() - rows) ** 2).mean()
    assert optimum <= error < 1.1 * optimum


def test_linear_skip_works_with_more_components_than_rows():
    network = build(n_features=30, n_components=20, linear_skip=True)
    rows = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    network.initialise(torch.Generator().manual_seed(0), rows, torch.ones(4))
    axes = network.projection.weight.detach()
    torch.testing.assert_close(axes @ axes.t(), torch.eye(20), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows @ axes.t() @ axes, rows, atol=1e-4, rtol=0)


def test_bins_hold_as_many_rows_and_go_on_beyond_them():
    encoding = PiecewiseLinear(2)
    numbers = torch.stack([torch.linspace(0, 16, 161), torch.full((161,), 3.0)], dim=1)
    encoding.initialise(torch.Generator(), numbers, None)
    encoded = encoding(torch.tensor([[2.5, 3.0], [-1.0, 2.0], [18.0, 4.0]]))
    full, empty = [1.0] * 16, [0.0] * 16
    expected = torch.tensor(
        [
            [1.0, 1.0, 0.5, *[0.0] * 13],
            [-1.0, *[0.0] * 15],
            [*[1.0] * 15, 3.0],
        ]
    )
    torch.testing.assert_close(encoded[:, 0], expected, atol=1e-4, rtol=1e-4)
    repeats = torch.arange(161) % 3
    weighted, repeated = PiecewiseLinear(2), PiecewiseLinear(2)
    shuffled = numbers[torch.randperm(161, generator=torch.Generator().manual_seed(0))]
    weighted.initialise(torch.Generator(), shuffled, repeats.float())
    repeated.initialise(torch.Generator(), shuffled.repeat_interleave(repeats, 0), None)
    torch.testing.assert_close(weighted.edges, repeated.edges)
    # A column of one value has bins without width, which are full or empty.
    assert encoded[:, 1].tolist() == [full, empty, full]
