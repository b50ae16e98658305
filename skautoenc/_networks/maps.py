"""Convolutions, and networks that have them around a dense code."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .layers import (
    ACTIVATIONS,
    CPU_FLOAT32,
    Linear,
    draw_weight,
)

STRIDE = 2


class Convolution(nn.Module):
    """Convolution of stride 2 over channels-last maps.

    A map of height or width n becomes one of ceil(n / 2). Channels are last in memory,
    too: on a CPU, this halves the time of a step.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels.
    kernel_size : int
        Height and width of the kernel, odd.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = _kernels(out_channels, in_channels, kernel_size)
        self.bias = nn.Parameter(torch.empty(out_channels, **CPU_FLOAT32))

    @property
    def fans(self) -> tuple[int, int]:
        """Inputs of an output, and approximate number of outputs of an input."""
        outputs, inputs, *size = self.weight.shape
        return inputs * math.prod(size), outputs * math.prod(size) // STRIDE**2

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, height, width, in_channels) to (n, ..., ..., out_channels)."""
        padding = self.weight.shape[-1] // 2
        maps = nn.functional.conv2d(
            maps.permute(0, 3, 1, 2), self.weight, self.bias, STRIDE, padding
        )
        return maps.permute(0, 2, 3, 1)


class TransposedConvolution(nn.Module):
    """Transposed convolution of stride 2, which undoes the shape of a `Convolution`.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels.
    kernel_size : int
        Height and width of the kernel, odd.
    size : tuple of int
        Height and width of the output. Two lengths are halved to the same one, so the
        input does not determine them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.weight = _kernels(in_channels, out_channels, kernel_size)
        self.bias = nn.Parameter(torch.empty(out_channels, **CPU_FLOAT32))
        self.output_padding = [(length - 1) % STRIDE for length in size]

    @property
    def fans(self) -> tuple[int, int]:
        """Approximate number of inputs of an output, and outputs of an input."""
        inputs, outputs, *size = self.weight.shape
        return inputs * math.prod(size) // STRIDE**2 or 1, outputs * math.prod(size)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, height, width, in_channels) to (n, *size, out_channels)."""
        padding = self.weight.shape[-1] // 2
        maps = nn.functional.conv_transpose2d(
            maps.permute(0, 3, 1, 2),
            self.weight,
            self.bias,
            STRIDE,
            padding,
            self.output_padding,
        )
        return maps.permute(0, 2, 3, 1)


def _kernels(first: int, second: int, size: int) -> nn.Parameter:
    kernels = torch.empty(first, second, size, size, **CPU_FLOAT32)
    return nn.Parameter(kernels.contiguous(memory_format=torch.channels_last))


KERNEL_LAYERS = (Convolution, TransposedConvolution)


class ImageNetwork(Autoencoder):
    """A network of strided convolutions, and of transposed ones around its code.

    A dense layer leads from the smallest map to the code, and another one back.
    Subclasses call `_build_maps` when they have set `config`.

    Attributes
    ----------
    shapes : list of tuple of int
        Height, width and channels of the image and of each map of the encoder.
    """

    shapes: list[tuple[int, int, int]]

    learning_rate = 0.01

    def _build_maps(self, n_encoded: int, n_channels: int) -> None:
        """Make the layers that `config` describes.

        Parameters
        ----------
        n_encoded : int
            Width of the encoder's output.
        n_channels : int
            Number of channels of the decoder's output.
        """
        config, size = self.config, self.config["kernel_size"]
        self.shapes = _shapes_of_maps(config["image_shape"], config["hidden_channels"])
        self.widths = [*map(math.prod, self.shapes), config["n_components"]]
        self.encoder = nn.Sequential()
        for (*_, inputs), (*_, outputs) in pairwise(self.shapes):
            self.encoder.append(Convolution(inputs, outputs, size))
            self.encoder.append(self._rectifier(outputs))
        self.to_code = Linear(self.widths[-2], n_encoded)
        self.from_code = Linear(config["n_components"], self.widths[-2])
        self.decoder = nn.Sequential()
        *sides, _ = self.shapes[0]
        back = [*self.shapes[:0:-1], (*sides, n_channels)]
        for (*_, inputs), (height, width, outputs) in pairwise(back):
            self.decoder.append(self._rectifier(inputs))
            self.decoder.append(
                TransposedConvolution(inputs, outputs, size, (height, width))
            )

    def _rectifier(self, n_channels: int) -> nn.Module:
        """Return the layers between two convolutions."""
        activation: nn.Module = ACTIVATIONS[self.config["activation"]].module()
        return activation

    def _draw_maps(self, generator: torch.Generator, last_scale: float) -> None:
        """Draw the weights of all layers.

        Parameters
        ----------
        generator : torch.Generator
            Source of all random numbers.
        last_scale : float
            Factor of the weights of the last layers of encoder and decoder.
        """
        last = (self.to_code, self.decoder[-1])
        layers = (Linear, *KERNEL_LAYERS)
        for layer in (m for m in self.modules() if isinstance(m, layers)):
            kind = "identity" if layer in last else self.config["activation"]
            draw_weight(layer.weight, layer.fans, ACTIVATIONS[kind], generator)
            nn.init.zeros_(layer.bias)
            if layer in last:
                layer.weight.mul_(last_scale)

    def _encode_maps(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to the output of the encoder."""
        maps = self.encoder(x.view(-1, *self.shapes[0]))  # (n, *shapes[-1])
        encoded: Tensor = self.to_code(maps.flatten(1))  # (n, n_encoded)
        return encoded

    def _decode_maps(self, code: Tensor) -> Tensor:
        """Map codes, (n, n_components), to (n, height, width, n_channels)."""
        maps = self.from_code(code).view(-1, *self.shapes[-1])  # (n, *shapes[-1])
        decoded: Tensor = self.decoder(maps)
        return decoded

    @property
    def n_multiplications(self) -> int:
        """Approximate number of multiplications by weights for one row."""
        dense = sum(each.numel() for each in self.parameters() if each.ndim == 2)
        # A kernel is applied once for each position of the smaller of its two maps.
        kernels = [m for m in self.modules() if isinstance(m, KERNEL_LAYERS)]
        smaller = [*self.shapes[1:], *reversed(self.shapes[1:])]
        return dense + sum(
            layer.weight.numel() * height * width
            for layer, (height, width, _) in zip(kernels, smaller, strict=True)
        )


def _shapes_of_maps(
    image_shape: tuple[int, int, int], hidden_channels: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """List height, width and channels of the image and of each map."""
    height, width, _ = image_shape
    shapes = [image_shape]
    for n_channels in hidden_channels:
        height, width = -(-height // STRIDE), -(-width // STRIDE)
        shapes.append((height, width, n_channels))
    return shapes
