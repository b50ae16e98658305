"""Input noise for denoising training. Torch only.

Each function takes a standardised batch of shape (n, n_features), in which zero is the
mean of a column, a generator and a rate, and returns the batch that is encoded.
Masking, Gaussian and salt-and-pepper noise are those of Vincent et al., "Stacked
denoising autoencoders", JMLR 11, 2010.
"""

from typing import Protocol

import torch
from torch import Tensor


class Corruption(Protocol):
    """Returns a corrupted copy of a batch."""

    def __call__(
        self, batch: Tensor, generator: torch.Generator, *, rate: float
    ) -> Tensor:
        """Return a copy of `batch`, corrupted at `rate`."""


def _draw(batch: Tensor, generator: torch.Generator, rate: float) -> Tensor:
    return torch.empty_like(batch).bernoulli_(rate, generator=generator).bool()


def masking(batch: Tensor, generator: torch.Generator, *, rate: float) -> Tensor:
    """Set a share `rate` of the entries to the mean of their column."""
    return batch.masked_fill(_draw(batch, generator, rate), 0)


def gaussian(batch: Tensor, generator: torch.Generator, *, rate: float) -> Tensor:
    """Add noise of standard deviation `rate`; that of the data is one."""
    return batch + torch.empty_like(batch).normal_(std=rate, generator=generator)


def salt_and_pepper(
    batch: Tensor, generator: torch.Generator, *, rate: float
) -> Tensor:
    """Set a share `rate` to their column's smallest or largest value in the batch."""
    chosen = _draw(batch, generator, rate)
    salt = _draw(batch, generator, 0.5)
    return torch.where(
        chosen, torch.where(salt, batch.amax(dim=0), batch.amin(dim=0)), batch
    )


def swap(batch: Tensor, generator: torch.Generator, *, rate: float) -> Tensor:
    """Replace a share `rate` by entries of the same column in rows drawn at random.

    Each column keeps its distribution, so this noise suits tables.
    """
    donors = torch.randint(
        len(batch), batch.shape, generator=generator, device=batch.device
    )
    return torch.where(_draw(batch, generator, rate), batch.gather(0, donors), batch)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
    "swap": swap,
}
