"""Linear maps that make the directions of the data equally strong."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import Rows, blocks


@dataclass(frozen=True)
class Whitening:
    """A linear map of standardised rows, and its inverse.

    Parameters
    ----------
    forward : Tensor of shape (n_features, n_features)
        ``rows @ forward`` are whitened.
    inverse : Tensor of shape (n_features, n_features)
        ``whitened @ inverse`` are the rows again.
    """

    forward: Tensor
    inverse: Tensor


def covariance(rows: Rows) -> Tensor:
    """Return the second moments of standardised rows, (n_features, n_features)."""
    total = torch.zeros((), dtype=torch.float64, device="cpu")
    for block in blocks(len(rows), rows.matrix.shape[1]):
        batch = rows[block].cpu().double()
        weights = rows.weights(block)
        weighted = batch if weights is None else batch * weights.cpu().unsqueeze(1)
        total = total + weighted.t() @ batch
    return total / len(rows)


def learn_whitening(rows: Rows, kind: str, regularization: float) -> Whitening:
    """Find the map that gives all directions the same variance, or nearly.

    Parameters
    ----------
    rows : Rows
        Standardised training rows.
    kind : {"zca", "pca"}
        Whether the whitened rows stay as close to the rows as can be [1]_, or are
        turned to the principal axes, strongest first.
    regularization : float
        Added to the variance of each direction, as a share of their mean: weak
        directions are mostly noise.

    Returns
    -------
    Whitening
        Scaled so that the mean variance of the whitened columns is one.

    References
    ----------
    .. [1] Bell and Sejnowski, "The independent components of natural scenes are edge
       filters", Vision Research 37, 1997.
    """
    variances, axes = torch.linalg.eigh(covariance(rows))
    variances, axes = variances.flip(0).clamp(min=0), axes.flip(1)
    if variances[0] == 0:
        same = torch.eye(len(axes), device="cpu")
        return Whitening(same, same)
    # Directions without any variance are to stay finite both ways.
    floor = torch.finfo(torch.float32).eps * variances[0]
    spread = (variances + regularization * variances.mean() + floor).sqrt()
    spread = spread * (variances / spread.square()).mean().sqrt()
    forward, inverse = axes / spread, (axes * spread).t()
    if kind == "zca":
        forward, inverse = forward @ axes.t(), axes @ inverse
    return Whitening(forward.float().contiguous(), inverse.float().contiguous())
