"""Likelihoods: the probability of a row, given the network's output. Torch only.

A likelihood is in nats and in the units of the data. Its mean is that of a loss, so
that an output of zero means the column means.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .losses import BinaryCrossEntropy, Loss, Poisson

_LOG_2_PI = math.log(2 * math.pi)
# Totals of empty rows, as rates that may be divided by.
_TINY = 1e-12


class Slopes(NamedTuple):
    """Log-probabilities of rows and their derivatives.

    Parameters
    ----------
    rows : Tensor of shape (n,)
        Result of `Likelihood.rows`.
    by_output : Tensor of shape (n, n_features)
        Derivatives by the network's output.
    by_dispersion : Tensor of shape (n, n_dispersions) or None
        Derivatives by the dispersions of the row; None without dispersions.
    """

    rows: Tensor
    by_output: Tensor
    by_dispersion: Tensor | None


class Likelihood(ABC):
    """Log-probability of rows.

    Parameters
    ----------
    loss : Loss
        Meaning of the network's output.
    scale : float
        Divisor of the centred rows.
    has_offset : bool, default=False
        Whether the likelihood of counts depends on the total of their row.

    Attributes
    ----------
    loss_name : str
        Key of the loss in `LOSSES`.
    is_dispersed : bool
        Whether a dispersion is learnt.
    is_discrete : bool
        Whether rows hold integers.
    """

    loss_name: ClassVar[str]
    is_dispersed: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = True

    def __init__(self, loss: Loss, scale: float, *, has_offset: bool = False) -> None:
        self.loss = loss
        self.scale = scale
        self.has_offset = has_offset

    def _standardised(self, values: Tensor) -> Tensor:
        """Standardise values in the units of the data."""
        return (values - self.loss.center) / self.loss.scale

    @abstractmethod
    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-probability of each row, (n,), minus `unit`.

        Parameters
        ----------
        output : Tensor of shape (n, n_features)
            Output of the network.
        target : Tensor of shape (n, n_features)
            Standardised rows.
        dispersion : Tensor of shape (n_dispersions,) or (n, n_features)
            One for all columns, one for each column, or none; or one for each entry.
        """

    @abstractmethod
    def slopes(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Slopes:
        """Return `rows` with its derivatives; `output` may be overwritten."""

    def unit(self, n_features: int) -> float:
        """Return the term that converts log-probabilities to the data's units."""
        return 0.0

    @abstractmethod
    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw standardised rows, (n, n_features), given outputs of that shape."""


class Gaussian(Likelihood):
    """Normal noise around the output, with one variance or one per column."""

    loss_name = "squared_error"
    is_dispersed = True
    is_discrete = False

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

    def slopes(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Slopes:
        """Return log-densities with their derivatives; see `Likelihood`."""
        n_features, precision = output.shape[1], dispersion.reciprocal()
        n_columns = n_features // dispersion.shape[-1]  # of each dispersion
        difference = torch.sub(target, output, out=output)
        squares = difference.square()
        if n_columns > 1:
            squares = squares.sum(dim=1, keepdim=True)
        ratios = squares * precision  # (n, n_dispersions)
        twice = (ratios + n_columns * dispersion.log()).sum(dim=1)
        rows = -0.5 * (twice + n_features * _LOG_2_PI)
        by_dispersion = (ratios - n_columns) * (0.5 * precision)
        return Slopes(rows, difference.mul_(precision), by_dispersion)

    def unit(self, n_features: int) -> float:
        """Return the logarithm of the density's change of variables."""
        return -n_features * math.log(self.scale)

    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Add noise to the outputs."""
        noise = torch.empty_like(output).normal_(generator=generator)
        return output + dispersion.sqrt() * noise


class Bernoulli(Likelihood):
    """Zeros and ones, independent given the output."""

    loss_name = "binary_cross_entropy"

    loss: BinaryCrossEntropy

    def _logits(self, output: Tensor) -> Tensor:
        return self.loss.logit + self.loss.gain * output

    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-probability of each row, (n,)."""
        logits, ones = self._logits(output), self.loss.data(target).clamp(0, 1)
        return (ones * logits - nn.functional.softplus(logits)).sum(dim=1)

    def slopes(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Slopes:
        """Return log-probabilities with their derivatives; see `Likelihood`."""
        logits, ones = self._logits(output), self.loss.data(target).clamp_(0, 1)
        rows = (ones * logits).sub_(nn.functional.softplus(logits)).sum(dim=1)
        errors = ones.sub_(logits.sigmoid_())
        return Slopes(rows, errors.mul_(self.loss.gain), None)

    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw zeros and ones."""
        shares = self._logits(output).sigmoid()
        return self._standardised(torch.bernoulli(shares, generator=generator))


class _Counts(Likelihood):
    """Whole numbers with a rate, in the units of the data.

    Rates are those of a row of average total. They are multiplied by the row's own
    total, as a share of the average, if it is an offset.
    """

    loss_name = "poisson"

    def _rates(self, output: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return rates and their logarithms, given counts if these have an offset."""
        loss = self.loss
        assert isinstance(loss, Poisson)
        rates = loss.rate(output) * loss.scale
        log_rates = loss.log_rate(output) + math.log(loss.scale)
        if counts is None or not self.has_offset:
            return rates, log_rates
        average = loss.center.sum().clamp(min=_TINY)
        share = (counts.sum(dim=1, keepdim=True) / average).clamp(min=_TINY)
        return rates * share, log_rates + share.log()

    def _counts(self, target: Tensor) -> Tensor:
        return self.loss.data(target).round().clamp(min=0)

    def _log_slope(self, output: Tensor) -> Tensor:
        loss = self.loss
        assert isinstance(loss, Poisson)
        return loss.log_slope(output)


class PoissonCounts(_Counts):
    """Counts whose variance is their rate."""

    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-probability of each row, (n,)."""
        counts = self._counts(target)
        rates, log_rates = self._rates(output, counts)
        return (counts * log_rates - rates - (counts + 1).lgamma()).sum(dim=1)

    def slopes(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Slopes:
        """Return log-probabilities with their derivatives; see `Likelihood`."""
        counts = self._counts(target)
        rates, log_rates = self._rates(output, counts)
        rows = (counts * log_rates - rates - (counts + 1).lgamma()).sum(dim=1)
        return Slopes(rows, (counts - rates) * self._log_slope(output), None)

    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw counts of rows of average total."""
        rates, _ = self._rates(output, None)
        return self._standardised(torch.poisson(rates, generator=generator))


class NegativeBinomial(_Counts):
    """Counts whose variance is their rate and a multiple of its square [1]_.

    The dispersion of a column is this multiple.

    References
    ----------
    .. [1] Lopez et al., "Deep generative modeling for single-cell transcriptomics",
       Nature Methods 15, 2018.
    """

    is_dispersed = True

    def rows(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Tensor:
        """Return the log-probability of each row, (n,)."""
        counts = self._counts(target)
        rates, log_rates = self._rates(output, counts)
        size = dispersion.reciprocal()
        # log(size + rate) - log(size), to the last digit where that is nothing.
        excess = (rates * dispersion).log1p()
        chances = (counts + size).lgamma() - size.lgamma() - (counts + 1).lgamma()
        share = counts * (log_rates + dispersion.log() - excess)
        return (chances + share - size * excess).sum(dim=1)

    def slopes(self, output: Tensor, target: Tensor, dispersion: Tensor) -> Slopes:
        """Return log-probabilities with their derivatives; see `Likelihood`."""
        counts = self._counts(target)
        rates, log_rates = self._rates(output, counts)
        size, excess = dispersion.reciprocal(), (rates * dispersion).log1p()
        chances = (counts + size).lgamma() - size.lgamma() - (counts + 1).lgamma()
        share = counts * (log_rates + dispersion.log() - excess)
        rows = (chances + share - size * excess).sum(dim=1)
        errors = (counts - rates) / (1 + rates * dispersion)
        of_size = (counts + size).digamma() - size.digamma() - excess
        by_dispersion = size * (errors - size * of_size)
        return Slopes(rows, errors * self._log_slope(output), by_dispersion)

    def draw(
        self, output: Tensor, dispersion: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw rates around the output, then counts of rows of average total."""
        rates, _ = self._rates(output, None)
        size = dispersion.reciprocal().expand_as(rates).contiguous()
        # torch's other functions that draw gamma variables take no generator.
        drawn = torch._standard_gamma(size, generator=generator) * rates / size
        return self._standardised(torch.poisson(drawn, generator=generator))


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "negative_binomial": NegativeBinomial,
    "poisson": PoissonCounts,
}
