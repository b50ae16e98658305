"""What a fit comes from, so that it can be told from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._data.rows import TrainingData
from .._version import __version__
from .identity import digest, identify

# These change nothing that is learnt.
_WITHOUT_EFFECT = {"checkpoint", "verbose"}
_OURS = __name__.partition(".")[0]
# The rows of a table are encoded already, by these.
_IN_THE_ROWS = {"_table", "_schema"}


def describe_fit(
    estimator: BaseEstimator,
    data: TrainingData,
    *,
    columns: Any = None,
    first_fit: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Describe all that decides what a fit comes to, but for a seed that is drawn.

    Parameters
    ----------
    estimator : BaseEstimator
        Its parameters.
    data : TrainingData
        The rows; all of them are read once.
    columns : object, default=None
        What tells the columns of a table from others that give the same rows.
    first_fit : mapping, optional
        The weights and attributes that a warm start goes on from.

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
        "hash of the first fit": _of_the_first_fit(first_fit),
        "hash of columns": "None" if columns is None else digest(columns),
        "skautoenc": __version__,
        "torch": torch.__version__,
    }


def _parameters(estimator: BaseEstimator) -> dict[str, str]:
    """Describe the parameters, and the class if it is one of the user's."""
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
    """Identify what a warm start takes over."""
    if learnt is None:
        return "None"
    return digest({name: learnt[name] for name in learnt if name not in _IN_THE_ROWS})


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.require(array, requirements="C").data)
    return found.hexdigest()[:16]
