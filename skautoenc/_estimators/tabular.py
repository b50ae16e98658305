"""The autoencoder of tables with categories, dates and missing values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._data.columns import KINDS, Table
from .._data.conditions import nothing_given, read_conditions
from .._data.frames import Schema
from .._data.libraries import index_of
from .._data.validation import as_widths, check_codes, check_layer_sizes, refuse
from .._model.filling import predict_missing
from .._model.likelihood import cell_log_likelihoods
from .._model.sampling import draw_cells
from .._model.spread_names import spread_names
from .._model.table import TableSide
from .._networks.autoencoder import Autoencoder
from .._networks.layers import ACTIVATIONS
from .._networks.numbers import NUMBER_ENCODINGS
from .._networks.tabular import TabularAutoencoder
from .._objectives.tabular import TabularObjective
from .._persistence.schemas import (
    ANY_AUTOENCODER,
    LINEAR_FILL,
    is_a,
    is_finite,
    is_scale,
    list_of,
)
from .base import can_stream
from .decorators import available_if, with_callbacks
from .table import TableAutoencoder


def can_draw(estimator: TabularAutoencoderTransformer) -> bool:
    """Whether distributions are predicted; an AttributeError says what to set."""
    if estimator.number_output != "distribution":
        raise AttributeError(
            "New rows are drawn from distributions, but number_output="
            f"{estimator.number_output!r}. Set number_output='distribution' and fit."
        )
    return True


class TabularAutoencoderTransformer(TableAutoencoder):
    """Features of tables with numbers, categories, dates and missing values.

    A network learns to predict hidden cells from the other cells of the row.

    - :meth:`transform` returns features of the rows for a linear model.
    - :meth:`impute` fills missing values.
    - :meth:`sample` draws new rows, with ``number_output="distribution"``.
    - :meth:`inverse_transform` returns a frame like that of `fit`.
    - :meth:`reconstruction_error` says which cells are implausible, and
      :meth:`cell_log_likelihood` how likely they are given the rest of the row.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Width of the code. "auto" is the number of inputs of the network (numbers and
        categories), between 16 and 128, and 128 with ``number_output="distribution"``.

    features : {"code", "stack", "spread"}, default="stack"
        Output of `transform`:

        - "code" is the code.
        - "stack" is all hidden activations and the code. Linear models are more
          accurate with both.
        - "spread" also has the cells, in front, so that a linear model needs nothing
          else: the scaled numbers, indicators of missing values, the fill level of up
          to 16 bins of each number (as with `number_encoding`), and one-hot categories.
          If rows share entities, such as the customer of several orders, each entity
          has a column: see :ref:`entities <entities>`.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers. An int is the width of a single hidden
        layer. The decoder has the same layers in reverse. "auto" is ``(256,)``, and
        ``(128, 128)`` with ``number_output="distribution"``. A linear map runs parallel
        to the layers, from the row to the code and from the code to the reconstruction.

    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", \
            "silu", "selu"}, default="silu"
        Activation of the hidden layers. Initial weights are scaled to match it.

    dropout : float in [0, 1), default=0.3
        Dropout rate of the hidden activations in training. Tables are small, and
        networks without dropout overfit.

    number_encoding : {"auto", "piecewise_linear", "periodic"} or None, default="auto"
        Additional inputs of the encoder for each scaled number [3]_. "piecewise_linear"
        is the fill level of each of 16 bins, which hold equal numbers of rows.
        "periodic" is the sine and cosine at 8 frequencies, which are trained. Both help
        if other columns depend on a number in jumps or waves, and both cost time.
        "auto" is None, and "piecewise_linear" with ``number_output="distribution"``.

    number_output : {"mean", "distribution"}, default="mean"
        What the network predicts of a number or a date: its mean, or also its
        distribution over up to 32 bins with equal numbers of rows, in which values that
        many rows share have bins of their own. :meth:`sample` and the draws of
        :class:`AutoencoderImputer` need distributions. Categories always have them. A
        tenth of the cells of up to 4,000 rows is then held out of training, to
        calibrate the distributions: those of each column are made wider or narrower, so
        that the held-out cells are as likely as possible. They also decide how much
        linear predictions count when `impute` fills in values. With
        ``max_iter="auto"``, all epochs are trained, unless `early_stopping` is set:
        `n_iter_no_change` is not used.

    corruption : {"masking", "swap"}, default="masking"
        Kind of noise in the cells that are to be reconstructed: "masking" makes them
        missing values, "swap" takes the value of another row.

    corruption_rate : float, dict or "auto", default="auto"
        Mean share of the cells that are corrupted. Each row draws its own share, up to
        twice as large. A dictionary gives rates by column name, or by kind of column
        ("number", "category" and "date") for the columns that are not named. The rate
        of all others is zero. "auto" is 0.3. With ``number_output="distribution"`` it
        is 0.5, so that rows of all rates of missing values occur.

    corruption_weight : float or "auto", default="auto"
        Weight of the corrupted entries in the loss. The weight of the other entries is
        1. "auto" is 4, and 1000 with ``number_output="distribution"``: the network then
        learns to predict cells from the others, and hardly learns to reconstruct the
        cells that it sees.

    loss : {"auto", "squared_error", "huber"}, default="auto"
        Loss of numbers and dates. "huber" gives outliers less weight, "auto" is the
        squared error. The loss of categories is the cross-entropy. The loss of each
        column is divided by that of predicting the column's averages, so that no column
        dominates the others, however many categories it has.

    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns to treat as categories in addition to those of a categorical type:
        names, positions, or a boolean mask. In a frame, the type of a column decides
        whether it holds numbers, dates or categories (booleans, strings, categoricals).
        In a column of objects, the classes of the objects decide: it holds numbers if
        all objects are numbers, such as integers and decimals, dates if all are dates,
        and otherwise categories. A warning is given if the objects are of several
        classes. The columns of an array hold numbers.

    column_kinds : dict or None, default=None
        Kinds of columns, by name or position, that take precedence over the type of the
        column. "number" is possible for booleans and strings of numbers, "date" for
        strings in ISO 8601, "category" for every column. Columns of strings that are
        all numbers or all dates are categories by default, with a warning, unless they
        are named here.

    scaling : {"standard", "quantile"}, default="standard"
        Scaling of numbers. "standard" subtracts the mean and divides by the standard
        deviation. "quantile" maps ranks to a normal distribution (RankGauss), which is
        robust to outliers. With "standard", the values that `impute` fills in are close
        to means. With "quantile", they are closer to medians.

    min_frequency : int, float or None, default=None
        Minimum number of rows (int), or minimum share of the known values (float), of a
        category with an embedding of its own. Rarer categories share one embedding, and
        `inverse_transform` and `impute` never return them. In scores, the error of a
        rare category is computed from the common share of all rare ones.

    max_categories : int or None, default=64
        Maximum number of embeddings for the categories of a column. If a column has
        more categories, the rarest share one embedding. None sets no limit.

    handle_unknown : {"infrequent_if_exist", "error"}, default="infrequent_if_exist"
        How to treat a category that `fit` has not seen: encode it as a rare category if
        the column has any, otherwise as a missing value, or raise an error. In scores,
        its error is at least that of the column's least likely category. A warning is
        raised if more than half of a column's values are such categories, among ten
        values or more. Among fewer values it is raised if no category of `fit` has
        their type, such as integers where `fit` had strings.

    solver : {"adam", "sgd"}, default="adam"
        Optimizer: Adam with decoupled weight decay, or stochastic gradient descent with
        Nesterov momentum.

    alpha : float, default=0.01
        Weight decay of weight matrices. Biases and normalization layers are not
        decayed.

    batch_size : int or "auto", default="auto"
        Minimum number of rows in a batch. Rows left over by the division into batches
        are distributed among the batches, so a batch has fewer rows only if the data
        has fewer. "auto" is 128.

    learning_rate : {"constant", "linear", "cosine"}, default="cosine"
        Schedule of the learning rate over the fit: constant, linear decay to zero, or
        decay to zero along half a cosine.

    learning_rate_init : float or "auto", default="auto"
        Initial learning rate. "auto" is 0.003.

    momentum : float in [0, 1), default=0.9
        Momentum of ``solver="sgd"``. Adam ignores it.

    max_grad_norm : float or None, default=None
        Maximum norm of the gradient of all weights. A longer gradient is scaled down to
        it. None sets no limit.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. "auto" is the number that makes about 1000 steps,
        between 10 and 300. More epochs hardly improve imputation, and the features of
        small tables overfit. With ``number_output="distribution"``, "auto" is 30
        epochs, or as many as make 450 steps or 40 steps a column if these are more. It
        is never more than about 1000 steps, or 10 epochs.

    shuffle : bool, default=True
        Whether each epoch visits the rows in a new random order.

    tol : float, default=0.0
        Minimum decrease of the loss that counts as an improvement, see
        `n_iter_no_change`. The unit is that of `loss_curve_`.

    n_iter_no_change : int, default=50
        Number of consecutive epochs without improvement after which the fit stops.

    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the rows, to monitor their loss
        instead of the training loss, and to restore the weights of the best epoch at
        the end.

    validation_fraction : float in (0, 1), default=0.1
        Share of the rows to hold out with `early_stopping`.

    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit, with a new optimizer
        state and learning rate schedule. The loss, and means, scales and other
        statistics by which the data is prepared, stay those of the first fit.

    checkpoint : str, path-like or None, default=None
        Folder in which `fit` saves its progress. If a fit is killed at any moment and
        started again with the same parameters and data, it resumes from there and gives
        the same bytes as without the interruption. Each fit has its own subfolder, so
        searches and scripts with several fits can share one folder. Completed fits are
        not trained again. Delete the folder, or call
        :func:`~skautoenc.clear_checkpoints`, to start anew.

    device : str or torch.device, default="auto"
        Device to compute on. "auto" is the CPU, unless an accelerator is available and
        the network is large enough to benefit from it.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of all random choices in training: initial weights, order of
        the rows, noise, and held-out rows. An int makes fits reproducible, bit for bit
        on the same processor; see the Notes on threads.

    verbose : bool or int, default=False
        Whether to print one line per epoch.

    Attributes
    ----------
    column_kinds_ : dict
        Kind of each column: "number", "category" or "date".

    n_components_ : int
        Width of the code.

    features_ : str
        What `transform` returns.

    features_scale_ : float
        Divisor of the network's activations; the cells of ``features="spread"`` are not
        divided. With it, the variances of the features sum
        up to the number of columns, as the variances of scaled columns do. Therefore
        neither dominates in a linear model of both.

    loss_function_ : str
        Name of the loss.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in `fit`. Defined only if all names are strings.

    network_ : torch.nn.Module
        Network in evaluation mode.

    n_iter_ : int
        Number of epochs trained, including those of earlier warm starts and of
        `partial_fit`.

    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch, as a share of the deviance of the columns. 1
        is no better than predicting averages, 0 is perfect.

    loss_ : float
        Last value of `loss_curve_`. If the loss of the last epoch was a fifth or more
        above the lowest, the fit restored the weights of the best epoch, and this is
        the lowest value.

    best_loss_ : float
        Lowest value of `loss_curve_`.

    validation_scores_ : list of float or None
        Explained share of the variance (R²) or deviance (D²) of the held-out rows,
        without noise, after each epoch trained with `early_stopping`. None without
        `early_stopping`.

    best_validation_score_ : float or None
        Validation score of the final weights of the last fit. None without
        `early_stopping`.

    See Also
    --------
    AutoencoderTransformer : Codes of arrays of numbers without missing values.
    AutoencoderImputer : Missing values filled in a pipeline, or drawn several times.
    sklearn.impute.IterativeImputer : Regression of each column on the others.

    Notes
    -----
    Parameters by group:

    - code: `n_components`, `features`
    - network: `hidden_layer_sizes`, `activation`, `dropout`, `number_encoding`,
      `number_output`
    - noise: `corruption`, `corruption_rate`, `corruption_weight`
    - loss: `loss`
    - preparation: `categorical_features`, `column_kinds`, `scaling`, `min_frequency`,
      `max_categories`, `handle_unknown`
    - solver: `solver`, `alpha`, `batch_size`, `learning_rate`, `learning_rate_init`,
      `momentum`, `max_grad_norm`, `max_iter`, `shuffle`, `tol`, `n_iter_no_change`,
      `early_stopping`, `validation_fraction`
    - run: `warm_start`, `checkpoint`, `device`, `random_state`, `verbose`

    The network is a denoising autoencoder [1]_ whose noise is missing cells. It
    therefore learns to treat missing values [2]_. The embedding of a category is added
    to the first layer; a missing value has an embedding of its own. Missing values do
    not contribute to the loss. A date is encoded as a point in time and as its position
    in the year, the week and the day.

    The corrupted cells are drawn at random in each epoch, so the loss of an epoch is
    noisy, and `n_iter_no_change` is large by default.

    Threads: a network so wide that several threads share a training step gives the same
    bytes for the same `random_state` as long as torch sums in the same order on any
    number of threads. Smaller networks always run on one thread.

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

    _why_alone = "categories and quantiles are learnt from all rows in one process"
    __module__ = "skautoenc"

    column_kinds_: dict[str, str]
    features_scale_: float

    _fitted_schema = {
        **ANY_AUTOENCODER,
        "network_": is_a(TabularAutoencoder),
        "column_kinds_": is_a(dict),
        "_table": is_a(Table),
        "_schema": is_a(Schema, None),
        "_deviances": list_of(is_finite),
        "features_scale_": is_scale,
        **LINEAR_FILL,
    }
    _parameter_constraints = {
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "features": [StrOptions({"code", "stack", "spread"})],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "column_kinds": [Mapping, None],
        "scaling": [StrOptions({"standard", "quantile"})],
        "number_encoding": [StrOptions({"auto", *NUMBER_ENCODINGS}), None],
        "number_output": [StrOptions({"mean", "distribution"})],
        "min_frequency": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
        ],
        "max_categories": [None, Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"infrequent_if_exist", "error"})],
        **TableAutoencoder._parameter_constraints,
        "corruption_weight": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "loss": [StrOptions({"auto", "squared_error", "huber"})],
        "corruption": [StrOptions({"masking", "swap"})],
        "corruption_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="left"),
            Mapping,
        ],
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.3,
        features: Literal["code", "stack", "spread"] = "stack",
        categorical_features: Any = "from_dtype",
        column_kinds: Mapping[Any, str] | None = None,
        scaling: Literal["standard", "quantile"] = "standard",
        number_encoding: Literal["auto", "piecewise_linear", "periodic"]
        | None = "auto",
        number_output: Literal["mean", "distribution"] = "mean",
        min_frequency: float | None = None,
        max_categories: int | None = 64,
        handle_unknown: Literal["infrequent_if_exist", "error"] = "infrequent_if_exist",
        corruption: Literal["masking", "swap"] = "masking",
        corruption_rate: float | Mapping[str, float] | Literal["auto"] = "auto",
        corruption_weight: float | Literal["auto"] = "auto",
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
        self.number_output = number_output
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
        X : frame or array-like of shape (n_samples, n_features), or Blocks of these
            Training data: a frame of pandas, polars, pyarrow or modin, whose columns
            are numbers, categories, booleans or dates, or an array. Values may be
            missing. :class:`Blocks`, and collections such as a lazy frame of polars or
            a frame of Dask, are never loaded as a whole. Sparse matrices are not
            supported.

        y : Ignored
            Not used by the fit. Callbacks receive it as the target. If it is None, they
            receive `X`, which is the target of an autoencoder.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss. None gives all rows the same weight.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, if the loss is not finite in the
            first epoch, if the checkpoint is damaged, or if a parameter holds an object
            that a checkpoint cannot distinguish from others.
        MemoryError
            If memory runs out, on the device or on the host.
        OSError
            If the checkpoint folder is not writable.

        Warns
        -----
        ConvergenceWarning
            If the loss is not finite in a later epoch. The fit keeps the best weights
            up to then.
        UserWarning
            If training was interrupted from the keyboard. The estimator is usable.
            If the checkpoint folder holds an unfinished fit with other parameters or
            data, or if it is no longer writable.
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
        X : frame or array-like of shape (n_samples, n_features), or Blocks of these
            Part of the training data, with any number of rows. The first part needs at
            least two rows and determines scales and categories: it should be a
            representative sample.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of this part in the loss. None gives all rows the same
            weight.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or if the loss is not finite.
        MemoryError
            If memory runs out, on the device or on the host.
        AttributeError
            With `early_stopping`, which needs all of the data.

        Notes
        -----
        The learning rate is constant, since the length of the stream is unknown. Dead
        units are not reset, and ``loss="auto"`` is the squared error.
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
            The features: with ``features="stack"`` the hidden activations and the code,
            divided by `features_scale_`, with "code" the code alone, with "spread" the
            cells in front of both.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a number is
            infinite.
        """
        return self._transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : Ignored
            Present for API consistency.

        Returns
        -------
        ndarray of str of shape (n_features_out,)
            The name of the class and a number. With ``features="spread"`` the cells
            come first: for a column "a" these are "a", "a_missing" and "a_bin0" to
            "a_bin15", or "a_x" for each category "x", "a_infrequent" and "a_missing".
            Bins that no number lies in are left out. If several columns describe
            entities that rows share, "a+b+c_0" is the first of these.
        """
        names: NDArray[np.object_] = super().get_feature_names_out(input_features)
        network = self.network_
        if self.features_ != "spread" or not isinstance(network, TabularAutoencoder):
            return names
        assert network.cells_apart is not None
        cells = spread_names(self._model.side.table, network.cells_apart)
        return np.array([*cells, *names[: len(names) - len(cells)]], dtype=object)

    # Network and objective from parameters

    def _build_network(self, table: Table) -> Autoencoder:
        layout = table.layout
        n_inputs = layout.n_numbers + layout.n_extras + sum(layout.n_codes)
        sizes = as_widths(self.hidden_layer_sizes)
        if isinstance(sizes, str):
            sizes = (128, 128) if self._predicts_distributions else (256,)
        hidden = tuple(map(int, sizes))
        encoding = self.number_encoding
        if encoding == "auto":
            encoding = "piecewise_linear" if self._predicts_distributions else None
        return TabularAutoencoder(
            n_numbers=layout.n_numbers,
            n_extras=layout.n_extras,
            n_codes=layout.n_codes,
            n_levels=layout.n_levels,
            n_components=self._width_of_code(n_inputs),
            hidden_layer_sizes=hidden,
            activation=self.activation,
            dropout=float(self.dropout),
            number_encoding=encoding,
            n_bins=layout.n_bins,
            bin_centers=table.bin_centers,
            spreads=self.features == "spread",
        )

    def _width_of_code(self, n_inputs: int) -> int:
        if self.n_components != "auto":
            return int(self.n_components)
        return 128 if self._predicts_distributions else min(max(n_inputs, 16), 128)

    def _make_objective(self, side: TableSide) -> TabularObjective:
        weight = self.corruption_weight
        if weight == "auto":
            weight = 1000.0 if self._predicts_distributions else 4.0
        rates, swaps = _rates_by_column(self, side.table), self.corruption == "swap"
        return side.objective(rates, swaps=swaps, corruption_weight=float(weight))

    def _default_max_iter(self, n_batches: int, n_inputs: int) -> int:
        # Corruption is redrawn each epoch, so more epochs keep helping.
        n_steps = 1000
        if self._predicts_distributions:
            # Distributions of small tables overfit earlier, those of few columns first.
            n_steps = min(max(450, 30 * n_batches, 40 * n_inputs), n_steps)
        return min(max(10, math.ceil(n_steps / n_batches)), 300)

    # Methods of fitted estimators

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            Output of :meth:`transform`. The code alone, its last `n_components`
            columns, is enough.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features)
            The reconstruction. If the estimator was fitted on a frame, it is a frame of
            the same library with the same columns and types, and integers are rounded.
            It has the index of `X` if that is a pandas frame. The integers of an array
            are returned as floats. Numbers and dates lie between the lowest and the
            highest value of their column in `fit` (except rows of weight zero). Dates
            in text are written as in `fit`, with the most frequent time zone.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the number of columns of `X` is not that of the code, or if a value is
            not finite.
        """
        check_is_fitted(self)
        model = self._model
        code = check_codes(self, X, model.n_components, model.n_features_out)
        rows = model.side.restore(model.decode(code))
        return model.side.as_frame(rows, index_of(X))

    def impute(self, X: Any) -> Any:
        """Fill missing values and leave all others unchanged.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows with missing values.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            A copy in which each missing value is replaced by what the network predicts
            from the rest of the row. Numbers and dates lie between the lowest and the
            highest value of their column in `fit`. Only columns without any value in
            `fit`, or with rare categories only, keep their missing values.

            A column keeps its type, with few exceptions. A column without any value may
            have any type, and gets that of `fit`. A pandas Categorical or polars Enum
            without a category that is filled in gets the type of `fit`. If it also has
            categories that were not in `fit`, the category is appended instead, and the
            result is unordered. If an integer type is narrower than in `fit`, numbers
            are clipped to its range, and it is replaced by the type of `fit` for
            categories outside of its range. Dates and numbers in text are written like
            the others in `X`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column differs from that of `fit`, or has a type that cannot represent
            the values to fill in.

        Notes
        -----
        With ``number_output="distribution"``, imputed values are more accurate. A
        number, a date or the probability of a category is a weighted average of two
        predictions. One is that of the network; for numbers it is the mean of the
        predicted value and of the mean of the distribution. The other one is linear,
        from a joint normal distribution of numbers and indicators of categories that is
        learned from up to 4,096 rows. It is more accurate for small tables whose
        columns depend on each other linearly. The cells that `fit` holds out determine
        the weights. Only the prediction of the network is used if no cells are held
        out, if there are no numbers or more than 200, or if most cells of many columns
        are missing.
        """
        check_is_fitted(self)
        model = self._model
        columns = self._check_columns(X, model.side.table)
        rows = predict_missing(model, model.side.table.encode(columns))
        return model.side.fill(columns, rows)

    @available_if(can_draw)
    def sample(
        self,
        n_samples: int = 1,
        conditions: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Draw new rows from the distribution that the network has learned.

        Parameters
        ----------
        n_samples : int, default=1
            Number of new rows. If `conditions` has several rows, it is the number of
            new rows for each of them.

        conditions : dict, frame, array-like or None, default=None
            Cells that are given, so that only the others are drawn. A dictionary gives
            values by column for all rows. A frame has some of the columns, and a row of
            given cells for each new row. If the estimator was fitted on an array, an
            array of all columns is possible. Cells with missing values are drawn.

        random_state : int, RandomState instance or None, default=None
            Seed or generator of the draws.

        Returns
        -------
        frame or ndarray of shape (n_samples, n_features)
            New rows without missing values, in the form that :meth:`inverse_transform`
            returns. Integers are whole, numbers and dates lie between the lowest and
            the highest value of their column in `fit`, and have no more decimal places
            than those, and categories are those of `fit` that are not rare. Only
            columns that :meth:`impute` leaves missing are missing.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column or a category of `conditions` was not in `fit`, or if a number
            or a date is out of the range of its column.
        AttributeError
            If `number_output` is not "distribution".

        Notes
        -----
        The cells of a row are drawn one after the other, in a random order
        for each row. Each cell is drawn from its distribution given the cells drawn
        before. Within a bin, a number is drawn from the distribution of the bin's
        values in `fit`.

        The distributions are those before calibration (see `number_output`). For a
        single cell, a calibrated distribution is wider, because it allows for the
        errors of the network. In many rows these errors average out, but wider
        distributions would make the columns less dependent on each other.

        `fit` draws some rows to correct the distributions of new rows: the logits of
        each bin and category are shifted, so that it is about as frequent in new rows
        as in the rows of `fit`, in which missing cells are predicted. `partial_fit`
        does not, because the rows of one call may be unlike the others.

        The rows of one call are stratified: the random numbers that a column is drawn
        with are spread evenly over the rows (Latin hypercube sampling). Each row has
        the distribution that it would have alone. Means and shares of a column vary
        less between calls than those of independent rows.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from skautoenc import TabularAutoencoderTransformer
        >>> rng = np.random.default_rng(0)
        >>> size = rng.normal(170, 10, 400).round()
        >>> frame = pd.DataFrame({"size": size, "fits": np.where(size > 175, "L", "S")})
        >>> transformer = TabularAutoencoderTransformer(
        ...     number_output="distribution", max_iter=50, random_state=0
        ... ).fit(frame)
        >>> rows = transformer.sample(100, {"fits": "L"}, random_state=0)
        >>> rows.shape, bool((rows["fits"] == "L").all())
        ((100, 2), True)
        >>> bool(rows["size"].mean() > 175)
        True
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        model = self._model
        table = model.side.table
        if conditions is None:
            given = nothing_given(table)
        else:
            given = read_conditions(conditions, table)
        given = given.repeated(int(n_samples))
        generator = check_random_state(random_state)
        values = draw_cells(model, given.matrix, generator, for_new_rows=True)
        return model.side.as_frame(given.put_into(values))

    def reconstruction_error(
        self, X: Any, *, per_column: bool = False
    ) -> NDArray[np.float32]:
        """Return the reconstruction error of rows or cells.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        per_column : bool, default=False
            Whether to return the error of each cell instead of the mean of each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_features), float32
            Errors of the cells, or their mean over each row, in units of the mean error
            of predicting the column's averages. The error of a missing cell is NaN. A
            row without any value has an error of 1, as if each column were predicted by
            its average. An error is infinite where float32 overflows.

            A category that was not seen in `fit` has the error of the column's least
            likely category in that row, and at least ``log(n + 1) / entropy``: the cost
            of one row in addition to the n known ones of `fit`, in units of the entropy
            of the column's categories. Rare categories that share an embedding have an
            error of ``-log(share) / entropy``, with their common share of the rows.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column differs from that of `fit`.
        """
        if not per_column:
            return self._errors(X).astype(np.float32)
        check_is_fitted(self)
        errors: NDArray[np.float32] = self._model.cell_errors(self._read_rows(X))
        return errors

    @available_if(can_draw)
    def cell_log_likelihood(self, X: Any) -> NDArray[np.float32]:
        """Return the log-likelihood of each cell, given the others of its row.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            Natural logarithms (nats) of the probability of the category, or of the bin
            that a number or a date lies in, if only the other cells of the row are
            known. Bins hold about equal shares of the rows of `fit`, so values of
            different columns can be compared. Beyond the range of `fit` a nat is
            subtracted for each standard deviation. A category that is rare, or was not
            in `fit`, is as likely as the least likely one. NaN for missing cells, and
            for columns without any value in `fit`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column differs from that of `fit`.
        AttributeError
            If `number_output` is not "distribution".

        Notes
        -----
        Each cell is hidden in turn, so this takes as many passes as there are columns.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from skautoenc import TabularAutoencoderTransformer
        >>> rng = np.random.default_rng(0)
        >>> size = rng.normal(170, 10, 400).round()
        >>> frame = pd.DataFrame({"size": size, "fits": np.where(size > 175, "L", "S")})
        >>> transformer = TabularAutoencoderTransformer(
        ...     number_output="distribution", max_iter=50, random_state=0
        ... ).fit(frame)
        >>> rows = pd.DataFrame({"size": [190.0, 190.0], "fits": ["L", "S"]})
        >>> nats = transformer.cell_log_likelihood(rows)
        >>> bool(nats[0, 1] > -0.2), bool(nats[1, 1] < -2)
        (True, True)
        """
        check_is_fitted(self)
        return cell_log_likelihoods(self._model, self._read_rows(X))

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Negative :meth:`reconstruction_error`. 0 is perfect, and outliers have large
            negative scores. A row without any value has a score of -1, as if each
            column were predicted by its average.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a column differs from that of `fit`.
        """
        return -self.reconstruction_error(X)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the negative mean reconstruction error, for searches without labels.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            Rows to score.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the mean. None gives all rows the same weight.

        Returns
        -------
        float
            Weighted mean of :meth:`score_samples`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a number is
            infinite.
        """
        return -self._mean_error(X, sample_weight)


def _rates_by_column(
    estimator: TabularAutoencoderTransformer, table: Table
) -> list[float]:
    """Return the share of rows in which each cell is hidden."""
    columns, rates = table.in_order, estimator.corruption_rate
    if isinstance(rates, str):
        rates = 0.5 if estimator._predicts_distributions else 0.3
    if not isinstance(rates, Mapping):
        return [float(rates)] * len(columns)
    if not set(rates) <= {*KINDS, *(column.name for column in columns)}:
        refuse(
            estimator,
            "corruption_rate",
            "a share, or a dictionary of shares by columns and kinds of columns",
        )
    return [
        float(rates.get(column.name, rates.get(column.kind, 0.0))) for column in columns
    ]
