"""Margins and pairs of columns, of the rows of a table and of drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import _num_samples

from ._common import check_sampler, make_tiles, new_axes, take_evenly
from ._table import column_names, column_numbers, objects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Columns that are drawn if none are named.
_N_COLUMNS = 5
_N_POINTS = 500
# Rows that are drawn from an estimator, at most, unless their number is given.
_MOST_DRAWN = 2000
_REAL_COLOR, _DRAWN_COLOR = "0.45", "#3f90da"
# In inches: a tile, and the room for the labels.
_SIDE, _LABELS = 1.5, 0.6
# Longest name of a category, in characters.
_LONGEST = 9
# Widths of a bar, and of the band in which the points of a category are scattered.
_BAR, _BAND = 0.4, 0.6
# Multiples of these are spread evenly over the unit square.
_STEPS = 0.7548776662466927, 0.5698402909980532


class _Column(NamedTuple):
    """Values of a column as positions on an axis.

    Parameters
    ----------
    name : str
        Its name.
    real, drawn : ndarray of float
        Numbers, or positions of categories; NaN where missing.
    levels : list of str or None
        Names of categories, by their position; None for numbers and dates.
    """

    name: str
    real: NDArray[np.float64]
    drawn: NDArray[np.float64]
    levels: list[str] | None

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest position, with some room."""
        if self.levels is not None:
            return -0.6, max(len(self.levels), 1) - 0.4
        both = np.concatenate([self.real, self.drawn])
        both = both[np.isfinite(both)]
        lowest, highest = (both.min(), both.max()) if len(both) else (0.0, 0.0)
        margin = 0.05 * (highest - lowest) or 1.0
        return float(lowest - margin), float(highest + margin)


class PairsDisplay:
    """Margins and pairs of columns, of real rows and of drawn ones.

    The diagonal compares the margins: histograms of numbers and dates, bars of
    categories. Below it are the pairs of columns in real rows, above it those in drawn
    ones. If drawn rows are good, the picture is symmetric.

    Parameters
    ----------
    real : frame or array-like of shape (n_real, n_features)
        Rows of the data.

    drawn : frame or array-like of shape (n_drawn, n_features)
        Rows with the same columns.

    columns : sequence of str or int, default=None
        Names or positions of the columns to draw. None is the first five.

    Attributes
    ----------
    axes_ : ndarray of shape (n_columns, n_columns)
        The axes of each margin and pair, which lie within `ax_`.

    artists_ : ndarray of shape (n_columns, n_columns)
        On the diagonal, a list of two :class:`matplotlib.container.BarContainer` or
        :class:`matplotlib.patches.StepPatch`, of real and of drawn rows. Elsewhere the
        :class:`matplotlib.lines.Line2D` whose markers are the rows.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> import pandas as pd
    >>> from skautoenc.inspection import PairsDisplay
    >>> real = pd.DataFrame({"size": [1.0, 2.0, 3.0], "fits": ["S", "S", "L"]})
    >>> drawn = pd.DataFrame({"size": [1.5, 2.5], "fits": ["S", "L"]})
    >>> display = PairsDisplay(real, drawn).plot()
    >>> display.axes_.shape
    (2, 2)
    """

    def __init__(
        self, real: Any, drawn: Any, *, columns: Sequence[Any] | None = None
    ) -> None:
        self.real = real
        self.drawn = drawn
        self.columns = columns

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw margins and pairs.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : PairsDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If real and drawn rows have different columns, or if a column in `columns`
            does not exist.

        Examples
        --------
        >>> import numpy as np
        >>> from skautoenc.inspection import PairsDisplay
        >>> rows = np.eye(3)
        >>> display = PairsDisplay(rows, rows[:2], columns=[0, 2]).plot()
        >>> display.axes_[1, 0].get_xlabel()
        '0'
        """
        columns = self._read()
        n = len(columns)
        if ax is None:
            ax = new_axes((_SIDE * n + _LABELS, _SIDE * n + _LABELS))
        self.ax_, self.axes_ = make_tiles(ax, (n, n), (1, 1))
        self.figure_ = self.ax_.figure
        self.artists_ = np.empty((n, n), dtype=object)
        for row, column in np.ndindex(n, n):
            tile: Any = self.axes_[row, column]
            x, y = columns[column], columns[row]
            tile.set_xlim(x.limits)
            if row == column:
                self.artists_[row, column] = _draw_margin(tile, x)
            else:
                self.artists_[row, column] = _draw_pair(
                    tile, x, y, is_real=row > column
                )
            if row == n - 1:
                _label(tile.xaxis, x)
            if column == 0:
                _label(tile.yaxis, y, ticks=row > 0)
        self.ax_.set_title("Real rows (grey, below) and drawn ones (blue, above)")
        return self

    def _read(self) -> list[_Column]:
        names = column_names(self.real)
        others = column_names(self.drawn)
        if names != others:
            raise ValueError(
                f"real and drawn must have the same columns, got {names} and {others}."
            )
        places = list(range(min(len(names), _N_COLUMNS)))
        if self.columns is not None:
            places = [_place(name, names) for name in self.columns]
        real, drawn = objects(self.real), objects(self.drawn)
        return [
            _read_column(names[place], real[:, place], drawn[:, place])
            for place in places
        ]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        columns: Sequence[Any] | None = None,
        n_samples: int | None = None,
        conditions: Any = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw rows from a fitted autoencoder of tables, and compare them with `X`.

        Parameters
        ----------
        estimator : TabularAutoencoderTransformer
            A fitted estimator with ``number_output="distribution"``.

        X : frame or array-like of shape (n_samples, n_features)
            Real rows. With `conditions`, those that meet them.

        columns : sequence of str or int, default=None
            Names or positions of the columns to draw. None is the first five.

        n_samples : int, default=None
            Number of rows to draw, as in `sample`. None is that of `X`, and at most
            2,000; 1 with `conditions` of several rows.

        conditions : dict, frame, array-like or None, default=None
            Cells that are given, see
            :meth:`skautoenc.TabularAutoencoderTransformer.sample`.

        random_state : int, RandomState instance or None, default=None
            Seed or generator of the draws.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : PairsDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` draws no rows of tables.
        ValueError
            If a parameter is invalid.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from skautoenc import TabularAutoencoderTransformer
        >>> from skautoenc.inspection import PairsDisplay
        >>> size = np.random.default_rng(0).normal(170, 10, 400)
        >>> frame = pd.DataFrame({"size": size, "fits": np.where(size > 175, "L", "S")})
        >>> model = TabularAutoencoderTransformer(
        ...     number_output="distribution", max_iter=5, random_state=0
        ... ).fit(frame)
        >>> display = PairsDisplay.from_estimator(model, frame, random_state=0)
        >>> display.axes_[1, 0].get_ylabel()
        'fits'
        """
        check_sampler(estimator)
        if n_samples is not None:
            check_scalar(n_samples, "n_samples", Integral, min_val=1)
        elif conditions is None or isinstance(conditions, dict):
            n_samples = min(_num_samples(X), _MOST_DRAWN)
        drawn = estimator.sample(
            n_samples or 1, conditions=conditions, random_state=random_state
        )
        return cls(X, drawn, columns=columns).plot(ax)


