"""Rules that decide which activations of a code reach the decoder."""

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32, running_momentum

# The running threshold forgets a batch after about twenty: long against the noise of
# one batch, short against a fit.
_MOMENTUM = 0.05


def lifetime_threshold(
    code: Tensor, rate: float, sample_weight: Tensor | None = None
) -> Tensor:
    """Find the activation each unit must reach to be among its strongest.

    Parameters
    ----------
    code : Tensor of shape (n_samples, n_components)
        Activations of a batch.
    rate : float
        Share of the batch, by weight, in which a unit may be active.
    sample_weight : Tensor of shape (n_samples,), optional
        Weights of the rows: a row of weight two counts as two equal rows.

    Returns
    -------
    Tensor of shape (n_components,)
        The smallest activation that is still kept.
    """
    n_samples = code.shape[0]
    if sample_weight is None:
        kept = max(1, math.ceil(rate * n_samples - 1e-6))
        return code.topk(kept, dim=0, sorted=True).values[-1]
    ordered, order = code.sort(dim=0, descending=True)
    cumulative = sample_weight[order].cumsum(dim=0)
    needed = (rate - 1e-6 / n_samples) * sample_weight.sum()
    position = (cumulative < needed).sum(dim=0).clamp(max=n_samples - 1)
    return ordered.gather(0, position.unsqueeze(0)).squeeze(0)


class LifetimeSparsity(nn.Module):
    """Let each unit speak for its strongest rows only (winner take all) [1]_.

    While training, a unit keeps the share `rate` of a batch in which it is most
    active. Since that depends on the whole batch, reading uses instead each unit's
    running mean of the thresholds met in training: a row's result is then its own.

    Parameters
    ----------
    n_components : int
        Number of units.
    rate : float
        Share of the rows for which a unit may be active.

    References
    ----------
    .. [1] Makhzani and Frey, "Winner-take-all autoencoders", NeurIPS 2015.
    """

    threshold: Tensor
    n_batches: Tensor

    def __init__(self, n_components: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("threshold", torch.zeros(n_components, **CPU_FLOAT32))
        self.register_buffer("n_batches", torch.zeros((), **CPU_FLOAT32))

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Zero the activations of `code`, (n, n_components), under the threshold."""
        if not self.training:
            return code * (code >= self.threshold)
        threshold = lifetime_threshold(code.detach(), self.rate, sample_weight)
        self.n_batches += 1
        momentum = running_momentum(self.n_batches, _MOMENTUM)
        self.threshold.lerp_(threshold, momentum)
        return code * (code >= threshold)


class DenseCode(nn.Module):
    """Pass every activation on to the decoder."""

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return `code` as it is."""
        return code
