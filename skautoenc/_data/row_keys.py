"""Keys of rows: equal for equal rows, in an order unrelated to their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import TrainingData

Keys = NDArray[np.uint64]


def mix(values: Keys) -> Keys:
    """Scramble 64 bits (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def row_keys(rows: NDArray[Any]) -> Keys:
    """Return a key of 64 bits for each row.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Numbers; a missing value is NaN. The type does not matter, nor the sign of zero.
    """
    # Adding zero turns negative zeros into positive ones.
    values = np.ascontiguousarray(rows, dtype=np.float64) + 0.0
    values[np.isnan(values)] = np.nan
    places = np.arange(1, rows.shape[1] + 1, dtype=np.uint64)
    salts = mix(places * np.uint64(0x9E3779B97F4A7C15))
    mixed = mix(values.view(np.uint64) + salts)  # (n, n_features)
    keys: Keys = mix(mixed.sum(axis=1, dtype=np.uint64))
    return keys


@dataclass(frozen=True)
class DistinctRows:
    """The distinct rows of a data set, in the order of their keys.

    The order does not depend on the order of the data, nor on whether rows are repeated
    or weighted. It is as good as random: the first rows are a fair sample.

    Parameters
    ----------
    data : TrainingData
        The distinct rows, with the sums of their weights.
    keys : ndarray of shape (n_samples,), uint64
        Their keys, ascending.
    """

    data: TrainingData
    keys: Keys

    def __len__(self) -> int:
        return len(self.keys)


def distinct_rows(data: TrainingData) -> DistinctRows:
    """Find the distinct rows of the training data, which is not copied."""
    found: Iterable[Keys] = map(row_keys, data.in_blocks())
    keys, first, inverse = np.unique(
        np.concatenate(list(found)), return_index=True, return_inverse=True
    )
    weights = np.bincount(inverse.ravel(), weights=data.weights).astype(np.float64)
    index = first if data.index is None else data.index[first]
    is_even = bool((weights == weights[0]).all())
    return DistinctRows(
        TrainingData(data.matrix, None if is_even else weights, index), keys
    )
