"""Training data that comes in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from typing import Any, Literal, NoReturn

import numpy as np

from .streamed import StreamedMatrix

_BUFFER_BYTES = 2**28


class Blocks:
    """Training data for `fit` that need not fit into memory, block by block.

    Each pass over the data reads the blocks anew: one to check and count them, two or
    three before training, and one an epoch. The rows are shuffled within a buffer.

    Parameters
    ----------
    source : iterable or callable
        What gives the blocks, in the same order each time: an iterable that can be run
        through again, such as a list of (memory-mapped) arrays, or a function without
        arguments that returns a new iterator. A block is what `fit` takes: an array, a
        sparse matrix or a frame of shape (n_rows, n_features), of any number of rows.
    buffer_size : int or "auto", default="auto"
        Rows that are held in memory, among which each epoch draws its order. "auto" is
        as many as fill 256 MiB. Where neighbouring rows are alike, have many, or write
        the blocks in a random order once.

    See Also
    --------
    AutoencoderTransformer.partial_fit : Goes on with each part as it comes.

    Notes
    -----
    Beyond the buffer, a fit holds the block at hand, and eight bytes a row for their
    order. `transform` takes one block at a time: loop over the object itself.

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
        if not callable(source) and (
            not isinstance(source, Iterable) or isinstance(source, Iterator)
        ):
            raise TypeError(
                f"Blocks needs to read its source more than once, got "
                f"{type(source).__name__}. Pass a list, or the function that makes the "
                "iterator."
            )
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
        """Run through the blocks, but for those without rows."""
        blocks = self.source() if callable(self.source) else self.source
        return (block for block in blocks if np.shape(block)[:1] != (0,))

    def __array__(self, *arguments: Any, **others: Any) -> NoReturn:
        raise TypeError(
            "Blocks are for fit and partial_fit of AutoencoderTransformer and "
            "ConvAutoencoderTransformer. Pass one block at a time elsewhere."
        )


def as_matrix(blocks: Blocks, check: Callable[..., Any]) -> StreamedMatrix:
    """Read the blocks once and return them as a matrix.

    Parameters
    ----------
    blocks : Blocks
        The data.
    check : callable
        Checks a block, the second argument being the number of its first row, and
        `is_new` whether this is the first pass; returns it as an array or CSR matrix.

    Raises
    ------
    ValueError
        If there are fewer than two rows.
    """
    n_rows, width, dtype = 0, 0, np.dtype(np.float32)
    for block in blocks:
        matrix = check(block, n_rows, is_new=True)
        n_rows += matrix.shape[0]
        width = matrix.shape[1]
        dtype = np.promote_types(dtype, matrix.dtype)
    if n_rows < 2:
        raise ValueError(f"Blocks have {n_rows} rows, but two are needed at least.")

    def start() -> Iterator[Any]:
        n_read = 0
        for block in blocks:
            matrix = check(block, n_read, is_new=False)
            n_read += matrix.shape[0]
            yield matrix

    capacity = (
        max(1, _BUFFER_BYTES // (width * dtype.itemsize))
        if blocks.buffer_size == "auto"
        else int(blocks.buffer_size)
    )
    return StreamedMatrix(start, (n_rows, width), dtype, capacity)
