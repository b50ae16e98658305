"""Common base of fitted estimators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._data.array_api import as_given
from .._data.blocks import Blocks, as_matrix, refuse_parts
from .._data.streamed import StreamedMatrix
from .._data.validation import as_configured_frame, check_rows
from .._networks.autoencoder import Autoencoder
from .._persistence.saving import Savable, describe_tables, restore_tables
from .lazy import LazyOutput
from .parameters import Parameters


class ModelHolder(CallbackSupportMixin, Savable, ABC):
    """Base of estimators whose fitted attributes describe a model.

    Methods apply `_model`. It is made once, by a fit or from the attributes of an
    estimator that is loaded, and is never pickled or saved itself. It does not change,
    so several threads may apply it at the same time.
    """

    # The attribute that a fit sets last: an estimator that has it is fitted.
    _last_attribute: ClassVar[str]
    _model: Any

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    if TYPE_CHECKING:
        # scikit-learn's methods have no types, and chains would lose their class.
        def set_callbacks(self, *callbacks: Any) -> Self: ...
        def set_fit_request(self, **requests: bool | str | None) -> Self: ...

    @abstractmethod
    def _make_model(self) -> Any:
        """Make the model from the fitted attributes."""

    def __sklearn_is_fitted__(self) -> bool:
        return "_model" in vars(self)

    def __getstate__(self) -> dict[str, Any]:
        state = describe_tables(super().__getstate__())
        state.pop("_model", None)
        if "network_" in state:
            state["network_"] = state["network_"].state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = restore_tables(state)
        if "network_" in state:
            state = {**state, "network_": Autoencoder.from_state(state["network_"])}
        super().__setstate__(state)
        if self._last_attribute in state:
            self._model = self._make_model()


class FittedEstimator(
    LazyOutput,
    ModelHolder,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    Parameters,
    ABC,
):
    """A transformer whose fitted attributes describe a model."""

    if TYPE_CHECKING:

        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self: ...

    # Validates a matrix. Estimators of images also determine the image shape in it.
    _check_rows = check_rows

    def _check_blocks(self, X: Blocks, *, reset: bool, min_rows: int) -> StreamedMatrix:
        """Validate the blocks of a fit; return a matrix that reads them."""

        def check(block: Any, first_row: int, *, is_new: bool) -> Any:
            is_first = is_new and first_row == 0
            return self._check_rows(
                block, reset=reset and is_first, first_row=first_row
            )

        return as_matrix(X, check, min_rows)

    def _read_rows(self, X: Any) -> Any:
        """Validate the data of `transform` and similar methods; return a matrix."""
        return self._check_rows(X, reset=False)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Train, then encode the training data.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Training data, as in `fit`.

        y : Ignored
            Not used by the fit, see `fit`.

        **fit_params : dict
            Further arguments of `fit`, such as `sample_weight`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            Output of `transform`.

        Raises
        ------
        TypeError
            If `X` is :class:`Blocks`, whose codes may not fit into memory.
        """
        refuse_parts(X)
        return super().fit_transform(X, y, **fit_params)

    def _transform(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        features: NDArray[np.float32] = self._model.encode(self._read_rows(X))
        return features if type(X) is np.ndarray else as_given(features, X)

    def _as_frame(self, values: NDArray[Any], original: Any) -> Any:
        """Return rows as the frame or the array that the user expects."""
        columns = getattr(self, "feature_names_in_", None)
        return as_given(as_configured_frame(self, values, columns, original), original)

    @property
    def _n_features_out(self) -> int:
        return int(self._model.n_features_out)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
