"""Missing values of tables, filled in a pipeline or drawn several times."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, check_random_state, check_scalar
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._data.blocks import Blocks, as_blocks
from .._data.frames import Columns
from .._data.output import (
    add_columns,
    as_array,
    as_configured_library,
    fill_with_zero,
    select_columns,
)
from .._data.table_reading import check_columns, names_columns
from .._model.filling import predict_missing
from .._model.model import Model
from .._model.sampling import can_draw, draw_cells
from .._model.table import TableSide
from .._persistence.schemas import ANY_ESTIMATOR, array, is_a, is_seed
from .._training.seeds import draw_seed
from .decorators import with_callbacks
from .fitted import ModelHolder
from .parameters import Parameters
from .tabular import TabularAutoencoderTransformer


class AutoencoderImputer(TransformerMixin, ModelHolder, Parameters):
    """Imputation of missing values by an autoencoder of tables.

    The autoencoder learns to predict each cell from the other cells of its row.
    :meth:`transform` fills each missing value with the best prediction, and
    :meth:`draw` returns several completed data sets for multiple imputation.

    Parameters
    ----------
    autoencoder : TabularAutoencoderTransformer, FrozenEstimator or None, default=None
        The autoencoder, of which a clone is fitted. None is
        ``TabularAutoencoderTransformer(number_output="distribution")``. A fitted one in
        a :class:`~sklearn.frozen.FrozenEstimator` is used as it is, so that you can use
        one fit for features, imputation and sampling.

    add_indicator : bool, default=False
        Whether to append an indicator of missing values for each column that had
        missing values in `fit`.

    keep_empty_features : bool, default=False
        Whether to keep columns without any value in `fit`. There is no value to fill
        them with: missing numbers become 0, and other values stay missing.

    sample_posterior : bool, default=False
        Whether `transform` draws values from their distributions instead of filling in
        the best prediction. The draws of a fitted imputer are the same for the same
        rows in each call.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of the draws, and of the seed of the autoencoder if that has
        no `random_state`. An int makes fits and draws reproducible.

    Attributes
    ----------
    autoencoder_ : TabularAutoencoderTransformer
        The fitted autoencoder.

    indicator_features_ : ndarray of shape (n_indicators,)
        Positions of the columns that had missing values in `fit`.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in `fit`. Defined only if all names are strings.

    See Also
    --------
    TabularAutoencoderTransformer : The autoencoder, which also gives features.
    sklearn.impute.IterativeImputer : Regression of each column on the others.
    sklearn.impute.KNNImputer : Means of the nearest rows.

    Notes
    -----
    Parameters by group:

    - autoencoder: `autoencoder`
    - output: `add_indicator`, `keep_empty_features`, `sample_posterior`
    - run: `random_state`

    With the default `autoencoder`, the best prediction is a weighted average of the
    network's prediction and a linear prediction, see
    :meth:`TabularAutoencoderTransformer.impute`. Draws come from the network's
    distributions alone.

    A draw fills the missing cells of a row one after the other, in random order, each
    given the cells that are known or drawn already. The values of a row are therefore
    consistent with each other. Combine estimates from several completed data sets by
    Rubin's rules [1]_.

    References
    ----------
    .. [1] Rubin, "Multiple imputation for nonresponse in surveys", Wiley, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skautoenc import AutoencoderImputer
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(170, 10, 400)
    >>> frame = pd.DataFrame({
    ...     "size": size,
    ...     "weight": 0.9 * size - 90 + rng.normal(0, 2, 400),
    ... })
    >>> frame.loc[:40, "weight"] = np.nan
    >>> imputer = AutoencoderImputer(random_state=0).fit(frame)
    >>> filled = imputer.transform(frame)
    >>> error = filled["weight"][:41] - (0.9 * size[:41] - 90)
    >>> bool(error.std() < 3)
    True
    >>> draws = imputer.draw(frame, n_draws=5, random_state=0)
    >>> len(draws), bool(draws[0]["weight"][0] != draws[1]["weight"][0])
    (5, True)
    """

    _why_alone = "its columns are learnt from all rows in one process"
    __module__ = "skautoenc"

    autoencoder_: TabularAutoencoderTransformer
    indicator_features_: NDArray[np.int64]

    _last_attribute = "indicator_features_"
    _model: Model[TableSide]

    _fitted_schema = {
        **ANY_ESTIMATOR,
        "autoencoder_": is_a(TabularAutoencoderTransformer),
        "indicator_features_": array(np.int64, 1),
        "_seed": is_seed,
    }
    _parameter_constraints: dict[str, list[Any]] = {
        "autoencoder": [TabularAutoencoderTransformer, FrozenEstimator, None],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "sample_posterior": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        autoencoder: TabularAutoencoderTransformer | FrozenEstimator | None = None,
        *,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        sample_posterior: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the autoencoder, unless it is frozen.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Training data: a frame of pandas, polars, pyarrow or modin, whose columns
            are numbers, categories, booleans or dates, or an array. Values may be
            missing.

        y : Ignored
            Present for API consistency. Callbacks are given it, or `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss. None gives all rows the same weight.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable.
        """
        self._validate_params()
        if isinstance(as_blocks(X), Blocks):
            raise TypeError(
                f"AutoencoderImputer does not take a {type(X).__name__}. Fit the "
                "autoencoder to it, and the imputer to one part: AutoencoderImputer("
                "FrozenEstimator(autoencoder)).fit(part)."
            )
        for name in (self._last_attribute, "_model"):
            self.__dict__.pop(name, None)
        random_state = check_random_state(self.random_state)
        fitted, unfitted = self._choose_autoencoder(random_state)
        task = {"estimator": self, "X": X, "y": X if y is None else y}
        context = self._init_callback_context(max_subtasks=1)
        context.call_on_fit_task_begin(**task)
        if fitted is None:
            fitted = unfitted.fit(X, sample_weight=sample_weight)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
        if self.sample_posterior:
            _check_draws(fitted._model)
        self.autoencoder_ = fitted
        self._seed = draw_seed(random_state)
        gaps = self._gaps(self._read(X))
        self.indicator_features_ = np.flatnonzero(gaps.any(axis=0)).astype(np.int64)
        self._model = fitted._model
        context.call_on_fit_task_end(**task, reconstruction_attributes={})
        return self

    def _choose_autoencoder(
        self, random_state: np.random.RandomState
    ) -> tuple[TabularAutoencoderTransformer | None, Any]:
        """Return the autoencoder that is fitted, or else the one to fit."""
        chosen = self.autoencoder
        if isinstance(chosen, FrozenEstimator):
            inner = chosen.estimator
            if not isinstance(inner, TabularAutoencoderTransformer):
                raise ValueError(
                    "The 'autoencoder' parameter of AutoencoderImputer must be a "
                    "TabularAutoencoderTransformer, frozen or not. Got "
                    f"FrozenEstimator({type(inner).__name__}) instead."
                )
            check_is_fitted(inner)
            return inner, None
        if chosen is None:
            chosen = TabularAutoencoderTransformer(number_output="distribution")
        unfitted = clone(chosen)
        if unfitted.random_state is None:
            unfitted.set_params(random_state=draw_seed(random_state))
        return None, unfitted

    def _make_model(self) -> Model[TableSide]:
        return self.autoencoder_._model

    # Applying

    def transform(self, X: Any) -> Any:
        """Fill missing values and leave all others unchanged.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows with missing values.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features_out)
            A copy of `X` in which missing values are filled in, of the same library,
            with the same types, order and index. It is an array if `fit` got an array.
            See :meth:`TabularAutoencoderTransformer.impute` on types. Columns without
            any value in `fit` are missing, unless `keep_empty_features` is set. With
            `add_indicator`, the last columns are indicators.

        Raises
        ------
        NotFittedError
            If the imputer is not fitted.
        ValueError
            If a column differs from that of `fit`, or has a type that cannot represent
            the values to fill in.
        """
        check_is_fitted(self)
        columns = self._read(X)
        side = self._model.side
        matrix = side.table.encode(columns)
        if self.sample_posterior:
            random_state = np.random.RandomState(self._seed)
            filled = side.fill_with(
                columns, draw_cells(self._model, matrix, random_state)
            )
        else:
            filled = side.fill(columns, predict_missing(self._model, matrix))
        return as_configured_library(self, self._finish(filled, columns))

    def draw(
        self,
        X: Any,
        n_draws: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[Any]:
        """Draw several completed data sets, for multiple imputation.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows with missing values.

        n_draws : int, default=5
            Number of completed data sets.

        random_state : int, RandomState instance or None, default=None
            Seed or generator of the draws. None is the imputer's own seed: with an int
            as its `random_state`, each call returns the same.

        Returns
        -------
        list of frame or ndarray of shape (n_samples, n_features_out)
            Copies of `X` as :meth:`transform` returns them. In each copy, missing
            values are drawn anew.

        Raises
        ------
        NotFittedError
            If the imputer is not fitted.
        ValueError
            If the autoencoder does not predict distributions, or if a column differs
            from that of `fit`.
        """
        check_is_fitted(self)
        check_scalar(n_draws, "n_draws", Integral, min_val=1)
        _check_draws(self._model)
        columns = self._read(X)
        side = self._model.side
        matrix = side.table.encode(columns)
        seed = self._seed if random_state is None else random_state
        generator = check_random_state(seed)
        found = []
        for _ in range(int(n_draws)):
            values = draw_cells(self._model, matrix, generator)
            found.append(self._finish(side.fill_with(columns, values), columns))
        return found

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the features. None is those of `fit`, or "x0", "x1", ....

        Returns
        -------
        ndarray of str objects
            Names of the columns that are kept, and ``missingindicator_`` with the name
            of a column for each indicator.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = names[self._kept_features()]
        if not self.add_indicator:
            return np.asarray(kept, dtype=object)
        told = [f"missingindicator_{names[n]}" for n in self.indicator_features_]
        return np.asarray([*kept, *told], dtype=object)

    # Reading and writing

    def _read(self, X: Any) -> Columns:
        """Validate rows to fill."""
        inner = self.autoencoder_
        return check_columns(
            self,
            X,
            table=inner._model.side.table,
            only_numbers=not names_columns(
                inner.categorical_features, inner.column_kinds
            ),
        )

    def _gaps(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which cells are missing, (n_samples, n_features)."""
        return np.column_stack(self.autoencoder_._model.side.table.gaps(columns))

    def _empty_features(self) -> NDArray[np.bool_]:
        """Return which columns nothing was learnt of."""
        columns = self.autoencoder_._model.side.table.columns
        return np.array([_held_nothing(column) for column in columns])

    def _kept_features(self) -> NDArray[np.int64]:
        """Return the positions of columns that are in the result."""
        is_empty = self._empty_features() & (not self.keep_empty_features)
        return np.flatnonzero(~is_empty)

    def _finish(self, filled: Any, columns: Columns) -> Any:
        """Fill and leave out empty columns, and append indicators."""
        if self._model.side.schema is None:
            # Its names are not those of `get_feature_names_out`.
            filled = as_array(filled)
        if self.keep_empty_features:
            empty = np.flatnonzero(self._empty_features())
            filled = fill_with_zero(filled, empty)
        kept = self._kept_features()
        found = filled
        if len(kept) < len(columns):
            found = select_columns(filled, kept)
        if not self.add_indicator:
            return found
        told = self.indicator_features_
        names = [f"missingindicator_{columns.names[place]}" for place in told]
        return add_columns(found, names, self._gaps(columns)[:, told])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _held_nothing(column: Any) -> bool:
    """Whether a column had no value at all in `fit`, not even rare categories."""
    return bool(column.is_empty) and not len(getattr(column, "rare", ()))


def _check_draws(model: Model[TableSide]) -> None:
    """Refuse to draw from an autoencoder that predicts means."""
    if not can_draw(model):
        raise ValueError(
            "Values are drawn from distributions, which the autoencoder does not "
            "predict of numbers. Set number_output='distribution' in "
            "TabularAutoencoderTransformer and fit it again."
        )
