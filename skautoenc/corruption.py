"""Input noise for denoising training. Torch only.

Batches are standardised: zero is the mean of a column. The first three kinds are those
of Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.
"""

from typing import Protocol

import torch
from torch import Tensor


class Corruption(Protocol):
    """Turns a batch into the one that is encoded."""

    def __init__(self, rate: float) -> None: ...

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a corrupted copy of `batch`, (n_samples, n_features)."""


def _draw(batch: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Choose entries of a batch with probability `rate`, as ones among zeros."""
    return torch.empty_like(batch).bernoulli_(rate, generator=generator)


class MaskingNoise:
    """Set entries to the mean of their column.

    Parameters
    ----------
    rate : float
        Probability that an entry is masked.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a masked copy of `batch`."""
        return batch * _draw(batch, 1 - self.rate, generator)


class GaussianNoise:
    """Add Gaussian noise.

    Parameters
    ----------
    rate : float
        Its standard deviation, where one is that of the data.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a noisy copy of `batch`."""
        noise = torch.empty_like(batch).normal_(std=self.rate, generator=generator)
        return batch + noise


class SaltAndPepperNoise:
    """Set entries to the smallest or the largest value of their column in the batch.

    Parameters
    ----------
    rate : float
        Probability that an entry is set, to either with equal chance.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a copy of `batch` with extremes."""
        chosen = _draw(batch, self.rate, generator).bool()
        salt = _draw(batch, 0.5, generator).bool()
        extremes = torch.where(salt, batch.amax(dim=0), batch.amin(dim=0))
        return torch.where(chosen, extremes, batch)


class SwapNoise:
    """Replace entries by those of the same column in other rows.

    Each column keeps its distribution, whatever that is: the noise of choice for
    tables.

    Parameters
    ----------
    rate : float
        Probability that an entry is replaced.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a copy of `batch` with entries of other rows."""
        donors = torch.randint(
            len(batch), batch.shape, generator=generator, device=batch.device
        )
        chosen = _draw(batch, self.rate, generator).bool()
        return torch.where(chosen, batch.gather(0, donors), batch)


CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "swap": SwapNoise,
}
