"""Distributions of numbers over bins. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .._networks.tabular import TabularAutoencoder
from .losses import Loss
from .objectives import row_means, without_nan
from .tabular import TabularObjective, small_table
from .tabular_gradients import CellUnits, KnownCells

# Maximum difference of log-likelihoods between bins.
LARGEST_GAP = 4.0


class BinnedNumbers:
    """Logits of the bins of numbers, and the bins that numbers are in.

    Parameters
    ----------
    edges : sequence of sequence of float
        Ascending bounds between the bins of each number, in scaled units. A number
        without any has a single bin, or none.
    entropies : sequence of float
        Entropy of the bins of each number, by which its costs are divided.
    n_bins : sequence of int
        Number of bins of each number, 0 where nothing was learnt of it.
    device : torch.device
        Where its tensors are.
    """

    def __init__(
        self,
        edges: Sequence[Sequence[float]],
        entropies: Sequence[float],
        n_bins: Sequence[int],
        device: torch.device,
    ) -> None:
        whole: dict[str, Any] = {"dtype": torch.int64, "device": device}
        real: dict[str, Any] = {"dtype": torch.float32, "device": device}
        most = max(1, *n_bins)
        self.edges = torch.full((len(n_bins), most), torch.inf, **real)
        for number, bounds in enumerate(edges):
            self.edges[number, : len(bounds)] = torch.tensor(bounds, **real)
        self.entropies = torch.tensor(entropies, **real)
        sizes = torch.tensor(n_bins, **whole)
        ends = sizes.cumsum(0)
        numbered = torch.arange(most, **whole)
        # (n_numbers, most): the logit of each bin, and which of them there are.
        self.exists = numbered < sizes[:, None]
        self.places = torch.where(self.exists, (ends - sizes)[:, None] + numbered, 0)
        self.is_predicted = sizes > 1
        self._is_full = bool(self.exists.all())

    def codes(self, numbers: Tensor) -> Tensor:
        """Find the bins of scaled numbers, (n, n_numbers); any for NaN."""
        numbers = numbers.nan_to_num().t().contiguous()  # (n_numbers, n)
        return torch.searchsorted(self.edges, numbers).t()

    def log_shares(self, logits: Tensor) -> Tensor:
        """Return log probabilities of the bins, (n, n_numbers, most).

        Parameters
        ----------
        logits : Tensor of shape (n, sum(n_bins))
            Those of all bins of all numbers.
        """
        shape = -1, *self.places.shape
        if self._is_full:
            return logits.view(shape).log_softmax(dim=2)
        padded = logits.index_select(1, self.places.flatten())
        return padded.view(shape).masked_fill(~self.exists, -torch.inf).log_softmax(2)

    def surprise(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Return minus the log probability of the bin of each number, (n, n_numbers).

        Zero where there is nothing to predict.
        """
        return self._surprise(self.log_shares(logits), numbers)

    def gaps(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Return how far the bin of each number is from the likeliest, (n, n_numbers).

        That is the difference of two log-likelihoods; see `surprise`. It is limited:
        beyond, bins tell less than the size of the error does, because the outermost
        ones have no end.
        """
        shares = self.log_shares(logits)
        likeliest = shares.amax(dim=2).masked_fill(~self.is_predicted, 0.0)
        return (self._surprise(shares, numbers) + likeliest).clamp(max=LARGEST_GAP)

    def _surprise(self, shares: Tensor, numbers: Tensor) -> Tensor:
        found = shares.gather(2, self.codes(numbers).unsqueeze(2))
        return -found.squeeze(2).masked_fill(~self.is_predicted, 0.0)


class DistributionObjective(TabularObjective):
    """Predict the distribution of each number beside its value.

    Parameters
    ----------
    loss : Loss
        What an error of a number costs.
    bins : BinnedNumbers
        The bins of the numbers.
    weight : float, default=0.5
        Share of the bins in the cost of a number; the remainder is that of its value.
    **parameters : dict
        Those of `TabularObjective`.
    """

    def __init__(
        self, loss: Loss, bins: BinnedNumbers, *, weight: float = 0.5, **parameters: Any
    ) -> None:
        super().__init__(loss, **parameters)
        self.bins = bins
        self.weight = weight

    @classmethod
    def small(cls, loss: Loss, *, swaps: bool) -> DistributionObjective:
        """Return an objective for a small table, with different numbers of bins."""
        edges, entropies = [[-0.5, 0.5], [0.0]], [1.0, 0.7]
        bins = BinnedNumbers(edges, entropies, (3, 2), torch.device("cpu"))
        return cls(loss, bins, **small_table(swaps))

    def costs_in_training(
        self,
        network: Autoencoder,
        code: Tensor,
        sample_weight: Tensor | None,
        target: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return what each cell costs, and whether it is there, (n, n_cells)."""
        assert isinstance(network, TabularAutoencoder)
        output, logits = network.decode_all(code).tensor_split(
            [network.n_outputs], dim=1
        )
        costs, seen = self.costs(output, target)
        return self._with_bins(costs, logits, target), seen

    @property
    def units(self) -> CellUnits:
        """Factors of the costs of cells."""
        values, codes = super().units
        n_numbers = len(self.bins.entropies)
        of_bins = self.weight * self.bins.is_predicted.to(values.dtype)
        values[:n_numbers] -= of_bins
        codes[:n_numbers] = of_bins / self.bins.entropies
        return CellUnits(values, codes)

    def known_cells(self, rows: Tensor) -> KnownCells:
        """Return values, bins and categories of rows, (n, n_inputs)."""
        values, codes, seen = super().known_cells(rows)
        n_numbers = len(self.bins.entropies)
        codes[:, :n_numbers] = self.bins.codes(rows[:, :n_numbers])
        return KnownCells(values, codes, seen)

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the mean cost of each row's held-out cells, (n,).

        Parameters
        ----------
        network : TabularAutoencoder
            The network, in evaluation mode.
        batch : Tensor of shape (n, 2 * n_inputs) or (n, n_inputs)
            Rows beside the cells to predict, see `split`; or whole rows.
        """
        if batch.shape[1] == len(self.cells):
            return super().evaluate(network, batch)
        given, targets = self.split(batch)
        costs, seen = self.costs_in_training(
            network, network.encode(given), None, targets
        )
        return row_means(without_nan(costs).masked_fill(seen == 0, 0), seen)

    def split(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows, and the cells that are to be predicted, (n, n_inputs) each."""
        given, targets = batch.tensor_split([len(self.cells)], dim=1)
        return given, targets

    @property
    def logit_counts(self) -> list[int]:
        """Number of logits of each cell, in the order of the cells."""
        return [*self.bins.exists.sum(dim=1).tolist(), *self.n_levels]

    def codes(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins and categories of rows, and where they are known.

        Both have the shape (n, n_cells).
        """
        cells = self._decoded(targets)
        numbers, categories = cells.tensor_split([len(self.bins.entropies)], dim=1)
        counts = torch.tensor(self.logit_counts, device=targets.device)
        codes = torch.cat([self.bins.codes(numbers), categories.nan_to_num().long()], 1)
        return codes, ~cells.isnan() & (codes < counts)

    def _with_bins(self, costs: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Put the cost of its bin beside that of each number, (n, n_cells)."""
        numbers = target[:, : len(self.bins.entropies)]
        shares = self.bins.surprise(logits, numbers) / self.bins.entropies
        weight = torch.where(self.bins.is_predicted, self.weight, 0.0)
        values, others = costs.tensor_split([numbers.shape[1]], dim=1)
        return torch.cat([torch.lerp(values, shares, weight), others], dim=1)
