"""The most unusual rows of a data set, and the scores of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_array, check_scalar

from ._common import (
    IMAGE_WIDTH,
    LINE_COLOR,
    MIN_FIGURE_WIDTH,
    check_detector,
    draw_row,
    known_image_shape,
    make_tiles,
    new_axes,
    resolve_image_shape,
    tile_size,
)
from ._table import MOST_COLUMNS, objects, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Sizes in inches.
_CELL_SIZE = (1.1, 0.42)
_LABEL_WIDTH = 1.5
_HISTOGRAM_HEIGHT = 1.8
# Shares of the height: the histogram above, the table below.
_HISTOGRAM = (0.0, 0.74, 1.0, 0.26)
_TABLE = (0.0, 0.0, 1.0, 0.6)
_MAPS = ("row", "expected", "surprise")
# Surprise, in nats, of the darkest cells.
_DARKEST = 5.0
_THRESHOLD_COLOR = "#bd1f01"


class OutlierDisplay:
    r"""Scores of rows with the threshold, and the most unusual rows by cell.

    The upper half is a histogram of the scores. Below, each line is one of the most
    unusual rows: the more surprising a cell is, the darker it is. The expected value of
    the most surprising cell of each row is in brackets. If there are more than 20
    columns, only those with the most surprising cells are shown.

    Images are drawn in columns: the image, the expected image, and the surprise of its
    pixels.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of all rows, low for strange ones.

    threshold : float
        Rows with lower scores are outliers.

    values : array-like or frame of shape (n_shown, n_features)
        The most unusual rows.

    surprise : array-like or frame of shape (n_shown, n_features)
        How surprising each of their cells is, in nats; NaN for a missing value.

    expected : array-like or frame of shape (n_shown, n_features)
        The values that were expected instead.

    row_names : sequence of str, default=None
        Names of the rows. None names them by number, from 0.

    feature_names : sequence of str, default=None
        Names of the columns. None names them by number, from 0.

    image_shape : tuple of int, default=None
        (height, width) or (height, width, 3) of a row, to draw rows as images. None
        draws them as a table.

    Attributes
    ----------
    image_ : matplotlib.image.AxesImage or None
        The colours of the cells of a table; None for images.

    texts_ : ndarray of shape (n_shown, n_columns) or None
        The :class:`matplotlib.text.Text` of each cell; None for images.

    artists_ : ndarray of shape (3, n_shown) or None
        The :class:`matplotlib.image.AxesImage` of each image, of the expected one, and
        of the surprise; None for a table.

    columns_ : ndarray of shape (n_columns,) or None
        Positions of the columns that are shown; None for images.

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
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.scores = scores
        self.threshold = threshold
        self.values = values
        self.surprise = surprise
        self.expected = expected
        self.row_names = row_names
        self.feature_names = feature_names
        self.image_shape = image_shape

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
            If the shapes of the data do not agree with each other or with
            `image_shape`.

        Examples
        --------
        >>> from skautoenc.inspection import OutlierDisplay
        >>> display = OutlierDisplay([0, -2], -1, [[5]], [[3]], [[1]]).plot()
        >>> display.histogram_ax_.get_xlabel()
        'Score'
        """
        surprise = _as_matrix(self.surprise)
        values, expected = objects(self.values), objects(self.expected)
        if not values.shape == expected.shape == surprise.shape:
            raise ValueError(
                "values, surprise and expected must have the same shape, got "
                f"{values.shape}, {surprise.shape} and {expected.shape}."
            )
        shape = None
        if self.image_shape is not None:
            shape = _check_image_shape(self.image_shape, values.shape[1])
        n_columns = min(values.shape[1], MOST_COLUMNS)
        if ax is None:
            ax = new_axes(_figure_size((len(values), n_columns), shape))
        self.ax_, self.figure_ = ax, ax.figure
        self.image_: AxesImage | None = None
        self.texts_: NDArray[Any] | None = None
        self.artists_: NDArray[Any] | None = None
        self.columns_: NDArray[np.intp] | None = None
        ax.set_axis_off()
        ax.set_title("Scores, and the most unusual rows")
        self._draw_histogram(ax)
        self.table_ax_ = ax.inset_axes(_TABLE)
        if shape is not None:
            self._draw_images(shape, values, surprise, expected)
            return self
        columns = self.columns_ = _most_surprising(surprise, n_columns)
        self._draw_cells(values[:, columns], surprise[:, columns], expected[:, columns])
        self._name_columns(columns)
        return self

    def _draw_histogram(self, ax: Axes) -> None:
        scores = check_array(self.scores, ensure_2d=False, dtype=np.float64).ravel()
        self.histogram_ax_ = ax.inset_axes(_HISTOGRAM)
        # A rule by quartiles would make billions of bins for a row that is far off.
        n_bins = int(np.clip(np.sqrt(len(scores)), 10, 60))
        self.histogram_ax_.hist(scores, bins=n_bins, color=LINE_COLOR, log=True)
        n_outliers = int((scores < self.threshold).sum())
        self.line_ = self.histogram_ax_.axvline(
            self.threshold,
            color=_THRESHOLD_COLOR,
            label=f"threshold: {n_outliers} of {len(scores)} rows below",
        )
        self.histogram_ax_.legend(loc="upper left")
        self.histogram_ax_.set(xlabel="Score", ylabel="Rows")

    def _draw_cells(
        self, values: NDArray[Any], surprise: NDArray[Any], expected: NDArray[Any]
    ) -> None:
        self.image_ = self.table_ax_.imshow(
            np.nan_to_num(surprise), cmap="Reds", vmin=0, vmax=_DARKEST, aspect="auto"
        )
        worst = np.nan_to_num(surprise, nan=-1).argmax(axis=1)
        texts = self.texts_ = np.empty(values.shape, dtype=object)
        for row, column in np.ndindex(values.shape):
            text = write(values[row, column])
            if column == worst[row]:
                text += f"\n({write(expected[row, column])})"
            is_dark = surprise[row, column] > 0.6 * _DARKEST
            texts[row, column] = self.table_ax_.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize="small",
                color="white" if is_dark else "black",
            )
        self.table_ax_.set_yticks(range(len(values)), self._row_labels(len(values)))

    def _name_columns(self, columns: NDArray[np.intp]) -> None:
        names = self.feature_names
        shown = columns if names is None else np.asarray(names)[columns]
        self.table_ax_.set_xticks(
            range(len(shown)), list(map(str, shown)), rotation=30, ha="right"
        )

    def _draw_images(
        self,
        shape: tuple[int, ...],
        values: NDArray[Any],
        surprise: NDArray[Any],
        expected: NDArray[Any],
    ) -> None:
        images = values.astype(np.float64)
        lowest, highest = float(images.min()), float(images.max())
        limits = (lowest, highest if highest > lowest else lowest + 1)
        _, tiles = make_tiles(self.table_ax_, (len(_MAPS), len(images)), shape)
        artists = self.artists_ = np.empty(tiles.shape, dtype=object)
        for column, label in enumerate(self._row_labels(len(images))):
            for row, part in enumerate((images, expected.astype(np.float64))):
                artists[row, column] = draw_row(
                    tiles[row, column], part[column], shape, limits, cmap="gray"
                )
            # Of a pixel with several channels, the most surprising one.
            pixels = surprise[column].reshape(*shape[:2], -1).max(axis=2)
            artists[-1, column] = draw_row(
                tiles[-1, column], pixels, shape[:2], (0.0, _DARKEST), cmap="Reds"
            )
            tiles[-1, column].set_xlabel(label, fontsize="small")
        for tile, label in zip(tiles[:, 0], _MAPS, strict=True):
            tile.set_ylabel(label, rotation="horizontal", ha="right", va="center")

    def _row_labels(self, n_rows: int) -> list[str]:
        names = self.row_names
        return list(map(str, range(n_rows) if names is None else names))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_rows: int = 8,
        image_shape: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the scores of `X` by a fitted detector, and its most unusual rows.

        Parameters
        ----------
        estimator : AutoencoderOutlierDetector
            A fitted detector.

        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            The rows.

        n_rows : int, default=8
            Number of the most unusual rows to show; all if `X` has fewer.

        image_shape : tuple of int, default=None
            (height, width) or (height, width, 3) of a row, to draw rows as images. None
            draws images for an autoencoder of images, and otherwise a table.

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
            If `n_rows` is not positive, if `X` has other columns than in `fit`, or if
            `image_shape` does not agree with the number of features.

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
        lowest = np.argsort(scores, kind="stable")[:n_rows]
        rows = _safe_indexing(X, lowest)
        surprise, expected = estimator.explain(rows)
        rows = rows.toarray() if hasattr(rows, "toarray") else rows
        index = getattr(X, "index", None)
        names = lowest if index is None or callable(index) else index[lowest]
        if image_shape is None:
            known = known_image_shape(estimator.estimators_[0])
            # Images with two or with many channels cannot be drawn.
            image_shape = known if known is not None and len(known) > 1 else None
        display = cls(
            scores,
            estimator.offset_,
            rows,
            surprise,
            expected,
            row_names=[f"row {name}" for name in names],
            feature_names=getattr(estimator, "feature_names_in_", None),
            image_shape=image_shape,
        )
        return display.plot(ax)


def _as_matrix(surprise: Any) -> NDArray[np.float64]:
    """Return numbers or NaN for missing values, (n_rows, n_features)."""
    if np.ndim(surprise) > 2:
        surprise = np.reshape(surprise, (len(surprise), -1))
    checked: NDArray[np.float64] = check_array(
        surprise, dtype=np.float64, ensure_all_finite="allow-nan"
    )
    return checked


def _most_surprising(surprise: NDArray[np.float64], n_columns: int) -> NDArray[np.intp]:
    """Return columns with surprising cells, first of all with the worst of a row."""
    known = np.nan_to_num(surprise, nan=-1)
    most = known.max(axis=0)
    most[known.argmax(axis=1)] += np.inf
    found: NDArray[np.intp] = np.sort(np.argsort(-most, kind="stable")[:n_columns])
    return found


def _check_image_shape(shape: Sequence[int], n_features: int) -> tuple[int, ...]:
    found = resolve_image_shape(shape, n_features)
    if len(found) == 1:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, 3); None draws a "
            f"table. Got {tuple(shape)}."
        )
    return found


def _figure_size(
    shape: tuple[int, int], image_shape: tuple[int, ...] | None
) -> tuple[float, float]:
    n_rows, n_columns = shape
    if image_shape is None:
        width = n_columns * _CELL_SIZE[0] + _LABEL_WIDTH
        height = n_rows * _CELL_SIZE[1]
    else:
        width = n_rows * IMAGE_WIDTH + _LABEL_WIDTH
        height = len(_MAPS) * tile_size(image_shape)[1]
    width = max(MIN_FIGURE_WIDTH + _LABEL_WIDTH, width)
    return width, height / _TABLE[3] + _HISTOGRAM_HEIGHT
