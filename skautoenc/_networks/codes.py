"""Sparsity of codes: rules and penalties.

A rule selects the activations that reach the decoder. A penalty lets all of them pass
and adds a cost to the loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32, running_momentum

# The running threshold averages over about twenty batches: enough to smooth the noise
# of single batches, and few compared to a fit.
_MOMENTUM = 0.05


def largest(columns: Tensor, n: int) -> Tensor:
    """Return the n largest values of each column, the smallest of them first.

    Parameters
    ----------
    columns : Tensor of shape (n_columns, n_values)
        The columns, one after the other.
    n : int
        Number of values.

    Returns
    -------
    Tensor of shape (n_columns, n)
        The values; those after the first are in no particular order.
    """
    if columns.device.type != "cpu":
        return columns.topk(n, dim=1).values.flip(1)
    # On the CPU, numpy's partition is several times faster than torch's selection.
    position = columns.shape[1] - n
    parts = np.partition(columns.contiguous().numpy(), position, axis=1)
    return torch.from_numpy(parts[:, position:])


def nth_largest(code: Tensor, n: int) -> Tensor:
    """Return the n-th largest value of each column of `code`, (n_rows, n_columns)."""
    return largest(code.t(), n)[:, 0].clone()  # (n_columns,)


def share_threshold(
    code: Tensor, rate: float, sample_weight: Tensor | None = None
) -> Tensor:
    """Return the threshold of each column that a given share of its rows reaches.

    Parameters
    ----------
    code : Tensor of shape (n, n_columns)
        Activations.
    rate : float
        The share of the rows, by weight.
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
    ordered, order = code.sort(dim=0, descending=True)  # (n, n_columns) each
    cumulative = sample_weight[order].cumsum(dim=0)  # (n, n_columns)
    needed = (rate - 1e-6 / n_rows) * sample_weight.sum()
    position = (cumulative < needed).sum(dim=0).clamp(max=n_rows - 1)  # (n_columns,)
    return ordered.gather(0, position.unsqueeze(0)).squeeze(0)  # (n_columns,)


@dataclass
class Exchange:
    """Thresholds of batches that are spread over several processes.

    Parameters
    ----------
    gather : callable
        Returns tensors of all processes, of equal shapes, as one of shape
        (n_processes, ...).
    most_rows : int
        Maximum number of rows of a batch in one process.
    n_rows : int, default=0
        Number of rows of the present batch in all processes.
    """

    gather: Callable[[Tensor], Tensor]
    most_rows: int
    n_rows: int = 0

    def threshold(
        self, values: Tensor, rate: float, weights: Tensor | None, per_row: int
    ) -> Tensor:
        """Return `share_threshold` of the values of all processes.

        Parameters
        ----------
        values : Tensor of shape (n, n_columns)
            Activations of this process, `per_row` for each of its rows.
        rate : float
            The share, by weight.
        weights : Tensor of shape (n,) or None
            Their weights. All processes have weights, or none has.
        per_row : int
            Number of values of a row in a column.

        Returns
        -------
        Tensor of shape (n_columns,)
            The thresholds, equal in all processes.
        """
        n_values, most = per_row * self.n_rows, per_row * self.most_rows
        n_columns = values.shape[1]
        if weights is None:
            # The threshold is among the largest values of each process.
            kept = max(1, math.ceil(rate * n_values - 1e-6))
            sent = values.new_full((n_columns, min(kept, most)), -math.inf)
            n_own = min(sent.shape[1], len(values))
            if n_own:
                sent[:, :n_own] = largest(values.t(), n_own)
            # (n_columns, n_processes * n_sent)
            found = self.gather(sent).transpose(0, 1).flatten(1)
            return nth_largest(found.t(), kept)
        sent = values.new_zeros(most, n_columns + 1)
        sent[: len(values), :-1], sent[: len(values), -1] = values, weights
        # (n_processes * most, n_columns + 1); rows that are not there weigh nothing.
        found = self.gather(sent).flatten(0, 1)
        found = found[found[:, -1] > 0]
        return share_threshold(found[:, :-1], rate, found[:, -1])


