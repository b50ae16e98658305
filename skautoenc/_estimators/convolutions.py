"""Parameters of convolutions, which estimators of images share."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from sklearn.utils._param_validation import Interval

from .._data.validation import as_widths, refuse
from .images import IMAGE_SHAPE_CONSTRAINT

CONVOLUTION_CONSTRAINTS: dict[str, list[Any]] = {
    "image_shape": IMAGE_SHAPE_CONSTRAINT,
    "hidden_channels": ["array-like", Interval(Integral, 1, None, closed="left")],
    "kernel_size": [Interval(Integral, 1, None, closed="left")],
}


def check_convolutions(estimator: Any) -> None:
    """Raise the error of parameters of convolutions that do not fit each other."""
    channels = list(as_widths(estimator.hidden_channels))
    if not channels or not all(
        isinstance(number, Integral)
        and not isinstance(number, bool)
        and int(number) > 0
        for number in channels
    ):
        refuse(
            estimator,
            "hidden_channels",
            "a positive integer or a sequence of them, such as (16, 32)",
        )
    if estimator.kernel_size % 2 == 0:
        refuse(estimator, "kernel_size", "odd")


def describe_convolutions(estimator: Any) -> dict[str, Any]:
    """Return the arguments of a network of images that the parameters describe."""
    estimator._check_image_shape()
    return {
        "image_shape": estimator.image_shape_,
        "hidden_channels": tuple(map(int, as_widths(estimator.hidden_channels))),
        "kernel_size": int(estimator.kernel_size),
        "activation": str(estimator.activation),
        "linear_skip": bool(estimator.linear_skip),
    }
