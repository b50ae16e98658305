"""Forward and backward pass of the network for tables, without autograd."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .gradients import ClosedFormAffine, derivative_of, kernel_of, products_for
from .layers import Linear, scaled_masks
from .numbers import Periodic
from .tabular import FAR, FIRST_SHARPNESS, SHARPEST, Cells, TabularAutoencoder

_aten = torch.ops.aten

# Up to this number of codes per categorical column, products with a matrix of zeros and
# ones take less time than sums over the rows of each code.
_MANY_CODES = 32


class _Inputs(NamedTuple):
    """The cells of rows.

    Parameters
    ----------
    numbers : Tensor of shape (n, n_inputs)
        Numbers, which of them are missing, and their encodings.
    codes : Tensor
        Ones at the indices of embeddings and zeros elsewhere, (n, n_embeddings), or the
        indices, (n, n_categories), int64.
    """

    numbers: Tensor
    codes: Tensor


class _Activated(NamedTuple):
    """A hidden layer: its affine map, activations, scaled mask, and masked activations.

    All have the shape (n, width).
    """

    affine: Tensor
    activations: Tensor
    mask: Tensor | None
    kept: Tensor


class _Normals(NamedTuple):
    """Normal distributions of numbers, all (n, n_numbers)."""

    numbers: Tensor
    means: Tensor
    logarithms: Tensor
    precisions: Tensor


class Passed(NamedTuple):
    """What a forward pass has computed.

    Parameters
    ----------
    inputs : _Inputs
        The cells.
    inward, outward : list of _Activated
        Hidden layers of encoder and decoder.
    code : Tensor of shape (n, n_components)
        The codes.
    normals : _Normals or None
        Those that logits of bins are computed from.
    output : Tensor of shape (n, n_last)
        Output of the last layer, with the result of `decode_all` in the first columns.
    """

    inputs: _Inputs
    inward: list[_Activated]
    code: Tensor
    outward: list[_Activated]
    normals: _Normals | None
    output: Tensor


class TabularPasses:
    """Forward and backward pass of a `TabularAutoencoder` in training mode.

    Parameters
    ----------
    network : TabularAutoencoder
        Its parameters have a ``grad`` and are not moved afterwards.

    Attributes
    ----------
    columns : Tensor of shape (width,), int64
        The input that each column of prepared rows is computed from.
    """

    def __init__(self, network: TabularAutoencoder) -> None:
        self.network = network
        self.skip_inward = _Cells(network.skip_inward)
        self.skip_outward = _affine(network.skip_outward)
        self.inward = None if network.inward is None else _Cells(network.inward)
        self.encoder = _Layers(network, network.encoder)
        self.outward = [_affine(layer) for layer in network.decoder[:1]]
        self.decoder = _Layers(network, network.decoder[1:])
        self.bells = None if network.bells is None else _Bells(network)
        self.encoding: _Periodic | None = None
        if isinstance(network.number_encoding, Periodic):
            self.encoding = _Periodic(network.number_encoding, network.n_numbers)
        n_codes, n_columns = len(network.skip_inward.embeddings), len(network.offsets)
        self.by_ones = n_codes <= _MANY_CODES * n_columns
        self.n_codes = n_codes if self.by_ones else n_columns
        self.columns = self._columns()

    def prepare(self, x: Tensor) -> Tensor:
        """Map rows, missing values NaN, to what does not change in training.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Rows.

        Returns
        -------
        Tensor of shape (n, width)
            Numbers, which of them are missing, their encodings unless these are learnt,
            and embeddings as zeros and ones, or the indices of embeddings.
        """
        numbers, indices = self.network.cells(x, encodes=self.encoding is None)
        if not self.by_ones:
            return torch.cat([numbers, indices.to(x.dtype)], dim=1)
        ones = numbers.new_zeros(len(x), self.n_codes).scatter_(1, indices, 1.0)
        return torch.cat([numbers, ones], dim=1)

    def forward(self, prepared: Tensor) -> Passed:
        """Encode and decode prepared rows, (n, width)."""
        inputs = self._inputs(prepared)
        inward_masks, outward_masks = self._masks(prepared)
        code = self.skip_inward.forward(inputs)  # (n, n_components)
        inward: list[_Activated] = []
        if self.inward is not None:
            first = self.inward.forward(inputs)
            inward = self.encoder.add_to(code, first, inward_masks)
        output = self.skip_outward.forward(code)  # (n, n_last)
        outward: list[_Activated] = []
        for layer in self.outward:
            first = layer.forward(code)
            outward = self.decoder.add_to(output, first, outward_masks)
        normals = None if self.bells is None else self.bells.add_to(output)
        return Passed(inputs, inward, code, outward, normals, output)

    def backward(self, gradient: Tensor, passed: Passed) -> None:
        """Store the gradients by the parameters.

        Parameters
        ----------
        gradient : Tensor of shape (n, n_last)
            Gradient by the output. What it has for sharpness is replaced.
        passed : Passed
            Result of `forward`.
        """
        inputs, inward, code, outward, normals, _ = passed
        if self.bells is not None:
            assert normals is not None
            self.bells.backward(gradient, normals)
        self.skip_outward.backward(gradient, code)
        by_code = self.skip_outward.to_input(gradient)  # (n, n_components)
        for first in self.outward:
            by_first = self.decoder.backward(gradient, outward)
            first.backward(by_first, code)
            by_code += first.to_input(by_first)
        self.skip_inward.backward(by_code, inputs)
        ends = [(self.skip_inward, by_code)]
        if self.inward is not None:
            by_inward = self.encoder.backward(by_code, inward)
            self.inward.backward(by_inward, inputs)
            ends.append((self.inward, by_inward))
        if self.encoding is not None:
            self.encoding.backward(ends, inputs.numbers)

    def _masks(self, x: Tensor) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Draw the masks of the hidden layers of encoder and decoder."""
        widths = self.network.config["hidden_layer_sizes"]
        drop = self.network.drop
        if not drop.rate:
            return [None] * len(widths), [None] * len(widths)
        shapes = [(len(x), width) for width in (*widths, *reversed(widths))]
        masks = scaled_masks(shapes, drop.rate, drop.generator, x.device)
        return [*masks[: len(widths)]], [*masks[len(widths) :]]

    def _inputs(self, prepared: Tensor) -> _Inputs:
        first = prepared.shape[1] - self.n_codes
        numbers, codes = prepared.tensor_split([first], dim=1)
        if self.encoding is not None:
            numbers = torch.cat([numbers, self.encoding.forward(numbers)], dim=1)
        return _Inputs(numbers, codes if self.by_ones else codes.long())

    def _columns(self) -> Tensor:
        """Return `columns`, in the order of `prepare`."""
        network = self.network
        n_numbers = network.n_numbers
        n_known = network.widths[0] - len(network.offsets)
        columns = [*range(n_known), *range(n_numbers)]
        if network.number_encoding is not None and self.encoding is None:
            width = network.number_encoding.width
            columns += [number for number in range(n_numbers) for _ in range(width)]
        for category, count in enumerate(network.config["n_codes"], start=n_known):
            columns += [category] * (count + 1 if self.by_ones else 1)
        return torch.tensor(columns, dtype=torch.int64, device=network.offsets.device)


