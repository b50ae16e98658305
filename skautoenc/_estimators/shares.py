"""Rows of a fit of several processes, validated by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator

from .._about import __version__
from .._data.array_api import to_numpy
from .._data.shared import SharedData
from .._data.validation import check_weights
from .._data.world import World
from .._model.model import Model
from .._persistence.identity import digest, identify

# Parameters that may differ between processes.
_MAY_DIFFER = {"checkpoint", "random_state", "verbose"}


def share_rows(
    estimator: BaseEstimator,
    matrix: Any,
    sample_weight: ArrayLike | None,
    world: World,
    before: Model[Any] | None,
) -> SharedData:
    """Return the rows of one process, if those of all processes fit together.

    Parameters
    ----------
    estimator : BaseEstimator
        The estimator, which has validated the matrix.
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The rows of this process, maybe none.
    sample_weight : array-like of shape (n_rows,) or None
        Their weights.
    world : World
        The processes.
    before : Model or None
        Model to continue from.

    Raises
    ------
    ValueError
        In all processes, if the estimators, columns or data types of two of them
        differ, or if there are too few rows.
    """
    _check_agreement(world, _description(estimator, matrix, before))
    kinds = world.gather((matrix.shape[0], _kind(matrix)))
    n_rows = sum(n for n, _ in kinds)
    if n_rows < 2:
        raise ValueError(f"All processes together have {n_rows} rows, two are needed.")
    known = [kind if n else None for n, kind in kinds]
    _check_agreement(world, {"the type of X": known[world.rank]})
    if not matrix.shape[0]:
        dtype, is_sparse = next(kind for kind in known if kind is not None)
        matrix = np.empty(matrix.shape, dtype=dtype)
        matrix = sparse.csr_matrix(matrix) if is_sparse else matrix
    return SharedData(matrix, _share_weights(sample_weight, matrix, world), world=world)


def _kind(matrix: Any) -> tuple[str, bool]:
    """Return the data type of a matrix, and whether it is sparse."""
    return str(matrix.dtype), sparse.issparse(matrix)


def _check_agreement(world: World, own: Mapping[str, Any]) -> None:
    """Raise a ValueError if descriptions of two processes differ; None is no value."""
    found = world.gather(dict(own))
    for name in own:
        values = [(rank, each[name]) for rank, each in enumerate(found)]
        (first, expected), *others = [v for v in values if v[1] is not None]
        for rank, value in others:
            if value != expected:
                raise ValueError(
                    f"All processes must fit alike, but process {rank} differs from "
                    f"process {first} in {name}: {value} instead of {expected}."
                )


def _share_weights(
    sample_weight: ArrayLike | None, matrix: Any, world: World
) -> NDArray[np.float64] | None:
    """Validate the weights of the rows of one process; some processes may have none."""
    n_rows = matrix.shape[0]
    given = None if sample_weight is None else np.asarray(to_numpy(sample_weight))
    if given is None or given.shape != (n_rows,) or given.any():
        weights = check_weights(sample_weight, matrix) if n_rows else None
    else:
        # Rows of other processes may have weights.
        weights = np.zeros(n_rows)
    # Rows without weights have weight one.
    highest = float(n_rows > 0) if given is None else float(given.max(initial=0))
    found = world.gather((weights is not None, highest))
    if not any(has_weights for has_weights, _ in found):
        return None
    if not 2.0**-500 < max(each for _, each in found) < 2.0**500:
        raise ValueError(
            "The largest sample_weight of all processes must be between 2**-500 and "
            "2**500. Divide the weights by a common factor, or give weight to rows."
        )
    return np.ones(n_rows) if weights is None else weights.astype(np.float64)


def _description(
    estimator: BaseEstimator, matrix: Any, before: Model[Any] | None
) -> dict[str, str]:
    """Describe what must be equal in all processes."""
    names = getattr(estimator, "feature_names_in_", None)
    values = estimator.get_params(deep=False)
    weights = None if before is None else before.network.state()["weights"]
    return {
        "the version of skautoenc": __version__,
        "the version of torch": torch.__version__.partition("+")[0],
        "the class of the estimator": type(estimator).__name__,
        **{
            name: _identify(value)
            for name, value in values.items()
            if name not in _MAY_DIFFER
        },
        "checkpoint": "None" if values.get("checkpoint") is None else "a folder",
        "the number of columns": str(matrix.shape[1]),
        "the names of columns": str(None if names is None else list(map(str, names))),
        "the model to continue from": "None" if weights is None else digest(weights),
    }


def _identify(value: Any) -> str:
    try:
        return identify(value)
    except ValueError:
        # What cannot be identified is not compared.
        return type(value).__name__
