"""Training data that is read in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch.utils import data

from .explain import explain_ragged, refuse_delayed
from .partitions import ahead, read_collection
from .streamed import StreamedMatrix

_BUFFER_BYTES = 2**28
# Rows of a data set that are one block.
_BATCH_SIZE = 1024
# Samplers whose order differs between passes.
_RANDOM = (
    data.RandomSampler,
    data.SubsetRandomSampler,
    data.WeightedRandomSampler,
)


class Blocks:
    """Training data for `fit` that is larger than memory, as a sequence of blocks.

    Each pass over the data reads all blocks: one pass checks and counts them, two or
    three passes precede training, and one follows for each epoch. The rows are shuffled
    within a buffer.

    Parameters
    ----------
    source : iterable or callable
        Source of the blocks, in the same order in each pass: an iterable that supports
        several passes, such as a list of (memory-mapped) arrays, or a function without
        arguments that returns a new iterator. A block is an array, a sparse matrix or a
        frame of shape (n_rows, n_features), with any number of rows. Valid, too, are
        collections of Dask, polars, pyarrow, zarr, h5py, xarray and Ray (see
        :ref:`collections`), whose partitions are the blocks, a
        :class:`torch.utils.data.DataLoader` without shuffling, and a
        :class:`torch.utils.data.Dataset` whose items are rows. If the last two have
        several fields, such as rows and labels, the first is used.

    buffer_size : int or "auto", default="auto"
        Number of rows held in memory, among which each epoch draws its order. "auto"
        is the number that fills 256 MiB. If neighbouring rows are similar, use a large
        buffer, or write the blocks in a random order once.

    See Also
    --------
    AutoencoderTransformer.partial_fit : Train on one part of the data at a time.

    Notes
    -----
    In addition to the buffer, a fit holds the current block, and up to 24 bytes per row
    for the order of the rows. `transform` takes one block at a time: iterate over the
    object.

    Columns of a table are learnt from a sample of the rows: of as many as `buffer_size`
    says and at least 65,536, with "auto" of 262,144. If that is all of them, and the
    buffer holds them too, a fit has the same bytes as that of one frame. Otherwise
    quantiles (of ``scaling="quantile"``) differ from those of all rows by less than 1.1
    percentage points, with "auto" by less than 0.6, with a probability of 1 - 1e-6.
    A further pass makes everything else exact: categories and their frequencies,
    ranges, means and scales. It holds each category of a column once. With
    ``number_output="distribution"`` and `early_stopping`, held-out rows are in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc import AutoencoderTransformer, Blocks
    >>> X = np.random.default_rng(0).normal(size=(1000, 8))
    >>> blocks = Blocks([X[:300], X[300:]], buffer_size=200)
    >>> autoencoder = AutoencoderTransformer(2, random_state=0).fit(blocks)
    >>> [autoencoder.transform(block).shape for block in blocks]
    [(300, 2), (700, 2)]
    """

    def __init__(
        self,
        source: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        buffer_size: int | Literal["auto"] = "auto",
    ) -> None:
        _check_source(source)
        if buffer_size != "auto" and not (
            isinstance(buffer_size, Integral) and buffer_size > 0
        ):
            raise ValueError(
                "The 'buffer_size' parameter of Blocks must be 'auto' or a positive "
                f"integer. Got {buffer_size!r} instead."
            )
        self.source = source
        self.buffer_size = buffer_size

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the blocks, except those without rows."""
        if isinstance(self.source, data.TensorDataset):
            # Much faster than a loader, which takes single rows.
            blocks: Iterable[Any] = self.source.tensors[0].split(_BATCH_SIZE)
        elif isinstance(self.source, data.Dataset):
            blocks = _read_loader(data.DataLoader(self.source, batch_size=_BATCH_SIZE))
        elif isinstance(self.source, data.DataLoader):
            blocks = _read_loader(self.source)
        else:
            blocks = _partitions(self.source)
        return filter(_has_rows, blocks)

    def __array__(self, *arguments: Any, **others: Any) -> NoReturn:
        raise TypeError(
            "Blocks are for fit and partial_fit of autoencoders of arrays, images and "
            "tables. Pass one block at a time elsewhere."
        )


def _check_source(source: Any) -> None:
    """Raise a TypeError or a ValueError if `source` cannot be read more than once."""
    if (
        callable(source)
        or isinstance(source, data.Dataset)
        or read_collection(source) is not None
    ):
        return
    name = type(source).__name__
    is_iterable = isinstance(source, Iterable)
    refuse_delayed(source)
    # A scalar of numpy has a shape, but no rows.
    is_array = is_iterable and getattr(source, "ndim", 3) < 3
    if is_array or isinstance(source, Mapping) or hasattr(source, "columns"):
        raise TypeError(
            f"Blocks takes several blocks, got one {name}. Put it in a list, "
            "Blocks([X]), or pass it to fit as it is."
        )
    if not is_iterable or isinstance(source, Iterator):
        raise TypeError(
            f"Blocks needs to read its source more than once, got {name}. Pass a list, "
            "or the function that makes the iterator."
        )
    if isinstance(source, data.DataLoader):
        samplers = source.sampler, getattr(source.batch_sampler, "sampler", None)
        if any(isinstance(sampler, _RANDOM) for sampler in samplers):
            raise ValueError(
                "Blocks needs a DataLoader that gives its batches in the same order "
                "each time. Set shuffle=False: each epoch shuffles within the buffer "
                "of Blocks, whose size is buffer_size."
            )


