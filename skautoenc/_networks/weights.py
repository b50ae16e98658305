"""Weights as plain arrays, without views, devices and classes of torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Arrays = dict[str, NDArray[Any]]


def _named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Map names to parameters and buffers; shared ones have their first name only."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def stacked_view(tensors: Sequence[Tensor]) -> Tensor:
    """View tensors of one shape as one of shape (n_tensors, ...), without a copy.

    Parameters
    ----------
    tensors : sequence of Tensor
        Two or more tensors, at equal distances in one block of memory.
    """
    first, second = tensors[:2]
    distance = second.storage_offset() - first.storage_offset()
    return first.as_strided((len(tensors), *first.shape), (distance, *first.stride()))


def count_parameters(network: nn.Module) -> int:
    """Count the trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def _fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors into the network by name."""
    for name, tensor in _named_tensors(network).items():
        tensor.copy_(tensors[name])


def own_array(tensor: Tensor) -> NDArray[Any]:
    """Copy a tensor of any device into an array that owns its memory."""
    array: NDArray[Any] = np.array(tensor.detach().cpu().numpy())
    return array


def readonly_tensor(array: NDArray[Any]) -> Tensor:
    """Return a read-only tensor on the CPU, which shares the array's memory if it can.

    An array that is mapped from a file is not writable: torch would warn, so it is
    copied.
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copy arrays into tensors on the CPU."""
    return {k: torch.tensor(array, device="cpu") for k, array in arrays.items()}


def to_arrays(network: nn.Module) -> Arrays:
    """Copy the weights into numpy arrays."""
    return {name: own_array(t) for name, t in _named_tensors(network).items()}


def same_shapes(network: nn.Module, other: nn.Module) -> bool:
    """Whether the weights of two networks have the same names and shapes."""
    ours, theirs = _named_tensors(network), _named_tensors(other)
    return {k: t.shape for k, t in ours.items()} == {
        k: t.shape for k, t in theirs.items()
    }


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one network into another of the same shapes."""
    _fill(target, _named_tensors(source))


def from_arrays(network: nn.Module, arrays: Arrays) -> None:
    """Copy arrays from `to_arrays` into the network."""
    _fill(network, to_tensors(arrays))
