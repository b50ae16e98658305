"""Interface of all networks of the package."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32
from .weights import from_arrays, to_arrays


class Code(NamedTuple):
    """The codes of a training batch and their cost.

    Parameters
    ----------
    values : Tensor of shape (n, n_components)
        The codes that are decoded.
    cost : Tensor or None
        A scalar that is added to the loss, in the same unit: a sparsity penalty, or the
        divergence of a posterior from its prior. None if the codes have no cost.
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
        Minimum number of rows of a training batch.
    weighs_rows : bool
        Whether a row of weight two has the same effect as two equal rows.
    is_movable : bool
        Whether parameters may be moved in memory: nothing else holds a view of them.
    learning_rate : float
        Learning rate that suits most networks of the class.
    runs_in_threads : bool
        Whether several threads may apply the network at the same time.
    is_sparse : bool
        Whether a unit of the code is inactive when its activation is zero.
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
        """Set the initial weights.

        Parameters
        ----------
        generator : torch.Generator
            Source of all random numbers.
        rows : Tensor of shape (n, n_features)
            A sample of the standardised training rows.
        sample_weight : Tensor of shape (n,) or None
            Their weights; None if all are equal.
        """

    @property
    def n_rows_at_start(self) -> int:
        """Number of rows that `initialise` needs at most."""
        return max(2048, 4 * self.widths[-1])

    def prepare_for(self, before: "Autoencoder") -> None:
        """Take the shape of what `before` has learnt besides weights, if anything."""

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw random valid input rows, (n, n_features), to test the network with."""
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
        """Map rows to the hidden activations, if the network has any, and the code."""
        return self.encode(x)

    def spread(self, x: Tensor) -> Tensor:
        """Map rows to their cells, spread for a linear model, and `stack`."""
        raise NotImplementedError

    @property
    def n_spread(self) -> int:
        """Number of columns that `spread` gives before those of `stack`."""
        return 0

    @abstractmethod
    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features).

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            Output of `encode`. A sparse code first goes through the sparsity rule.
        sample_weight : Tensor of shape (n,), optional
            Weights of the rows, for sparsity rules that compare the rows of a batch.

        Returns
        -------
        Tensor of shape (n, n_features)
            The reconstruction.
        """

    @property
    def n_multiplications(self) -> int:
        """Approximate number of multiplications by weights for one row."""
        return sum(parameter.numel() for parameter in self.parameters())

    def adam_rates(self) -> tuple[float, dict[Tensor, float]]:
        """Return the learning rate for Adam, and the factors of wide layers.

        Returns
        -------
        learning_rate : float
            Of all parameters that are not in `factors`.
        factors : dict of Tensor to float
            By which the learning rate is multiplied, by parameter.
        """
        return self.learning_rate, {}

    def safe_factors(self, learning_rate: float) -> dict[Tensor, float]:
        """Return factors for wide layers whose units the learning rate would kill.

        Parameters
        ----------
        learning_rate : float
            Learning rate of Adam that the user has set.

        Returns
        -------
        dict of Tensor to float
            By which the learning rate is multiplied, by parameter. Parameters that are
            not listed use the full learning rate.
        """
        return {}

    def penalty(self, code: Tensor, sample_weight: Tensor | None) -> Tensor | None:
        """Return the penalty of a batch of codes, a scalar, or None if there is none.

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            Output of `encode`.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """
        return None

    def squared_jacobian(self, code: Tensor) -> Tensor | None:
        """Return the squared norm of each code's Jacobian, (n,).

        None if it cannot be computed from the codes alone.
        """
        return None

    def sparse(self, x: Tensor) -> Tensor:
        """Map rows to codes after the sparsity rule, (n, n_components)."""
        return self.encode(x)

    @property
    def starts_as_pca(self) -> bool:
        """Whether the initial weights already reconstruct as PCA does."""
        return getattr(self, "projection", None) is not None

    def unit_weights(self) -> list[tuple[Tensor, int]]:
        """List the weights of single units, each with the dimension of the units."""
        return []

    def revive(self, dead: Tensor, x: Tensor, chosen: Tensor) -> None:
        """Reinitialise dead units of a sparse code so that each responds to a row.

        Parameters
        ----------
        dead : Tensor of shape (n_dead,), int64
            Indices of the units.
        x : Tensor of shape (n, n_features)
            A sample of standardised rows.
        chosen : Tensor of shape (n_dead,), int64
            Index of the row that each unit shall respond to.
        """
        raise NotImplementedError

    def rectifiers(self) -> list[nn.Module]:
        """List the modules that rectify hidden units, which can therefore die.

        The last dimension of their outputs holds the units.
        """
        return [module for module in self.modules() if isinstance(module, nn.ReLU)]

    def state(self) -> dict[str, Any]:
        """Describe the network by plain values and arrays that any machine can load."""
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
