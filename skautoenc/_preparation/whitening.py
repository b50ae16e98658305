"""Linear maps that make the directions of the data equally strong."""

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
        What is centred and multiplied by it is whitened.
    inverse_matrix : Tensor of shape (width, width)
        The way back.
    mean : Tensor of shape (width,) or None
        Subtracted first; None for rows that are centred already.
    """

    matrix: Tensor
    inverse_matrix: Tensor
    mean: Tensor | None = None

    def to(self, device: torch.device) -> Whitening:
        """Return the same on another device."""
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
        """Turn whitened rows back."""
        centred = rows @ self.inverse_matrix
        return centred if self.mean is None else centred + self.mean


def moments(rows: Rows, values: RowMap, width: int) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of a function of the rows.

    Parameters
    ----------
    rows : Rows
        Training rows.
    values : callable
        Maps rows, (n, n_features), to values, (n, n_values).
    width : int
        Most values to a row that `values` makes on its way.

    Returns
    -------
    mean : Tensor of shape (n_values,), float64
        On the CPU, as the covariance.
    covariance : Tensor of shape (n_values, n_values), float64
        By the rows' weights.
    """
    total = products = torch.zeros((), dtype=torch.float64, device="cpu")
    for batch, weights in rows.batches(width):
        found = values(batch).cpu().double()
        weighted = found if weights is None else found * weights.cpu().unsqueeze(1)
        total = total + weighted.sum(dim=0)
        products = products + weighted.t() @ found
    mean = total / rows.total_weight
    return mean, products / rows.total_weight - torch.outer(mean, mean)


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
    _, covariance = moments(rows, lambda batch: batch, rows.matrix.shape[1])
    variances, axes = torch.linalg.eigh(covariance)
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


@torch.no_grad()
def learn_code_whitening(rows: Rows, encode: RowMap, width: int) -> Whitening:
    """Find the map that makes the components of a code uncorrelated, of variance one.

    It is triangular (Cholesky): the first components whitened are those of the first
    components alone, so that an order among them stays.

    Parameters
    ----------
    rows : Rows
        Training rows.
    encode : callable
        Maps them to codes, (n, n_components).
    width : int
        Most activations of a layer.

    Returns
    -------
    Whitening
        The map. Directions of far less than a thousandth of the mean variance stay
        small: what little they vary is mostly rounding, or chance where there are
        fewer rows than components.
    """
    mean, covariance = moments(rows, encode, width)
    covariance.diagonal().add_(1e-3 * float(covariance.diagonal().mean()) or 1.0)
    root = torch.linalg.cholesky(covariance)
    same = torch.eye(len(root), dtype=root.dtype, device="cpu")
    forward = torch.linalg.solve_triangular(root, same, upper=False).t()
    return Whitening(
        forward.float().contiguous(), root.t().float().contiguous(), mean.float()
    )
