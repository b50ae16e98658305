"""Displays that show what an autoencoder has learnt.

Every display follows the visualization interface of scikit-learn: the
constructor stores the data, ``plot`` draws them, and ``from_estimator`` takes
them from a fitted autoencoder and draws them at once. matplotlib is imported
only when something is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.utils import (
    _safe_indexing,
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
    indexable,
)
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

__all__ = [
    "FilterDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
]

# Ten colours that stay apart for all common kinds of colour vision, in the order
# of Petroff (2021), https://arxiv.org/abs/2107.02270.
CLASS_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
# The colours repeat after ten classes: the markers then tell the classes apart.
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
# A whole-numbered target with more values than this is taken for a quantity.
MAX_NUMERIC_CLASSES = 20
CLASSES_PER_LEGEND_COLUMN = 20

# Four, nine and other small squares are more often tables than images.
MIN_GUESSED_IMAGE_SIDE = 4
IMAGE_CHANNELS = (1, 3)

# Sizes in inches of one image or profile in a new figure.
TILE_WIDTH = 0.9
PROFILE_TILE_SHAPE = (2, 3)
MIN_FIGURE_WIDTH = 3.5
TILE_LABEL_HEIGHT = 0.15
ROW_LABEL_WIDTH = 1.1
# Room between tiles, as a share of the room that one tile gets.
TILE_GAP = 0.1
LABELLED_TILE_GAP = 0.25


def _check_matplotlib_support(caller_name: str) -> None:
    """Raise ImportError with installation advice where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller_name} requires matplotlib. You can install it with "
            '`pip install "skautoenc[plot]"`.'
        ) from error


def _check_autoencoder(
    estimator: Any, attributes: Sequence[str], caller_name: str
) -> None:
    """Raise unless `estimator` is a fitted autoencoder with these attributes."""
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline):
        raise TypeError(
            f"{caller_name} expects the autoencoder itself, not a Pipeline. Pass its "
            "step, for instance `pipeline[-1]`, and any data as that step receives "
            "it, for instance `pipeline[:-1].transform(X)`."
        )
    missing = [name for name in attributes if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"{caller_name} expects a fitted autoencoder, but "
            f"{type(estimator).__name__} has no {' and no '.join(missing)}. If the "
            "autoencoder is part of another estimator, pass that part."
        )


