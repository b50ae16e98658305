"""How fast Adam may train a dense network.

A step of Adam moves each weight by about the learning rate, whatever its gradient. So
the sum over a layer's inputs moves in proportion to their number, and the widest layer
would decide how fast the whole network can be trained. With steps that shrink with the
number of inputs, one rate suits layers of all widths [1]_. The numbers were chosen by
training losses, over activations, widths, batch sizes and normalisations.

References
----------
.. [1] Yang et al., "Tensor programs V: tuning large neural networks via zero-shot
   hyperparameter transfer", NeurIPS 2021 (maximal update parametrization).
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

_RATE = 0.01
# Rectifiers beside a linear skip are noisy at the full rate, and so are logistic units
# that are kept where they are steepest.
_CAREFUL_RATE = 0.005
_RECTIFIERS = {"relu", "leaky_relu", "gelu", "identity"}
# The output layer of a normalised network takes at most as many times the steps.
_LARGEST_SHARE = 4.0
# Less with rectifiers, whose gradients jump; and no more with "selu", whose activations
# are as large as what they are given, unlike all others.
_LARGEST_SHARES = {"relu": 2.0, "leaky_relu": 2.0, "selu": 1.0}
# Layers of up to as many inputs are trained at the full rate.
FULL_WIDTH = 64
# Learning rate times number of inputs beyond which the first steps can kill most of a
# layer of rectified units: 0.005 for 256 inputs does not.
FATAL_STEP = 1.28


def base_rate(activation: str, normalization: str | None, *, has_skip: bool) -> float:
    """Return the learning rate of layers of few inputs, of a network with hidden ones.

    Parameters
    ----------
    activation : str
        Of the hidden layers.
    normalization : {"batch", "layer"} or None
        Ahead of each activation.
    has_skip : bool
        Whether a linear map runs beside the hidden layers.
    """
    noisy = has_skip and normalization is None and activation in _RECTIFIERS
    steep = activation == "logistic" and normalization == "layer"
    return _CAREFUL_RATE if noisy or steep else _RATE


def normalized_share(activation: str, spread: float) -> float:
    """Return how many times the steps a normalised network's output layer takes.

    Normalised activations are equally large however many columns a component stands
    for, whereas the output layer has as many more columns to fit.

    Parameters
    ----------
    activation : str
        Of the hidden layers.
    spread : float
        How much more there is to one component than in most networks, at least one.
    """
    return min(spread, _LARGEST_SHARES.get(activation, _LARGEST_SHARE))


def rate_factors(
    numbers_of_inputs: Iterable[tuple[Tensor, float]], full_width: float
) -> dict[Tensor, float]:
    """Return the shares of the learning rate that are left for wide layers.

    Parameters
    ----------
    numbers_of_inputs : iterable of (Tensor, float)
        Weights, and how many inputs each sums up. A weight that is used more than once
        is given as often; its largest number counts.
    full_width : float
        Layers of up to as many inputs get all of the learning rate.

    Returns
    -------
    dict of Tensor to float
        A share below one for each weight that does not get all of it.
    """
    factors: dict[Tensor, float] = {}
    for weight, number in numbers_of_inputs:
        if number > full_width:
            factors[weight] = min(full_width / number, factors.get(weight, 1.0))
    return factors
