"""Memory of parameters, their gradients and the optimizer state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Offsets of parameters are multiples of it: whole cache lines.
_ALIGNMENT = 16


@dataclass
class UpdateArgs:
    """Arguments of one update: lists with a tensor for each piece of memory."""

    decay: float
    factor: float
    values: list[Tensor]
    gradients: list[Tensor]
    buffers: dict[str, list[Tensor]]
    steps: list[Tensor]


class Group:
    """Parameters of one weight decay and one step size, each in its own memory.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        They are given a ``grad``.
    decay : float
        Weight decay of all of them.
    factor : float
        Step size of all of them, in units of the optimizer's learning rate.
    names : sequence of str
        Names of the optimizer state of each.

    Attributes
    ----------
    update_args : UpdateArgs
        Arguments of the update of all of them.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        decay: float,
        factor: float,
        names: Sequence[str],
    ) -> None:
        self.parameters = parameters
        buffers: dict[str, list[Tensor]] = {name: [] for name in names}
        self.update_args = UpdateArgs(decay, factor, [], [], buffers, [])
        self._allocate()

    def _allocate(self) -> None:
        """Make gradients and optimizer state, all zero."""
        args = self.update_args
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
            args.values.append(parameter)
            args.gradients.append(parameter.grad)
            args.steps.append(_count(parameter.device))
            for buffer in args.buffers.values():
                buffer.append(torch.zeros_like(parameter))

    def by_parameter(self, tensors: list[Tensor]) -> list[Tensor]:
        """Turn tensors like those of `update_args` into the parameters' shapes."""
        return tensors


class FlatGroup(Group):
    """Parameters in one piece of memory, together with gradients and optimizer state.

    They keep their values, shapes and order of dimensions.
    """

    def _allocate(self) -> None:
        """Move the parameters into one piece of memory, with zeros beside them."""
        self._offsets = []
        self.size = 0
        for parameter in self.parameters:
            self._offsets.append(self.size)
            self.size += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        args, memory = self.update_args, self.memory()
        args.steps.append(_count(memory.device))
        for held, buffer in zip(args.buffers.values(), memory[2:], strict=True):
            held.append(buffer)
        self.relocate(memory)

    def memory(self, *n_networks: int) -> Tensor:
        """Return zeros for values, gradients and optimizer state, of several networks.

        Returns
        -------
        Tensor of shape (2 + n_buffers, *n_networks, size)
            On the device of the parameters.
        """
        shape = 2 + len(self.update_args.buffers), *n_networks, self.size
        device = self.parameters[0].device
        return torch.zeros(shape, dtype=torch.float32, device=device)

    def relocate(self, memory: Tensor) -> None:
        """Move everything into `memory`, of shape (2 + n_buffers, size)."""
        values, gradients, *buffers = memory
        flat = nn.Parameter(values)
        flat.grad = gradients
        args = self.update_args
        args.values, args.gradients = [flat], [gradients]
        for held, buffer in zip(args.buffers.values(), buffers, strict=True):
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
            tensors[0][offset : offset + p.numel()].as_strided(
                p.shape, torch.empty_like(p).stride()
            )
            for p, offset in zip(self.parameters, self._offsets, strict=True)
        ]


def _count(device: torch.device) -> Tensor:
    return torch.zeros((), dtype=torch.float32, device=device)
