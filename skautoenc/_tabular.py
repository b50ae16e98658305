"""TabularAutoencoderTransformer: frames with categories, dates and gaps."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ._base import BaseAutoencoder
from ._frames import Columns, fill_gaps, find_fault, is_frame, make_frame
from ._input import (
    TrainingData,
    check_codes,
    check_layer_sizes,
    check_weights,
    refuse,
)
from ._table import KINDS, CategoryColumn, DateColumn, NumberColumn, Table
from .losses import LOSSES, Loss
from .networks import ACTIVATIONS, Autoencoder, TabularAutoencoder
from .networks.numbers import NUMBER_ENCODINGS
from .networks.weights import device_of
from .objectives import TabularObjective
from .training import (
    N_SAMPLE,
    Budget,
    Rows,
    Run,
    compute,
    number_of_batches,
    read,
)


class TabularAutoencoderTransformer(BaseAutoencoder):
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
        Fewest rows, or smallest share of the known ones, for a level of its own; rarer
        ones share a code, and are not decoded to.
    max_categories : int or None, default=64
        Most codes of a column. With more levels, the rarest share one.
    handle_unknown : {"infrequent_if_exist", "error"}, default="infrequent_if_exist"
        A level that was not there in `fit` is read as a rare one, if the column has
        some, otherwise as a gap; or it is an error. There is a warning where more than
        half of a column's values are such levels, among ten values or more, or among
        fewer if none of the levels of `fit` has their type: integers where `fit` had
        strings, for one.
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
    learning_rate_init : float, default=0.003
        Learning rate at the start.
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
    loss_, best_loss_ : float
        Its last and its lowest value.
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
        **BaseAutoencoder._parameter_constraints,
        "loss": [StrOptions({"auto", "squared_error", "huber"})],
        "corruption": [StrOptions({"masking", "swap"})],
        "corruption_rate": [Interval(Real, 0, 1, closed="left"), Mapping],
    }
    del _parameter_constraints["normalize_rows"]
    normalize_rows: float | None = None

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
        learning_rate_init: float = 0.003,
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
        super(BaseAutoencoder, self)._validate_params()
        check_layer_sizes(self)
        rates = self.corruption_rate
        if isinstance(rates, Mapping) and not all(
            isinstance(rate, Real) and 0 <= rate < 1 for rate in rates.values()
        ):
            refuse(self, "corruption_rate", "a share below 1, or a dictionary of such")
        if not set((self.column_kinds or {}).values()) <= set(KINDS):
            kinds = "'number', 'category' and 'date'"
            refuse(self, "column_kinds", f"None, or a dictionary to {kinds}")

    # From a frame to rows, and back

    def _check_training_data(
        self, X: Any, sample_weight: ArrayLike | None, *, reset: bool
    ) -> TrainingData:
        columns = self._check_columns(X, reset=reset, min_rows=2)
        weights = check_weights(sample_weight, np.empty((columns.n_rows, 0)))
        if reset:
            self._table = self._learn_table(columns, weights)
            self._schema = columns.schema()
            self.column_kinds_ = {
                name: column.kind
                for name, column in zip(columns.names, self._table.columns, strict=True)
            }
        matrix = self._table.encode(columns, warns=not reset)
        return TrainingData(matrix, weights).without_zero_weights()

    def _check_rows(self, X: Any, *, reset: bool, min_rows: int = 1) -> Any:
        columns = self._check_columns(X, reset=reset, min_rows=min_rows)
        return self._table.encode(columns)

    def _check_columns(self, X: Any, *, reset: bool, min_rows: int = 1) -> Columns:
        """Check names and sizes; what is in the columns is checked as it is encoded."""
        if is_frame(X):
            columns = Columns(X)
            validate_data(self, columns.native, reset=reset, skip_check_array=True)
            if columns.n_rows < min_rows:
                raise ValueError(
                    f"Found array with {columns.n_rows} sample(s) (shape="
                    f"{(columns.n_rows, len(columns))}) while a minimum of {min_rows} "
                    "is required."
                )
            if len(columns) == 0:
                raise ValueError(
                    f"Found array with 0 feature(s) (shape={(columns.n_rows, 0)}) "
                    "while a minimum of 1 is required."
                )
            if not reset:
                for place, column in enumerate(self._table.columns):
                    columns.check_type(place, column.kind)
            return columns
        return Columns(self._check_array(X, reset=reset, min_rows=min_rows))

    def _check_array(self, X: Any, *, reset: bool, min_rows: int) -> NDArray[Any]:
        try:
            array: NDArray[Any] = validate_data(
                self,
                X,
                reset=reset,
                # Categories may be strings.
                dtype=None if self._names_columns else "numeric",
                ensure_all_finite="allow-nan",
                ensure_min_samples=min_rows,
            )
        except (ValueError, TypeError) as error:
            fault = find_fault(X)
            if fault is None:
                raise
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{fault} ({error})") from error
        return array

    @property
    def _names_columns(self) -> bool:
        """Whether parameters say what columns are."""
        chosen = self.categorical_features
        return bool(self.column_kinds) or not (
            chosen is None or isinstance(chosen, str)
        )

    def _learn_table(
        self, columns: Columns, weights: NDArray[np.float64] | None
    ) -> Table:
        forced = self._forced_kinds(columns)
        found: list[Any] = []
        for place, name in enumerate(columns.names):
            kind = forced.get(place) or columns.kind(place)
            column: Any
            if kind == "category":
                column = CategoryColumn(
                    name,
                    min_frequency=self.min_frequency,
                    max_categories=self.max_categories,
                    handle_unknown=self.handle_unknown,
                )
            elif kind == "date":
                column = DateColumn(name, is_text=columns.is_text(place))
            else:
                column = NumberColumn(
                    name, self.scaling, is_integer=columns.is_integer(place)
                )
            found.append(column.fit(columns[place], weights))
        for place, column in enumerate(found):
            if place not in forced and columns.is_text(place):
                _warn_of_kind(column)
        return Table(found)

    def _forced_kinds(self, columns: Columns) -> dict[int, str]:
        """Say what is not taken for what its type says, by its place."""
        chosen = self.categorical_features
        chosen = np.asarray([] if chosen is None or isinstance(chosen, str) else chosen)
        if chosen.dtype == bool:
            if len(chosen) != len(columns):
                refuse(
                    self, "categorical_features", f"a mask of {len(columns)} columns"
                )
            chosen = np.flatnonzero(chosen)
        given: dict[str, Mapping[Any, str]] = {
            "categorical_features": dict.fromkeys(chosen.tolist(), "category"),
            "column_kinds": self.column_kinds or {},
        }
        forced = {}
        for parameter, kinds in given.items():
            for name, kind in kinds.items():
                place = columns.place(name)
                if place is None:
                    refuse(self, parameter, "made of columns of X")
                if not columns.can_be(place, kind):
                    raise ValueError(
                        f"Column {name!r} cannot be taken for a {kind}, as column_kinds"
                        f" says: it holds {columns.type_name(place)}. Convert it first."
                    )
                forced[place] = kind
        return forced

    def _rows(self, data: TrainingData, device: torch.device, **others: Any) -> Rows:
        others.pop("prepared", None)
        width = data.matrix.shape[1]
        return Rows(
            data.matrix,
            np.zeros(width),
            1.0,
            device,
            index=data.index,
            weights=data.weights,
            **others,
        )

    def _encode(self, matrix: Any) -> NDArray[np.float32]:
        return super()._encode(matrix) / np.float32(self.features_scale_)

    # From parameters to what the engine takes

    def _build_network(self, n_features: int) -> Autoencoder:
        layout = self._table.layout
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

    def _build_objective(self, loss: Loss) -> TabularObjective:
        device = loss.center.device
        return TabularObjective(
            loss,
            n_levels=self._table.layout.n_levels,
            deviances=torch.tensor(self._deviances, dtype=torch.float32, device=device),
            cells=torch.tensor(self._table.layout.cells, device=device),
            rates=torch.tensor(self._rates(), dtype=torch.float32, device=device),
            swaps=self.corruption == "swap",
            corruption_weight=float(self.corruption_weight),
        )

    def _rates(self) -> list[float]:
        """Return the share of rows that lose each cell."""
        columns, rates = self._table.in_order, self.corruption_rate
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

    def _resolve_budget(self, n_samples: int) -> Budget:
        budget = super()._resolve_budget(n_samples)
        if self.max_iter != "auto":
            return budget
        # Cells are hidden anew in each epoch, so that many of them do not tire.
        n_batches = number_of_batches(n_samples, budget.batch_size)
        return replace(budget, max_iter=min(max(10, math.ceil(1000 / n_batches)), 300))

    def _standardise(self, data: TrainingData) -> None:
        self._row_normalization = None
        self.whitening_ = self.dewhitening_ = None
        n_categories = len(self._table.layout.n_codes)
        codes = data.matrix[:, data.matrix.shape[1] - n_categories :]
        codes = codes if data.index is None else codes[data.index]
        self._deviances = [
            _entropy(codes[:, number], n_levels, data.weights)
            for number, n_levels in enumerate(self._table.layout.n_levels)
        ]

    def _resolve_loss(self, data: TrainingData, *, incremental: bool) -> str:
        return "squared_error" if self.loss == "auto" else str(self.loss)

    def _check_loss(self, data: TrainingData) -> None:
        pass

    def _learn_loss(self, data: TrainingData) -> None:
        self._loss_constants = {}

    def _loss(self, device: torch.device) -> Loss:
        nothing = torch.zeros(0, device=device)
        return LOSSES[self.loss_function_](nothing, 1.0, **self._loss_constants)

    def _code_attributes(self, run: Run, network: Autoencoder) -> dict[str, Any]:
        rows = run.rows
        sample = rows.spread(N_SAMPLE)
        with compute(0, rows.device), torch.no_grad():
            features = network.stack if self.features == "stack" else network.encode
            found = features(rows[sample]).cpu().double().numpy()
        weights = rows.weights(sample)
        shares = None if weights is None else weights.cpu().numpy()
        mean = np.average(found, axis=0, weights=shares)
        variance = np.average((found - mean) ** 2, axis=0, weights=shares).sum()
        scale = math.sqrt(variance / self.n_features_in_)
        return {
            **super()._code_attributes(run, network),
            "features_scale_": scale if scale > 0 else 1.0,
        }

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
            the same columns and types: integers are rounded, categories are levels.
            Dates in text are written as in `fit`, with the time zone that most had.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has another number of columns than the code, or values that are not
            finite.
        """
        check_is_fitted(self)
        code = check_codes(self, X, self.n_components_, self._n_features_out)
        code = code[:, -self.n_components_ :] * np.float32(self.features_scale_)
        source = torch.tensor(code, device=device_of(self.network_))
        decoded = self._table.decode(*self._read(source, self.network_.decode))
        if self._schema is None:
            return np.column_stack(decoded)
        return make_frame(decoded, self._schema)

    def impute(self, X: Any) -> Any:
        """Fill the gaps, and only these.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows with gaps.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A copy in which each gap holds what the network makes of the rest of the
            row. Only columns that held nothing in `fit`, or nothing but rare levels,
            keep theirs. Columns keep their types, which need not be those of `fit`:
            integers are rounded, dates in text are written like the others in `X`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column is not as in `fit`.
        """
        check_is_fitted(self)
        columns = self._check_columns(X, reset=False)
        matrix = self._table.encode(columns)
        rows = self._rows_to_read(matrix)
        found = self._read(rows, self.network_.forward)
        values = self._table.decode(*found, like=columns if columns.is_frame else None)
        gaps = [column.gaps(columns[n]) for n, column in enumerate(self._table.columns)]
        values = [
            columns.suit(n, filling) if gap.any() and not gap.all() else filling
            for n, (gap, filling) in enumerate(zip(gaps, values, strict=True))
        ]
        if columns.is_frame:
            return columns.as_given(fill_gaps(columns.native, gaps, values))
        filled = np.array(columns.native, copy=True)
        for place, (gap, column) in enumerate(zip(gaps, values, strict=True)):
            filled[gap, place] = column[gap]
        return filled

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
            of averages, on average. Gaps have none: they are NaN.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column is not as in `fit`.
        """
        check_is_fitted(self)
        matrix = self._check_rows(X, reset=False)
        if not per_column:
            return self._errors(matrix)
        objective = self._build_objective(self._loss(device_of(self.network_)))

        def costs(batch: Tensor) -> Tensor:
            found, seen = objective.costs(self.network_(batch), batch)
            return found.masked_fill(seen == 0, torch.nan)

        found = read(
            self.network_, costs, self._rows_to_read(matrix), self._table.layout.n_cells
        )
        return found[:, self._table.places]

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Minus the `reconstruction_error`: 0 is perfect, outliers are far below.
        """
        return -self.reconstruction_error(X)

    # Costs are shares of deviance already.
    _error_unit = 1.0

    def _errors(self, matrix: Any) -> NDArray[np.float32]:
        objective = self._build_objective(self._loss(device_of(self.network_)))

        def errors(batch: Tensor) -> Tensor:
            return objective.evaluate(self.network_, batch).unsqueeze(1)

        return read(self.network_, errors, self._rows_to_read(matrix), 1).ravel()

    def _read_a_row(self) -> None:
        code = np.zeros((1, self._n_features_out), dtype=np.float32)
        row = self.inverse_transform(code)
        self.transform(row)
        self.score_samples(row)

    def _read(self, source: Any, function: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return numbers, and the most likely level of each category."""
        layout = self._table.layout

        def decode(batch: Tensor) -> Tensor:
            numbers, logits = function(batch).tensor_split([layout.n_numbers], dim=1)
            levels = [
                of_column.argmax(dim=1, keepdim=True)
                if of_column.shape[1]
                else of_column.new_zeros(len(batch), 1)
                for of_column in logits.split(list(layout.n_levels), dim=1)
            ]
            return torch.cat([numbers, *levels], dim=1)

        width = layout.n_numbers + len(layout.n_levels)
        found = read(self.network_, decode, source, width)
        return found[:, : layout.n_numbers], found[:, layout.n_numbers :]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _warn_of_kind(column: CategoryColumn) -> None:
    """Warn where a category is made of numbers or dates, as objects or as strings."""
    kind = column.suggested_kind()
    if kind is None:
        return
    warnings.warn(
        f"Column {column.name!r} holds nothing but {kind}s, as objects or as strings, "
        f"and is taken for a category. Say what it is, with column_kinds="
        f"{{{column.name!r}: {kind!r}}}, or with 'category' if it is one.",
        stacklevel=6,
    )


def _entropy(
    codes: NDArray[np.float32], n_levels: int, weights: NDArray[Any] | None
) -> float:
    """Return the cross-entropy of levels under their own frequencies."""
    seen = codes < n_levels
    counts = np.bincount(
        codes[seen].astype(np.int64),
        weights=None if weights is None else weights[seen],
        minlength=n_levels,
    )
    shares = counts[counts > 0] / max(counts.sum(), 1e-300)
    # An almost constant column is not to outweigh all others by one rare level.
    return max(float(-(shares * np.log(shares)).sum()), 0.05)
