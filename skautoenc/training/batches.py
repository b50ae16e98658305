"""Which rows make up each batch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray


def number_of_batches(n_samples: int, batch_size: int) -> int:
    """Count the batches of an epoch; a tail too small for its own joins the rest."""
    return max(1, n_samples // batch_size)


class Batches:
    """The batches of each epoch, as index arrays.

    The rows are dealt out evenly, so no batch is smaller than `batch_size`, unless
    all rows together are: a last batch of one row would break batch normalisation,
    and dropping it would lose data.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    batch_size : int
        Smallest number of rows in a batch.
    shuffle : bool
        Whether each epoch draws a new order.
    generator : torch.Generator
        Draws the orders.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        *,
        shuffle: bool,
        generator: torch.Generator,
    ) -> None:
        self.n_samples = n_samples
        self.number = number_of_batches(n_samples, batch_size)
        # With a single batch the order changes nothing but the rounding.
        self.shuffle = shuffle and self.number > 1
        self.generator = generator

    def in_groups(self, n_rows: int) -> Iterator[tuple[NDArray[np.int64], list[int]]]:
        """Run through one epoch, a few batches at a time.

        To take the rows of many small batches at once costs little more than to take
        those of one.

        Parameters
        ----------
        n_rows : int
            About how many rows make a group; a batch is never cut.

        Yields
        ------
        index : ndarray of int
            The rows of the group.
        sizes : list of int
            How many of them, one after the other, make each batch.
        """
        if self.shuffle:
            order = torch.randperm(
                self.n_samples, generator=self.generator, device="cpu"
            ).numpy()
        else:
            order = np.arange(self.n_samples)
        # As even as can be, the first ones with a row more.
        size, n_larger = divmod(self.n_samples, self.number)
        n_together = max(1, n_rows // (size + (n_larger > 0)))
        start = 0
        for first in range(0, self.number, n_together):
            last = min(first + n_together, self.number)
            sizes = [size + (batch < n_larger) for batch in range(first, last)]
            stop = start + sum(sizes)
            yield order[start:stop], sizes
            start = stop
