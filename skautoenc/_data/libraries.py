"""Frames of all libraries that narwhals reads, as frames of pandas or polars, and back.

Types of columns differ between libraries. Those of pandas and polars are known here;
other libraries convert their frames to pandas and from it.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Libraries that speak pandas, by the module that has their class of frames.
_LIKE_PANDAS = {"modin": "modin.pandas", "cudf": "cudf"}
# Whose types a schema holds.
LIBRARIES = ("pandas", "polars", *_LIKE_PANDAS)
# How to get the rows of frames that have none yet.
_WAYS = ("collect", "compute", "execute", "toPandas", "to_pandas", "df", "to_arrow")


class Given(NamedTuple):
    """A frame as it was given, and as it is read.

    Parameters
    ----------
    frame : DataFrame of pandas or polars
        The frame.
    library : str
        Name of the library that it came in.
    """

    frame: Any
    library: str


def read_frame(X: Any) -> Given:
    """Convert a frame of any library to one of pandas or polars.

    Raises
    ------
    TypeError
        If narwhals does not know its library, or if its rows are not computed yet.
    """
    if isinstance(X, pd.DataFrame):
        return Given(X, "pandas")
    if _is_batch(X):
        X = sys.modules["pyarrow"].Table.from_batches([X])
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError as error:
        raise _refuse(X) from error
    library = frame.implementation.name.lower()
    if library == "polars":
        return Given(X, library)
    if library == "pyarrow":
        return Given(X.to_pandas(types_mapper=pd.ArrowDtype), library)
    return Given(frame.to_pandas(), library)


def _refuse(X: Any) -> TypeError:
    name = f"{type(X).__module__.partition('.')[0]}.{type(X).__name__}"
    way = next((way for way in _WAYS if hasattr(X, way)), None)
    if way is None:
        return TypeError(
            f"X is a {name}, a frame that narwhals does not read. Pass one of pandas."
        )
    return TypeError(f"X is a {name}, whose rows are not computed yet. Pass X.{way}().")


def _is_batch(X: Any) -> bool:
    return any(
        kind.__module__.startswith("pyarrow.") and kind.__name__ == "RecordBatch"
        for kind in type(X).__mro__
    )


def to_library(frame: Any, library: str) -> Any:
    """Convert a frame of pandas to the library that another one came in.

    It stays one of pandas if that library was not imported: files name it, too, and
    must not decide what is imported.
    """
    if library == "pyarrow":
        import pyarrow as pa

        table = pa.Table.from_pandas(frame, preserve_index=False)
        return table.replace_schema_metadata()
    module = sys.modules.get(_LIKE_PANDAS.get(library, ""))
    return frame if module is None else module.DataFrame(frame)


def index_of(X: Any) -> Any:
    """Return the index of a frame like those of pandas; None if it has none."""
    return X.index if hasattr(X, "iloc") and hasattr(X, "columns") else None


def frame_like(values: NDArray[Any], original: Any) -> Any:
    """Return values in the form of the data that they belong to.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
        One number per cell; other shapes are returned unchanged.
    original : frame, sparse matrix or array-like
        A frame gives a frame with its names and index; an array of images gives one of
        its shape.
    """
    if not isinstance(values, np.ndarray):
        return values
    if hasattr(original, "columns"):
        frame, library = read_frame(original)
        if library == "polars":
            names = list(frame.columns)
            return nw.from_numpy(values, schema=names, backend="polars").to_native()
        new = pd.DataFrame(values, index=frame.index, columns=frame.columns)
        return to_library(new, library)
    if isinstance(original, np.ndarray) and original.ndim > 2:
        return values.reshape(original.shape)
    return values
