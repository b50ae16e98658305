"""Detection of dead units, and reinitialisation of those of sparse codes."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .optimizers import Optimizer

# A hidden layer is reported if more than this share of its units is dead.
_MOST = 0.5
# Numbers of rows that show whether a layer is dead. A few show in most fits that it is
# alive. Of many, a unit that is active for one row in a hundred is active for ten.
_FEW = 256
_MANY = 1024


@torch.no_grad()
def dead_units(network: Autoencoder, x: Tensor) -> Tensor:
    """Return the units of a sparse code that are active for no row of `x`.

    Parameters
    ----------
    network : Autoencoder
        The network, in evaluation mode.
    x : Tensor of shape (n, n_features)
        Rows in the form that the network gets.

    Returns
    -------
    Tensor of shape (n_dead,), int64
        Indices of the dead units.
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
    """Reinitialise dead units for rows that are badly reconstructed [1]_.

    Parameters
    ----------
    network : Autoencoder
        The network, in evaluation mode.
    optimizer : Optimizer
        Its state of the dead units is set to zero.
    dead : Tensor of shape (n_dead,), int64
        Indices of the dead units.
    errors : Tensor of shape (n,)
        Loss of each row; the probability to be drawn is proportional to it.
    x : Tensor of shape (n, n_features)
        Rows in the form that the network gets.
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
    )  # (n_dead,)
    network.revive(dead, x, chosen.to(x.device))
    for weight, dim in network.unit_weights():
        for moment in optimizer.moments(weight):
            moment.index_fill_(dim, dead, 0)


@torch.no_grad()
def dead_layer(
    network: Autoencoder, sample: Callable[[int], Tensor]
) -> tuple[int, int] | None:
    """Return the counts of the hidden layer with the largest share of dead units.

    Parameters
    ----------
    network : Autoencoder
        The network, in evaluation mode.
    sample : callable
        Returns up to a number of rows, (n, n_features), as the network gets them.

    Returns
    -------
    tuple of int or None
        The number of its units that are active for no row, and the number of all its
        units; None if no layer has lost more than half of its units.
    """
    if _dead_layer(network, sample(_FEW)) is None:
        return None
    return _dead_layer(network, sample(_MANY))


def _dead_layer(network: Autoencoder, x: Tensor) -> tuple[int, int] | None:
    counts: list[tuple[int, int]] = []

    def count(module: nn.Module, inputs: Any, values: Tensor) -> None:
        is_dead = (values.flatten(0, -2) <= 0).all(dim=0)  # (n_units,)
        counts.append((int(is_dead.sum()), len(is_dead)))

    with ExitStack() as stack:
        for module in network.rectifiers():
            stack.callback(module.register_forward_hook(count).remove)
        network(x)
    worst = max(counts, key=lambda pair: pair[0] / pair[1], default=(0, 1))
    return worst if worst[0] > _MOST * worst[1] else None
