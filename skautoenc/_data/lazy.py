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
    if not hasattr(X, "rechunk"):
        return _of_frame(shipped, X, like)
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    if isinstance(like, pd.DataFrame):
        return _frame_of_array(shipped, X, like)
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


def _of_frame(shipped: Any, X: Any, like: Any) -> Any:
    """Apply a function to a frame; a frame of results has the same index."""
    import dask.array as da
    import dask.dataframe as dd
    from dask import delayed

    apply = delayed(_apply, pure=False)
    parts = [apply(part, shipped, like) for part in X.to_delayed()]
    if isinstance(like, pd.DataFrame):
        divisions = X.divisions if X.known_divisions else None
        return dd.from_delayed(parts, meta=like, divisions=divisions)
    shape = (np.nan, *like.shape[1:])
    return da.concatenate(
        [da.from_delayed(part, shape, dtype=like.dtype, meta=like) for part in parts],
        allow_unknown_chunksizes=True,
    )


def _frame_of_array(shipped: Any, X: Any, like: pd.DataFrame) -> Any:
    """Apply a function to an array; the index of the frame is the number of the row."""
    import dask.dataframe as dd
    from dask import delayed

    sizes = X.chunks[0]
    starts, divisions = [0] * len(sizes), None
    if not np.isnan(sizes).any() and all(sizes):
        starts = [0, *accumulate(sizes)][:-1]
        divisions = (*starts, sum(sizes) - 1)
    apply = delayed(_apply_from, pure=False)
    frames = [
        apply(part, shipped, like, start)
        for part, start in zip(X.to_delayed().ravel(), starts, strict=True)
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
