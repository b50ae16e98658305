"""What training on tables minimises: the costs of their cells. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .._networks.gradients import Backward, have_same_gradients
from .._networks.layers import CPU_FLOAT32, bind_generator
from .._networks.tabular import TabularAutoencoder
from .losses import Loss
from .objectives import corruption_weights, row_means, weighted_mean, without_nan
from .tabular_gradients import CellUnits, KnownCells, TabularBackward


class TabularObjective:
    """Reconstruct the cells of a table, including those that were hidden.

    Parameters
    ----------
    loss : Loss
        Cost of an error of a number.
    n_levels : sequence of int
        Number of categories that each categorical column is decoded to.
    deviances : Tensor of shape (n_categories,)
        Mean cross-entropy of each categorical column under the frequencies of its
        categories. Costs are divided by it, so that each column has a mean cost of one
        at first, whatever its number of categories.
    cells : Tensor of shape (n_inputs,), int64
        Index of the cell that each input belongs to: first the cells of numbers, then
        those of categories.
    rates : Tensor of shape (n_cells,)
        Mean share of the rows in which the cell is hidden. Each row draws a factor of
        the rates, between 0 and 2.
    swaps : bool
        Whether a hidden cell takes the value of another row (swap noise) instead of
        being missing.
    corruption_weight : float
        Weight of the hidden cells relative to the others.
    rare_costs, unknown_costs : Tensor of shape (n_categories,)
        In scores of rows: cost of a rare category of each column, and minimum cost of
        an unknown category. NaN for no cost.
    """

    is_random = True
    is_squared_error = False
    score_of_zero_loss = 1.0

    def __init__(
        self,
        loss: Loss,
        *,
        n_levels: Sequence[int],
        deviances: Tensor,
        cells: Tensor,
        rates: Tensor,
        swaps: bool,
        corruption_weight: float,
        rare_costs: Tensor,
        unknown_costs: Tensor,
    ) -> None:
        self.loss = loss
        self.n_levels = list(n_levels)
        self._counts = torch.tensor(self.n_levels, device=deviances.device)
        # Positions of the columns of each number of categories.
        self._alike: dict[int, list[int]] = {}
        for number, count in enumerate(self.n_levels):
            self._alike.setdefault(count, []).append(number)
        self.deviances = deviances
        self.cells = cells
        self.rates = rates
        self.swaps = swaps
        self.corruption_weight = corruption_weight
        self.rare_costs = rare_costs
        self.unknown_costs = unknown_costs

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar; see `Objective`."""
        source, batch, target = self.draw(batch, target, generator)
        code, cost = network.code(source, sample_weight, generator)
        # (n, n_cells) each
        costs, seen = self.costs_in_training(network, code, sample_weight, target)
        kept = self._decoded(source) == self._decoded(target)
        weights = seen * corruption_weights(seen, kept, self.corruption_weight)
        loss = weighted_mean(row_means(costs, weights), sample_weight)
        return loss if cost is None else loss + cost

    def costs_in_training(
        self,
        network: Autoencoder,
        code: Tensor,
        sample_weight: Tensor | None,
        target: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return what `costs` gives of the rows that codes are decoded to."""
        return self.costs(network.decode(code, sample_weight), target)

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows with some cells hidden, the rows before that, and the target."""
        hides, donors = self.draw_hidden(len(batch), generator)
        changed = hides[:, self.cells]  # (n, n_inputs)
        if donors is None:
            return batch.masked_fill(changed, torch.nan), batch, target
        swapped = batch.gather(0, donors[:, self.cells])  # (n, n_inputs)
        return torch.where(changed, swapped, batch), batch, target

    def draw_hidden(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Draw which cells of a batch are hidden.

        Returns
        -------
        hides : Tensor of shape (n, n_cells), bool
            Whether a cell is hidden.
        donors : Tensor of shape (n, n_cells), int64, or None
            The rows whose values the cells take; None if they are missing.
        """
        multiple = self.rates.new_empty(n, 1).uniform_(0, 2, generator=generator)
        chance = multiple * self.rates  # (n, n_cells)
        hides = torch.empty_like(chance).uniform_(generator=generator) < chance
        if not self.swaps:
            return hides, None
        donors = torch.randint(
            n, chance.shape, generator=generator, device=chance.device
        )
        return hides, donors

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return the closed form for one network; see `Objective`."""
        (network,) = networks
        if not isinstance(network, TabularAutoencoder) or not self.loss.has_slopes:
            return None
        config = network.config
        kernels = {name: config[name] for name in _SELECT_KERNELS}
        n_hidden = min(len(config["hidden_layer_sizes"]), 2)
        kinds: tuple[Any, Any] = type(self), type(self.loss)
        if not _agrees_with_autograd(*kinds, n_hidden, swaps=self.swaps, **kernels):
            return None
        return TabularBackward(network, self, generator)

    @classmethod
    def small(cls, loss: Loss, *, swaps: bool) -> TabularObjective:
        """Return an objective for a small table; see `_agrees_with_autograd`."""
        return cls(loss, **small_table(swaps))

    @property
    def units(self) -> CellUnits:
        """Factors of the costs of cells."""
        is_category = torch.ones_like(self.rates)
        is_category[: len(self.rates) - len(self.n_levels)] = 0
        codes = is_category.clone()
        codes[is_category > 0] = 1 / self.deviances
        return CellUnits(1 - is_category, codes)

    def known_cells(self, rows: Tensor) -> KnownCells:
        """Return values and categories of rows, (n, n_inputs)."""
        numbers, codes, seen = self._targets(self._decoded(rows))
        values = torch.cat([numbers, codes.to(numbers.dtype)], dim=1)
        # Numbers have no codes.
        codes = torch.cat([torch.zeros_like(numbers, dtype=codes.dtype), codes], dim=1)
        return KnownCells(values, codes, seen)

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the mean cost of each row's cells, (n,)."""
        costs, seen = self.costs(network(batch), batch)
        return row_means(without_nan(costs).masked_fill(seen == 0, 0), seen)

    def score(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return each row's mean cost for the detection of unusual rows, (n,).

        A row without any cell that has a cost scores 1, as the column means would.
        """
        costs, seen = self.surprise(network(batch), batch)
        costs = without_nan(costs).masked_fill(seen == 0, 0)
        return row_means(costs, seen).masked_fill((seen == 0).all(dim=1), 1.0)

    def surprise(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return `costs`, with costs of rare and unknown categories added.

        The network has no output for these categories. A rare category has the cost of
        its share of the training rows. An unknown one has at least the cost of the
        least likely category of its column.
        """
        costs, seen = self.costs(output, target)
        n_categories = len(self.n_levels)
        n_numbers = costs.shape[1] - n_categories
        logits = torch.split(output[:, n_numbers:], self.n_levels, dim=1)
        codes = target[:, target.shape[1] - n_categories :]  # (n, n_categories)
        for number, column_logits in enumerate(logits):
            code, n_levels = codes[:, number], column_logits.shape[1]  # code: (n,)
            is_rare = code >= n_levels
            if not is_rare.any():
                continue
            unknown = self.unknown_costs[number].expand(len(code))
            if n_levels > 1:
                least_likely = -column_logits.log_softmax(dim=1).amin(dim=1)  # (n,)
                # If one of the two is NaN, `fmax` returns the other one.
                unknown = torch.fmax(unknown, least_likely / self.deviances[number])
            cost = torch.where(code > n_levels, unknown, self.rare_costs[number])
            others = is_rare & ~cost.isnan()
            cell = n_numbers + number
            costs[:, cell] = torch.where(others, cost, costs[:, cell])
            seen[:, cell] = seen[:, cell].masked_fill(others, 1.0)
        return costs, seen

    def gaps(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return `surprise`, but for categories how far they are from the likeliest.

        That is the difference of two log-likelihoods, in nats: 0 for the likeliest
        category, whatever its probability.
        """
        costs, seen = self.surprise(output, target)
        n_numbers = costs.shape[1] - len(self.n_levels)
        logits = torch.split(output[:, n_numbers:], self.n_levels, dim=1)
        for number, column_logits in enumerate(logits):
            nats = costs[:, n_numbers + number] * self.deviances[number]  # (n,)
            if column_logits.shape[1] > 1:
                nats = nats + column_logits.log_softmax(dim=1).amax(dim=1)
            costs[:, n_numbers + number] = nats.clamp(min=0)
        return costs, seen

    def costs(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cost of each cell, and whether it has a value, (n, n_cells)."""
        numbers, codes, seen = self._targets(self._decoded(target))
        n_numbers = numbers.shape[1]
        costs = self.loss.entries(output[:, :n_numbers], numbers)
        if self.n_levels:
            entropies = self._entropies(output[:, n_numbers:], codes)
            costs = torch.cat([costs, entropies / self.deviances], dim=1)
        return costs, seen.to(output.dtype)

    def _targets(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return numbers and categories, and which cells have values.

        Parameters
        ----------
        target : Tensor of shape (n, n_cells)
            The cells, missing values NaN.

        Returns
        -------
        numbers : Tensor of shape (n, n_numbers)
            The numbers, 0 for missing values.
        codes : Tensor of shape (n, n_categories), int64
            The categories, 0 for missing values and those that are not decoded.
        seen : Tensor of shape (n, n_cells), bool
            Whether a cell has a value that is decoded.
        """
        seen = ~target.isnan()
        numbers, codes = target.nan_to_num().tensor_split(
            [target.shape[1] - len(self.n_levels)], dim=1
        )
        codes = codes.long()
        if self.n_levels:
            # The encoder has codes for rare categories, but the decoder has no output.
            known = codes < self._counts
            seen[:, numbers.shape[1] :] &= known & (self._counts > 1)
            codes = codes.masked_fill(~known, 0)
        return numbers, codes, seen

    @property
    def logit_counts(self) -> list[int]:
        """Number of logits of each cell, in the order of the cells."""
        return [0] * (len(self.rates) - len(self.n_levels)) + self.n_levels

    def _entropies(self, output: Tensor, codes: Tensor) -> Tensor:
        """Return the cross-entropy of each category, in nats, (n, n_categories).

        Columns of equally many categories share the calls into torch, which otherwise
        take longer than the computation.

        Parameters
        ----------
        output : Tensor of shape (n, sum(n_levels))
            The logits.
        codes : Tensor of shape (n, n_categories), int64
            The categories, 0 for those that the decoder does not know.
        """
        logits = torch.split(output, self.n_levels, dim=1)
        found: list[Tensor] = [output] * len(logits)
        for n_levels, members in self._alike.items():
            if n_levels < 2:
                entropies = output.new_zeros(len(output), len(members))
            else:
                stacked = torch.stack([logits[each] for each in members], 1)
                chosen = torch.stack([codes[:, each] for each in members], 1)
                entropies = nn.functional.cross_entropy(
                    stacked.flatten(0, 1),  # (n * n_members, n_levels)
                    chosen.flatten(),
                    reduction="none",
                ).view(chosen.shape)
            for each, column in zip(members, torch.unbind(entropies, 1), strict=True):
                found[each] = column  # (n,)
        return torch.stack(found, dim=1)

    def _decoded(self, rows: Tensor) -> Tensor:
        """Return the columns of rows that are decoded, (n, n_cells)."""
        if rows.shape[1] == len(self.rates):
            return rows
        n_numbers = len(self.rates) - len(self.n_levels)
        codes = rows[:, rows.shape[1] - len(self.n_levels) :]
        return torch.cat([rows[:, :n_numbers], codes], dim=1)


# Arguments of the network that determine, with its number of layers and the objective,
# which kernels are called.
_SELECT_KERNELS = "activation", "number_encoding"


def small_table(swaps: bool) -> dict[str, Any]:
    """Return parameters of objectives for two numbers and two categories."""
    return {
        "n_levels": (3, 2),
        "deviances": torch.tensor([0.9, 0.6], **CPU_FLOAT32),
        "cells": torch.arange(4, device="cpu"),
        "rates": torch.full((4,), 0.4, **CPU_FLOAT32),
        "swaps": swaps,
        "corruption_weight": 4.0,
        "rare_costs": torch.full((2,), torch.nan, **CPU_FLOAT32),
        "unknown_costs": torch.full((2,), torch.nan, **CPU_FLOAT32),
    }


@cache
def _agrees_with_autograd(
    kind: type[TabularObjective],
    loss: type[Loss],
    n_hidden: int,
    *,
    swaps: bool,
    **config: Any,
) -> bool:
    """Whether closed form and autograd agree for a small table."""
    objective = kind.small(loss(torch.zeros(0, **CPU_FLOAT32), 1.0), swaps=swaps)
    counts = objective.logit_counts[:2]
    network = TabularAutoencoder(
        n_numbers=2,
        n_extras=0,
        n_codes=(3, 2),
        n_levels=(3, 2),
        n_components=3,
        hidden_layer_sizes=(5,) * n_hidden,
        dropout=0.3,
        n_bins=tuple(counts) if any(counts) else (),
        bin_centers=tuple(range(sum(counts))),
        **config,
    )
    generator = torch.Generator("cpu").manual_seed(0)
    rows = network.noise(8, generator)
    rows[0] = torch.nan
    network.initialise(generator, rows, None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return _same_gradients(network.train(), objective, rows)


def _same_gradients(
    network: TabularAutoencoder, objective: TabularObjective, rows: Tensor
) -> bool:
    """Whether closed form and autograd have the same loss and gradients."""
    # Dropout draws from it, too.
    generator = torch.Generator("cpu")
    bind_generator(network, generator)

    def by_autograd() -> Tensor:
        return objective(network, rows, rows, None, generator.manual_seed(1))

    def in_closed_form() -> Tensor:
        backward = TabularBackward(network, objective, generator.manual_seed(1))
        return backward(*backward.prepare(rows, rows), None)

    return have_same_gradients(network, by_autograd, in_closed_form)
