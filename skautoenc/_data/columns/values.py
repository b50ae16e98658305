"""What columns of all kinds ask of values, and how they refuse them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def refuse(name: Any, problem: str, way_out: str) -> ValueError:
    """Return the error of a column, to be raised."""
    return ValueError(f"Column {name!r} {problem}. {way_out}")


def is_missing(values: Any) -> bool:
    """Whether a column has no values at all.

    Such a column has no type of its own: file readers make it floats or objects.
    """
    if isinstance(values, np.ndarray):
        return bool(pd.isna(values).all())
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return bool(values.is_null().all())
