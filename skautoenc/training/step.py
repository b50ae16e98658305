"""One step of training."""

import torch
from torch import Tensor

from ..networks import Autoencoder, write_out
from ..objectives import Objective
from .optimizers import Optimizer


class Step:
    """Forward, backward, update.

    Parameters
    ----------
    network : Autoencoder
        What is trained.
    objective : Objective
        Gives the loss of a batch.
    optimizer : Optimizer
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
        optimizer: Optimizer,
        *,
        max_grad_norm: float | None,
        generator: torch.Generator,
    ) -> None:
        self.network = network
        self.objective = objective
        self.optimizer = optimizer
        self._written_out = write_out([network]) if objective.is_squared_error else None
        self.max_grad_norm = max_grad_norm
        self.generator = generator

    def set_learning_rate(self, learning_rate: float) -> None:
        """Use `learning_rate` from the next step on."""
        self.optimizer.learning_rate = learning_rate

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch; return its loss, still on the device.

        To be called where autograd is off: it is turned on where it is needed.
        """
        if self._written_out is None:
            loss = self._by_autograd(batch, target, sample_weight)
        else:
            source, _, target = self.objective.draw(batch, target, self.generator)
            loss = self._written_out(source, target, sample_weight)
        if self.max_grad_norm is not None:
            self.optimizer.clip_gradients(self.max_grad_norm)
        self.optimizer.step()
        return loss

    def _by_autograd(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        self.optimizer.zero_grad()
        with torch.enable_grad():
            loss = self.objective(
                self.network, batch, target, sample_weight, self.generator
            )
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
