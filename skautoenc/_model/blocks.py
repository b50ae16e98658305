"""Functions of rows, applied block by block so that a row's result is its own."""

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
from .._training.resources import compute, one_thread, step_work

# Kernels work on tiles of rows (6 or 8 of matrix products) and on vectors of values (32
# of elementwise functions), and round what is left over after whole ones differently.
_TILE = 96
_VECTOR = 32
# Of a block: enough to be worth a call, few enough to fit the cache.
_BLOCK_VALUES = 2**18
# Accelerators want more, and have the memory.
_ACCELERATOR_VALUES = 2**22
# Sizes of blocks for fewer rows, where these round as they do in a whole block.
_SMALL = (8, 16, 32, _TILE, 4 * _TILE, 16 * _TILE)

# What a call costs beside its rows, in multiplications.
_CALL = 2**19

Noise = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Block:
    """The shape of the blocks that a function is applied to.

    Parameters
    ----------
    size : int
        Number of rows: whole tiles, whatever the number of all rows.
    n_multiplications : int
        Multiplications that a row takes, there and back.
    smaller : tuple of int
        Sizes that may do for fewer rows, ascending; a trial tells. None for no trial.
    in_threads : bool, default=True
        Whether several threads may compute blocks at the same time, one thread to a
        block. Otherwise the operations of a block share the threads.
    """

    size: int
    n_multiplications: int
    smaller: tuple[int, ...] = _SMALL
    in_threads: bool = True


def block_of(network: Autoencoder, device: torch.device) -> Block:
    """Choose the shape of the blocks that a network is applied to."""
    if not network.runs_in_threads:
        # No trial either: a user's module may look things up by its input.
        return Block(_TILE, network.n_multiplications, (), in_threads=False)
    on_cpu = device.type == "cpu"
    values = _BLOCK_VALUES if on_cpu else _ACCELERATOR_VALUES
    n_tiles = max(1, values // max(network.widths) // _TILE)
    # A vector that is cut short differs too seldom for a trial to show it.
    smaller = tuple(
        size
        for size in _SMALL
        if on_cpu and all(size * width % _VECTOR == 0 for width in network.widths)
    )
    return Block(n_tiles * _TILE, network.n_multiplications, smaller)


def same_rounding(
    function: RowMap, rows: Tensor, sizes: Sequence[int] = _SMALL
) -> list[int]:
    """Find the sizes of blocks in which rows come out as in a whole one, bit for bit.

    Kernels are chosen by the shapes of their operands, never by the values: what holds
    for some rows holds for all.

    Parameters
    ----------
    function : callable
        Maps rows, (n, any), to values, (n, any), float32.
    rows : Tensor of shape (n, any)
        A whole block, of noise: between zeros no rounding shows.
    sizes : sequence of int
        Numbers of rows to try, ascending.

    Returns
    -------
    list of int
        Those of `sizes` that may be used, and the size of a whole block: n, or that of
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
    # Products of many rows may sum up in pieces, where those of few do not.
    return same_rounding(function, rows[:_TILE], sizes)


class Blockwise:
    """Applies functions block by block, and remembers which sizes of blocks do.

    A row's result is its own: all blocks have the same shape, padded with zeros, and
    each is computed by one thread. So neither a row's position and neighbours nor how
    its matrix lies in memory reach the rounding. A few rows are put into smaller blocks
    if a trial shows that these round alike.

    Parameters
    ----------
    block : Block
        The shape of the blocks.
    noise : callable, optional
        Draws standardised rows to try functions with; normal ones by default.
    """

    def __init__(self, block: Block, noise: Noise | None = None) -> None:
        self.block = block
        self._noise = noise
        # By the name of the function. Threads that find the same write the same.
        self._sizes: dict[str, list[int]] = {}

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
            Tells the functions apart.
        function : callable
            Maps blocks of shape (n, any) to (n, width).
        source : Rows or Tensor of shape (n_samples, any)
            Where the rows come from, on the device of the computation. Of `Rows`, they
            are only standardised.
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
        size = _fitting(sizes, n_samples, _CALL / max(1, block.n_multiplications))
        result = np.empty((n_samples, width), dtype=np.float32)
        starts = range(0, n_samples, size)

        def compute_blocks(starts: Sequence[int]) -> None:
            with torch.inference_mode():
                for rows, batch in _padded(source, starts, size):
                    values = function(batch)[: rows.stop - rows.start]
                    result[rows] = values.cpu().numpy()

        if block.in_threads and len(starts) == 1:
            with one_thread(device):
                compute_blocks(starts)
            return result
        # A third of a step is spent on the way forward.
        at_once = n_samples if block.in_threads else size
        with compute(step_work(block.n_multiplications, at_once) / 3, device):
            if block.in_threads:
                _share(compute_blocks, starts, device)
            else:
                compute_blocks(starts)
        return result

    def _try_out(self, name: str, function: RowMap, source: Rows | Tensor) -> list[int]:
        """Find the sizes of blocks that round alike, ascending, and remember them."""
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


def _fitting(sizes: Sequence[int], n_samples: int, call: float) -> int:
    """Choose the size of the blocks that rows are put into.

    Parameters
    ----------
    sizes : sequence of int
        Sizes that round alike, ascending.
    n_samples : int
        Number of rows.
    call : float
        What a call costs beside its rows, in rows.
    """
    if n_samples >= sizes[-1]:
        return sizes[-1]
    return min(sizes, key=lambda size: -(-n_samples // size) * (size + call))


def _padded(
    source: Rows | Tensor, starts: Sequence[int], size: int
) -> Iterator[tuple[slice, Tensor]]:
    """Run through blocks, each copied into the same piece of memory of `size` rows.

    New memory has the alignment that torch gives, and its rows are contiguous, however
    the rows of the source lie.
    """
    n_samples, width = source.shape
    memory = torch.empty(size, width, dtype=torch.float32, device=source.device)
    for start in starts:
        rows = slice(start, min(start + size, n_samples))
        n_rows = rows.stop - start
        if isinstance(source, Rows):
            source.standardise_into(memory[:n_rows], rows)
        else:
            memory[:n_rows] = source[rows]
        if n_rows < size:
            memory[n_rows:] = 0
        yield rows, memory


def _share(
    compute_blocks: Callable[[Sequence[int]], None],
    starts: Sequence[int],
    device: torch.device,
) -> None:
    """Deal blocks out to as many threads as torch has here, one thread to a block."""
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_threads = max(1, min(n_threads, len(starts)))

    def alone(number: int) -> None:
        with one_thread(device):
            compute_blocks(starts[number::n_threads])

    if n_threads == 1:
        alone(0)
        return
    with ThreadPoolExecutor(n_threads - 1) as others:
        waiting = [others.submit(alone, number) for number in range(1, n_threads)]
        alone(0)
        for done in waiting:
            done.result()
