"""How strange a row is to a bag of small models that did not see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._data.row_keys import Keys, row_keys
from .._data.rows import TrainingData, blocks, take
from .hidden import guess, vote_cells, without_unseen
from .matrix import MatrixSide
from .model import Model

Doubles = NDArray[np.float64]

PARTS = ("surprise", "density", "nearest")
# Width of the kernel, in units of the root mean square distance of a column.
KERNEL_WIDTH = 0.7
# Number of groups into which cells are dealt to be hidden, for scores and for reasons.
_N_GROUPS = 4
_MOST_GROUPS = 32
# Rows whose distances to all references stay in the cache.
_N_AT_ONCE = 256
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ColumnScale:
    """Columns of a matrix, each centred and divided by a scale of its own.

    Parameters
    ----------
    center, scale : ndarray of shape (n_features,), float64
        Subtracted, and divided by.
    """

    center: Doubles
    scale: Doubles

    def forward(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Scale rows, (n, n_features)."""
        scaled: NDArray[Any] = (rows - self.center) / self.scale
        return scaled

    def inverse(self, rows: NDArray[Any]) -> Doubles:
        """Undo that."""
        restored: Doubles = rows * self.scale + self.center
        return restored


def learn_column_scale(data: TrainingData) -> ColumnScale:
    """Measure mean and standard deviation of the columns; constant ones stay."""
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
    # What rounding leaves of a constant column is no spread.
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
        Keys of its rows.
    places : ndarray of shape (n_rows, n_dimensions), float32
        Where its rows are.
    weights : ndarray of shape (n_rows,), float32
        Their weights; the sum is one.
    """

    model: Model[Any]
    keys: Keys
    places: NDArray[np.float32]
    weights: NDArray[np.float32]


def place_of(model: Model[Any], rows: NDArray[Any]) -> NDArray[np.float32]:
    """Say where rows are, so that distances between them can be measured.

    The rows of a matrix themselves: that is the place of the code and of the residual
    at once. Of a table and of images, the features that the model gives.
    """
    is_image = "image_shape" in model.network.config
    if isinstance(model.side, MatrixSide) and not is_image:
        return rows.astype(np.float32)
    if not isinstance(model.side, MatrixSide):
        codes = model.side.table.layout.n_codes
        rows = without_unseen(torch.from_numpy(rows), codes).numpy()
    return model.encode(rows)


@dataclass(frozen=True)
class Units:
    """What is usual of rows that a member has not seen.

    Parameters
    ----------
    cells : ndarray of shape (n_cells,), float64
        Scale of the costs of each cell.
    centers, scales : ndarray of shape (n_parts,), float64
        Median and interquartile range of each part of the score.
    """

    cells: Doubles
    centers: Doubles
    scales: Doubles

    def scores(self, parts: Doubles) -> Doubles:
        """Turn parts, (n, n_parts), into scores, (n,)."""
        found: Doubles = -((parts - self.centers) / self.scales).mean(axis=1)
        return found

    @classmethod
    def none(cls, width: int) -> Units:
        """Return units that change nothing."""
        n_parts = len(PARTS)
        return cls(np.ones(width), np.zeros(n_parts), np.ones(n_parts))


@dataclass(frozen=True)
class OutlierModel:
    """Scores of rows by the members that have not seen them.

    Parameters
    ----------
    scale : ColumnScale or None
        Applied to rows first; None for rows that stay as they are.
    members : sequence of Member
        The bag.
    units : Units
        What is usual.
    """

    scale: ColumnScale | None
    members: Sequence[Member]
    units: Units

    @cached_property
    def _hidden(self) -> list[NDArray[np.bool_]]:
        """Say which cells are hidden from each member, (n_cells,).

        A group of cells from each, to save time. Two members in a row, which have not
        seen the same rows, have the same group; all groups are dealt before the next
        deal.
        """
        width = self.members[0].model.side.width
        n_groups = min(_N_GROUPS, len(self.members) // 2, width)
        dealt = np.arange(width) % n_groups
        found = []
        for number in range(len(self.members)):
            deal, group = divmod(number // 2, n_groups)
            found.append(np.random.RandomState(deal).permutation(dealt) == group)
        return found

    def scores(self, matrix: Any) -> Doubles:
        """Return how usual each row is, (n_samples,)."""
        return self.units.scores(self.parts(matrix))

    def parts(self, matrix: Any) -> Doubles:
        """Return the parts of the score, large for strange rows, (n_samples, 3)."""
        found = np.empty((matrix.shape[0], len(PARTS)))
        for block, rows, unseen in self._blocks(matrix):
            total = np.zeros((len(rows), 2))
            for member, is_unseen in zip(self.members, unseen.T, strict=True):
                total += np.where(is_unseen[:, None], _place_parts(member, rows), 0)
            costs = self._mean_costs(rows, unseen)
            found[block, 0] = _mean_surprise(costs / self.units.cells)
            found[block, 1:] = total / unseen.sum(axis=1, keepdims=True)
        return found

    def explain(self, matrix: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return how surprising each cell is, and votes for what was expected."""
        side = self.members[0].model.side
        owners, width = vote_cells(side), side.width
        groups = np.arange(width) % _MOST_GROUPS
        costs = np.zeros((matrix.shape[0], width), dtype=np.float32)
        votes = np.zeros((matrix.shape[0], len(owners)), dtype=np.float32)
        for block, rows, unseen in self._blocks(matrix):
            counts = unseen.sum(axis=1, keepdims=True)
            for member, is_unseen in zip(self.members, unseen.T, strict=True):
                share = is_unseen[:, None]
                for number in range(groups.max() + 1):
                    chosen = groups == number
                    guesses = guess(member.model, rows, chosen)
                    costs[block, chosen] += np.where(share, guesses.costs, 0)
                    votes[block, chosen[owners]] += np.where(share, guesses.votes, 0)
            costs[block] /= counts
            votes[block] /= counts
        costs /= self.units.cells.astype(np.float32)
        return costs, votes

    def _blocks(
        self, matrix: Any
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.bool_]]]:
        """Run through scaled rows, with the members that have not seen them.

        Yields
        ------
        block : slice
            Which rows.
        rows : ndarray of shape (n, n_features)
            The rows.
        unseen : ndarray of shape (n, n_members), bool
            Whether a member counts. Where all have seen a row, all do.
        """
        n_references = max(len(member.keys) for member in self.members)
        for block in blocks(matrix.shape[0], max(matrix.shape[1], n_references)):
            rows = take(matrix, block)
            keys = row_keys(rows)
            unseen = np.column_stack(
                [~np.isin(keys, member.keys) for member in self.members]
            )
            unseen[~unseen.any(axis=1)] = True
            yield block, scaled(rows, self.scale), unseen

    def calibrated(
        self, data: TrainingData, n_for_cells: int
    ) -> tuple[OutlierModel, Doubles]:
        """Return the model with the units of training rows, and their scores."""
        weights = data.weights
        few = TrainingData(
            take(data.matrix, slice(0, n_for_cells), data.index),
            None if weights is None else weights[:n_for_cells],
        )
        found = [self._mean_costs(rows, ok) for _, rows, ok in self._blocks(few.matrix)]
        costs = np.vstack(found)
        cells = np.array([_cost_scale(column, few.weights) for column in costs.T])
        width = len(cells)
        model = replace(self, units=replace(Units.none(width), cells=cells))
        parts = model.parts(take(data.matrix, slice(None), data.index))
        quartiles = np.array([_quartiles(part, weights) for part in parts.T])
        spread = quartiles[:, 2] - quartiles[:, 0]
        # Rows may be all alike, or so few that most are.
        fallback = np.maximum(parts.std(axis=0), 1e-12)
        units = Units(cells, quartiles[:, 1], np.where(spread > 1e-9, spread, fallback))
        return replace(self, units=units), units.scores(parts)

    def _mean_costs(self, rows: NDArray[Any], unseen: NDArray[np.bool_]) -> Doubles:
        """Return costs of hidden cells, (n, n_cells); NaN where there are none."""
        total = np.zeros((len(rows), len(self.units.cells)))
        counts = np.zeros_like(total)
        for member, hidden, is_unseen in zip(
            self.members, self._hidden, unseen.T, strict=True
        ):
            costs = guess(member.model, rows, hidden).costs
            total[:, hidden] += np.where(is_unseen[:, None], costs, 0)
            counts[:, hidden] += is_unseen[:, None]
        with np.errstate(invalid="ignore"):
            found: Doubles = total / counts
        return found

    def check_usable(self) -> None:
        """Apply the model once in each way: parts that do not fit show then."""
        for member in self.members:
            member.model.check_usable()
        row = np.zeros((1, self.members[0].model.network.widths[0]))
        self.explain(row)
        self.scores(row)


