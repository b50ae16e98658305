"""Dead units, noticed; those of a sparse code are revived."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .optimizers import Optimizer

# A hidden layer is as good as dead when more of its units than this share are.
_MOST = 0.5


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


@torch.no_grad()
def dead_layer(network: Autoencoder, x: Tensor) -> tuple[int, int] | None:
    """Find the hidden layer of which the largest share is dead, if that is most of it.

    Parameters
    ----------
    network : Autoencoder
        In evaluation mode.
    x : Tensor of shape (n, n_features)
        Rows as the network sees them.

    Returns
    -------
    tuple of int or None
        How many of its units no row makes active, and how many it has; None where no
        layer has lost most of its units.
    """
    found: list[tuple[int, int]] = []

    def count(module: nn.Module, inputs: Any, values: Tensor) -> None:
        is_dead = (values.flatten(0, -2) <= 0).all(dim=0)
        found.append((int(is_dead.sum()), len(is_dead)))

    with ExitStack() as stack:
        for module in network.rectifiers():
            stack.callback(module.register_forward_hook(count).remove)
        network(x)
    worst = max(found, key=lambda counts: counts[0] / counts[1], default=(0, 1))
    return worst if worst[0] > _MOST * worst[1] else None
