"""Rows smoothed along their nearest neighbours."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from .training import Rows, moments

# Distances between images hardly change beyond the leading axes, and finding neighbours
# in them is several times faster.
_N_AXES = 64


def diffuse(rows: Rows, n_neighbors: int, n_steps: int) -> NDArray[np.float32]:
    """Replace each row by the mean of its nearest other rows, several times.

    This is diffusion along the graph of nearest neighbours: what varies within a group
    of rows fades, what tells groups apart stays [1]_.

    Parameters
    ----------
    rows : Rows
        The rows, as the network sees them.
    n_neighbors : int
        How many rows to average; fewer where there are not as many.
    n_steps : int
        How often.

    Returns
    -------
    ndarray of shape (n_samples, n_features), float32
        The smoothed rows.

    References
    ----------
    .. [1] Coifman and Lafon, "Diffusion maps", Applied and Computational Harmonic
       Analysis 21, 2006.
    """
    width = rows.matrix.shape[1]
    smooth = np.concatenate([batch.cpu().numpy() for batch, _ in rows.batches(width)])
    _, covariance = moments(rows, lambda batch: batch, width)
    axes = torch.linalg.eigh(covariance).eigenvectors[:, -_N_AXES:].float().numpy()
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows) - 1))
    # A row counts itself as its neighbour only where the rows are asked for by value.
    graph = search.fit(smooth @ axes).kneighbors_graph()
    graph = (graph / search.n_neighbors).astype(np.float32)
    for _ in range(n_steps):
        smooth = graph @ smooth
    return smooth
