"""Directions of a linear decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, check_scalar

from ._common import (
    TITLE_HEIGHT,
    check_autoencoder,
    draw_row,
    drawable,
    make_tiles,
    new_axes,
    resolve_image_shape,
)
from ._table import MOST_COLUMNS, draw_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Leaves room for the number of the unit.
VERTICAL_GAP = 0.2
# Sizes in inches of bars with names.
BAR_TILE_WIDTH = 1.2
BAR_HEIGHT = 0.16
LABEL_WIDTH = 1.5


class FilterDisplay:
    """Images of the directions in which the code units move a reconstruction.

    The reconstruction by a linear decoder is a sum of one image for each code unit,
    weighted by the code. These images, the columns of the decoder, are the dictionary
    that the autoencoder has learned.

    Parameters
    ----------
    filters : array-like of shape (n_filters, n_features)
        One direction per row.

    image_shape : tuple of int, default=None
        How to draw a row, see :class:`ReconstructionDisplay`.

    feature_names : sequence of str, default=None
        Names of the columns. With names and no `image_shape`, a filter is drawn as one
        bar per column.

    units : array-like of shape (n_filters,), default=None
        Number of the code unit of each filter, counted from 0 as the columns of the
        code, printed above it. If None, the filters are numbered in their order.

    Attributes
    ----------
    artists_ : ndarray of shape (n_filters,)
        The :class:`matplotlib.image.AxesImage` of each filter, or its
        :class:`matplotlib.lines.Line2D` if lines were drawn, or its
        :class:`matplotlib.container.BarContainer` if bars were drawn.

    axes_ : ndarray of shape (n_filters,)
        The axes of `artists_`, which lie within `ax_`.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import FilterDisplay
    >>> display = FilterDisplay(np.eye(2, 16), units=[7, 4]).plot()
    >>> display.axes_[1].get_title()
    '4'
    """

    def __init__(
        self,
        filters: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        feature_names: Sequence[str] | None = None,
        units: ArrayLike | None = None,
    ) -> None:
        self.filters = filters
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.units = units

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the filters in a grid, row by row.

        Each filter has its own scale, from minus to plus its largest absolute weight:
        the shapes can be compared, the sizes cannot. Positive weights are red, negative
        ones blue, and zero is white; in images with three channels zero is grey.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : FilterDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no filter, or if the shapes of the data do not agree with each
            other or with `image_shape`.

        Examples
        --------
        >>> from skautoenc.inspection import FilterDisplay
        >>> display = FilterDisplay([[0, 2, 1, 0, 2, 1]], image_shape=(2, 3)).plot()
        >>> display.artists_[0].get_array().shape
        (2, 3)
        """
        filters = check_array(self.filters, dtype=np.float64)
        n_filters, n_features = filters.shape
        units = np.arange(n_filters) if self.units is None else np.asarray(self.units)
        check_consistent_length(filters, units)
        names = self.feature_names if self.image_shape is None else None
        image_shape: tuple[int, ...] = (n_features,)
        if names is None:
            image_shape = resolve_image_shape(self.image_shape, n_features)
        elif len(names) != n_features:
            raise ValueError(
                f"feature_names has {len(names)} names for {n_features} columns."
            )
        n_columns = math.ceil(math.sqrt(n_filters))
        grid_shape = (math.ceil(n_filters / n_columns), n_columns)
        if names is not None and ax is None:
            sizes = n_columns * BAR_TILE_WIDTH + LABEL_WIDTH, n_features * BAR_HEIGHT
            ax = new_axes((sizes[0], grid_shape[0] * (sizes[1] + 0.3) + TITLE_HEIGHT))
        self.ax_, grid = make_tiles(
            ax, grid_shape, image_shape, vertical_gap=VERTICAL_GAP
        )
        self.figure_ = self.ax_.figure
        self.ax_.set_title("Filters")
        self.axes_, unused = np.split(grid.ravel(), [n_filters])
        for tile in unused:
            tile.remove()
        self.artists_ = np.empty(n_filters, dtype=object)
        for index, (tile, values) in enumerate(zip(self.axes_, filters, strict=True)):
            # A unit that was never used may have a direction of zeros.
            largest = float(np.abs(values).max()) or 1.0
            if names is not None:
                is_first = index % n_columns == 0
                self.artists_[index] = draw_bars(
                    tile, values, largest, names if is_first else None
                )
            else:
                self.artists_[index] = draw_row(
                    tile, values, image_shape, (-largest, largest), cmap="RdBu_r"
                )
            if names is None and len(image_shape) == 1:
                tile.axhline(0, color="0.8", linewidth=0.8, zorder=0)
            tile.set_title(str(units[index]), fontsize="x-small", pad=2)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Sequence[int] | None = None,
        n_filters: int = 64,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the filters that contribute most to the reconstructions of `X`.

        The contribution of a unit is the mean absolute value of its code times the
        length of its direction.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder whose decoder is linear in the code: one without hidden
            layers between the data and the code. For an autoencoder of patches, the
            filters are patches.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data by which to order the filters.

        image_shape : tuple of int, default=None
            Shape of one row as an image, see :class:`ReconstructionDisplay`. If it is
            None and the estimator was fitted to a frame of up to 20 columns, filters
            are drawn as bars with the names of the columns.

        n_filters : int, default=64
            How many filters to show. All are shown when the code has fewer units. The
            default makes a grid of eight by eight.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : FilterDisplay
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
            If the decoder of `estimator` is not linear, if `n_filters` is not
            positive, or if `image_shape` does not agree with the number of features.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import FilterDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(random_state=0).fit(X)
        >>> display = FilterDisplay.from_estimator(autoencoder, X, n_filters=16)
        >>> display.axes_.shape
        (16,)
        """
        check_autoencoder(estimator)
        check_scalar(n_filters, "n_filters", Integral, min_val=1)
        if hasattr(estimator, "autoencoder_"):
            X = estimator.extract_patches(X)
            if image_shape is None:
                n_channels = estimator.image_shape_[2]
                image_shape = drawable((*estimator.patch_size_, n_channels))
            estimator = estimator.autoencoder_
        if getattr(estimator, "features_", None) == "reconstruction":
            raise ValueError(
                "FilterDisplay needs the code, which transform does not return with "
                "features='reconstruction'. Fit with features='code'."
            )
        directions = _decoder_directions(estimator)
        activity = np.abs(np.asarray(estimator.transform(X))).mean(axis=0)
        contributions = activity * np.linalg.norm(directions, axis=1)
        units = np.argsort(-contributions, kind="stable")[:n_filters]
        names = getattr(estimator, "feature_names_in_", None)
        if image_shape is not None or directions.shape[1] > MOST_COLUMNS:
            names = None
        display = cls(
            directions[units],
            image_shape=image_shape,
            feature_names=names,
            units=units,
        )
        return display.plot(ax)


def _decoder_directions(estimator: Any) -> NDArray[Any]:
    """Return the decoder direction of each code unit, one per row."""
    directions = getattr(estimator.network_, "directions", lambda: None)()
    if directions is None:
        raise ValueError(
            f"The decoder of this {type(estimator).__name__} is not linear in the "
            "code, so its units have no directions of their own. Use "
            "ReconstructionDisplay to see what it has learnt."
        )
    rows: NDArray[Any] = directions.detach().cpu().numpy()
    if estimator.code_dewhitening_ is not None:
        rows = estimator.code_dewhitening_ @ rows
    return rows if estimator.dewhitening_ is None else rows @ estimator.dewhitening_
