"""Predictions that missing cells of tables are filled with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .linear_fill import Predictions, bounds
from .model import Model
from .sampling import softmax
from .table import TableSide

# Values of each bin that its mean is computed from.
_N_VALUES = 32


def predict_missing(
    model: Model[TableSide], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return decoded rows to fill missing cells from.

    Parameters
    ----------
    model : Model
        A model of a table.
    matrix : ndarray of shape (n_samples, n_inputs), float32
        Encoded rows; NaN for missing values.

    Returns
    -------
    ndarray of shape (n_samples, side.width), float32
        Missing numbers, and codes of the likeliest categories. They are those of the
        network, or of averages with linear predictions if the input side has any.
    """
    side = model.side
    if not side.table.layout.n_bins:
        return model.reconstruct(matrix)
    predictions = predict_by_network(model, matrix)
    if side.linear is not None:
        predictions = side.linear.average(predictions, matrix)
    return predictions.rows(side.table.layout.n_levels)


def predict_by_network(
    model: Model[TableSide], matrix: NDArray[np.float32]
) -> Predictions:
    """Return what a network that predicts distributions says of missing cells.

    Numbers are averages of the predicted value and the mean of the distribution. Their
    errors are not the same, so an average has smaller ones.
    """
    here = model.where_the_network_is()
    network: Any = here.network
    layout = here.side.table.layout

    def predict(batch: Tensor) -> Tensor:
        found: Tensor = network.decode_all(network.encode(batch))
        return found

    rows, width = here.side.new_rows(matrix), network.n_outputs + network.n_bins
    found = here.blockwise.apply("predict", predict, rows, width)
    ends = [layout.n_numbers, network.n_outputs]
    numbers, levels, bins = np.split(found, ends, axis=1)
    return Predictions(
        _numbers(here.side, numbers, bins, matrix), _chances(here.side, levels, matrix)
    )


def _numbers(
    side: TableSide,
    values: NDArray[np.float32],
    logits: NDArray[np.float32],
    matrix: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Average predicted values with the means of distributions, (n, n_numbers)."""
    found, layout = values.copy(), side.table.layout
    columns = side.table.in_order[: layout.n_numbers]
    bins = zip(columns, bounds(layout.n_bins), strict=True)
    for place, (column, (start, stop)) in enumerate(bins):
        gaps = np.flatnonzero(np.isnan(matrix[:, place]))
        if len(gaps) and stop - start > 1:
            # Not a matrix product, which would round by the number of rows.
            products = softmax(logits[gaps, start:stop]) * _means_of_bins(column)
            found[gaps, place] = (values[gaps, place] + products.sum(axis=1)) / 2
    return found


def _means_of_bins(column: Any) -> NDArray[np.float64]:
    """Return the mean of the scaled values of a column in each bin, (n_bins,)."""
    n_bins = len(column.bins)
    shares = (np.arange(_N_VALUES) + 0.5) / _N_VALUES
    bins = np.repeat(np.arange(n_bins), _N_VALUES)
    values = column.bins.values(bins, np.tile(shares, n_bins))
    scaled = column.encode_floats(values)[:, 0].astype(np.float64)
    means: NDArray[np.float64] = scaled.reshape(n_bins, _N_VALUES).mean(axis=1)
    return means


def _chances(
    side: TableSide, logits: NDArray[np.float32], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return probabilities of missing categories; zero where a cell is known."""
    found, n_levels = np.zeros_like(logits), side.table.layout.n_levels
    for place, (start, stop) in enumerate(bounds(n_levels)):
        cells = matrix[:, matrix.shape[1] - len(n_levels) + place]
        gaps = np.flatnonzero(np.isnan(cells))
        if len(gaps) and stop > start:
            found[gaps, start:stop] = softmax(logits[gaps, start:stop])
    return found
