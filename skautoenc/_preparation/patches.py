"""Codes of all patches of images, and their averages. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pad_edges(images: Tensor, padding: tuple[int, int]) -> Tensor:
    """Repeat the edges of images, (n, height, width, n_channels), outwards.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    padding : tuple of int
        How often on either side, down and across.
    """
    for dim, n_repeats in zip((1, 2), padding, strict=True):
        if n_repeats:
            length = images.shape[dim]
            places = torch.arange(-n_repeats, length + n_repeats, device=images.device)
            images = images.index_select(dim, places.clamp(0, length - 1))
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
        A view where possible; each patch in the order of its own rows.
    """
    return view_patches(images, size).flatten(3)


def view_patches(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Look at images as all their patches, which takes no memory.

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
    patches = images.unfold(1, size[0], 1).unfold(2, size[1], 1)
    return patches.permute(0, 1, 2, 4, 5, 3)


def normalize_patches(patches: Tensor, regularization: float) -> Tensor:
    """Give each patch mean zero and about one contrast [1]_.

    Parameters
    ----------
    patches : Tensor of shape (..., n_values)
        Patches.
    regularization : float
        Added in quadrature to the root mean square of a centred patch, by which it is
        divided.

    References
    ----------
    .. [1] Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised
       feature learning", AISTATS 2011.
    """
    centred = patches - patches.mean(dim=-1, keepdim=True)
    square = centred.square().mean(dim=-1, keepdim=True)
    return centred / (square + regularization**2).sqrt()


def local_contrast(
    images: Tensor, size: tuple[int, int], regularization: float
) -> Tensor:
    """Return what `normalize_patches` divides each patch by.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images whose values are not large against their spread.
    size : tuple of int
        Height and width of a patch.
    regularization : float
        See `normalize_patches`.

    Returns
    -------
    Tensor of shape (n, n_rows, n_columns, 1)
        For each place of a patch.
    """
    # Over images, not over patches: each value is read once, and not for all patches
    # that it is in.
    moments = torch.stack([images.mean(dim=3), images.square().mean(dim=3)], dim=1)
    mean, square = nn.functional.avg_pool2d(moments, size, stride=1).unbind(dim=1)
    variance = (square - mean.square_()).clamp_(min=0)
    return variance.add_(regularization**2).sqrt_().unsqueeze(3)


class PatchEncoder:
    """Rectified affine codes of all patches of images.

    Parameters
    ----------
    weight : Tensor of shape (n_values, n_units)
        What patches, each normalised if asked for, are multiplied by.
    bias : Tensor of shape (n_units,)
        Added to that.
    size : tuple of int
        Height and width of a patch.
    regularization : float or None
        Of `normalize_patches`; None if patches are encoded as they are.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        size: tuple[int, int],
        regularization: float | None,
    ) -> None:
        # Subtracting the mean of a patch from it, or that of a unit's weights from
        # them, is the same.
        self.weight = weight if regularization is None else weight - weight.mean(dim=0)
        self.bias = bias
        self.size = size
        self.regularization = regularization

    def __call__(self, images: Tensor) -> Tensor:
        """Map (n, height, width, n_channels) to (n, n_rows, n_columns, n_units)."""
        if self.regularization is not None:
            # It makes no difference but to the rounding of squares.
            images = images - images.mean(dim=(1, 2, 3), keepdim=True)
        patches = cut_patches(images, self.size)
        if self.regularization is not None:
            # Division of patches, which are narrower than their codes.
            patches = patches / local_contrast(images, self.size, self.regularization)
        codes = torch.addmm(self.bias, patches.flatten(0, 2), self.weight)
        return codes.view(*patches.shape[:3], -1).relu_()


def pooling_windows(length: int, n_cells: int) -> Tensor:
    """Return the weights of means over cells, (n_cells, length).

    They fall linearly from the centre of a cell to that of the next, so that a small
    shift of an image moves a little of a mean to the neighbour, and not all at once.
    """
    cell = length / n_cells
    places = torch.arange(length, dtype=torch.float64, device="cpu")
    centres = (torch.arange(n_cells, dtype=torch.float64, device="cpu") + 0.5) * cell
    distances = (places + 0.5 - centres.unsqueeze(1)).abs()
    windows = (1 - distances / cell).clamp(min=0)
    return (windows / windows.sum(dim=1, keepdim=True)).float()


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
    down = pooling_windows(n_rows, grid[0]).to(codes.device)
    across = pooling_windows(n_columns, grid[1]).to(codes.device)
    stripes = down @ codes.reshape(n, n_rows, n_columns * n_units)
    return across @ stripes.view(n, grid[0], n_columns, n_units)
