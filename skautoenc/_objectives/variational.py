"""Bounds of the log-likelihood, which variational autoencoders are trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .._networks.gradients import Backward, have_same_gradients
from .._networks.layers import CPU_FLOAT32
from .._networks.variational import DenseVariationalAutoencoder, VariationalNetwork
from .likelihoods import LIKELIHOODS, Likelihood
from .losses import LOSSES
from .objectives import weighted_mean
from .variational_gradients import BoundBackward

# Draws per held-out row.
_N_DRAWS = 16
# Maximum width for which there are Sobol points.
_WIDEST_SOBOL = 21201
# Approximate number of turns of the torus for one standardised unit.
_TURNS = 1.0
# Close to zero and one, normal quantiles of uniform numbers are mostly rounding.
_MARGIN = 1e-5


@cache
def _points(n_draws: int, width: int) -> Tensor:
    """Return evenly distributed points of the unit cube, (n_draws, width)."""
    if width > _WIDEST_SOBOL:
        generator = torch.Generator("cpu").manual_seed(n_draws)
        return torch.rand(n_draws, width, generator=generator, **CPU_FLOAT32)
    make_engine: Any = torch.quasirandom.SobolEngine
    engine = make_engine(width, scramble=True, seed=0)
    with torch.device("cpu"):
        points: Tensor = engine.draw(n_draws, dtype=torch.float32)
    return points


class Noise:
    """Normal noise that depends on the row, not on its position.

    The draws of a row are points of a quasi-random sequence, rotated by an amount that
    is a function of the row [1]_, and continuous in it: rows that are nearly equal have
    nearly equal noise. Errors of different rows are independent, and average out.

    Parameters
    ----------
    n_draws : int
        Number of draws per row.
    n_features : int
        Width of a row.
    n_components : int
        Width of a draw.
    device : torch.device
        Device of the rows.

    References
    ----------
    .. [1] Cranley and Patterson, "Randomization of number theoretic methods for
       multiple integration", SIAM Journal on Numerical Analysis 13, 1976.
    """

    def __init__(
        self, n_draws: int, n_features: int, n_components: int, device: torch.device
    ) -> None:
        generator = torch.Generator("cpu").manual_seed(n_components)
        shape = n_features, n_components
        turns = torch.randn(*shape, generator=generator, **CPU_FLOAT32) * _TURNS
        self.turns = turns.to(device)
        self.points = _points(n_draws, n_components).to(device)

    def shifts(self, rows: Tensor) -> Tensor:
        """Return the rotation of each row, (n, n_components)."""
        # Large values may overflow, for which any rotation will do.
        return (rows @ self.turns).nan_to_num(0.0, 0.0, 0.0)

    def draw(self, number: int, shifts: Tensor) -> Tensor:
        """Return one draw per row, (n, n_components)."""
        turned = torch.frac(self.points[number] + torch.frac(shifts))
        # A triangle wave has no jump where a point goes round the torus.
        uniform = 1 - (2 * turned.abs() - 1).abs()
        normal: Tensor = torch.special.ndtri(uniform.clamp(_MARGIN, 1 - _MARGIN))
        return normal


def importance_bound(
    network: VariationalNetwork,
    likelihood: Likelihood,
    batch: Tensor,
    noise: Noise,
    log_prior_ratio: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Bound the log-likelihood of each row by importance weighting [1]_.

    Parameters
    ----------
    network : VariationalNetwork
        The network, in evaluation mode.
    likelihood : Likelihood
        Likelihood of the rows, given the decoded codes.
    batch : Tensor of shape (n, n_features)
        Standardised rows.
    noise : Noise
        Draws codes from the posteriors; a single draw gives the evidence lower bound.
    log_prior_ratio : callable, optional
        Returns log-densities of the prior at codes, (n,), minus those of the standard
        normal distribution, which is the default.

    Returns
    -------
    Tensor of shape (n,)
        Bounds in nats, minus `likelihood.unit`.

    References
    ----------
    .. [1] Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR
       2016.
    """
    mean, log_variance = network.posterior(batch)
    spread, shifts = (0.5 * log_variance).exp(), noise.shifts(batch)
    total = torch.full_like(mean[:, 0], -torch.inf)
    for number in range(len(noise.points)):
        drawn = noise.draw(number, shifts)
        code = torch.addcmul(mean, spread, drawn)
        # Log-densities of prior and posterior; their constants cancel.
        ratio = 0.5 * (drawn.square() - code.square() + log_variance).sum(dim=1)
        if log_prior_ratio is not None:
            ratio = ratio + log_prior_ratio(code)
        output, dispersion = network.decode_dispersed(code)
        given_code = likelihood.rows(output, batch, dispersion)
        total = torch.logaddexp(total, given_code + ratio)
    return total - math.log(len(noise.points))