def _place(name: Any, names: list[str]) -> int:
    """Return the position of a column, given its name or position."""
    if str(name) in names:
        return names.index(str(name))
    if isinstance(name, int) and 0 <= name < len(names):
        return int(name)
    raise ValueError(f"columns has {name!r}, which is none of the columns {names}.")


def _read_column(name: str, real: NDArray[Any], drawn: NDArray[Any]) -> _Column:
    """Convert the values of a column to positions."""
    numbers = column_numbers(np.concatenate([real, drawn]))
    if numbers is not None:
        return _Column(name, numbers[: len(real)], numbers[len(real) :], None)
    known = pd.Series(real[~pd.isna(real)], dtype=object).astype(str)
    others = pd.Series(drawn[~pd.isna(drawn)], dtype=object).astype(str)
    levels = list(dict.fromkeys([*known.value_counts().index, *others]))
    positions = {level: n for n, level in enumerate(levels)}
    found = [
        np.array([np.nan if pd.isna(v) else float(positions[str(v)]) for v in values])
        for values in (real, drawn)
    ]
    return _Column(name, found[0], found[1], levels)


def _draw_margin(tile: Axes, column: _Column) -> list[Any]:
    """Draw the shares of real and drawn rows; return an artist for each."""
    sources = [(column.real, _REAL_COLOR), (column.drawn, _DRAWN_COLOR)]
    found: list[Any] = []
    if column.levels is not None:
        for number, (values, color) in enumerate(sources):
            known = values[np.isfinite(values)].astype(np.int64)
            counts = np.bincount(known, minlength=len(column.levels))
            places = np.arange(len(counts)) + (number - 0.5) * _BAR
            shares = counts / max(counts.sum(), 1)
            found.append(tile.bar(places, shares, width=_BAR, color=color))
        return found
    both = np.concatenate([values for values, _ in sources])
    edges = np.histogram_bin_edges(both[np.isfinite(both)], bins="sqrt")
    edges = np.linspace(edges[0], edges[-1], min(len(edges), 31))
    for values, color in sources:
        counts, _ = np.histogram(values[np.isfinite(values)], edges)
        shares = counts / max(counts.sum(), 1)
        is_filled = color == _REAL_COLOR
        found.append(tile.stairs(shares, edges, color=color, fill=is_filled, alpha=0.8))
    return found


def _draw_pair(tile: Axes, x: _Column, y: _Column, *, is_real: bool) -> Any:
    """Draw the rows as points."""
    pair = (x.real, y.real) if is_real else (x.drawn, y.drawn)
    across, upwards = take_evenly(_N_POINTS, *pair)
    order = np.arange(1, len(across) + 1)
    for column, values, step in zip((x, y), (across, upwards), _STEPS, strict=True):
        if column.levels is not None:
            # Rows of one category would lie on each other.
            values += (order * step % 1 - 0.5) * _BAND
    tile.set_ylim(y.limits)
    color = _REAL_COLOR if is_real else _DRAWN_COLOR
    (points,) = tile.plot(across, upwards, ".", color=color, markersize=2.5, alpha=0.7)
    return points


def _label(axis: Any, column: _Column, *, ticks: bool = True) -> None:
    """Write the name of a column, and its categories if there are few."""
    axis.set_label_text(column.name, fontsize="small")
    if ticks and column.levels is not None and len(column.levels) <= 4:
        names = [level[:_LONGEST] for level in column.levels]
        # Names beside each other would overlap.
        slanted = {"rotation": 30, "ha": "right"} if axis.axis_name == "x" else {}
        axis.set_ticks(range(len(names)), names, fontsize="x-small", **slanted)
