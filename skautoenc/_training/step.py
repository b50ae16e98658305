"""One step of training."""

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .._networks.gradients import closed_form_gradients
from .._networks.weights import places
from .._objectives.objectives import Objective
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
        self.max_grad_norm = max_grad_norm
        self.generator = generator
        self._others = [
            (module, name)
            for module, name in places(network)
            if not getattr(module, name).requires_grad
        ]
        self.find_gradients()

    def find_gradients(self) -> None:
        """Find closed-form gradients, if there are any, for parameters as they lie."""
        known = self.objective.is_squared_error
        self._gradients = closed_form_gradients([self.network]) if known else None

    def tensors(self) -> list[Tensor]:
        """Return all that training changes, in as few tensors as can be."""
        others = [getattr(module, name) for module, name in self._others]
        return [tensor.detach() for tensor in [*self.optimizer.values, *others]]

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch; return its loss, still on the device.

        To be called where autograd is off: it is turned on where it is needed.
        """
        if self._gradients is None:
            loss = self._by_autograd(batch, target, sample_weight)
        else:
            source, _, target = self.objective.draw(batch, target, self.generator)
            loss = self._gradients(source, target, sample_weight)
        self.clip_gradients()
        self.optimizer.step()
        return loss

    def clip_gradients(self) -> None:
        """Scale the gradients down, if they are to be."""
        if self.max_grad_norm is not None:
            self.optimizer.clip_gradients(self.max_grad_norm)

    @property
    def has_closed_form(self) -> bool:
        """Whether autograd is not needed."""
        return self._gradients is not None

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
