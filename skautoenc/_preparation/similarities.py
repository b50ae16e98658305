"""Similarities of rows to prototypes: the features of a Gaussian kernel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Added to the diagonal of the similarities of the prototypes to each other, which are
# 1 there: equal prototypes, and rounding.
_JITTER = 1e-3
# Largest share of the mean square of rows that rounding makes of their variance.
_ROUNDING = 1e-10
_BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Similarities:
    """A linear map of the Gaussian similarities of rows to prototypes.

    Parameters
    ----------
    prototypes : Tensor of shape (n_prototypes, n_features)
        Rows to compare with.
    rate : float
        Factor of the squared distance in the exponent of the kernel.
    mean : Tensor of shape (n_prototypes,)
        Subtracted from the similarities.
    forward : Tensor of shape (n_prototypes, n_features_out)
        Matrix that the centred similarities are multiplied by.
    """

    prototypes: Tensor
    rate: float
    mean: Tensor
    forward: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Map rows, (n, n_features), to (n, n_features_out)."""
        kernel = similarities_to(self.prototypes, rows, self.rate)
        return kernel.sub_(self.mean) @ self.forward

    def followed_by(self, matrix: Tensor) -> Similarities:
        """Return similarities whose result is multiplied by a matrix.

        Parameters
        ----------
        matrix : Tensor of shape (n_features_out, any)
            The matrix.
        """
        forward = (self.forward.double() @ matrix.double()).float()
        return Similarities(self.prototypes, self.rate, self.mean, forward)


def similarities_to(prototypes: Tensor, rows: Tensor, rate: float) -> Tensor:
    """Return ``exp(-rate * distance ** 2)``, (n, n_prototypes).

    Parameters
    ----------
    prototypes : Tensor of shape (n_prototypes, n_features)
        Rows to compare with.
    rows : Tensor of shape (n, n_features)
        Rows to compare.
    rate : float
        Factor of the squared distance.
    """
    offsets = -rate * prototypes.square().sum(dim=1)  # (n_prototypes,)
    products = torch.addmm(offsets, rows, prototypes.t(), alpha=2 * rate)
    exponents = products.sub_(rate * rows.square().sum(dim=1, keepdim=True))
    # Rounding can make the square of a small distance negative.
    return exponents.clamp_(max=0).exp_()


def _in_blocks(*values: Tensor) -> list[tuple[Tensor, ...]]:
    return [torch.split(tensor, _BLOCK_ROWS) for tensor in values]


def learn_similarities(
    rows: Tensor, weights: Tensor, prototypes: Tensor
) -> tuple[Similarities, Tensor]:
    """Learn the Nyström map of a Gaussian kernel [1]_.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features), float32
        Training rows. The width of the kernel is the root mean square distance of two
        of them.
    weights : Tensor of shape (n,), float64
        Weights of the rows.
    prototypes : Tensor of shape (n_prototypes, n_features), float32
        Rows to compare with.

    Returns
    -------
    similarities : Similarities
        Products of the results of two rows are about the kernel of the two, up to
        the mean. The map is triangular: from each similarity it removes the part that
        earlier prototypes predict.
    values : Tensor of shape (n, n_prototypes)
        Their results for the training rows.

    References
    ----------
    .. [1] Williams and Seeger, "Using the Nyström method to speed up kernel machines",
       NIPS 2000.
    """
    shares = (weights / weights.sum()).unsqueeze(1)  # (n, 1)
    centre = (shares * rows).sum(dim=0)  # (n_features,)
    variance = sum(
        float((share * (block - centre).square()).sum())
        for block, share in zip(*_in_blocks(rows, shares), strict=True)
    )
    # Rows that differ by rounding only have no distance to set the width by.
    variance = max(variance, _ROUNDING * float(centre.square().sum())) or 1.0
    # The mean square distance of two rows is twice the variance.
    rate = 1 / (2 * 2 * variance)
    kernel = similarities_to(prototypes, prototypes, rate).double()
    identity = torch.eye(len(kernel), dtype=kernel.dtype, device="cpu")
    root = torch.linalg.cholesky(kernel + _JITTER * identity)
    inverse = torch.linalg.solve_triangular(root, identity, upper=False)
    forward = inverse.t().float().contiguous()
    blocks = [
        similarities_to(prototypes, block, rate)
        for block in torch.split(rows, _BLOCK_ROWS)
    ]
    similar = torch.cat(blocks)  # (n, n_prototypes)
    mean = (shares * similar).sum(dim=0).float()
    return Similarities(prototypes, rate, mean, forward), (similar - mean) @ forward
