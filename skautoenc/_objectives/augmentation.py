"""Augmentation of images without labels. Torch only."""

import torch
from torch import Tensor


def shift(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `max_shift` pixels, vertically and horizontally.

    Pixels from outside the image repeat its edge.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    max_shift : int
        Maximum shift. All shifts up to it have the same probability.
    generator : torch.Generator
        Draws the shifts.

    Returns
    -------
    Tensor of the same shape
        A shifted copy.
    """
    n, height, width, _ = images.shape
    device = images.device
    down, across = torch.randint(
        -max_shift, max_shift + 1, (2, n, 1), generator=generator, device=device
    )  # (n, 1) each
    rows = (torch.arange(height, device=device) + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + across).clamp(0, width - 1)
    image = torch.arange(n, device=device).view(n, 1, 1)
    # (n, 1, 1), (n, height, 1) and (n, 1, width) select (n, height, width, n_channels).
    return images[image, rows.unsqueeze(2), columns.unsqueeze(1)]
