"""Descriptions of the inputs of fits, which identify them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._about import __version__
from .._data.rows import TrainingData
from .identity import digest, identify

# These parameters do not affect the result.
_WITHOUT_EFFECT = {"checkpoint", "verbose"}
_OURS = __name__.partition(".")[0]
# The encoded rows already depend on these.
_IN_THE_ROWS = {"_table", "_schema"}


def describe_fit(
    estimator: BaseEstimator,
    data: TrainingData,
    *,
    columns: Any = None,
    first_fit: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Describe all that determines the result of a fit, except a drawn seed.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator with its parameters.
    data : TrainingData
        The rows, which are read once.
    columns : object, default=None
        What distinguishes the columns of a table from others with equal rows.
    first_fit : mapping, optional
        Weights and attributes that a warm start begins with.

    Returns
    -------
    dict of str
        The class of the estimator under "class", and short texts.

    Raises
    ------
    ValueError
        If a parameter holds a value that cannot be identified.
    """
    weights = () if data.weights is None else (data.weights,)
    labels = {} if data.labels is None else {"hash of y": _digest([data.labels])}
    described = {
        "class": type(estimator).__name__,
        **_parameters(estimator),
        "shape of X": str((data.n_total, data.matrix.shape[1])),
        "shape of an image": str(getattr(estimator, "image_shape_", None)),
        "type of X": str(data.matrix.dtype),
        "rows shuffled at a time": str(data.window),
        "hash of X": _digest(data.in_blocks()),
        "hash of sample_weight": _digest(weights),
        **labels,
        "hash of the first fit": _of_the_first_fit(first_fit),
        "hash of columns": "None" if columns is None else digest(columns),
        "skautoenc": __version__,
        "torch": torch.__version__,
    }
    return data.description(described)


def _parameters(estimator: BaseEstimator) -> dict[str, str]:
    """Describe the parameters, and the class of the estimator if it is a user's."""
    kind = type(estimator)
    values = estimator.get_params(deep=False)
    if kind.__module__.partition(".")[0] != _OURS:
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


def _of_the_first_fit(learnt: Mapping[str, Any] | None) -> str:
    """Identify the weights and attributes that a warm start begins with."""
    if learnt is None:
        return "None"
    return digest({name: learnt[name] for name in learnt if name not in _IN_THE_ROWS})


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.require(array, requirements="C").data)
    return found.hexdigest()[:16]
