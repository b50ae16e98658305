"""Memory of parameters, their gradients and the optimizer state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Offsets of parameters are multiples of this number of values, one cache line.
_ALIGNMENT = 16


@dataclass
class UpdateArgs:
    """Arguments of one update; each list has one tensor per block of memory."""

    decay: float
    factor: float
    values: list[Tensor]
    gradients: list[Tensor]
    buffers: dict[str, list[Tensor]]
    steps: list[Tensor]


class Group:
    """Parameters of equal weight decay and step size, each in its own memory.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        The parameters. They get a ``grad``.
    decay : float
        Weight decay of the parameters.
    factor : float
        Step size of the parameters, in units of the optimizer's learning rate.
    names : sequence of str
        Names of the optimizer state tensors of each parameter.

    Attributes
    ----------
    update_args : UpdateArgs
        Arguments of the update of the parameters.
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
        """Allocate gradients and optimizer state, all zero."""
        args = self.update_args
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
            args.values.append(parameter)
            args.gradients.append(parameter.grad)
            args.steps.append(_count(parameter.device))
            for buffer in args.buffers.values():
                buffer.append(torch.zeros_like(parameter))

    def by_parameter(self, tensors: list[Tensor]) -> list[Tensor]:
        """Reshape tensors like those of `update_args` to the parameters' shapes."""
        return tensors

    def move_gradients(self, memory: Tensor) -> None:
        """Move the gradients to `memory`, zeros in a flat tensor of their size."""
        args, start = self.update_args, 0
        args.gradients = []
        for parameter in self.parameters:
            part = memory[start : start + parameter.numel()]
            start += parameter.numel()
            parameter.grad = _shaped(part, parameter)
            args.gradients.append(parameter.grad)


class FlatGroup(Group):
    """Parameters in one block of memory, with their gradients and optimizer state.

    Parameters keep their values, shapes and strides.
    """

    def _allocate(self) -> None:
        """Move the parameters to one block of memory, with zeros for their state."""
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
        """Return zeros for values, gradients and optimizer state of networks.

        Returns
        -------
        Tensor of shape (2 + n_buffers, *n_networks, size)
            On the device of the parameters.
        """
        shape = 2 + len(self.update_args.buffers), *n_networks, self.size
        device = self.parameters[0].device
        return torch.zeros(shape, dtype=torch.float32, device=device)

    def relocate(self, memory: Tensor) -> None:
        """Move all tensors to `memory`, of shape (2 + n_buffers, size)."""
        values, gradients, *buffers = memory
        flat = nn.Parameter(values)
        flat.grad = gradients
        args = self.update_args
        args.values, args.gradients = [flat], [gradients]
        for held, buffer in zip(args.buffers.values(), buffers, strict=True):
            held[0] = buffer.copy_(held[0])
        moved = zip(
            self.parameters,
            self.by_parameter([values]),
            self.by_parameter([gradients]),
            strict=True,
        )
        for parameter, value, gradient in moved:
            value.copy_(parameter.detach())
            parameter.data = value
            parameter.grad = gradient

    def move_gradients(self, memory: Tensor) -> None:
        """Move the gradients to `memory`, zeros in a flat tensor of their size."""
        args = self.update_args
        args.gradients, args.values[0].grad = [memory], memory
        for parameter, gradient in zip(
            self.parameters, self.by_parameter([memory]), strict=True
        ):
            parameter.grad = gradient

    def by_parameter(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return views of the one tensor in the shapes of the parameters."""
        return [
            _shaped(tensors[0][offset : offset + p.numel()], p)
            for p, offset in zip(self.parameters, self._offsets, strict=True)
        ]


def _shaped(values: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return a view of flat values in the shape and the layout of a parameter."""
    return values.as_strided(parameter.shape, torch.empty_like(parameter).stride())


def _count(device: torch.device) -> Tensor:
    return torch.zeros((), dtype=torch.float32, device=device)
