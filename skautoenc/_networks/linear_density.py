"""The density of a linear model with normal codes and normal noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32

_LOG_2_PI = math.log(2 * math.pi)


class LinearDensity(nn.Module):
    """Density of probabilistic PCA or factor analysis, which is not trained.

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
        along = scaled @ self.axes.t()  # (n, n_components)
        # Not by the difference of the squares, which would be mostly rounding.
        rest = torch.addmm(scaled, along, self.axes, alpha=-1)
        squares = (
            rest.square().sum(dim=1) + along.square() @ self.variances.reciprocal()
        )
        volume = self.variances.log().sum() + self.noise.log().sum()
        return -0.5 * (squares + volume + len(self.noise) * _LOG_2_PI)

    def draw(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw standardised rows, (n_samples, n_features)."""
        code = torch.empty(n_samples, len(self.axes), **CPU_FLOAT32)
        noise = torch.empty(n_samples, len(self.noise), **CPU_FLOAT32)
        signal = (self.variances - 1).clamp(min=0).sqrt()
        scaled = (code.normal_(generator=generator) * signal) @ self.axes
        return (scaled + noise.normal_(generator=generator)) * self.noise.sqrt()
