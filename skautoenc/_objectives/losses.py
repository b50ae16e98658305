"""Reconstruction losses: the cost of an error, and the meaning of a network's output.

The network gets standardised rows, which are centred and divided by one scale. An
output of zero means the column means; each loss defines how other outputs are mapped to
a reconstruction. Torch only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Keep logarithms finite for constant columns, and distinguish constant columns from
# rounding errors. The lower limit is smaller, in proportion, if all shares are small.
_TINY_SHARE = 1e-6
_TINY_PART = 1e-3
# Smaller shares are zero in float32.
_LEAST_SHARE = 1e-37
_TINY_RATE = 1e-30
# Smallest rate that can be divided by and squared.
_SMALL_RATE = 1e-12
# Below this argument, softplus equals the exponential function in float32.
_EXPONENTIAL = -16.0
# Rates follow a softplus up to this output: rare counts reach seven times their mean.
_BEND = 2.0
# Relative difference of count and rate below which the deviance is computed by a
# series.
_NEAR = 1e-2


class Loss(ABC):
    """A deviance, relative to that of the column means.

    Parameters
    ----------
    mean : Tensor of shape (n_features,)
        Means of the columns, in the units of the data.
    scale : float
        Divisor of the centred rows.
    null : float
        Mean deviance of the column means, by which entries are divided: a mean loss of
        1 is as good as the column means, and 0 is perfect. `learn` computes it.

    Attributes
    ----------
    lowest, highest : float
        Range of valid data.
    has_unit : bool
        Whether the loss is about values in the units of the data. Others may be
        computed in units of the scale.
    constant_names : tuple of str
        Names of the arguments that `learn` computes.
    learns : bool
        Whether `learn` looks at rows.
    has_slopes : bool
        Whether there are `slopes`.
    """

    lowest = float("-inf")
    highest = float("inf")
    has_unit = False
    constant_names: tuple[str, ...] = ("null",)
    learns = True
    has_slopes = False
    # A smaller mean deviance of the column means is rounding: the data is constant.
    rounding = 1e-12

    def __init__(self, mean: Tensor, scale: float, *, null: float = 1.0) -> None:
        self.center = mean
        self.scale = scale
        self.null = null

    @property
    def constants(self) -> dict[str, float]:
        """The arguments that `learn` computes."""
        return {name: getattr(self, name) for name in self.constant_names}

    def to(self, device: torch.device) -> Loss:
        """Return a copy on another device."""
        return type(self)(self.center.to(device), self.scale, **self.constants)

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Compute the deviance of the column means.

        Parameters
        ----------
        average : callable
            Takes a function that maps standardised rows to one value per row, and
            returns the mean of the values over the training data.
        """
        self.null = 1.0
        null = average(lambda rows: self.rows(torch.zeros_like(rows), rows))
        self.null = float(null) if null > self.rounding else 1.0

    @abstractmethod
    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cost of each entry, in the shape of both arguments.

        Parameters
        ----------
        output : Tensor of shape (n, n_features)
            Output of the network.
        target : Tensor of shape (n, n_features)
            Standardised rows.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Map the network's output to standardised rows, the reconstruction."""

    def entries(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the deviance of each entry, in units of `null`."""
        return self.deviance(output, target) / self.null

    def slopes(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the derivatives of `entries` by the output."""
        raise NotImplementedError

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, of shape (n,)."""
        return self.entries(output, target).mean(dim=1)

    def data(self, rows: Tensor) -> Tensor:
        """Map standardised rows to the units of the data."""
        return rows * self.scale + self.center


class SquaredError(Loss):
    """Squared difference; its unit is the variance."""

    # The unit is one, because standardised rows have variance one.
    learns = False
    has_slopes = True

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference."""
        return (output - target).square()

    def entries(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference, whose unit is one."""
        return self.deviance(output, target)

    def slopes(self, output: Tensor, target: Tensor) -> Tensor:
        """Return twice the difference."""
        return 2 * (output - target)

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, which is the reconstruction."""
        return output


class Huber(Loss):
    """Squared difference up to a width, and its tangent beyond that [1]_.

    Parameters
    ----------
    mean, scale, null
        See `Loss`.
    width : float
        Width in standardised units.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Annals of Mathematical
       Statistics 35, 1964.
    """

    constant_names = ("null", "width")
    has_slopes = True

    def __init__(
        self, mean: Tensor, scale: float, *, null: float = 1.0, width: float = 1.0
    ) -> None:
        super().__init__(mean, scale, null=null)
        self.width = width

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Set the width to the mean absolute value, which is robust to outliers."""
        self.width = float(average(lambda rows: rows.abs().mean(dim=1))) or 1.0
        super().learn(average)

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return twice the Huber loss, which is the squared difference near zero."""
        return 2 * nn.functional.huber_loss(
            output, target, reduction="none", delta=self.width
        )

    def slopes(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the derivatives of `entries` by the output."""
        clipped = (output - target).clamp_(-self.width, self.width)
        return clipped.mul_(2 / self.null)

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, which is the reconstruction."""
        return output


class BinaryCrossEntropy(Loss):
    """Cross-entropy of shares or of zeros and ones.

    The output is added to the logits, scaled so that one unit of it changes the
    probabilities by about one standardised unit.
    """

    lowest, highest = 0.0, 1.0
    has_unit = True

    def __init__(self, mean: Tensor, scale: float, *, null: float = 1.0) -> None:
        super().__init__(mean, scale, null=null)
        spread = float((mean * (1 - mean)).mean())
        tiny = max(_TINY_PART * spread, _LEAST_SHARE)
        # Constant data, such as zeros, has a scale of one.
        tiny = _TINY_SHARE if scale == 1 else min(_TINY_SHARE, tiny)
        self.rounding = tiny
        self.scale = max(scale, _LEAST_SHARE)
        share = mean.clamp(tiny, 1 - _TINY_SHARE)
        self.logit = share.logit()
        self.gain = self.scale / float((share * (1 - share)).mean())

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy minus the entropy of the target."""
        share = self.data(target).clamp(0, 1)
        logit = self.logit + self.gain * output
        entropy: Tensor = -share.xlogy(share)
        # `xlog1py` keeps the precision of shares that are tiny compared to one.
        entropy = entropy - torch.special.xlog1py(1 - share, -share)
        return (nn.functional.softplus(logit) - share * logit - entropy).clamp(min=0)

    def mean(self, output: Tensor) -> Tensor:
        """Return the probabilities as standardised values."""
        shares = (self.logit + self.gain * output).sigmoid()
        return (shares - self.center) / self.scale


class Poisson(Loss):
    """Poisson deviance of counts.

    The rate is the softplus of the output, shifted so that zero means the column's
    mean. It is always positive and grows linearly where it is large. In a column whose
    mean is far below the scale, the softplus is an exponential over a wide range, and
    one large output could make the fit diverge. Beyond an output of `bend`, the square
    root of the rate therefore continues along its tangent: rates, and costs, grow
    quadratically.

    Parameters
    ----------
    mean, scale, null
        See `Loss`.
    bend : float
        Output where the tangent begins. Infinite for files that do not contain it.
    """

    lowest = 0.0
    constant_names = ("null", "bend")

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
        # The inverse of softplus, computed without overflow.
        self.shift = relative + torch.log(-torch.expm1(-relative))

    def learn(self, average: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        """Set the bend, and compute the deviance of the column means."""
        self.bend = _BEND
        super().learn(average)

    @property
    def slope(self) -> Tensor:
        """Relative slope of the square root of each rate at the bend."""
        shifted = self.shift + self.bend
        # Where softplus is an exponential, the relative slope is one half.
        clamped = shifted.clamp(min=_EXPONENTIAL)
        slope: Tensor = clamped.sigmoid() / nn.functional.softplus(clamped) / 2
        return slope

    def _growth(self, output: Tensor) -> Tensor:
        """Return by which share the square roots of rates exceed those at the bend."""
        return self.slope * (output - self.bend).clamp(min=0)

    def rate(self, output: Tensor) -> Tensor:
        """Return the rates, divided by the scale."""
        rate = nn.functional.softplus(self.shift + output.clamp(max=self.bend))
        return (rate * (1 + self._growth(output)).square()).clamp(min=_TINY_RATE)

    def deviance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return half the unit deviance of counts divided by the scale."""
        rate, offset = self.rate(output), self.center / self.scale
        count = (target + offset).clamp(min=0)
        deviance = count.xlogy(count) - count * self.log_rate(output) + rate - count
        # Near zero, these terms cancel and leave rounding errors only.
        excess = (target - (rate - offset)) / rate.clamp(min=_SMALL_RATE)
        near = excess.clamp(-_NEAR, _NEAR)
        series = near.square() * (1 / 2 - near / 6 + near.square() / 12)
        return torch.where(excess.abs() < _NEAR, rate * series, deviance)

    def log_rate(self, output: Tensor) -> Tensor:
        """Return the logarithms of the rates, with a gradient even for tiny rates."""
        shifted = self.shift + output.clamp(max=self.bend)
        # In this range softplus is an exponential, whose gradient would underflow.
        log_rate = nn.functional.softplus(shifted.clamp(min=_EXPONENTIAL)).log()
        log_rate = torch.where(shifted < _EXPONENTIAL, shifted, log_rate)
        return log_rate + 2 * self._growth(output).log1p()

    def log_slope(self, output: Tensor) -> Tensor:
        """Return the derivatives of `log_rate`."""
        shifted = self.shift + output.clamp(max=self.bend)
        # Where softplus is an exponential, the derivative of its logarithm is one.
        clamped = shifted.clamp(min=_EXPONENTIAL)
        below = clamped.sigmoid() / nn.functional.softplus(clamped)
        beyond = 2 * self.slope / (1 + self._growth(output))
        return torch.where(output < self.bend, below, beyond)

    def mean(self, output: Tensor) -> Tensor:
        """Return the rates as standardised values."""
        return self.rate(output) - self.center / self.scale


LOSSES: dict[str, type[Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "huber": Huber,
    "poisson": Poisson,
    "squared_error": SquaredError,
}
