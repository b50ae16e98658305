"""Detection of outliers by an ensemble of small autoencoders."""

from __future__ import annotations

import math
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control
from sklearn.base import OutlierMixin, clone
from sklearn.utils import Tags, check_random_state, check_scalar, get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._data.array_api import as_given
from .._data.blocks import Blocks
from .._data.frames import Columns
from .._data.libraries import frame_like, index_of
from .._data.row_keys import DistinctRows, distinct_rows
from .._data.rows import TrainingData, take
from .._data.validation import check_rows, refuse
from .._model.hidden import expected_values
from .._model.outliers import (
    ColumnScale,
    Member,
    OutlierModel,
    Units,
    learn_column_scale,
    place_of,
    scaled,
)
from .._model.rarity import weighted_quantile
from .._model.table import TableSide
from .._parallel.together import call_together
from .._persistence.schemas import (
    ANY_ESTIMATOR,
    MOST_MEMBERS,
    array,
    is_count,
    is_finite,
    list_of,
    or_none,
)
from .._training.seeds import draw_seed
from .base import BaseAutoencoder
from .conv_variational import ConvVariationalAutoencoder
from .convolutional import ConvAutoencoderTransformer
from .decorators import with_callbacks
from .dense import AutoencoderTransformer
from .fitted import ModelHolder
from .parameters import Parameters
from .tabular import TabularAutoencoderTransformer
from .variational import VariationalAutoencoder

# Maximum numbers of rows to learn from: threshold and units of scores; units of cells.
_N_CALIBRATION = 10_000
# Of tables fewer, whose cells are hidden one by one.
_N_FOR_TABLES = 4096
_N_FOR_CELLS = 2048
# Maximum number of values of these rows, which are a dense array.
_N_VALUES = 2**25
# The part of an autoencoder's `fit` after validation.
_fit_with_callbacks = with_callbacks(BaseAutoencoder._fit_rows)
_RAW_LOSSES = ("binary_cross_entropy", "poisson")


class Explanation(NamedTuple):
    """Result of `AutoencoderOutlierDetector.explain`.

    Parameters
    ----------
    surprise : ndarray or frame of shape (n_samples, n_features)
        How surprising each cell is, given the rest of its row.
    expected : ndarray or frame of shape (n_samples, n_features)
        The value that was expected in its place.
    """

    surprise: Any
    expected: Any