class _Cells:
    """A linear map of numbers and embedded codes."""

    def __init__(self, cells: Cells) -> None:
        self.numbers = _affine(cells.numbers)
        self.embeddings = cells.embeddings.detach()
        self.gradient = cells.embeddings.grad

    def forward(self, inputs: _Inputs) -> Tensor:
        numbers, codes = inputs
        result = self.numbers.forward(numbers)  # (n, width)
        if codes.is_floating_point():
            return result.addmm_(codes, self.embeddings)
        return result.add_(
            nn.functional.embedding_bag(codes, self.embeddings, mode="sum")
        )

    def backward(self, gradient: Tensor, inputs: _Inputs) -> None:
        """Store the gradients by the parameters."""
        numbers, codes = inputs
        self.numbers.backward(gradient, numbers)
        if codes.is_floating_point():
            torch.mm(codes.t(), gradient, out=self.gradient)
            return
        assert self.gradient is not None
        self.gradient.zero_()
        for indices in codes.unbind(1):
            self.gradient.index_add_(0, indices, gradient)


class _Layers:
    """Affine layers, each of the activations of the layer before, with dropout."""

    def __init__(
        self, network: TabularAutoencoder, layers: Iterable[nn.Module]
    ) -> None:
        self.layers = [_affine(layer) for layer in layers]
        activation = network.config["activation"]
        self.activate, self.derive = kernel_of(activation), derivative_of(activation)

    def add_to(
        self, output: Tensor, affine: Tensor, masks: list[Tensor | None]
    ) -> list[_Activated]:
        """Add what follows from the map of the first layer to that of a linear skip."""
        passed = []
        for layer, mask in zip(self.layers, masks, strict=True):
            activations = self.activate(affine)
            kept = activations if mask is None else activations * mask
            passed.append(_Activated(affine, activations, mask, kept))
            if layer is self.layers[-1]:
                output.addmm_(kept, layer.matrix).add_(layer.bias)
            else:
                affine = layer.forward(kept)
        return passed

    def backward(self, gradient: Tensor, passed: list[_Activated]) -> Tensor:
        """Store the gradients by the parameters; return that by the first map."""
        for layer, (affine, activations, mask, kept) in zip(
            reversed(self.layers), reversed(passed), strict=True
        ):
            layer.backward(gradient, kept)
            gradient = layer.to_input(gradient)
            if mask is not None:
                gradient *= mask
            gradient = self.derive(gradient, affine, activations)
        return gradient


