"""Nearest rows, by scikit-learn."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from .training import Rows, moments

# Distances between images hardly change beyond the leading axes, and finding neighbours
# in them is several times faster.
_N_AXES = 64


def nearest_rows(rows: Rows, n_neighbors: int) -> NDArray[np.int64]:
    """Find each row's nearest other rows, by their leading principal components.

    Parameters
    ----------
    rows : Rows
        The rows, as the network sees them.
    n_neighbors : int
        How many to find; fewer where there are not as many.

    Returns
    -------
    ndarray of shape (n_samples, n_neighbors)
        Their numbers.
    """
    width = rows.matrix.shape[1]
    _, covariance = moments(rows, lambda batch: batch, width)
    axes = torch.linalg.eigh(covariance).eigenvectors[:, -_N_AXES:].float()
    axes = axes.to(rows.device)
    projected = [(batch @ axes).cpu().numpy() for batch, _ in rows.batches(width)]
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows) - 1))
    found: NDArray[np.int64] = search.fit(np.concatenate(projected)).kneighbors(
        return_distance=False
    )
    return found
