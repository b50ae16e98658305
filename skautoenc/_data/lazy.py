"""Functions of rows, applied to Dask collections when these are computed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd

from .partitions import is_dask

# Maps a partition to an array or a frame with as many rows.
PartMap = Callable[[Any], Any]


def lazy_rows(X: Any) -> Any:
    """Return the Dask array or frame that `X` is or holds, or None."""
    kind = type(X)
    if kind is np.ndarray:
        return None
    if hasattr(kind, "isel") and getattr(X, "chunks", None):
        X = X.data  # Of xarray.
    return X if is_dask(X) and getattr(X, "ndim", 1) > 1 else None


def map_rows(function: PartMap, X: Any, like: Any) -> Any:
    """Apply a function to the partitions of a Dask collection, when it is computed.

    Parameters
    ----------
    function : callable
        Maps a partition to what `like` is. It is sent to each worker once.
    X : dask array or dask frame of shape (n_samples, ...)
        The rows.
    like : ndarray or DataFrame
        Result for no rows.

    Returns
    -------
    dask array or dask frame
        Of the type and the columns of `like`. Unknown numbers of rows stay unknown.
    """
    from dask import delayed

    shipped = delayed(function, traverse=False)
    is_array = hasattr(X, "rechunk")
    if is_array:
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    if isinstance(like, pd.DataFrame):
        if is_array:
            return _frame_of_array(shipped, X, like)
        return X.map_partitions(_apply, shipped, like, meta=like)
    if is_array:
        width = () if like.ndim == 1 else ((like.shape[1],),)
        return X.map_blocks(
            _apply,
            function=shipped,
            like=like,
            dtype=like.dtype,
            chunks=(X.chunks[0], *width),
            drop_axis=list(range(like.ndim, X.ndim)),
            meta=like,
        )
    meta = _in_pandas(like)
    return X.map_partitions(_apply_in_pandas, shipped, like, meta=meta).to_dask_array()


def _frame_of_array(shipped: Any, X: Any, like: pd.DataFrame) -> Any:
    """Apply a function to an array; the index of the frame is the number of the row."""
    import dask.dataframe as dd
    from dask import delayed

    sizes = X.chunks[0]
    starts, divisions = [0] * len(sizes), None
    if not np.isnan(sizes).any() and all(sizes):
        starts = [0, *accumulate(sizes)][:-1]
        divisions = (*starts, sum(sizes) - 1)
    parts = X.to_delayed().ravel()
    frames = [
        delayed(_apply_from)(part, shipped, like, start)
        for part, start in zip(parts, starts, strict=True)
    ]
    return dd.from_delayed(frames, meta=like, divisions=divisions)


def _apply(part: Any, function: PartMap, like: Any) -> Any:
    # Methods of estimators refuse data without rows.
    if len(part):
        return function(part)
    if isinstance(like, pd.DataFrame) and hasattr(part, "index"):
        return like.set_axis(part.index)
    return like


def _apply_from(part: Any, function: PartMap, like: Any, start: int) -> Any:
    found = _apply(part, function, like)
    return found.set_axis(pd.RangeIndex(start, start + len(found)))


def _apply_in_pandas(part: Any, function: PartMap, like: Any) -> Any:
    return _in_pandas(_apply(part, function, like))


def _in_pandas(values: Any) -> Any:
    return pd.Series(values) if values.ndim == 1 else pd.DataFrame(values)
