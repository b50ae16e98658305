"""A one-layer encoder of patches, applied to whole images. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor


def cut_patches(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut images into all their patches.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    size : tuple of int
        Height and width of a patch.

    Returns
    -------
    Tensor of shape (n, n_rows, n_columns, height * width * n_channels)
        A view where possible; each patch in the order of its own rows.
    """
    patches = images.unfold(1, size[0], 1).unfold(2, size[1], 1)
    return patches.permute(0, 1, 2, 4, 5, 3).flatten(3)


class PatchEncoder:
    """Rectified affine codes of patches, each divided by its own length if asked for.

    Parameters
    ----------
    mean : Tensor of shape (n_values,)
        Subtracted from each patch.
    weight : Tensor of shape (n_values, n_units)
        What centred patches are multiplied by.
    bias : Tensor of shape (n_units,)
        Added after the division.
    regularization : float or None
        Added in quadrature to the root mean square of a centred patch, by which its
        responses are divided; None for no division.
    """

    def __init__(
        self,
        mean: Tensor,
        weight: Tensor,
        bias: Tensor,
        regularization: float | None = None,
    ) -> None:
        self.mean = mean
        self.weight = weight
        self.bias = bias
        self.regularization = regularization
        # Without division the mean can be left to the bias: one pass less.
        self.shift = bias - mean @ weight

    def __call__(self, patches: Tensor) -> Tensor:
        """Map patches, (n, n_values), to codes, (n, n_units)."""
        if self.regularization is None:
            return torch.addmm(self.shift, patches, self.weight).relu_()
        centred = patches - self.mean
        square = centred.square().mean(dim=1, keepdim=True)
        responses = centred @ self.weight
        responses /= (square + self.regularization**2).sqrt_()
        return responses.add_(self.bias).relu_()


def pooling_matrix(length: int, n_cells: int) -> Tensor:
    """Return the weights of means over cells, (n_cells, length).

    The cells cover all places, and overlap where their number does not divide them.
    """
    matrix = torch.zeros(n_cells, length, dtype=torch.float32, device="cpu")
    for i in range(n_cells):
        cell = slice(i * length // n_cells, -(-(i + 1) * length // n_cells))
        matrix[i, cell] = 1 / (cell.stop - cell.start)
    return matrix


def pool(codes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average codes over a grid of cells.

    Two small matrix products, which are several times faster than averaging slices.

    Parameters
    ----------
    codes : Tensor of shape (n, n_rows, n_columns, n_units)
        Codes of all patches.
    grid : tuple of int
        Number of cells, down and across.

    Returns
    -------
    Tensor of shape (n, n_cells_down, n_cells_across, n_units)
        The means.
    """
    n, n_rows, n_columns, n_units = codes.shape
    down = pooling_matrix(n_rows, grid[0]).to(codes.device)
    across = pooling_matrix(n_columns, grid[1]).to(codes.device)
    stripes = down @ codes.reshape(n, n_rows, n_columns * n_units)
    return across @ stripes.view(n, grid[0], n_columns, n_units)
