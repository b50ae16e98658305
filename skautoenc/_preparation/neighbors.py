"""Rows smoothed along their nearest neighbours."""

import numpy as np
import torch
from numpy.typing import NDArray

from .._data.rows import N_SAMPLE, Rows
from .._networks.layers import principal_axes

# Distances between images are nearly the same in the leading principal axes, and the
# search for neighbours is several times faster there.
_N_AXES = 64


def diffuse(rows: Rows, n_neighbors: int, n_steps: int) -> NDArray[np.float32]:
    """Replace each row by the mean of its nearest other rows, several times.

    This is diffusion on the graph of nearest neighbours. Differences within a group of
    rows vanish, and differences between groups remain [1]_.

    Parameters
    ----------
    rows : Rows
        The rows, as the network gets them.
    n_neighbors : int
        Number of rows to average, at most all others.
    n_steps : int
        Number of repetitions.

    Returns
    -------
    ndarray of shape (n_samples, n_features), float32
        The smoothed rows.

    References
    ----------
    .. [1] Coifman and Lafon, "Diffusion maps", Applied and Computational Harmonic
       Analysis 21, 2006.
    """
    # This import takes a third of the time to import the package, and few fits need it.
    from sklearn.neighbors import NearestNeighbors

    width = rows.matrix.shape[1]
    matrix = torch.cat([batch.cpu() for batch, _ in rows.batches(width)])
    smooth: NDArray[np.float32] = matrix.numpy()
    if len(rows) < 2:
        return smooth
    axes = leading_axes(matrix[rows.spread(N_SAMPLE)])
    if axes is not None:
        matrix = matrix @ axes.t()  # (n_samples, _N_AXES)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows) - 1))
    # Without an argument, `kneighbors_graph` does not count a row as its own neighbour.
    graph = search.fit(matrix.numpy()).kneighbors_graph()
    graph = (graph / search.n_neighbors).astype(np.float32)
    for _ in range(n_steps):
        smooth = graph @ smooth
    return smooth


def leading_axes(sample: torch.Tensor) -> torch.Tensor | None:
    """Return the axes that neighbours are searched along, (_N_AXES, n_features).

    None for rows that have no more columns than that.
    """
    if sample.shape[1] <= _N_AXES:
        return None
    generator = torch.Generator("cpu").manual_seed(0)
    return principal_axes(sample, _N_AXES, generator)
