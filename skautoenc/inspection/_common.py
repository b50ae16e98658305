"""Common code of the displays: lazy matplotlib, checks, and grids of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples, check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

# Rows of four, nine or another small square of columns are more often tables.
MIN_GUESSED_IMAGE_SIDE = 4
LINE_COLOR = "#3f90da"

# Sizes in inches: one image or line of a new figure, and the margins around them.
IMAGE_WIDTH = 0.9
LINE_TILE_SIZE = (1.35, 0.9)
TITLE_HEIGHT = 0.6
MIN_FIGURE_WIDTH = 3.5
# Space between neighbours, as a share of the size of one of them.
TILE_GAP = 0.1


def new_axes(figsize: tuple[float, float] | None = None) -> Axes:
    """Return the axes of a new figure, whose size is in inches."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError(
            "Displays require matplotlib. You can install it with "
            '`pip install "skautoenc[plot]"`.'
        ) from error
    _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def check_autoencoder(estimator: Any) -> None:
    """Raise an error unless `estimator` is a fitted autoencoder of rows or patches."""
    check_is_fitted(estimator)
    if not (hasattr(estimator, "network_") or hasattr(estimator, "autoencoder_")):
        _refuse(estimator, "Displays expect an", "autoencoder")


def check_detector(estimator: Any) -> None:
    """Raise unless `estimator` is a fitted detector of outliers."""
    check_is_fitted(estimator)
    if not hasattr(estimator, "explain"):
        _refuse(estimator, "OutlierDisplay expects an", "AutoencoderOutlierDetector")


def check_density(estimator: Any) -> None:
    """Raise unless `estimator` is a fitted variational autoencoder."""
    check_is_fitted(estimator)
    if not (hasattr(estimator, "posterior") and hasattr(estimator, "sample")):
        _refuse(estimator, "DensityDisplay expects a", "VariationalAutoencoder")


def check_sampler(estimator: Any) -> None:
    """Raise unless `estimator` is a fitted autoencoder that draws rows of tables."""
    check_is_fitted(estimator)
    if not hasattr(estimator, "column_kinds_"):
        _refuse(estimator, "PairsDisplay expects a", "TabularAutoencoderTransformer")
    if not hasattr(estimator, "sample"):
        raise TypeError(
            "PairsDisplay draws rows from distributions. Set "
            "number_output='distribution' in TabularAutoencoderTransformer, and fit."
        )


def _refuse(estimator: Any, expects: str, name: str) -> NoReturn:
    raise TypeError(
        f"{expects} {name}, got a {type(estimator).__name__}. If the {name} is a part "
        "of it, pass that part, for instance `pipeline[-1]`, and any data as that part "
        "receives it, for instance `pipeline[:-1].transform(X)`."
    )


def take_evenly(n_selected: int, *arrays: Any) -> list[Any]:
    """Select at most `n_selected` rows of each array, at equal distances."""
    arrays = indexable(*arrays)
    n_rows = _num_samples(arrays[0])
    rows = np.linspace(0, n_rows - 1, min(n_rows, n_selected)).round().astype(np.intp)
    return [None if array is None else _safe_indexing(array, rows) for array in arrays]


def known_image_shape(estimator: Any) -> tuple[int, ...] | None:
    """Return the image shape of a row, if `estimator` has one that can be drawn."""
    shape: tuple[int, ...] | None = getattr(estimator, "image_shape_", None)
    return drawable(shape) if shape is not None else None


def drawable(shape: Sequence[int]) -> tuple[int, ...]:
    """Convert (height, width, n_channels) to the shape of an image or of a line."""
    height, width, n_channels = shape
    if 1 in (height, width) or n_channels not in (1, 3):
        return (math.prod(shape),)
    return (height, width) if n_channels == 1 else (height, width, n_channels)


def resolve_image_shape(
    image_shape: Sequence[int] | None, n_features: int
) -> tuple[int, ...]:
    """Return (height, width) or (height, width, 3), or (n_features,) for lines."""
    if image_shape is None:
        side = math.isqrt(n_features)
        is_square = side >= MIN_GUESSED_IMAGE_SIDE and side**2 == n_features
        return (side, side) if is_square else (n_features,)
    shape = tuple(int(length) for length in image_shape)
    is_drawable = len(shape) in (1, 2) or (len(shape) == 3 and shape[2] == 3)
    if not is_drawable or math.prod(shape) != n_features:
        raise ValueError(
            "image_shape must be (height, width), (height, width, 3) or (n_features,) "
            f"with a product of {n_features}, the number of features. Got {shape}."
        )
    return shape


def make_tiles(
    ax: Axes | None,
    grid_shape: tuple[int, int],
    image_shape: tuple[int, ...],
    *,
    vertical_gap: float = TILE_GAP,
    label_width: float = 0,
) -> tuple[Axes, NDArray[Any]]:
    """Divide `ax`, or those of a new figure, into a grid of axes without ticks.

    Inset axes are used because they follow any axes given by the user, whether or
    not these belong to a grid. `label_width` is the room in inches for the labels of
    the rows.
    """
    n_rows, n_columns = grid_shape
    if ax is None:
        width, height = tile_size(image_shape)
        figure_width = max(MIN_FIGURE_WIDTH, n_columns * width + label_width)
        height *= (1 - TILE_GAP) / (1 - vertical_gap)
        figure_height = n_rows * height + TITLE_HEIGHT
        ax = new_axes((figure_width, figure_height))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.patch.set_visible(False)
    tiles = np.empty(grid_shape, dtype=object)
    for row, column in np.ndindex(grid_shape):
        left = (column + TILE_GAP / 2) / n_columns
        bottom = (n_rows - 1 - row + vertical_gap / 2) / n_rows
        size = ((1 - TILE_GAP) / n_columns, (1 - vertical_gap) / n_rows)
        tile = ax.inset_axes((left, bottom, *size))
        tile.set(xticks=[], yticks=[])
        tile.spines[:].set_color("0.7")
        tiles[row, column] = tile
    return ax, tiles


def tile_size(image_shape: tuple[int, ...]) -> tuple[float, float]:
    """Return width and height in inches of one image or line."""
    if len(image_shape) == 1:
        return LINE_TILE_SIZE
    height, width = image_shape[:2]
    # Very long or flat images would otherwise need an enormous figure.
    return IMAGE_WIDTH, IMAGE_WIDTH * float(np.clip(height / width, 0.25, 4))


def draw_row(
    ax: Axes,
    values: NDArray[Any],
    image_shape: tuple[int, ...],
    limits: tuple[float, float],
    cmap: str,
) -> AxesImage | Line2D:
    """Draw one row of data as an image or as a line, between the limits."""
    lowest, highest = limits
    if len(image_shape) == 1:
        margin = 0.05 * (highest - lowest)
        ax.set_ylim(lowest - margin, highest + margin)
        (line,) = ax.plot(values, color=LINE_COLOR)
        return line
    image = values.reshape(image_shape)
    if image.ndim == 3:
        # matplotlib has no limits for colour images: they must lie in [0, 1].
        image = np.clip((image - lowest) / (highest - lowest), 0, 1)
    return ax.imshow(
        image, cmap=cmap, vmin=lowest, vmax=highest, interpolation="nearest"
    )
