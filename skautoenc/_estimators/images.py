"""Input of estimators of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from .._data.array_api import to_numpy
from .._data.validation import check_rows, refuse

IMAGE_SHAPE_CONSTRAINT = [StrOptions({"auto"}), tuple, list]

_FORMS = "'auto' or (height, width[, n_channels])"
# Shorter rows are more often lines than coloured images, and nobody needs to be asked.
_SMALLEST_COLOURED = 8 * 8 * 3
# Usual numbers of channels.
_CHANNELS = (1, 3, 4)


class ImageInput:
    """Accepts images as rows, or as arrays of three or four dimensions.

    Estimators of images name it before their other base classes. They have a parameter
    `image_shape`; the attribute `image_shape_` is ``(height, width, n_channels)``.
    """

    image_shape: Any
    image_shape_: tuple[int, int, int]
    n_features_in_: int

    def _check_rows(
        self, X: Any, *, reset: bool, min_rows: int = 1, first_row: int = 0
    ) -> Any:
        """Validate images; with `reset`, determine their shape."""
        X = to_numpy(X)
        if isinstance(X, list | tuple) or hasattr(X, "__array__"):
            # Frames are not converted; masked arrays are refused later.
            X = X if hasattr(X, "columns") else _as_array(X)
        shape = tuple(X.shape[1:]) if _is_array_of_images(X) else None
        if shape is not None:
            X = X.reshape(len(X), math.prod(shape))
        matrix = check_rows(
            self, X, reset=reset, min_rows=min_rows, first_row=first_row
        )
        if reset:
            self.image_shape_ = self._resolve_image_shape(shape)
        elif shape is not None and _with_channels(shape) != self.image_shape_:
            raise ValueError(
                f"X has images of shape {shape}, but {type(self).__name__} was fitted "
                f"to images of {self.image_shape_}."
            )
        return matrix

    def _check_image_shape(self) -> None:
        """Raise a ValueError if `image_shape` has changed since the fit."""
        if self.image_shape == "auto":
            return
        shape = self._resolve_image_shape(None)
        if shape != self.image_shape_:
            raise ValueError(
                f"Training cannot go on, image_shape was {self.image_shape_} and is "
                f"now {shape}. Use fit with warm_start=False to start anew."
            )

    def _resolve_image_shape(
        self, shape: tuple[int, ...] | None
    ) -> tuple[int, int, int]:
        """Return the image shape of the rows; `shape` is that of an array of images."""
        width = self.n_features_in_
        if self.image_shape != "auto":
            given = tuple(self.image_shape)
        elif shape is not None:
            self._refuse_channels_first(shape)
            given = shape
        else:
            given = self._guess_image_shape(width)
        if len(given) not in (2, 3) or not all(
            isinstance(length, Integral) and int(length) > 0 for length in given
        ):
            refuse(self, "image_shape", _FORMS)
        if math.prod(given) != width:
            product = " * ".join(str(length) for length in given)
            raise ValueError(
                f"image_shape={given} is for {product} = {math.prod(given)} columns, "
                f"but X has {width}."
            )
        if shape is not None and _with_channels(shape) != _with_channels(given):
            raise ValueError(f"X has images of shape {shape}, but image_shape={given}.")
        return _with_channels(given)

    def _guess_image_shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of rows that nothing is known about but their width."""
        side = math.isqrt(width)
        if side * side == width:
            return side, side
        if width < _SMALLEST_COLOURED:
            return 1, width
        side = math.isqrt(width // 3)
        if 3 * side * side == width:
            return side, side, 3
        raise ValueError(
            f"X has rows of {width} columns, which are neither a square image nor a "
            "square image of three channels. Pass image_shape=(height, width) or "
            f"(height, width, n_channels), or image_shape=(1, {width}) if a row is a "
            f"line. {type(self).__name__} also takes arrays of shape (n_samples, "
            "height, width[, n_channels])."
        )

    def _refuse_channels_first(self, shape: tuple[int, ...]) -> None:
        first_only = shape[0] in _CHANNELS and shape[-1] not in _CHANNELS
        if len(shape) == 3 and first_only:
            raise ValueError(
                f"X has images of shape {shape}, whose channels seem to come first. "
                "Move them to the end, with np.moveaxis(X, 1, -1), or pass "
                f"image_shape={shape} if these are height, width and channels."
            )


def _as_array(X: Any) -> Any:
    """Convert a list, or an array of another library, to an array."""
    try:
        return np.asanyarray(X)
    except ValueError:
        return X  # Rows differ in length, which `check_rows` reports.


def _is_array_of_images(X: Any) -> bool:
    return getattr(X, "ndim", 2) in (3, 4)


def _with_channels(shape: Sequence[int]) -> tuple[int, int, int]:
    height, width, *channels = (int(length) for length in shape)
    return height, width, channels[0] if channels else 1
