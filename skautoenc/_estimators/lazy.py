"""Methods of fitted estimators that take Dask collections and return some."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.lazy import lazy_rows, map_rows

_METHODS = "transform", "inverse_transform", "score_samples"


class LazyOutput:
    """Applies methods to the partitions of a Dask collection when it is computed.

    scikit-learn puts results of `transform` into the frame that `set_output` asks for,
    which would load them. A class therefore names this base before
    :class:`~sklearn.base.TransformerMixin`.
    """

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        for name in (*_METHODS, "fit_transform"):
            method = vars(cls).get(name)
            if callable(method):
                setattr(cls, name, _lazy(method, name))


def _lazy(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a method that maps Dask collections, and is `method` for other data."""

    @wraps(method)
    def call(self: Any, X: Any, *args: Any, **others: Any) -> Any:
        if type(X) is np.ndarray or (rows := lazy_rows(X)) is None:
            return method(self, X, *args, **others)
        if name == "fit_transform":
            return self.fit(X, *args, **others).transform(X)
        return _map(self, name, rows)

    return call


def _map(estimator: Any, name: str, X: Any) -> Any:
    check_is_fitted(estimator)
    # A later fit must not change what is computed then.
    fitted = copy.copy(estimator)
    # Settings of this thread are not those of the workers.
    fitted.set_output(transform=_output(estimator))
    like = _result_for_no_rows(fitted, name, X)
    return map_rows(partial(_call, fitted, name), X, like)


def _call(fitted: Any, name: str, part: Any) -> Any:
    return getattr(fitted, name)(part)


def _output(estimator: Any) -> str:
    library: str = _get_output_config("transform", estimator)["dense"]
    if library not in ("default", "pandas"):
        raise ValueError(
            f"Dask has no frames of {library}. Use set_output(transform='pandas') or "
            "'default' for Dask collections."
        )
    return library


def _result_for_no_rows(fitted: Any, name: str, X: Any) -> Any:
    """Return what a method gives; raise its error if the columns are wrong."""
    if name == "inverse_transform":
        found = fitted.inverse_transform(_one_row(X))
        return found[:0]
    of_tables = fitted.__sklearn_tags__().input_tags.categorical
    if X.ndim == 2 and not of_tables:
        given = np.empty((0, X.shape[1])) if hasattr(X, "rechunk") else X._meta
        validate_data(fitted, given, reset=False, skip_check_array=True)
    if name == "score_samples":
        return np.empty(0, dtype=np.float32 if of_tables else np.float64)
    like = np.empty((0, fitted._n_features_out), dtype=_feature_type(fitted))
    if _output(fitted) == "default":
        return like
    return pd.DataFrame(like, columns=fitted.get_feature_names_out())


def _one_row(X: Any) -> Any:
    """Return one row of zeros, with the columns of a collection of codes."""
    if hasattr(X, "rechunk"):
        return np.zeros((1, *X.shape[1:]), dtype=np.float32)
    return pd.DataFrame(0.0, index=[0], columns=X._meta.columns)


def _feature_type(fitted: Any) -> np.dtype:
    """Return the type of features, which are codes or reconstructed rows."""
    if getattr(fitted, "features_", None) != "reconstruction":
        return np.dtype(np.float32)
    row = np.zeros((1, fitted._n_features_out))
    return np.asarray(fitted.inverse_transform(row)).dtype
