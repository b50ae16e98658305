"""Reconstruction losses: what an error costs, and what the network's output means.

A network sees standardised rows, centred and divided by one scale. Its output is where
a loss begins: at zero it means the column means, and how far it moves the
reconstruction from there is the loss's business. Torch only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

# What keeps logarithms finite where a column is constant, and a constant column apart
# from rounding; less where all shares are small, in proportion.
_TINY_SHARE = 1e-6
_TINY_PART = 1e-3
# Shares below are none in float32.
_LEAST_SHARE = 1e-37
_TINY_RATE = 1e-30
# Rates that may be divided by and whose squares may be.
_SMALL_RATE = 1e-12
# Where softplus is an exponential to the last digit.
_EXPONENTIAL = -16.0
# Output up to which rates are a softplus: rare counts reach seven times their mean.
_BEND = 2.0
# Excess of a count, as a share of its rate, up to which its deviance is a series.
_NEAR = 1e-2


class Loss(ABC):
    """A deviance, in units of that of the column means.

    Parameters
    ----------
    mean : Tensor of shape (n_features,)
        Means of the columns, in the units of the data.
    scale : float
        What centred rows are divided by to be standardised.
    null : float
        Mean deviance of the column means themselves, by which entries are divided: a
        mean loss of 1 is no better than they are, and 0 is perfect. `learn` finds it.

    Attributes
    ----------
    lowest, highest : float
        The range of the data.
    """

    lowest = float("-inf")
    highest = float("inf")
    # A mean deviance of constant data that is not zero is rounding.
    rounding = 1e-12

    def __init__(self, mean: Tensor, scale: float, *, null: float = 1.0) -> None:
        self.center = mean
        self.scale = scale
        self.null = null

    @property
    def constants(self) -> dict[str, float]:
        """The arguments that `learn` has found."""
        return {"null": self.null}

    def to(self, device: torch.device) -> Loss:
        """Return the same on another device."""
        return type(self)(self.center.to(device), self.scale, **self.constants)

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Measure the deviance of the column means.

        Parameters
        ----------
        average : callable
            Takes a function of standardised rows, which gives a value a row, and
            returns its mean over the training data.
        """
        self.null = 1.0
        null = average(lambda rows: self.rows(torch.zeros_like(rows), rows))
        self.null = float(null) if null > self.rounding else 1.0

    @abstractmethod
    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return what each entry costs, of the shape of both arguments.

        Parameters
        ----------
        output : Tensor of shape (n, n_features)
            What the network gave.
        target : Tensor of shape (n, n_features)
            Standardised rows.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Turn the network's output into standardised rows, the reconstruction."""

    def entries(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the deviance of each entry, in units of `null`."""
        return self.deviance(output, target) / self.null

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, of shape (n,)."""
        return self.entries(output, target).mean(dim=1)

    def data(self, rows: Tensor) -> Tensor:
        """Return standardised rows in the units of the data."""
        return rows * self.scale + self.center


class SquaredError(Loss):
    """Squared difference; its unit is the variance."""

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference."""
        return (output - target).square()

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Leave the unit as it is: standardised rows have variance one."""

    def entries(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference, whose unit is one."""
        return self.deviance(output, target)

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, which is the reconstruction."""
        return output


class Huber(Loss):
    """Squared difference up to a width, and its tangent beyond [1]_.

    Parameters
    ----------
    mean, scale, null
        See `Loss`.
    width : float
        In standardised units.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Annals of Mathematical
       Statistics 35, 1964.
    """

    def __init__(
        self, mean: Tensor, scale: float, *, null: float = 1.0, width: float = 1.0
    ) -> None:
        super().__init__(mean, scale, null=null)
        self.width = width

    @property
    def constants(self) -> dict[str, float]:
        """The arguments that `learn` has found."""
        return {**super().constants, "width": self.width}

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Take the mean absolute value as the width, which outliers hardly move."""
        self.width = float(average(lambda rows: rows.abs().mean(dim=1))) or 1.0
        super().learn(average)

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return twice the Huber loss, which is the squared difference near zero."""
        return 2 * nn.functional.huber_loss(
            output, target, reduction="none", delta=self.width
        )

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, which is the reconstruction."""
        return output


class BinaryCrossEntropy(Loss):
    """Cross-entropy of shares or of zeros and ones.

    The output is a shift of the logits, scaled so that one unit of it moves
    probabilities by about one standardised unit.
    """

    lowest, highest = 0.0, 1.0

    def __init__(self, mean: Tensor, scale: float, *, null: float = 1.0) -> None:
        super().__init__(mean, scale, null=null)
        spread = float((mean * (1 - mean)).mean())
        tiny = max(_TINY_PART * spread, _LEAST_SHARE)
        # The scale of data that is constant, of zeros for one, is one.
        tiny = _TINY_SHARE if scale == 1 else min(_TINY_SHARE, tiny)
        self.rounding = tiny
        self.scale = max(scale, _LEAST_SHARE)
        share = mean.clamp(tiny, 1 - _TINY_SHARE)
        self.logit = share.logit()
        self.gain = self.scale / float((share * (1 - share)).mean())

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy, less the entropy of the target."""
        share = self.data(target).clamp(0, 1)
        logit = self.logit + self.gain * output
        entropy: Tensor = -share.xlogy(share)
        # Of a tiny share, one less it is one.
        entropy = entropy - torch.special.xlog1py(1 - share, -share)
        return (nn.functional.softplus(logit) - share * logit - entropy).clamp(min=0)

    def mean(self, output: Tensor) -> Tensor:
        """Return the probabilities, standardised."""
        shares = (self.logit + self.gain * output).sigmoid()
        return (shares - self.center) / self.scale


class Poisson(Loss):
    """Poisson deviance of counts.

    The rate is the softplus of the output, shifted to the column's mean: it stays
    positive, and where it is large it grows as the output does. Of a rare column,
    whose mean is far below the scale, the softplus is an exponential for long, and one
    large output would end the fit. So beyond an output of `bend` the root of the rate
    goes on along its tangent: rates grow as squares, and costs no faster.

    Parameters
    ----------
    mean, scale, null
        See `Loss`.
    bend : float
        Infinite for a softplus throughout, as in files that do not tell.
    """

    lowest = 0.0

    def __init__(
        self,
        mean: Tensor,
        scale: float,
        *,
        null: float = 1.0,
        bend: float = float("inf"),
    ) -> None:
        super().__init__(mean, scale, null=null)
        self.bend = bend
        relative = (mean / scale).clamp(min=_TINY_RATE)
        # The inverse of softplus, without overflow.
        self.shift = relative + torch.log(-torch.expm1(-relative))

    @property
    def constants(self) -> dict[str, float]:
        """The arguments that `learn` has found."""
        return {**super().constants, "bend": self.bend}

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Bend the rates of new fits."""
        self.bend = _BEND
        super().learn(average)

    @property
    def slope(self) -> Tensor:
        """Slope of the root of each rate at the bend, as a share of the root."""
        shifted = self.shift + self.bend
        # An exponential's is a half.
        clamped = shifted.clamp(min=_EXPONENTIAL)
        slope: Tensor = clamped.sigmoid() / nn.functional.softplus(clamped) / 2
        return slope

    def _growth(self, output: Tensor) -> Tensor:
        """Return by what share the roots of rates exceed those at the bend."""
        return self.slope * (output - self.bend).clamp(min=0)

    def _rate(self, output: Tensor) -> Tensor:
        """Return the rates, divided by the scale."""
        rate = nn.functional.softplus(self.shift + output.clamp(max=self.bend))
        return (rate * (1 + self._growth(output)).square()).clamp(min=_TINY_RATE)

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return half the unit deviance of counts divided by the scale."""
        rate, offset = self._rate(output), self.center / self.scale
        count = (target + offset).clamp(min=0)
        deviance = count.xlogy(count) - count * self._log_rate(output) + rate - count
        # Next to zero these terms cancel to nothing but rounding.
        excess = (target - (rate - offset)) / rate.clamp(min=_SMALL_RATE)
        near = excess.clamp(-_NEAR, _NEAR)
        series = near.square() * (1 / 2 - near / 6 + near.square() / 12)
        return torch.where(excess.abs() < _NEAR, rate * series, deviance)

    def _log_rate(self, output: Tensor) -> Tensor:
        """Return logarithms of the rates, whose slope is one where there is no rate."""
        shifted = self.shift + output.clamp(max=self.bend)
        # Softplus is an exponential there, whose own gradient vanishes.
        log_rate = nn.functional.softplus(shifted.clamp(min=_EXPONENTIAL)).log()
        log_rate = torch.where(shifted < _EXPONENTIAL, shifted, log_rate)
        return log_rate + 2 * self._growth(output).log1p()

    def mean(self, output: Tensor) -> Tensor:
        """Return the rates, standardised."""
        return self._rate(output) - self.center / self.scale


LOSSES: dict[str, type[Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "huber": Huber,
    "poisson": Poisson,
    "squared_error": SquaredError,
}
