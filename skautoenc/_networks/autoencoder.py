"""What every network of the package can do."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32
from .weights import from_arrays, to_arrays


class Code(NamedTuple):
    """The codes of a training batch, and what they cost by themselves.

    Parameters
    ----------
    values : Tensor of shape (n, n_components)
        What is decoded.
    cost : Tensor or None
        A scalar that is added to the loss, in its units: a penalty of sparsity, or the
        divergence of a posterior from its prior. None where codes cost nothing.
    """

    values: Tensor
    cost: Tensor | None


class Autoencoder(nn.Module, ABC):
    """A network that maps standardised rows to codes and codes to rows.

    Attributes
    ----------
    config : dict
        The arguments that build an equal network, all plain Python values.
    widths : list of int
        Number of activations at each stage of the encoder, input and code included.
    smallest_batch : int
        Fewest rows that a training batch must have.
    weighs_rows : bool
        Whether a row of weight two counts as two rows in all that it does.
    is_movable : bool
        Whether parameters may be moved in memory: nothing else holds a view of them.
    learning_rate : float
        Learning rate that suits most networks of the class.
    runs_in_threads : bool
        Whether several threads may apply it at the same time.
    is_sparse : bool
        Whether a unit of the code that is zero says nothing.
    """

    config: dict[str, Any]
    widths: list[int]
    smallest_batch = 1
    weighs_rows = True
    is_movable = True
    learning_rate = 0.005
    runs_in_threads = True
    is_sparse = False

    registry: ClassVar[dict[str, type["Autoencoder"]]] = {}

    def __init_subclass__(cls) -> None:
        Autoencoder.registry[cls.__name__] = cls

    @abstractmethod
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Choose the first weights.

        Parameters
        ----------
        generator : torch.Generator
            Source of all that is random.
        rows : Tensor of shape (n, n_features)
            Some standardised rows of the training data.
        sample_weight : Tensor of shape (n,) or None
            Their weights; None if all are equal.
        """

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw rows that the network may see, to try it out, (n, n_features)."""
        return torch.randn(n, self.widths[0], generator=generator, **CPU_FLOAT32)

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""

    def code(
        self, x: Tensor, sample_weight: Tensor | None, generator: torch.Generator
    ) -> Code:
        """Encode a training batch.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Rows to encode.
        sample_weight : Tensor of shape (n,) or None
            Their weights.
        generator : torch.Generator
            Source of noise, for networks whose training codes are drawn.
        """
        values = self.encode(x)
        return Code(values, self.penalty(values, sample_weight))

    def stack(self, x: Tensor) -> Tensor:
        """Map rows to the hidden activations, if any are known, and the code."""
        return self.encode(x)

    @abstractmethod
    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features).

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            What `encode` returns; a sparse code is thinned out here first.
        sample_weight : Tensor of shape (n,), optional
            Weights of the rows, for a sparsity rule's share of a training batch.

        Returns
        -------
        Tensor of shape (n, n_features)
            The reconstruction.
        """

    @property
    def n_multiplications(self) -> int:
        """Multiplications by weights that one row takes on its way through, about."""
        return sum(parameter.numel() for parameter in self.parameters())

    def adam_rates(self) -> tuple[float, dict[Tensor, float]]:
        """Return the learning rate that suits Adam, and what wide layers get of it.

        Returns
        -------
        learning_rate : float
            Of all parameters but those in `factors`.
        factors : dict of Tensor to float
            Shares of the learning rate, by parameter.
        """
        return self.learning_rate, {}

    def safe_factors(self, learning_rate: float) -> dict[Tensor, float]:
        """Return what wide layers get of a learning rate that would kill their units.

        Parameters
        ----------
        learning_rate : float
            Of Adam, as a user has chosen it.

        Returns
        -------
        dict of Tensor to float
            Shares of the learning rate, by parameter; the others get all of it.
        """
        return {}

    def penalty(self, code: Tensor, sample_weight: Tensor | None) -> Tensor | None:
        """Return what the codes of a batch cost by themselves, a scalar, if anything.

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            What `encode` returned.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """
        return None

    def squared_jacobian(self, code: Tensor) -> Tensor | None:
        """Return the squared norm of each code's Jacobian, (n,), if `code` tells it."""
        return None

    def sparse(self, x: Tensor) -> Tensor:
        """Map rows to codes as the decoder gets them, (n, n_components)."""
        return self.encode(x)

    @property
    def starts_as_pca(self) -> bool:
        """Whether the first weights already reconstruct as PCA does."""
        return getattr(self, "projection", None) is not None

    def unit_weights(self) -> list[tuple[Tensor, int]]:
        """List the weights that come and go with one unit, each with its dimension."""
        return []

    def revive(self, dead: Tensor, x: Tensor, chosen: Tensor) -> None:
        """Point dead units of a sparse code at rows.

        Parameters
        ----------
        dead : Tensor of shape (n_dead,), int64
            Which units.
        x : Tensor of shape (n, n_features)
            Some standardised rows.
        chosen : Tensor of shape (n_dead,), int64
            Which of them the units are to stand for.
        """
        raise NotImplementedError

    def rectifiers(self) -> list[nn.Module]:
        """List the modules that rectify hidden units, which may die of it.

        Their outputs have the units in the last dimension.
        """
        return [module for module in self.modules() if isinstance(module, nn.ReLU)]

    def state(self) -> dict[str, Any]:
        """Describe the network by plain values and arrays, for any machine to load."""
        return {
            "class": type(self).__name__,
            "config": self.config,
            "weights": to_arrays(self),
        }

    @staticmethod
    def from_state(state: dict[str, Any]) -> "Autoencoder":
        """Build the network that `state` describes, in evaluation mode."""
        network = Autoencoder.registry[state["class"]](**state["config"])
        from_arrays(network, state["weights"])
        return network.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct standardised rows."""
        return self.decode(self.encode(x))
