"""Outputs of each type of model as nodes."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
import torch

from .._data.ranges import restored_type
from .._estimators.fitted import FittedEstimator, ModelHolder
from .._model.model import Model
from .._model.patches import PatchFeatures, PatchModel
from .._preparation.compression import Compression
from .._preparation.patches import (
    cut_patches,
    pad_edges,
    pooling_windows,
)
from .._preparation.similarities import Similarities
from ._graph import Graph
from ._networks import decode, encode, thin_out
from ._rows import forward, inverse, mean, restore, standardise, with_total

_CPU = torch.device("cpu")


def refuse_without_graph(estimator: object) -> None:
    """Raise a TypeError for estimators of this package that no graph can replace."""
    if isinstance(estimator, ModelHolder) and not isinstance(
        estimator, FittedEstimator
    ):
        name = type(estimator).__name__
        raise TypeError(
            f"{name} cannot be exported to ONNX. If it is a step of a pipeline, export "
            f"the steps before it. Keep the {name} itself with its save method, and "
            "load it with skautoenc.load."
        )


@singledispatch
def features(model: object, graph: Graph, rows: str, dtype: np.dtype) -> str:
    """Emit the result of `transform`.

    Parameters
    ----------
    model : Model or PatchModel
        The model of an estimator.
    graph : Graph
        Graph that the nodes are added to.
    rows : str
        Name of the rows, (n, n_features).
    dtype : dtype
        Type of the rows, float32 or float64.

    Returns
    -------
    str
        Name of the features, (n, n_features_out), float32.

    Raises
    ------
    TypeError
        If the model cannot be exported.
    """
    raise TypeError(f"{type(model).__name__} cannot be exported to ONNX.")


@singledispatch
def reconstruction(model: object, graph: Graph, values: str) -> str:
    """Emit the result of `inverse_transform` for the features named `values`."""
    raise TypeError(f"{type(model).__name__} has no way back in ONNX.")


# Autoencoders of rows


@features.register
def _(model: Model, graph: Graph, rows: str, dtype: np.dtype) -> str:
    side, code_map = model.side.to(_CPU), model.code.to(_CPU)
    if side.row_total is not None:
        rows = with_total(graph, rows, side.row_total, dtype)
    x = standardise(graph, rows, side.mean, side.scale, dtype)
    for step in side.preparation.steps:
        x = forward(step, graph, x)
    *hidden, code = encode(model.network, graph, x)
    if code_map.features == "sparse":
        code = thin_out(model.network, graph, code)
    if code_map.whitening is not None:
        code = forward(code_map.whitening, graph, code)
    if code_map.features == "stack":
        return graph.add("Concat", *hidden, code, axis=1)
    if code_map.features == "reconstruction":
        return _decoded(model, graph, code)
    return code


@reconstruction.register
def _(model: Model, graph: Graph, values: str) -> str:
    if model.code.features == "reconstruction":
        return values
    return _decoded(model, graph, values)


def _decoded(model: Model, graph: Graph, values: str) -> str:
    """Emit the rows that features are decoded to."""
    side, code_map = model.side.to(_CPU), model.code.to(_CPU)
    if code_map.features == "stack":
        width = model.n_features_out
        start = width - model.n_components
        values = graph.add("Slice", values, [start], [width], [1])
    if code_map.whitening is not None:
        values = inverse(code_map.whitening, graph, values)
    output = decode(model.network, graph, values)
    rows = mean(side.loss, graph, output)
    for step in reversed(side.preparation.steps):
        rows = inverse(step, graph, rows)
    rows = restore(graph, rows, side.mean, side.scale)
    dtype = restored_type(side.mean, side.scale)
    # Rounding can lead out of the range.
    if side.loss.lowest > -math.inf:
        rows = graph.add("Max", rows, np.asarray(side.loss.lowest, dtype=dtype))
    if side.loss.highest < math.inf:
        rows = graph.add("Min", rows, np.asarray(side.loss.highest, dtype=dtype))
    return rows


# Autoencoders of patches


@features.register
def _(model: PatchModel, graph: Graph, rows: str, dtype: np.dtype) -> str:
    source, compression = model.features.source, model.compression
    rows = standardise(graph, rows, source.mean, source.scale, dtype)
    patches = _normalized_patches(model.features, graph, rows)
    pooled = _pooled(model.features, graph, _codes(model.features, graph, patches))
    root = graph.add("Sqrt", graph.add("Abs", pooled))
    # The sign is kept: codes of dense autoencoders can be negative.
    pooled = graph.add("Mul", root, graph.add("Sign", pooled))
    parts = []
    if not model.is_alone:
        parts.append(_compressed(compression, graph, pooled))
    if model.similarities is not None:
        parts.append(_compared(model.similarities, graph, pooled))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _compressed(compression: Compression, graph: Graph, pooled: str) -> str:
    if compression.forward is None:
        return pooled
    centred = graph.add("Sub", pooled, compression.mean)
    return graph.add("MatMul", centred, compression.forward)


def _compared(similarities: Similarities, graph: Graph, pooled: str) -> str:
    """Emit the similarities of roots of pooled codes to prototypes, mapped."""
    prototypes, rate = similarities.prototypes, similarities.rate
    width = prototypes.shape[1]
    # (n_pooled, n_prototypes)
    products = graph.add("MatMul", pooled, (2 * rate * prototypes).t().contiguous())
    offsets = -rate * prototypes.square().sum(dim=1)
    products = graph.add("Add", products, offsets)
    square = graph.mean(graph.add("Mul", pooled, pooled), width)
    exponents = graph.add("Sub", products, graph.add("Mul", square, rate * width))
    # Rounding can make the square of a small distance negative.
    kernel = graph.add("Exp", graph.add("Min", exponents, 0.0))
    centred = graph.add("Sub", kernel, similarities.mean)
    return graph.add("MatMul", centred, similarities.forward)


def _normalized_patches(features: PatchFeatures, graph: Graph, rows: str) -> str:
    """Emit all patches of standardised images, one per row."""
    source = features.source
    # The pixel index of each value of each patch: one node pads and cuts.
    shape = source.image_shape
    pixels = torch.arange(math.prod(shape), device=_CPU).view(1, *shape)
    padded = pad_edges(pixels, source.padding)
    positions = cut_patches(padded, source.patch_size).flatten(0, 2)
    width = positions.shape[1]
    patches = graph.add("Gather", rows, positions, axis=1)
    patches = graph.add("Reshape", patches, [-1, width])
    if features.contrast is None:
        return patches
    centred = graph.add("Sub", patches, graph.mean(patches, width))
    square = graph.mean(graph.add("Mul", centred, centred), width)
    contrast = graph.add("Sqrt", graph.add("Add", square, features.contrast**2))
    return graph.add("Div", centred, contrast)


def _codes(of_patches: PatchFeatures, graph: Graph, patches: str) -> str:
    """Emit the codes of patches, one patch per row."""
    product = of_patches.product
    if product is not None:
        # All linear maps are combined in one product, as in the estimator.
        codes = graph.add("Gemm", patches, product.weight, product.bias)
        return graph.add("Relu", codes)
    return features(of_patches.inner, graph, patches, np.dtype(np.float32))


def _pooled(features: PatchFeatures, graph: Graph, codes: str) -> str:
    """Emit means of the codes over the cells of the grid, (n, n_pooled)."""
    (n_rows, n_columns), (down, across) = features.source.n_positions, features.grid
    n_units = features.inner.n_features_out
    stripes = graph.add("Reshape", codes, [-1, n_rows, n_columns * n_units])
    stripes = graph.add("MatMul", pooling_windows(n_rows, down), stripes)
    cells = graph.add("Reshape", stripes, [0, down, n_columns, n_units])
    cells = graph.add("MatMul", pooling_windows(n_columns, across), cells)
    return graph.add("Flatten", cells)


@reconstruction.register
def _(model: PatchModel, graph: Graph, values: str) -> str:
    source, compression = model.features.source, model.compression
    rows = graph.add("MatMul", values, compression.backward)
    rows = graph.add("Add", rows, compression.intercept)
    return restore(graph, rows, source.mean, source.scale)
