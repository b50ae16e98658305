"""Label-free augmentation of images. Torch only."""

import torch
from torch import Tensor


def shift(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to `max_shift` places down or up and across.

    What comes in from outside repeats the edge.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, n_channels)
        Images.
    max_shift : int
        All distances up to it are equally likely.
    generator : torch.Generator
        Draws the distances.

    Returns
    -------
    Tensor of the same shape
        A copy.
    """
    n, height, width, _ = images.shape
    device = images.device
    down, across = torch.randint(
        -max_shift, max_shift + 1, (2, n, 1), generator=generator, device=device
    )
    rows = (torch.arange(height, device=device) + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + across).clamp(0, width - 1)
    image = torch.arange(n, device=device).view(n, 1, 1)
    return images[image, rows.unsqueeze(2), columns.unsqueeze(1)]
