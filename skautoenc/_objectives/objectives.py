"""Objectives: what training minimises. Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .._networks.autoencoder import Autoencoder
from .._networks.gradients import Backward, closed_form_gradients
from .losses import Loss, SquaredError

# Maps a batch and a generator to a randomly changed copy.
Change = Callable[[Tensor, torch.Generator], Tensor]


class Objective(Protocol):
    """Measures how far the output of a network is from the desired output.

    Attributes
    ----------
    is_random : bool
        Whether `draw` changes its arguments.
    is_squared_error : bool
        Whether the loss is the squared error, without weights or penalties.
    score_of_zero_loss : float
        What losses are subtracted from to give scores: 1 for shares of deviance.
    """

    is_random: bool
    is_squared_error: bool
    score_of_zero_loss: float

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
            The network, in training mode.
        batch : Tensor of shape (n, n_features)
            Rows to encode.
        target : Tensor of shape (n, n_features)
            Rows that they should be decoded to.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows, of mean one over the whole set.
        generator : torch.Generator
            Source of the noise.
        """

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each row in evaluation mode, without noise, (n,)."""

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return a function that computes loss and gradients, or None for autograd.

        Parameters
        ----------
        networks : sequence of Autoencoder
            Those of `closed_form_gradients`.
        generator : torch.Generator
            Source of the noise that `draw` has not drawn.
        """

    def draw(
        self, batch: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the random augmentation and corruption to a training batch.

        Returns
        -------
        source, clean, target : Tensor of shape (n, n_features)
            The rows to encode, the same rows before corruption, and the rows that they
            should be decoded to.
        """


def weighted_mean(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Average `values` over rows whose weights have mean one over the whole set.

    The sum is divided by the number of rows, not by the weights of the batch: otherwise
    a batch of light rows would have as much effect as one of heavy rows.
    """
    return values.mean() if sample_weight is None else (values * sample_weight).mean()


def truncate(code: Tensor, generator: torch.Generator) -> Tensor:
    """Zero each row's components after a random one (nested dropout) [1]_.

    Half of the rows keep all components; the others keep one or more.

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
    # (n, 1)
    kept = torch.randint(1, 2 * width, (n, 1), generator=generator, device=code.device)
    return code * (torch.arange(width, device=code.device) < kept)  # (n, width)


def squared_jacobian(code: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Estimate the squared norm of each code's Jacobian by one probe [1]_.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes, computed from `x`.
    x : Tensor of shape (n, n_features)
        The encoded rows, a leaf that requires gradients.
    generator : torch.Generator
        Draws the probe, a sign for each activation. The expected squared norm of its
        product with the Jacobian is the squared norm of the Jacobian.

    Returns
    -------
    Tensor of shape (n,)
        Estimates that can be differentiated.

    References
    ----------
    .. [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix",
       Communications in Statistics 18, 1989.
    """
    signs = torch.empty_like(code).bernoulli_(0.5, generator=generator) * 2 - 1
    (gradient,) = torch.autograd.grad((code * signs).sum(), x, create_graph=True)
    return gradient.square().sum(dim=1)  # (n,)


class ReconstructionObjective:
    """Reconstruct the clean row from a corrupted one.

    Parameters
    ----------
    loss : Loss
        Cost of an error.
    augmentation : callable, optional
        Takes a batch and a generator, and returns the batch that replaces it as input
        and as target.
    corruption : callable, optional
        Takes a batch and a generator, and returns the batch that is encoded.
    corruption_weight : float, default=1.0
        Weight of the corrupted entries relative to the others.
    ordered : bool, default=False
        Whether to truncate codes at random, so that the first components carry most of
        the information.
    contractive_penalty : float, default=0.0
        Weight of the squared norm of the encoder's Jacobian [1]_, relative to a squared
        error that is summed over the features.

    References
    ----------
    .. [1] Rifai et al., "Contractive auto-encoders", ICML 2011.
    """

    score_of_zero_loss = 1.0

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
        self.is_random = augmentation is not None or corruption is not None
        special = ordered or contractive_penalty or corruption_weight != 1
        self.is_squared_error = not special and isinstance(loss, SquaredError)

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
            errors = self.loss.rows(output, target)  # (n,)
        else:
            entries = self.loss.entries(output, target)  # (n, n_features)
            weights = _weights(entries, source == batch, self.corruption_weight)
            errors = row_means(entries, weights)  # (n,)
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
        """Return the rows to encode, the rows before corruption, and the target."""
        if self.augmentation is not None:
            batch = target = self.augmentation(batch, generator)
        source = batch if self.corruption is None else self.corruption(batch, generator)
        return source, batch, target

    def evaluate(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the loss of each clean row, (n,), without any penalty."""
        return self.loss.rows(network(batch), batch)

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return the closed form of the squared error; see `Objective`."""
        return closed_form_gradients(networks) if self.is_squared_error else None


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
        weights = seen * _weights(seen, kept, self.corruption_weight)
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
        n = len(batch)
        multiple = batch.new_empty(n, 1).uniform_(0, 2, generator=generator)
        chance = (multiple * self.rates).clamp(max=1)  # (n, n_cells)
        changed = torch.empty_like(chance).uniform_(generator=generator) < chance
        changed = changed[:, self.cells]  # (n, n_inputs)
        if not self.swaps:
            return batch.masked_fill(changed, torch.nan), batch, target
        # (n, n_inputs)
        donors = torch.randint(
            n, chance.shape, generator=generator, device=batch.device
        )[:, self.cells]
        return torch.where(changed, batch.gather(0, donors), batch), batch, target

    def closed_form(
        self, networks: Sequence[Autoencoder], generator: torch.Generator
    ) -> Backward | None:
        """Return None: gradients come from autograd."""
        return None

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
        target = self._decoded(target)  # (n, n_cells)
        n_numbers = target.shape[1] - len(self.n_levels)
        seen = ~target.isnan()
        target = target.nan_to_num()
        numbers = self.loss.entries(output[:, :n_numbers], target[:, :n_numbers])
        if not self.n_levels:
            return numbers, seen.to(output.dtype)
        codes = target[:, n_numbers:].long()  # (n, n_categories)
        # The encoder has codes for rare categories, but the decoder has no output.
        known = codes < self._counts
        seen[:, n_numbers:] &= known & (self._counts > 1)
        entropies = self._entropies(output[:, n_numbers:], codes.masked_fill(~known, 0))
        costs = torch.cat([numbers, entropies / self.deviances], dim=1)
        return costs, seen.to(output.dtype)

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


def without_nan(costs: Tensor) -> Tensor:
    """Make costs infinite where the network's output has overflowed to NaN."""
    return costs.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _weights(like: Tensor, kept: Tensor, changed_weight: float) -> Tensor:
    """Return weight one for kept entries and another one for those that were changed.

    `torch.where` of two numbers would have the default type that the user has set for
    torch, not that of `like`.
    """
    return torch.full_like(like, changed_weight).masked_fill(kept, 1.0)


def row_means(costs: Tensor, weights: Tensor) -> Tensor:
    # A row of missing values, or of corrupted entries only, may have no weight at all.
    total = weights.sum(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    return (costs * weights).sum(dim=1) / total
