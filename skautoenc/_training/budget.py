"""How long and how fast to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .._networks.autoencoder import Autoencoder


@dataclass(frozen=True)
class Budget:
    """The numbers of a training plan, resolved.

    Parameters
    ----------
    batch_size : int
        Fewest rows in a batch, if there are as many.
    max_iter : int
        Most epochs.
    learning_rate : str
        Key of `SCHEDULES`: how the learning rate falls over these epochs.
    learning_rate_init : float, default=NaN
        Learning rate at the start. NaN in a plan: the network may decide it, and
        `set_up` fills it in once the network is built.
    max_iter_from_pca : int or None, default=None
        Most epochs of a network that starts as PCA, if these are fewer.
    """

    batch_size: int
    max_iter: int
    learning_rate: str
    learning_rate_init: float = math.nan
    max_iter_from_pca: int | None = None

    def with_network(self, network: Autoencoder) -> Budget:
        """Return the budget of this network."""
        if self.max_iter_from_pca is None or not network.starts_as_pca:
            return self
        return replace(self, max_iter=min(self.max_iter, self.max_iter_from_pca))

    def for_one_epoch(self) -> Budget:
        """Return the budget of one epoch of a stream of unknown length."""
        return replace(self, max_iter=1, learning_rate="constant")
