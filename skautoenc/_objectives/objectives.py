"""Objectives: what training minimises. Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .._networks.gradients import Backward, closed_form_gradients
from .losses import Loss, SquaredError

# Maps a batch and a generator to a randomly changed copy.
Change = Callable[[Tensor, torch.Generator], Tensor]


class Objective(Protocol):
    """Measures how far the output of a network is from the desired output.

    Attributes
    ----------
    is_random : bool
        Whether `draw` changes its arguments.
    is_squared_error : bool
        Whether the loss is the squared error, without weights or penalties.
    score_of_zero_loss : float
        What losses are subtracted from to give scores: 1 for shares of deviance.
    """

    is_random: bool
    is_squared_error: bool
    score_of_zero_loss: float

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar.

        Parameters
        ----------
        network : Autoencoder
            The network, in training mode.
        batch : Tensor of shape (n, n_features)
            Rows to encode.
        target : Tensor of shape (n, n_features)
            Rows that they should be decoded to.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows, of mean one over the whole set.
        generator : torch.Generator
            Source of the noise.
        """

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each row in evaluation mode, without noise, (n,)."""

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return a function that computes loss and gradients, or None for autograd.

        Parameters
        ----------
        networks : sequence of Autoencoder
            Those of `closed_form_gradients`.
        generator : torch.Generator
            Source of the noise that `draw` has not drawn.
        """

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the random augmentation and corruption to a training batch.

        Returns
        -------
        source, clean, target : Tensor of shape (n, n_features)
            The rows to encode, the same rows before corruption, and the rows that they
            should be decoded to.
        """


def weighted_mean(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Average `values` over rows whose weights have mean one over the whole set.

    The sum is divided by the number of rows, not by the weights of the batch: otherwise
    a batch of light rows would have as much effect as one of heavy rows.
    """
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


def truncate(code: Tensor, generator: torch.Generator) -> Tensor:
    """Zero each row's components after a random one (nested dropout) [1]_.

    Half of the rows keep all components; the others keep one or more.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes.
    generator : torch.Generator
        Draws how many components each row keeps.

    References
    ----------
    .. [1] Rippel, Gelbart and Adams, "Learning ordered representations with nested
       dropout", ICML 2014.
    """
    n, width = code.shape
    # (n, 1)
    kept = torch.randint(1, 2 * width, (n, 1), generator=generator, device=code.device)
    return code * (torch.arange(width, device=code.device) < kept)  # (n, width)


def squared_jacobian(code: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Estimate the squared norm of each code's Jacobian by one probe [1]_.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes, computed from `x`.
    x : Tensor of shape (n, n_features)
        The encoded rows, a leaf that requires gradients.
    generator : torch.Generator
        Draws the probe, a sign for each activation. The expected squared norm of its
        product with the Jacobian is the squared norm of the Jacobian.

    Returns
    -------
    Tensor of shape (n,)
        Estimates that can be differentiated.

    References
    ----------
    .. [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix",
       Communications in Statistics 18, 1989.
    """
    signs = torch.empty_like(code).bernoulli_(0.5, generator=generator) * 2 - 1
    (gradient,) = torch.autograd.grad((code * signs).sum(), x, create_graph=True)
    return gradient.square().sum(dim=1)  # (n,)


class ReconstructionObjective:
    """Reconstruct the clean row from a corrupted one.

    Parameters
    ----------
    loss : Loss
        Cost of an error.
    augmentation : callable, optional
        Takes a batch and a generator, and returns the batch that replaces it as input
        and as target.
    corruption : callable, optional
        Takes a batch and a generator, and returns the batch that is encoded.
    corruption_weight : float, default=1.0
        Weight of the corrupted entries relative to the others.
    ordered : bool, default=False
        Whether to truncate codes at random, so that the first components carry most of
        the information.
    contractive_penalty : float, default=0.0
        Weight of the squared norm of the encoder's Jacobian [1]_, relative to a squared
        error that is summed over the features.

    References
    ----------
    .. [1] Rifai et al., "Contractive auto-encoders", ICML 2011.
    """

    score_of_zero_loss = 1.0

    def __init__(
        self,
        loss: Loss,
        *,
        augmentation: Change | None = None,
        corruption: Change | None = None,
        corruption_weight: float = 1.0,
        ordered: bool = False,
        contractive_penalty: float = 0.0,
    ) -> None:
        self.loss = loss
        self.augmentation = augmentation
        self.corruption = corruption
        self.corruption_weight = corruption_weight
        self.ordered = ordered
        self.contractive_penalty = contractive_penalty
        self.is_random = augmentation is not None or corruption is not None
        special = ordered or contractive_penalty or corruption_weight != 1
        self.is_squared_error = not special and isinstance(loss, SquaredError)

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar; see `Objective`."""
        source, batch, target = self.draw(batch, target, generator)
        if self.contractive_penalty:
            source = source.detach().requires_grad_()
        code, cost = network.code(source, sample_weight, generator)
        kept = truncate(code, generator) if self.ordered else code
        output = network.decode(kept, sample_weight)
        if self.corruption_weight == 1:
            errors = self.loss.rows(output, target)  # (n,)
        else:
            entries = self.loss.entries(output, target)  # (n, n_features)
            weights = corruption_weights(
                entries, source == batch, self.corruption_weight
            )
            errors = row_means(entries, weights)  # (n,)
        if self.contractive_penalty:
            norms = network.squared_jacobian(code)
            if norms is None:
                norms = squared_jacobian(code, source, generator)
            errors = errors + self.contractive_penalty / batch.shape[1] * norms
        loss = weighted_mean(errors, sample_weight)
        return loss if cost is None else loss + cost

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows to encode, the rows before corruption, and the target."""
        if self.augmentation is not None:
            batch = target = self.augmentation(batch, generator)
        source = batch if self.corruption is None else self.corruption(batch, generator)
        return source, batch, target

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each clean row, (n,), without any penalty."""
        return self.loss.rows(network(batch), batch)

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return the closed form of the squared error; see `Objective`."""
        return closed_form_gradients(networks) if self.is_squared_error else None


def without_nan(costs: Tensor) -> Tensor:
    """Make costs infinite where the network's output has overflowed to NaN."""
    return costs.nan_to_num(nan=torch.inf, posinf=torch.inf)


def corruption_weights(like: Tensor, kept: Tensor, changed_weight: float) -> Tensor:
    """Return weight one for kept entries and another one for those that were changed.

    `torch.where` of two numbers would have the default type that the user has set for
    torch, not that of `like`.
    """
    return torch.full_like(like, changed_weight).masked_fill(kept, 1.0)


def row_means(costs: Tensor, weights: Tensor) -> Tensor:
    # A row of missing values, or of corrupted entries only, may have no weight at all.
    total = weights.sum(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    return (costs * weights).sum(dim=1) / total
