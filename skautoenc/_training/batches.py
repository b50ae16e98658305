"""Which rows make up each batch."""

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
    window : int, optional
        How many rows, one after the other, may change places in an order; all by
        default.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        *,
        shuffle: bool,
        generator: torch.Generator,
        window: int | None = None,
    ) -> None:
        self.n_samples = n_samples
        self.number = number_of_batches(n_samples, batch_size)
        # With a single batch the order changes nothing but the rounding.
        self.shuffle = shuffle and self.number > 1
        self.generator = generator
        self.window = n_samples if window is None else min(window, n_samples)

    def in_groups(self, n_rows: int) -> list[tuple[NDArray[np.int64], list[int]]]:
        """Draw the batches of one epoch, grouped by a few at a time.

        To take the rows of many small batches at once costs little more than to take
        those of one.

        Parameters
        ----------
        n_rows : int
            About how many rows make a group; a batch is never cut.

        Returns
        -------
        list of (ndarray of int, list of int)
            The rows of each group, and how many of them, one after the other, make each
            batch.
        """
        order = self._order()
        # As even as can be, the first ones with a row more.
        size, n_larger = divmod(self.n_samples, self.number)
        n_together = max(1, n_rows // (size + (n_larger > 0)))
        groups, start = [], 0
        for first in range(0, self.number, n_together):
            last = min(first + n_together, self.number)
            sizes = [size + (batch < n_larger) for batch in range(first, last)]
            stop = start + sum(sizes)
            groups.append((order[start:stop], sizes))
            start = stop
        return groups

    def _order(self) -> NDArray[np.int64]:
        order = np.arange(self.n_samples)
        if not self.shuffle:
            return order
        start = 0
        if self.window < self.n_samples:
            # Rows on either side of a border meet in another epoch.
            chosen = torch.randint(
                self.window, (), generator=self.generator, device="cpu"
            )
            start = -int(chosen)
        for first in range(start, self.n_samples, self.window):
            part = order[max(first, 0) : first + self.window]
            drawn = torch.randperm(len(part), generator=self.generator, device="cpu")
            part[:] = part[drawn.numpy()]
        return order
