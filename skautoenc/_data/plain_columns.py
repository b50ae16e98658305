"""Columns of plain numbers, converted in one operation.

One by one, the conversion of a thousand columns takes longer than the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_SIZES = (8, 16, 32, 64)
_NUMPY_TYPES = {
    *(np.dtype(f"{kind}{size}") for kind in ("int", "uint") for size in _SIZES),
    *(np.dtype(f"float{size}") for size in (16, 32, 64)),
}
_POLARS_TYPES = {
    *(f"{kind}{size}" for kind in ("Int", "UInt") for size in _SIZES),
    *("Float32", "Float64"),
}
# Up to this limit float64 holds every integer.
_EXACT = 2**53


@dataclass(frozen=True)
class PlainNumbers:
    """Columns of a frame or an array whose types are numeric.

    Parameters
    ----------
    indices : dict
        Position of a column in `matrix`, by its position in the data.
    matrix : ndarray of shape (n_samples, n_plain), float64
        Values; NaN for missing ones.
    """

    indices: dict[int, int]
    matrix: NDArray[np.float64]

    def column(self, place: int) -> NDArray[np.float64]:
        """Return the values of a column by its position in the data."""
        return self.matrix[:, self.indices[place]]

    def scaled(
        self, places: list[int], means: list[float], scales: list[float]
    ) -> NDArray[np.float64]:
        """Return some columns minus their means, divided by their scales."""
        indices = [self.indices[place] for place in places]
        found: NDArray[np.float64] = self.matrix[:, indices]
        with np.errstate(over="ignore"):
            found -= np.array(means)
            found /= np.array(scales)
        return found


def plain_places(data: Any, types: list[Any]) -> list[int]:
    """Return the positions of columns of plain numbers.

    Parameters
    ----------
    data : frame or ndarray of shape (n_samples, n_features)
        The data.
    types : list
        Types of the columns of a frame.
    """
    if isinstance(data, np.ndarray):
        return list(range(data.shape[1])) if data.dtype in _NUMPY_TYPES else []
    if isinstance(data, pd.DataFrame):
        return [n for n, dtype in enumerate(types) if _is_plain_in_pandas(dtype)]
    names = (type(dtype).__name__ for dtype in types)
    return [n for n, name in enumerate(names) if name in _POLARS_TYPES]


def _is_plain_in_pandas(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype in _NUMPY_TYPES


def is_exact(values: NDArray[np.float64]) -> bool:
    """Whether floats are equal to the integers that they were made from."""
    return not (np.abs(values) >= _EXACT).any()


def read_plain(data: Any, places: list[int]) -> PlainNumbers:
    """Convert the columns of plain numbers at the given positions."""
    if not places:
        # Frames of old polars without columns are no arrays.
        return PlainNumbers({}, np.empty((len(data), 0)))
    if len(places) == data.shape[1]:
        chosen = data
    elif isinstance(data, np.ndarray):
        chosen = data[:, places]
    else:
        chosen = data.iloc[:, places] if hasattr(data, "iloc") else data[:, places]
    matrix = np.asarray(
        chosen if isinstance(chosen, np.ndarray) else chosen.to_numpy(),
        dtype=np.float64,
    )
    return PlainNumbers({place: n for n, place in enumerate(places)}, matrix)
