"""Outlier scores from a bag of small models, each scoring rows that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._data.row_keys import Keys, row_keys
from .._data.rows import TrainingData, blocks, take
from .._networks.weights import readonly_tensor
from .._training.resources import one_thread
from .hidden import check_guess, cost_cells, guess, n_columns, vote_cells
from .model import Model
from .rarity import (
    learn_cell_tails,
    learn_part_tail,
    rarity_of_cells,
    rarity_of_parts,
    weighted_quantile,
)
from .table import TableSide

Doubles = NDArray[np.float64]

PARTS = ("surprise", "density", "nearest")
# Width of the kernel, in units of the root mean square distance of a column.
KERNEL_WIDTH = 0.7
# Maximum numbers of groups into which cells are divided to be hidden: to score rows of
# a matrix or of a table, and to explain rows.
_N_GROUPS = 4
_TABLE_GROUPS = 16
_MOST_GROUPS = 32
# Standard deviations to which inputs are clipped, to explain rows and to score tables.
_LIMIT = 3.0
# Weights of the parts of the score. The density does not detect outliers of tables,
# where most distances are between categories.
_WEIGHTS = (1.0, 1.0, 1.0)
_TABLE_WEIGHTS = (1.0, 0.0, 1.0)
# Number of rows whose distances to all references stay in the cache.
_N_AT_ONCE = 256
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ColumnScale:
    """Centres the columns of a matrix and divides each by its own scale.

    Parameters
    ----------
    center, scale : ndarray of shape (n_features,), float64
        Subtracted from the columns, and their divisors.
    """

    center: Doubles
    scale: Doubles

    def forward(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Scale rows, (n, n_features)."""
        scaled: NDArray[Any] = (rows - self.center) / self.scale
        return scaled

    def inverse(self, rows: NDArray[Any]) -> Doubles:
        """Undo `forward`."""
        restored: Doubles = rows * self.scale + self.center
        return restored


def _n_numbers(model: Model[Any]) -> int:
    """Return the number of cells that hold numbers; these come first."""
    side = model.side
    return side.table.layout.n_numbers if isinstance(side, TableSide) else side.width


def learn_column_scale(data: TrainingData) -> ColumnScale:
    """Learn mean and standard deviation of the columns; one for constant columns."""
    rows = take(data.matrix, slice(None), data.index).astype(np.float64)
    weights = data.weights
    with np.errstate(over="ignore", invalid="ignore"):
        center = np.average(rows, axis=0, weights=weights)
        rows -= center
        variance = np.average(np.square(rows, out=rows), axis=0, weights=weights)
    if not np.isfinite(variance).all():
        raise ValueError(
            "The values of X are too large: their variance overflows. Scale them "
            "first, with StandardScaler or RobustScaler for one."
        )
    scale = np.sqrt(variance)
    # The variance of a constant column may be a rounding error.
    tiny = 1e-12 * np.maximum(np.abs(center), 1e-290)
    return ColumnScale(center, np.where(scale > tiny, scale, 1.0))


@dataclass(frozen=True)
class Member:
    """A model, and the rows that it was fitted to.

    Parameters
    ----------
    model : Model
        The model.
    keys : ndarray of shape (n_rows,), uint64
        Keys of these rows.
    places : ndarray of shape (n_rows, n_dimensions), float32
        Positions of these rows, for distances.
    weights : ndarray of shape (n_rows,), float32
        Weights of these rows, with sum one.
    """

    model: Model[Any]
    keys: Keys
    places: NDArray[np.float32]
    weights: NDArray[np.float32]


