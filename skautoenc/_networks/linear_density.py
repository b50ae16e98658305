"""The density of a linear model with heavy tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32

# Degrees of freedom: few, but the variance is finite.
_FREEDOM = 3.0
_TINY = 1e-30


class LinearDensity(nn.Module):
    """Density of probabilistic PCA or factor analysis with heavy tails [1]_.

    A multivariate t-distribution with the covariance matrix of the linear model as its
    scale. Its logarithm falls with the logarithm of the distance. It is not trained.

    Parameters
    ----------
    n_components : int
        Maximum number of axes.
    n_features : int
        Width of a row.

    Attributes
    ----------
    axes : Tensor of shape (n_components, n_features)
        Orthonormal axes of rows divided by the standard deviations of the noise; zero
        where there are fewer axes.
    variances : Tensor of shape (n_components,)
        Variances of these rows along the axes, at least one.
    noise : Tensor of shape (n_features,)
        Variances of the noise.

    References
    ----------
    .. [1] Archambeau, Delannay and Verleysen, "Robust probabilistic projections", ICML
       2006.
    """

    axes: Tensor
    variances: Tensor
    noise: Tensor

    def __init__(self, n_components: int, n_features: int) -> None:
        super().__init__()
        axes = torch.zeros(n_components, n_features, **CPU_FLOAT32)
        self.register_buffer("axes", axes)
        self.register_buffer("variances", torch.ones(n_components, **CPU_FLOAT32))
        self.register_buffer("noise", torch.ones(n_features, **CPU_FLOAT32))

    @torch.no_grad()
    def set(self, axes: Tensor, variances: Tensor, noise: Tensor) -> None:
        """Set the model, which may have fewer axes."""
        self.axes.zero_()[: len(axes)] = axes
        self.variances.fill_(1.0)[: len(variances)] = variances
        self.noise.copy_(noise)

    def log_density(self, rows: Tensor) -> Tensor:
        """Return the log-density of standardised rows, (n,)."""
        scaled = rows / self.noise.sqrt()
        # Squares of far rows would overflow.
        largest = scaled.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)  # (n, 1)
        scaled = scaled / largest
        along = scaled @ self.axes.t()  # (n, n_components)
        # Not by the difference of the squares, which would be mostly rounding.
        rest = torch.addmm(scaled, along, self.axes, alpha=-1)
        squares = (
            rest.square().sum(dim=1) + along.square() @ self.variances.reciprocal()
        )
        logarithm = squares.clamp(min=_TINY).log() + 2 * largest.squeeze(1).log()
        ratio = logarithm - math.log(_FREEDOM)
        n_all = len(self.noise) + _FREEDOM
        tail = torch.logaddexp(ratio, torch.zeros_like(ratio))
        return self._log_constant() - 0.5 * n_all * tail

    def _log_constant(self) -> Tensor:
        """Return the log-density of the centre, a scalar."""
        n_features = len(self.noise)
        volume = self.variances.log().sum() + self.noise.log().sum()
        gammas = math.lgamma(0.5 * (n_features + _FREEDOM)) - math.lgamma(
            0.5 * _FREEDOM
        )
        return gammas - 0.5 * (volume + n_features * math.log(_FREEDOM * math.pi))

    def draw(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw standardised rows, (n_samples, n_features), on the CPU."""
        code = torch.empty(n_samples, len(self.axes), **CPU_FLOAT32)
        noise = torch.empty(n_samples, len(self.noise), **CPU_FLOAT32)
        signal = (self.variances - 1).clamp(min=0).sqrt()
        scaled = (code.normal_(generator=generator) * signal) @ self.axes
        normal = (scaled + noise.normal_(generator=generator)) * self.noise.sqrt()
        half = torch.full((n_samples, 1), 0.5 * _FREEDOM, **CPU_FLOAT32)
        # torch's other functions that draw gamma variables take no generator.
        gamma = torch._standard_gamma(half, generator=generator)
        return normal * (half / gamma).sqrt()