class BatchSparsity(nn.Module):
    """Base class of rules that compare the rows of a batch.

    In training, the activations that a row keeps depend on the rest of its batch. In
    evaluation mode, the running mean of the training thresholds is used instead, so the
    result of a row does not depend on other rows.
    """

    threshold: Tensor
    n_batches: Tensor
    # Set while processes train the network together.
    exchange: Exchange | None = None

    def __init__(self, n_thresholds: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("threshold", torch.zeros(n_thresholds, **CPU_FLOAT32))
        self.register_buffer("n_batches", torch.zeros((), **CPU_FLOAT32))

    def batch_threshold(self, code: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the threshold of a batch, in the shape of `threshold`."""
        raise NotImplementedError

    def forward(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Zero the activations of `code`, (n, n_components), below the threshold."""
        if not self.training:
            return code * (code >= self.threshold)
        threshold = self.batch_threshold(code.detach(), sample_weight)
        self.n_batches += 1
        momentum = running_momentum(self.n_batches, _MOMENTUM)
        self.threshold.lerp_(threshold, momentum)
        return code * (code >= threshold)

    def _share_threshold(
        self, values: Tensor, weights: Tensor | None, per_row: int
    ) -> Tensor:
        """Return the thresholds above which a share `rate` of the values lies.

        Of the values of all processes, if these train the network together; a row has
        `per_row` values in a column.
        """
        if self.exchange is None:
            return share_threshold(values, self.rate, weights)
        return self.exchange.threshold(values, self.rate, weights, per_row)


def bind_exchange(network: nn.Module, exchange: Exchange | None) -> None:
    """Make the rules of `network` compare the rows of all processes."""
    for module in network.modules():
        if isinstance(module, BatchSparsity):
            module.exchange = exchange


class LifetimeSparsity(BatchSparsity):
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
        return self._share_threshold(code, sample_weight, 1)


class BatchTopKSparsity(BatchSparsity):
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
        n_components = code.shape[1]
        if sample_weight is not None:
            sample_weight = sample_weight.repeat_interleave(n_components)
        values = code.reshape(-1, 1)  # (n * n_components, 1)
        return self._share_threshold(values, sample_weight, n_components)


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
        threshold = nth_largest(code.detach().t(), self.n_active)  # (n,)
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
    """Cost of a batch of codes."""

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
            The contribution of one unit of each component to the decoder's first layer.
        rate : float
            Desired mean activation.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """


def l1_penalty(
    code: Tensor, *, outgoing: Tensor, rate: float, sample_weight: Tensor | None
) -> Tensor:
    """Penalise each activation in proportion to its contribution [1]_.

    Activations are weighted by the norm of their outgoing weights. Otherwise the
    network would shrink activations and grow the weights. The norm is the root mean
    square, so that it does not depend on the width. `rate` has no effect.

    References
    ----------
    .. [1] Bricken et al., "Towards monosemanticity", Transformer Circuits, 2023, with
       the weighting of Conerly et al., "Update on how we train SAEs", ibid., 2024.
    """
    lengths = outgoing.square().mean(dim=1).clamp(min=1e-12).sqrt()  # (n_components,)
    return _column_means(code, sample_weight) @ lengths  # ()


def kl_penalty(
    code: Tensor, *, outgoing: Tensor, rate: float, sample_weight: Tensor | None
) -> Tensor:
    """Penalise the divergence of each unit's mean activation from the rate [1]_.

    Activations lie between 0 and 1. The divergences are summed over the units; the
    division by the width matches a squared error that is averaged over the width.

    References
    ----------
    .. [1] Ng, "Sparse autoencoder", CS294A lecture notes, 2011, after Lee, Ekanadham
       and Ng, "Sparse deep belief net model for visual area V2", NeurIPS 2007.
    """
    mean = _column_means(code, sample_weight).clamp(1e-6, 1 - 1e-6)  # (n_components,)
    active = rate * torch.log(rate / mean)
    idle = (1 - rate) * torch.log((1 - rate) / (1 - mean))
    return (active + idle).sum() / outgoing.shape[1]  # ()


def _column_means(code: Tensor, sample_weight: Tensor | None) -> Tensor:
    if sample_weight is not None:
        code = code * sample_weight.unsqueeze(1)
    return code.mean(dim=0)


PENALTIES: dict[str, Penalty] = {"kl": kl_penalty, "l1": l1_penalty}
