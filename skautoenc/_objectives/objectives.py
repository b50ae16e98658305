"""What training minimises. Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .losses import Loss, SquaredError

# Draws a changed copy of a batch.
Change = Callable[[Tensor, torch.Generator], Tensor]


class Objective(Protocol):
    """Says how far a network is from what is wanted of it."""

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar.

        Parameters
        ----------
        network : Autoencoder
            In training mode.
        batch : Tensor of shape (n, n_features)
            Rows to encode.
        target : Tensor of shape (n, n_features)
            What they are to be decoded to.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows, of mean one over the whole set.
        generator : torch.Generator
            Source of the noise.
        """

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each row under the network as it is used, (n,)."""

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw what is random about a training batch, and return what takes its place.

        Returns
        -------
        source, clean, target : Tensor of shape (n, n_features)
            What is encoded, what that was before it was corrupted, and what it is to
            be decoded to.
        """

    @property
    def is_random(self) -> bool:
        """Whether `draw` gives anything but what it is given."""

    @property
    def is_squared_error(self) -> bool:
        """Whether the loss is the squared error of what is drawn, and nothing else."""


def weighted_mean(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Average `values` over rows whose weights have mean one over the whole set.

    Dividing by the number of rows, not by the weights of the batch, keeps a light
    batch from pulling as hard as a heavy one.
    """
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


def truncate(code: Tensor, generator: torch.Generator) -> Tensor:
    """Zero each row's components from a random one on (nested dropout) [1]_.

    Half of the rows keep all of theirs, the others keep one at least.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes.
    generator : torch.Generator
        Draws how many components each row keeps.

    References
    ----------
    .. [1] Rippel, Gelbart and Adams, "Learning ordered representations with nested
       dropout", ICML 2014.
    """
    n, width = code.shape
    kept = torch.randint(1, 2 * width, (n, 1), generator=generator, device=code.device)
    return code * (torch.arange(width, device=code.device) < kept)


def squared_jacobian(code: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Estimate the squared norm of each code's Jacobian by one probe [1]_.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes, computed from `x`.
    x : Tensor of shape (n, n_features)
        What was encoded, a leaf that requires gradients.
    generator : torch.Generator
        Draws the probe: a sign for each activation. The squared norm of its product
        with the Jacobian is right on average.

    Returns
    -------
    Tensor of shape (n,)
        Estimates, through which gradients flow.

    References
    ----------
    .. [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix",
       Communications in Statistics 18, 1989.
    """
    signs = torch.empty_like(code).bernoulli_(0.5, generator=generator) * 2 - 1
    (gradient,) = torch.autograd.grad((code * signs).sum(), x, create_graph=True)
    return gradient.square().sum(dim=1)


class ReconstructionObjective:
    """Reconstruct the clean row from a corrupted one.

    Parameters
    ----------
    loss : Loss
        What an error costs.
    augmentation : callable, optional
        Takes a batch and a generator and returns the batch that takes its place, as
        what is encoded and what it is to be decoded to.
    corruption : callable, optional
        Takes a batch and a generator and returns the batch that is encoded.
    corruption_weight : float, default=1.0
        Weight of the corrupted entries, where that of the others is one.
    ordered : bool, default=False
        Whether to cut codes short at random, so that the first components come to
        carry most.
    contractive_penalty : float, default=0.0
        Weight of the squared norm of the encoder's Jacobian [1]_, against a squared
        error that is summed over the features.

    References
    ----------
    .. [1] Rifai et al., "Contractive auto-encoders", ICML 2011.
    """

    def __init__(
        self,
        loss: Loss,
        *,
        augmentation: Change | None = None,
        corruption: Change | None = None,
        corruption_weight: float = 1.0,
        ordered: bool = False,
        contractive_penalty: float = 0.0,
    ) -> None:
        self.loss = loss
        self.augmentation = augmentation
        self.corruption = corruption
        self.corruption_weight = corruption_weight
        self.ordered = ordered
        self.contractive_penalty = contractive_penalty

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
        if self.contractive_penalty:
            source = source.detach().requires_grad_()
        code, cost = network.code(source, sample_weight, generator)
        kept = truncate(code, generator) if self.ordered else code
        output = network.decode(kept, sample_weight)
        if self.corruption_weight == 1:
            errors = self.loss.rows(output, target)
        else:
            entries = self.loss.entries(output, target)
            weights = _weights(entries, source == batch, self.corruption_weight)
            errors = _row_means(entries, weights)
        if self.contractive_penalty:
            norms = network.squared_jacobian(code)
            if norms is None:
                norms = squared_jacobian(code, source, generator)
            errors = errors + self.contractive_penalty / batch.shape[1] * norms
        loss = weighted_mean(errors, sample_weight)
        return loss if cost is None else loss + cost

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is encoded, what that was before it was corrupted, the target."""
        if self.augmentation is not None:
            batch = target = self.augmentation(batch, generator)
        source = batch if self.corruption is None else self.corruption(batch, generator)
        return source, batch, target

    @property
    def is_random(self) -> bool:
        """Whether `draw` gives anything but what it is given."""
        return self.augmentation is not None or self.corruption is not None

    @property
    def is_squared_error(self) -> bool:
        """Whether the loss is the squared error of what is drawn, and nothing else."""
        special = (
            self.ordered or self.contractive_penalty or self.corruption_weight != 1
        )
        return not special and isinstance(self.loss, SquaredError)

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each clean row, (n,), without any penalty."""
        return self.loss.rows(network(batch), batch)


class TabularObjective:
    """Reconstruct the cells of a table, above all those that were hidden.

    Parameters
    ----------
    loss : Loss
        What an error of a number costs.
    n_levels : sequence of int
        Number of levels that each category is decoded to.
    deviances : Tensor of shape (n_categories,)
        Mean cross-entropy of each category under its frequencies, by which its costs
        are divided: so each column costs one at first, however many levels it has.
    cells : Tensor of shape (n_inputs,), int64
        The cell that each column of a row belongs to; the cells are those of numbers,
        then those of categories.
    rates : Tensor of shape (n_cells,)
        Mean share of the rows that lose the cell. Each row draws its own multiple of
        the rates, between none and twice as much.
    swaps : bool
        Whether a cell takes the value of another row, in place of none (swap noise).
    corruption_weight : float
        Weight of the cells that were changed, where that of the others is one.
    rare_costs, unknown_costs : Tensor of shape (n_categories,)
        What a rare level of each category, and at least an unknown one, cost where
        rows are scored; NaN for nothing.
    """

    is_random = True
    is_squared_error = False

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
        costs, seen = self.costs_in_training(network, code, sample_weight, target)
        kept = self._decoded(source) == self._decoded(target)
        weights = seen * _weights(seen, kept, self.corruption_weight)
        loss = weighted_mean(_row_means(costs, weights), sample_weight)
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
        """Return rows without some of their cells, the rows, the target."""
        n = len(batch)
        multiple = batch.new_empty(n, 1).uniform_(0, 2, generator=generator)
        chance = (multiple * self.rates).clamp(max=1)
        changed = torch.empty_like(chance).uniform_(generator=generator) < chance
        changed = changed[:, self.cells]
        if not self.swaps:
            return batch.masked_fill(changed, torch.nan), batch, target
        donors = torch.randint(
            n, chance.shape, generator=generator, device=batch.device
        )[:, self.cells]
        return torch.where(changed, batch.gather(0, donors), batch), batch, target

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the mean cost of each row's cells, (n,)."""
        costs, seen = self.costs(network(batch), batch)
        return _row_means(without_nan(costs).masked_fill(seen == 0, 0), seen)

    def score(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return each row's mean cost to who looks for odd ones, (n,).

        A row without any cell that costs something is as good as its averages.
        """
        costs, seen = self.surprise(network(batch), batch)
        costs = without_nan(costs).masked_fill(seen == 0, 0)
        return _row_means(costs, seen).masked_fill((seen == 0).all(dim=1), 1.0)

    def surprise(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return `costs` to which those of rare and unknown levels are added.

        There is nothing in the output for these. A rare level costs what its share
        says, an unknown one at least what the least likely level of the column does.
        """
        costs, seen = self.costs(output, target)
        n_categories = len(self.n_levels)
        n_numbers = costs.shape[1] - n_categories
        logits = torch.split(output[:, n_numbers:], self.n_levels, dim=1)
        codes = target[:, target.shape[1] - n_categories :]
        for number, of_column in enumerate(logits):
            code, n_levels = codes[:, number], of_column.shape[1]
            is_rare = code >= n_levels
            if not is_rare.any():
                continue
            unknown = self.unknown_costs[number].expand(len(code))
            if n_levels > 1:
                least_likely = -of_column.log_softmax(dim=1).amin(dim=1)
                # Whichever is not NaN, if one of them is.
                unknown = torch.fmax(unknown, least_likely / self.deviances[number])
            cost = torch.where(code > n_levels, unknown, self.rare_costs[number])
            others = is_rare & ~cost.isnan()
            cell = n_numbers + number
            costs[:, cell] = torch.where(others, cost, costs[:, cell])
            seen[:, cell] = seen[:, cell].masked_fill(others, 1.0)
        return costs, seen

    def costs(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each cell costs, and whether it is there, (n, n_cells)."""
        target = self._decoded(target)
        n_numbers = target.shape[1] - len(self.n_levels)
        seen = ~target.isnan()
        target = target.nan_to_num()
        numbers = self.loss.entries(output[:, :n_numbers], target[:, :n_numbers])
        costs = [numbers]
        logits = torch.split(output[:, n_numbers:], self.n_levels, dim=1)
        codes = target[:, n_numbers:].long()
        for number, of_column in enumerate(logits):
            code = codes[:, number]
            # Rare levels are read, but there is nothing to decode them to.
            known = code < of_column.shape[1]
            seen[:, n_numbers + number] &= known
            if of_column.shape[1] < 2:
                seen[:, n_numbers + number] = False
                costs.append(output.new_zeros(len(output), 1))
                continue
            entropy = nn.functional.cross_entropy(
                of_column, code.masked_fill(~known, 0), reduction="none"
            )
            costs.append((entropy / self.deviances[number]).unsqueeze(1))
        return torch.cat(costs, dim=1), seen.to(output.dtype)

    def _decoded(self, rows: Tensor) -> Tensor:
        """Leave out what is not decoded."""
        n_numbers = len(self.rates) - len(self.n_levels)
        codes = rows[:, rows.shape[1] - len(self.n_levels) :]
        return torch.cat([rows[:, :n_numbers], codes], dim=1)


def without_nan(costs: Tensor) -> Tensor:
    """Make costs infinite where a network's overflow has left no number."""
    return costs.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _weights(like: Tensor, kept: Tensor, of_changed: float) -> Tensor:
    """Weigh entries, those that are not kept by `of_changed`; in the type of `like`.

    `torch.where` of two numbers would take the type that the user has set for torch.
    """
    return torch.full_like(like, of_changed).masked_fill(kept, 1.0)


def _row_means(costs: Tensor, weights: Tensor) -> Tensor:
    # A row of gaps, or of corrupted entries only, may have no weight at all.
    total = weights.sum(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    return (costs * weights).sum(dim=1) / total
