"""Maps between the user's rows and a network, in both directions, as nodes."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .._data.ranges import restored_type
from .._data.rows import computing_type
from .._objectives.losses import BinaryCrossEntropy, Loss, Poisson
from .._preparation.preparation import Invertible
from .._preparation.row_normalization import RowNormalization
from .._preparation.whitening import Whitening
from ._graph import Graph


def with_total(graph: Graph, rows: str, total: float, dtype: np.dtype) -> str:
    """Emit rows scaled to one total; rows of zeros are kept."""
    totals = graph.add("ReduceSum", rows, [-1])
    totals = graph.add("Max", totals, np.asarray(1e-30 * total, dtype=dtype))
    factors = graph.add("Div", np.asarray(total, dtype=dtype), totals)
    return graph.add("Mul", rows, factors)


def standardise(
    graph: Graph,
    rows: str,
    mean: NDArray[np.float64] | float,
    scale: float,
    dtype: np.dtype,
) -> str:
    """Emit the standardised float32 rows, computed in the rows' own precision."""
    computed = computing_type(dtype, np.atleast_1d(mean), scale)
    if computed != dtype:
        rows = graph.add("Cast", rows, to=TensorProto.DOUBLE)
    centred = graph.add("Sub", rows, np.asarray(mean, dtype=computed))
    scaled = graph.add("Div", centred, np.asarray(scale, dtype=computed))
    if computed == np.float32:
        return scaled
    return graph.add("Cast", scaled, to=TensorProto.FLOAT)


def restore(
    graph: Graph, rows: str, mean: NDArray[np.float64] | float, scale: float
) -> str:
    """Emit rows in the units of the data, in the type of `inverse_transform`."""
    dtype = restored_type(mean, scale)
    if dtype == np.float64:
        rows = graph.add("Cast", rows, to=TensorProto.DOUBLE)
    rows = graph.add("Mul", rows, np.asarray(scale, dtype=dtype))
    return graph.add("Add", rows, np.asarray(mean, dtype=dtype))


# Preparation


@singledispatch
def forward(step: Invertible, graph: Graph, rows: str) -> str:
    """Emit a map of rows or codes."""
    raise TypeError(f"{type(step).__name__} cannot be exported to ONNX.")


@singledispatch
def inverse(step: Invertible, graph: Graph, rows: str) -> str:
    """Emit the inverse of a map."""
    raise TypeError(f"{type(step).__name__} cannot be exported to ONNX.")


@forward.register
def _(step: Whitening, graph: Graph, rows: str) -> str:
    if step.mean is not None:
        rows = graph.add("Sub", rows, step.mean)
    return graph.add("MatMul", rows, step.matrix)


@inverse.register
def _(step: Whitening, graph: Graph, rows: str) -> str:
    rows = graph.add("MatMul", rows, step.inverse_matrix)
    return rows if step.mean is None else graph.add("Add", rows, step.mean)


@forward.register
def _(step: RowNormalization, graph: Graph, rows: str) -> str:
    square = graph.mean(graph.add("Mul", rows, rows), len(step.mean))
    length = graph.add("Sqrt", graph.add("Add", square, step.regularization**2))
    centred = graph.add("Sub", graph.add("Div", rows, length), step.mean)
    return graph.add("Div", centred, step.scale)


@inverse.register
def _(step: RowNormalization, graph: Graph, rows: str) -> str:
    rows = graph.add("Add", graph.add("Mul", rows, step.scale), step.mean)
    share = graph.mean(graph.add("Mul", rows, rows), len(step.mean))
    square = step.regularization**2
    lowest = square / (step.longest + square)
    left = graph.add("Max", graph.add("Sub", 1.0, share), lowest)
    stretch = graph.add("Sqrt", graph.add("Div", square, left))
    return graph.add("Mul", rows, stretch)


# Losses


@singledispatch
def mean(loss: Loss, graph: Graph, output: str) -> str:
    """Emit the standardised rows that a network's output means."""
    return output


@mean.register
def _(loss: BinaryCrossEntropy, graph: Graph, output: str) -> str:
    moved = graph.add("Add", graph.add("Mul", output, loss.gain), loss.logit)
    shares = graph.add("Sigmoid", moved)
    return graph.add("Div", graph.add("Sub", shares, loss.center), float(loss.scale))


@mean.register
def _(loss: Poisson, graph: Graph, output: str) -> str:
    lower = graph.add("Min", output, float(loss.bend))
    rate = graph.add("Softplus", graph.add("Add", lower, loss.shift))
    beyond = graph.add("Relu", graph.add("Sub", output, lower))
    root = graph.add("Add", graph.add("Mul", beyond, loss.slope), 1.0)
    rate = graph.add("Mul", rate, graph.add("Mul", root, root))
    return graph.add("Sub", rate, loss.center / loss.scale)