class AutoencoderOutlierDetector(OutlierMixin, ModelHolder, Parameters):
    """Outlier detection by an ensemble of small autoencoders.

    Each autoencoder is fitted to a small sample of the rows. A row is scored only by
    autoencoders that have not seen it, so outliers among the training rows do not
    affect their own scores. The score of a row has three parts: the error of hidden
    cells, which are predicted from the other cells of the row, the sparsity of its
    neighbourhood, and the distance to the nearest training row. For tables, the score
    has two parts: the surprise of the most surprising cell, and the distance to the
    nearest training row.

    Parameters
    ----------
    autoencoder : estimator, default=None
        The autoencoder to fit to each sample: an `AutoencoderTransformer`, a
        `VariationalAutoencoder`, a `ConvAutoencoderTransformer` or
        `ConvVariationalAutoencoder` for images, or a
        `TabularAutoencoderTransformer`. None is a small dense one, or a
        `TabularAutoencoderTransformer` for frames with missing values or columns that
        are not numeric. It should be trained with `corruption_rate` above zero, if it
        has that parameter, because cells are hidden from it.

    n_estimators : int, default=8
        Number of autoencoders, from 4 to 1,000.

    max_samples : int or "auto", default="auto"
        Number of distinct rows in a sample, at most half of the distinct rows. "auto"
        is 512 for rows of numbers, and 1024 for tables, because their columns need more
        rows.

    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows below the threshold. "auto" sets the threshold by
        `false_alarm_rate`.

    false_alarm_rate : float in (0, 0.5], default=0.05
        Share of new inliers that are labelled as outliers, for
        ``contamination="auto"``. The actual rate is close to this if the training rows
        are inliers. Outliers among them lower the threshold, and therefore the actual
        rate.

    scale_columns : bool or "auto", default="auto"
        Whether columns are centred and divided by their standard deviations first.
        "auto" does so unless rows are images or tables, or the loss is for raw values.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of the samples, and of the seeds of all autoencoders. It
        replaces the `random_state` of `autoencoder`. An int gives the same detector in
        every fit.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted autoencoders.

    offset_ : float
        The threshold: ``decision_function = score_samples - offset_``.

    max_samples_ : int
        Number of distinct rows in a sample.

    calibration_scores_ : ndarray of shape (n_calibration,)
        Scores of up to 10,000 distinct training rows, or 4,096 of a table, ascending,
        each by the autoencoders that have not seen it.

    column_center_, column_scale_ : ndarray of shape (n_features_in_,) or None
        Means and standard deviations of the columns; None if they are not scaled.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in `fit`. Defined only if all names are strings.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers are easy to isolate by random splits.
    sklearn.neighbors.LocalOutlierFactor : Outliers are where density is low.

    Notes
    -----
    Parameters by group:

    - members: `autoencoder`, `n_estimators`, `max_samples`
    - threshold: `contamination`, `false_alarm_rate`
    - preparation: `scale_columns`
    - run: `random_state`

    Equal rows count as one row with a weight, so repetition does not make a row an
    inlier. An autoencoder does not score rows that equal a row of its sample. Equal
    rows are identified by 64-bit keys. Therefore ``fit_predict(X)`` equals
    ``fit(X).predict(X)``, and scores of training rows are comparable to those of new
    rows.

    Each part of the score is centred and divided by its interquartile range on the
    training rows. Of a table, each part is minus the logarithm of the share of training
    rows that are at least as unusual, which is extrapolated beyond the most unusual
    ones. A row without any value has the lowest score of the training rows.

    Dense autoencoders are trained jointly on one thread. The fit has the same bytes for
    any ``n_jobs`` of a search around it.

    Averages over autoencoders find outliers better than a single one [1]_. The
    threshold corresponds to a conformal p-value [2]_.

    References
    ----------
    .. [1] Chen, Sathe, Aggarwal and Turaga, "Outlier detection with autoencoder
       ensembles", SDM 2017.
    .. [2] Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with conformal
       p-values", The Annals of Statistics 51, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skautoenc import AutoencoderOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(size=500)
    >>> X = np.column_stack([first, first + 0.1 * rng.normal(size=500)])
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    >>> detector.predict([[1.5, 1.5], [1.5, -1.5]])
    array([ 1, -1])
    """

    _why_alone = "it trains many small autoencoders, each in one process"
    __module__ = "skautoenc"

    estimators_: list[BaseAutoencoder]
    offset_: float
    max_samples_: int
    calibration_scores_: NDArray[np.float64]
    column_center_: NDArray[np.float64] | None
    column_scale_: NDArray[np.float64] | None

    _last_attribute = "calibration_scores_"
    _model: OutlierModel

    _fitted_schema = {
        **ANY_ESTIMATOR,
        "estimators_": list_of(lambda value: isinstance(value, BaseAutoencoder)),
        "offset_": is_finite,
        "max_samples_": is_count,
        "calibration_scores_": array(np.float64, 1),
        "column_center_": or_none(array(np.float64, 1)),
        "column_scale_": or_none(array(np.float64, 1)),
        "_calibration_weights": or_none(array(np.float64, 1)),
        "_keys": list_of(array(np.uint64, 1)),
        "_places": list_of(array(np.float32, 2)),
        "_weights": list_of(array(np.float32, 1)),
        "_cell_scales": array(np.float64, 1),
        "_part_centers": array(np.float64, 1),
        "_part_scales": array(np.float64, 1),
        "_cell_tails": or_none(array(np.float64, 2)),
        "_part_tails": or_none(array(np.float64, 1)),
    }
    _parameter_constraints: dict[str, list[Any]] = {
        "autoencoder": [
            AutoencoderTransformer,
            ConvAutoencoderTransformer,
            ConvVariationalAutoencoder,
            TabularAutoencoderTransformer,
            VariationalAutoencoder,
            None,
        ],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "false_alarm_rate": [Interval(Real, 0, 0.5, closed="right")],
        "n_estimators": [Interval(Integral, 4, MOST_MEMBERS, closed="both")],
        "max_samples": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
        ],
        "scale_columns": [StrOptions({"auto"}), "boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        autoencoder: BaseAutoencoder | None = None,
        *,
        contamination: float | Literal["auto"] = "auto",
        false_alarm_rate: float = 0.05,
        n_estimators: int = 8,
        max_samples: int | Literal["auto"] = "auto",
        scale_columns: bool | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.scale_columns = scale_columns
        self.random_state = random_state

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the autoencoders and set the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Training rows, with or without outliers; images for an autoencoder of
            images.

        y : Ignored
            Present for API consistency. Callbacks are given it, or `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, which count as repetitions.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable.
        """
        self._validate_params()
        for name in (self._last_attribute, "_model"):
            self.__dict__.pop(name, None)
        template = _make_template(self.autoencoder, X)
        template._validate_params()
        data, form = template._read_training_data(X, sample_weight, None)
        if self.autoencoder is None and isinstance(template, AutoencoderTransformer):
            template.set_params(**_small_widths(template.n_features_in_))
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(template, name):
                setattr(self, name, getattr(template, name))
        task = {"estimator": self, "X": X, "y": X if y is None else y}
        context = self._init_callback_context(max_subtasks=1)
        context.call_on_fit_task_begin(**task)
        rows = distinct_rows(data)
        n_rows = max(_N_CALIBRATION // 10, _N_VALUES // data.matrix.shape[1])
        is_table = isinstance(template, TabularAutoencoderTransformer)
        most = _N_FOR_TABLES if is_table else _N_CALIBRATION
        calibration = _first(rows.data, min(most, n_rows))
        scale = learn_column_scale(calibration) if self._scales(template) else None
        members = self._fit_members(template, rows, form, scale)
        self._take_over(members, scale, calibration)
        context.call_on_fit_task_end(**task, reconstruction_attributes={})
        return self

    # Members from parameters

    def _scales(self, template: BaseAutoencoder) -> bool:
        """Whether columns are scaled."""
        is_table = isinstance(template, TabularAutoencoderTransformer)
        if self.scale_columns != "auto":
            if self.scale_columns and is_table:
                refuse(self, "scale_columns", "False or 'auto' for a table")
            return bool(self.scale_columns)
        is_raw = template.loss in _RAW_LOSSES
        return not (is_table or is_raw or hasattr(template, "image_shape"))

    def _fit_members(
        self,
        template: BaseAutoencoder,
        rows: DistinctRows,
        form: Any,
        scale: ColumnScale | None,
    ) -> list[tuple[BaseAutoencoder, Member]]:
        random_state = check_random_state(self.random_state)
        wanted = self.max_samples
        if wanted == "auto":
            is_table = isinstance(template, TabularAutoencoderTransformer)
            wanted = 1024 if is_table else 512
        self.max_samples_ = max(1, min(int(wanted), len(rows) // 2))
        if self.autoencoder is None and isinstance(
            template, TabularAutoencoderTransformer
        ):
            template.set_params(max_iter=_table_epochs(self.max_samples_))
        drawn = _draw(len(rows), self.max_samples_, self.n_estimators, random_state)
        return _fit_members(template, rows, form, scale, drawn, random_state)

    def _take_over(
        self,
        fitted: list[tuple[BaseAutoencoder, Member]],
        scale: ColumnScale | None,
        calibration: TrainingData,
    ) -> None:
        """Learn the units and the threshold, and set the fitted attributes."""
        members = [member for _, member in fitted]
        width = members[0].model.side.width
        model = OutlierModel(scale, members, Units.none(width))
        model, scores = model.calibrated(calibration, _N_FOR_CELLS)
        finite = np.isfinite(scores)
        scores[~finite] = scores[finite].min(initial=0.0)
        order = np.argsort(scores, kind="stable")
        self.estimators_ = [estimator for estimator, _ in fitted]
        self.column_center_ = None if scale is None else scale.center
        self.column_scale_ = None if scale is None else scale.scale
        self._keys = [member.keys for member in members]
        self._places = [member.places for member in members]
        self._weights = [member.weights for member in members]
        self._cell_scales = model.units.cells
        self._part_centers = model.units.centers
        self._part_scales = model.units.scales
        self._cell_tails = model.units.cell_tails
        self._part_tails = model.units.part_tails
        weights = calibration.weights
        self._calibration_weights = None if weights is None else weights[order]
        self.calibration_scores_ = scores[order]
        self.offset_ = _threshold(
            self.calibration_scores_,
            self._calibration_weights,
            self.contamination,
            self.false_alarm_rate,
        )
        self._model = model

    def _make_model(self) -> OutlierModel:
        scale = None
        if self.column_center_ is not None and self.column_scale_ is not None:
            scale = ColumnScale(self.column_center_, self.column_scale_)
        members = [
            Member(estimator._model, keys, places, weights)
            for estimator, keys, places, weights in zip(
                self.estimators_, self._keys, self._places, self._weights, strict=True
            )
        ]
        units = Units(
            self._cell_scales,
            self._part_centers,
            self._part_scales,
            self._cell_tails,
            self._part_tails,
        )
        return OutlierModel(scale, members, units)

    # Applying

    def _read(self, X: Any) -> Any:
        """Validate rows to score."""
        check_is_fitted(self)
        first = self.estimators_[0]
        is_table = isinstance(first, TabularAutoencoderTransformer)
        if is_table or hasattr(first, "image_shape_"):
            return first._read_rows(X)
        return check_rows(self, X, reset=False)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Score rows; outliers have low scores.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,)
            Negative mean of the parts, each minus its median and divided by its
            interquartile range on the training rows; for a table, each as minus the
            logarithm of the share of training rows that are at least as unusual.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable.
        """
        found: NDArray[np.float64] = as_given(self._scores(X), X)
        return found

    def _scores(self, X: Any) -> NDArray[np.float64]:
        matrix = self._read(X)
        scores = self._model.scores(matrix)
        scores[~np.isfinite(scores)] = self.calibration_scores_[0]
        return scores

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the scores minus the threshold: negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable.
        """
        found: NDArray[np.float64] = as_given(self._scores(X) - self.offset_, X)
        return found

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Label rows as outliers or inliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, +1 for inliers.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable.
        """
        labels = np.where(self._scores(X) - self.offset_ < 0, -1, 1)
        found: NDArray[np.int64] = as_given(labels, X)
        return found

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Return conformal p-values: the share of inliers with such a low score.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        ndarray of shape (n_samples,)
            Share of the training rows with the same or a lower score. The row itself
            is counted, too, so no p-value is zero.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable.

        Notes
        -----
        A p-value is at most ``a`` for a share of about ``a`` of new
        inliers, whatever their distribution, if training rows and new inliers are
        exchangeable: drawn independently from one distribution, without outliers in
        training. Outliers among the training rows make p-values larger: fewer outliers
        are found, but there are no more false alarms. The statement holds on average
        over training sets. It is approximate, because fewer autoencoders score a
        training row than a new row.
        """
        return as_given(self._p_values(X), X)  # type: ignore[no-any-return]

    def _p_values(self, X: Any) -> NDArray[np.float64]:
        scores = self._scores(X)
        counts = np.ones(len(self.calibration_scores_))
        if self._calibration_weights is not None:
            counts = self._calibration_weights
        reached = np.concatenate([[0.0], np.cumsum(counts)])
        places = np.searchsorted(self.calibration_scores_, scores, side="right")
        found: NDArray[np.float64] = (1 + reached[places]) / (1 + reached[-1])
        return found

    def select_outliers(
        self, X: Any, *, false_discovery_rate: float = 0.1
    ) -> NDArray[np.bool_]:
        """Select outliers of a batch with a bound on the share of false ones.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            A batch of new rows.

        false_discovery_rate : float in (0, 1), default=0.1
            Bound on the expected share of inliers among the selected rows, by the
            procedure of Benjamini and Hochberg on `p_values`, under the assumption
            stated there.

        Returns
        -------
        ndarray of shape (n_samples,), bool
            Whether each row is selected. With n training rows, no p-value is below
            ``1 / (n + 1)``: to find single outliers in a large batch, n must be large.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable, or
            if `false_discovery_rate` is not between 0 and 1.
        """
        check_scalar(
            false_discovery_rate,
            "false_discovery_rate",
            Real,
            min_val=0,
            max_val=1,
            include_boundaries="neither",
        )
        if math.isnan(false_discovery_rate):
            raise ValueError("false_discovery_rate must be between 0 and 1, got nan.")
        adjusted = false_discovery_control(self._p_values(X), method="bh")
        selected: NDArray[np.bool_] = as_given(adjusted <= false_discovery_rate, X)
        return selected

    def explain(self, X: Any) -> Explanation:
        """Explain rows by the surprise of each cell, and the expected values.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to explain.

        Returns
        -------
        surprise : ndarray or frame of shape (n_samples, n_features)
            How much less likely each cell is than the best guess, given the rest of its
            row, in nats: 0 is as expected, and 3 is 20 times less likely. Only
            autoencoders that have not seen the row are used. Errors of numbers are
            relative to the usual errors of their column. In a table, a surprise is the
            mean of this and of its rarity in the column: minus the logarithm of the
            share of training cells that are at least as unlikely. Missing values are
            NaN.
        expected : ndarray or frame of shape (n_samples, n_features)
            The predicted values. Both are frames for frames, and images for images.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not usable.
        """
        matrix = self._read(X)
        surprise, votes = self._model.explain(matrix)
        side = self._model.members[0].model.side
        expected = expected_values(side, votes)
        if isinstance(side, TableSide):
            surprise = surprise[:, side.table.places]
            expected = side.as_frame(expected, index_of(X))
        else:
            if self._model.scale is not None:
                expected = self._model.scale.inverse(expected)
            expected = frame_like(expected, X)
        found = frame_like(surprise, X), expected
        return Explanation(*(as_given(each, X) for each in found))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = self.autoencoder
        tags.input_tags.sparse = True
        if inner is not None:
            found = get_tags(inner).input_tags
            tags.input_tags.sparse = found.sparse
            tags.input_tags.allow_nan = found.allow_nan
            tags.input_tags.categorical = found.categorical
            tags.input_tags.string = found.string
        return tags


def _is_table(X: Any) -> bool:
    """Whether a frame has missing values, or columns that are not numeric."""
    if not hasattr(X, "columns"):
        return False
    columns = Columns(X)
    if any(columns.kind(place) != "number" for place in columns):
        return True
    return any(columns.has_missing(place) for place in columns)


def _threshold(
    scores: NDArray[np.float64],
    weights: NDArray[Any] | None,
    contamination: float | str,
    false_alarm_rate: float,
) -> float:
    """Return the score below which rows are outliers, from sorted scores."""
    if not isinstance(contamination, str):
        share = np.array([float(contamination)])
        return float(weighted_quantile(scores, share, weights)[0])
    # Rows below it have `p_values` of at most the rate.
    reached = np.cumsum(np.ones(len(scores)) if weights is None else weights)
    wanted = false_alarm_rate * (reached[-1] + 1) - 1
    place = np.searchsorted(reached, wanted * (1 + 1e-12), side="right")
    return float(scores[min(place, len(scores) - 1)])


def _make_template(chosen: BaseAutoencoder | None, X: Any) -> BaseAutoencoder:
    """Return the unfitted estimator of which the members are copies."""
    if isinstance(X, Blocks):
        raise ValueError(
            "AutoencoderOutlierDetector does not take Blocks: samples are drawn "
            "from all rows. Pass an array, a sparse matrix or a memory map."
        )
    if chosen is None and _is_table(X):
        return _small_tabular()
    if chosen is None:
        return _small_dense()
    if getattr(chosen, "checkpoint", None) is not None:
        raise ValueError(
            "autoencoder__checkpoint must be None: the members of a detector are "
            "trained jointly, in seconds. Got "
            f"{chosen.checkpoint!r} instead."
        )
    template: BaseAutoencoder = clone(chosen)
    return template


def _small_widths(n_features: int) -> dict[str, Any]:
    return {
        "n_components": min(max(n_features // 2, 1), 32),
        "hidden_layer_sizes": (min(4 * n_features, 64),),
    }


def _small_dense() -> AutoencoderTransformer:
    return AutoencoderTransformer(
        sparsity=None,
        corruption_rate=0.3,
        loss="squared_error",
        max_iter=30,
    )


def _small_tabular() -> TabularAutoencoderTransformer:
    return TabularAutoencoderTransformer(
        32,
        hidden_layer_sizes=(64,),
        dropout=0.1,
        batch_size=256,
        number_output="distribution",
    )


def _table_epochs(n_samples: int) -> int:
    """Return the number of epochs; small samples get as many steps as large ones."""
    return max(60, min(60 * 1000 // n_samples, 240))


def _first(data: TrainingData, n_rows: int) -> TrainingData:
    """Return the first rows of the distinct rows."""
    assert data.index is not None
    weights = None if data.weights is None else data.weights[:n_rows]
    return TrainingData(data.matrix, weights, data.index[:n_rows])


def _draw(
    n_rows: int, size: int, n_samples: int, random_state: np.random.RandomState
) -> list[NDArray[np.int64]]:
    """Divide rows into samples; start again when too few are left for another one.

    At least every second sample is without a given row, where there are two samples to
    a deal.
    """
    samples: list[NDArray[np.int64]] = []
    while len(samples) < n_samples:
        order = random_state.permutation(n_rows)
        for start in range(0, n_rows - size + 1, size):
            samples.append(np.sort(order[start : start + size]))
    return samples[:n_samples]


def _sample(
    data: TrainingData, chosen: NDArray[np.int64], scale: ColumnScale | None
) -> TrainingData:
    """Return chosen rows as a separate data set, scaled."""
    rows = scaled(take(data.matrix, chosen, data.index), scale)
    weights = None if data.weights is None else data.weights[chosen]
    return TrainingData(rows, weights)


def _fit_members(
    template: BaseAutoencoder,
    rows: DistinctRows,
    form: Any,
    scale: ColumnScale | None,
    drawn: list[NDArray[np.int64]],
    random_state: np.random.RandomState,
) -> list[tuple[BaseAutoencoder, Member]]:
    """Fit an estimator to each sample, all of them jointly."""
    estimators, samples = [], []
    for chosen in drawn:
        estimator = clone(template)
        estimator.set_params(random_state=draw_seed(random_state))
        for name in ("n_features_in_", "feature_names_in_", "image_shape_"):
            if hasattr(template, name):
                setattr(estimator, name, getattr(template, name))
        estimators.append(estimator)
        samples.append(_sample(rows.data, chosen, scale))
    calls = [
        partial(_fit_member, estimator, sample, form)
        for estimator, sample in zip(estimators, samples, strict=True)
    ]
    call_together(calls)
    members = [
        _make_member(estimator, sample, rows.keys[chosen])
        for estimator, sample, chosen in zip(estimators, samples, drawn, strict=True)
    ]
    return list(zip(estimators, members, strict=True))


def _fit_member(estimator: BaseAutoencoder, sample: TrainingData, form: Any) -> None:
    task = {"estimator": estimator, "X": sample.matrix, "y": sample.matrix}
    _fit_with_callbacks(estimator, sample, form, None, task)


def _make_member(
    estimator: BaseAutoencoder, sample: TrainingData, keys: NDArray[np.uint64]
) -> Member:
    weights = np.ones(len(keys)) if sample.weights is None else sample.weights
    shares = (weights / math.fsum(weights)).astype(np.float32)
    places = place_of(estimator._model, sample.matrix)
    return Member(estimator._model, keys, places, shares)
