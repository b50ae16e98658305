"""Rows and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_scalar

from ._common import (
    check_autoencoder,
    draw_row,
    known_image_shape,
    make_tiles,
    resolve_image_shape,
    take_evenly,
)
from ._table import (
    MOST_COLUMNS,
    cell_errors,
    column_names,
    draw_table,
    is_table,
    objects,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_LABEL_WIDTH = 1.3


class ReconstructionDisplay:
    """Rows of data above their reconstructions, with the errors below.

    Parameters
    ----------
    originals : array-like or frame of shape (n_images, n_features)
        The rows that were given to the autoencoder.

    reconstructions : array-like or frame of shape (n_images, n_features)
        The reconstructions of these rows by the autoencoder.

    image_shape : tuple of int, default=None
        How to draw a row:

        - `(height, width)` or `(height, width, 3)`: as an image in grey or colour;
        - `(n_features,)`: as a line through the values, in their order;
        - None: frames of up to 20 columns, and rows with categories, as a table; other
          rows as a square image when the number of features is the square of a whole
          number and at least 16, else as a line.

    Attributes
    ----------
    artists_ : ndarray of shape (2, n_images), or (n_images, n_columns) for a table
        The :class:`matplotlib.image.AxesImage` of each original (first row) and
        reconstruction (second row), or its :class:`matplotlib.lines.Line2D` if lines
        were drawn. The :class:`matplotlib.text.Text` of each cell of a table.

    axes_ : ndarray of shape (2, n_images), or (1, 1) for a table
        The axes of `artists_`, which lie within `ax_`, or are the same for a table.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import ReconstructionDisplay
    >>> originals = np.eye(3, 16)
    >>> display = ReconstructionDisplay(originals, 0.5 * originals).plot()
    >>> display.axes_.shape
    (2, 3)
    """

    def __init__(
        self,
        originals: ArrayLike,
        reconstructions: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.originals = originals
        self.reconstructions = reconstructions
        self.image_shape = image_shape

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the originals above the reconstructions.

        All images share one scale, from the lowest to the highest value of the
        originals, so that equal shades are equal values. Reconstructed values beyond
        the scale get the shade at its end. Lines likewise share the limits of their
        axes, and below a reconstructed line the original one is repeated in grey. The
        error is the mean squared difference between a row and its reconstruction.

        In a table, each value of a row stands above its reconstruction. A cell is dark
        if the two differ: if numbers differ by two standard deviations of the shown
        values, or if categories differ. If there are more than 20 columns, only those
        with the largest differences are shown.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : ReconstructionDisplay
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
        >>> from skautoenc.inspection import ReconstructionDisplay
        >>> display = ReconstructionDisplay([[1, 2, 4]], [[1, 2, 1]]).plot()
        >>> display.axes_[1, 0].get_xlabel()
        '3'
        """
        if self.image_shape is None and is_table(self.originals):
            return self._plot_table(ax)
        originals = check_array(self.originals, dtype=np.float64)
        reconstructions = check_array(self.reconstructions, dtype=np.float64)
        _check_same_shape(originals, reconstructions)
        n_images, n_features = originals.shape
        image_shape = resolve_image_shape(self.image_shape, n_features)
        self.ax_, self.axes_ = make_tiles(
            ax, (2, n_images), image_shape, label_width=ROW_LABEL_WIDTH
        )
        self.figure_ = self.ax_.figure
        self._draw_rows(np.stack([originals, reconstructions]), image_shape)
        errors = np.mean((originals - reconstructions) ** 2, axis=1)
        self._label_axes(errors)
        return self

    def _plot_table(self, ax: Axes | None) -> Self:
        originals, again = objects(self.originals), objects(self.reconstructions)
        _check_same_shape(originals, again)
        errors = np.nan_to_num(cell_errors(originals, again)).mean(axis=0)
        chosen = np.sort(np.argsort(-errors, kind="stable")[:MOST_COLUMNS])
        names = np.array(column_names(self.originals), dtype=object)[chosen]
        self.ax_, self.artists_ = draw_table(
            ax, originals[:, chosen], again[:, chosen], list(names)
        )
        self.axes_ = np.array([[self.ax_]])
        self.figure_ = self.ax_.figure
        return self

    def _draw_rows(self, pairs: NDArray[Any], image_shape: tuple[int, ...]) -> None:
        draws_lines = len(image_shape) == 1
        # Overshooting lines need room, while overshooting images would dim the rest.
        scale = pairs if draws_lines else pairs[0]
        lowest, highest = float(scale.min()), float(scale.max())
        limits = (lowest, highest if highest > lowest else lowest + 1)
        self.artists_ = np.empty(self.axes_.shape, dtype=object)
        for (row, column), tile in np.ndenumerate(self.axes_):
            if draws_lines:
                tile.plot(pairs[0, column], color="0.8")
            self.artists_[row, column] = draw_row(
                tile, pairs[row, column], image_shape, limits, cmap="gray"
            )
            # Keeps the images of a pair close if the axes have spare room.
            tile.set_anchor("SN"[row])

    def _label_axes(self, errors: NDArray[Any]) -> None:
        self.ax_.set_title("Reconstructions")
        upper, lower = self.axes_[:, 0]
        for tile, label in ((upper, "original"), (lower, "reconstructed")):
            tile.set_ylabel(label, rotation="horizontal", ha="right", va="center")
        for tile, error in zip(self.axes_[1], errors, strict=True):
            tile.set_xlabel(f"{error:.3g}")
        lower.text(
            -0.05, -0.05, "error", ha="right", va="top", transform=lower.transAxes
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Sequence[int] | None = None,
        n_images: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Draw rows of `X` and their reconstructions by a fitted autoencoder.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.

        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            The data from which rows are shown.

        image_shape : tuple of int, default=None
            Shape of one row as an image, see :class:`ReconstructionDisplay`.

        n_images : int, default=10
            How many rows to show, evenly spaced from the first to the last one, so
            that data sorted by class show all their classes. All are shown when `X`
            has fewer. The default keeps the images of a new figure legible on a page.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : ReconstructionDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not an autoencoder, but a pipeline for instance.
        ValueError
            If `n_images` is not positive, or if `image_shape` does not agree with the
            number of features.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import ReconstructionDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
        >>> display = ReconstructionDisplay.from_estimator(autoencoder, X)
        >>> display.axes_.shape
        (2, 10)
        """
        check_autoencoder(estimator)
        check_scalar(n_images, "n_images", Integral, min_val=1)
        (rows,) = take_evenly(n_images, X)
        reconstructions = estimator.inverse_transform(estimator.transform(rows))
        if image_shape is None:
            image_shape = known_image_shape(estimator)
        if image_shape is None and is_table(rows):
            return cls(rows, reconstructions).plot(ax)
        originals = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
        originals = originals.reshape(len(originals), -1)
        display = cls(originals, np.asarray(reconstructions), image_shape=image_shape)
        return display.plot(ax)


def _check_same_shape(originals: NDArray[Any], reconstructions: NDArray[Any]) -> None:
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "originals and reconstructions must have the same shape, got "
            f"{originals.shape} and {reconstructions.shape}."
        )
