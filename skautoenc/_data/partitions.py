"""Collections of other libraries, read in partitions.

A collection is recognised by the methods of its type: none of the libraries is imported
before one of its objects is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import count, takewhile
from typing import Any

import numpy as np

# Starts a pass: returns an iterator over the partitions, which are arrays or frames.
Start = Callable[[], Iterator[Any]]

# Size and number of rows of partitions where the collection leaves them to us.
_PART_BYTES = 2**24
_N_ROWS = 4096


def read_collection(X: Any) -> Start | None:
    """Return a function that starts a pass over the partitions of a collection.

    Parameters
    ----------
    X : object
        A Dask array or frame, a lazy frame of polars, a data set of pyarrow, an array
        of zarr or h5py, an xarray.DataArray that is not in memory, a data set of Ray,
        or anything else.

    Returns
    -------
    callable or None
        None if `X` is no collection of rows.
    """
    kind = type(X)
    if kind is np.ndarray or (hasattr(kind, "ndim") and X.ndim < 2):
        return None
    if hasattr(kind, "isel"):
        return _of_xarray(X)
    if is_dask(X):
        return partial(_dask_parts, X)
    if hasattr(kind, "collect_schema") and hasattr(kind, "collect"):
        return partial(_polars_batches, X)
    if hasattr(kind, "to_batches") and hasattr(kind, "get_fragments"):
        return partial(_arrow_tables, X)
    if hasattr(kind, "iter_batches") and hasattr(kind, "materialize"):
        return partial(_ray_batches, X)
    if hasattr(kind, "chunks") and hasattr(kind, "shape"):
        return partial(_slices, X, chunk_size(X))
    return None


def is_dask(X: Any) -> bool:
    """Whether `X` is an array or a frame of Dask."""
    # A single delayed value seems to have any attribute, but its type has not.
    kind = type(X)
    return hasattr(kind, "__dask_graph__") and hasattr(kind, "to_delayed")


def ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Iterate, and compute the next item in a thread meanwhile."""
    end = object()
    context = copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="partitions") as thread:

        def request() -> Future[Any]:
            return thread.submit(lambda: context.run(next, items, end))

        coming = request()
        while True:
            item = coming.result()
            if item is end:
                return
            coming = request()
            yield item
            # Not held while the next one is waited for.
            item = None


def delayed_parts(X: Any) -> list[Any]:
    """Return the partitions of a Dask collection, each with all columns."""
    if hasattr(X, "rechunk"):
        whole = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
        return list(whole.to_delayed().ravel())
    return list(X.to_delayed())


def _dask_parts(X: Any) -> Iterator[Any]:
    return (part.compute() for part in delayed_parts(X))


def _of_xarray(X: Any) -> Start | None:
    if not hasattr(X, "variable"):
        return None  # A set of several arrays.
    if X.chunks is not None:
        return read_collection(X.data)
    if getattr(X.variable, "_in_memory", True):
        return None
    return partial(_slices, X, chunk_size(X))


def chunk_size(X: Any) -> int:
    """Return a number of rows of some megabytes that is a multiple of the chunks'."""
    chunks = getattr(X, "chunks", None)
    n_rows = int(chunks[0]) if chunks else 1
    row_bytes = int(math.prod(X.shape[1:]) * X.dtype.itemsize)
    return n_rows * max(1, _PART_BYTES // max(1, row_bytes * n_rows))


def _slices(X: Any, n_rows: int) -> Iterator[Any]:
    starts = range(0, X.shape[0], n_rows)
    return (np.asarray(X[start : start + n_rows]) for start in starts)


def _polars_batches(X: Any) -> Iterator[Any]:
    n_rows = max(1, _PART_BYTES // (8 * max(1, len(X.collect_schema()))))
    if hasattr(X, "collect_batches"):
        return iter(X.collect_batches(chunk_size=n_rows, maintain_order=True))
    # Before version 1.34.
    slices = (X.slice(start, n_rows).collect() for start in count(0, n_rows))
    return takewhile(len, slices)


def _arrow_tables(X: Any) -> Iterator[Any]:
    from pyarrow import Table

    n_rows = max(1, _PART_BYTES // (8 * max(1, len(X.schema.names))))
    batches = X.to_batches(batch_size=n_rows)
    return (Table.from_batches([batch]) for batch in batches)


def _ray_batches(X: Any) -> Iterator[Any]:
    batches = X.iter_batches(batch_size=_N_ROWS, batch_format="numpy")
    return map(_of_columns, batches)


def _of_columns(batch: dict[str, Any]) -> Any:
    """Return columns as a frame; the only column of a data set of arrays is one."""
    import pandas as pd

    values = list(batch.values())
    if len(values) == 1 and values[0].ndim > 1:
        return values[0]
    return pd.DataFrame(batch)
