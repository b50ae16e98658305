"""What a network makes of cells that are hidden from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .matrix import MatrixSide
from .model import Model
from .table import TableSide

Floats = NDArray[np.float32]

# Cost, in nats, of a category that no training row had, at least: that of one in 256.
_UNSEEN_COST = math.log(256)


@dataclass(frozen=True)
class Guesses:
    """Costs of hidden cells, and what was expected of them.

    Guesses of several models of one kind can be averaged.

    Parameters
    ----------
    costs : ndarray of shape (n_samples, n_hidden), float32
        Squared errors, or shares of deviance; NaN for a missing value.
    votes : ndarray of shape (n_samples, n_hidden_votes), float32
        Expected numbers in the units of the matrix, or outputs of a table's network.
    """

    costs: Floats
    votes: Floats


def vote_cells(side: MatrixSide | TableSide) -> NDArray[np.int64]:
    """Return the cell that each vote is about, (n_votes,)."""
    cells = np.arange(side.width)
    if isinstance(side, MatrixSide):
        return cells
    layout = side.table.layout
    counts = [1] * layout.n_numbers + list(layout.n_levels)
    return np.repeat(cells, counts)


def guess(
    model: Model[Any],
    matrix: Any,
    hidden: NDArray[np.bool_],
    *,
    limit: float = math.inf,
) -> Guesses:
    """Predict cells from the others.

    Parameters
    ----------
    model : Model
        The model.
    matrix : ndarray of shape (n_samples, n_columns)
        Rows; of a table, encoded ones.
    hidden : ndarray of shape (n_cells,), bool
        The cells to hide and to predict.
    limit : float, default=inf
        Numbers beyond it, in standard deviations, are cut for the network, though not
        where they are to be predicted: far from its training rows a network says
        anything.
    """
    side, network = model.side, model.network
    mask = torch.tensor(hidden, device=side.device)
    votes_about = torch.tensor(hidden[vote_cells(side)], device=side.device)
    n_costs = int(hidden.sum())

    def predict(batch: Tensor) -> Tensor:
        if isinstance(side, TableSide):
            costs, votes = _guess_table(side, network, batch, mask, limit)
        else:
            costs, votes = _guess_matrix(side, network, batch, mask, limit)
        return torch.cat([costs[:, mask], votes[:, votes_about]], dim=1)

    width = n_costs + int(votes_about.sum())
    found = model._apply(predict, model._rows(matrix), width)
    costs, votes = found[:, :n_costs], found[:, n_costs:]
    if isinstance(side, MatrixSide):
        votes = votes * np.float32(side.scale) + side.mean[hidden].astype(np.float32)
    return Guesses(costs, votes)


def _guess_matrix(
    side: MatrixSide, network: Any, batch: Tensor, hidden: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """Return costs and votes, (n, n_features); a hidden value is the mean."""
    source = batch.masked_fill(hidden, 0.0)
    if limit < math.inf:
        source = source.clamp(-limit, limit)
    output = network(side.prepare(source))
    expected = side.decoded(output)
    return (expected - batch).square(), expected


def _guess_table(
    side: TableSide, network: Any, batch: Tensor, hidden: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """Return costs, (n, n_cells), and votes, (n, n_votes)."""
    layout = side.table.layout
    inputs = hidden[torch.tensor(layout.cells, device=batch.device)]
    known = without_unseen(batch, layout.n_codes)
    source = known.masked_fill(inputs, torch.nan)
    source[:, : layout.n_numbers].clamp_(-limit, limit)
    output = network(source)
    costs, seen = side.objective().costs(output, known)
    costs = costs.masked_fill(seen == 0, torch.nan)
    logits = torch.split(output[:, layout.n_numbers :], list(layout.n_levels), dim=1)
    codes = batch[:, batch.shape[1] - len(layout.n_levels) :]
    for number, of_column in enumerate(logits):
        # Rare categories, which share a code, and those that are new.
        is_rare = codes[:, number] >= of_column.shape[1]
        cost = torch.full_like(costs[:, 0], _UNSEEN_COST)
        if of_column.shape[1]:
            rarest = -of_column.log_softmax(dim=1).min(dim=1).values
            cost = torch.maximum(cost, rarest)
        place = layout.n_numbers + number
        costs[:, place] = torch.where(
            is_rare, cost / side.deviances[number], costs[:, place]
        )
    return costs, output


def without_unseen(batch: Tensor, n_codes: tuple[int, ...]) -> Tensor:
    """Return rows in which categories that are new are missing, (n, n_columns)."""
    if not n_codes:
        return batch
    n_others = batch.shape[1] - len(n_codes)
    limits = torch.tensor(n_codes, device=batch.device)
    codes = batch[:, n_others:]
    codes = codes.masked_fill(codes >= limits, torch.nan)
    return torch.cat([batch[:, :n_others], codes], dim=1)


def expected_values(side: MatrixSide | TableSide, votes: Floats) -> Any:
    """Turn votes into values, an array for a matrix, a list of columns for a table."""
    if isinstance(side, MatrixSide):
        return votes
    return side.restore(side.decoded(torch.from_numpy(votes)).numpy())
