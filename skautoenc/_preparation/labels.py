"""Labels of few rows, spread to rows that are near them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from .._data.labels import Coding
from .._data.rows import N_SAMPLE, Rows
from .neighbors import leading_axes

# Share of a label that a row takes from its neighbours, and number of repetitions.
# After these, further ones change nothing.
_SHARE = 0.9
_N_STEPS = 60


def spread_labels(
    rows: Rows, labels: NDArray[np.float64] | None, *, coding: Coding, n_neighbors: int
) -> NDArray[np.float32]:
    """Give rows without a label those of their nearest neighbours.

    Labels move along the graph of nearest neighbours [1]_, as in
    :class:`~sklearn.semi_supervised.LabelSpreading`.

    Parameters
    ----------
    rows : Rows
        The rows, as the network gets them.
    labels : ndarray of shape (n_samples,)
        Positions of classes, or numbers; NaN for rows without a label.
    coding : Coding
        The coding of the labels.
    n_neighbors : int
        Number of neighbours of each row; 0 leaves rows without a label.

    Returns
    -------
    ndarray of shape (n_samples, coding.width + 1), float32
        Shares of the classes, or the standardised number, and the certainty: one
        where the label is given, zero where no label arrives; their mean is one.

    References
    ----------
    .. [1] Zhou et al., "Learning with local and global consistency", NeurIPS 2003.
    """
    assert labels is not None
    known = np.isfinite(labels)
    given = code_labels(labels, coding)
    weights = rows.weights(slice(None))
    own = None if weights is None else weights.cpu().double().numpy()
    found, certainty = given, known.astype(float)
    n_neighbors = min(n_neighbors, len(rows) - 1)
    if n_neighbors > 0 and not known.all():
        shares = known.astype(float) if own is None else known * own
        found, certainty = _spread(
            _graph(rows, n_neighbors), given * shares[:, None], shares, coding
        )
        found = np.where(known[:, None], given, found)
        certainty = np.where(known, 1.0, certainty)
    average = np.average(certainty, weights=own)
    return np.column_stack([found, certainty / average]).astype(np.float32)


def code_labels(labels: NDArray[np.float64], coding: Coding) -> NDArray[np.float64]:
    """Return one column per class, or standardised numbers; zeros without a label."""
    known = np.isfinite(labels)
    coded = np.zeros((len(labels), coding.width))
    if coding.n_classes:
        coded[known, labels[known].astype(int)] = 1
    else:
        coded[known, 0] = (labels[known] - coding.mean) / coding.scale
    return coded


def _graph(rows: Rows, n_neighbors: int) -> sparse.csr_matrix:
    """Return similarities of nearest neighbours, scaled to a norm of one at most."""
    # This import takes a third of the time to import the package, and few fits need it.
    from sklearn.neighbors import NearestNeighbors

    n_rows, width = len(rows), rows.shape[1]
    axes = leading_axes(rows[rows.spread(N_SAMPLE)])
    matrix = torch.cat(
        [(b if axes is None else b @ axes.t()).cpu() for b, _ in rows.batches(width)]
    ).numpy()
    search = NearestNeighbors(n_neighbors=n_neighbors).fit(matrix)
    distances, neighbors = search.kneighbors()  # (n_rows, n_neighbors) each
    # Distances are measured in those to the last neighbours of both rows.
    radius = np.maximum(distances[:, -1], np.finfo(np.float32).tiny)
    scales = radius[:, None] * radius[neighbors]
    similarities = np.exp(-(distances**2) / scales)
    graph = sparse.csr_matrix(
        (
            similarities.ravel(),
            (np.repeat(np.arange(n_rows), n_neighbors), neighbors.ravel()),
        ),
        (n_rows, n_rows),
    )
    graph = graph.maximum(graph.T)
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    inverse = sparse.diags(1 / np.sqrt(np.maximum(degrees, 1e-300)))
    return (inverse @ graph @ inverse).tocsr()


def _spread(
    graph: sparse.csr_matrix,
    given: NDArray[np.float64],
    shares: NDArray[np.float64],
    coding: Coding,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labels and certainties that arrive at each row."""
    if coding.n_classes:
        # Each class has the same amount to spread: rows of a rare one are as near.
        start = given / np.maximum(given.sum(axis=0), 1e-300)
    else:
        numbers = np.divide(given[:, 0], shares, where=shares > 0, out=0 * shares)
        start = shares[:, None] * np.stack(
            [np.ones_like(numbers), numbers, numbers**2], axis=1
        )
    arrived = start
    for _ in range(_N_STEPS):
        arrived = _SHARE * (graph @ arrived) + (1 - _SHARE) * start
    total = arrived.sum(axis=1) if coding.n_classes else arrived[:, 0]
    reached = total > 1e-12 * total.max()
    means = arrived / np.where(reached, total, 1)[:, None]
    if coding.n_classes:
        logs = np.log(np.maximum(means, 1e-300))
        entropy = -(means * logs).sum(axis=1) / np.log(coding.n_classes)
        return means, np.clip(1 - entropy, 0, 1) * reached
    variance = means[:, 2] - means[:, 1] ** 2
    return means[:, 1:2] * reached[:, None], np.clip(1 - variance, 0, 1) * reached
