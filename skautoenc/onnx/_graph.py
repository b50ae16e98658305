"""Nodes and constants of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import make_node
from onnx.numpy_helper import from_array
from torch import Tensor

# The first version of ONNX with all operators used here. They have not changed since,
# so present runtimes support it.
OPSET = 13
# Operators on strings, in a domain of their own.
TEXT_DOMAIN, TEXT_OPSET = "ai.onnx.ml", 2


class Graph:
    """A graph that is built node by node.

    Parameters
    ----------
    unique_name : callable
        Returns a name based on a word that the model does not have yet.

    Attributes
    ----------
    nodes : list of NodeProto
        Nodes in the order of computation.
    constants : list of TensorProto
        Equal constants are stored once: a tied decoder shares the encoder's weights.
    """

    def __init__(self, unique_name: Callable[[str], str]) -> None:
        self.unique_name = unique_name
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: dict[tuple[Any, ...], str] = {}

    def add(
        self, operator: str, *inputs: Any, n_outputs: int = 1, **attributes: Any
    ) -> str:
        """Add a node.

        Parameters
        ----------
        operator : str
            Type of the operator.
        *inputs : str, Tensor, ndarray, float or list of int
            Names of computed values, or constants; floats are float32.
        n_outputs : int
            Number of outputs of the operator.
        **attributes : dict
            Attributes of the operator.

        Returns
        -------
        str
            Name of the first output.
        """
        names = [v if isinstance(v, str) else self._constant(v) for v in inputs]
        outputs = [self.unique_name(operator.lower()) for _ in range(n_outputs)]
        name = self.unique_name(f"{operator.lower()}_node")
        self.nodes.append(make_node(operator, names, outputs, name, **attributes))
        return outputs[0]

    @property
    def has_text(self) -> bool:
        """Whether there are operators on strings."""
        return any(node.domain == TEXT_DOMAIN for node in self.nodes)

    def mean(self, values: str, width: int) -> str:
        """Add the mean over the last axis, of length `width`, which is kept as one."""
        # ReduceMean takes its axes in different ways in different versions.
        return self.add("Mul", self.add("ReduceSum", values, [-1]), 1 / width)

    def _constant(self, value: Any) -> str:
        array = _as_array(value)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._names:
            self._names[key] = self.unique_name("constant")
            self.constants.append(from_array(array, self._names[key]))
        return self._names[key]


def _as_array(value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, float):
        value = np.float32(value)
    return np.asarray(value)
