"""How long and how fast to train."""

from dataclasses import dataclass


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
    """

    batch_size: int
    max_iter: int
    learning_rate_init: float
