"""Fitted estimators as ONNX graphs.

`to_onnx` turns one estimator into a model. Importing this module also registers the
estimators with skl2onnx, so ``skl2onnx.to_onnx`` converts pipelines with them.
"""

try:
    import onnx  # noqa: F401
    import skl2onnx  # noqa: F401
except ImportError as error:
    raise ImportError(
        "skautoenc.onnx needs onnx and skl2onnx. Install them with "
        'pip install "skautoenc[onnx]".'
    ) from error

from ._converter import register
from ._export import to_onnx

__all__ = ["to_onnx"]

register()
