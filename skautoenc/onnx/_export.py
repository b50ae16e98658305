"""Export of a single estimator."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike
from onnx import ModelProto, ValueInfoProto, helper
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._about import __version__
from .._data.ranges import restored_type
from .._estimators.fitted import FittedEstimator
from ._estimators import features, reconstruction, refuse_without_graph
from ._graph import OPSET, TEXT_DOMAIN, TEXT_OPSET, Graph
from ._tables import Cell, input_kind, table_features, table_of

_OPSETS = [helper.make_opsetid("", OPSET)]
_TEXT_OPSET = helper.make_opsetid(TEXT_DOMAIN, TEXT_OPSET)
_OUTPUTS = {"encoder": "features", "autoencoder": "reconstruction"}


def to_onnx(
    estimator: BaseEstimator,
    part: Literal["encoder", "autoencoder"] = "encoder",
    *,
    dtype: DTypeLike = np.float32,
) -> ModelProto:
    """Export a fitted autoencoder.

    Parameters
    ----------
    estimator : AutoencoderTransformer, ConvAutoencoderTransformer, \
            PatchAutoencoderTransformer, TabularAutoencoderTransformer, \
            VariationalAutoencoder or ConvVariationalAutoencoder
        Fitted autoencoder. A `network` of your own is not supported.

    part : {"encoder", "autoencoder"}, default="encoder"
        "encoder" exports `transform`, with an output "features". "autoencoder" exports
        `transform` followed by `inverse_transform`, with an output "reconstruction",
        which tables do not have.

    dtype : {float32, float64}, default=float32
        Type of the input "X", of shape (n_samples, n_features) for any number of rows.
        Use float64 for columns whose values are large compared with their spread: they
        are centred before the cast to float32, as in the estimator. The graph of a
        table has an input of shape (n_samples, 1) for each column, with its name:
        numbers, and categories that are numbers or booleans, have this type, with NaN
        for missing values. Categories that are strings have strings, of which an empty
        one is missing, and dates have int64, microseconds since 1970 in UTC, of which
        the smallest is missing: ``values.astype("M8[us]").astype(np.int64)``.

    Returns
    -------
    onnx.ModelProto
        Model of ONNX opset 13. Its metadata "feature_names_in" and "feature_names_out"
        hold the estimator's `feature_names_in_` (if defined) and the output of
        `get_feature_names_out`, as lists in JSON.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is not an autoencoder, has a `network` of your own, or holds
        categories for which ONNX has no type.
    ValueError
        If `part` or `dtype` is not one of these values.

    Notes
    -----
    Results equal the results of the estimator up to float32 rounding. In a
    sparse code, an activation close to the threshold may fall on the other side of it.

    Examples
    --------
    >>> import numpy as np
    >>> from onnxruntime import InferenceSession
    >>> from sklearn.datasets import load_digits
    >>> from skautoenc import AutoencoderTransformer
    >>> from skautoenc.onnx import to_onnx
    >>> X = load_digits().data.astype(np.float32)
    >>> autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
    >>> model = to_onnx(autoencoder)
    >>> session = InferenceSession(model.SerializeToString())
    >>> (code,) = session.run(["features"], {"X": X})
    >>> bool(np.allclose(code, autoencoder.transform(X), atol=1e-4))
    True
    """
    if part not in _OUTPUTS:
        raise ValueError(f"part must be 'encoder' or 'autoencoder', got {part!r}.")
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype.name}.")
    refuse_without_graph(estimator)
    if not isinstance(estimator, FittedEstimator):
        raise TypeError(
            f"to_onnx takes a fitted autoencoder, got {type(estimator).__name__}. For "
            "a pipeline, import skautoenc.onnx and call skl2onnx.to_onnx."
        )
    check_is_fitted(estimator)
    model = estimator._model
    inputs = _inputs(estimator, dtype)
    graph = Graph(_names_beside({each.name for each in inputs}))
    if table_of(model) is not None:
        _refuse_part(estimator, part)
        cells = [Cell(each.name, each.type.tensor_type.elem_type) for each in inputs]
        found = table_features(model, graph, cells)
    else:
        found = features(model, graph, "X", dtype)
    width, found_type = model.n_features_out, np.dtype(np.float32)
    if part == "autoencoder":
        found = reconstruction(model, graph, found)
        width = estimator.n_features_in_
    if part == "autoencoder" or getattr(estimator, "features_", "") == "reconstruction":
        found_type = restored_type(estimator.mean_, estimator.scale_)
    name = _OUTPUTS[part]
    graph.nodes.append(helper.make_node("Identity", [found], [name]))
    found_kind = helper.np_dtype_to_tensor_dtype(found_type)
    opsets = _OPSETS if not graph.has_text else [*_OPSETS, _TEXT_OPSET]
    exported = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(estimator).__name__,
            inputs,
            [helper.make_tensor_value_info(name, found_kind, [None, width])],
            graph.constants,
        ),
        opset_imports=opsets,
        # Older than the installed onnx would set, to support older runtimes.
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="skautoenc",
        producer_version=__version__,
    )
    helper.set_model_props(exported, _names(estimator))
    return exported


def _inputs(estimator: Any, dtype: np.dtype) -> list[ValueInfoProto]:
    """Return the inputs of a graph: one for all rows, or one for each column."""
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    make = helper.make_tensor_value_info
    table = table_of(estimator._model)
    if table is None:
        return [make("X", kind, [None, estimator.n_features_in_])]
    columns = table.columns
    for column in columns:
        if str(column.name) in _OUTPUTS.values():
            raise ValueError(
                f"A column has the name {column.name!r}, which the output of the graph "
                "has, too. Rename it, and fit again."
            )
    return [make(str(c.name), input_kind(c, kind), [None, 1]) for c in columns]


def _names_beside(taken: set[str]) -> Callable[[str], str]:
    """Return a function that makes new names of words, none of them taken."""
    numbers = count()

    def unique_name(word: str) -> str:
        names = (f"{word}_{number}" for number in numbers)
        return next(name for name in names if name not in taken)

    return unique_name


def _refuse_part(estimator: BaseEstimator, part: str) -> None:
    if part != "encoder":
        raise ValueError(
            f"part must be 'encoder' for {type(estimator).__name__}, whose columns are "
            f"of several types. Got {part!r}."
        )


def _names(estimator: BaseEstimator) -> dict[str, str]:
    """Return names of columns and features as JSON."""
    names = {"feature_names_out": estimator.get_feature_names_out()}
    if hasattr(estimator, "feature_names_in_"):
        names["feature_names_in"] = estimator.feature_names_in_
    return {key: json.dumps(list(value)) for key, value in names.items()}
