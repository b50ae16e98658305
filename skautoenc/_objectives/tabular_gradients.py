"""Closed-form gradients of the costs of cells of tables."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .._networks.gradients import Backward
from .._networks.tabular import TabularAutoencoder
from .._networks.tabular_gradients import TabularPasses
from .losses import Loss
from .softmaxes import Softmaxes


class KnownCells(NamedTuple):
    """Cells of rows, all of shape (n, n_cells).

    Parameters
    ----------
    values : Tensor
        Numbers, then categories; 0 for missing values and unknown categories.
    codes : Tensor, int64
        Bins of numbers, then categories.
    seen : Tensor, bool
        Whether the cell has a value that is decoded.
    """

    values: Tensor
    codes: Tensor
    seen: Tensor


class CellUnits(NamedTuple):
    """Factors of costs, all of shape (n_cells,), first those of numbers.

    Parameters
    ----------
    values : Tensor
        Of errors of numbers; 0 for categories.
    codes : Tensor
        Of cross-entropies of bins and of categories.
    """

    values: Tensor
    codes: Tensor


class CellObjective(Protocol):
    """What an objective tells of the costs of cells."""

    loss: Loss
    corruption_weight: float
    cells: Tensor
    rates: Tensor

    def known_cells(self, rows: Tensor) -> KnownCells:
        """Return what is known of rows, (n, n_inputs)."""

    def draw_hidden(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Draw which cells are hidden, and the rows that they are swapped with."""

    @property
    def units(self) -> CellUnits:
        """Factors of the costs of cells."""


class TabularBackward(Backward):
    """Mean cost of the cells of a batch, and its gradients, without autograd.

    Parameters
    ----------
    network : TabularAutoencoder
        Its parameters have a ``grad`` and are not moved afterwards.
    objective : CellObjective
        The objective. Its loss has `slopes`.
    generator : torch.Generator
        Draws the hidden cells.
    """

    corrupts = True

    def __init__(
        self,
        network: TabularAutoencoder,
        objective: CellObjective,
        generator: torch.Generator,
    ) -> None:
        self.objective = objective
        self.generator = generator
        self.passes = TabularPasses(network)
        self.n_numbers, self.n_cells = network.n_numbers, network.n_cells
        self.end = network.n_outputs + network.n_bins
        device = objective.cells.device
        levels, bins = network.config["n_levels"], network.config.get("n_bins", ())
        self.softmaxes = Softmaxes([*levels, *bins], device)
        # Cells of categories, then of numbers, as their logits are in the output.
        cells = torch.arange(self.n_cells, device=device).roll(-self.n_numbers)
        self.coded = cells.index_select(0, self.softmaxes.order)
        units = objective.units
        self.of_values = units.values[: self.n_numbers]
        self.of_codes = units.codes.index_select(0, self.coded)
        self.columns = objective.cells.index_select(0, self.passes.columns)
        nothing = objective.rates.new_full((1, network.widths[0]), torch.nan)
        self.hidden = self.passes.prepare(nothing)  # (1, width)

    def width(self, n_features: int) -> int:
        """Return the number of values of a prepared row."""
        return len(self.columns)

    def prepare(self, rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Encode rows, and what should be decoded, for several batches at once.

        Parameters
        ----------
        rows, target : Tensor of shape (n, n_inputs)
            The same rows.

        Returns
        -------
        rows : Tensor of shape (n, width)
            See `TabularPasses.prepare`.
        target : Tensor of shape (n, 2 * n_cells + n_variables)
            Values of cells, which of them are seen, and codes.
        """
        values, codes, seen = self.objective.known_cells(target)
        coded = codes.index_select(1, self.coded)
        known = [values, seen.to(values.dtype), coded.to(values.dtype)]
        return self.passes.prepare(rows), torch.cat(known, dim=1)

    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, and store its gradients; see `Backward`."""
        values, seen, codes = target.tensor_split(
            [self.n_cells, 2 * self.n_cells], dim=1
        )
        source, changed = self._corrupt(source, values, seen)
        passed = self.passes.forward(source)
        extra = self.objective.corruption_weight - 1
        weights = torch.addcmul(seen, seen, changed, value=extra)  # (n, n_cells)
        least = torch.finfo(weights.dtype).tiny
        # Those of a row have the sum one, and rows are averaged.
        weights /= weights.sum(dim=1, keepdim=True).clamp_(min=least).mul_(len(source))
        if sample_weight is not None:
            weights *= sample_weight.unsqueeze(1)
        loss, slopes = self._costs(passed.output, values, codes.long(), weights)
        self.passes.backward(slopes, passed)
        return loss

    def _corrupt(
        self, source: Tensor, values: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Hide cells of prepared rows; return which of them have changed."""
        hides, donors = self.objective.draw_hidden(len(source), self.generator)
        other, changed = self.hidden, hides.to(source.dtype)  # changed: (n, n_cells)
        # Comparisons take longer than arithmetic; at zero and one, `lerp` is exact.
        mask = changed.index_select(1, self.columns)  # (n, width)
        if donors is not None:
            other = source.gather(0, donors.index_select(1, self.columns))
            same = values.gather(0, donors) == values
            changed = changed.masked_fill(same & (seen.gather(0, donors) > 0), 0.0)
        return torch.lerp(source, other, mask), changed

    def _costs(
        self, output: Tensor, values: Tensor, codes: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of all costs, and its derivatives by the output."""
        n, loss = self.n_numbers, self.objective.loss
        of_values = weights[:, :n] * self.of_values
        of_codes = weights.index_select(1, self.coded) * self.of_codes
        numbers, logits = output[:, : self.end].tensor_split([n], dim=1)
        slopes = torch.empty_like(output)
        slopes[:, :n] = loss.slopes(numbers, values[:, :n]).mul_(of_values)
        cost = (loss.entries(numbers, values[:, :n]) * of_values).sum()
        more, slopes[:, n : self.end] = self.softmaxes.cost_and_slopes(
            logits, codes, of_codes
        )
        return cost + more, slopes
