"""The convolutional variational autoencoder of images."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Linear
from .maps import ImageNetwork, TransposedConvolution
from .variational import VariationalNetwork


class ConvVariationalNetwork(ImageNetwork, VariationalNetwork):
    """Strided convolutions to a posterior, and transposed ones from a code to an image.

    Input and output rows are standardised: centred, with unit mean variance.

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
        Whether linear maps are added to the convolutions, whose last layers then start
        at zero: the network starts as the linear model of `start_linear`.
    n_dispersions : int
        Number of dispersions that the likelihood learns.
    varies : bool
        Whether the dispersions depend on the code, by factors of the learnt ones.
    likelihood : str
        Key of `LIKELIHOODS`; it does not affect the network.
    has_offset : bool
        Whether the likelihood depends on row totals; it does not affect the network.
    keeps_start : bool
        Whether the linear model that the network starts at is kept.
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
        n_dispersions: int,
        varies: bool,
        likelihood: str,
        has_offset: bool,
        keeps_start: bool,
    ) -> None:
        super().__init__()
        self.config = {
            "image_shape": tuple(image_shape),
            "n_components": n_components,
            "hidden_channels": tuple(hidden_channels),
            "kernel_size": kernel_size,
            "activation": activation,
            "linear_skip": linear_skip,
            "n_dispersions": n_dispersions,
            "varies": varies,
            "likelihood": likelihood,
            "has_offset": has_offset,
            "keeps_start": keeps_start,
        }
        # Means and log-variances are two outputs of one layer.
        self._build_maps(2 * n_components, image_shape[2] * (2 if varies else 1))
        self._add_shared(has_skip=linear_skip)

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; with a skip, those of the last layers are zero."""
        self._draw_maps(generator, 1.0)
        self._silence()

    def _last_layers(self) -> tuple[Linear, TransposedConvolution]:
        outward = self.decoder[-1]
        assert isinstance(outward, TransposedConvolution)
        return self.to_code, outward

    def _encoded(self, x: Tensor) -> Tensor:
        return self._encode_maps(x)

    def _decoded(self, code: Tensor) -> tuple[Tensor, Tensor | None]:
        maps = self._decode_maps(code)
        if not self.config["varies"]:
            return maps.flatten(1), None
        output, log_factor = maps.chunk(2, dim=3)  # (n, *shapes[0]) each
        return output.flatten(1), log_factor.flatten(1)
