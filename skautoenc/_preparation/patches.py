"""Codes of all patches of images, and their means. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pad_edges(images: Tensor, padding: tuple[int, int]) -> Tensor:
    """Pad images, (n, height, width, n_channels), by repeating their edges.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    padding : tuple of int
        Number of repetitions on each side, vertically and horizontally.
    """
    for dim, n_repeats in zip((1, 2), padding, strict=True):
        if n_repeats:
            length = images.shape[dim]
            positions = torch.arange(
                -n_repeats, length + n_repeats, device=images.device
            )
            images = images.index_select(dim, positions.clamp(0, length - 1))
    return images


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
        A view where possible. A patch is flattened in the order of an image's row.
    """
    return view_patches(images, size).flatten(3)


def view_patches(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a view of images as all their patches, which takes no memory.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    size : tuple of int
        Height and width of a patch.

    Returns
    -------
    Tensor of shape (n, n_rows, n_columns, height, width, n_channels)
        A view.
    """
    # (n, n_rows, n_columns, n_channels, height, width)
    patches = images.unfold(1, size[0], 1).unfold(2, size[1], 1)
    return patches.permute(0, 1, 2, 4, 5, 3)


def normalize_patches(patches: Tensor, regularization: float) -> Tensor:
    """Give each patch mean zero and similar contrast [1]_.

    Parameters
    ----------
    patches : Tensor of shape (..., n_values)
        Patches.
    regularization : float
        Combined with the root mean square of the centred patch, as the root of the sum
        of squares, to give its divisor.

    References
    ----------
    .. [1] Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised
       feature learning", AISTATS 2011.
    """
    centred = patches - patches.mean(dim=-1, keepdim=True)
    square = centred.square().mean(dim=-1, keepdim=True)  # (..., 1)
    return centred / (square + regularization**2).sqrt()


def local_contrast(
    images: Tensor, size: tuple[int, int], regularization: float
) -> Tensor:
    """Return the divisor of each patch in `normalize_patches`.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images whose values are not large compared to their standard deviation.
    size : tuple of int
        Height and width of a patch.
    regularization : float
        See `normalize_patches`.

    Returns
    -------
    Tensor of shape (n, n_rows, n_columns, 1)
        One divisor for each position of a patch.
    """
    # Moving averages over images read each value once, not once for each patch that
    # contains it.
    moments = torch.stack([images.mean(dim=3), images.square().mean(dim=3)], dim=1)
    # (n, n_rows, n_columns) each
    mean, square = nn.functional.avg_pool2d(moments, size, stride=1).unbind(dim=1)
    variance = (square - mean.square_()).clamp_(min=0)
    return variance.add_(regularization**2).sqrt_().unsqueeze(3)


class PatchEncoder:
    """Rectified affine codes of all patches of images.

    Parameters
    ----------
    weight : Tensor of shape (n_values, n_units)
        Matrix that patches, which may be normalised first, are multiplied by.
    bias : Tensor of shape (n_units,)
        Added to the product.
    size : tuple of int
        Height and width of a patch.
    regularization : float or None
        Parameter of `normalize_patches`; None if patches are not normalised.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        size: tuple[int, int],
        regularization: float | None,
    ) -> None:
        # The product is the same whether the mean is subtracted from each patch or from
        # the weights of each unit.
        self.weight = weight if regularization is None else weight - weight.mean(dim=0)
        self.bias = bias
        self.size = size
        self.regularization = regularization

    def __call__(self, images: Tensor) -> Tensor:
        """Map (n, height, width, n_channels) to (n, n_rows, n_columns, n_units)."""
        if self.regularization is not None:
            # This only reduces the rounding errors of squares.
            images = images - images.mean(dim=(1, 2, 3), keepdim=True)
        patches = cut_patches(images, self.size)  # (n, n_rows, n_columns, n_values)
        if self.regularization is not None:
            # Patches are divided, not their codes, because patches are narrower.
            patches = patches / local_contrast(images, self.size, self.regularization)
        # (n * n_rows * n_columns, n_units)
        codes = torch.addmm(self.bias, patches.flatten(0, 2), self.weight)
        return codes.view(*patches.shape[:3], -1).relu_()


def pooling_windows(length: int, n_cells: int) -> Tensor:
    """Return the weights of averages over cells, (n_cells, length).

    Weights decrease linearly from the centre of a cell to the centres of its
    neighbours. A small shift of an image therefore changes the averages only a little.
    """
    cell = length / n_cells
    positions = torch.arange(length, dtype=torch.float64, device="cpu")
    centres = (torch.arange(n_cells, dtype=torch.float64, device="cpu") + 0.5) * cell
    distances = (positions + 0.5 - centres.unsqueeze(1)).abs()  # (n_cells, length)
    windows = (1 - distances / cell).clamp(min=0)
    return (windows / windows.sum(dim=1, keepdim=True)).float()


def pool(codes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average codes over a grid of cells.

    Two small matrix products are several times faster than means of slices.

    Parameters
    ----------
    codes : Tensor of shape (n, n_rows, n_columns, n_units)
        Codes of all patches.
    grid : tuple of int
        Number of cells, vertically and horizontally.

    Returns
    -------
    Tensor of shape (n, n_cells_down, n_cells_across, n_units)
        The means.
    """
    n, n_rows, n_columns, n_units = codes.shape
    down = pooling_windows(n_rows, grid[0]).to(codes.device)
    across = pooling_windows(n_columns, grid[1]).to(codes.device)
    # (n, n_cells_down, n_columns * n_units)
    stripes = down @ codes.reshape(n, n_rows, n_columns * n_units)
    return across @ stripes.view(n, grid[0], n_columns, n_units)
