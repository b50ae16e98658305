"""Input noise for denoising training. Torch only."""

import torch
from torch import Tensor


class MaskingNoise:
    """Set entries to zero, which is the mean of a standardised column [1]_.

    Parameters
    ----------
    rate : float
        Probability that an entry is masked.

    References
    ----------
    .. [1] Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a masked copy of `batch`, of any shape."""
        keep = torch.empty_like(batch).bernoulli_(1 - self.rate, generator=generator)
        return batch * keep
