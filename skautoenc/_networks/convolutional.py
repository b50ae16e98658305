"""The convolutional autoencoder."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .layers import (
    ACTIVATIONS,
    CPU_FLOAT32,
    NORMALIZATIONS,
    RESIDUAL_INIT_SCALE,
    Linear,
    LinearSkip,
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


class ConvolutionalAutoencoder(Autoencoder):
    """Strided convolutions, a dense linear code, and transposed convolutions.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and number of channels of an image. A row holds it in this order.
    n_components : int
        Width of the code.
    hidden_channels : sequence of int
        Channels of the encoder's maps, each of half the height and width of the map
        before it; the decoder has them in reverse order.
    kernel_size : int
        Height and width of all kernels, odd.
    activation : str
        Key of `ACTIVATIONS`, applied to the maps.
    linear_skip : bool
        Whether a linear map, tied between encoder and decoder, is added to the
        convolutions. The network then starts as PCA.
    normalization : {"batch", "layer"} or None
        Normalisation of the channels before each activation: over all positions of a
        batch, or over the channels of one position.
    """

    learning_rate = 0.01

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        n_components: int,
        hidden_channels: tuple[int, ...],
        kernel_size: int,
        activation: str,
        linear_skip: bool,
        normalization: str | None,
    ) -> None:
        super().__init__()
        self.config = {
            "image_shape": tuple(image_shape),
            "n_components": n_components,
            "hidden_channels": tuple(hidden_channels),
            "kernel_size": kernel_size,
            "activation": activation,
            "linear_skip": linear_skip,
            "normalization": normalization,
        }
        if normalization == "batch":
            self.smallest_batch = 2
            self.weighs_rows = False
        self.shapes = _shapes_of_maps(image_shape, hidden_channels)
        self.widths = [*map(math.prod, self.shapes), n_components]
        self.encoder = nn.Sequential()
        for (*_, inputs), (*_, outputs) in pairwise(self.shapes):
            self.encoder.append(Convolution(inputs, outputs, kernel_size))
            self.encoder.append(self._rectifier(outputs))
        self.to_code = Linear(self.widths[-2], n_components)
        self.from_code = Linear(n_components, self.widths[-2])
        self.decoder = nn.Sequential()
        for (*_, inputs), (*size, outputs) in pairwise(reversed(self.shapes)):
            self.decoder.append(self._rectifier(inputs))
            self.decoder.append(
                TransposedConvolution(inputs, outputs, kernel_size, (size[0], size[1]))
            )
        self.projection = (
            LinearSkip(self.widths[0], n_components) if linear_skip else None
        )

    def _rectifier(self, n_channels: int) -> nn.Sequential:
        normalize = NORMALIZATIONS.get(self.config["normalization"])
        return nn.Sequential(
            _PerPosition(normalize(n_channels)) if normalize else nn.Identity(),
            ACTIVATIONS[self.config["activation"]].module(),
        )

    @property
    def n_multiplications(self) -> int:
        """Approximate number of multiplications by weights for one row."""
        dense = sum(
            module.weight.numel()
            for module in self.modules()
            if isinstance(module, Linear | LinearSkip)
        )
        # A kernel is applied once for each position of the smaller of its two maps.
        kernels = [m for m in self.modules() if isinstance(m, _KERNEL_LAYERS)]
        smaller = [*self.shapes[1:], *reversed(self.shapes[1:])]
        return dense + sum(
            layer.weight.numel() * height * width
            for layer, (height, width, _) in zip(kernels, smaller, strict=True)
        )

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; the linear skip starts at the principal axes of `rows`."""
        last = (self.to_code, self.decoder[-1])
        layers = (Linear, *_KERNEL_LAYERS)
        for layer in (m for m in self.modules() if isinstance(m, layers)):
            kind = "identity" if layer in last else self.config["activation"]
            draw_weight(layer.weight, layer.fans, ACTIVATIONS[kind], generator)
            nn.init.zeros_(layer.bias)
            if layer in last and self.projection is not None:
                layer.weight.mul_(RESIDUAL_INIT_SCALE)
        if self.projection is not None:
            self.projection.initialise(generator, rows, sample_weight)

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""
        maps = self.encoder(x.view(-1, *self.shapes[0]))  # (n, *shapes[-1])
        code: Tensor = self.to_code(maps.flatten(1))  # (n, n_components)
        return code if self.projection is None else code + self.projection.encode(x)

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features)."""
        maps = self.from_code(code).view(-1, *self.shapes[-1])  # (n, *shapes[-1])
        rows: Tensor = self.decoder(maps).flatten(1)  # (n, n_features)
        return rows if self.projection is None else rows + self.projection.decode(code)


_KERNEL_LAYERS = (Convolution, TransposedConvolution)


class _PerPosition(nn.Module):
    """Applies a layer for rows to the channels of each position."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Tensor) -> Tensor:
        positions: Tensor = self.layer(maps.flatten(0, 2))  # (n * height * width, c)
        return positions.view(maps.shape)


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
