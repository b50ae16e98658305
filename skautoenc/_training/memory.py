"""Where parameters, their gradients and what a solver remembers of them lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Numbers between the places of parameters: whole lines of the cache.
_ALIGNMENT = 16


@dataclass
class Piece:
    """What one call updates: lists with a tensor for each piece of memory."""

    decay: float
    values: list[Tensor]
    gradients: list[Tensor]
    buffers: dict[str, list[Tensor]]
    steps: list[Tensor]


class Group:
    """Parameters of one weight decay, each in its own place.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        They are given a ``grad``.
    decay : float
        Weight decay of all of them.
    names : sequence of str
        What is remembered of each.
    """

    def __init__(
        self, parameters: list[nn.Parameter], decay: float, names: Sequence[str]
    ) -> None:
        self.parameters = parameters
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.piece = Piece(
            decay,
            values=list(parameters),
            gradients=[p.grad for p in parameters if p.grad is not None],
            buffers={n: [torch.zeros_like(p) for p in parameters] for n in names},
            steps=[_count(p.device) for p in parameters],
        )

    def by_parameter(self, tensors: list[Tensor]) -> list[Tensor]:
        """Turn tensors like those of `piece` into some of the parameters' shapes."""
        return tensors


class FlatGroup(Group):
    """Parameters that are moved into one piece of memory, with all that goes with them.

    They keep values, shapes and the order of dimensions.
    """

    def __init__(
        self, parameters: list[nn.Parameter], decay: float, names: Sequence[str]
    ) -> None:
        self.parameters = parameters
        self._places = []
        self.size = 0
        for parameter in parameters:
            self._places.append(self.size)
            self.size += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        device = parameters[0].device
        memory = self.memory(len(names))
        self.piece = Piece(
            decay,
            values=[],
            gradients=[],
            buffers={n: [m] for n, m in zip(names, memory[2:], strict=True)},
            steps=[_count(device)],
        )
        self.move(memory)

    def memory(self, n_buffers: int, *n_networks: int) -> Tensor:
        """Make memory for values, gradients and what is remembered: zeros."""
        device = self.parameters[0].device
        shape = 2 + n_buffers, *n_networks, self.size
        return torch.zeros(shape, dtype=torch.float32, device=device)

    def move(self, memory: Tensor) -> None:
        """Move everything there, into (2 + n_buffers, size)."""
        values, gradients, *buffers = memory
        flat = nn.Parameter(values)
        flat.grad = gradients
        self.piece.values, self.piece.gradients = [flat], [gradients]
        for held, buffer in zip(self.piece.buffers.values(), buffers, strict=True):
            held[0] = buffer.copy_(held[0])
        placed = zip(
            self.parameters,
            self.by_parameter([values]),
            self.by_parameter([gradients]),
            strict=True,
        )
        for parameter, value, gradient in placed:
            value.copy_(parameter.detach())
            parameter.data = value
            parameter.grad = gradient

    def by_parameter(self, tensors: list[Tensor]) -> list[Tensor]:
        """Cut the one tensor into the shapes of the parameters."""
        return [
            tensors[0][place : place + p.numel()].as_strided(
                p.shape, torch.empty_like(p).stride()
            )
            for p, place in zip(self.parameters, self._places, strict=True)
        ]


def _count(device: torch.device) -> Tensor:
    return torch.zeros((), dtype=torch.float32, device=device)