def _partitions(source: Any) -> Iterator[Any]:
    """Iterate over the blocks of a source, and over the partitions of collections."""
    start = read_collection(source)
    if start is not None:
        yield from ahead(start())
        return
    for block in source() if callable(source) else source:
        start = read_collection(block)
        if start is None:
            yield block
        else:
            yield from ahead(start())


def _has_rows(block: Any) -> bool:
    return _shape(block)[:1] != (0,)


def _read_loader(loader: data.DataLoader[Any]) -> Iterator[Any]:
    """Iterate over the batches of a loader; of several fields, return the first."""
    # A loader draws the seed of its workers from the global generator. Restoring its
    # state leaves the user's draws alone, and gives all passes the same seed.
    before = torch.get_rng_state()
    try:
        batches = iter(loader)
    finally:
        torch.set_rng_state(before)
    for batch in batches:
        yield batch[0] if isinstance(batch, list | tuple) else batch


def _are_rows(block: Any) -> bool:
    """Whether a list holds rows of numbers, not an array and its labels."""
    try:
        return all(np.ndim(row) < 2 for row in block)
    except ValueError:
        return False


def _shape(block: Any) -> tuple[int, ...]:
    """Return the shape of a block; raise a ValueError if it has no rows."""
    try:
        shape: tuple[int, ...] = np.shape(block)
    except ValueError as error:
        ragged = explain_ragged(block)
        if ragged is not None and _are_rows(block):
            raise ValueError(f"In a block: {ragged}") from error
        raise ValueError(
            f"A block is a {type(block).__name__} of entries of different shapes. Give "
            "its rows alone, without labels or weights."
        ) from error
    if len(shape) == 1 and shape != (0,):
        raise ValueError(
            f"A block has shape {shape}, but a block is of shape (n_rows, n_features). "
            "To pass a single array X, put it in a list: Blocks([X])."
        )
    return shape


def as_blocks(X: Any) -> Any:
    """Return a collection as :class:`Blocks`, and anything else as it is."""
    return X if read_collection(X) is None else Blocks(X)


def refuse_parts(X: Any) -> None:
    """Raise a TypeError if codes of `X` would be put together from parts.

    Codes of Dask collections are Dask collections, too. Arrays on a disk are read as a
    whole where an array is needed.
    """
    if isinstance(X, Blocks) or not (
        read_collection(X) is None or hasattr(X, "__array__")
    ):
        raise TypeError(
            f"fit_transform does not take {type(X).__name__}: the codes of all of its "
            "parts would have to be in memory. Where fit takes it, use fit(X), then "
            "transform each part, as iteration over Blocks(X) gives them."
        )


def as_matrix(
    blocks: Blocks, check: Callable[..., Any], min_rows: int = 2
) -> StreamedMatrix:
    """Read the blocks once and return them as a matrix.

    Parameters
    ----------
    blocks : Blocks
        The data.

    check : callable
        Validates a block and returns it as an array or CSR matrix. The second argument
        is the index of its first row; `is_new` says whether this is the first pass.

    min_rows : int, default=2
        Minimum number of rows of all blocks.

    Raises
    ------
    ValueError
        If there are fewer rows.
    """
    n_rows, width, dtype = 0, 0, np.dtype(np.float32)
    for block in blocks:
        matrix = check(block, n_rows, is_new=True)
        n_rows += matrix.shape[0]
        width = matrix.shape[1]
        dtype = np.promote_types(dtype, matrix.dtype)
    if n_rows < min_rows:
        needed = "two are" if min_rows == 2 else "one is"
        raise ValueError(f"Blocks have {n_rows} rows, but {needed} needed at least.")

    def start() -> Iterator[Any]:
        n_read = 0
        for block in blocks:
            matrix = check(block, n_read, is_new=False)
            n_read += matrix.shape[0]
            # Neither is held while the next one is read.
            del block
            yield matrix
            del matrix

    return StreamedMatrix(
        start, (n_rows, width), dtype, buffer_rows(blocks, width, dtype)
    )


def buffer_rows(blocks: Blocks, width: int, dtype: np.dtype) -> int:
    """Return the number of rows of a width and a type that are held in memory."""
    if blocks.buffer_size == "auto":
        return max(1, _BUFFER_BYTES // (width * dtype.itemsize))
    return int(blocks.buffer_size)