def scaled(rows: NDArray[Any], scale: ColumnScale | None) -> NDArray[Any]:
    """Return rows as members see them."""
    return rows if scale is None else scale.forward(rows)


def _mean_surprise(relative: Doubles) -> Doubles:
    """Average over the cells of each row; infinity for a row without any value."""
    is_known = ~np.isnan(relative)
    total = np.log1p(np.where(is_known, relative, 0)).sum(axis=1)
    counts = is_known.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, total / counts, np.inf)


def _place_parts(member: Member, rows: NDArray[Any]) -> Doubles:
    """Return minus the log of the density, and the distance to the nearest, (n, 2)."""
    places = torch.from_numpy(place_of(member.model, rows))
    references = torch.from_numpy(member.places)
    weights = torch.from_numpy(member.weights)
    lengths = references.square().sum(dim=1)
    found = torch.empty(len(places), 2, dtype=torch.float32, device="cpu")
    exponent = -1 / (2 * KERNEL_WIDTH**2 * places.shape[1])
    for start in range(0, len(places), _N_AT_ONCE):
        block = places[start : start + _N_AT_ONCE]
        n_rows = len(block)
        # A row's result is not to depend on how many others there are.
        block = torch.nn.functional.pad(block, (0, 0, 0, -n_rows % 32))
        own = block.square().sum(dim=1, keepdim=True)
        squares = torch.addmm(lengths, block, references.t(), alpha=-2)
        squares += own  # (n, n_references)
        smallest = squares.min(dim=1, keepdim=True).values
        density = squares.sub_(smallest).mul_(exponent).exp_() @ weights
        nearest = smallest.squeeze(1).clamp(min=0)
        strangeness = -exponent * nearest - density.log()
        both = [strangeness, (nearest / places.shape[1]).sqrt()]
        found[start : start + n_rows] = torch.stack(both, dim=1)[:n_rows]
    return found.double().numpy()


