"""Rows smoothed along their nearest neighbours."""

import numpy as np
import torch
from numpy.typing import NDArray

from .._data.rows import N_SAMPLE, Rows
from .._networks.layers import principal_axes

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
    # A third of the time to import this package, and few fits need it.
    from sklearn.neighbors import NearestNeighbors

    width = rows.matrix.shape[1]
    matrix = torch.cat([batch.cpu() for batch, _ in rows.batches(width)])
    smooth: NDArray[np.float32] = matrix.numpy()
    if len(rows) < 2:
        return smooth
    if width > _N_AXES:
        generator = torch.Generator("cpu").manual_seed(0)
        sample = matrix[rows.spread(N_SAMPLE)]
        matrix = matrix @ principal_axes(sample, _N_AXES, generator).t()
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows) - 1))
    # A row counts itself as its neighbour only where the rows are asked for by value.
    graph = search.fit(matrix.numpy()).kneighbors_graph()
    graph = (graph / search.n_neighbors).astype(np.float32)
    for _ in range(n_steps):
        smooth = graph @ smooth
    return smooth
