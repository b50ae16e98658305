"""What keeps a code sparse: rules and penalties.

A rule decides which activations reach the decoder. A penalty lets all pass, and makes
them cost.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32, running_momentum

# The running threshold forgets a batch after about twenty: long against the noise of
# one batch, short against a fit.
_MOMENTUM = 0.05


def nth_largest(code: Tensor, n: int) -> Tensor:
    """Return the n-th largest value of each column of `code`, (n_rows, n_columns)."""
    if code.device.type != "cpu":
        return code.topk(n, dim=0).values[-1]
    # On the CPU numpy partitions several times faster than torch selects.
    columns = code.t().contiguous().numpy()
    place = code.shape[0] - n
    return torch.from_numpy(np.partition(columns, place, axis=1)[:, place].copy())


def share_threshold(
    code: Tensor, rate: float, sample_weight: Tensor | None = None
) -> Tensor:
    """Find the value that the largest share of each column reaches.

    Parameters
    ----------
    code : Tensor of shape (n, n_columns)
        Activations.
    rate : float
        The share, by weight.
    sample_weight : Tensor of shape (n,), optional
        Weights of the rows: a row of weight two counts as two equal rows.

    Returns
    -------
    Tensor of shape (n_columns,)
        The smallest activation of each column that is within the share.
    """
    n_rows = code.shape[0]
    if sample_weight is None:
        kept = max(1, math.ceil(rate * n_rows - 1e-6))
        return nth_largest(code, kept)
    ordered, order = code.sort(dim=0, descending=True)
    cumulative = sample_weight[order].cumsum(dim=0)
    needed = (rate - 1e-6 / n_rows) * sample_weight.sum()
    position = (cumulative < needed).sum(dim=0).clamp(max=n_rows - 1)
    return ordered.gather(0, position.unsqueeze(0)).squeeze(0)


class _BatchSparsity(nn.Module):
    """A rule that compares the rows of a batch.

    What a row keeps in training depends on the rest of its batch. Reading uses the
    running mean of the thresholds met in training instead: a row's result is then its
    own.
    """

    threshold: Tensor
    n_batches: Tensor

    def __init__(self, n_thresholds: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("threshold", torch.zeros(n_thresholds, **CPU_FLOAT32))
        self.register_buffer("n_batches", torch.zeros((), **CPU_FLOAT32))

    def batch_threshold(self, code: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the threshold of a batch, of the shape of `threshold`."""
        raise NotImplementedError

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Zero the activations of `code`, (n, n_components), under the threshold."""
        if not self.training:
            return code * (code >= self.threshold)
        threshold = self.batch_threshold(code.detach(), sample_weight)
        self.n_batches += 1
        momentum = running_momentum(self.n_batches, _MOMENTUM)
        self.threshold.lerp_(threshold, momentum)
        return code * (code >= threshold)


class LifetimeSparsity(_BatchSparsity):
    """Keep each unit active for its strongest rows only (winner take all) [1]_.

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

    def __init__(self, n_components: int, rate: float) -> None:
        super().__init__(n_components, rate)

    def batch_threshold(self, code: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return a threshold for each unit."""
        return share_threshold(code, self.rate, sample_weight)


class BatchTopKSparsity(_BatchSparsity):
    """Keep the strongest activations of a batch, whatever their row and unit [1]_.

    Parameters
    ----------
    n_components : int
        Number of units.
    rate : float
        Share of all activations that are kept.

    References
    ----------
    .. [1] Bussmann, Leask and Nanda, "BatchTopK sparse autoencoders",
       arXiv:2412.06410, 2024.
    """

    def __init__(self, n_components: int, rate: float) -> None:
        super().__init__(1, rate)

    def batch_threshold(self, code: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return one threshold for all units."""
        if sample_weight is not None:
            sample_weight = sample_weight.repeat_interleave(code.shape[1])
        return share_threshold(code.reshape(-1, 1), self.rate, sample_weight)


class TopKSparsity(nn.Module):
    """Keep the strongest units of each row (k-sparse) [1]_.

    Parameters
    ----------
    n_components : int
        Number of units.
    rate : float
        Share of the units that may be active for a row.

    References
    ----------
    .. [1] Makhzani and Frey, "k-sparse autoencoders", ICLR 2014.
    """

    def __init__(self, n_components: int, rate: float) -> None:
        super().__init__()
        self.n_active = max(1, math.ceil(rate * n_components - 1e-6))

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Zero all but the largest activations of each row of `code`."""
        threshold = nth_largest(code.detach().t(), self.n_active)
        return code * (code >= threshold.unsqueeze(1))


class DenseCode(nn.Module):
    """Pass every activation on to the decoder."""

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return `code` as it is."""
        return code


SPARSITIES: dict[str, type[nn.Module]] = {
    "batch_topk": BatchTopKSparsity,
    "lifetime": LifetimeSparsity,
    "topk": TopKSparsity,
}


class Penalty(Protocol):
    """What the codes of a batch cost."""

    def __call__(
        self,
        code: Tensor,
        *,
        outgoing: Tensor,
        rate: float,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Return the cost, a scalar.

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            Activations, none negative.
        outgoing : Tensor of shape (n_components, width)
            What one unit of each adds to the decoder's first layer.
        rate : float
            Wanted share of activation.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """


def l1_penalty(
    code: Tensor, *, outgoing: Tensor, rate: float, sample_weight: Tensor | None
) -> Tensor:
    """Make each activation cost what it contributes, whatever the rate [1]_.

    Weighing activations by the length of their outgoing weights keeps the network from
    shrinking the one and growing the other. The unit is the root of the width.

    References
    ----------
    .. [1] Bricken et al., "Towards monosemanticity", Transformer Circuits, 2023, with
       the weighing of Conerly et al., "Update on how we train SAEs", ibid., 2024.
    """
    lengths = outgoing.square().mean(dim=1).clamp(min=1e-12).sqrt()
    return _column_means(code, sample_weight) @ lengths


def kl_penalty(
    code: Tensor, *, outgoing: Tensor, rate: float, sample_weight: Tensor | None
) -> Tensor:
    """Pull the mean of each unit, of activations between 0 and 1, to the rate [1]_.

    Divergences are summed, against a squared error that is summed over the width.

    References
    ----------
    .. [1] Ng, "Sparse autoencoder", CS294A lecture notes, 2011, after Lee, Ekanadham
       and Ng, "Sparse deep belief net model for visual area V2", NeurIPS 2007.
    """
    mean = _column_means(code, sample_weight).clamp(1e-6, 1 - 1e-6)
    active = rate * torch.log(rate / mean)
    idle = (1 - rate) * torch.log((1 - rate) / (1 - mean))
    return (active + idle).sum() / outgoing.shape[1]


def _column_means(code: Tensor, sample_weight: Tensor | None) -> Tensor:
    if sample_weight is not None:
        code = code * sample_weight.unsqueeze(1)
    return code.mean(dim=0)


PENALTIES: dict[str, Penalty] = {"kl": kl_penalty, "l1": l1_penalty}
