"""What a fit comes from, so that it can be told from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._identity import digest, identify
from ._input import TrainingData
from ._version import __version__
from .networks import Autoencoder

# These change nothing that is learnt.
_WITHOUT_EFFECT = {"checkpoint", "verbose"}
# What a fit learns before it trains, and a warm start keeps.
_BEFORE_THE_NETWORK = (
    "mean_",
    "scale_",
    "whitening_",
    "loss_function_",
    "_row_normalization",
    "_loss_constants",
    "_deviances",
)


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

    Raises
    ------
    ValueError
        If a parameter holds something that cannot be told from others.
    """
    weights = () if data.weights is None else (data.weights,)
    return {
        "class": type(estimator).__name__,
        **_parameters(estimator),
        "shape of X": str((len(data), data.matrix.shape[1])),
        "shape of an image": str(getattr(estimator, "image_shape_", None)),
        "type of X": str(data.matrix.dtype),
        "rows shuffled at a time": str(data.window),
        "hash of X": _digest(data.in_blocks()),
        "hash of sample_weight": _digest(weights),
        "hash of the first fit": _of_the_first_fit(estimator, network),
        "hash of columns": _of_columns(estimator),
        "skautoenc": __version__,
        "torch": torch.__version__,
    }


def _parameters(estimator: BaseEstimator) -> dict[str, str]:
    """Describe the parameters, and the class if it is one of the user's."""
    kind = type(estimator)
    values = estimator.get_params(deep=False)
    if kind.__module__.partition(".")[0] != __package__:
        values["class of the estimator"] = kind
    found = {}
    for name, value in values.items():
        if name in _WITHOUT_EFFECT:
            continue
        try:
            found[name] = identify(value)
        except ValueError as error:
            raise ValueError(
                f"The parameter {name!r} of {kind.__name__} {error}"
            ) from error
    return found


def _of_the_first_fit(estimator: BaseEstimator, network: Autoencoder | None) -> str:
    """Identify what a warm start takes over."""
    if network is None:
        return "None"
    learnt = {name: vars(estimator).get(name) for name in _BEFORE_THE_NETWORK}
    return digest([network.state()["weights"], learnt])


def _of_columns(estimator: BaseEstimator) -> str:
    """Identify the columns of a table: parameters may go by their names and kinds."""
    table = getattr(estimator, "_table", None)
    if table is None:
        return "None"
    names = [(column.name, column.kind) for column in table.columns]
    return digest([names, table.layout.n_levels])


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.require(array, requirements="C").data)
    return found.hexdigest()[:16]
