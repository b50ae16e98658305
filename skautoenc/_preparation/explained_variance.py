"""How many principal components explain a share of the variance."""

from __future__ import annotations

import numpy as np

from .._data.rows import N_SAMPLE, TrainingData

# Values of the sample at once: 64 MiB of float64.
_MOST_VALUES = 2**23
_FEWEST_ROWS = 256


def count_components(data: TrainingData, share: float) -> int:
    """Return how many principal components explain more than `share` of the variance.

    As in :class:`sklearn.decomposition.PCA`, up to the sample: at most 4,096 rows, at
    equal distances.
    """
    n_features = data.shape[1]
    n_rows = min(N_SAMPLE, max(_MOST_VALUES // n_features, _FEWEST_ROWS), data.n_total)
    found, given = data.sample(n_rows)
    rows = found.astype(np.float64)
    weights = np.ones(n_rows) if given is None else given
    # Values whose squares overflow have the same shares as smaller ones.
    rows -= np.average(rows, axis=0, weights=weights)
    rows /= np.abs(rows).max() or 1.0
    rows *= np.sqrt(weights / weights.max())[:, np.newaxis]
    gram = rows @ rows.T if n_rows < n_features else rows.T @ rows
    variances = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
    total = variances.sum()
    if total == 0:
        return 1
    reached = np.cumsum(variances) / total
    return min(int(np.searchsorted(reached, share, side="right")) + 1, len(reached))
