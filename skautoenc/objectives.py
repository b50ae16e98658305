"""What training minimises. Torch only."""

from collections.abc import Callable

import torch
from torch import Tensor

from .networks import Autoencoder

Corrupt = Callable[[Tensor, torch.Generator], Tensor]
Objective = Callable[[Autoencoder, Tensor, Tensor | None, torch.Generator], Tensor]


def squared_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Mean over the features of the squared error of each row.

    Parameters
    ----------
    reconstruction, target : Tensor of shape (n_samples, n_features)
        What the network gave, and what it should have given.

    Returns
    -------
    Tensor of shape (n_samples,)
        For standardised rows its mean is the share of variance left unexplained: 1
        for a network that always gives the mean, 0 for a perfect one.
    """
    return (reconstruction - target).square().mean(dim=1)


def weighted_mean(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Average `values` over rows whose weights have mean one over the whole set.

    Dividing by the number of rows, not by the weights of the batch, keeps a light
    batch from pulling as hard as a heavy one.
    """
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


class ReconstructionObjective:
    """Reconstruct the clean row from a corrupted one.

    Parameters
    ----------
    corruption : callable or None
        Takes a batch and a generator and returns the batch that is encoded.
    """

    def __init__(self, corruption: Corrupt | None = None) -> None:
        self.corruption = corruption

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of one batch of rows, (n_samples, n_features), a scalar."""
        source = batch if self.corruption is None else self.corruption(batch, generator)
        reconstruction = network.decode(network.encode(source), sample_weight)
        return weighted_mean(squared_error(reconstruction, batch), sample_weight)
