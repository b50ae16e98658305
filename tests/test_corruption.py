"""Input noise."""

import pytest
import torch

from skautoenc._objectives.corruption import CORRUPTIONS


@pytest.fixture
def batch():
    return torch.randn(400, 25, generator=torch.Generator().manual_seed(0))


def corrupt(kind, batch, rate=0.3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return CORRUPTIONS[kind](batch, generator, rate=rate)


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"gaussian"}))
def test_the_share_of_corrupted_entries_is_the_rate(batch, kind):
    changed = corrupt(kind, batch) != batch
    assert changed.float().mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_noise_comes_from_the_generator_and_spares_the_batch(batch, kind):
    before = batch.clone()
    first = corrupt(kind, batch)
    assert torch.equal(first, corrupt(kind, batch))
    assert not torch.equal(first, corrupt(kind, batch, seed=2))
    assert torch.equal(batch, before)


def test_masking_sets_to_the_mean(batch):
    noisy = corrupt("masking", batch)
    assert set(noisy[noisy != batch].tolist()) == {0.0}


def test_gaussian_noise_has_the_standard_deviation(batch):
    noise = corrupt("gaussian", batch, rate=1.5) - batch
    assert float(noise.std()) == pytest.approx(1.5, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)


def test_salt_and_pepper_sets_to_extremes_of_the_column(batch):
    noisy = corrupt("salt_and_pepper", batch)
    changed = noisy != batch
    salt = noisy == batch.amax(dim=0)
    pepper = noisy == batch.amin(dim=0)
    assert bool((salt | pepper)[changed].all())
    assert float(salt[changed].float().mean()) == pytest.approx(0.5, abs=0.05)


def test_swap_takes_values_of_the_same_column(batch):
    noisy = corrupt("swap", batch)
    for column, values in zip(noisy.t(), batch.t(), strict=True):
        assert set(column.tolist()) <= set(values.tolist())
