"""The rows of each batch."""

import numpy as np
import torch
from numpy.typing import NDArray


def number_of_batches(n_samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch; a smaller rest joins the others."""
    return max(1, n_samples // batch_size)


class Batches:
    """The batches of each epoch, as index arrays.

    Batches have equal sizes, give or take one row. No batch is smaller than
    `batch_size`, unless the data is: a batch of one row would break batch
    normalisation, and dropping it would lose data.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    batch_size : int
        Minimum number of rows of a batch.
    shuffle : bool
        Whether each epoch draws a new order.
    generator : torch.Generator
        Draws the orders.
    window : int, optional
        Number of consecutive rows that are shuffled among themselves; all rows by
        default.

    Attributes
    ----------
    number : int
        Number of batches.
    sizes : list of int
        Number of rows of each batch.
    totals : list of int
        Number of rows of each batch in all processes that train the model.
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
        # With a single batch, the order would only change rounding errors.
        self.shuffle = shuffle and self.number > 1
        self.generator = generator
        self.window = n_samples if window is None else min(window, n_samples)
        # The first `n_larger` batches have one row more than the others.
        size, n_larger = divmod(n_samples, self.number)
        self.sizes = [size + (batch < n_larger) for batch in range(self.number)]
        self.totals = self.sizes

    def in_groups(self, n_rows: int) -> list[tuple[NDArray[np.int64], list[int]]]:
        """Return the batches of one epoch, in groups.

        Loading the rows of several small batches at once costs little more than loading
        those of one.

        Parameters
        ----------
        n_rows : int
            Approximate number of rows of a group. Batches are not split.

        Returns
        -------
        list of (ndarray of int, list of int)
            Indices of the rows of each group, and the numbers of consecutive rows that
            form its batches.
        """
        order = self._order()
        n_grouped = max(1, n_rows // max(1, max(self.sizes)))
        groups, start = [], 0
        for first in range(0, self.number, n_grouped):
            last = min(first + n_grouped, self.number)
            sizes = self.sizes[first:last]
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
            # A random offset lets rows on both sides of a border mix in other epochs.
            chosen = torch.randint(
                self.window, (), generator=self.generator, device="cpu"
            )
            start = -int(chosen)
        for first in range(start, self.n_samples, self.window):
            window = order[max(first, 0) : first + self.window]
            drawn = torch.randperm(len(window), generator=self.generator, device="cpu")
            window[:] = window[drawn.numpy()]
        return order
