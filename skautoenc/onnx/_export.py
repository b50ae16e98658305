"""Export of a single estimator."""

from __future__ import annotations

import json
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike
from onnx import ModelProto, helper
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._data.ranges import restored_type
from .._estimators.fitted import FittedEstimator
from .._version import __version__
from ._estimators import features, reconstruction, refuse_without_graph
from ._graph import OPSET, Graph

_OPSETS = [helper.make_opsetid("", OPSET)]
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
            PatchAutoencoderTransformer or VariationalAutoencoder
        Fitted autoencoder. A `network` of your own is not supported.

    part : {"encoder", "autoencoder"}, default="encoder"
        "encoder" exports `transform`, with an output "features". "autoencoder" exports
        `transform` followed by `inverse_transform`, with an output "reconstruction".

    dtype : {float32, float64}, default=float32
        Type of the input "X", of shape (n_samples, n_features) for any number of rows.
        Use float64 for columns whose values are large compared with their spread: they
        are centred before the cast to float32, as in the estimator.

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
        If the estimator is not an autoencoder, takes frames, or has a `network` of
        your own.
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
    numbers = count()
    graph = Graph(lambda word: f"{word}_{next(numbers)}")
    found = features(model, graph, "X", dtype)
    width, found_type = model.n_features_out, np.dtype(np.float32)
    if part == "autoencoder":
        found = reconstruction(model, graph, found)
        width = estimator.n_features_in_
    if part == "autoencoder" or getattr(estimator, "features_", "") == "reconstruction":
        found_type = restored_type(estimator.mean_, estimator.scale_)
    name = _OUTPUTS[part]
    graph.nodes.append(helper.make_node("Identity", [found], [name]))
    kind, found_kind = map(helper.np_dtype_to_tensor_dtype, (dtype, found_type))
    exported = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(estimator).__name__,
            [
                helper.make_tensor_value_info(
                    "X", kind, [None, estimator.n_features_in_]
                )
            ],
            [helper.make_tensor_value_info(name, found_kind, [None, width])],
            graph.constants,
        ),
        opset_imports=_OPSETS,
        # Older than the installed onnx would set, to support older runtimes.
        ir_version=helper.find_min_ir_version_for(_OPSETS),
        producer_name="skautoenc",
        producer_version=__version__,
    )
    helper.set_model_props(exported, _names(estimator))
    return exported


def _names(estimator: BaseEstimator) -> dict[str, str]:
    """Return names of columns and features as JSON."""
    names = {"feature_names_out": estimator.get_feature_names_out()}
    if hasattr(estimator, "feature_names_in_"):
        names["feature_names_in"] = estimator.feature_names_in_
    return {key: json.dumps(list(value)) for key, value in names.items()}