def place_of(model: Model[Any], rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return the positions of rows, between which distances are measured.

    For a matrix these are the rows: a distance between rows includes those between
    codes and between residuals. For a table they are numbers and indicators, scaled so
    that two categories are as far apart as two numbers on average. For images they are
    the codes.
    """
    if isinstance(model.side, TableSide):
        return _place_in_table(model.side, rows)
    if "image_shape" in model.network.config:
        return model.encode(rows)
    return rows.astype(np.float32)


def _n_places(model: Model[Any]) -> int:
    """Return the width of the result of `place_of`."""
    if isinstance(model.side, TableSide):
        layout = model.side.table.layout
        return layout.n_numbers + sum(n + 1 for n in layout.n_codes)
    if "image_shape" in model.network.config:
        return model.n_features_out
    return int(model.side.width)


def _place_in_table(side: TableSide, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers and indicators of categories, (n, n_dimensions)."""
    layout = side.table.layout
    found = [np.nan_to_num(rows[:, : layout.n_numbers])]
    codes = rows[:, rows.shape[1] - len(layout.n_codes) :]
    for number, n_codes in enumerate(layout.n_codes):
        # The last indicator is for unknown categories; all are zero for a missing
        # value.
        known = np.minimum(codes[:, number, None], n_codes)
        found.append(known == np.arange(n_codes + 1))
    places = np.column_stack(found).astype(np.float32)
    # Distances are means over the columns of `places`, but must be means over cells.
    places *= math.sqrt(places.shape[1] / side.width)
    return places


@dataclass(frozen=True)
class Units:
    """Location and scale of costs and scores of rows that a member has not seen.

    Parameters
    ----------
    cells : ndarray of shape (n_cells,), float64
        Scale of the costs of each cell.
    centers, scales : ndarray of shape (n_parts,), float64
        Median and interquartile range of each part of the score; for a table, median
        and distance from there to the start of the tail.
    cell_tails : ndarray of shape (2, n_cells), float64, or None
        For a table, tails of the surprise of each cell, see `learn_cell_tails`.
    part_tails : ndarray of shape (n_parts,), float64, or None
        For a table, scales of the tails of the parts.
    """

    cells: Doubles
    centers: Doubles
    scales: Doubles
    cell_tails: Doubles | None = None
    part_tails: Doubles | None = None

    def scores(self, parts: Doubles, weights: Sequence[float]) -> Doubles:
        """Combine parts, (n, n_parts), to scores, (n,)."""
        relative = (parts - self.centers) / self.scales
        if self.part_tails is not None:
            relative = rarity_of_parts(relative, self.part_tails)
        found: Doubles = -np.average(relative, axis=1, weights=weights)
        return found

    def fit(self, width: int, *, is_table: bool) -> bool:
        """Whether the sizes are those for so many cells."""
        n_parts = len(PARTS)
        shapes = [
            None if values is None else values.shape
            for values in (
                self.cells,
                self.centers,
                self.scales,
                self.cell_tails,
                self.part_tails,
            )
        ]
        tails = [(2, width), (n_parts,)] if is_table else [None, None]
        return shapes == [(width,), (n_parts,), (n_parts,), *tails]

    @classmethod
    def none(cls, width: int) -> Units:
        """Return units that leave values unchanged."""
        n_parts = len(PARTS)
        return cls(np.ones(width), np.zeros(n_parts), np.ones(n_parts))


@dataclass(frozen=True)
class OutlierModel:
    """Scores of rows by the members that have not seen them.

    Parameters
    ----------
    scale : ColumnScale or None
        Applied to rows first; None for no scaling.
    members : sequence of Member
        The bag of models.
    units : Units
        Location and scale of costs and parts.
    """

    scale: ColumnScale | None
    members: Sequence[Member]
    units: Units

    def __post_init__(self) -> None:
        first = self.members[0].model
        for member in self.members[1:]:
            member.model.share_trials(first)

    @cached_property
    def _hidden(self) -> list[NDArray[np.bool_]]:
        """Cells that are hidden from each member, one mask of (n_cells,) per member.

        Each member hides one group of cells only, to save time. Consecutive pairs of
        members, which have seen different rows, hide the same group. All groups are
        used before cells are divided into other groups.
        """
        width = self.members[0].model.side.width
        n_groups = min(_N_GROUPS, len(self.members) // 2, width)
        dealt = np.arange(width) % n_groups
        found = []
        for number in range(len(self.members)):
            deal, group = divmod(number // 2, n_groups)
            found.append(np.random.RandomState(deal).permutation(dealt) == group)
        return found

    @cached_property
    def _is_table(self) -> bool:
        return isinstance(self.members[0].model.side, TableSide)

    @cached_property
    def _sorted_keys(self) -> list[Keys]:
        return [np.sort(member.keys) for member in self.members]

    def scores(self, matrix: Any) -> Doubles:
        """Return the score of each row, (n_samples,); lower for outliers."""
        return self.units.scores(self.parts(matrix), self._part_weights)

    @property
    def _part_weights(self) -> Sequence[float]:
        return _TABLE_WEIGHTS if self._is_table else _WEIGHTS

    def parts(self, matrix: Any, costs: NDArray[Any] | None = None) -> Doubles:
        """Return the parts of the scores, larger for outliers, (n_samples, 3).

        The costs of cells are not computed if they are given.
        """
        found = np.empty((matrix.shape[0], len(PARTS)))
        for block, rows, unseen in self._blocks(matrix):
            known = None if costs is None else costs[block]
            found[block, 0] = self._row_surprise(
                self._cell_costs(rows, unseen) if known is None else known
            )
            found[block, 1:] = self._row_places(rows, unseen).T
        return found

    def _row_places(self, rows: NDArray[Any], unseen: NDArray[np.bool_]) -> Doubles:
        """Return how sparse and how far from others the rows are, (2, n).

        Means over the members. But of a table, the nearest row is that of all members:
        a sample has few of the combinations of categories.
        """
        total = np.zeros((2, len(rows)))
        nearest = np.full(len(rows), np.inf)
        # The order of a sum is not to depend on the number of threads.
        with one_thread(_CPU):
            for member, is_unseen in zip(self.members, unseen.T, strict=True):
                parts = _place_parts(member, rows, self._place_divisors)
                total += np.where(is_unseen, parts, 0)
                np.minimum(nearest, parts[1], out=nearest, where=is_unseen)
        total /= unseen.sum(axis=1)
        if self._is_table:
            total[1] = nearest
        return total

    @cached_property
    def _place_divisors(self) -> NDArray[np.float32] | None:
        """Divisors of positions in tables, (n_dimensions,); None for other rows.

        They are the standard deviations over the members' rows. A row of a rare
        category is then far from rows of others, and near to those of its own.
        """
        if not self._is_table:
            return None
        places = np.concatenate([member.places for member in self.members])
        shares = np.concatenate([member.weights for member in self.members])
        shares = shares.astype(np.float64) / shares.sum(dtype=np.float64)
        variance = shares @ places.astype(np.float64) ** 2 - (shares @ places) ** 2
        # Categories that no member has seen are as rare as those of a single row.
        fewest = np.square(places).max(initial=0.0) / len(places)
        divisors: NDArray[np.float32] = np.sqrt(np.maximum(variance, fewest))
        return divisors.astype(np.float32)

    def _row_surprise(self, costs: NDArray[Any]) -> Doubles:
        """Return how surprising each row is given itself, (n,).

        Of a matrix that is the mean over its cells. Of a table it is the most
        surprising cell: errors of typing and copying are in single cells.
        """
        surprise = self._surprise(costs)
        return _largest_known(surprise) if self._is_table else _mean_of_known(surprise)

    def _cell_costs(
        self, rows: NDArray[Any], unseen: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return the costs, (n, n_costs), that rows are scored by."""
        if self._is_table:
            return self._hide_cells(rows, unseen, _TABLE_GROUPS, with_votes=False)[0]
        return self._mean_costs(rows, unseen)

    def explain(self, matrix: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the surprise of each cell, in nats, and votes for expected values."""
        side = self.members[0].model.side
        surprise = np.zeros((matrix.shape[0], side.width), dtype=np.float32)
        votes = np.zeros((matrix.shape[0], len(vote_cells(side))), dtype=np.float32)
        for block, rows, unseen in self._blocks(matrix):
            costs, votes[block] = self._hide_cells(rows, unseen, _MOST_GROUPS)
            surprise[block] = self._surprise(costs)
        return surprise, votes

    def _hide_cells(
        self,
        rows: NDArray[Any],
        unseen: NDArray[np.bool_],
        most_groups: int,
        *,
        with_votes: bool = True,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return costs of hidden cells, (n, n_costs), and votes, (n, n_votes).

        Each cell is hidden from all members, by itself or in one of so many groups.
        """
        side = self.members[0].model.side
        owners, groups = vote_cells(side), np.arange(side.width) % most_groups
        cells = cost_cells(side)
        costs = np.zeros((len(rows), len(cells)), dtype=np.float32)
        votes = np.zeros((len(rows), len(owners)), dtype=np.float32)
        for member, is_unseen in zip(self.members, unseen.T, strict=True):
            share = is_unseen[:, None]
            for number in range(groups.max() + 1):
                chosen = groups == number
                guesses = guess(
                    member.model, rows, chosen, limit=_LIMIT, with_votes=with_votes
                )
                costs[:, chosen[cells]] += np.where(share, guesses.costs, 0)
                if with_votes:
                    votes[:, chosen[owners]] += np.where(share, guesses.votes, 0)
        counts = unseen.sum(axis=1, keepdims=True)
        costs /= counts
        votes /= counts
        return costs, votes

    def _surprise(self, costs: NDArray[Any]) -> Doubles:
        """Convert costs, (n, n_costs), to nats, which can be compared, (n, n_cells).

        Of a table, that is the mean of two: how much less likely a cell is than the
        best guess, and how rare that is in its column. Some columns can hardly be
        predicted, so their cells are often unlikely.
        """
        found = self._nats_below_best(costs)
        if self.units.cell_tails is not None:
            found = (found + rarity_of_cells(found, self.units.cell_tails)) / 2
        return found

    def _nats_below_best(self, costs: NDArray[Any]) -> Doubles:
        """Return how much less likely cells are than the best guess, (n, n_cells).

        For a number it is computed under a heavy-tailed distribution, which tells how
        far off a number is. If there is a predicted distribution, the mean of both
        counts.
        """
        width = len(self.units.cells)
        n_numbers = _n_numbers(self.members[0].model)
        found: Doubles = costs[:, :width] / self.units.cells
        numbers = found[:, :n_numbers]
        np.log1p(numbers, out=numbers)
        if costs.shape[1] > width:
            numbers += costs[:, width:]
            numbers /= 2
        return found

    def _blocks(
        self, matrix: Any
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.bool_]]]:
        """Iterate over scaled rows, with the members that have not seen them.

        Yields
        ------
        block : slice
            Indices of the rows.
        rows : ndarray of shape (n, n_features)
            The rows.
        unseen : ndarray of shape (n, n_members), bool
            Whether a member scores the row. If all have seen it, all score it.
        """
        n_references = max(len(member.keys) for member in self.members)
        for block in blocks(matrix.shape[0], max(matrix.shape[1], n_references)):
            rows = take(matrix, block)
            keys = row_keys(rows)
            unseen = np.column_stack(
                [~_is_among(keys, known) for known in self._sorted_keys]
            )
            unseen[~unseen.any(axis=1)] = True
            yield block, scaled(rows, self.scale), unseen

    def calibrated(
        self, data: TrainingData, n_for_cells: int
    ) -> tuple[OutlierModel, Doubles]:
        """Return the model with units from the training rows, and their scores."""
        rows, weights = take(data.matrix, slice(None), data.index), data.weights
        first, others = rows[:n_for_cells], rows[n_for_cells:]
        found = [
            self._cell_costs(block, unseen) for _, block, unseen in self._blocks(first)
        ]
        costs = np.vstack(found)
        cells = self._cell_scales(
            costs.astype(np.float64),
            None if weights is None else weights[:n_for_cells],
        )
        units = replace(Units.none(len(cells)), cells=cells)
        model = replace(self, units=units)
        if self._is_table:
            surprise = model._nats_below_best(costs)
            few = None if weights is None else weights[:n_for_cells]
            units = replace(units, cell_tails=learn_cell_tails(surprise, few))
            model = replace(self, units=units)
        parts = np.vstack([model.parts(first, costs), model.parts(others)])
        units = _with_part_scales(units, parts, weights)
        return replace(self, units=units), units.scores(parts, self._part_weights)

    def _cell_scales(self, costs: Doubles, weights: Doubles | None) -> Doubles:
        """Return the scales of the costs of cells, (n_cells,), from those of rows."""
        model = self.members[0].model
        scales = np.ones(model.side.width)
        # Costs of categories are nats.
        for cell in range(_n_numbers(model)):
            scales[cell] = _cost_scale(costs[:, cell], weights)
        return scales

    def _mean_costs(self, rows: NDArray[Any], unseen: NDArray[np.bool_]) -> Doubles:
        """Return mean costs of hidden cells, (n, n_cells); NaN where none is hidden."""
        total = np.zeros((len(rows), len(self.units.cells)))
        counts = np.zeros_like(total)
        for member, hidden, is_unseen in zip(
            self.members, self._hidden, unseen.T, strict=True
        ):
            costs = guess(member.model, rows, hidden, with_votes=False).costs
            total[:, hidden] += np.where(is_unseen[:, None], costs, 0)
            counts[:, hidden] += is_unseen[:, None]
        with np.errstate(invalid="ignore"):
            found: Doubles = total / counts
        return found

    def check_sizes(self) -> None:
        """Check that members, units and scales have the same columns and parts."""
        first = self.members[0].model
        width = n_columns(first.side)
        found = {(n_columns(m.model.side), _n_places(m.model)) for m in self.members}
        fits = found == {(width, _n_places(first))}
        cells = vote_cells(first.side)
        for member in self.members:
            shape = len(member.keys), _n_places(first)
            fits &= np.array_equal(vote_cells(member.model.side), cells)
            fits &= member.places.shape == shape
            fits &= len(member.weights) == len(member.keys) > 0
        fits &= self.units.fit(first.side.width, is_table=self._is_table)
        if self.scale is not None:
            fits &= len(self.scale.center) == len(self.scale.scale) == width
        if not fits:
            raise ValueError("Members, units and scales do not fit each other")

    def check_usable(self) -> None:
        """Apply the members to single rows, to detect parts that do not fit."""
        for member, hidden in zip(self.members, self._hidden, strict=True):
            member.model.check_usable()
            check_guess(member.model, hidden)


def scaled(rows: NDArray[Any], scale: ColumnScale | None) -> NDArray[Any]:
    """Return rows in the form that members get."""
    return rows if scale is None else scale.forward(rows)


def _is_among(keys: Keys, ascending: Keys) -> NDArray[np.bool_]:
    """Say which keys are among others."""
    places = np.searchsorted(ascending, keys)
    found: NDArray[np.bool_] = ascending[np.minimum(places, len(ascending) - 1)] == keys
    return found


def _mean_of_known(surprise: Doubles) -> Doubles:
    """Average over the cells of each row; infinity for a row without any value."""
    is_known = ~np.isnan(surprise)
    total = np.where(is_known, surprise, 0).sum(axis=1)
    counts = is_known.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, total / counts, np.inf)


def _largest_known(surprise: Doubles) -> Doubles:
    """Return the largest value of each row; infinity for a row without any."""
    largest = np.where(np.isnan(surprise), -np.inf, surprise).max(axis=1)
    return np.where(np.isneginf(largest), np.inf, largest)


def _place_parts(
    member: Member, rows: NDArray[Any], divisors: NDArray[np.float32] | None
) -> Doubles:
    """Return minus the log of the density, and the distance to the nearest, (2, n)."""
    places = torch.from_numpy(place_of(member.model, rows))
    references = readonly_tensor(member.places)
    if divisors is not None:
        places = places / torch.from_numpy(divisors)
        references = references / torch.from_numpy(divisors)
    weights = readonly_tensor(member.weights)
    lengths = references.square().sum(dim=1)
    found = torch.empty(2, len(places), dtype=torch.float32, device="cpu")
    exponent = -1 / (2 * KERNEL_WIDTH**2 * places.shape[1])
    for start in range(0, len(places), _N_AT_ONCE):
        block = places[start : start + _N_AT_ONCE]
        n_rows = len(block)
        # Padded, so that a row's rounding does not depend on the number of rows.
        block = torch.nn.functional.pad(block, (0, 0, 0, -n_rows % 32))
        own = block.square().sum(dim=1, keepdim=True)
        squares = torch.addmm(lengths, block, references.t(), alpha=-2)
        squares += own  # (n, n_references)
        smallest = squares.amin(dim=1, keepdim=True)
        density = squares.sub_(smallest).mul_(exponent).exp_() @ weights
        nearest = smallest.squeeze(1).clamp(min=0)
        strangeness = -exponent * nearest - density.log()
        both = [strangeness, (nearest / places.shape[1]).sqrt()]
        found[:, start : start + n_rows] = torch.stack(both)[:, :n_rows]
    return found.double().numpy()


def _with_part_scales(units: Units, parts: Doubles, weights: Doubles | None) -> Units:
    """Return units with the scales of parts, from those of rows, (n, n_parts)."""
    if units.cell_tails is not None:
        found = np.array([learn_part_tail(part, weights) for part in parts.T])
        centers, scales, tails = found.T.copy()
        return replace(units, centers=centers, scales=scales, part_tails=tails)
    quartiles = np.array([_quartiles(part, weights) for part in parts.T])
    spread = quartiles[:, 2] - quartiles[:, 0]
    # Rows may be all alike, or so few that most of them are.
    fallback = np.maximum(parts.std(axis=0), 1e-12)
    scales = np.where(spread > 1e-9, spread, fallback)
    return replace(units, centers=quartiles[:, 1], scales=scales)


def _quartiles(values: Doubles, weights: Doubles | None) -> Doubles:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(3)
    shares = None if weights is None else weights[finite]
    return weighted_quantile(values[finite], np.array([0.25, 0.5, 0.75]), shares)


def _cost_scale(costs: Doubles, weights: Doubles | None) -> float:
    """Return the scale of the costs of one cell."""
    seen = ~np.isnan(costs)
    if not seen.any():
        return 1.0
    shares = None if weights is None else weights[seen]
    median = weighted_quantile(costs[seen], np.array([0.5]), shares)[0]
    mean = np.average(costs[seen], weights=shares)
    return float(2 * median + 1e-3 * mean + 1e-9)
