"""Linear maps that give all directions of the data the same variance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._data.rows import RowMap, Rows


@dataclass(frozen=True)
class Whitening:
    """A linear map of rows or codes, and its inverse.

    Parameters
    ----------
    matrix : Tensor of shape (width, width)
        Centred rows are multiplied by it.
    inverse_matrix : Tensor of shape (width, width)
        Its inverse.
    mean : Tensor of shape (width,) or None
        Subtracted first; None for rows that are already centred.
    """

    matrix: Tensor
    inverse_matrix: Tensor
    mean: Tensor | None = None

    def to(self, device: torch.device) -> Whitening:
        """Return a copy on another device."""
        return Whitening(
            self.matrix.to(device),
            self.inverse_matrix.to(device),
            None if self.mean is None else self.mean.to(device),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Whiten rows, (n, width)."""
        centred = rows if self.mean is None else rows - self.mean
        return centred @ self.matrix

    def inverse(self, rows: Tensor) -> Tensor:
        """Undo the whitening of rows, (n, width)."""
        centred = rows @ self.inverse_matrix
        return centred if self.mean is None else centred + self.mean


def moments(rows: Rows, values: RowMap, width: int) -> tuple[Tensor, Tensor]:
    """Return the mean and covariance of a function of the rows.

    Parameters
    ----------
    rows : Rows
        Training rows.
    values : callable
        Maps rows, (n, n_features), to values, (n, n_values).
    width : int
        Maximum number of values per row that `values` needs at a time.

    Returns
    -------
    mean : Tensor of shape (n_values,), float64
        Weighted mean, on the CPU.
    covariance : Tensor of shape (n_values, n_values), float64
        Weighted covariance, on the CPU.
    """
    total = products = torch.zeros((), dtype=torch.float64, device="cpu")
    for batch, weights in rows.batches(width):
        computed = values(batch).cpu().double()  # (n, n_values)
        weighted = (
            computed if weights is None else computed * weights.cpu().unsqueeze(1)
        )
        total = total + weighted.sum(dim=0)
        products = products + weighted.t() @ computed
    total, products = rows.add_up(total, products)
    mean = total / rows.total_weight
    return mean, products / rows.total_weight - torch.outer(mean, mean)


def learn_whitening(rows: Rows, kind: str, regularization: float) -> Whitening:
    """Learn the map that gives all directions the same or similar variance.

    Parameters
    ----------
    rows : Rows
        Standardised training rows.
    kind : {"zca", "pca"}
        "zca" keeps the whitened rows as close as possible to the rows [1]_; "pca"
        rotates them to the principal axes, in descending order of variance.
    regularization : float
        Added to the variance of each direction, as a share of the mean variance:
        directions of low variance are mostly noise.

    Returns
    -------
    Whitening
        Scaled so that the mean variance of the whitened columns is one.

    References
    ----------
    .. [1] Bell and Sejnowski, "The independent components of natural scenes are edge
       filters", Vision Research 37, 1997.
    """
    _, covariance = moments(rows, lambda batch: batch, rows.matrix.shape[1])
    variances, axes = torch.linalg.eigh(covariance)
    variances, axes = variances.flip(0).clamp(min=0), axes.flip(1)
    if variances[0] == 0:
        identity = torch.eye(len(axes), device="cpu")
        return Whitening(identity, identity)
    # The floor keeps both maps finite for directions without variance.
    floor = torch.finfo(torch.float32).eps * variances[0]
    spread = (variances + regularization * variances.mean() + floor).sqrt()
    spread = spread * (variances / spread.square()).mean().sqrt()
    forward, inverse = axes / spread, (axes * spread).t()  # (width, width) each
    if kind == "zca":
        forward, inverse = forward @ axes.t(), axes @ inverse
    return Whitening(forward.float().contiguous(), inverse.float().contiguous())


@torch.no_grad()
def learn_code_whitening(rows: Rows, encode: RowMap, width: int) -> Whitening:
    """Learn the map that makes the components of a code uncorrelated, of variance one.

    The map is triangular (Cholesky): the first whitened components depend on the first
    components only, so an order of the components is kept.

    Parameters
    ----------
    rows : Rows
        Training rows.
    encode : callable
        Maps the rows to codes, (n, n_components).
    width : int
        Maximum number of activations of a layer.

    Returns
    -------
    Whitening
        The map. Directions of far less than a thousandth of the mean variance stay
        small: their variance is mostly rounding, or chance if there are fewer rows than
        components.
    """
    mean, covariance = moments(rows, encode, width)
    covariance.diagonal().add_(1e-3 * float(covariance.diagonal().mean()) or 1.0)
    root = torch.linalg.cholesky(covariance)
    identity = torch.eye(len(root), dtype=root.dtype, device="cpu")
    forward = torch.linalg.solve_triangular(root, identity, upper=False).t()
    return Whitening(
        forward.float().contiguous(), root.t().float().contiguous(), mean.float()
    )
