"""One training step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .._objectives.objectives import Objective
from .optimizers import Optimizer

# Takes a batch, its targets and weights, updates the weights and returns the loss.
TrainingStep = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Step:
    """Forward pass, backward pass, update.

    Parameters
    ----------
    network : Autoencoder
        The network to train.
    objective : Objective
        Computes the loss of a batch.
    optimizer : Optimizer
        Updates the network's parameters.
    max_grad_norm : float or None
        Maximum norm of all gradients together.
    generator : torch.Generator
        Source of the noise.
    """

    # Called with the loss when the gradients are known, before they are clipped. It
    # may change them in place, and returns the loss.
    reduce: Callable[[Tensor], Tensor] | None = None

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
        self._others = _owners_of_untrained(network)
        self._select_gradients()

    def _select_gradients(self) -> None:
        """Use closed-form gradients for the present memory, if there are any."""
        self._gradients = self.objective.closed_form([self.network], self.generator)
        self._version = self.optimizer.version

    def tensors(self) -> list[Tensor]:
        """Return all tensors that training changes, in as few tensors as possible."""
        others = [getattr(module, name) for module, name in self._others]
        return [tensor.detach() for tensor in [*self.optimizer.values, *others]]

    def width(self, n_features: int) -> int:
        """Return the number of values of a row that `prepare` returns."""
        return (
            n_features if self._gradients is None else self._gradients.width(n_features)
        )

    def prepare(self, rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and targets as calls take them, after a split into batches."""
        if self._gradients is None:
            return rows, target
        return self._gradients.prepare(rows, target)

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch; return its loss, still on the device.

        Autograd must be off; it is turned on where it is needed.
        """
        if self._gradients is None:
            loss = self._by_autograd(batch, target, sample_weight)
        else:
            # Closed forms hold views of the memory. After a relocation they would train
            # memory that is no longer used.
            if self._version != self.optimizer.version:
                self._select_gradients()
            source = batch
            if self.objective.is_random and not self._gradients.corrupts:
                source, _, target = self.objective.draw(batch, target, self.generator)
            loss = self._gradients(source, target, sample_weight)
        if self.reduce is not None:
            loss = self.reduce(loss)
        self.optimizer.step(self.max_grad_norm)
        return loss

    @property
    def has_closed_form(self) -> bool:
        """Whether gradients are computed in closed form, without autograd."""
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


def _owners_of_untrained(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """List the module that holds each tensor without a gradient, and its name there.

    These are buffers and frozen parameters. A module may replace them.
    """
    tensors = *network.named_parameters(), *network.named_buffers()
    names = [name.rpartition(".") for name, t in tensors if not t.requires_grad]
    return [(network.get_submodule(path), name) for path, _, name in names]
