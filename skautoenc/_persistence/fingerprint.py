"""What a fit comes from, so that it can be told from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from numbers import Number
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._data.rows import TrainingData
from .._networks.autoencoder import Autoencoder
from .._version import __version__

# These change nothing that is learnt.
_WITHOUT_EFFECT = {"checkpoint", "verbose"}


def describe_fit(
    estimator: BaseEstimator, data: TrainingData, network: Autoencoder | None
) -> dict[str, str]:
    """Describe all that decides what a fit comes to, but for a seed that is drawn.

    Parameters
    ----------
    estimator : BaseEstimator
        Its parameters.
    data : TrainingData
        The rows; all of them are read once.
    network : Autoencoder or None
        The network that a warm start begins with.

    Returns
    -------
    dict of str
        Its class under "class", and short texts.
    """
    weights = () if data.weights is None else (data.weights,)
    start = () if network is None else network.state()["weights"].values()
    return {
        "class": type(estimator).__name__,
        **{
            name: _as_text(value)
            for name, value in estimator.get_params(deep=False).items()
            if name not in _WITHOUT_EFFECT
        },
        "shape of X": str((len(data), data.matrix.shape[1])),
        "shape of an image": str(getattr(estimator, "image_shape_", None)),
        "type of X": str(data.matrix.dtype),
        "rows shuffled at a time": str(data.window),
        "hash of X": _digest(data.in_blocks()),
        "hash of sample_weight": _digest(weights),
        "hash of the first weights": _digest(start),
        "skautoenc": __version__,
        "torch": torch.__version__,
    }


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, str | bool | Number):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_as_text, value))})"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return str(joblib.hash(value))


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.require(array, requirements="C").data)
    return found.hexdigest()[:16]
