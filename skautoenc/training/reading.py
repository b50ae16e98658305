"""The trained network, applied block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..networks import Autoencoder
from ..networks.layers import CPU_FLOAT32
from ..networks.weights import device_of
from .resources import compute, step_work
from .rows import RowMap, Rows

# Kernels work on tiles of rows (6 or 8 of matrix products) and on vectors of values (32
# of elementwise functions), and round what is left over after whole ones differently.
_TILE = 96
_VECTOR = 32
# Of a block: what is worth a call, and still fits the cache.
_BLOCK_VALUES = 2**18
# Accelerators want more, and have the memory.
_ACCELERATOR_VALUES = 2**22
# Blocks that fewer rows may be read in, where they round as in a whole one.
_SMALL = (8, 16, 32, _TILE)

_verified: WeakKeyDictionary[Autoencoder, dict[str, list[int]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Block:
    """How a function is applied to rows.

    Parameters
    ----------
    size : int
        Number of rows: whole tiles, whatever the number of all rows.
    n_multiplications : int
        Multiplications that a row takes, there and back.
    smaller : tuple of int
        Sizes that may do for fewer rows, ascending.
    """

    size: int
    n_multiplications: int
    smaller: tuple[int, ...] = _SMALL


def _block_of(network: Autoencoder, device: torch.device) -> Block:
    """Say how a network is applied."""
    values = _BLOCK_VALUES if device.type == "cpu" else _ACCELERATOR_VALUES
    n_tiles = max(1, values // max(network.widths) // _TILE)
    if not network.runs_in_threads:
        n_tiles = 1
    # What is left over after whole vectors differs too seldom for a trial to show.
    smaller = tuple(
        size
        for size in _SMALL
        if all(size * width % _VECTOR == 0 for width in network.widths)
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
        parts = torch.split(rows[:_TILE], size)
        found = torch.cat([function(part.clone()) for part in parts])
        return torch.equal(found.view(torch.int32), whole)

    found = [size for size in sizes if size < len(rows) and rounds_alike(size)]
    if found or len(rows) <= _TILE:
        return [*found, len(rows)]
    # Products of many rows may sum up in pieces, where those of few do not.
    return same_rounding(function, rows[:_TILE], sizes)


def read(
    network: Autoencoder,
    function: RowMap,
    source: Rows | Tensor,
    width: int,
    *,
    name: str,
    block: Block | None = None,
) -> NDArray[Any]:
    """Apply a function of the network to rows.

    A row's result is its own: all blocks have the same shape, filled up with zeros, and
    each is computed by one thread. So neither a row's place and neighbours nor how its
    matrix lies in memory reach the rounding. A few rows are read in smaller blocks if
    these are found to round alike.

    Parameters
    ----------
    network : Autoencoder
        In evaluation mode; says how large a block may be.
    function : callable
        Maps blocks of shape (n, any) to (n, width).
    source : Rows or Tensor of shape (n_samples, any)
        Where the rows come from, on the network's device. Of `Rows`, they are only
        standardised.
    width : int
        Width of the result.
    name : str
        Tells the functions of one network apart.
    block : Block, optional
        What the network does not say of functions that do more than apply it.

    Returns
    -------
    ndarray of shape (n_samples, width), float32
        The function's values.
    """
    device, n_samples = device_of(network), len(source)
    block = block or _block_of(network, device)
    size = _fitting(_sizes(network, function, source, name, block), n_samples)
    # A third of a step is spent on the way forward. Of a network of the user's the
    # operations share threads, alike for one row and for many.
    at_once = n_samples if network.runs_in_threads else size
    work = step_work(block.n_multiplications, at_once) / 3
    result = np.empty((n_samples, width), dtype=np.float32)
    whole = [
        slice(start, min(start + size, n_samples))
        for start in range(0, n_samples, size)
    ]

    def apply(blocks: Sequence[slice]) -> None:
        with torch.inference_mode():
            for chosen, batch in _padded(source, blocks, size):
                values = function(batch)[: chosen.stop - chosen.start]
                result[chosen] = values.cpu().numpy()

    with compute(work, device):
        if network.runs_in_threads:
            _share(apply, whole, device)
        else:
            apply(whole)
    return result


def _fitting(sizes: Sequence[int], n_samples: int) -> int:
    """Choose the size of the blocks that rows are read in."""
    if n_samples >= sizes[-1]:
        return sizes[-1]
    # Those that leave the fewest rows to be filled up, in as few blocks as can be.
    return min(sizes, key=lambda size: (-(-n_samples // size) * size, -size))


def _sizes(
    network: Autoencoder,
    function: RowMap,
    source: Rows | Tensor,
    name: str,
    block: Block,
) -> list[int]:
    """List the sizes of blocks that round alike, ascending; find out once."""
    known = _verified.setdefault(network, {})
    if name not in known:
        device = device_of(network)
        n_inputs = _n_inputs(source)
        draws = torch.Generator("cpu").manual_seed(0)
        rows = (
            network.noise(block.size, draws)
            if isinstance(source, Rows) and n_inputs == network.widths[0]
            else torch.randn(block.size, n_inputs, generator=draws, **CPU_FLOAT32)
        )
        if not network.runs_in_threads or rows is None or device.type != "cpu":
            known[name] = [block.size]
        else:
            with compute(0, device), torch.inference_mode():
                known[name] = same_rounding(function, rows, block.smaller)
    return known[name]


def _n_inputs(source: Rows | Tensor) -> int:
    return int((source.matrix if isinstance(source, Rows) else source).shape[1])


def _padded(source: Rows | Tensor, blocks: Sequence[slice], size: int) -> Any:
    """Run through blocks, each copied into the same piece of memory of `size` rows.

    A new one has the alignment that torch gives, and its rows are contiguous, however
    the rows of the source lie.
    """
    memory = torch.empty(
        size, _n_inputs(source), dtype=torch.float32, device=source.device
    )
    for block in blocks:
        n_rows = block.stop - block.start
        if isinstance(source, Rows):
            source.standardise_into(memory[:n_rows], block)
        else:
            memory[:n_rows] = source[block]
        memory[n_rows:] = 0
        yield block, memory


def _share(
    apply: Callable[[Sequence[slice]], None],
    blocks: Sequence[slice],
    device: torch.device,
) -> None:
    """Deal blocks out to as many threads as torch has here, one thread to a block."""
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_threads = max(1, min(n_threads, len(blocks)))

    def alone(number: int) -> None:
        with compute(0, device):
            apply(blocks[number::n_threads])

    if n_threads == 1:
        alone(0)
        return
    with ThreadPoolExecutor(n_threads - 1) as others:
        waiting = [others.submit(alone, number) for number in range(1, n_threads)]
        alone(0)
        for done in waiting:
            done.result()