class VariationalObjective:
    """The negative evidence lower bound, in nats per row and in the units of the data.

    Parameters
    ----------
    likelihood : Likelihood
        Likelihood of the rows.
    kl_weight : float, default=1.0
        Weight of the divergence of the posteriors from the prior.
    binarizes : bool, default=False
        Whether rows hold the probabilities of zeros and ones, which `draw` draws.
    """

    is_squared_error = False
    score_of_zero_loss = 0.0

    def __init__(
        self,
        likelihood: Likelihood,
        *,
        kl_weight: float = 1.0,
        binarizes: bool = False,
    ) -> None:
        self.likelihood = likelihood
        self.kl_weight = kl_weight
        self.is_random = binarizes
        self._noise: Noise | None = None

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar; see `Objective`."""
        assert isinstance(network, VariationalNetwork)
        batch, _, target = self.draw(batch, target, generator)
        code, cost = network.code(batch, sample_weight, generator)
        output, dispersion = network.decode_dispersed(code)
        given_code = self.likelihood.rows(output, target, dispersion)
        loss = weighted_mean(-given_code, sample_weight)
        assert cost is not None
        return loss + self.kl_weight * cost - self.likelihood.unit(batch.shape[1])

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw zeros and ones if rows hold their probabilities."""
        if self.is_random:
            batch = target = self._zeros_and_ones(batch, generator)
        return batch, batch, target

    def _zeros_and_ones(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Draw standardised zeros and ones, (n, n_features)."""
        loss = self.likelihood.loss
        uniform = torch.empty_like(batch).uniform_(generator=generator)
        ones = (uniform < loss.data(batch)).to(batch.dtype)
        return ones.sub_(loss.center).div_(loss.scale)

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return the closed form for one dense network; see `Objective`.

        It is compared with autograd on a small network first, once per process and
        architecture.
        """
        (network,) = networks
        if not isinstance(network, DenseVariationalAutoencoder):
            return None
        config = network.config
        kernels = {name: config[name] for name in _SELECT_KERNELS}
        n_hidden = min(len(config["hidden_layer_sizes"]), 2)
        # One column has one dispersion, which may still vary.
        is_single = config["n_dispersions"] == 1 and not config["varies"]
        if not _agrees_with_autograd(n_hidden, is_single=is_single, **kernels):
            return None
        return BoundBackward(network, self.likelihood, self.kl_weight, generator)

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the negative bound of each row, (n,), the same in each call."""
        assert isinstance(network, VariationalNetwork)
        n_features = batch.shape[1]
        if self.is_random:
            generator = torch.Generator(batch.device).manual_seed(0)
            batch = self._zeros_and_ones(batch, generator)
        if self._noise is None or self._noise.turns.device != batch.device:
            width = network.widths[-1]
            self._noise = Noise(_N_DRAWS, n_features, width, batch.device)
        bound = importance_bound(network, self.likelihood, batch, self._noise)
        return -bound - self.likelihood.unit(n_features)


# Arguments that determine, with numbers of layers and dispersions, which kernels are
# called.
_SELECT_KERNELS = "activation", "linear_skip", "varies", "likelihood", "has_offset"


@cache
def _agrees_with_autograd(n_hidden: int, *, is_single: bool, **config: Any) -> bool:
    """Whether closed form and autograd agree for a small network."""
    kind, n_features = LIKELIHOODS[config["likelihood"]], 3
    n_dispersions = 1 if is_single else n_features * kind.is_dispersed
    network = DenseVariationalAutoencoder(
        n_features=n_features,
        n_components=2,
        hidden_layer_sizes=(5,) * n_hidden,
        n_dispersions=n_dispersions,
        **config,
    )
    generator = torch.Generator("cpu").manual_seed(0)
    mean = torch.tensor([0.3, 0.5, 0.6], **CPU_FLOAT32)
    loss = LOSSES[kind.loss_name](mean, 0.5)
    objective = VariationalObjective(
        kind(loss, 0.5, has_offset=config["has_offset"]), kl_weight=0.7
    )
    uniform = torch.rand(8, n_features, generator=generator, **CPU_FLOAT32)
    rows = ((uniform < mean).float() - mean) / 0.5
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return _same_gradients(network, objective, rows)


def _same_gradients(
    network: DenseVariationalAutoencoder, objective: VariationalObjective, rows: Tensor
) -> bool:
    """Whether closed form and autograd have the same loss and gradients."""
    generators = [torch.Generator("cpu").manual_seed(1) for _ in range(2)]

    def in_closed_form() -> Tensor:
        backward = BoundBackward(
            network, objective.likelihood, objective.kl_weight, generators[1]
        )
        return backward(rows, rows, None)

    return have_same_gradients(
        network,
        lambda: objective(network, rows, rows, None, generators[0]),
        in_closed_form,
    )
