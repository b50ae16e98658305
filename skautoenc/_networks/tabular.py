"""The network for tables: numbers, categories and missing values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .layers import ACTIVATIONS, CPU_FLOAT32, Dropout, Linear, draw_weight
from .numbers import NUMBER_ENCODINGS
from .spread import Spread

# Scaled numbers that a normal distribution is put around.
FAR = 4.0
# Logarithms of inverse variances, at first and at most.
FIRST_SHARPNESS = -2.0
SHARPEST = 8.0
_N_FOR_ENTITIES = 4096


class TabularAutoencoder(Autoencoder):
    """Encoder of rows with missing values; decoder to numbers and category logits.

    A row has ``n_numbers`` numbers, ``n_extras`` numbers that are not decoded, and the
    integer code of each categorical column; missing values are NaN. Each code of each
    column has an embedding, of the width of the next layer, which is added to that
    layer; so has a missing value. Codes above ``n_levels``, those of unknown
    categories, are treated as the code ``n_levels``: as a rare category, or as missing
    if the column has no code for rare categories.

    Parameters
    ----------
    n_numbers, n_extras : int
        Number of numbers that are decoded, and of those that are not.
    n_codes : sequence of int
        Number of codes of each categorical column.
    n_levels : sequence of int
        Number of codes of each categorical column that are decoded.
    n_components : int
        Width of the code.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse order.
    activation : str
        Key of `ACTIVATIONS`, applied to the hidden layers.
    dropout : float
        Rate at which hidden activations are zeroed in training.
    number_encoding : str or None
        Key of `NUMBER_ENCODINGS`: an encoding of each number that the encoder gets
        besides the number.
    n_bins : sequence of int, default=()
        Number of bins of each number, over which its distribution is predicted, too.
    bin_centers : sequence of float, default=()
        A scaled number in the middle of each bin.
    temperatures : sequence of float, default=()
        What `temper` has divided logits by, for each cell. Empty if nothing was.
    shifts : sequence of float, default=()
        What `logits_of_new_rows` adds to each logit. Empty for nothing.
    spreads : bool, default=False
        Whether `spread` is available.
    entities : sequence of (sequence of int, int), default=()
        Kinds of entities that `initialise` has found for `spread`.

    Notes
    -----
    Linear maps are added to the hidden layers of encoder and decoder. Most dependencies
    in a table are linear; the hidden layers need not learn these.
    """

    learning_rate = 0.003
    offsets: Tensor
    gaps: Tensor
    last: Tensor

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
        number_encoding: str | None,
        n_bins: tuple[int, ...] = (),
        bin_centers: tuple[float, ...] = (),
        temperatures: tuple[float, ...] = (),
        shifts: tuple[float, ...] = (),
        spreads: bool = False,
        entities: tuple[tuple[tuple[int, ...], int], ...] = (),
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
            "number_encoding": number_encoding,
        }
        # Networks without bins are described as they were before there were any.
        if n_bins:
            self.config |= {"n_bins": tuple(n_bins), "bin_centers": tuple(bin_centers)}
        _check_temperatures(temperatures, n_numbers + len(n_levels))
        _check_shifts(shifts, sum(n_bins) + sum(n_levels))
        # The last two come after all others, as when they are set after training:
        # files keep the order.
        optional = {
            "spreads": spreads,
            "entities": tuple(entities),
            "temperatures": tuple(temperatures),
            "shifts": tuple(shifts),
        }
        self.config |= {name: value for name, value in optional.items() if value}
        self.n_numbers = n_numbers
        self.n_outputs = n_numbers + sum(n_levels)
        self.n_cells = n_numbers + len(n_codes)
        self.n_bins = sum(n_bins)
        n_inputs = n_numbers + n_extras + len(n_codes)
        self.widths = [n_inputs, *hidden_layer_sizes, n_components]
        first, *others = [*hidden_layer_sizes, n_components]
        self.number_encoding = (
            NUMBER_ENCODINGS[number_encoding](n_numbers) if number_encoding else None
        )
        n_dense = 2 * n_numbers + n_extras
        if self.number_encoding is not None:
            n_dense += n_numbers * self.number_encoding.width
        cells = partial(Cells, n_inputs=n_dense, n_codes=n_codes, n_cells=n_inputs)
        # Without hidden layers, the linear map is the whole network.
        self.inward = cells(width=first) if hidden_layer_sizes else None
        self.encoder = _linears([first, *others])
        # Bins take a logit each, and each number how narrow its distribution is.
        n_last = self.n_outputs + self.n_bins + (n_numbers if n_bins else 0)
        outward = [n_components, *reversed(hidden_layer_sizes), n_last]
        self.decoder = _linears(outward if hidden_layer_sizes else [n_components])
        self.skip_inward = cells(width=n_components)
        self.skip_outward = Linear(n_components, n_last)
        self.bells = Bells(n_bins, bin_centers) if n_bins else None
        self.cells_apart = (
            Spread(n_numbers, n_extras, n_codes, entities) if spreads else None
        )
        self.activate = ACTIVATIONS[activation].module()
        self.drop = Dropout(dropout)
        self._register_codes(n_codes, n_levels)

    def _register_codes(self, n_codes: Sequence[int], n_levels: Sequence[int]) -> None:
        """Store the place of the codes of each column among all, as buffers."""
        # One more code of each categorical column stands for a missing value.
        ends = list(accumulate(n + 1 for n in n_codes))
        whole: dict[str, Any] = {"device": "cpu", "dtype": torch.int64}
        offsets = torch.tensor([0, *ends][:-1], **whole)
        gaps = torch.tensor([end - 1 for end in ends], **whole)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("gaps", gaps, persistent=False)
        last = torch.tensor(n_levels, **CPU_FLOAT32)
        self.register_buffer("last", last, persistent=False)

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; the decoder starts at zero, which stands for the means."""
        activation = ACTIVATIONS[self.config["activation"]]
        if self.inward is not None:
            self.inward.initialise(activation, generator)
        self.skip_inward.initialise(ACTIVATIONS["identity"], generator)
        numbers = rows[:, : self.n_numbers]
        if self.number_encoding is not None:
            self.number_encoding.initialise(generator, numbers, sample_weight)
        if self.cells_apart is not None:
            dense, indices = self.cells(rows)
            plain = dense[:, : self.cells_apart.n_plain]
            entities = self.cells_apart.initialise(
                generator, plain, numbers, indices, sample_weight
            )
            if entities:
                self.config["entities"] = tuple(entities)
        for layer in (*self.encoder, *self.decoder):
            assert isinstance(layer, Linear)
            nn.init.zeros_(layer.bias)
            draw_weight(layer.weight, layer.fans, activation, generator)
        for last in (*self.decoder[-1:], self.skip_outward):
            assert isinstance(last, Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def n_rows_at_start(self) -> int:
        """Number of rows that `initialise` needs at most."""
        # Rows that share an entity may be anywhere.
        n_rows = super().n_rows_at_start
        return n_rows if self.cells_apart is None else max(n_rows, _N_FOR_ENTITIES)

    def prepare_for(self, before: Autoencoder) -> None:
        """Make room for the entities that `before` has found."""
        entities = before.config.get("entities", ())
        if self.cells_apart is not None and entities:
            self.cells_apart.make_room(entities)
            self.config["entities"] = entities

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw random valid input rows, (n, n_inputs), to test the network with."""
        rows = torch.randn(n, self.widths[0], generator=generator, **CPU_FLOAT32)
        n_codes = self.config["n_codes"]
        for column, number in enumerate(n_codes, start=rows.shape[1] - len(n_codes)):
            codes = torch.randint(
                max(1, number), (n,), generator=generator, device="cpu"
            )
            rows[:, column] = codes if number else torch.nan
        return rows

    def encode(self, x: Tensor) -> Tensor:
        """Map rows, (n, n_inputs), missing values NaN, to codes, (n, n_components)."""
        code: Tensor = self._hidden(*self.cells(x))[-1]
        return code

    def stack(self, x: Tensor) -> Tensor:
        """Map rows to all hidden activations and the code, (n, sum(widths[1:]))."""
        return torch.cat(self._hidden(*self.cells(x)), dim=1)

    def spread(self, x: Tensor) -> Tensor:
        """Map rows to their cells, spread for a linear model, and `stack`."""
        assert self.cells_apart is not None
        dense, indices = self.cells(x)
        plain = dense[:, : self.cells_apart.n_plain]
        cells = self.cells_apart(plain, dense[:, : self.n_numbers], indices)
        # (n, n_spread + sum(widths[1:]))
        return torch.cat([cells, *self._hidden(dense, indices)], dim=1)

    @property
    def n_spread(self) -> int:
        """Number of columns that `spread` gives before those of `stack`."""
        return 0 if self.cells_apart is None else self.cells_apart.width

    def _hidden(self, *cells: Tensor) -> list[Tensor]:
        linear = self.skip_inward(*cells)  # (n, n_components)
        if self.inward is None:
            return [linear]
        activations = [self.drop(self.activate(self.inward(*cells)))]
        for layer in list(self.encoder)[:-1]:
            activations.append(self.drop(self.activate(layer(activations[-1]))))
        activations.append(self.encoder[-1](activations[-1]) + linear)
        return activations

    def cells(self, x: Tensor, *, encodes: bool = True) -> tuple[Tensor, Tensor]:
        """Return the numbers of rows, none missing, and the indices of embeddings.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Rows, missing values NaN.
        encodes : bool, default=True
            Whether the encodings of numbers are among the numbers.

        Returns
        -------
        numbers : Tensor of shape (n, n_dense)
            Numbers, which of them are missing, and their encodings.
        indices : Tensor of shape (n, n_categories), int64
            Indices of embeddings.
        """
        n_categories = len(self.offsets)
        # (n, n_numbers + n_extras) and (n, n_categories)
        known, codes = x.tensor_split([x.shape[1] - n_categories], dim=1)
        numbers = known[:, : self.n_numbers]  # (n, n_numbers)
        missing = numbers.isnan()
        known = known.nan_to_num()
        inputs = [known, missing.to(x.dtype)]
        if self.number_encoding is not None and encodes:
            encoded = self.number_encoding(known[:, : self.n_numbers])
            inputs.append(encoded.flatten(1))  # (n, n_numbers * width)
        codes = torch.minimum(codes, self.last)
        indices = torch.where(
            codes.isnan(), self.gaps, codes.nan_to_num() + self.offsets
        )
        return torch.cat(inputs, dim=1), indices.long()

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes to numbers and logits, (n, n_numbers + sum(n_levels))."""
        output = self.decode_all(code)
        return output[:, : self.n_outputs] if self.n_bins else output

    def logits(self, x: Tensor) -> Tensor:
        """Map rows to logits of the bins of numbers, then of the levels of categories.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Rows; what is to be predicted is NaN.

        Returns
        -------
        Tensor of shape (n, sum(n_bins) + sum(n_levels))
            Logits of all cells, in their order.
        """
        _, levels, bins = self.decode_all(self.encode(x)).tensor_split(
            [self.n_numbers, self.n_outputs], dim=1
        )
        return torch.cat([bins, levels], dim=1)

    def logits_of_nothing(self) -> Tensor:
        """Return `logits` of a row without any value, (1, n)."""
        weight = self.skip_outward.weight
        return self.logits(weight.new_full((1, self.widths[0]), torch.nan))

    def logits_of_new_rows(self, x: Tensor, nothing: Tensor) -> Tensor:
        """Map rows to `logits` without temperatures and with shifts, (n, n_logits).

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Rows; what is to be predicted is NaN.
        nothing : Tensor of shape (1, n_logits)
            The result of `logits_of_nothing`.
        """
        logits, config = self.logits(x), self.config
        if "temperatures" in config:
            counts = [*config.get("n_bins", [0] * self.n_numbers), *config["n_levels"]]
            divisors = logits.new_tensor(config["temperatures"]).repeat_interleave(
                logits.new_tensor(counts, dtype=torch.int64)
            )
            logits = nothing + (logits - nothing) * divisors
        if "shifts" in config:
            logits = logits + logits.new_tensor(config["shifts"])
        return logits

    @torch.no_grad()
    def temper(self, temperatures: Sequence[float]) -> None:
        """Divide differences from `logits_of_nothing` by the temperature of the cell.

        Parameters
        ----------
        temperatures : sequence of float of length n_cells
            Those of numbers, then of categories.
        """
        bins, levels = self.logits_of_nothing()[0].tensor_split([self.n_bins])
        weight = self.skip_outward.weight
        divisors = weight.new_tensor(temperatures)
        numbers, categories = divisors.tensor_split([self.n_numbers])
        counts = weight.new_tensor(self.config["n_levels"], dtype=torch.int64)
        one = torch.ones_like(numbers)
        parts = [one, categories.repeat_interleave(counts)]
        kept = [torch.zeros_like(numbers), levels]
        if self.bells is not None:
            parts += [numbers[self.bells.owners], one]
            kept += [bins, torch.zeros_like(numbers)]
        whole = torch.cat(parts)  # (n_last,)
        for last in (*self.decoder[-1:], self.skip_outward):
            assert isinstance(last, Linear)
            last.weight.div_(whole[:, None])
            last.bias.div_(whole)
        self.skip_outward.bias.add_(torch.cat(kept) * (1 - 1 / whole))
        if self.bells is not None:
            self.skip_outward.bias[-self.n_numbers :] -= numbers.log()
        self.config["temperatures"] = tuple(map(float, temperatures))

    def shift_new_rows(self, shifts: Sequence[float]) -> None:
        """Set what `logits_of_new_rows` adds to each logit."""
        self.config["shifts"] = tuple(shifts)

    def decode_all(self, code: Tensor) -> Tensor:
        """Map codes to what `decode` gives and logits of bins.

        Returns
        -------
        Tensor of shape (n, n_numbers + sum(n_levels) + sum(n_bins))
            Numbers, logits of levels, logits of bins.
        """
        hidden = code
        for layer in list(self.decoder)[:-1]:
            hidden = self.drop(self.activate(layer(hidden)))  # (n, width of the layer)
        output: Tensor = self.skip_outward(code)
        for last in self.decoder[-1:]:
            output = output + last(hidden)
        if self.bells is None:
            return output
        decoded, logits, sharpness = output.tensor_split(
            [self.n_outputs, self.n_outputs + self.n_bins], dim=1
        )
        bells = self.bells(decoded[:, : self.n_numbers], sharpness)
        return torch.cat([decoded, logits + bells], dim=1)


class Bells(nn.Module):
    """Logits of bins under normal distributions around predicted numbers.

    The layers could learn them, but only by large weights: a number that others
    determine has a narrow distribution, whose logits differ much from bin to bin.

    Parameters
    ----------
    n_bins : sequence of int
        Number of bins of each number.
    centers : sequence of float
        A number in the middle of each bin.
    """

    owners: Tensor
    centers: Tensor

    def __init__(self, n_bins: tuple[int, ...], centers: tuple[float, ...]) -> None:
        super().__init__()
        # Before anything that takes memory: the numbers may come from a forged file.
        if sum(n_bins) != len(centers):
            raise ValueError("bins have one centre each")
        owners = [number for number, n in enumerate(n_bins) for _ in range(n)]
        near = [min(max(float(center), -FAR), FAR) for center in centers]
        whole: dict[str, Any] = {"device": "cpu", "dtype": torch.int64}
        self.register_buffer("owners", torch.tensor(owners, **whole), persistent=False)
        near_centers = torch.tensor(near, **CPU_FLOAT32)
        self.register_buffer("centers", near_centers, persistent=False)

    def forward(self, numbers: Tensor, sharpness: Tensor) -> Tensor:
        """Return logits of the bins, (n, sum(n_bins)).

        Parameters
        ----------
        numbers, sharpness : Tensor of shape (n, n_numbers)
            Means of the numbers, and how narrow their distributions are.
        """
        precision = (sharpness + FIRST_SHARPNESS).clamp(max=SHARPEST).exp()
        means = numbers.clamp(-FAR, FAR)
        # Indexing by `[:, owners]` takes four times as long, forward and backward.
        means = means.index_select(1, self.owners)  # (n, sum(n_bins))
        bells = self.centers * (means - self.centers / 2)
        return precision.index_select(1, self.owners) * bells


def _check_temperatures(temperatures: Sequence[float], n_cells: int) -> None:
    is_complete = len(temperatures) in (0, n_cells)
    if not is_complete or not all(0 < each < math.inf for each in temperatures):
        raise ValueError("each cell has a positive temperature")


def _check_shifts(shifts: Sequence[float], n_logits: int) -> None:
    if len(shifts) not in (0, n_logits) or not all(map(math.isfinite, shifts)):
        raise ValueError("each logit has a shift")


def _linears(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(Linear(*sizes) for sizes in pairwise(widths))


class Cells(nn.Module):
    """A linear map of numbers and embedded codes.

    Parameters
    ----------
    n_inputs : int
        Number of input numbers.
    n_codes : sequence of int
        Number of codes of each categorical column, without that of missing values.
    n_cells : int
        Number of cells of a row, which sets the scale of the initial weights.
    width : int
        Width of the result.
    """

    def __init__(
        self, *, n_inputs: int, n_codes: tuple[int, ...], n_cells: int, width: int
    ) -> None:
        super().__init__()
        self.n_cells = n_cells
        self.numbers = Linear(n_inputs, width)
        self.embeddings = nn.Parameter(
            torch.empty(sum(n_codes) + len(n_codes), width, **CPU_FLOAT32)
        )

    def initialise(self, activation: Any, generator: torch.Generator) -> None:
        """Draw the weights, at the scale of a layer with an input per cell."""
        fans = self.n_cells, self.numbers.out_features
        nn.init.zeros_(self.numbers.bias)
        draw_weight(self.numbers.weight, fans, activation, generator)
        if len(self.embeddings):
            draw_weight(self.embeddings, fans, activation, generator)

    def forward(self, numbers: Tensor, indices: Tensor) -> Tensor:
        """Map numbers, (n, n_inputs), and indices, (n, n_categories), to (n, width)."""
        result: Tensor = self.numbers(numbers)
        if indices.shape[1]:
            result = result + nn.functional.embedding_bag(
                indices, self.embeddings, mode="sum"
            )
        return result
