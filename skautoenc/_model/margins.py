"""Margins of new rows, corrected to those of the training rows."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.rows import Rows, blocks
from .model import Model
from .sampling import Draw, cell_logits, inputs_of_cells, logits_of_cells, softmax
from .table import TableSide

Floats = NDArray[np.float64]

# Maximum number of training rows that the shares of bins and categories are those of.
_MOST_ROWS = 2**14
# Numbers of rows that are drawn, and maximum number of their cells, so that it takes
# about a tenth of the time of a fit of the default length.
_FEWEST_DRAWN, _MOST_DRAWN, _MOST_CELLS = 256, 2048, 2**15
# Decimal places of shifts in files.
_DECIMALS = 4


def margin_shifts(model: Model[TableSide], rows: Rows) -> list[float]:
    """Compare the margins of new rows with those of training rows.

    Cells of new rows are drawn from distributions given few other cells, which are
    rarer in training than complete rows, and given cells that were drawn themselves.
    Errors of these distributions add up in the margins.

    Parameters
    ----------
    model : Model
        A model of a table that predicts distributions of all numbers.
    rows : Rows
        The training rows.

    Returns
    -------
    list of float, one for each of `cell_logits`
        The logarithm of the ratio of the shares of each bin or category. The logits of
        new rows are to be shifted by it.
    """
    table = model.side.table
    n_rows = min(max(2 * len(rows), _FEWEST_DRAWN), _MOST_DRAWN)
    n_rows = min(n_rows, _MOST_CELLS // table.layout.n_cells + 1)
    nothing = np.full((n_rows, len(table.layout.cells)), np.nan, dtype=np.float32)
    # Part of a numerical integration, and not of the random choices of the fit.
    draw = Draw(model, nothing, np.random.RandomState(0), for_new_rows=True)
    draw.run()
    shifts = np.zeros_like(draw.expected)
    wanted = _totals_of_fit(model, rows)
    bounds = accumulate(logits_of_cells(table), initial=0)
    for start, stop in pairwise(bounds):
        of_cell = slice(start, stop)
        total = wanted[of_cell].sum()
        if total and stop - start > 1:
            # Half a row more keeps rare categories from extremes.
            expected = n_rows * wanted[of_cell] / total + 0.5
            shifts[of_cell] = np.log(expected / (draw.expected[of_cell] + 0.5))
    found: list[float] = shifts.round(_DECIMALS).tolist()
    return found


def _totals_of_fit(model: Model[TableSide], rows: Rows) -> Floats:
    """Count the training rows in each bin and category, (n_logits,).

    What is missing is predicted: if cells are missing depending on other cells, the
    known ones alone would not have the margins of complete rows.
    """
    table = model.side.table
    widths = logits_of_cells(table)
    totals = np.zeros(sum(widths))
    sample = rows.spread(_MOST_ROWS)
    for block in blocks(len(sample), len(totals)):
        matrix = rows[sample[block]].cpu().numpy()
        weights = rows.weights(sample[block])
        shares = np.ones(len(matrix)) if weights is None else weights.cpu().numpy()
        logits = cell_logits(model, matrix)
        bounds = pairwise(accumulate(widths, initial=0))
        cells = zip(table.in_order, inputs_of_cells(table), bounds, strict=True)
        for column, places, (start, stop) in cells:
            if stop > start:
                values = matrix[:, places[0]]
                totals[start:stop] += _totals_of_cell(
                    column, values, logits[:, start:stop], shares
                )
    return totals


def _totals_of_cell(
    column: Any,
    values: NDArray[np.float32],
    logits: NDArray[np.float32],
    weights: NDArray[Any],
) -> Floats:
    """Count the rows in each bin or category of a column, (n_bins or n_levels,)."""
    width, is_missing = logits.shape[1], np.isnan(values)
    codes = np.where(is_missing, width, values)
    if column.kind != "category":
        codes = np.where(is_missing, width, np.searchsorted(column.edges, values))
    # Rare categories are never drawn.
    is_known = codes < width
    totals: Floats = np.bincount(
        codes[is_known].astype(np.int64), weights[is_known], minlength=width
    ) + weights[is_missing] @ softmax(logits[is_missing])
    return totals