def _quartiles(values: Doubles, weights: Doubles | None) -> Doubles:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(3)
    shares = None if weights is None else weights[finite]
    return weighted_quantile(values[finite], np.array([0.25, 0.5, 0.75]), shares)


def _cost_scale(costs: Doubles, weights: Doubles | None) -> float:
    """Return a scale of the costs of one cell."""
    seen = ~np.isnan(costs)
    if not seen.any():
        return 1.0
    shares = None if weights is None else weights[seen]
    median = weighted_quantile(costs[seen], np.array([0.5]), shares)[0]
    mean = np.average(costs[seen], weights=shares)
    return float(2 * median + 1e-3 * mean + 1e-9)


def weighted_quantile(
    values: Doubles, shares: Doubles, weights: Doubles | None
) -> Doubles:
    """Return the values below which lie shares of the weight, (n_shares,).

    They lie halfway between two values, so that rounding moves no value across.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    reached = np.cumsum(np.ones(len(values)) if weights is None else weights[order])
    wanted = shares * reached[-1]
    above = np.searchsorted(reached, wanted * (1 + 1e-12), side="right")
    above = np.minimum(above, len(values) - 1)
    below = np.maximum(above - 1, 0)
    found: Doubles = (ascending[above] + ascending[below]) / 2
    return found
