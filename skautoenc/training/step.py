"""One step of training."""

import torch
from torch import Tensor, nn

from ..networks import Autoencoder
from ..objectives import Objective


class Step:
    """Forward, backward, update.

    Parameters
    ----------
    network : Autoencoder
        What is trained.
    objective : Objective
        Gives the loss of a batch.
    optimizer : torch.optim.Optimizer
        Updates the network's parameters.
    max_grad_norm : float or None
        Bound on the norm of all gradients together.
    generator : torch.Generator
        Source of the noise.
    """

    def __init__(
        self,
        network: Autoencoder,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        max_grad_norm: float | None,
        generator: torch.Generator,
    ) -> None:
        self.network = network
        self.objective = objective
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm
        self.generator = generator

    def set_learning_rate(self, learning_rate: float) -> None:
        """Use `learning_rate` from the next step on."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch; return its loss, still on the device."""
        loss = self.objective(
            self.network, batch, target, sample_weight, self.generator
        )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return loss.detach()
