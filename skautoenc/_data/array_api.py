"""Arrays of other libraries, such as torch tensors, in and out.

With ``sklearn.set_config(array_api_dispatch=True)``, scikit-learn's estimators return
arrays of the library and on the device of `X`. Rows are validated and cut into blocks
as numpy arrays, so arrays are converted at the door, once in each direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._array_api import (
    _convert_to_numpy,
    _is_numpy_namespace,
    device,
    get_namespace,
)


def _namespace(X: Any) -> Any:
    """Return the library of an array if its results stay in it, or None."""
    if type(X) is np.ndarray or not get_config().get("array_api_dispatch"):
        return None
    # Frames, sparse matrices and lists are converted to numpy arrays in any case.
    if not (hasattr(X, "__array_namespace__") or hasattr(X, "new_tensor")):
        return None
    xp, _ = get_namespace(X)
    return None if _is_numpy_namespace(xp) else xp


def to_numpy(X: Any) -> Any:
    """Convert an array of another library to numpy; return anything else as it is."""
    xp = _namespace(X)
    if xp is None:
        return X
    if getattr(X, "requires_grad", False):
        X = X.detach()
    return _convert_to_numpy(X, xp)


def as_given(values: Any, X: Any) -> Any:
    """Convert a result to the library and the device of `X`.

    Parameters
    ----------
    values : ndarray or frame
        The result.
    X : object
        What the user passed.
    """
    xp = _namespace(X)
    if xp is None or not isinstance(values, np.ndarray):
        return values
    place = device(X)
    if values.dtype == np.float64 and getattr(place, "type", None) == "mps":
        # These accelerators have no float64.
        values = values.astype(np.float32)
    return xp.asarray(values, device=place)
