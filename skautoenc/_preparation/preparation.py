"""Maps between standardised rows and the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Invertible(Protocol):
    """An invertible map of rows."""

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows, (n, n_features)."""

    def inverse(self, rows: Tensor) -> Tensor:
        """Undo `forward`."""

    def to(self, device: torch.device) -> Invertible:
        """Return a copy on another device."""


@dataclass(frozen=True)
class Preparation:
    """A sequence of invertible maps.

    Parameters
    ----------
    steps : sequence of Invertible
        Maps, in the order in which they are applied to a row.
    """

    steps: Sequence[Invertible] = ()

    def to(self, device: torch.device) -> Preparation:
        """Return a copy on another device."""
        return Preparation([step.to(device) for step in self.steps])

    def forward(self, rows: Tensor) -> Tensor:
        """Map standardised rows to the input of the network."""
        for step in self.steps:
            rows = step.forward(rows)
        return rows

    def inverse(self, rows: Tensor) -> Tensor:
        """Map the output of the network to standardised rows."""
        for step in reversed(self.steps):
            rows = step.inverse(rows)
        return rows
