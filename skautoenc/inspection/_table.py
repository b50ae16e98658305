"""Rows of frames as tables of cells, and columns as labelled bars."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._common import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Wider frames do not fit on a page: of numbers, they are drawn as images or lines.
MOST_COLUMNS = 20
# Error at which a cell is darkest, in standard deviations.
_DARKEST = 2.0
# In inches: a cell, and the room for the labels of rows and of columns.
_CELL_SIZE = (0.95, 0.45)
_LABELS = (1.0, 1.1)


def is_table(rows: Any) -> bool:
    """Whether rows are better written as cells than drawn as images or lines."""
    if not hasattr(rows, "columns"):
        return np.dtype(getattr(rows, "dtype", float)).hasobject
    return rows.shape[1] <= MOST_COLUMNS or any(
        column_numbers(column) is None for column in objects(rows).T
    )


def column_names(rows: Any) -> list[str]:
    """Return the names of columns; numbers if they have none."""
    # The columns of pyarrow are the data, not the names.
    names = getattr(rows, "column_names", getattr(rows, "columns", None))
    return list(map(str, range(rows.shape[1]) if names is None else names))


def objects(values: Any) -> NDArray[Any]:
    """Return a frame or an array as a matrix of objects."""
    if hasattr(values, "columns"):
        frame = nw.from_native(values, eager_only=True)
        cells = np.empty(frame.shape, dtype=object)
        # Column by column: in an array of numbers, dates of polars would be numbers.
        for number, column in enumerate(frame.iter_columns()):
            cells[:, number] = column.to_list()
        return cells
    found = np.asarray(values)
    matrix: NDArray[Any] = found.astype(object).reshape(len(found), -1)
    return matrix


def write(value: Any) -> str:
    """Format a cell in a few characters."""
    if pd.isna(value):
        return "missing"
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | float | np.number):
        is_long = 1e3 <= abs(float(value)) < 1e7
        return f"{value:.0f}" if is_long else f"{value:.3g}"
    return str(value).removesuffix(" 00:00:00")


def column_numbers(column: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return the values of a column as numbers, NaN if missing; None for categories."""
    gaps = pd.isna(column)
    values = column[~gaps]
    found = np.full(len(column), np.nan)
    if all(_is_number(value) for value in values):
        found[~gaps] = values.astype(float)
    elif all(hasattr(value, "toordinal") for value in values):
        found[~gaps] = [pd.Timestamp(value).timestamp() for value in values]
    else:
        return None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_)


def cell_errors(originals: NDArray[Any], again: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far cells are off: in standard deviations, or 2 for a wrong category.

    Parameters
    ----------
    originals, again : ndarray of shape (n_rows, n_columns), object
        Cells and their reconstructions.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        NaN where the original is missing.
    """
    errors = np.empty(originals.shape)
    for place, (column, other) in enumerate(zip(originals.T, again.T, strict=True)):
        numbers, expected = column_numbers(column), column_numbers(other)
        if numbers is None or expected is None:
            errors[:, place] = _DARKEST * (column.astype(str) != other.astype(str))
            errors[pd.isna(column), place] = np.nan
            continue
        present = numbers[~np.isnan(numbers)]
        spread = float(present.std()) if len(present) else 0.0
        errors[:, place] = np.abs(numbers - expected) / (spread or 1.0)
    return errors


def draw_table(
    ax: Axes | None,
    originals: NDArray[Any],
    again: NDArray[Any],
    names: Sequence[str],
) -> tuple[Axes, NDArray[Any]]:
    """Write each cell with its reconstruction below, darker where these differ.

    Returns
    -------
    ax : Axes
        The given axes, or those of a new figure.
    texts : ndarray of shape (n_rows, n_columns)
        The :class:`matplotlib.text.Text` of each cell.
    """
    errors = cell_errors(originals, again)
    n_rows, n_columns = errors.shape
    if ax is None:
        size = n_columns * _CELL_SIZE[0], n_rows * _CELL_SIZE[1]
        ax = new_axes((max(4.0, size[0] + _LABELS[0]), size[1] + _LABELS[1]))
    ax.imshow(
        np.nan_to_num(errors), cmap="Oranges", vmin=0, vmax=_DARKEST, aspect="auto"
    )
    texts = np.empty(errors.shape, dtype=object)
    for row, column in np.ndindex(errors.shape):
        cells = write(originals[row, column]), write(again[row, column])
        texts[row, column] = ax.text(
            column,
            row,
            "\n".join(cells),
            ha="center",
            va="center",
            fontsize="x-small",
            color="white" if errors[row, column] > 0.75 * _DARKEST else "black",
        )
    ax.set_xticks(range(n_columns), list(names), rotation=30, ha="right")
    ax.set_yticks(range(n_rows), [f"row {row}" for row in range(n_rows)])
    ax.set_title("Each value above its reconstruction")
    return ax, texts


def draw_bars(
    ax: Axes, values: NDArray[Any], largest: float, names: Sequence[str] | None
) -> Any:
    """Draw one horizontal bar per column: red to the right, blue to the left."""
    colors = np.where(values < 0, "tab:blue", "tab:red")
    bars = ax.barh(range(len(values)), values, color=list(colors))
    ax.set_xlim(-1.05 * largest, 1.05 * largest)
    ax.invert_yaxis()
    ax.axvline(0, color="0.6", linewidth=0.8)
    if names is not None:
        ax.set_yticks(range(len(names)), list(names), fontsize="x-small")
    return bars
