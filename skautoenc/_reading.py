"""What a fitted autoencoder does with rows and codes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._input import (
    TrainingData,
    as_configured_frame,
    check_codes,
    check_rows,
    check_weights,
)
from ._saving import Savable, describe_tables, restore_tables
from .losses import LOSSES, Loss
from .networks import Autoencoder
from .networks.weights import device_of
from .training import Preparation, RowMap, RowNormalization, Rows, Whitening, read


class FittedAutoencoder(
    Savable, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Encode, decode and score, by fitted attributes alone.

    Nothing here changes the estimator: threads may read at the same time.
    """

    mean_: NDArray[np.float64]
    scale_: float
    whitening_: NDArray[np.float32] | None
    dewhitening_: NDArray[np.float32] | None
    code_mean_: NDArray[np.float32] | None
    code_whitening_: NDArray[np.float32] | None
    code_dewhitening_: NDArray[np.float32] | None
    features_: str
    loss_function_: str
    network_: Autoencoder
    n_components_: int
    n_features_in_: int
    _row_normalization: dict[str, Any] | None
    _loss_constants: dict[str, float]

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The code, one column a component; with ``features="stack"`` the hidden
            activations before it, from the first layer on.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        return self._encode(self._check_rows(X, reset=False))

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            What `transform` gives. Of a stack the code alone, its last
            `n_components` columns, is enough.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32
            The reconstruction, in the units of the training data, to the seven digits
            of float32. A frame with the training data's columns if the estimator was
            fitted on a frame and `set_output` asks for one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has another number of columns than the code, or values that are
            not finite.
        """
        check_is_fitted(self)
        code = check_codes(self, X, self.n_components_, self._n_features_out)
        rows = self._decode(np.ascontiguousarray(code[:, -self.n_components_ :]))
        rows *= np.float32(self.scale_)
        rows += self.mean_.astype(np.float32)
        kind = LOSSES[self.loss_function_]
        if kind.lowest > -math.inf:
            # Rounding may have led out of the range.
            np.clip(rows, kind.lowest, kind.highest, out=rows)
        columns = getattr(self, "feature_names_in_", None)
        return as_configured_frame(self, rows, columns, X)

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Minus the mean squared error of each row's reconstruction, in the squared
            units of the data: 0 is perfect, and outliers are far below.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        errors = self._errors(self._check_rows(X, reset=False))
        return -(errors * self._error_unit).astype(np.float32)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return minus the mean reconstruction error, for searches without labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            The weighted mean of `score_samples`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        matrix = self._check_rows(X, reset=False)
        weights = check_weights(sample_weight, matrix)
        error = np.average(self._errors(matrix).astype(np.float64), weights=weights)
        return -float(error * self._error_unit)

    @property
    def _error_unit(self) -> float:
        """What the errors of `_errors` are multiplied by for users."""
        return self.scale_**2

    def _check_rows(self, X: Any, *, reset: bool, min_rows: int = 1) -> Any:
        return check_rows(self, X, reset=reset, min_rows=min_rows)

    def _encode(self, matrix: Any) -> NDArray[np.float32]:
        rows = self._rows_to_read(matrix)
        width = self._n_features_out
        return read(self.network_, self._encoder(), rows, width, name="encode")

    def _encoder(self) -> RowMap:
        """Return what maps standardised rows to codes."""
        network, device = self.network_, device_of(self.network_)
        read_off = {
            "code": network.encode,
            "sparse": network.sparse,
            "stack": network.stack,
        }[self.features_]
        prepare, whitening = self._preparation(device), self._code_whitening(device)

        def encode(batch: Tensor) -> Tensor:
            values = read_off(prepare.forward(batch))
            if whitening is None:
                return values
            hidden, code = values.tensor_split([-self.n_components_], dim=1)
            return torch.cat([hidden, whitening.forward(code)], dim=1)

        return encode

    def _decode(self, code: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decode to standardised rows."""
        source = torch.tensor(code, device=device_of(self.network_))
        width = self.n_features_in_
        return read(self.network_, self._decoder(), source, width, name="decode")

    def _decoder(self) -> RowMap:
        """Return what maps codes to standardised rows."""
        network, device = self.network_, device_of(self.network_)
        to_rows, whitening = self._to_rows(device), self._code_whitening(device)

        def decode(batch: Tensor) -> Tensor:
            if whitening is not None:
                batch = whitening.inverse(batch)
            return to_rows(network.decode(batch))

        return decode

    def _errors(self, matrix: Any) -> NDArray[np.float32]:
        """Mean squared error of each standardised row."""
        rows = self._rows_to_read(matrix)
        return read(self.network_, self._error(), rows, 1, name="error").ravel()

    def _error(self) -> RowMap:
        """Return what maps standardised rows to their mean squared errors, (n, 1)."""
        network, device = self.network_, device_of(self.network_)
        prepare, to_rows = self._preparation(device), self._to_rows(device)

        def error(batch: Tensor) -> Tensor:
            reconstruction = to_rows(network(prepare.forward(batch)))
            return (reconstruction - batch).square().mean(dim=1, keepdim=True)

        return error

    def _read_a_row(self) -> None:
        """Do once all that reading does: attributes that do not fit show then."""
        rows = self._rows_to_read(self.mean_[np.newaxis])
        row = rows.standardised(slice(None))
        code = row.new_zeros(1, self.n_components_)
        with torch.inference_mode():
            found = self._encoder()(row), self._error()(row), self._decoder()(code)
        widths = [values.shape[1] for values in found]
        if widths != [self._n_features_out, 1, self.n_features_in_]:
            raise ValueError(f"Rows of widths {widths} came out")

    # From attributes to what they stand for

    def _rows(
        self,
        data: TrainingData,
        device: torch.device,
        *,
        prepared: bool = True,
        targets: NDArray[np.float32] | None = None,
    ) -> Rows:
        preparation = self._preparation(device) if prepared else Preparation()
        return Rows(
            data.matrix,
            self.mean_,
            self.scale_,
            device,
            index=data.index,
            weights=data.weights,
            prepare=preparation.forward if preparation.steps else None,
            targets=targets,
        )

    def _preparation(self, device: torch.device) -> Preparation:
        """Put together what is done to a standardised row."""
        steps: list[RowNormalization | Whitening] = []
        if self._row_normalization is not None:
            state = dict(self._row_normalization)
            state["mean"] = torch.tensor(state["mean"], device=device)
            steps.append(RowNormalization(**state))
        if self.whitening_ is not None:
            steps.append(
                Whitening(
                    torch.tensor(self.whitening_, device=device),
                    torch.tensor(self.dewhitening_, device=device),
                )
            )
        return Preparation(steps)

    def _loss(self, device: torch.device) -> Loss:
        mean = torch.tensor(self.mean_, dtype=torch.float32, device=device)
        return LOSSES[self.loss_function_](mean, self.scale_, **self._loss_constants)

    def _to_rows(self, device: torch.device) -> RowMap:
        """Make the map from what the network puts out to standardised rows."""
        loss, preparation = self._loss(device), self._preparation(device)
        return lambda output: preparation.inverse(loss.mean(output))

    def _code_whitening(self, device: torch.device) -> Whitening | None:
        if self.code_whitening_ is None:
            return None
        return Whitening(
            torch.tensor(self.code_whitening_, device=device),
            torch.tensor(self.code_dewhitening_, device=device),
            torch.tensor(self.code_mean_, device=device),
        )

    def _rows_to_read(self, matrix: Any) -> Rows:
        """Standardise only: preparation is left to the function that reads a block."""
        device = device_of(self.network_)
        return self._rows(TrainingData(matrix), device, prepared=False)

    # What scikit-learn asks for

    @property
    def _n_features_out(self) -> int:
        if self.features_ == "stack":
            return int(sum(self.network_.widths[1:]))
        return int(self.n_components_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = describe_tables(super().__getstate__())
        if "network_" in state:
            state["network_"] = self.network_.state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = restore_tables(state)
        if "network_" in state:
            state = {**state, "network_": Autoencoder.from_state(state["network_"])}
        super().__setstate__(state)
