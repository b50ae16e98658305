"""Rows that a density model draws, decodes, or finds likely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.utils import _safe_indexing, check_array, check_scalar

from ._common import (
    check_density,
    draw_row,
    known_image_shape,
    make_tiles,
    resolve_image_shape,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Share of the prior on each side of a component that is not drawn.
_TAIL = 0.02
# Room below a tile for its log-likelihood, as a share of the tile.
_LABEL_GAP = 0.3
_KINDS = ("samples", "plane", "rows")


class DensityDisplay:
    """Rows of a density model as a square of images or of lines.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features)
        The rows, from the upper left to the lower right.

    log_likelihoods : array-like of shape (n_rows,), default=None
        Log-likelihood of each row, written below it.

    title : str, default=None
        Title of the figure.

    image_shape : tuple of int, default=None
        How to draw a row:

        - `(height, width)` or `(height, width, 3)`: as an image in grey or colour;
        - `(n_features,)`: as a line through the values, in their order;
        - None: as a square image when the number of features is the square of a whole
          number and at least 16, else as a line.

    Attributes
    ----------
    artists_ : ndarray of shape (n_side, n_side)
        The :class:`matplotlib.image.AxesImage` of each row, or its
        :class:`matplotlib.lines.Line2D` if lines were drawn; None where there is no
        row left.

    axes_ : ndarray of shape (n_side, n_side)
        The axes of `artists_`, which lie within `ax_`.

    ax_ : matplotlib.axes.Axes
        The axes that hold all others.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc.inspection import DensityDisplay
    >>> display = DensityDisplay(np.eye(4, 16), [-1.0, -2.5, -3.0, -40.0]).plot()
    >>> display.axes_.shape
    (2, 2)
    """

    def __init__(
        self,
        rows: ArrayLike,
        log_likelihoods: ArrayLike | None = None,
        *,
        title: str | None = None,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.rows = rows
        self.log_likelihoods = log_likelihoods
        self.title = title
        self.image_shape = image_shape

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the rows on one scale, so that equal shades are equal values.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : DensityDisplay
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
        >>> from skautoenc.inspection import DensityDisplay
        >>> display = DensityDisplay([[1, 2, 4]], [-3.25]).plot()
        >>> display.axes_[0, 0].get_xlabel()
        '-3.25'
        """
        rows = check_array(self.rows, dtype=np.float64)
        labels = self._labels(len(rows))
        image_shape = resolve_image_shape(self.image_shape, rows.shape[1])
        n_side = math.isqrt(len(rows) - 1) + 1
        gap = {} if labels is None else {"vertical_gap": _LABEL_GAP}
        self.ax_, self.axes_ = make_tiles(ax, (n_side, n_side), image_shape, **gap)
        self.figure_ = self.ax_.figure
        lowest, highest = float(rows.min()), float(rows.max())
        limits = lowest, highest if highest > lowest else lowest + 1
        self.artists_ = np.empty(self.axes_.shape, dtype=object)
        for number, tile in enumerate(self.axes_.flat):
            if number >= len(rows):
                tile.set_visible(False)
                continue
            artist = draw_row(tile, rows[number], image_shape, limits, cmap="gray")
            self.artists_.flat[number] = artist
            if labels is not None:
                tile.set_xlabel(labels[number], fontsize="small")
        if self.title is not None:
            self.ax_.set_title(self.title)
        return self

    def _labels(self, n_rows: int) -> list[str] | None:
        if self.log_likelihoods is None:
            return None
        values = np.asarray(self.log_likelihoods, dtype=np.float64).ravel()
        if len(values) != n_rows:
            raise ValueError(
                "rows and log_likelihoods must have the same length, got "
                f"{n_rows} and {len(values)}."
            )
        return [f"{value:.4g}" for value in values]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        kind: Literal["samples", "plane", "rows"] = "samples",
        components: tuple[int, int] = (0, 1),
        n_images: int = 25,
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw rows from a fitted variational autoencoder.

        Parameters
        ----------
        estimator : VariationalAutoencoder or ConvVariationalAutoencoder
            A fitted estimator.

        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), \
                default=None
            The data from which ``kind="rows"`` takes rows. Not used otherwise.

        kind : {"samples", "plane", "rows"}, default="samples"
            What to draw.

            - "samples": new rows, without noise.
            - "plane": the rows that two components of the code are decoded to, over
              the quantiles of their prior, where the others are zero. The first one
              grows to the right, the second one upwards.
            - "rows": rows of `X` with their log-likelihoods, from the most likely to
              the least likely one.

        components : tuple of int, default=(0, 1)
            The two components of ``kind="plane"``.

        n_images : int, default=25
            Maximum number of rows to draw. It is rounded down to a square for
            ``kind="plane"``.

        image_shape : tuple of int, default=None
            Shape of one row as an image, see :class:`DensityDisplay`.

        random_state : int, RandomState instance or None, default=None
            Seed or generator of ``kind="samples"``.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw within. If None, those of a new figure.

        Returns
        -------
        display : DensityDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not a variational autoencoder, but a pipeline for
            instance.
        ValueError
            If a parameter is invalid, or if `X` is missing for ``kind="rows"``.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import VariationalAutoencoder
        >>> from skautoenc.inspection import DensityDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> model = VariationalAutoencoder(2, max_iter=5, random_state=0).fit(X)
        >>> display = DensityDisplay.from_estimator(model, kind="plane")
        >>> display.axes_.shape
        (5, 5)
        """
        check_density(estimator)
        check_scalar(n_images, "n_images", Integral, min_val=1)
        values = None
        if kind == "samples":
            rows = estimator.sample(n_images, random_state, add_noise=False)
        elif kind == "plane":
            rows = _decoded_plane(estimator, components, math.isqrt(n_images))
        elif kind == "rows":
            rows, values = _ranked(estimator, X, n_images)
        else:
            raise ValueError(f"kind must be one of {_KINDS}, got {kind!r}.")
        if image_shape is None:
            image_shape = known_image_shape(estimator)
        titles = {
            "samples": "Samples",
            "plane": f"Components {components[0]} and {components[1]}",
            "rows": "Log-likelihoods",
        }
        display = cls(
            np.asarray(rows), values, title=titles[kind], image_shape=image_shape
        )
        return display.plot(ax)


def _decoded_plane(
    estimator: Any, components: tuple[int, int], n_side: int
) -> NDArray[Any]:
    """Decode a grid over two components, (n_side ** 2, n_features)."""
    n_components = estimator.n_components_
    across, upwards = components
    if across == upwards or not all(0 <= each < n_components for each in components):
        raise ValueError(
            "components must be two different indices of the code, from 0 to "
            f"{n_components - 1}, got {components}."
        )
    quantiles = norm.ppf(np.linspace(_TAIL, 1 - _TAIL, n_side) if n_side > 1 else [0.5])
    codes = np.zeros((n_side, n_side, n_components))
    codes[..., across] = quantiles
    codes[..., upwards] = quantiles[::-1, np.newaxis]
    return np.asarray(estimator.inverse_transform(codes.reshape(-1, n_components)))


def _ranked(
    estimator: Any, X: Any, n_images: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return rows from the most likely to the least likely one, and their values."""
    if X is None:
        raise ValueError("kind='rows' needs X, the rows to draw.")
    values = estimator.score_samples(X)
    order = np.argsort(-values, kind="stable")
    number = min(n_images, len(order))
    chosen = order[np.linspace(0, len(order) - 1, number).round().astype(np.intp)]
    rows = _safe_indexing(X, chosen)
    rows = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    return rows, values[chosen]
