"""The network for tables: numbers, categories and gaps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .layers import ACTIVATIONS, CPU_FLOAT32, Dropout, Linear, draw_weight


class TabularAutoencoder(Autoencoder):
    """Encoder of rows with gaps, and decoder into numbers and logits of levels.

    A row has ``n_numbers`` numbers, ``n_extras`` numbers that are not decoded, and the
    code of each category; gaps are NaN. Each level of each category has an embedding as
    wide as what is next, to which it is added; a gap has one of its own.

    Parameters
    ----------
    n_numbers, n_extras : int
        Numbers that are and are not decoded.
    n_codes : sequence of int
        Number of codes of each category.
    n_levels : sequence of int
        How many of them are decoded to.
    n_components : int
        Width of the code.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse.
    activation : str
        Key of `ACTIVATIONS`, applied to the hidden layers.
    dropout : float
        Rate at which hidden activations are dropped while training.

    Notes
    -----
    A linear map runs beside the hidden layers, on the way in and on the way out: what
    is linear in a table, which is most, need not be learnt by them.
    """

    def __init__(
        self,
        *,
        n_numbers: int,
        n_extras: int,
        n_codes: tuple[int, ...],
        n_levels: tuple[int, ...],
        n_components: int,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.config = {
            "n_numbers": n_numbers,
            "n_extras": n_extras,
            "n_codes": tuple(n_codes),
            "n_levels": tuple(n_levels),
            "n_components": n_components,
            "hidden_layer_sizes": tuple(hidden_layer_sizes),
            "activation": activation,
            "dropout": dropout,
        }
        self.n_numbers = n_numbers
        self.n_outputs = n_numbers + sum(n_levels)
        n_inputs = n_numbers + n_extras + len(n_codes)
        self.widths = [n_inputs, *hidden_layer_sizes, n_components]
        first, *others = [*hidden_layer_sizes, n_components]
        self.inward = Cells(n_numbers + n_extras, n_codes, first)
        self.encoder = _linears([first, *others])
        self.decoder = _linears(
            [n_components, *reversed(hidden_layer_sizes), self.n_outputs]
        )
        self.skip_inward = Cells(n_numbers + n_extras, n_codes, n_components)
        self.skip_outward = Linear(n_components, self.n_outputs)
        self.activate = ACTIVATIONS[activation].module()
        self.drop = Dropout(dropout)

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; the decoder starts at nothing, which means the averages."""
        activation = ACTIVATIONS[self.config["activation"]]
        self.inward.initialise(activation, generator)
        self.skip_inward.initialise(ACTIVATIONS["identity"], generator)
        for layer in (*self.encoder, *self.decoder):
            assert isinstance(layer, Linear)
            nn.init.zeros_(layer.bias)
            draw_weight(layer.weight, layer.fans, activation, generator)
        for last in (self.decoder[-1], self.skip_outward):
            assert isinstance(last, Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows, (n, n_inputs), gaps NaN, to codes, (n, n_components)."""
        code: Tensor = self._hidden(x)[-1]
        return code

    def stack(self, x: Tensor) -> Tensor:
        """Map rows to all hidden activations and the code, (n, sum(widths[1:]))."""
        return torch.cat(self._hidden(x), dim=1)

    def _hidden(self, x: Tensor) -> list[Tensor]:
        linear = self.skip_inward(x)
        if not len(self.encoder):
            return [linear]
        found = [self.drop(self.activate(self.inward(x)))]
        for layer in list(self.encoder)[:-1]:
            found.append(self.drop(self.activate(layer(found[-1]))))
        found.append(self.encoder[-1](found[-1]) + linear)
        return found

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes to numbers and logits of levels, (n, n_numbers + sum(n_levels))."""
        hidden = code
        for layer in list(self.decoder)[:-1]:
            hidden = self.drop(self.activate(layer(hidden)))
        output: Tensor = self.skip_outward(code)
        if len(self.encoder):
            output = output + self.decoder[-1](hidden)
        return output


def _linears(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(Linear(*of_layer) for of_layer in pairwise(widths))


class Cells(nn.Module):
    """A linear map of numbers, gaps and codes.

    Parameters
    ----------
    n_numbers : int
        Numbers, the first columns of a row.
    n_codes : sequence of int
        Number of codes of each of the other columns.
    width : int
        Width of the result.
    """

    offsets: Tensor
    gaps: Tensor

    def __init__(self, n_numbers: int, n_codes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.n_numbers = n_numbers
        self.numbers = Linear(2 * n_numbers, width)
        # One more code stands for a gap.
        sizes = torch.tensor([0, *(n + 1 for n in n_codes)], device="cpu")
        self.n_codes = n_codes
        self.embeddings = nn.Parameter(
            torch.empty(int(sizes.sum()), width, **CPU_FLOAT32)
        )
        places = sizes.cumsum(0)
        self.register_buffer("offsets", places[:-1], persistent=False)
        self.register_buffer("gaps", places[1:] - 1, persistent=False)

    def initialise(self, activation: Any, generator: torch.Generator) -> None:
        """Draw the weights, at the scale of as many inputs as a row has cells."""
        n_cells = max(1, self.n_numbers + len(self.n_codes))
        fans = n_cells, self.numbers.out_features
        nn.init.zeros_(self.numbers.bias)
        draw_weight(self.numbers.weight, fans, activation, generator)
        if len(self.n_codes):
            draw_weight(self.embeddings, fans, activation, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows, (n, n_numbers + n_categories), to (n, width)."""
        numbers, codes = x[:, : self.n_numbers], x[:, self.n_numbers :]
        gaps = numbers.isnan()
        filled = torch.cat([numbers.masked_fill(gaps, 0), gaps.to(x.dtype)], dim=1)
        found: Tensor = self.numbers(filled)
        if len(self.n_codes):
            places = torch.where(
                codes.isnan(), self.gaps, codes.nan_to_num() + self.offsets
            )
            found = found + nn.functional.embedding_bag(
                places.long(), self.embeddings, mode="sum"
            )
        return found
