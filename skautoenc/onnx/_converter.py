"""Converters for skl2onnx, which make estimators part of a pipeline's graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.helper import get_attribute_value
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, guess_proto_type
from sklearn.utils.validation import check_is_fitted

from .._persistence.saving import public_estimators
from ._estimators import features, refuse_without_graph
from ._graph import OPSET, TEXT_DOMAIN, TEXT_OPSET, Graph
from ._tables import Cell, table_features, table_of


def register() -> None:
    """Register the estimators with skl2onnx."""
    for kind in public_estimators():
        name = f"Skautoenc{kind.__name__}"
        update_registered_converter(kind, name, _set_shape, _convert)


def _set_shape(operator: Any) -> None:
    """Set type and shape of an estimator's output."""
    estimator = operator.raw_operator
    check_is_fitted(estimator)
    refuse_without_graph(estimator)
    n_rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type.shape = [n_rows, estimator._model.n_features_out]


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator to the graph of a pipeline."""
    if container.target_opset_onnx < OPSET:
        raise ValueError(
            f"target_opset must be {OPSET} or more for autoencoders, got "
            f"{container.target_opset_onnx}."
        )
    graph = Graph(scope.get_unique_variable_name)
    model = operator.raw_operator._model
    if table_of(model) is not None:
        found = table_features(model, graph, _cells(graph, operator))
    else:
        dtype, rows = _rows(graph, operator.inputs)
        found = features(model, graph, rows, dtype)
    for tensor in graph.constants:
        container.add_initializer(tensor.name, tensor.data_type, tensor.dims, tensor)
    for node in graph.nodes:
        attributes = {a.name: get_attribute_value(a) for a in node.attribute}
        container.add_node(
            node.op_type,
            list(node.input),
            list(node.output),
            name=node.name,
            op_domain=node.domain,
            op_version=TEXT_OPSET if node.domain == TEXT_DOMAIN else OPSET,
            **attributes,
        )
    # For float64 rows, skl2onnx expects float64 features in the rest of the pipeline.
    output = operator.outputs[0]
    kind = guess_proto_type(output.type)
    container.add_node("Cast", found, output.full_name, to=kind)


def _rows(graph: Graph, inputs: list[Any]) -> tuple[np.dtype, str]:
    """Emit the rows of one or more inputs as one matrix; return its name and type."""
    names = [variable.full_name for variable in inputs]
    kinds = [type(variable.type) for variable in inputs]
    # As in the estimator: float32 is kept, other types become float64.
    is_single = all(kind is FloatTensorType for kind in kinds)
    dtype = np.dtype(np.float32 if is_single else np.float64)
    if not is_single:
        names = [graph.add("Cast", name, to=TensorProto.DOUBLE) for name in names]
    return dtype, names[0] if len(names) == 1 else graph.add("Concat", *names, axis=1)


def _cells(graph: Graph, operator: Any) -> list[Cell]:
    """Emit each column of the inputs as a tensor of its own."""
    found = []
    for variable in _in_order(operator):
        kind, width = guess_proto_type(variable.type), variable.type.shape[1]
        if width == 1:
            found.append(Cell(variable.full_name, kind))
            continue
        for place in range(width or 0):
            column = graph.add("Gather", variable.full_name, [place], axis=1)
            found.append(Cell(column, kind))
    n_columns = operator.raw_operator.n_features_in_
    if len(found) != n_columns:
        raise ValueError(
            f"The inputs have {len(found)} columns, but the table has {n_columns}. "
            "Give one input of shape [None, 1] for each column."
        )
    return found


def _in_order(operator: Any) -> list[Any]:
    """Return the inputs in the order of the columns, where they have their names."""
    inputs = {variable.raw_name: variable for variable in operator.inputs}
    names = getattr(operator.raw_operator, "feature_names_in_", [])
    if inputs.keys() == set(names):
        return [inputs[name] for name in names]
    return list(operator.inputs)
