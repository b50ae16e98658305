"""Likelihoods: how probable a row is, given the network's output. Torch only.

A likelihood is in nats and in the units of the data. Its mean is that of a loss, so
that an output of zero means the column means.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from .losses import Loss

_LOG_2_PI = math.log(2 * math.pi)


class Likelihood(ABC):
    """Log-probability of rows.

    Parameters
    ----------
    loss : Loss
        What an output of the network means.
    scale : float
        What centred rows are divided by to be standardised.

    Attributes
    ----------
    loss_name : str
        Key of the loss in `LOSSES`.
    is_dispersed : bool
        Whether there is a dispersion to be learnt.
    """

    loss_name: ClassVar[str]
    is_dispersed: ClassVar[bool]

    def __init__(self, loss: Loss, scale: float) -> None:
        self.loss = loss
        self.scale = scale

    @abstractmethod
    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-probability of each row, (n,), less `unit`.

        Parameters
        ----------
        output : Tensor of shape (n, n_features)
            What the network gave.
        target : Tensor of shape (n, n_features)
            Standardised rows.
        dispersion : Tensor of shape (n_dispersions,) or (n, n_features)
            One for all columns or one for each, or none; or of each entry.
        """

    def unit(self, n_features: int) -> float:
        """Return what is added to each row's log-probability for the data's units."""
        return 0.0

    @abstractmethod
    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw standardised rows, (n, n_features), given outputs of that shape."""


class Gaussian(Likelihood):
    """Normal noise around the output, of one variance or of one for each column."""

    loss_name = "squared_error"
    is_dispersed = True

    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-density of each row, (n,), in standardised units."""
        n_features = output.shape[1]
        squares = (output - target).square()
        if dispersion.ndim == 2:
            terms = squares / dispersion + dispersion.log()
            return -0.5 * (terms.sum(dim=1) + n_features * _LOG_2_PI)
        if len(dispersion) == 1:
            quadratic = squares.sum(dim=1) / dispersion
            constant = n_features * (dispersion.log() + _LOG_2_PI)
        else:
            quadratic = squares @ dispersion.reciprocal()
            constant = dispersion.log().sum() + n_features * _LOG_2_PI
        return -0.5 * (quadratic + constant)

    def unit(self, n_features: int) -> float:
        """Return the logarithm of the density's change of variables."""
        return -n_features * math.log(self.scale)

    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Add noise to the outputs."""
        noise = torch.empty_like(output).normal_(generator=generator)
        return output + dispersion.sqrt() * noise


LIKELIHOODS: dict[str, type[Likelihood]] = {"gaussian": Gaussian}
