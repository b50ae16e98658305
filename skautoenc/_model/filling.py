"""Predictions that missing cells of tables are filled with."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        Predictions of `predict_by_network`. If the input side has linear predictions,
        missing numbers are averages of both.
    """
    rows, linear = predict_by_network(model, matrix), model.side.linear
    return rows if linear is None else linear.average(rows, matrix)


def predict_by_network(
    model: Model[TableSide], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return rows that the network has reconstructed.

    Missing numbers with distributions are averages of the predicted value and the mean
    of the distribution. Their errors are not the same, so an average has smaller ones.
    """
    here = model.where_the_network_is()
    side, network = here.side, here.network
    layout = side.table.layout
    if not layout.n_bins:
        return model.reconstruct(matrix)

    def predict(batch: Tensor) -> Tensor:
        output: Any = network.decode_all(network.encode(batch))  # type: ignore[operator]
        decoded, logits = output.tensor_split([network.n_outputs], dim=1)
        return torch.cat([side.decoded(decoded), logits], dim=1)

    width = side.width + sum(layout.n_bins)
    found = here.blockwise.apply("predict", predict, side.new_rows(matrix), width)
    rows, logits = found[:, : side.width].copy(), found[:, side.width :]
    bounds = pairwise(accumulate(layout.n_bins, initial=0))
    numbers = side.table.in_order[: layout.n_numbers]
    for place, (column, (start, stop)) in enumerate(zip(numbers, bounds, strict=True)):
        gaps = np.flatnonzero(np.isnan(matrix[:, place]))
        if len(gaps) and stop - start > 1:
            # Not a matrix product, which would round by the number of rows.
            products = softmax(logits[gaps, start:stop]) * _means_of_bins(column)
            rows[gaps, place] = (rows[gaps, place] + products.sum(axis=1)) / 2
    return rows


def _means_of_bins(column: Any) -> NDArray[np.float64]:
    """Return the mean of the scaled values of a column in each bin, (n_bins,)."""
    n_bins = len(column.bins)
    shares = (np.arange(_N_VALUES) + 0.5) / _N_VALUES
    bins = np.repeat(np.arange(n_bins), _N_VALUES)
    values = column.bins.values(bins, np.tile(shares, n_bins))
    scaled = column.encode_floats(values)[:, 0].astype(np.float64)
    means: NDArray[np.float64] = scaled.reshape(n_bins, _N_VALUES).mean(axis=1)
    return means
