"""The trained network, applied block by block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..networks import Autoencoder
from ..networks.weights import device_of
from .resources import compute, step_work
from .rows import Rows, blocks

# Rows that blocks are filled up to a multiple of: whole vectors of the processor.
_filled = ContextVar("filled", default=32)


@contextmanager
def unfilled() -> Iterator[None]:
    """Read as few rows as there are, for whom the last digits do not matter."""
    before = _filled.set(1)
    try:
        yield
    finally:
        _filled.reset(before)


def read(
    network: Autoencoder,
    function: Callable[[Tensor], Tensor],
    source: Rows | Tensor,
    width: int,
) -> NDArray[Any]:
    """Apply a function of the network to rows.

    Blocks are filled up to a multiple of 32 rows. Kernels round what is left over after
    whole vectors differently, and a row's result is not to depend on its place or its
    neighbours.

    Parameters
    ----------
    network : Autoencoder
        In evaluation mode; says how large a block may be.
    function : callable
        Maps blocks of shape (n, any) to (n, width).
    source : Rows or Tensor of shape (n_samples, any)
        Where the rows come from, on the network's device.
    width : int
        Width of the result.

    Returns
    -------
    ndarray of shape (n_samples, width), float32
        The function's values.
    """
    n_samples = len(source)
    result = np.empty((n_samples, width), dtype=np.float32)
    # A third of a step is spent on the way forward.
    work = step_work(network.n_multiplications, n_samples) / 3
    with compute(work, device_of(network)), torch.inference_mode():
        for block in blocks(n_samples, max(network.widths)):
            batch = source[block]
            n_missing = -len(batch) % _filled.get()
            # A copy of a whole block would take as long as a tenth of its way.
            padded = (
                nn.functional.pad(batch, (0, 0, 0, n_missing)) if n_missing else batch
            )
            result[block] = function(padded)[: len(batch)].cpu().numpy()
    return result
