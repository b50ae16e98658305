"""Codes in two dimensions."""

from __future__ import annotations

import math
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_scalar,
    column_or_1d,
)

from ._common import check_autoencoder, new_axes, take_evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Ten colours that can be distinguished with all common types of colour vision, in the
# order of Petroff (2021), https://arxiv.org/abs/2107.02270.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
# The colours repeat after ten classes; the markers then distinguish the classes.
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
# An integer target with more distinct values than this is treated as a quantity.
MAX_NUMERIC_CLASSES = 20
CLASSES_PER_LEGEND_COLUMN = 20
# Lighter than the grey among the classes' colours.
MISSING_COLOR = "#d3d3d3"


class LatentDisplay:
    """Scatter plot of the code of an autoencoder in two dimensions.

    Parameters
    ----------
    projection : array-like of shape (n_samples, 2)
        Position of each sample.

    target : array-like of shape (n_samples,), default=None
        What the colours show. Classes get a legend, quantities a colour bar. The
        target holds classes when its values are not numbers, or are at most 20
        distinct whole numbers. Missing values (None, NaN, pandas' NA) are a class of
        their own, grey and named "missing". If None, all points have the same colour.

    explained_variance_ratio : array-like of shape (2,), default=None
        Share of the variance of the code that each axis shows, when the axes are its
        first two principal components. If None, the axes are the code units
        themselves.

    Attributes
    ----------
    scatter_ : list of matplotlib.collections.PathCollection
        The points, one collection for each class, in the order of the legend; a
        single one if the target holds no classes. Those whose target is missing come
        last.

    ax_ : matplotlib.axes.Axes
        Axes with the points.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> from skautoenc.inspection import LatentDisplay
    >>> positions = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
    >>> display = LatentDisplay(positions, target=["cat", "dog", "cat"]).plot()
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['cat', 'dog']
    """

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

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points.

        Points become smaller and more transparent as their number grows, so that
        dense and sparse regions stay apart. Ten classes are told apart by colours that
        suit all common kinds of colour vision, further ones by the shape of the marker
        as well.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, a new figure and axes are created. The legend
            lies to the right of the axes: a figure with `layout="constrained"` makes
            room for it.

        Returns
        -------
        display : LatentDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `projection` is not of shape (n_samples, 2), or if the target has
            another length.

        Examples
        --------
        >>> from skautoenc.inspection import LatentDisplay
        >>> positions = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
        >>> display = LatentDisplay(positions, target=[0.1, 0.2, 0.4]).plot()
        >>> display.scatter_[0].colorbar.ax.get_ylabel()
        'Target'
        """
        points = check_array(self.projection)
        if points.shape[1] != 2:
            raise ValueError(
                f"projection must be of shape (n_samples, 2), got {points.shape}."
            )
        check_consistent_length(points, self.target)
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        style = _point_style(len(points))
        if self.target is None:
            self.scatter_ = [self.ax_.scatter(*points.T, **style)]
        else:
            self._draw_target(points, style)
        self._label_axes(len(points))
        return self

    def _draw_target(self, points: NDArray[Any], style: dict[str, Any]) -> None:
        target, is_missing = _split_missing(self.target)
        known = points[~is_missing]
        self.scatter_ = []
        title = None
        if len(target) and _holds_classes(target):
            self._draw_classes(known, target, style)
            title = "Class"
        elif len(target):
            self._draw_quantities(known, target, style)
        if is_missing.any():
            x, y = points[is_missing].T
            # Drawn below the other points, which carry more information.
            missing = {**style, "color": MISSING_COLOR, "zorder": 0.5}
            self.scatter_.append(self.ax_.scatter(x, y, label="missing", **missing))
        if title is not None or is_missing.any():
            self._draw_legend(title)

    def _draw_classes(
        self, points: NDArray[Any], target: NDArray[Any], style: dict[str, Any]
    ) -> None:
        classes = np.unique(target)
        for index, label in enumerate(classes):
            n_repeats, color = divmod(index, len(CLASS_COLORS))
            x, y = points[target == label].T
            artist = self.ax_.scatter(
                x,
                y,
                color=CLASS_COLORS[color],
                marker=CLASS_MARKERS[n_repeats % len(CLASS_MARKERS)],
                label=str(label),
                **style,
            )
            self.scatter_.append(artist)

    def _draw_legend(self, title: str | None) -> None:
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
        n_columns = math.ceil(len(self.scatter_) / CLASSES_PER_LEGEND_COLUMN)
        legend = self.ax_.legend(
            title=title,
            ncols=n_columns,
            # A colour bar takes the space beside the axes.
            **({"loc": "upper right"} if title is None else beside),
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set(alpha=1, sizes=[36])

    def _draw_quantities(
        self, points: NDArray[Any], target: NDArray[Any], style: dict[str, Any]
    ) -> None:
        x, y = points.T
        artist = self.ax_.scatter(x, y, c=target, cmap="viridis", **style)
        self.scatter_.append(artist)
        colorbar = self.figure_.colorbar(artist, ax=self.ax_, label="Target")
        # The transparency is for the points; it would make the colour scale pale.
        if colorbar.solids is not None:
            colorbar.solids.set_alpha(1)

    def _label_axes(self, n_samples: int) -> None:
        labels = ["Code unit 0", "Code unit 1"]
        if self.explained_variance_ratio is not None:
            ratios = np.asarray(self.explained_variance_ratio)
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
    ) -> Self:
        """Draw the code that a fitted autoencoder gives to `X`.

        A code of two units is drawn as it is. A wider one is projected on its first
        two principal components, those of the samples that are drawn.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data to encode.

        y : array-like of shape (n_samples,), default=None
            What the colours show, see :class:`LatentDisplay`.

        max_samples : int, default=10_000
            Evenly spaced rows of `X` are drawn when it has more. With the default,
            further points would mostly cover each other.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, those of a new figure.

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
            If the code has a single unit, if `X` and `y` have different lengths, or
            if `max_samples` is not positive.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import LatentDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
        >>> display = LatentDisplay.from_estimator(autoencoder, X, y)
        >>> len(display.scatter_)
        10
        """
        check_autoencoder(estimator)
        check_scalar(max_samples, "max_samples", Integral, min_val=1)
        rows, target = take_evenly(max_samples, X, y)
        code = np.asarray(estimator.transform(rows))
        n_components = code.shape[1]
        if n_components < 2:
            raise ValueError(
                "LatentDisplay needs a code of at least two components, the "
                "autoencoder has only one. Its code can be drawn as a histogram."
            )
        if n_components == 2:
            return cls(code, target=target).plot(ax)
        # The randomised solver, which PCA chooses for wide codes, needs a seed.
        pca = PCA(n_components=2, random_state=0).fit(code)
        display = cls(
            pca.transform(code),
            target=target,
            explained_variance_ratio=pca.explained_variance_ratio_,
        )
        return display.plot(ax)


def _point_style(n_samples: int) -> dict[str, Any]:
    """Return size and transparency for a number of points, smaller for more points."""
    root = math.sqrt(n_samples)
    return {
        "s": np.clip(600 / root, 4, 36),
        "alpha": np.clip(30 / root, 0.25, 0.9),
        "linewidths": 0,
        # Vector graphics with thousands of separate shapes are slow to open.
        "rasterized": True,
    }


def _split_missing(target: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the known values, and for each sample whether its value is missing."""
    if isinstance(target, list | tuple):
        # numpy would convert a NaN among strings to a string.
        objects = np.asarray(target, dtype=object)
        target = objects if pd.isna(objects).any() else target
    if hasattr(target, "isna") and target.ndim == 1:
        # Types of pandas become floats or objects as soon as a value is missing.
        is_missing = np.asarray(target.isna())
        known = column_or_1d(np.asarray(target[~is_missing]))
    else:
        values = column_or_1d(target)
        is_missing = np.asarray(pd.isna(values))
        known = values[~is_missing]
    if is_missing.any() and known.dtype == object:
        known = np.asarray(pd.Series(known).infer_objects())
    return known, is_missing


def _holds_classes(target: NDArray[Any]) -> bool:
    """Whether a target holds classes, not quantities."""
    if not np.issubdtype(target.dtype, np.number):
        return True
    is_whole = bool(np.all(target % 1 == 0))
    return is_whole and len(np.unique(target)) <= MAX_NUMERIC_CLASSES
