"""TabularAutoencoderTransformer: frames with categories, dates and gaps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._data.columns import KINDS, Table
from .._data.frames import Schema
from .._data.validation import check_codes, check_layer_sizes, refuse
from .._model.table import TableSide
from .._networks.autoencoder import Autoencoder
from .._networks.layers import ACTIVATIONS
from .._networks.numbers import NUMBER_ENCODINGS
from .._networks.tabular import TabularAutoencoder
from .._objectives.objectives import TabularObjective
from .._persistence.schemas import (
    ANY_AUTOENCODER,
    is_a,
    is_finite,
    is_scale,
    list_of,
)
from .base import can_stream
from .table import TableAutoencoder


class TabularAutoencoderTransformer(TableAutoencoder):
    """Features of tables as they are: numbers, categories, dates and gaps.

    A network learns to fill in cells that are hidden from it, from what is left of the
    row. `transform` gives what it makes of a row, for a linear model; `impute` fills
    gaps; `inverse_transform` gives a frame like the one of `fit`;
    `reconstruction_error` says which cells look wrong.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Width of the code. "auto" is the number of numbers and levels, between 16 and
        128.
    hidden_layer_sizes : sequence of int or "auto", default="auto"
        Widths of the encoder's hidden layers, which the decoder has in reverse. "auto"
        is (256,). A linear map runs beside them, from the row to the code and from
        there to the reconstruction.
    activation : str, default="silu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", "leaky_relu",
        "elu", "gelu", "silu" or "selu".
    dropout : float, default=0.3
        Rate at which hidden activations are dropped while training. Tables are small,
        and networks without it learn them by heart.
    features : {"code", "stack"}, default="stack"
        What `transform` gives: the code, or the hidden activations and the code, which
        a linear model does better on.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        The columns to take for categories, besides those that have such a type: names,
        places, or a mask. Columns of a frame are numbers, dates, or categories
        (booleans, strings, categoricals, objects) by their type; those of an array are
        numbers.
    column_kinds : dict or None, default=None
        What columns, by their names or places, are to be taken for whatever their type:
        "number", which booleans and strings of numbers can be, "date", which strings in
        ISO 8601 can be, or "category". Columns of objects or strings that hold nothing
        but numbers or dates are categories by default, with a warning, unless they are
        named here.
    scaling : {"standard", "quantile"}, default="standard"
        How numbers are brought to one scale: centred and divided by their standard
        deviation, or mapped to a normal distribution by their ranks (RankGauss), which
        outliers hardly move. Filled in are means for the former, and for the latter
        what is closer to medians.
    number_encoding : {"piecewise_linear", "periodic"} or None, default=None
        What the encoder sees besides each scaled number [3]_: how far it fills each of
        16 bins of as many rows, or its sine and cosine at 8 frequencies, which are
        learnt. Both help where things depend on numbers in jumps or waves, and cost
        time.
    min_frequency : int, float or None, default=None
        Fewest rows, or smallest share of the known ones, for a category with a code of
        its own; rarer categories share a code, and are not decoded to. Where rows are
        scored, the error of a rare category follows from the share of all rare ones.
    max_categories : int or None, default=64
        Most codes of a column. With more levels, the rarest share one.
    handle_unknown : {"infrequent_if_exist", "error"}, default="infrequent_if_exist"
        A category that was not seen in `fit` is encoded as a rare one, if the column
        has any, otherwise as a missing value; or it is an error. Where rows are scored,
        its error is at least that of the column's least likely category. There is a
        warning where more than half of a column's values are such categories, among ten
        values or more, or among fewer if none of the categories of `fit` has their
        type: integers where `fit` had strings, for one.
    corruption : {"masking", "swap"}, default="masking"
        What is done to cells that are to be reconstructed: they become gaps, or take
        the value of another row.
    corruption_rate : float or dict, default=0.3
        Mean share of the cells; each row draws its own, up to twice as much. A
        dictionary gives rates by column, or by kind of column, "number", "category" and
        "date", for those that are not named; none is zero.
    corruption_weight : float, default=4.0
        Weight of these cells in the loss, where that of the others is one.
    loss : {"auto", "squared_error", "huber"}, default="auto"
        What errors of numbers and dates cost; "auto" is the squared error. Categories
        cost cross-entropy. Each column's costs are divided by those of its averages, so
        that none drowns the others, however many levels it has.
    solver : {"adam", "sgd"}, default="adam"
        Adam with decoupled weight decay, or gradient descent with Nesterov's momentum.
    alpha : float, default=0.01
        Weight decay of matrices.
    batch_size : int or "auto", default="auto"
        Fewest rows in a batch, if there are as many; "auto" is 128.
    learning_rate : {"constant", "linear", "cosine"}, default="cosine"
        How the learning rate falls over the epochs.
    learning_rate_init : float or "auto", default="auto"
        Learning rate at the start; "auto" is 0.003.
    momentum : float, default=0.9
        Momentum of "sgd".
    max_grad_norm : float or None, default=None
        Bound on the norm of all gradients together.
    max_iter : int or "auto", default="auto"
        Most epochs. "auto" is what makes 1000 steps, between 10 and 300: more fill
        gaps hardly better, and features of small tables come to know their rows by
        heart.
    shuffle : bool, default=True
        Whether each epoch draws a new order.
    tol : float, default=0.0
        A loss counts as better when it is lower by more than this.
    n_iter_no_change : int, default=50
        Stop when this many epochs in a row were not better. Which cells are hidden is
        chance, and a few such epochs say nothing.
    early_stopping : bool, default=False
        Hold out rows, and go back to the weights that were best on them.
    validation_fraction : float, default=0.1
        Share of the rows to hold out.
    warm_start : bool, default=False
        Go on from the last weights.
    checkpoint : str or path-like, default=None
        Folder in which `fit` notes after epochs where it stands. Killed at any moment
        and started again, with the same parameters and data, it goes on from there and
        comes to the same bytes. Each fit has a folder of its own in it, so searches and
        scripts with several fits may share one; fits that are done are not trained
        again. Delete the folder to start anew.
    device : str or torch.device, default="auto"
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        Source of all that is random.
    verbose : bool or int, default=False
        Print a line an epoch.

    Attributes
    ----------
    column_kinds_ : dict
        What each column was taken for: "number", "category" or "date".
    n_components_ : int
        Width of the code.
    features_ : str
        What `transform` gives.
    features_scale_ : float
        What the network's activations are divided by, so that the features' variances
        sum up to the number of columns, as those of scaled columns do. Neither then
        drowns the other in a linear model of both.
    loss_function_ : str
        The loss of numbers.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all were strings.
    network_ : torch.nn.Module
        The network, in evaluation mode.
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch, as a share of the columns' deviance: 1 is no
        better than averages, 0 is perfect.
    loss_ : float
        Its last value; the lowest where the fit went back to the weights of its best
        epoch, because the last one's loss was far above it (by a fifth or more).
    best_loss_ : float
        Its lowest value.
    validation_scores_ : list of float or None
        Share of the held-out rows' deviance that is explained, after each epoch trained
        with `early_stopping`, with no cell hidden.
    best_validation_score_ : float or None
        The score of the weights that the last fit ended with.

    See Also
    --------
    AutoencoderTransformer : For arrays of numbers without gaps.
    sklearn.impute.IterativeImputer : Regression of each column on the others.

    Notes
    -----
    The network is a denoising autoencoder [1]_ whose noise is missing cells, so that
    gaps are nothing new to it [2]_. A level's embedding is added to the first layer; a
    gap has one of its own. Gaps cost nothing. Dates are read as a point in time and as
    where in the year, the week and the day they are.

    References
    ----------
    .. [1] Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.
    .. [2] Gondara and Wang, "MIDA: multiple imputation using denoising autoencoders",
       PAKDD 2018.
    .. [3] Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in
       tabular deep learning", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skautoenc import TabularAutoencoderTransformer
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(170, 10, 400)
    >>> frame = pd.DataFrame({
    ...     "size": size,
    ...     "fits": np.where(size > 175, "large", "small"),
    ...     "weight": 0.9 * size - 90 + rng.normal(0, 2, 400),
    ... })
    >>> frame.loc[:20, "fits"] = None
    >>> frame.loc[20:40, "weight"] = np.nan
    >>> transformer = TabularAutoencoderTransformer(random_state=0).fit(frame)
    >>> transformer.column_kinds_
    {'size': 'number', 'fits': 'category', 'weight': 'number'}
    >>> filled = transformer.impute(frame)
    >>> int(filled.isna().sum().sum())
    0
    >>> error = filled["weight"][20:41] - (0.9 * size[20:41] - 90)
    >>> bool(error.std() < 3)
    True
    """

    __module__ = "skautoenc"

    _fitted_schema = {
        **ANY_AUTOENCODER,
        "network_": is_a(TabularAutoencoder),
        "column_kinds_": is_a(dict),
        "_table": is_a(Table),
        "_schema": is_a(Schema, None),
        "_deviances": list_of(is_finite),
        "features_scale_": is_scale,
    }
    _parameter_constraints = {
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "features": [StrOptions({"code", "stack"})],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "column_kinds": [Mapping, None],
        "scaling": [StrOptions({"standard", "quantile"})],
        "number_encoding": [StrOptions(set(NUMBER_ENCODINGS)), None],
        "min_frequency": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
        ],
        "max_categories": [None, Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"infrequent_if_exist", "error"})],
        "corruption_weight": [Interval(Real, 0, None, closed="left")],
        **TableAutoencoder._parameter_constraints,
        "loss": [StrOptions({"auto", "squared_error", "huber"})],
        "corruption": [StrOptions({"masking", "swap"})],
        "corruption_rate": [Interval(Real, 0, 1, closed="left"), Mapping],
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.3,
        features: Literal["code", "stack"] = "stack",
        categorical_features: Any = "from_dtype",
        column_kinds: Mapping[Any, str] | None = None,
        scaling: Literal["standard", "quantile"] = "standard",
        number_encoding: Literal["piecewise_linear", "periodic"] | None = None,
        min_frequency: float | None = None,
        max_categories: int | None = 64,
        handle_unknown: Literal["infrequent_if_exist", "error"] = "infrequent_if_exist",
        corruption: Literal["masking", "swap"] = "masking",
        corruption_rate: float | Mapping[str, float] = 0.3,
        corruption_weight: float = 4.0,
        loss: Literal["auto", "squared_error", "huber"] = "auto",
        solver: Literal["adam", "sgd"] = "adam",
        alpha: float = 0.01,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "linear", "cosine"] = "cosine",
        learning_rate_init: float | Literal["auto"] = "auto",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        max_iter: int | Literal["auto"] = "auto",
        shuffle: bool = True,
        tol: float = 0.0,
        n_iter_no_change: int = 50,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.features = features
        self.categorical_features = categorical_features
        self.column_kinds = column_kinds
        self.scaling = scaling
        self.number_encoding = number_encoding
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown
        self.corruption = corruption
        self.corruption_rate = corruption_rate
        self.corruption_weight = corruption_weight
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_grad_norm = max_grad_norm
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _validate_params(self) -> None:
        super()._validate_params()
        check_layer_sizes(self)
        rates = self.corruption_rate
        if isinstance(rates, Mapping) and not all(
            isinstance(rate, Real) and 0 <= float(rate) < 1 for rate in rates.values()
        ):
            refuse(self, "corruption_rate", "a share below 1, or a dictionary of such")
        if not all(kind in KINDS for kind in (self.column_kinds or {}).values()):
            kinds = "'number', 'category' and 'date'"
            refuse(self, "column_kinds", f"None, or a dictionary to {kinds}")

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Training data: a frame of pandas, polars or pyarrow, whose columns are
            numbers, categories, booleans or dates, or an array. Values may be missing.
            Neither sparse matrices nor `Blocks`.

        y : Ignored
            Present for API consistency. Callbacks are given it, or `X`, which is what
            an autoencoder aims at.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' reconstruction errors; None weighs all alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable, if the loss stops being finite
            before any epoch is done, if the checkpoint is damaged, or if a parameter
            holds something that a checkpoint cannot tell from others.
        MemoryError
            If memory runs out, on the device or beside it.
        OSError
            If the checkpoint folder cannot be written to.

        Warns
        -----
        ConvergenceWarning
            If the loss stops being finite later: the best weights until then stay.
        UserWarning
            If training was interrupted from the keyboard; the estimator is usable.
            If the checkpoint folder has an unfinished fit, but of something else, or
            if it cannot be written to any more.
        """
        self._fit(X, y, sample_weight)
        return self

    @available_if(can_stream)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a part of the data.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            A part of the training data, of any number of rows. The first part, of two
            rows at least, also sets scales and categories: let it be a fair sample of
            the rest.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' reconstruction errors within this part; None weighs
            all alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable, or if the loss is not finite.
        MemoryError
            If memory runs out, on the device or beside it.
        AttributeError
            With `early_stopping`, which needs all data at once.

        Notes
        -----
        The learning rate stays at its initial value, since the length of the stream is
        unknown; dead units are not revived, and ``loss="auto"`` is the squared error.
        """
        self._partial_fit(X, sample_weight)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode rows.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The features, at the scale of scaled columns: with ``features="stack"`` the
            hidden activations and the code, with "code" the code alone.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        return self._transform(X)

    # How parameters turn into a network, and what that is trained for

    def _build_network(self, table: Table) -> Autoencoder:
        layout = table.layout
        n_inputs = layout.n_numbers + layout.n_extras + sum(layout.n_codes)
        sizes = self.hidden_layer_sizes
        hidden = (256,) if isinstance(sizes, str) else tuple(map(int, sizes))
        return TabularAutoencoder(
            n_numbers=layout.n_numbers,
            n_extras=layout.n_extras,
            n_codes=layout.n_codes,
            n_levels=layout.n_levels,
            n_components=(
                min(max(n_inputs, 16), 128)
                if self.n_components == "auto"
                else int(self.n_components)
            ),
            hidden_layer_sizes=hidden,
            activation=self.activation,
            dropout=float(self.dropout),
            number_encoding=self.number_encoding,
        )

    def _make_objective(self, side: TableSide) -> TabularObjective:
        return side.objective(
            self._rates(side.table),
            swaps=self.corruption == "swap",
            corruption_weight=float(self.corruption_weight),
        )

    def _rates(self, table: Table) -> list[float]:
        """Return the share of rows that lose each cell."""
        columns, rates = table.in_order, self.corruption_rate
        if not isinstance(rates, Mapping):
            return [float(rates)] * len(columns)
        if not set(rates) <= {*KINDS, *(column.name for column in columns)}:
            refuse(
                self,
                "corruption_rate",
                "a share, or a dictionary of shares by columns and kinds of columns",
            )
        return [
            float(rates.get(column.name, rates.get(column.kind, 0.0)))
            for column in columns
        ]

    def _default_max_iter(self, n_batches: int) -> int:
        # Corruption is redrawn each epoch, so more epochs keep helping.
        return min(max(10, math.ceil(1000 / n_batches)), 300)

    # What users ask of a fitted one

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            What `transform` gives. Of a stack the code alone, its last
            `n_components` columns, is enough.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features)
            The reconstruction. Fitted on a frame, it gives one of the same library with
            the same columns and types; integers are rounded. It has the index of `X`,
            if that is a pandas frame. The integers of an array come back as floats.
            Numbers and dates lie between the lowest and the highest value of their
            column in `fit` (rows of weight zero do not count). Dates in text are
            written as in `fit`, with the time zone that most had.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has another number of columns than the code, or values that are not
            finite.
        """
        check_is_fitted(self)
        model = self._model
        code = check_codes(self, X, model.n_components, model.n_features_out)
        index = X.index if isinstance(X, pd.DataFrame) else None
        return model.side.as_frame(model.side.restore(model.decode(code)), index)

    def impute(self, X: Any) -> Any:
        """Fill the gaps, and only these.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows with gaps.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A copy in which each missing value is replaced by what the network predicts
            from the rest of the row. Numbers and dates lie between the lowest and the
            highest value of their column in `fit`. Only columns without any value in
            `fit`, or with rare categories only, keep their missing values.

            A column keeps its type, with few exceptions. A column without any value may
            have any type, and gets that of `fit`. A pandas Categorical or polars Enum
            that lacks a category it is filled with gets the type of `fit`; if it has
            categories that were not in `fit`, the missing ones are appended instead,
            and the result has no order. If an integer type is narrower than in `fit`,
            numbers are clipped to what it holds, and for categories that it does not
            hold it gives way to the type of `fit`. Dates and numbers in text are
            written like the others in `X`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column is not as in `fit`, or has a type that cannot hold what it is
            filled with.
        """
        check_is_fitted(self)
        model = self._model
        columns = self._check_columns(X, model.side.table)
        rows = model.reconstruct(model.side.table.encode(columns))
        return model.side.fill(columns, rows)

    def reconstruction_error(
        self, X: Any, *, per_column: bool = False
    ) -> NDArray[np.float32]:
        """Return how badly rows or cells are reconstructed.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.
        per_column : bool, default=False
            Whether to tell the cells of a row apart.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_features), float32
            Errors, mean over the cells of a row or each cell's own, where one is that
            of averages, on average. Missing cells have none: they are NaN. A row
            without any value has an error of one, that of averages. Where float32 has
            no such number, an error is infinite.

            A category that was not seen in `fit` has the error of the column's least
            likely category in that row, and at least ``log(n + 1) / entropy``: what one
            more row would cost besides the n known ones of `fit`, in units of the
            entropy of the column's categories. Rare categories that share a code have
            an error of ``-log(share) / entropy``, with their common share of the rows.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column is not as in `fit`.
        """
        if not per_column:
            return self._errors(X).astype(np.float32)
        check_is_fitted(self)
        errors: NDArray[np.float32] = self._model.cell_errors(self._read_rows(X))
        return errors

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Minus the `reconstruction_error`: 0 is perfect, outliers are far below. A
            row without any value scores -1, as averages do.
        """
        return -self.reconstruction_error(X)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return minus the mean reconstruction error, for searches without labels.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
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
        return -self._mean_error(X, sample_weight)
