"""Corrections of a table's predictions after training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from .._data.rows import N_SAMPLE, Rows, TrainingData
from .._networks.tabular import TabularAutoencoder
from .._objectives.distributions import DistributionObjective
from .._objectives.tabular import TabularObjective
from .filling import predict_by_network
from .linear_fill import learn_linear_fill
from .margins import margin_shifts
from .model import Model
from .table import TableSide

Floats = NDArray[np.float64]

# Temperatures to choose from.
_TEMPERATURES = np.geomspace(0.5, 4.0, 43)
# Held-out cells of a column that count as much as those of all columns together.
_FEW = 30.0


@torch.no_grad()
def calibrate(
    model: Model[TableSide],
    objective: TabularObjective,
    rows: Rows,
    held_out: Rows | None,
    *,
    count: float,
    whole: TrainingData | None,
    with_margins: bool,
) -> Model[TableSide]:
    """Correct the predictions of a model that was just trained.

    Corrections of distributions are stored in the network: temperatures, which are part
    of all predictions except those of new rows, and shifts, which are part of those of
    new rows only (see `margin_shifts`). Missing cells are filled with averages of the
    network's and linear predictions, which are part of the input side.

    Parameters
    ----------
    model : Model
        The model, with a network in evaluation mode, which is changed in place.
    objective : TabularObjective
        Its bins.
    rows : Rows
        The training rows.
    held_out : Rows or None
        See `hold_out_cells`.
    count : float
        Number of training rows, where weights may be numbers of equal rows.
    whole : TrainingData or None
        A sample of rows with the cells that are held out; None for the training rows.
    with_margins : bool
        Whether the rows have the margins that new rows should have.

    Returns
    -------
    Model
        The model with linear predictions, if any column gains by them.
    """
    network: Any = model.network
    # Without numbers there is only the cross-entropy of categories.
    if isinstance(objective, DistributionObjective) and held_out is not None:
        _choose_temperatures(network, objective, held_out)
        model = _with_linear_fill(model, rows, held_out, count, whole)
    if with_margins:
        network.shift_new_rows(margin_shifts(model, rows))
    return model


def _with_linear_fill(
    model: Model[TableSide],
    rows: Rows,
    held_out: Rows,
    count: float,
    whole: TrainingData | None,
) -> Model[TableSide]:
    """Return the model with linear predictions of missing cells."""
    training = _sample(rows, count).merge_equal_rows()
    linear = learn_linear_fill(
        model.side.table,
        partial(predict_by_network, model),
        training,
        _sample(held_out, len(held_out)),
        training if whole is None else whole.merge_equal_rows(),
    )
    corrected = replace(model, side=replace(model.side, linear=linear))
    corrected.share_trials(model)
    return corrected


def _sample(rows: Rows, count: float) -> TrainingData:
    """Return a sample of rows whose weights are numbers of equal rows.

    Parameters
    ----------
    rows : Rows
        The rows.
    count : float
        Number of all rows, where weights may be numbers of equal rows.
    """
    matrix, weights = rows.sample(N_SAMPLE)
    if weights is None:
        return TrainingData(matrix.cpu().numpy())
    counts = weights.cpu().double().numpy() * (count / len(rows))
    return TrainingData(matrix.cpu().numpy(), counts)


def _choose_temperatures(
    network: TabularAutoencoder, objective: DistributionObjective, held_out: Rows
) -> None:
    """Draw each distribution towards that of its column, or away from it.

    The differences of logits from those of a row without any value are divided by a
    temperature, for each cell the one that held-out cells like best. With nothing
    given, a distribution stays as it is. The weights of the last layer are divided, so
    nothing else has to know.
    """
    costs, counts = _costs(network, objective, held_out)
    means = costs / np.maximum(counts, 1)[:, None]  # (n_cells, n_temperatures)
    weights = np.minimum(counts, _FEW)
    if not weights.any():
        return
    common = weights @ means / weights.sum()  # (n_temperatures,)
    best = (costs + _FEW * common).argmin(axis=1)
    network.temper(_TEMPERATURES[best].tolist())


def _costs(
    network: TabularAutoencoder, objective: DistributionObjective, held_out: Rows
) -> tuple[Floats, Floats]:
    """Return what held-out cells cost at each temperature, in nats, and their number.

    They have the shapes (n_cells, n_temperatures) and (n_cells,), and are weighted sums
    over rows.
    """
    widths = objective.logit_counts
    costs, counts = np.zeros((len(widths), len(_TEMPERATURES))), np.zeros(len(widths))
    nothing = network.logits_of_nothing().cpu().double()
    bounds = list(pairwise(accumulate(widths, initial=0)))
    for batch, weights in held_out.batches(max(*network.widths, sum(widths))):
        given, targets = objective.split(batch)
        logits = network.logits(given).cpu().double()
        codes, is_known = (each.cpu() for each in objective.codes(targets))
        shares = logits.new_ones(len(batch))
        if weights is not None:
            shares = weights.cpu().double()
        for cell, (start, stop) in enumerate(bounds):
            rows = is_known[:, cell].nonzero()[:, 0]
            if stop - start > 1 and len(rows):
                share = shares[rows]
                base = nothing[:, start:stop]
                of_cell = logits[rows, start:stop] - base
                costs[cell] += _costs_of_cell(of_cell, base, codes[rows, cell], share)
                counts[cell] += float(share.sum())
    return costs, counts


def _costs_of_cell(
    differences: Tensor, base: Tensor, codes: Tensor, weights: Tensor
) -> Floats:
    """Return the weighted sum of costs at each temperature, (n_temperatures,)."""
    found = [
        weights @ cross_entropy(differences / each + base, codes, reduction="none")
        for each in _TEMPERATURES
    ]
    costs: Floats = torch.stack(found).cpu().numpy()
    return costs
