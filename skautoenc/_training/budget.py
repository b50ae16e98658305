"""How long and how fast to train."""

from __future__ import annotations

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
    learning_rate_init : float
        Learning rate at the start.
    learning_rate : str
        Key of `SCHEDULES`: how the learning rate falls over these epochs.
    """

    batch_size: int
    max_iter: int
    learning_rate_init: float
    learning_rate: str

    def for_one_epoch(self) -> Budget:
        """Return the budget of one epoch of a stream of unknown length."""
        return replace(self, max_iter=1, learning_rate="constant")
