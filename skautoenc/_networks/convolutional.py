"""The convolutional autoencoder of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import NORMALIZATIONS, RESIDUAL_INIT_SCALE, LinearSkip
from .maps import ImageNetwork


class ConvolutionalAutoencoder(ImageNetwork):
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
        self._build_maps(n_components, image_shape[2])
        self.projection = (
            LinearSkip(self.widths[0], n_components) if linear_skip else None
        )

    def _rectifier(self, n_channels: int) -> nn.Sequential:
        normalize = NORMALIZATIONS.get(self.config["normalization"])
        return nn.Sequential(
            _PerPosition(normalize(n_channels)) if normalize else nn.Identity(),
            super()._rectifier(n_channels),
        )

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; the linear skip starts at the principal axes of `rows`."""
        has_skip = self.projection is not None
        self._draw_maps(generator, RESIDUAL_INIT_SCALE if has_skip else 1.0)
        if self.projection is not None:
            self.projection.initialise(generator, rows, sample_weight)

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""
        code = self._encode_maps(x)
        return code if self.projection is None else code + self.projection.encode(x)

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features)."""
        rows = self._decode_maps(code).flatten(1)
        return rows if self.projection is None else rows + self.projection.decode(code)


class _PerPosition(nn.Module):
    """Applies a layer for rows to the channels of each position."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Tensor) -> Tensor:
        positions: Tensor = self.layer(maps.flatten(0, 2))  # (n * height * width, c)
        return positions.view(maps.shape)
