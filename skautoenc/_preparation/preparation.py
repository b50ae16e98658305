"""What lies between standardised rows and the network."""

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
        """Map them back."""

    def to(self, device: torch.device) -> Invertible:
        """Return the same on another device."""


@dataclass(frozen=True)
class Preparation:
    """Invertible maps, one after the other.

    Parameters
    ----------
    steps : sequence of Invertible
        In the order in which a row goes through them.
    """

    steps: Sequence[Invertible] = ()

    def to(self, device: torch.device) -> Preparation:
        """Return the same on another device."""
        return Preparation([step.to(device) for step in self.steps])

    def forward(self, rows: Tensor) -> Tensor:
        """Turn standardised rows into what the network sees."""
        for step in self.steps:
            rows = step.forward(rows)
        return rows

    def inverse(self, rows: Tensor) -> Tensor:
        """Turn what the network sees into standardised rows."""
        for step in reversed(self.steps):
            rows = step.inverse(rows)
        return rows
