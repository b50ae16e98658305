"""The processes that train one model together, as the layers below them see these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class World(Protocol):
    """Processes that each hold some of the rows of a fit.

    All of them call each of these methods, in the same order.

    Attributes
    ----------
    rank : int
        Number of this process.
    size : int
        Number of processes.
    """

    rank: int
    size: int

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in the order of their ranks."""

    def broadcast(self, value: Value) -> Value:
        """Return the value of the first process."""

    def add_into(self, tensor: Tensor) -> None:
        """Replace a tensor by the sum over all processes; bits are equal in all."""

    def gather_tensor(self, tensor: Tensor) -> Tensor:
        """Return tensors of equal shapes, (size, *shape), in the order of ranks."""

    def choose_device(
        self, device: str | torch.device, resolve: Callable[[], torch.device]
    ) -> torch.device:
        """Return the device of this process.

        Parameters
        ----------
        device : str or torch.device
            Device that the user has asked for.
        resolve : callable
            Chooses the device of a process that trains alone.
        """
