"""Autoencoders of matrices: rows of numbers without missing values."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._data.array_api import as_given
from .._data.blocks import Blocks, as_blocks
from .._data.ranges import restored_type
from .._data.rows import Rows, TrainingData, canonical
from .._data.streamed import StreamedMatrix
from .._data.totals import as_exposures
from .._data.validation import (
    check_codes,
    check_range,
    check_weights,
    refuse,
)
from .._data.world import World
from .._model.matrix import MatrixSide, learn_matrix_side
from .._model.model import Model
from .._model.plan import CodePlan, MakeTargets, Plan
from .._networks.autoencoder import Autoencoder
from .._objectives.losses import LOSSES
from .._objectives.objectives import Objective
from .._preparation.neighbors import diffuse
from .base import BaseAutoencoder
from .shares import share_rows

# Constraints of parameters that several autoencoders have.
WIDTHS = [
    StrOptions({"auto"}),
    "array-like",
    Interval(Integral, 1, None, closed="left"),
]
COUNT = [
    StrOptions({"auto"}),
    Interval(Integral, 1, None, closed="left"),
]


class Parts(NamedTuple):
    """What depends on the kind of autoencoder in a plan.

    Parameters
    ----------
    loss : str
        Key of `LOSSES`.
    build_network : callable
        Returns a network that is not initialised yet.
    make_objective : callable
        Returns the objective for an input side.
    make_targets : callable or None, default=None
        See `Plan`.
    """

    loss: str
    build_network: Callable[[], Autoencoder]
    make_objective: Callable[[MatrixSide], Objective]
    make_targets: MakeTargets | None = None


class MatrixAutoencoder(BaseAutoencoder):
    """An autoencoder of rows of numbers.

    A subclass defines the network and the objective that its parameters describe, in
    `_build_network` and `_make_objective`.
    """

    _side = MatrixSide
    _model: Model[MatrixSide]

    mean_: NDArray[np.float64]
    scale_: float
    row_total_: float

    # Values of parameters that a subclass does not offer.
    ordered: Any = False
    n_neighbors: Any = None
    n_diffusion_steps: Any = 1
    normalize_rows: Any = None
    whiten: Any = None
    whiten_regularization: Any = 0.1

    _parameter_constraints = {
        **BaseAutoencoder._parameter_constraints,
        "normalize_rows": [
            None,
            StrOptions({"total"}),
            Interval(Real, 0, None, closed="neither"),
        ],
    }

    @abstractmethod
    def _build_network(self, n_features: int) -> Autoencoder:
        """Build the network for rows of `n_features`, without initialising it."""

    @abstractmethod
    def _make_objective(self, side: MatrixSide) -> Objective:
        """Return the objective of training, for the input side."""

    def _validate_params(self) -> None:
        super()._validate_params()
        if self.corruption_rate >= 1 and self.corruption != "gaussian":
            refuse(
                self,
                "corruption_rate",
                f"below 1 for corruption={self.corruption!r}, of which it is a share",
            )
        if self.normalize_rows == "total" and self.loss != "poisson":
            refuse(self, "loss", "'poisson' for normalize_rows='total', of counts")
        if self.loss in ("binary_cross_entropy", "poisson"):
            for name in ("whiten", "normalize_rows"):
                if getattr(self, name) not in (None, "total"):
                    refuse(
                        self,
                        name,
                        f"None for loss={self.loss!r}, which is for raw values",
                    )

    # Validation

    def _read_training_data(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        before: Model[Any] | None,
        *,
        min_rows: int = 2,
        world: World | None = None,
    ) -> tuple[TrainingData, float | None]:
        reset = before is None
        if type(X) is not np.ndarray:
            X = as_blocks(X)
        if isinstance(X, Blocks):
            matrix = self._check_blocks(X, reset=reset, min_rows=min_rows)
        else:
            matrix = self._check_rows(X, reset=reset, min_rows=min_rows)
        if sparse.issparse(matrix):
            # Sorted once, not in each batch of each epoch.
            matrix = canonical(matrix)
        if world is None:
            data = TrainingData(matrix, check_weights(sample_weight, matrix))
        else:
            data = share_rows(self, matrix, sample_weight, world, before)
        total = None if before is None else before.side.row_total
        if total is not None or (reset and self.normalize_rows == "total"):
            if isinstance(matrix, StreamedMatrix):
                refuse(
                    self,
                    "normalize_rows",
                    "None for Blocks and collections; partial_fit takes 'total'",
                )
            data, total = as_exposures(data, total)
        return data.without_zero_weights(), total

    def _check_blocks(self, X: Blocks, *, reset: bool, min_rows: int) -> StreamedMatrix:
        if self.n_neighbors is not None:
            refuse(
                self,
                "n_neighbors",
                "None for Blocks and collections, whose rows are never together",
            )
        return super()._check_blocks(X, reset=reset, min_rows=min_rows)

    # From parameters to a plan

    def _plan(
        self,
        data: TrainingData,
        form: float | None,
        before: Model[Any] | None,
        *,
        in_parts: bool,
    ) -> Plan:
        parts = self._resolve_parts(data, before, in_parts=in_parts)
        by_totals = self.normalize_rows == "total"
        budget = self._budget(data, in_parts=in_parts)
        return Plan(
            build_network=parts.build_network,
            learn_side=partial(
                learn_matrix_side,
                loss=parts.loss,
                normalize_rows=None if by_totals else self.normalize_rows,
                row_total=form,
                whiten=self.whiten,
                whiten_regularization=self.whiten_regularization,
            ),
            make_objective=parts.make_objective,
            budget=budget,
            solver=self._solver(),
            code=CodePlan(
                self.features,
                whiten=self.whiten_code,
                is_ordered=bool(self.ordered),
            ),
            tol=self.tol,
            n_iter_no_change=_patience(self.n_iter_no_change, budget.max_iter),
            shuffle=self.shuffle,
            device=self.device,
            make_targets=parts.make_targets,
            single_row=in_parts and before is not None,
        )

    def _resolve_parts(
        self, data: TrainingData, before: Model[Any] | None, *, in_parts: bool
    ) -> Parts:
        """Choose loss, network and objective for the data; see `_plan`."""
        smooth = None
        if self.n_neighbors is not None:
            smooth = partial(
                _smooth, n_neighbors=self.n_neighbors, n_steps=self.n_diffusion_steps
            )
        return Parts(
            self._resolve_loss(data, before, in_parts=in_parts),
            partial(self._build_network, data.matrix.shape[1]),
            self._make_objective,
            smooth,
        )

    def _resolve_loss(
        self, data: TrainingData, before: Model[Any] | None, *, in_parts: bool
    ) -> str:
        """Choose the loss, and check that the data is in its range."""
        if before is not None:
            name: str = before.side.loss_name
            if self.loss not in ("auto", name):
                raise ValueError(
                    f"Training cannot go on with loss={self.loss!r}, it began with "
                    f"{name!r}. Use fit with warm_start=False to start anew."
                )
        elif self.loss != "auto":
            name = str(self.loss)
        else:
            # The first part of a stream need not be like the others.
            raw = self.whiten is None and self.normalize_rows is None and not in_parts
            name = "squared_error"
            if raw and data.is_binary():
                name = "binary_cross_entropy"
        kind = LOSSES[name]
        if kind.lowest > -math.inf:
            check_range(
                data,
                kind.lowest,
                kind.highest,
                f"The loss {name!r}",
                otherwise="train anew with loss='squared_error'",
                names=getattr(self, "feature_names_in_", None),
            )
        return name

    # Applying

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            With ``features="reconstruction"``, names of the columns of the data, if
            `fit` has seen none. Otherwise ignored.

        Returns
        -------
        ndarray of str objects
            The class in lower case with a number, or names of columns of the data.
        """
        check_is_fitted(self)
        is_code = self._model.code.features != "reconstruction"
        names: NDArray[np.object_] = (
            super().get_feature_names_out(input_features)
            if is_code
            else _check_feature_names_in(self, input_features)
        )
        return names

    def _negative_errors(self, X: Any) -> NDArray[np.float64]:
        found: NDArray[np.float64] = as_given(-self._errors(X), X)
        return found

    def _inverse_transform(self, X: Any) -> Any:
        check_is_fitted(self)
        model = self._model
        if model.code.features == "reconstruction":
            dtype = restored_type(model.side.mean, model.side.scale)
            given = check_codes(self, X, model.n_features_out, dtype=dtype)
            return self._as_frame(given, X)
        code = check_codes(self, X, model.n_components, model.n_features_out)
        rows: NDArray[Any] = model.side.restore(model.decode(code))
        return self._as_frame(rows, X)


def _patience(asked: int | str, max_iter: int) -> int:
    """Return the number of epochs without improvement after which to stop."""
    return max(max_iter // 5, 10) if isinstance(asked, str) else asked


def _smooth(
    rows: Rows, labels: NDArray[np.float64] | None, *, n_neighbors: int, n_steps: int
) -> NDArray[np.float32]:
    """Return rows smoothed over their neighbours, whatever their labels are."""
    return diffuse(rows, n_neighbors, n_steps)
