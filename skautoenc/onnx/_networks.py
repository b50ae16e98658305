"""Networks and their layers as nodes."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import numpy as np
from torch import nn

from .._networks.autoencoder import Autoencoder
from .._networks.codes import BatchSparsity, DenseCode, TopKSparsity
from .._networks.conv_variational import ConvVariationalNetwork
from .._networks.convolutional import ConvolutionalAutoencoder, _PerPosition
from .._networks.dense import DenseAutoencoder
from .._networks.layers import BatchNorm, Dropout, LayerNorm, Linear, TransposedLinear
from .._networks.maps import (
    STRIDE,
    Convolution,
    ImageNetwork,
    TransposedConvolution,
)
from .._networks.variational import DenseVariationalAutoencoder, VariationalNetwork
from ._graph import Graph


@singledispatch
def encode(network: Autoencoder, graph: Graph, x: str) -> list[str]:
    """Emit the encoder.

    Parameters
    ----------
    network : Autoencoder
        The network, in evaluation mode.
    graph : Graph
        Where the nodes go.
    x : str
        Name of the network's input, (n, n_features).

    Returns
    -------
    list of str
        Names of the hidden activations, if the network has any, and of the code.
    """
    raise TypeError(
        "A network of your own cannot be exported to ONNX, its operators are not known "
        "here. Export network_.module with torch.onnx.export."
    )


@singledispatch
def decode(network: Autoencoder, graph: Graph, code: str) -> str:
    """Emit the decoder, with the sparsity rule first."""
    raise TypeError(f"{type(network).__name__} has no decoder in ONNX.")


def thin_out(network: Autoencoder, graph: Graph, code: str) -> str:
    """Emit the sparsity rule: keep the activations that the decoder uses."""
    if isinstance(network, DenseAutoencoder):
        return apply(network.sparsity, graph, code)
    return code


@encode.register
def _(network: DenseAutoencoder, graph: Graph, x: str) -> list[str]:
    values = [x]
    for layer in list(network.encoder)[:-1]:
        values.append(apply(layer, graph, values[-1]))
    code = apply(network.encoder[-1], graph, values[-1])
    if network.projection is not None:
        skip = graph.add("Gemm", x, network.projection.weight, transB=1)
        code = graph.add("Add", code, skip)
    return [*values[1:], apply(network.code_activation, graph, code)]


@decode.register
def _(network: DenseAutoencoder, graph: Graph, code: str) -> str:
    code = thin_out(network, graph, code)
    rows = apply(network.decoder, graph, code)
    if network.projection is not None:
        skip = graph.add("Gemm", code, network.projection.weight)
        rows = graph.add("Add", rows, skip)
    return rows


@encode.register
def _(network: ConvolutionalAutoencoder, graph: Graph, x: str) -> list[str]:
    code = _encode_maps(network, graph, x)
    if network.projection is not None:
        skip = graph.add("Gemm", x, network.projection.weight, transB=1)
        code = graph.add("Add", code, skip)
    return [code]


@decode.register
def _(network: ConvolutionalAutoencoder, graph: Graph, code: str) -> str:
    rows = graph.add("Flatten", _decode_maps(network, graph, code))
    if network.projection is not None:
        skip = graph.add("Gemm", code, network.projection.weight)
        rows = graph.add("Add", rows, skip)
    return rows


def _encode_maps(network: ImageNetwork, graph: Graph, x: str) -> str:
    """Emit what leads from rows through convolutions to the output of the encoder."""
    maps = graph.add("Reshape", x, [0, *network.shapes[0]])
    flat = graph.add("Flatten", apply(network.encoder, graph, maps))
    return apply(network.to_code, graph, flat)


def _decode_maps(network: ImageNetwork, graph: Graph, code: str) -> str:
    """Emit what leads from codes to maps, (n, height, width, n_channels)."""
    flat = apply(network.from_code, graph, code)
    maps = graph.add("Reshape", flat, [0, *network.shapes[-1]])
    return apply(network.decoder, graph, maps)


@encode.register
def _(network: DenseVariationalAutoencoder, graph: Graph, x: str) -> list[str]:
    return [_mean(network, graph, x, apply(network.encoder, graph, x))]


@decode.register
def _(network: DenseVariationalAutoencoder, graph: Graph, code: str) -> str:
    rows = apply(network.decoder, graph, code)
    if network.config["varies"]:
        # Means come first, what their noise depends on after them.
        rows = graph.add("Slice", rows, [0], [network.widths[0]], [1])
    return _with_skip(network, graph, code, rows)


@encode.register
def _(network: ConvVariationalNetwork, graph: Graph, x: str) -> list[str]:
    return [_mean(network, graph, x, _encode_maps(network, graph, x))]


@decode.register
def _(network: ConvVariationalNetwork, graph: Graph, code: str) -> str:
    maps = _decode_maps(network, graph, code)
    if network.config["varies"]:
        # Of the channels, too.
        maps = graph.add("Slice", maps, [0], [network.shapes[0][2]], [3])
    return _with_skip(network, graph, code, graph.add("Flatten", maps))


def _mean(network: VariationalNetwork, graph: Graph, x: str, encoded: str) -> str:
    """Emit the posterior means: they come first, log-variances after them."""
    code = graph.add("Slice", encoded, [0], [network.widths[-1]], [1])
    if network.skip_in is None:
        return code
    return graph.add("Add", code, graph.add("Gemm", x, network.skip_in, transB=1))


def _with_skip(network: VariationalNetwork, graph: Graph, code: str, rows: str) -> str:
    """Emit the linear map beside the decoder."""
    if network.skip_out is None:
        return rows
    return graph.add("Add", rows, graph.add("Gemm", code, network.skip_out))


# Layers


@singledispatch
def apply(layer: nn.Module, graph: Graph, x: str) -> str:
    """Emit a layer in evaluation mode.

    Parameters
    ----------
    layer : Module
        The layer.
    graph : Graph
        Where the nodes go.
    x : str
        Name of the input.

    Returns
    -------
    str
        Name of the output.
    """
    raise TypeError(f"The layer {type(layer).__name__} cannot be exported to ONNX.")


@apply.register
def _(layer: nn.Sequential, graph: Graph, x: str) -> str:
    for part in layer:
        x = apply(part, graph, x)
    return x


@apply.register(nn.Identity)
@apply.register(Dropout)
@apply.register(DenseCode)
def _(layer: nn.Module, graph: Graph, x: str) -> str:
    return x


@apply.register
def _(layer: Linear, graph: Graph, x: str) -> str:
    return graph.add("Gemm", x, layer.weight, layer.bias, transB=1)


@apply.register
def _(layer: TransposedLinear, graph: Graph, x: str) -> str:
    return graph.add("Gemm", x, layer.weight, layer.bias)


@apply.register
def _(layer: Convolution, graph: Graph, x: str) -> str:
    return _convolve("Conv", layer, graph, x)


@apply.register
def _(layer: TransposedConvolution, graph: Graph, x: str) -> str:
    output_padding = layer.output_padding
    return _convolve("ConvTranspose", layer, graph, x, output_padding=output_padding)


def _convolve(
    operator: str,
    layer: Convolution | TransposedConvolution,
    graph: Graph,
    x: str,
    **attributes: Any,
) -> str:
    """Emit a convolution of channels-last maps."""
    maps = graph.add(
        operator,
        graph.add("Transpose", x, perm=[0, 3, 1, 2]),
        layer.weight,
        layer.bias,
        strides=[STRIDE] * 2,
        pads=[layer.weight.shape[-1] // 2] * 4,
        **attributes,
    )
    return graph.add("Transpose", maps, perm=[0, 2, 3, 1])


@apply.register
def _(layer: _PerPosition, graph: Graph, x: str) -> str:
    # Normalisations are over the last axis, whatever the number of axes.
    return apply(layer.layer, graph, x)


@apply.register
def _(layer: BatchNorm, graph: Graph, x: str) -> str:
    centred = graph.add("Sub", x, layer.mean)
    scale = (layer.variance + 1e-5).rsqrt() * layer.weight
    return graph.add("Add", graph.add("Mul", centred, scale), layer.bias)


@apply.register
def _(layer: LayerNorm, graph: Graph, x: str) -> str:
    width = len(layer.weight)
    centred = graph.add("Sub", x, graph.mean(x, width))
    variance = graph.mean(graph.add("Mul", centred, centred), width)
    root = graph.add("Sqrt", graph.add("Add", variance, 1e-5))
    normal = graph.add("Div", centred, root)
    return graph.add("Add", graph.add("Mul", normal, layer.weight), layer.bias)


@apply.register
def _(layer: nn.Sigmoid, graph: Graph, x: str) -> str:
    return graph.add("Sigmoid", x)


@apply.register
def _(layer: nn.Tanh, graph: Graph, x: str) -> str:
    return graph.add("Tanh", x)


@apply.register
def _(layer: nn.ReLU, graph: Graph, x: str) -> str:
    return graph.add("Relu", x)


@apply.register
def _(layer: nn.LeakyReLU, graph: Graph, x: str) -> str:
    return graph.add("LeakyRelu", x, alpha=layer.negative_slope)


@apply.register
def _(layer: nn.ELU, graph: Graph, x: str) -> str:
    return graph.add("Elu", x, alpha=layer.alpha)


@apply.register
def _(layer: nn.SELU, graph: Graph, x: str) -> str:
    return graph.add("Selu", x)


@apply.register
def _(layer: nn.SiLU, graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


@apply.register
def _(layer: nn.GELU, graph: Graph, x: str) -> str:
    error = graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5)))
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", error, 1.0))


@apply.register
def _(layer: BatchSparsity, graph: Graph, x: str) -> str:
    return _keep(graph, x, layer.threshold)


@apply.register
def _(layer: TopKSparsity, graph: Graph, x: str) -> str:
    largest = graph.add("TopK", x, [layer.n_active], n_outputs=2)
    return _keep(graph, x, graph.add("Gather", largest, [layer.n_active - 1], axis=1))


def _keep(graph: Graph, code: str, threshold: object) -> str:
    kept = graph.add("GreaterOrEqual", code, threshold)
    return graph.add("Where", kept, code, np.float32(0))
