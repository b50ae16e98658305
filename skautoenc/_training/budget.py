"""How long and how fast to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


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
    """

    batch_size: int
    max_iter: int
    learning_rate: str
    learning_rate_init: float = math.nan

    def for_one_epoch(self) -> Budget:
        """Return the budget of one epoch of a stream of unknown length."""
        return replace(self, max_iter=1, learning_rate="constant")
