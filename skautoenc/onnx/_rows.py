"""What lies between rows as they are and a network, as nodes, there and back."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .._objectives.losses import BinaryCrossEntropy, Loss, Poisson
from .._preparation.preparation import Invertible
from .._preparation.row_normalization import RowNormalization
from .._preparation.whitening import Whitening
from ._graph import Graph


def standardise(
    graph: Graph,
    rows: str,
    mean: NDArray[np.float64] | float,
    scale: float,
    dtype: np.dtype,
) -> str:
    """Emit the standardised float32 rows, computed in the precision that they have."""
    centred = graph.add("Sub", rows, np.asarray(mean, dtype=dtype))
    scaled = graph.add("Div", centred, np.asarray(scale, dtype=dtype))
    if dtype == np.float32:
        return scaled
    return graph.add("Cast", scaled, to=TensorProto.FLOAT)


def restore(
    graph: Graph, rows: str, mean: NDArray[np.float64] | float, scale: float
) -> str:
    """Emit rows in the units of the data."""
    rows = graph.add("Mul", rows, np.float32(scale))
    return graph.add("Add", rows, np.asarray(mean, dtype=np.float32))


# Preparation


@singledispatch
def forward(step: Invertible, graph: Graph, rows: str) -> str:
    """Emit a map of rows or codes."""
    raise TypeError(f"{type(step).__name__} cannot be exported to ONNX.")


@singledispatch
def inverse(step: Invertible, graph: Graph, rows: str) -> str:
    """Emit the way back."""
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
    """Emit the standardised rows that a network's output stands for."""
    return output


@mean.register
def _(loss: BinaryCrossEntropy, graph: Graph, output: str) -> str:
    moved = graph.add("Add", graph.add("Mul", output, loss.gain), loss.logit)
    shares = graph.add("Sigmoid", moved)
    return graph.add("Div", graph.add("Sub", shares, loss.center), float(loss.scale))


@mean.register
def _(loss: Poisson, graph: Graph, output: str) -> str:
    rate = graph.add("Softplus", graph.add("Add", output, loss.shift))
    return graph.add("Sub", rate, loss.center / loss.scale)