class _Bells:
    """Logits of bins under normal distributions, as those of `Bells`.

    For a bin with the centre c, and a number with the mean m and the precision p, the
    logit is p m c - p c² / 2: a product of matrices.
    """

    def __init__(self, network: TabularAutoencoder) -> None:
        bells = network.bells
        assert bells is not None
        self.n_numbers = network.n_numbers
        end = network.n_outputs + network.n_bins
        self.bins = slice(network.n_outputs, end)
        self.sharpness = slice(end, end + self.n_numbers)
        centers = bells.centers
        owned = nn.functional.one_hot(bells.owners, self.n_numbers).t() * centers
        # (2 * n_numbers, n_bins)
        self.to_bins = torch.cat([owned, owned * centers / -2])

    def add_to(self, output: Tensor) -> _Normals:
        """Add to the logits of bins in the output, (n, n_last)."""
        numbers = output[:, : self.n_numbers]
        means = numbers.clamp(-FAR, FAR)
        logarithms = output[:, self.sharpness] + FIRST_SHARPNESS
        precisions = logarithms.clamp(max=SHARPEST).exp_()
        # (n, 2 * n_numbers)
        factors = torch.cat([precisions * means, precisions], dim=1)
        output[:, self.bins].addmm_(factors, self.to_bins)
        return _Normals(numbers, means, logarithms, precisions)

    def backward(self, gradient: Tensor, normals: _Normals) -> None:
        """Add to the gradient by numbers, and set that by sharpness."""
        numbers, means, logarithms, precisions = normals
        by_factors = gradient[:, self.bins].mm(self.to_bins.t())
        # (n, n_numbers) each
        by_product, by_precision = by_factors.tensor_split(2, dim=1)
        gradient[:, : self.n_numbers] += _aten.hardtanh_backward(
            precisions * by_product, numbers, -FAR, FAR
        )
        gradient[:, self.sharpness] = _aten.hardtanh_backward(
            torch.addcmul(by_precision, means, by_product) * precisions,
            logarithms,
            -math.inf,
            SHARPEST,
        )


class _Periodic:
    """The encoding `Periodic`, and its gradient by the frequencies."""

    def __init__(self, encoding: Periodic, n_numbers: int) -> None:
        self.encoding = encoding
        self.gradient = encoding.frequencies.grad
        self.n_numbers, self.width = n_numbers, encoding.width

    def forward(self, inputs: Tensor) -> Tensor:
        """Encode numbers, the first columns of the inputs, (n, n_numbers * width)."""
        encoded: Tensor = self.encoding.forward(inputs[:, : self.n_numbers])
        return encoded.flatten(1)

    def backward(self, ends: list[tuple[_Cells, Tensor]], inputs: Tensor) -> None:
        """Store the gradient by the frequencies.

        Parameters
        ----------
        ends : list of (_Cells, Tensor)
            Maps of the inputs, and the gradients by their results.
        inputs : Tensor of shape (n, n_inputs)
            Numbers, and their encodings in the last columns.
        """
        shape = len(inputs), self.n_numbers, self.width
        first = inputs.shape[1] - self.n_numbers * self.width
        by_encoding = torch.zeros_like(inputs[:, first:])
        for cells, gradient in ends:
            by_encoding.addmm_(gradient, cells.numbers.back[:, first:])
        by_sines, by_cosines = by_encoding.view(shape).chunk(2, dim=2)
        sines, cosines = inputs[:, first:].reshape(shape).chunk(2, dim=2)
        # (n, n_numbers, n_frequencies)
        by_angles = by_sines * cosines - by_cosines * sines
        numbers = 2 * math.pi * inputs[:, : self.n_numbers]
        assert self.gradient is not None
        self.gradient.copy_(torch.einsum("nkf,nk->kf", by_angles, numbers))


def _affine(layer: nn.Module) -> ClosedFormAffine:
    assert isinstance(layer, Linear)
    return ClosedFormAffine([layer], products_for(1), adds=False)
