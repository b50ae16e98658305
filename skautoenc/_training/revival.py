"""Dead units of a sparse code, noticed and revived."""

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .optimizers import Optimizer


@torch.no_grad()
def dead_units(network: Autoencoder, x: Tensor) -> Tensor:
    """Find the units of a sparse code that no row of `x` makes active.

    Parameters
    ----------
    network : Autoencoder
        In evaluation mode.
    x : Tensor of shape (n, n_features)
        Rows as the network sees them.

    Returns
    -------
    Tensor of shape (n_dead,), int64
        Their numbers.
    """
    return (network.sparse(x) <= 0).all(dim=0).nonzero().ravel()


@torch.no_grad()
def revive(
    network: Autoencoder,
    optimizer: Optimizer,
    dead: Tensor,
    errors: Tensor,
    x: Tensor,
    generator: torch.Generator,
) -> None:
    """Point dead units at rows that are badly reconstructed [1]_.

    Parameters
    ----------
    network : Autoencoder
        In evaluation mode.
    optimizer : Optimizer
        Forgets what it knows of the dead units.
    dead : Tensor of shape (n_dead,), int64
        Their numbers.
    errors : Tensor of shape (n,)
        Loss of each row, to which the chance to be chosen is proportional.
    x : Tensor of shape (n, n_features)
        Rows as the network sees them.
    generator : torch.Generator
        Draws the rows; on the CPU.

    References
    ----------
    .. [1] Bricken et al., "Towards monosemanticity", Transformer Circuits, 2023:
       neuron resampling.
    """
    chances = errors.cpu().clamp(min=0)
    if not (chances.isfinite().all() and chances.sum() > 0):
        return
    chosen = torch.multinomial(
        chances, len(dead), replacement=True, generator=generator
    )
    network.revive(dead, x, chosen.to(x.device))
    for weight, dim in network.unit_weights():
        for moment in optimizer.moments(weight):
            moment.index_fill_(dim, dead, 0)