def _number_of_rows(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _evenly_spaced_rows(n_rows: int, n_selected: int) -> NDArray[np.intp]:
    """Return at most `n_selected` row numbers, from first to last row."""
    n_selected = min(n_rows, n_selected)
    return np.linspace(0, n_rows - 1, n_selected).round().astype(np.intp)


def _check_count(value: int, name: str) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def _as_dense_array(rows: Any) -> NDArray[Any]:
    """Convert rows of a table, data frame or sparse matrix to an array."""
    rows = check_array(rows, accept_sparse=True)
    dense: NDArray[Any] = rows.toarray() if hasattr(rows, "toarray") else rows
    return dense


def _resolve_image_shape(
    image_shape: Sequence[int] | None, n_features: int
) -> tuple[int, ...]:
    """Return (height, width) or (height, width, 3), or (n_features,) for profiles."""
    if image_shape is None:
        side = math.isqrt(n_features)
        if side >= MIN_GUESSED_IMAGE_SIDE and side**2 == n_features:
            return (side, side)
        return (n_features,)
    shape = tuple(int(length) for length in image_shape)
    if len(shape) not in (1, 2, 3) or math.prod(shape) != n_features:
        raise ValueError(
            "image_shape must be (height, width), (height, width, channels) or "
            f"(n_features,) with a product of {n_features}, the number of features. "
            f"Got {shape}."
        )
    if len(shape) == 3 and shape[2] not in IMAGE_CHANNELS:
        raise ValueError(
            f"Images must have 1 or 3 channels, image_shape={shape} asks for "
            f"{shape[2]}."
        )
    return shape[:2] if shape[2:] == (1,) else shape


def _new_tile_axes(
    n_rows: int,
    n_columns: int,
    image_shape: tuple[int, ...],
    *,
    row_label_width: float = 0,
    tile_label_height: float = 0,
) -> Axes:
    """Return the axes of a new figure with room for a grid of tiles."""
    import matplotlib.pyplot as plt

    is_image = len(image_shape) > 1
    height, width = image_shape[:2] if is_image else PROFILE_TILE_SHAPE
    tile_width = TILE_WIDTH if is_image else TILE_WIDTH * 1.5
    # Very long or flat images would otherwise ask for an enormous figure.
    tile_height = tile_width * float(np.clip(height / width, 0.25, 4))
    figure_width = n_columns * tile_width + row_label_width + 0.2
    figure_height = n_rows * (tile_height + tile_label_height) + 0.6
    figsize = (max(MIN_FIGURE_WIDTH, figure_width), figure_height)
    _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def _add_tiles(
    ax: Axes, n_rows: int, n_columns: int, vertical_gap: float = TILE_GAP
) -> NDArray[np.object_]:
    """Divide `ax` into a grid of axes without ticks.

    Inset axes are used because they follow any axes given by the user, whether
    or not these belong to a grid.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.patch.set_visible(False)
    tiles = np.empty((n_rows, n_columns), dtype=object)
    for row, column in np.ndindex(n_rows, n_columns):
        left = (column + TILE_GAP / 2) / n_columns
        bottom = (n_rows - 1 - row + vertical_gap / 2) / n_rows
        width = (1 - TILE_GAP) / n_columns
        height = (1 - vertical_gap) / n_rows
        tile = ax.inset_axes((left, bottom, width, height))
        tile.set(xticks=[], yticks=[])
        tile.spines[:].set_color("0.7")
        tiles[row, column] = tile
    return tiles


def _draw_image(
    ax: Axes,
    values: NDArray[Any],
    image_shape: tuple[int, ...],
    limits: tuple[float, float],
    cmap: Any,
) -> AxesImage:
    lowest, highest = limits
    image = values.reshape(image_shape)
    if image.ndim == 3:
        # matplotlib has no limits for colour images: they must lie in [0, 1].
        image = np.clip((image - lowest) / (highest - lowest), 0, 1)
    return ax.imshow(
        image, cmap=cmap, vmin=lowest, vmax=highest, interpolation="nearest"
    )


def _value_limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and the highest value, apart even where they coincide."""
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    return lowest, highest if highest > lowest else lowest + 1


class LossCurveDisplay:
    """Training and validation loss of an autoencoder at each epoch.

    It is recommended to use :meth:`from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.

    validation_scores : array-like of shape (n_validated_epochs,), default=None
        Validation score of each epoch, an R². One minus the score is drawn,
        since this is the share of variance left unexplained and so has the
        unit of the loss. Where there are fewer scores than losses, they belong
        to the last epochs: a fit that continues an earlier one may be the
        first to hold out data. If None, only the training loss is drawn.

    best_epoch : int, default=None
        The epoch to mark, counted from 1; where there are validation scores,
        one that has a score. If None, no epoch is marked.

    name : str, default=None
        Name of the autoencoder in the legend. If None, the legend shows no
        name.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The training loss.

    validation_line_ : matplotlib.lines.Line2D or None
        The validation loss, None if there are no validation scores.

    best_epoch_marker_ : matplotlib.lines.Line2D or None
        The mark of the best epoch, None if there is no best epoch.

    ax_ : matplotlib.axes.Axes
        Axes with the curves.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    See Also
    --------
    LossCurveDisplay.from_estimator : Draw the curves of a fitted autoencoder.
    ReconstructionDisplay : Show what the loss amounts to row by row.

    Examples
    --------
    >>> from skautoenc.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay(
    ...     [0.9, 0.4, 0.2, 0.1], validation_scores=[0.2, 0.6, 0.7, 0.6], best_epoch=3
    ... ).plot()
    >>> display.validation_line_.get_ydata().round(1)
    array([0.8, 0.4, 0.3, 0.4])
    """

    line_: Line2D
    validation_line_: Line2D | None
    best_epoch_marker_: Line2D | None
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        loss_curve: ArrayLike,
        *,
        validation_scores: ArrayLike | None = None,
        best_epoch: int | None = None,
        name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.best_epoch = best_epoch
        self.name = name

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curves.

        The vertical axis is logarithmic when the losses are positive and span
        more than a decade: the slow progress of the late epochs would
        otherwise not be seen. Several displays may be drawn on the same axes:
        each takes the next colour, with a solid line for the training loss and
        a dashed one for the validation loss.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, a new figure and axes are created.

        name : str, default=None
            Name of the autoencoder in the legend. If None, the `name` given to
            the constructor is used.

        line_kw : dict, default=None
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`, used for
            both curves.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no epoch, if there are more validation scores than
            losses, or if there is no epoch `best_epoch`.

        See Also
        --------
        LossCurveDisplay.from_estimator : Draw the curves of a fitted
            autoencoder.

        Examples
        --------
        Two losses in one figure:

        >>> from skautoenc.inspection import LossCurveDisplay
        >>> display = LossCurveDisplay([0.9, 0.4, 0.2], name="narrow").plot()
        >>> other = LossCurveDisplay([0.8, 0.2, 0.1], name="wide").plot(display.ax_)
        >>> [text.get_text() for text in other.ax_.get_legend().get_texts()]
        ['narrow: training', 'wide: training']
        """
        _check_matplotlib_support("LossCurveDisplay.plot")
        import matplotlib.pyplot as plt

        loss, validation_loss = self._check_curves()
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure

        name = self.name if name is None else name
        prefix = "" if name is None else f"{name}: "
        self._draw_curves(loss, validation_loss, prefix, line_kw or {})
        self._mark_best_epoch(loss, validation_loss, prefix)
        self._label_axes()
        return self

    def _check_curves(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the training loss and, if there is one, the validation loss.

        The validation loss has the same length, with NaN at epochs without one.
        """
        loss = np.asarray(self.loss_curve, dtype=np.float64)
        if loss.ndim != 1 or loss.size == 0:
            raise ValueError(
                "loss_curve must hold one loss per epoch, got an array of shape "
                f"{loss.shape}."
            )
        if self.validation_scores is None:
            self._check_best_epoch(1, loss.size)
            return loss, None
        scores = np.asarray(self.validation_scores, dtype=np.float64)
        if scores.ndim != 1 or not 1 <= scores.size <= loss.size:
            raise ValueError(
                "validation_scores must hold one score for each epoch or for the last "
                f"ones. Got shape {scores.shape} with {loss.size} epochs."
            )
        n_missing = loss.size - scores.size
        self._check_best_epoch(n_missing + 1, loss.size)
        return loss, np.concatenate([np.full(n_missing, np.nan), 1 - scores])

    def _check_best_epoch(self, first: int, last: int) -> None:
        if self.best_epoch is not None and not first <= self.best_epoch <= last:
            raise ValueError(
                f"best_epoch must be between {first} and {last}, got {self.best_epoch}."
            )

    def _draw_curves(
        self,
        loss: NDArray[np.float64],
        validation_loss: NDArray[np.float64] | None,
        prefix: str,
        line_kw: dict[str, Any],
    ) -> None:
        epochs = np.arange(1, loss.size + 1)
        # A single epoch makes a line without extent: only a marker shows it.
        style = {"marker": "." if loss.size == 1 else "", **line_kw}
        (self.line_,) = self.ax_.plot(
            epochs, loss, **{"label": f"{prefix}training", **style}
        )
        self.validation_line_ = None
        if validation_loss is not None:
            validation_style = {
                "label": f"{prefix}validation",
                **style,
                "color": self.line_.get_color(),
                "linestyle": "--",
            }
            (self.validation_line_,) = self.ax_.plot(
                epochs, validation_loss, **validation_style
            )

    def _mark_best_epoch(
        self,
        loss: NDArray[np.float64],
        validation_loss: NDArray[np.float64] | None,
        prefix: str,
    ) -> None:
        self.best_epoch_marker_ = None
        if self.best_epoch is None:
            return
        marked = loss if validation_loss is None else validation_loss
        (self.best_epoch_marker_,) = self.ax_.plot(
            self.best_epoch,
            marked[self.best_epoch - 1],
            color=self.line_.get_color(),
            linestyle="",
            marker="o",
            markersize=8,
            markeredgecolor="black",
            label=f"{prefix}best epoch ({self.best_epoch})",
        )

    def _label_axes(self) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

        # All curves on the axes count, since displays may share them.
        losses = np.concatenate(
            [np.asarray(line.get_ydata(), dtype=float) for line in self.ax_.lines]
        )
        losses = losses[np.isfinite(losses)]
        if losses.size and losses.min() > 0 and losses.max() > 10 * losses.min():
            self.ax_.set_yscale("log")
            # Losses span few decades: with ticks at the powers of ten alone, there
            # might be a single one.
            self.ax_.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            self.ax_.yaxis.set_major_formatter("{x:g}")
            self.ax_.yaxis.set_minor_formatter(NullFormatter())
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        self.ax_.set(
            title="Loss per epoch",
            xlabel="Epoch",
            ylabel="Share of variance left unexplained",
        )
        self.ax_.legend()

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Axes | None = None,
        name: str | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the loss curves of a fitted autoencoder.

        The validation loss is drawn when the autoencoder was fitted with
        `early_stopping=True`. The epoch with the highest validation score is
        then marked, the first one if several are equal.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, a new figure and axes are created.

        name : str, default=None
            Name of the autoencoder in the legend. If None, the legend shows no
            name.

        line_kw : dict, default=None
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`, used for
            both curves.

        Returns
        -------
        display : LossCurveDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not an autoencoder, but a pipeline for instance.

        See Also
        --------
        ReconstructionDisplay.from_estimator : Show rows and their
            reconstructions.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import LossCurveDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(random_state=0).fit(X)
        >>> display = LossCurveDisplay.from_estimator(autoencoder)
        >>> display.ax_.get_xlabel()
        'Epoch'
        """
        caller_name = f"{cls.__name__}.from_estimator"
        _check_matplotlib_support(caller_name)
        _check_autoencoder(estimator, ["loss_curve_"], caller_name)
        validation_scores = getattr(estimator, "validation_scores_", None)
        best_epoch = None
        if validation_scores is not None:
            n_missing = len(estimator.loss_curve_) - len(validation_scores)
            best_epoch = n_missing + int(np.nanargmax(validation_scores)) + 1
        display = cls(
            estimator.loss_curve_,
            validation_scores=validation_scores,
            best_epoch=best_epoch,
            name=name,
        )
        return display.plot(ax=ax, line_kw=line_kw)


class ReconstructionDisplay:
    """Rows of data above their reconstructions.

    It is recommended to use :meth:`from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    originals : array-like of shape (n_images, n_features)
        The rows that were given to the autoencoder.

    reconstructions : array-like of shape (n_images, n_features)
        What the autoencoder made of them.

    errors : array-like of shape (n_images,), default=None
        Reconstruction error of each row, printed below it. If None, nothing is
        printed.

    image_shape : tuple of int, default=None
        How to draw a row:

        - `(height, width)` or `(height, width, channels)` with 1 or 3 channels:
          as an image;
        - `(n_features,)`: as a line through the values, in their order;
        - None: as a square image when the number of features is the square of
          a whole number and at least 16, else as a line.

    Attributes
    ----------
    images_ : ndarray of shape (2, n_images) or None
        The :class:`matplotlib.image.AxesImage` of originals (first row) and
        reconstructions (second row), None if lines were drawn.

    lines_ : ndarray of shape (2, n_images) or None
        The :class:`matplotlib.lines.Line2D` of originals (first row) and
        reconstructions (second row), None if images were drawn.

    axes_ : ndarray of shape (2, n_images)
        The axes of originals (first row) and reconstructions (second row),
        which lie within `ax_`.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    See Also
    --------
    ReconstructionDisplay.from_estimator : Draw the reconstructions of a fitted
        autoencoder.
    FilterDisplay : Show what the reconstructions are composed of.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import ReconstructionDisplay
    >>> originals = np.eye(3, 16)
    >>> display = ReconstructionDisplay(
    ...     originals, 0.5 * originals, errors=[0.1, 0.2, 0.3]
    ... ).plot()
    >>> display.axes_.shape
    (2, 3)
    """

    images_: NDArray[np.object_] | None
    lines_: NDArray[np.object_] | None
    axes_: NDArray[np.object_]
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        originals: ArrayLike,
        reconstructions: ArrayLike,
        *,
        errors: ArrayLike | None = None,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.originals = originals
        self.reconstructions = reconstructions
        self.errors = errors
        self.image_shape = image_shape

    def plot(self, ax: Axes | None = None, *, cmap: Any = "gray") -> Self:
        """Draw the originals above the reconstructions.

        All images share one scale, from the lowest to the highest value of the
        originals, so that equal shades are equal values. Reconstructed values
        beyond the scale get the shade at its end. Lines likewise share the
        limits of their axes, and below a reconstructed line the original one
        is repeated in grey.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, a new figure and axes are created.

        cmap : str or matplotlib.colors.Colormap, default="gray"
            Colour map of images with one channel. The default shows intensities
            in the way in which they were most often recorded.

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

        See Also
        --------
        ReconstructionDisplay.from_estimator : Draw the reconstructions of a
            fitted autoencoder.

        Examples
        --------
        >>> import numpy as np
        >>> from skautoenc.inspection import ReconstructionDisplay
        >>> originals = np.eye(3, 16)
        >>> display = ReconstructionDisplay(originals, 0.5 * originals)
        >>> display.plot(cmap="gray_r").axes_[1, 0].get_ylabel()
        'reconstructed'
        """
        _check_matplotlib_support("ReconstructionDisplay.plot")
        originals, reconstructions = self._check_rows()
        n_images, n_features = originals.shape
        image_shape = _resolve_image_shape(self.image_shape, n_features)

        if ax is None:
            ax = _new_tile_axes(
                2, n_images, image_shape, row_label_width=ROW_LABEL_WIDTH
            )
        self.ax_, self.figure_ = ax, ax.figure
        self.axes_ = _add_tiles(ax, 2, n_images)
        self.images_ = self.lines_ = None
        if len(image_shape) > 1:
            self._draw_images(originals, reconstructions, image_shape, cmap)
        else:
            self._draw_lines(originals, reconstructions)
        self._label_axes()
        return self

    def _check_rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        originals = np.asarray(self.originals)
        reconstructions = np.asarray(self.reconstructions)
        if originals.ndim != 2 or originals.size == 0:
            raise ValueError(
                "originals must be of shape (n_images, n_features), got "
                f"{originals.shape}."
            )
        if originals.shape != reconstructions.shape:
            raise ValueError(
                "originals and reconstructions must have the same shape, got "
                f"{originals.shape} and {reconstructions.shape}."
            )
        if self.errors is not None:
            check_consistent_length(originals, self.errors)
        return originals, reconstructions

    def _draw_images(
        self,
        originals: NDArray[Any],
        reconstructions: NDArray[Any],
        image_shape: tuple[int, ...],
        cmap: Any,
    ) -> None:
        limits = _value_limits(originals)
        self.images_ = np.empty(self.axes_.shape, dtype=object)
        for row, values in enumerate((originals, reconstructions)):
            for column, tile in enumerate(self.axes_[row]):
                self.images_[row, column] = _draw_image(
                    tile, values[column], image_shape, limits, cmap
                )
                # Keeps each pair close together where the axes have room to spare.
                tile.set_anchor("S" if row == 0 else "N")

    def _draw_lines(
        self, originals: NDArray[Any], reconstructions: NDArray[Any]
    ) -> None:
        lowest, highest = _value_limits(np.stack([originals, reconstructions]))
        margin = 0.05 * (highest - lowest)
        self.lines_ = np.empty(self.axes_.shape, dtype=object)
        for column, (original, reconstruction) in enumerate(
            zip(originals, reconstructions, strict=True)
        ):
            upper, lower = self.axes_[:, column]
            (self.lines_[0, column],) = upper.plot(original, color="0.3")
            lower.plot(original, color="0.8")
            (self.lines_[1, column],) = lower.plot(
                reconstruction, color=CLASS_COLORS[0]
            )
            for tile in (upper, lower):
                tile.set_ylim(lowest - margin, highest + margin)

    def _label_axes(self) -> None:
        import matplotlib.pyplot as plt

        self.ax_.set_title("Reconstructions")
        upper, lower = self.axes_[:, 0]
        for tile, label in ((upper, "original"), (lower, "reconstructed")):
            tile.set_ylabel(label, rotation="horizontal", ha="right", va="center")
        if self.errors is None:
            return
        errors = np.asarray(self.errors, dtype=float)
        for tile, error in zip(self.axes_[1], errors, strict=True):
            tile.set_xlabel(f"{error:.3g}")
        lower.annotate(
            "error",
            xy=(0, 0),
            xycoords="axes fraction",
            xytext=(-plt.rcParams["axes.labelpad"], -plt.rcParams["axes.labelpad"]),
            textcoords="offset points",
            ha="right",
            va="top",
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Sequence[int] | None = None,
        n_images: int = 10,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw rows of `X` and their reconstructions by a fitted autoencoder.

        The error of a row is the negative of its score by the method
        `score_samples` of the autoencoder, the mean squared difference between
        the row and its reconstruction.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data from which rows are shown.

        image_shape : tuple of int, default=None
            Shape of one row as an image, see :class:`ReconstructionDisplay`.

        n_images : int, default=10
            How many rows to show. All are shown when `X` has fewer. The
            default keeps the images of a new figure legible on a page.

        random_state : int, RandomState instance or None, default=None
            If None, the rows are evenly spaced from the first to the last one,
            so that the figure is the same each time, and data sorted by class
            show all their classes. Otherwise the rows are drawn at random
            without replacement; pass an int for the same rows across calls.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, a new figure and axes are created.

        cmap : str or matplotlib.colors.Colormap, default="gray"
            Colour map of images with one channel.

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
            If `n_images` is not positive, or if `image_shape` does not agree
            with the number of features.

        See Also
        --------
        FilterDisplay.from_estimator : Show what the reconstructions are
            composed of.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import ReconstructionDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(random_state=0).fit(X)
        >>> display = ReconstructionDisplay.from_estimator(autoencoder, X)
        >>> display.axes_.shape
        (2, 10)
        """
        caller_name = f"{cls.__name__}.from_estimator"
        _check_matplotlib_support(caller_name)
        _check_autoencoder(
            estimator, ["transform", "inverse_transform", "score_samples"], caller_name
        )
        _check_count(n_images, "n_images")
        (X,) = indexable(X)
        n_rows = _number_of_rows(X)
        if random_state is None:
            selected = _evenly_spaced_rows(n_rows, n_images)
        else:
            selected = check_random_state(random_state).permutation(n_rows)[:n_images]
        rows = _safe_indexing(X, selected)
        display = cls(
            _as_dense_array(rows),
            np.asarray(estimator.inverse_transform(estimator.transform(rows))),
            errors=-np.asarray(estimator.score_samples(rows)),
            image_shape=image_shape,
        )
        return display.plot(ax=ax, cmap=cmap)


class LatentDisplay:
    """Scatter plot of the code of an autoencoder in two dimensions.

    It is recommended to use :meth:`from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    projection : array-like of shape (n_samples, 2)
        Position of each sample.

    target : array-like of shape (n_samples,), default=None
        What the colours show. Classes get a legend, quantities a colour bar.
        The target holds classes when its values are not numbers, or are at
        most 20 distinct whole numbers. If None, all points have the same
        colour.

    explained_variance_ratio : array-like of shape (2,), default=None
        Share of the variance of the code that each axis shows, when the axes
        are its first two principal components. If None, the axes are the code
        units themselves.

    Attributes
    ----------
    scatter_ : list of matplotlib.collections.PathCollection
        The points, one collection for each class, in the order of the legend;
        a single one if the target holds no classes.

    legend_ : matplotlib.legend.Legend or None
        The legend of the classes, None if the target holds no classes.

    colorbar_ : matplotlib.colorbar.Colorbar or None
        The colour bar of the target, None if the target holds no quantities.

    ax_ : matplotlib.axes.Axes
        Axes with the points.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    See Also
    --------
    LatentDisplay.from_estimator : Draw the code of a fitted autoencoder.
    sklearn.decomposition.PCA : Projection of codes with more than two units.

    Examples
    --------
    >>> from skautoenc.inspection import LatentDisplay
    >>> display = LatentDisplay(
    ...     [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], target=["cat", "dog", "cat"]
    ... ).plot()
    >>> [label.get_text() for label in display.legend_.get_texts()]
    ['cat', 'dog']
    """

    scatter_: list[PathCollection]
    legend_: Legend | None
    colorbar_: Colorbar | None
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        projection: ArrayLike,
        *,
        target: ArrayLike | None = None,
        explained_variance_ratio: ArrayLike | None = None,
    ) -> None:
        self.projection = projection
        self.target = target
        self.explained_variance_ratio = explained_variance_ratio

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: Any = "viridis",
        scatter_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the points.

        Points become smaller and more transparent as their number grows, so
        that dense and sparse regions stay apart. Ten classes are told apart by
        colours that suit all common kinds of colour vision, further ones by
        the shape of the marker as well.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, a new figure and axes are created. The
            legend lies to the right of the axes: a figure with
            `layout="constrained"` makes room for it.

        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colour map of a target that holds quantities. The default is even
            in brightness and suits all common kinds of colour vision.

        scatter_kw : dict, default=None
            Keyword arguments for :meth:`matplotlib.axes.Axes.scatter`, which
            override the size and the transparency of the points.

        Returns
        -------
        display : LatentDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `projection` is not of shape (n_samples, 2), or if the target
            has another length.

        See Also
        --------
        LatentDisplay.from_estimator : Draw the code of a fitted autoencoder.

        Examples
        --------
        >>> from skautoenc.inspection import LatentDisplay
        >>> display = LatentDisplay(
        ...     [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], target=[0.1, 0.2, 0.4]
        ... )
        >>> display.plot(scatter_kw={"s": 50}).colorbar_.ax.get_ylabel()
        'Target'
        """
        _check_matplotlib_support("LatentDisplay.plot")
        import matplotlib.pyplot as plt

        projection = np.asarray(self.projection)
        if projection.ndim != 2 or projection.shape[1] != 2:
            raise ValueError(
                f"projection must be of shape (n_samples, 2), got {projection.shape}."
            )
        if self.target is not None:
            check_consistent_length(projection, self.target)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.legend_, self.colorbar_ = None, None

        style = {**_point_style(len(projection)), **(scatter_kw or {})}
        if self.target is None:
            self.scatter_ = [ax.scatter(*projection.T, **style)]
        else:
            self._draw_target(projection, self.target, cmap, style)
        self._label_axes(len(projection))
        return self

    def _draw_target(
        self,
        projection: NDArray[Any],
        target: ArrayLike,
        cmap: Any,
        style: dict[str, Any],
    ) -> None:
        values: NDArray[Any] = column_or_1d(target)
        if _holds_classes(values):
            self._draw_classes(projection, values, style)
            return
        points = self.ax_.scatter(*projection.T, **{"c": values, "cmap": cmap, **style})
        self.scatter_ = [points]
        self.colorbar_ = self.figure_.colorbar(points, ax=self.ax_, label="Target")
        # The transparency is meant for the points: it would make the scale pale.
        if self.colorbar_.solids is not None:
            self.colorbar_.solids.set_alpha(1)

    def _draw_classes(
        self, projection: NDArray[Any], target: NDArray[Any], style: dict[str, Any]
    ) -> None:
        classes = np.unique(target)
        self.scatter_ = []
        for index, label in enumerate(classes):
            class_style = {
                "color": CLASS_COLORS[index % len(CLASS_COLORS)],
                "marker": CLASS_MARKERS[
                    index // len(CLASS_COLORS) % len(CLASS_MARKERS)
                ],
                "label": str(label),
                **style,
            }
            points = projection[target == label]
            self.scatter_.append(self.ax_.scatter(*points.T, **class_style))
        self.legend_ = self.ax_.legend(
            title="Class",
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            ncols=math.ceil(len(classes) / CLASSES_PER_LEGEND_COLUMN),
        )
        for handle in self.legend_.legend_handles:
            if handle is not None:
                handle.set(alpha=1, sizes=[36])

    def _label_axes(self, n_samples: int) -> None:
        labels = ["Code unit 0", "Code unit 1"]
        if self.explained_variance_ratio is not None:
            ratios = np.asarray(self.explained_variance_ratio, dtype=float)
            labels = [
                f"{order} principal component ({ratio:.0%} of variance)"
                for order, ratio in zip(("First", "Second"), ratios, strict=True)
            ]
        title = f"Code of {n_samples:,} samples"
        self.ax_.set(title=title, xlabel=labels[0], ylabel=labels[1])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        max_samples: int = 10_000,
        ax: Axes | None = None,
        cmap: Any = "viridis",
        scatter_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the code that a fitted autoencoder gives to `X`.

        A code of two units is drawn as it is. A wider one is projected on its
        first two principal components, those of the samples that are drawn.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data to encode.

        y : array-like of shape (n_samples,), default=None
            What the colours show, see :class:`LatentDisplay`.

        max_samples : int, default=10_000
            Evenly spaced rows of `X` are drawn when it has more. With the
            default, further points would mostly cover each other.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, a new figure and axes are created.

        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colour map of a target that holds quantities.

        scatter_kw : dict, default=None
            Keyword arguments for :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : LatentDisplay
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
            If the code has a single unit, if `X` and `y` have different
            lengths, or if `max_samples` is not positive.

        See Also
        --------
        ReconstructionDisplay.from_estimator : Show what the code retains.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import LatentDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(random_state=0).fit(X)
        >>> display = LatentDisplay.from_estimator(autoencoder, X, y)
        >>> len(display.scatter_)
        10
        """
        caller_name = f"{cls.__name__}.from_estimator"
        _check_matplotlib_support(caller_name)
        _check_autoencoder(estimator, ["transform", "inverse_transform"], caller_name)
        _check_count(max_samples, "max_samples")
        X, y = indexable(X, y)
        selected = _evenly_spaced_rows(_number_of_rows(X), max_samples)
        code = np.asarray(estimator.transform(_safe_indexing(X, selected)))
        projection, explained_variance_ratio = _project_code(code)
        display = cls(
            projection,
            target=None if y is None else _safe_indexing(y, selected),
            explained_variance_ratio=explained_variance_ratio,
        )
        return display.plot(ax=ax, cmap=cmap, scatter_kw=scatter_kw)


def _point_style(n_samples: int) -> dict[str, Any]:
    """Return the size and the transparency of that many points.

    Both fall with the square root of the number of points, so that the ink on
    the page grows more slowly than their number.
    """
    root = math.sqrt(max(n_samples, 1))
    return {
        "s": float(np.clip(600 / root, 4, 36)),
        "alpha": float(np.clip(30 / root, 0.25, 0.9)),
        "linewidths": 0,
        # Thousands of separate shapes make vector graphics slow to open.
        "rasterized": True,
    }


def _holds_classes(target: NDArray[Any]) -> bool:
    """Tell classes from quantities."""
    if not np.issubdtype(target.dtype, np.number):
        return True
    n_values = len(np.unique(target))
    return n_values <= MAX_NUMERIC_CLASSES and bool(np.all(target % 1 == 0))


def _project_code(
    code: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Return two dimensions of the code and the variance that they explain.

    The variance is None where the code itself has two dimensions.
    """
    n_components = code.shape[1]
    if n_components < 2:
        raise ValueError(
            "LatentDisplay needs a code of at least two components, the "
            "autoencoder has only one. Its code can be drawn as a histogram."
        )
    if n_components == 2:
        return code, None
    # The randomised solver, which PCA chooses for wide codes, needs a seed.
    pca = PCA(n_components=2, random_state=0).fit(code)
    return pca.transform(code), pca.explained_variance_ratio_


class FilterDisplay:
    """Images of the directions in which the code units move a reconstruction.

    The reconstruction by a linear decoder is a sum of one image for each code
    unit, weighted by the code. These images, the columns of the decoder, are
    the dictionary that the autoencoder has learnt.

    It is recommended to use :meth:`from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    filters : array-like of shape (n_filters, n_features)
        One direction per row.

    image_shape : tuple of int, default=None
        How to draw a row:

        - `(height, width)` or `(height, width, channels)` with 1 or 3 channels:
          as an image;
        - `(n_features,)`: as a line through the values, in their order;
        - None: as a square image when the number of features is the square of
          a whole number and at least 16, else as a line.

    units : array-like of shape (n_filters,), default=None
        Number of the code unit of each filter, counted from 0 as the columns
        of the code, printed above it. If None, nothing is printed.

    Attributes
    ----------
    artists_ : ndarray of shape (n_filters,)
        The :class:`matplotlib.image.AxesImage` of each filter, or its
        :class:`matplotlib.lines.Line2D` if lines were drawn.

    axes_ : ndarray of shape (n_filters,)
        The axes of the filters, which lie within `ax_`.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    See Also
    --------
    FilterDisplay.from_estimator : Draw the filters of a fitted autoencoder.
    ReconstructionDisplay : Show what the filters add up to.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import FilterDisplay
    >>> display = FilterDisplay(np.eye(6, 16), units=range(6)).plot()
    >>> display.axes_[5].get_title()
    '5'
    """

    artists_: NDArray[np.object_]
    axes_: NDArray[np.object_]
    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        filters: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        units: ArrayLike | None = None,
    ) -> None:
        self.filters = filters
        self.image_shape = image_shape
        self.units = units

    def plot(self, ax: Axes | None = None, *, cmap: Any = "RdBu_r") -> Self:
        """Draw the filters in a grid, row by row.

        Each filter has its own scale, from minus to plus its largest absolute
        weight: the shapes can be compared, the sizes cannot. Zero is in the
        middle of the scale, which is white by default and grey for images with
        three channels.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, a new figure and axes are created.

        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            Colour map of images with one channel. The default tells positive
            from negative weights for all common kinds of colour vision.

        Returns
        -------
        display : FilterDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no filter, or if the shapes of the data do not agree
            with each other or with `image_shape`.

        See Also
        --------
        FilterDisplay.from_estimator : Draw the filters of a fitted autoencoder.

        Examples
        --------
        >>> import numpy as np
        >>> from skautoenc.inspection import FilterDisplay
        >>> display = FilterDisplay(np.eye(6, 20), image_shape=(4, 5))
        >>> display.plot(cmap="PuOr").artists_[0].get_array().shape
        (4, 5)
        """
        _check_matplotlib_support("FilterDisplay.plot")
        filters = np.asarray(self.filters)
        if filters.ndim != 2 or filters.size == 0:
            raise ValueError(
                f"filters must be of shape (n_filters, n_features), got "
                f"{filters.shape}."
            )
        if self.units is not None:
            check_consistent_length(filters, self.units)
        image_shape = _resolve_image_shape(self.image_shape, filters.shape[1])
        self._create_axes(len(filters), image_shape, ax)
        self.artists_ = np.empty(len(filters), dtype=object)
        for index, (tile, values) in enumerate(zip(self.axes_, filters, strict=True)):
            self.artists_[index] = _draw_filter(tile, values, image_shape, cmap)
        self._label_axes()
        return self

    def _create_axes(
        self, n_filters: int, image_shape: tuple[int, ...], ax: Axes | None
    ) -> None:
        n_columns = math.ceil(math.sqrt(n_filters))
        n_rows = math.ceil(n_filters / n_columns)
        is_labelled = self.units is not None
        if ax is None:
            ax = _new_tile_axes(
                n_rows,
                n_columns,
                image_shape,
                tile_label_height=TILE_LABEL_HEIGHT if is_labelled else 0,
            )
        self.ax_, self.figure_ = ax, ax.figure
        vertical_gap = LABELLED_TILE_GAP if is_labelled else TILE_GAP
        tiles = _add_tiles(ax, n_rows, n_columns, vertical_gap).ravel()
        for tile in tiles[n_filters:]:
            tile.remove()
        self.axes_ = tiles[:n_filters]

    def _label_axes(self) -> None:
        self.ax_.set_title("Filters")
        if self.units is None:
            return
        for tile, unit in zip(self.axes_, np.asarray(self.units), strict=True):
            tile.set_title(str(unit), fontsize="x-small", pad=2)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        image_shape: Sequence[int] | None = None,
        n_filters: int = 64,
        ax: Axes | None = None,
        cmap: Any = "RdBu_r",
    ) -> Self:
        """Draw the filters of a fitted autoencoder with a linear decoder.

        A decoder is linear when the autoencoder has no hidden layers between
        the data and the code.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder whose decoder is linear in the code.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), \
                default=None
            Data by which to order the units: those that contribute most to the
            reconstructions of `X` come first. The contribution of a unit is
            the mean absolute value of its code times the length of its
            direction. If None, the units come in the order of the code.

        image_shape : tuple of int, default=None
            Shape of one row as an image, see :class:`FilterDisplay`.

        n_filters : int, default=64
            How many filters to show. All are shown when the code has fewer
            units. The default makes a grid of eight by eight.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, a new figure and axes are created.

        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            Colour map of images with one channel.

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
            positive, or if `image_shape` does not agree with the number of
            features.

        See Also
        --------
        ReconstructionDisplay.from_estimator : Show what the filters add up to.

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
        caller_name = f"{cls.__name__}.from_estimator"
        _check_matplotlib_support(caller_name)
        _check_autoencoder(estimator, ["transform", "network_"], caller_name)
        _check_count(n_filters, "n_filters")
        directions = _decoder_directions(estimator)
        units = np.arange(len(directions))
        if X is not None:
            code = np.asarray(estimator.transform(X))
            units = _order_by_contribution(code, directions)
        units = units[:n_filters]
        display = cls(directions[units], image_shape=image_shape, units=units)
        return display.plot(ax=ax, cmap=cmap)


def _draw_filter(
    ax: Axes, values: NDArray[Any], image_shape: tuple[int, ...], cmap: Any
) -> AxesImage | Line2D:
    # A unit that was never used may have a direction of zeros.
    largest = float(np.abs(values).max()) or 1.0
    if len(image_shape) > 1:
        return _draw_image(ax, values, image_shape, (-largest, largest), cmap)
    ax.axhline(0, color="0.8", linewidth=0.8)
    (line,) = ax.plot(values, color=CLASS_COLORS[0])
    ax.set_ylim(-1.05 * largest, 1.05 * largest)
    return line


def _decoder_directions(estimator: Any) -> NDArray[Any]:
    """Return the decoder direction of each code unit, one per row."""
    try:
        directions = estimator.network_.directions()
    except AttributeError:
        directions = None
    if directions is None:
        raise ValueError(
            "FilterDisplay needs a decoder that is linear in the code, for only then "
            "does each code unit have one direction. The decoder of this "
            f"{type(estimator).__name__} is not linear. Use ReconstructionDisplay to "
            "see what it has learnt."
        )
    return np.asarray(directions.detach().cpu().numpy())


def _order_by_contribution(
    code: NDArray[Any], directions: NDArray[Any]
) -> NDArray[np.intp]:
    """Return the units from the largest to the smallest mean contribution."""
    contributions = np.abs(code).mean(axis=0) * np.linalg.norm(directions, axis=1)
    return np.argsort(-contributions, kind="stable")
