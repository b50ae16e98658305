"""Tables as nodes: one input for each column.

Numbers are tensors of floats, in which NaN is a missing value. Categories of strings
are tensors of strings, in which an empty one is missing. Dates are integers,
microseconds since 1970 in UTC, in which the smallest is missing, as numpy's are.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import singledispatch
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import TensorProto
from torch import nn

from .._data.columns import CategoryColumn, DateColumn, NumberColumn, Table
from .._data.ranges import LARGEST
from .._model.model import Model
from .._model.table import TableSide
from .._networks.numbers import Periodic, PiecewiseLinear
from .._networks.spread import HEIGHT, MISSING, TOLERANCE, EntityColumns, Spread
from .._networks.tabular import Cells, TabularAutoencoder
from ._graph import TEXT_DOMAIN, Graph
from ._networks import apply

STRING, INTEGER = TensorProto.STRING, TensorProto.INT64
_NOT_A_TIME = np.iinfo(np.int64).min
_NAN = np.array(np.nan)


class Cell(NamedTuple):
    """A column of the input.

    Parameters
    ----------
    name : str
        Name of a tensor of shape (n, 1).
    kind : int
        Type of its elements, as `TensorProto` has it.
    """

    name: str
    kind: int


def table_of(model: object) -> Table | None:
    """Return the table of a model of tables, None for other models."""
    side = model.side if isinstance(model, Model) else None
    return side.table if isinstance(side, TableSide) else None


def input_kind(column: Any, number: int) -> int:
    """Return the type of the input of a column.

    Parameters
    ----------
    column : NumberColumn, DateColumn or CategoryColumn
        The column.
    number : int
        Type of numbers.

    Raises
    ------
    TypeError
        If it holds categories for which ONNX has no type.
    """
    if column.kind == "date":
        return INTEGER
    if column.kind == "number":
        return number
    levels = [*column.levels, *column.rare]
    if all(isinstance(level, str) for level in levels):
        return STRING
    if all(isinstance(level, Real | Decimal) for level in levels):
        numbers = np.array([float(level) for level in column.levels])
        if number == TensorProto.FLOAT and len(np.unique(np.float32(numbers))) < len(
            numbers
        ):
            raise TypeError(
                f"Column {column.name!r} has categories that float32 does not tell "
                "apart. Export with dtype='float64'."
            )
        return number
    told = next(level for level in levels if not isinstance(level, str))
    raise TypeError(
        f"Column {column.name!r} has the category {told!r:.40}, for which ONNX has no "
        "type. Make strings of the column, with .astype(str), and fit again."
    )


def table_features(model: Model[TableSide], graph: Graph, cells: list[Cell]) -> str:
    """Emit the result of `transform` of a table, given a tensor for each column.

    Returns
    -------
    str
        Name of the features, (n, n_features_out), float32.
    """
    network = model.network
    assert isinstance(network, TabularAutoencoder)
    numbers, indices = _encoded(model.side.table, graph, cells)
    dense = _dense(network, graph, numbers)
    *hidden, code = _hidden(network, graph, dense, indices)
    found = code
    if model.code.features in ("stack", "spread") and hidden:
        found = graph.add("Concat", *hidden, code, axis=1)
    found = graph.add("Div", found, float(model.code.scale or 1.0))
    if model.code.features != "spread":
        return found
    assert network.cells_apart is not None
    parts = _spread(network.cells_apart, graph, dense, indices)
    return graph.add("Concat", *parts, found, axis=1)


# Columns


def _encoded(
    table: Table, graph: Graph, cells: list[Cell]
) -> tuple[str | None, str | None]:
    """Emit the numbers of rows, NaN where missing, and the indices of embeddings.

    Returns
    -------
    numbers : str or None
        Name of a tensor of shape (n, n_numbers + n_extras), float32.
    indices : str or None
        Name of a tensor of shape (n, n_categories), int64.
    """
    numbers, extras, indices = [], [], []
    offset = 0
    for column, cell in zip(table.columns, cells, strict=True):
        if isinstance(column, CategoryColumn):
            indices.append(_index(column, graph, cell, offset))
            offset += column.n_codes + 1
        elif isinstance(column, DateColumn):
            moment = _moment(column, graph, cell)
            numbers.append(_scaled(column._time, graph, moment))
            extras.append(_circles(column, graph, moment))
        else:
            numbers.append(_scaled(column, graph, _as_double(column, graph, cell)))
    known = [*numbers, *extras]
    return _joined(graph, known), _joined(graph, indices)


def _joined(graph: Graph, parts: list[str]) -> str | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _as_double(column: Any, graph: Graph, cell: Cell) -> str:
    if cell.kind == STRING:
        raise TypeError(
            f"Column {column.name!r} holds {column.kind}s, but its input is of "
            "strings. Pass numbers. In a ColumnTransformer, skl2onnx merges columns to "
            "one type: use one for each type, or none."
        )
    return graph.add("Cast", cell.name, to=TensorProto.DOUBLE)


def _scaled(column: NumberColumn, graph: Graph, numbers: str) -> str:
    """Emit what `NumberColumn.encode` gives of numbers, as float32."""
    if column.quantiles is not None:
        found = _interpolated(graph, numbers, *column.quantiles)
    else:
        centred = graph.add("Sub", numbers, np.array(column.mean))
        found = graph.add("Div", centred, np.array(column.scale))
    # Comparisons leave NaN as it is.
    for operator, bound in (("Greater", LARGEST), ("Less", -LARGEST)):
        is_beyond = graph.add(operator, found, np.array(float(bound)))
        found = graph.add("Where", is_beyond, np.array(float(bound)), found)
    return graph.add("Cast", found, to=TensorProto.FLOAT)


def _interpolated(graph: Graph, x: str, knots: Any, values: Any) -> str:
    """Emit the linear interpolation of values between knots, as numpy.interp."""
    if len(knots) == 1:
        knots, values = np.repeat(knots, 2), np.repeat(values, 2)
    widths = np.diff(knots)
    rises = np.diff(values)
    slopes = np.divide(rises, widths, out=np.zeros_like(rises), where=widths > 0)
    # Places outside of the knots have the value of the nearest one.
    inner = graph.add("Min", graph.add("Max", x, knots[:1]), knots[-1:])
    reached = graph.add("GreaterOrEqual", inner, knots[None, 1:-1])
    reached = graph.add("Cast", reached, to=INTEGER)  # (n, n_knots - 2)
    place = graph.add("ReduceSum", reached, [1])
    moved = graph.add("Sub", inner, graph.add("Gather", knots[:-1], place))
    rise = graph.add("Mul", moved, graph.add("Gather", slopes, place))
    found = graph.add("Add", rise, graph.add("Gather", values[:-1], place))
    return graph.add("Where", graph.add("IsNaN", x), _NAN, found)


def _moment(column: DateColumn, graph: Graph, cell: Cell) -> str:
    """Emit a point in time as microseconds, NaN where missing."""
    moment = _as_double(column, graph, cell)
    if cell.kind != INTEGER:
        return moment
    is_missing = graph.add("Equal", cell.name, np.array(_NOT_A_TIME))
    return graph.add("Where", is_missing, _NAN, moment)


def _circles(column: DateColumn, graph: Graph, moment: str) -> str:
    """Emit the positions in the year, the week and the day, as points on a circle."""
    factors = 2 * np.pi / np.array(column.lengths)  # (n_circles,)
    angles = graph.add("Mul", moment, factors[None])  # (n, n_circles)
    sines = graph.add("Sin", angles)
    cosines = graph.add("Sin", graph.add("Add", angles, np.array(np.pi / 2)))
    both = graph.add("Concat", sines, cosines, axis=1)
    return graph.add("Cast", both, to=TensorProto.FLOAT)


def _index(column: CategoryColumn, graph: Graph, cell: Cell, offset: int) -> str:
    """Emit the index of the embedding of a category, (n, 1).

    Categories without an embedding of their own have the next one, and missing values
    the one after the codes.
    """
    n_levels, gap = len(column.levels), offset + column.n_codes
    levels = [*column.levels, *column.rare]
    is_text = all(isinstance(level, str) for level in levels)
    if is_text != (cell.kind == STRING) and levels:
        raise TypeError(
            f"Column {column.name!r} has categories that are "
            f"{'strings' if is_text else 'numbers'}, but its input is not of these. "
            "In a ColumnTransformer, skl2onnx merges columns to one type: use one for "
            "each type, or none."
        )
    if cell.kind == STRING:
        indices = {level: offset + n for n, level in enumerate(column.levels)}
        if "" not in levels:
            indices[""] = gap
        return graph.add(
            "LabelEncoder",
            cell.name,
            domain=TEXT_DOMAIN,
            keys_strings=list(indices),
            values_int64s=list(indices.values()),
            default_int64=offset + n_levels,
        )
    number = graph.add("Cast", cell.name, to=TensorProto.DOUBLE)
    found = graph.add("Mul", graph.add("Cast", number, to=INTEGER), np.array(0))
    if n_levels:
        known = np.array([[float(level) for level in column.levels]])
        if cell.kind == TensorProto.FLOAT:
            known = known.astype(np.float32).astype(np.float64)
        is_level = graph.add("Equal", number, known)  # (n, n_levels)
        back = np.arange(n_levels) - n_levels
        steps = graph.add("Mul", graph.add("Cast", is_level, to=INTEGER), back[None])
        found = graph.add("ReduceSum", steps, [1])
    found = graph.add("Add", found, np.array(offset + n_levels))
    return graph.add("Where", graph.add("IsNaN", number), np.array(gap), found)


# The network


def _dense(
    network: TabularAutoencoder, graph: Graph, numbers: str | None
) -> str | None:
    """Emit the numbers that the first layers get, (n, n_inputs)."""
    if numbers is None:
        return None
    missing = graph.add("IsNaN", numbers)
    known = graph.add("Where", missing, np.float32(0), numbers)
    parts = [known]
    n_numbers = network.n_numbers
    width = n_numbers + network.config["n_extras"]
    own, is_gap = known, missing
    if n_numbers < width:
        own = graph.add("Slice", known, [0], [n_numbers], [1])
        is_gap = graph.add("Slice", missing, [0], [n_numbers], [1])
    if n_numbers:
        parts.append(graph.add("Cast", is_gap, to=TensorProto.FLOAT))
    if network.number_encoding is not None and n_numbers:
        parts.append(encode_numbers(network.number_encoding, graph, own))
    return graph.add("Concat", *parts, axis=1)


@singledispatch
def encode_numbers(encoding: nn.Module, graph: Graph, numbers: str) -> str:
    """Emit the additional inputs of numbers, (n, n_numbers * width)."""
    raise TypeError(f"{type(encoding).__name__} cannot be exported to ONNX.")


@encode_numbers.register
def _(encoding: PiecewiseLinear, graph: Graph, numbers: str) -> str:
    edges = encoding.edges.cpu()
    lower, upper = edges[:, :-1], edges[:, 1:]  # (n_numbers, width) each
    width = upper - lower
    is_point = width == 0
    tall = graph.add("Unsqueeze", numbers, [2])  # (n, n_numbers, 1)
    filled = graph.add("Sub", tall, lower[None])
    filled = graph.add("Div", filled, width.masked_fill(is_point, 1)[None])
    reached = graph.add("GreaterOrEqual", tall, upper[None])
    reached = graph.add("Cast", reached, to=TensorProto.FLOAT)
    filled = graph.add("Where", is_point[None], reached, filled)
    highest = torch.full(width.shape, 1.0)
    lowest = torch.full(width.shape, 0.0)
    # The first bin has no lower limit, and the last one no upper limit.
    lowest[:, 0], highest[:, -1] = -math.inf, math.inf
    filled = graph.add("Max", filled, lowest[None])
    filled = graph.add("Min", filled, highest[None])
    return graph.add("Flatten", filled)


@encode_numbers.register
def _(encoding: Periodic, graph: Graph, numbers: str) -> str:
    tall = graph.add("Unsqueeze", numbers, [2])  # (n, n_numbers, 1)
    turns = graph.add("Mul", tall, 2 * math.pi)
    angles = graph.add("Mul", turns, encoding.frequencies[None])
    both = graph.add(
        "Concat", graph.add("Sin", angles), graph.add("Cos", angles), axis=2
    )
    return graph.add("Flatten", both)


def _hidden(
    network: TabularAutoencoder, graph: Graph, dense: str | None, indices: str | None
) -> list[str]:
    """Emit the hidden activations, and the code as the last."""
    linear = _cells(network.skip_inward, graph, dense, indices)
    if network.inward is None:
        return [linear]
    first = _cells(network.inward, graph, dense, indices)
    found = [apply(network.activate, graph, first)]
    for layer in list(network.encoder)[:-1]:
        found.append(apply(network.activate, graph, apply(layer, graph, found[-1])))
    code = apply(network.encoder[-1], graph, found[-1])
    return [*found, graph.add("Add", code, linear)]


def _spread(
    spread: Spread, graph: Graph, dense: str | None, indices: str | None
) -> list[str]:
    """Emit the cells of rows as columns for a linear model, in parts, (n, width)."""
    parts = []
    if dense is not None:
        parts.append(graph.add("Slice", dense, [0], [spread.n_plain], [1]))
    kept = spread.kept.cpu().flatten().nonzero().ravel()
    if dense is not None and len(kept):
        numbers = graph.add("Slice", dense, [0], [len(spread.bins.edges)], [1])
        bins = encode_numbers(spread.bins, graph, numbers)
        bins = graph.add("Gather", bins, kept, axis=1)  # (n, n_kept)
        bins = graph.add("Max", bins, np.float32(0))
        parts.append(graph.add("Min", bins, np.float32(1)))
    if indices is not None:
        units = np.eye(spread.n_indices, dtype=np.float32)
        rows = graph.add("Gather", units, indices)  # (n, n_categories, n_indices)
        parts.append(graph.add("ReduceSum", rows, [1], keepdims=0))
    if spread.kinds:
        cells = _to_compare(spread, graph, dense, indices)
        parts += [_entities(kind, graph, cells) for kind in spread.kinds]
    return parts


def _to_compare(
    spread: Spread, graph: Graph, dense: str | None, indices: str | None
) -> str:
    """Emit the cells that entities are compared with, (n, n_numbers + n_categories)."""
    cells = []
    if dense is not None:
        n_numbers = len(spread.bins.edges)
        end = spread.n_plain
        missing = graph.add("Slice", dense, [end - n_numbers], [end], [1])
        missing = graph.add("Mul", missing, np.float32(MISSING))
        numbers = graph.add("Slice", dense, [0], [n_numbers], [1])
        cells.append(graph.add("Add", numbers, missing))
    if indices is not None:
        cells.append(graph.add("Cast", indices, to=TensorProto.FLOAT))
    return cells[0] if len(cells) == 1 else graph.add("Concat", *cells, axis=1)


def _entities(kind: EntityColumns, graph: Graph, cells: str) -> str:
    """Emit a column for each entity of a kind, (n, n_entities)."""
    values = kind.values.cpu().numpy()
    found = graph.add("Gather", cells, np.array(kind.columns), axis=1)
    found = graph.add("Unsqueeze", found, [1])  # (n, 1, n_columns)
    found = graph.add("Abs", graph.add("Sub", found, values))
    limits = np.float32(TOLERANCE) * (1 + np.abs(values))
    # (n, n_entities, n_columns)
    found = graph.add("Cast", graph.add("Greater", found, limits), to=TensorProto.FLOAT)
    n_different = graph.add("ReduceSum", found, [2], keepdims=0)
    is_equal = graph.add("Equal", n_different, np.float32(0))
    is_equal = graph.add("Cast", is_equal, to=TensorProto.FLOAT)
    return graph.add("Mul", is_equal, np.float32(HEIGHT))


def _cells(layer: Cells, graph: Graph, dense: str | None, indices: str | None) -> str:
    """Emit a linear map of numbers and embedded codes, (n, width)."""
    found: Any = layer.numbers.bias
    if dense is not None:
        found = apply(layer.numbers, graph, dense)
    if indices is None:
        assert isinstance(found, str)
        return found
    rows = graph.add("Gather", layer.embeddings, indices)  # (n, n_categories, width)
    summed = graph.add("ReduceSum", rows, [1], keepdims=0)
    return graph.add("Add", summed, found)
