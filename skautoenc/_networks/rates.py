"""Learning rates of Adam and scales of initial weights for dense networks.

A step of Adam changes each weight by about the learning rate, whatever its gradient.
The sum over a layer's inputs therefore changes in proportion to their number, and the
widest layer would limit the learning rate of the whole network. With steps that shrink
with the number of inputs, one learning rate suits layers of all widths [1]_. The
constants were chosen by training losses, over activations, widths, batch sizes and
normalisations.

Without a linear skip, the units before a wide output layer all change it in the same
direction, that of the gradient. The sum of their changes grows with their number times
the output layer's weights. These therefore start in proportion to one over the number,
not over its square root [1]_.

References
----------
.. [1] Yang et al., "Tensor programs V: tuning large neural networks via zero-shot
   hyperparameter transfer", NeurIPS 2021 (maximal update parametrization).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from .layers import BOUNDED

_RATE = 0.01
# Rectifiers with a linear skip are noisy at the full rate.
_CAREFUL_RATE = 0.005
_RECTIFIERS = {"relu", "leaky_relu", "gelu", "identity"}
# Maximum factor for the output layer of a network of bounded or normalised activations.
_LARGEST_SHARE = 4.0
# It is lower for rectifiers, whose gradients jump, and for logistic units, whose mean
# is not zero. It is one for "selu": its activations, unlike all others, are as large as
# its inputs.
_LARGEST_SHARES = {"relu": 2.0, "leaky_relu": 2.0, "logistic": 2.0, "selu": 1.0}
# Layers with at most this number of inputs are trained at the full rate.
FULL_WIDTH = 64
# Logistic units are all positive, so their contributions to a sum change in the same
# direction; a normalisation by row keeps them where their slope is largest.
_FULL_WIDTH_OF_STEEP = 32
# Without a linear skip, output layers start small and bear larger steps.
_FULL_WIDTH_WITHOUT_SKIP = 96
# Errors of large steps of bounded units add up from layer to layer. A single layer of
# them bears larger ones.
_FULL_WIDTH_OF_ONE_LOGISTIC = 128
_FULL_WIDTH_OF_ONE_TANH = 96
# Without a linear skip, output layers of at most this number of inputs start at the
# usual scale.
_FULL_INITIAL_WIDTH = 128
# Output layers of bounded units always do: small codes would leave the units in their
# linear range. If a single layer of "tanh" has more units than this, the steps of the
# units shrink instead, with the square root of the number.
_FULL_WIDTH_OF_UNITS = 512
# Beside a linear skip, exponential units in several layers need larger steps to get
# away from the PCA that they start as. A single layer of them overshoots it instead.
_FULL_WIDTH_OF_EXPONENTIAL = 96
# Batch normalisation divides a unit's sum by its standard deviation, and so undoes part
# of a large step of a single layer. In several, what is left adds up from layer to
# layer. Beside a linear skip, large steps disturb the PCA that it starts as.
_FULL_WIDTH_OF_BOUNDED_BATCHES = 256
# Learning rate times number of inputs beyond which the first steps can kill most units
# of a rectified layer. The value allows a rate of 0.005 for 256 inputs.
FATAL_STEP = 1.28


def base_rate(activation: str, normalization: str | None, *, has_skip: bool) -> float:
    """Return the learning rate for the layers of few inputs of a deep network.

    Parameters
    ----------
    activation : str
        Activation of the hidden layers.
    normalization : {"batch", "layer"} or None
        Normalisation before each activation.
    has_skip : bool
        Whether a linear map is added to the hidden layers.
    """
    noisy = has_skip and normalization is None and activation in _RECTIFIERS
    return _CAREFUL_RATE if noisy else _RATE


def full_width(
    activation: str, normalization: str | None, *, has_skip: bool, n_layers: int
) -> int:
    """Return the number of inputs up to which a layer is trained at the full rate.

    Parameters
    ----------
    activation : str
        Activation of the hidden layers.
    normalization : {"batch", "layer"} or None
        Normalisation before each activation.
    has_skip : bool
        Whether a linear map is added to the hidden layers.
    n_layers : int
        Number of hidden layers of the encoder.
    """
    if not has_skip and activation not in BOUNDED:
        return _FULL_WIDTH_WITHOUT_SKIP
    is_logistic, is_single = activation == "logistic", n_layers == 1
    if normalization == "batch":
        bears_large = is_single and not has_skip
        return _FULL_WIDTH_OF_BOUNDED_BATCHES if bears_large else FULL_WIDTH
    if is_single and not has_skip:
        return _FULL_WIDTH_OF_ONE_LOGISTIC if is_logistic else _FULL_WIDTH_OF_ONE_TANH
    if is_logistic and normalization == "layer":
        return _FULL_WIDTH_OF_STEEP
    is_deep = not is_single and has_skip and normalization is None
    if activation in {"elu", "selu"} and is_deep:
        return _FULL_WIDTH_OF_EXPONENTIAL
    return FULL_WIDTH


def initial_share(activation: str, n_inputs: int) -> float:
    """Return the factor of an output layer's initial weights, without a linear skip.

    Parameters
    ----------
    activation : str
        Activation of the hidden layers.
    n_inputs : int
        Number of inputs of the layer.
    """
    if activation in BOUNDED:
        return 1.0
    return min(1.0, math.sqrt(_FULL_INITIAL_WIDTH / n_inputs))


def unit_share(activation: str, n_units: int) -> float:
    """Return the factor of the steps of a single layer's units, without a linear skip.

    Parameters
    ----------
    activation : str
        Activation of the layer.
    n_units : int
        Number of units.
    """
    if activation != "tanh":
        return 1.0
    return min(1.0, math.sqrt(_FULL_WIDTH_OF_UNITS / n_units))


def output_share(activation: str, spread: float) -> float:
    """Return the factor of the steps of the output layer after bounded activations.

    Normalised activations, and those of "tanh", do not grow with the number of columns
    that a component represents, but the contributions of the output layer must.

    Parameters
    ----------
    activation : str
        Activation of the hidden layers.
    spread : float
        Standard deviation of a component relative to that in most networks, at least
        one.
    """
    return min(spread, _LARGEST_SHARES.get(activation, _LARGEST_SHARE))


def rate_factors(
    numbers_of_inputs: Iterable[tuple[Tensor, float]], full_width: float
) -> dict[Tensor, float]:
    """Return the factors of the learning rate of wide layers.

    Parameters
    ----------
    numbers_of_inputs : iterable of (Tensor, float)
        Weights, each with its number of inputs. A weight that is used more than once is
        listed as often; its largest number counts.
    full_width : float
        Layers with at most this number of inputs use the full learning rate.

    Returns
    -------
    dict of Tensor to float
        A factor below one for each weight of a wider layer.
    """
    factors: dict[Tensor, float] = {}
    for weight, number in numbers_of_inputs:
        if number > full_width:
            factors[weight] = min(full_width / number, factors.get(weight, 1.0))
    return factors
