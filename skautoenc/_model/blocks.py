"""Blockwise application of functions, so that a row's result depends on it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.rows import RowMap, Rows
from .._networks.autoencoder import Autoencoder
from .._networks.layers import CPU_FLOAT32
from .._networks.maps import ImageNetwork
from .._training.resources import compute, one_thread, step_work

# Kernels work on tiles of rows (6 or 8 for matrix products) and on vectors of values
# (32 for elementwise functions), and round the rest after whole ones differently.
_TILE = 96
_VECTOR = 32
# Values of a block: large compared to the cost of a call, small compared to the cache.
_BLOCK_VALUES = 2**18
# Accelerators need larger blocks, and have the memory.
_ACCELERATOR_VALUES = 2**22
# Values of a feature map of a block, 64 MiB. An image with larger ones is a block.
_LARGEST_MAP = 2**24
# Sizes of blocks for fewer rows, which are used if they round like a whole block.
_SMALL = (8, 16, 32, _TILE, 4 * _TILE, 16 * _TILE)

# Cost of a call without rows, in multiplications.
_CALL = 2**22

Noise = Callable[[int, torch.Generator], Tensor]
# The rows of a block, and its size, to which they are padded.
Cut = tuple[slice, int]


@dataclass(frozen=True)
class Block:
    """The shape of the blocks that a function is applied to.

    Parameters
    ----------
    size : int
        Number of rows, whatever the number of all rows: whole tiles, or one.
    n_multiplications : int
        Multiplications for one row, through encoder and decoder.
    smaller : tuple of int
        Sizes to test for fewer rows, ascending; empty for no test.
    in_threads : bool, default=True
        Whether several threads may compute blocks at the same time, one thread per
        block. Otherwise the operations of one block share the threads.
    """

    size: int
    n_multiplications: int
    smaller: tuple[int, ...] = _SMALL
    in_threads: bool = True


def block_of(network: Autoencoder, device: torch.device) -> Block:
    """Choose the shape of the blocks that a network is applied to."""
    if not network.runs_in_threads:
        # Smaller blocks are not tested: a user's module may store its inputs.
        return Block(_TILE, network.n_multiplications, (), in_threads=False)
    has_maps = isinstance(network, ImageNetwork)
    if has_maps and max(network.widths) * _TILE > _LARGEST_MAP:
        return Block(1, network.n_multiplications, ())
    on_cpu = device.type == "cpu"
    values = _BLOCK_VALUES if on_cpu else _ACCELERATOR_VALUES
    n_tiles = max(1, values // max(network.widths) // _TILE)
    smaller = whole_vectors(*network.widths) if on_cpu else ()
    return Block(n_tiles * _TILE, network.n_multiplications, smaller)


def whole_vectors(*widths: int) -> tuple[int, ...]:
    """Return the small sizes of blocks whose values fill whole vectors.

    Rounding differs too rarely in an incomplete vector for a test to show it.

    Parameters
    ----------
    *widths : int
        Number of values of a row at each step of the computation.
    """
    return tuple(
        size for size in _SMALL if all(size * width % _VECTOR == 0 for width in widths)
    )


def same_rounding(
    function: RowMap, rows: Tensor, sizes: Sequence[int] = _SMALL
) -> list[int]:
    """Return the sizes of blocks that give rows the same bits as a whole block.

    Kernels are selected by the shapes of their operands, not by the values. The result
    for some rows therefore holds for all rows.

    Parameters
    ----------
    function : callable
        Maps rows, (n, any), to values, (n, any), float32.
    rows : Tensor of shape (n, any)
        A whole block of noise; zeros would hide differences in rounding.
    sizes : sequence of int
        Numbers of rows to test, ascending.

    Returns
    -------
    list of int
        The sizes that may be used, ascending. The last one is that of a whole block, n;
        if no smaller size agrees with it, that of a tile is tried instead.
        a tile, if no smaller one is like n.
    """
    whole = function(rows.clone())[:_TILE].view(torch.int32)

    def rounds_alike(size: int) -> bool:
        parts = torch.split(rows[: max(size, _TILE)], size)
        values = torch.cat([function(part.clone()) for part in parts])[:_TILE]
        return torch.equal(values.view(torch.int32), whole)

    alike = [size for size in sizes if size < len(rows) and rounds_alike(size)]
    if alike or len(rows) <= _TILE:
        return [*alike, len(rows)]
        # Products of many rows may be summed in parts, unlike those of a tile.
    return same_rounding(function, rows[:_TILE], sizes)


class Blockwise:
    """Applies functions block by block, and stores which sizes of blocks are usable.

    A row's result depends on this row only. All blocks have the same shape, padded with
    zeros, and each is computed by one thread. Therefore neither a row's position, nor
    the other rows, nor the memory layout of the matrix affect the rounding. A few rows
    are put into smaller blocks if a test shows that these round alike.

    Parameters
    ----------
    block : Block
        Shape of the blocks.
    noise : callable, optional
        Draws standardised rows to test functions with; standard normal by default.
    """

    def __init__(self, block: Block, noise: Noise | None = None) -> None:
        self.block = block
        self._noise = noise
        # By name of the function. Threads that test the same function store the same.
        self._sizes: dict[str, list[int]] = {}

    def share_sizes(self, other: Blockwise) -> None:
        """Test sizes of blocks once, for functions of equal shapes.

        Kernels are selected by shapes, so what one finds holds for the other.
        """
        if self.block == other.block:
            self._sizes = other._sizes

    def apply(
        self,
        name: str,
        function: RowMap,
        source: Rows | Tensor,
        width: int,
        *,
        trial: RowMap | None = None,
    ) -> NDArray[np.float32]:
        """Apply a function to rows.

        Parameters
        ----------
        name : str
            Identifies the function.
        function : callable
            Maps blocks of shape (n, any) to (n, width).
        source : Rows or Tensor of shape (n_samples, any)
            Rows, on the device of the computation. `Rows` are standardised but not
            prepared.
        width : int
            Width of the result.
        trial : callable, optional
            A quicker function of the same operations, to try sizes of blocks with.

        Returns
        -------
        ndarray of shape (n_samples, width), float32
            The function's values.
        """
        (n_samples, _), device, block = source.shape, source.device, self.block
        sizes = self._sizes.get(name) or self._try_out(name, trial or function, source)
        cuts = _cut(n_samples, sizes, _CALL / max(1, block.n_multiplications))
        result = np.empty((n_samples, width), dtype=np.float32)

        def compute_blocks(cuts: Sequence[Cut]) -> None:
            with torch.inference_mode():
                for rows, batch in _padded(source, cuts):
                    values = function(batch)[: rows.stop - rows.start]
                    result[rows] = values.cpu().numpy()

        if block.in_threads and len(cuts) == 1:
            with one_thread(device):
                compute_blocks(cuts)
            return result
        # The forward pass is a third of a training step.
        at_once = n_samples if block.in_threads else sizes[-1]
        with compute(step_work(block.n_multiplications, at_once) / 3, device):
            if block.in_threads:
                _share(compute_blocks, cuts, device)
            else:
                compute_blocks(cuts)
        return result

    def _try_out(self, name: str, function: RowMap, source: Rows | Tensor) -> list[int]:
        """Test which sizes of blocks round alike, and store them, ascending."""
        block, sizes = self.block, [self.block.size]
        if block.smaller:
            generator = torch.Generator("cpu").manual_seed(0)
            if self._noise is not None and isinstance(source, Rows):
                rows = self._noise(block.size, generator)
            else:
                shape = block.size, source.shape[1]
                rows = torch.randn(shape, generator=generator, **CPU_FLOAT32)
            with one_thread(source.device), torch.inference_mode():
                sizes = same_rounding(function, rows, block.smaller)
        self._sizes[name] = sizes
        return sizes


def _cut(n_samples: int, sizes: Sequence[int], call: float) -> list[Cut]:
    """Divide rows into whole blocks, and the rest into those that suit it best.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    sizes : sequence of int
        Sizes that round alike, ascending; the last is that of a whole block.
    call : float
        Cost of a call without rows, in rows.
    """
    whole = sizes[-1]
    n_rest = n_samples % whole
    smaller = min(sizes, key=lambda size: -(-n_rest // size) * (size + call))
    first = n_samples - n_rest
    return [
        *((slice(start, start + whole), whole) for start in range(0, first, whole)),
        *(
            (slice(start, min(start + smaller, n_samples)), smaller)
            for start in range(first, n_samples, smaller)
        ),
    ]


def _padded(
    source: Rows | Tensor, cuts: Sequence[Cut]
) -> Iterator[tuple[slice, Tensor]]:
    """Iterate over blocks, each copied into the same memory.

    Its alignment and strides are always the same, whatever those of the source.
    """
    largest, width = max(size for _, size in cuts), source.shape[1]
    memory = torch.empty(largest, width, dtype=torch.float32, device=source.device)
    for rows, size in cuts:
        block, n_rows = memory[:size], rows.stop - rows.start
        if isinstance(source, Rows):
            source.standardise_into(block[:n_rows], rows)
        else:
            block[:n_rows] = source[rows]
        if n_rows < size:
            block[n_rows:] = 0
        yield rows, block


def _share(
    compute_blocks: Callable[[Sequence[Cut]], None],
    cuts: Sequence[Cut],
    device: torch.device,
) -> None:
    """Distribute blocks over the threads that torch may use here."""
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_threads = max(1, min(n_threads, len(cuts)))

    def alone(number: int) -> None:
        with one_thread(device):
            compute_blocks(cuts[number::n_threads])

    if n_threads == 1:
        alone(0)
        return
    with ThreadPoolExecutor(n_threads - 1) as others:
        waiting = [others.submit(alone, number) for number in range(1, n_threads)]
        alone(0)
        for done in waiting:
            done.result()
