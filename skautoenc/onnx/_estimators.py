"""What each estimator gives, as nodes."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._input import restored_type
from .._patches import PatchAutoencoderTransformer
from .._reading import FittedAutoencoder
from .._tabular import TabularAutoencoderTransformer
from ..losses import LOSSES
from ..networks.patches import PatchEncoder, cut_patches, pad_edges, pooling_windows
from ._graph import Graph
from ._networks import decode, encode, thin_out
from ._rows import forward, inverse, mean, restore, standardise, with_total

_CPU = torch.device("cpu")


@singledispatch
def features(estimator: BaseEstimator, graph: Graph, rows: str, dtype: np.dtype) -> str:
    """Emit what `transform` gives.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted.
    graph : Graph
        Where the nodes go.
    rows : str
        Name of the rows, (n, n_features).
    dtype : dtype
        Their type, float32 or float64.

    Returns
    -------
    str
        Name of the features, (n, n_features_out), float32.

    Raises
    ------
    TypeError
        If the estimator has no form in ONNX.
    """
    raise TypeError(
        f"to_onnx takes a fitted autoencoder, got {type(estimator).__name__}. For a "
        "pipeline, import skautoenc.onnx and call skl2onnx.to_onnx."
    )


@singledispatch
def reconstruction(estimator: BaseEstimator, graph: Graph, values: str) -> str:
    """Emit what `inverse_transform` gives of features of the name `values`."""
    raise TypeError(f"{type(estimator).__name__} has no way back in ONNX.")


@features.register
def _(
    estimator: TabularAutoencoderTransformer, graph: Graph, rows: str, dtype: np.dtype
) -> str:
    raise TypeError(
        "TabularAutoencoderTransformer cannot be exported to ONNX: it takes frames, "
        "whose strings, dates and gaps have no place in a graph of numbers. Encode the "
        "columns by scikit-learn's encoders and use AutoencoderTransformer."
    )


# Autoencoders of rows


@features.register
def _(estimator: FittedAutoencoder, graph: Graph, rows: str, dtype: np.dtype) -> str:
    total = getattr(estimator, "row_total_", None)
    if total is not None:
        rows = with_total(graph, rows, total, dtype)
    x = standardise(graph, rows, estimator.mean_, estimator.scale_, dtype)
    for step in estimator._preparation(_CPU).steps:
        x = forward(step, graph, x)
    *hidden, code = encode(estimator.network_, graph, x)
    if estimator.features_ == "sparse":
        code = thin_out(estimator.network_, graph, code)
    whitening = estimator._code_whitening(_CPU)
    if whitening is not None:
        code = forward(whitening, graph, code)
    if estimator.features_ == "stack":
        return graph.add("Concat", *hidden, code, axis=1)
    return code


@reconstruction.register
def _(estimator: FittedAutoencoder, graph: Graph, values: str) -> str:
    if estimator.features_ == "stack":
        width = estimator._n_features_out
        start = width - estimator.n_components_
        values = graph.add("Slice", values, [start], [width], [1])
    whitening = estimator._code_whitening(_CPU)
    if whitening is not None:
        values = inverse(whitening, graph, values)
    output = decode(estimator.network_, graph, values)
    rows = mean(estimator._loss(_CPU), graph, output)
    for step in reversed(estimator._preparation(_CPU).steps):
        rows = inverse(step, graph, rows)
    rows = restore(graph, rows, estimator.mean_, estimator.scale_)
    kind = LOSSES[estimator.loss_function_]
    dtype = restored_type(estimator.mean_, estimator.scale_)
    # Rounding may have led out of the range.
    if kind.lowest > -math.inf:
        rows = graph.add("Max", rows, np.asarray(kind.lowest, dtype=dtype))
    if kind.highest < math.inf:
        rows = graph.add("Min", rows, np.asarray(kind.highest, dtype=dtype))
    return rows


# Autoencoders of patches


@features.register
def _(
    estimator: PatchAutoencoderTransformer, graph: Graph, rows: str, dtype: np.dtype
) -> str:
    rows = standardise(graph, rows, estimator.mean_, estimator.scale_, dtype)
    patches = _normalized_patches(estimator, graph, rows)
    pooled = _pooled(estimator, graph, _codes(estimator, graph, patches))
    root = graph.add("Sqrt", graph.add("Abs", pooled))
    # Of codes that may be negative, as a dense autoencoder has them.
    pooled = graph.add("Mul", root, graph.add("Sign", pooled))
    if estimator.code_map_ is None:
        return pooled
    centred = graph.add("Sub", pooled, estimator.code_mean_)
    return graph.add("MatMul", centred, estimator.code_map_)


def _normalized_patches(
    estimator: PatchAutoencoderTransformer, graph: Graph, rows: str
) -> str:
    """Emit all patches of standardised images, one a row."""
    shape, size = estimator.image_shape_, estimator.patch_size_
    # Which pixel each value of each patch is: padding and cutting in one node.
    pixels = torch.arange(math.prod(shape), device=_CPU).view(1, *shape)
    places = cut_patches(pad_edges(pixels, estimator.padding_), size).flatten(0, 2)
    width = places.shape[1]
    patches = graph.add("Gather", rows, places, axis=1)
    patches = graph.add("Reshape", patches, [-1, width])
    if estimator._contrast is None:
        return patches
    centred = graph.add("Sub", patches, graph.mean(patches, width))
    square = graph.mean(graph.add("Mul", centred, centred), width)
    contrast = graph.add("Sqrt", graph.add("Add", square, estimator._contrast**2))
    return graph.add("Div", centred, contrast)


def _codes(estimator: PatchAutoencoderTransformer, graph: Graph, patches: str) -> str:
    """Emit the codes of patches, one a row."""
    encoder = estimator._patch_encoder()
    if isinstance(encoder, PatchEncoder):
        # All that is linear is one product, as in the estimator.
        codes = graph.add("Gemm", patches, encoder.weight, encoder.bias)
        return graph.add("Relu", codes)
    return features(estimator.autoencoder_, graph, patches, np.dtype(np.float32))


def _pooled(estimator: PatchAutoencoderTransformer, graph: Graph, codes: str) -> str:
    """Emit means of the codes over the cells of the grid, (n, n_pooled)."""
    (n_rows, n_columns), (down, across) = estimator._places, estimator.grid_
    n_units = estimator.autoencoder_._n_features_out
    stripes = graph.add("Reshape", codes, [-1, n_rows, n_columns * n_units])
    stripes = graph.add("MatMul", pooling_windows(n_rows, down), stripes)
    cells = graph.add("Reshape", stripes, [0, down, n_columns, n_units])
    cells = graph.add("MatMul", pooling_windows(n_columns, across), cells)
    return graph.add("Flatten", cells)


@reconstruction.register
def _(estimator: PatchAutoencoderTransformer, graph: Graph, values: str) -> str:
    rows = graph.add("MatMul", values, estimator.decoder_map_)
    rows = graph.add("Add", rows, estimator.decoder_mean_)
    return restore(graph, rows, estimator.mean_, estimator.scale_)
