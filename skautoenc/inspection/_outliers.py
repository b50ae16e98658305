"""The strangest rows of a data set, and the scores of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_array, check_scalar

from ._common import LINE_COLOR, check_detector, new_axes
from ._table import objects, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Sizes in inches.
_CELL_SIZE = (1.1, 0.42)
_LABEL_WIDTH = 1.5
_HISTOGRAM_HEIGHT = 1.8
# Shares of the height: the histogram above, the table below.
_HISTOGRAM = (0.0, 0.74, 1.0, 0.26)
_TABLE = (0.0, 0.0, 1.0, 0.6)
# Surprise, in nats, of the darkest cells.
_DARKEST = 5.0
_THRESHOLD_COLOR = "#bd1f01"


class OutlierDisplay:
    r"""Scores of rows with the threshold, and the strangest rows cell by cell.

    The upper half is a histogram of the scores. Below, each line is one of the
    strangest rows: the more surprising a cell is, the darker it is. In brackets stands
    what was expected in place of the most surprising cell of each row.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of all rows, low for strange ones.

    threshold : float
        Rows with lower scores are outliers.

    values : array-like or frame of shape (n_shown, n_features)
        The strangest rows.

    surprise : array-like or frame of shape (n_shown, n_features)
        How surprising each of their cells is, in nats; NaN for a missing value.

    expected : array-like or frame of shape (n_shown, n_features)
        The values that were expected instead.

    row_names : sequence of str, default=None
        Names of the rows. None names them by number, from 0.

    feature_names : sequence of str, default=None
        Names of the columns. None names them by number, from 0.

    Attributes
    ----------
    image_ : matplotlib.image.AxesImage
        The colours of the cells.

    texts_ : ndarray of shape (n_shown, n_features)
        The :class:`matplotlib.text.Text` of each cell.

    line_ : matplotlib.lines.Line2D
        The threshold in the histogram.

    table_ax_, histogram_ax_ : matplotlib.axes.Axes
        The axes of the two halves, which lie within `ax_`.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> from skautoenc.inspection import OutlierDisplay
    >>> display = OutlierDisplay(
    ...     [0.1, 0.2, -3.0], -1.0, [[1.0, 9.0]], [[0.2, 8.0]], [[1.1, 2.0]]
    ... ).plot()
    >>> display.texts_[0, 1].get_text()
    '9\n(2)'
    """

    def __init__(
        self,
        scores: ArrayLike,
        threshold: float,
        values: Any,
        surprise: Any,
        expected: Any,
        *,
        row_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.scores = scores
        self.threshold = threshold
        self.values = values
        self.surprise = surprise
        self.expected = expected
        self.row_names = row_names
        self.feature_names = feature_names

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the histogram above the rows.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : OutlierDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the shapes of the data do not agree with each other.

        Examples
        --------
        >>> from skautoenc.inspection import OutlierDisplay
        >>> display = OutlierDisplay([0, -2], -1, [[5]], [[3]], [[1]]).plot()
        >>> display.histogram_ax_.get_xlabel()
        'Score'
        """
        surprise = check_array(self.surprise, ensure_all_finite="allow-nan")
        values, expected = objects(self.values), objects(self.expected)
        if not values.shape == expected.shape == surprise.shape:
            raise ValueError(
                "values, surprise and expected must have the same shape, got "
                f"{values.shape}, {surprise.shape} and {expected.shape}."
            )
        if ax is None:
            ax = new_axes(_figure_size(values.shape))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set_axis_off()
        ax.set_title("Scores and strangest rows")
        self._draw_histogram(ax)
        self._draw_cells(ax, values, surprise, expected)
        return self

    def _draw_histogram(self, ax: Axes) -> None:
        scores = check_array(self.scores, ensure_2d=False, dtype=np.float64).ravel()
        self.histogram_ax_ = ax.inset_axes(_HISTOGRAM)
        self.histogram_ax_.hist(scores, bins="auto", color=LINE_COLOR, log=True)
        n_outliers = int((scores < self.threshold).sum())
        self.line_ = self.histogram_ax_.axvline(
            self.threshold,
            color=_THRESHOLD_COLOR,
            label=f"threshold: {n_outliers} of {len(scores)} rows below",
        )
        self.histogram_ax_.legend(loc="upper left")
        self.histogram_ax_.set(xlabel="Score", ylabel="Rows")

    def _draw_cells(
        self,
        ax: Axes,
        values: NDArray[Any],
        surprise: NDArray[Any],
        expected: NDArray[Any],
    ) -> None:
        self.table_ax_ = ax.inset_axes(_TABLE)
        n_rows, n_columns = values.shape
        self.image_ = self.table_ax_.imshow(
            np.nan_to_num(surprise), cmap="Reds", vmin=0, vmax=_DARKEST, aspect="auto"
        )
        worst = np.nan_to_num(surprise, nan=-1).argmax(axis=1)
        self.texts_ = np.empty(values.shape, dtype=object)
        for row, column in np.ndindex(values.shape):
            text = write(values[row, column])
            if column == worst[row]:
                text += f"\n({write(expected[row, column])})"
            is_dark = surprise[row, column] > 0.6 * _DARKEST
            self.texts_[row, column] = self.table_ax_.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize="small",
                color="white" if is_dark else "black",
            )
        rows = self.row_names
        columns = self.feature_names
        self.table_ax_.set_yticks(
            range(n_rows), list(map(str, range(n_rows) if rows is None else rows))
        )
        self.table_ax_.set_xticks(
            range(n_columns),
            list(map(str, range(n_columns) if columns is None else columns)),
            rotation=30,
            ha="right",
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_rows: int = 8,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the scores of `X` by a fitted detector, and its strangest rows.

        Parameters
        ----------
        estimator : AutoencoderOutlierDetector
            A fitted detector.

        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            The rows.

        n_rows : int, default=8
            How many of the strangest rows to show. All are shown when `X` has fewer.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : OutlierDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` cannot explain rows, as a pipeline cannot.
        ValueError
            If `n_rows` is not positive, or if `X` has other columns than in `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skautoenc import AutoencoderOutlierDetector
        >>> from skautoenc.inspection import OutlierDisplay
        >>> X = load_iris(as_frame=True).data
        >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X)
        >>> display = OutlierDisplay.from_estimator(detector, X, n_rows=3)
        >>> display.texts_.shape
        (3, 4)
        """
        check_detector(estimator)
        check_scalar(n_rows, "n_rows", Integral, min_val=1)
        scores = estimator.score_samples(X)
        strangest = np.argsort(scores, kind="stable")[:n_rows]
        rows = _safe_indexing(X, strangest)
        surprise, expected = estimator.explain(rows)
        rows = rows.toarray() if hasattr(rows, "toarray") else rows
        index = getattr(X, "index", None)
        names = strangest if index is None or callable(index) else index[strangest]
        display = cls(
            scores,
            estimator.offset_,
            rows,
            surprise,
            expected,
            row_names=[f"row {name}" for name in names],
            feature_names=getattr(estimator, "feature_names_in_", None),
        )
        return display.plot(ax)


def _figure_size(shape: tuple[int, ...]) -> tuple[float, float]:
    n_rows, n_columns = shape
    width = max(5.0, n_columns * _CELL_SIZE[0] + _LABEL_WIDTH)
    height = n_rows * _CELL_SIZE[1] / _TABLE[3] + _HISTOGRAM_HEIGHT
    # Very wide tables would otherwise need an enormous figure.
    return min(width, 40.0), height
