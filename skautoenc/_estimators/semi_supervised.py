"""The autoencoder of matrices with labels of some rows."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from .._data.blocks import Blocks, as_blocks
from .._data.labels import Coding, learn_coding, read_target
from .._data.rows import TrainingData
from .._data.validation import check_layer_sizes
from .._model.learn import Learnt
from .._model.matrix import MatrixSide
from .._model.model import Model
from .._networks.autoencoder import Autoencoder
from .._networks.dense import DenseAutoencoder
from .._networks.layers import ACTIVATIONS
from .._objectives.labels import LabelObjective
from .._objectives.objectives import Objective, ReconstructionObjective
from .._persistence.schemas import MATRIX_AUTOENCODER, is_a
from .._preparation.labels import spread_labels
from .._warnings import warn
from .base import task_of
from .decorators import with_callbacks
from .dense import resolve_widths
from .matrix import COUNT, WIDTHS, MatrixAutoencoder, Parts

# Parameters of all autoencoders of matrices that this one does not offer.
_NOT_OFFERED = {
    "early_stopping",
    "normalize_rows",
    "validation_fraction",
    "warm_start",
}
# Maximum number of components beside those of the labels, by default.
_N_FREE = 32
# Steps of a fit, if the data does not make more of an epoch, and maximum of epochs.
_N_STEPS = 500
_MOST_EPOCHS = 300


class SemiSupervisedAutoencoder(MatrixAutoencoder):
    """Feature learning by an autoencoder from rows and from the labels of some of them.

    Use it if there are many rows and few of them have a label. The network learns to
    reconstruct all rows, and the last `n_label_components_` components of its code
    learn to tell the labels apart. A linear model on the code then needs few labelled
    rows. :meth:`transform` takes rows only, never labels.

    Before training, labels spread from the rows that have one to their nearest
    neighbours [1]_. The label of a row is uncertain if several classes reach it, or
    none, and its weight in training is its certainty.

    Labels are classes or numbers, see `target_type`. Each column is centred, and all
    are divided by one scale. Scale columns of different units first, as for PCA.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Number of components beside those of the labels. The labels have one for each
        class, or a single one for two classes or for numbers. "auto" is the number of
        features, at most 32.

    target_type : {"auto", "multiclass", "continuous"}, default="auto"
        Whether labels are classes ("multiclass", two classes included) or numbers
        ("continuous"). "auto" takes numbers that are not all whole for numbers, and
        everything else for classes.

    label_weight : float, default=1.0
        Weight of the labels in the training loss. Their cost is a share of that of
        their frequencies, as the reconstruction error is a share of the variance.

    n_neighbors : int, default=7
        Number of nearest neighbours that labels spread along. Neighbours are searched
        along the 64 leading principal axes, in time that grows with the square of the
        number of rows. 0 learns from the given labels only.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or of the only one. The decoder has the
        same layers in reverse. "auto" is two: 4 and 2 times the number of features, up
        to 256 and 128. An empty sequence is a linear code.

    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", \
            "silu", "selu"}, default="silu"
        Activation of the hidden layers. Initial weights are scaled to match it. The
        smooth activations reconstruct best. It has no effect if `hidden_layer_sizes` is
        empty.

    corruption : {"masking", "gaussian", "salt_and_pepper", "swap"}, default="masking"
        Kind of noise added to the entries of a batch before they are encoded. The
        target stays clean [2]_. Noise is added after the preparation of the rows.

        - "masking" sets entries to the mean of their column.
        - "gaussian" adds normal noise.
        - "salt_and_pepper" sets entries to the smallest or largest value of their
          column in the batch.
        - "swap" replaces entries by those of randomly drawn rows, which keeps the
          distribution of each column.

    corruption_rate : float, default=0.3
        Share of the entries that are corrupted, below 1. For "gaussian", the standard
        deviation of the noise, in units of `scale_`.

    loss : {"auto", "squared_error", "huber", "binary_cross_entropy", "poisson"}, \
            default="auto"
        Loss of the reconstruction. `score` is the squared error for every loss.

        - "squared_error" suits most data.
        - "huber" is the squared error up to the mean absolute deviation and linear
          beyond, so that outliers weigh less.
        - "binary_cross_entropy" is for shares and for zeros and ones.
        - "poisson" is for counts.
        - "auto" is "binary_cross_entropy" for data that consists of zeros and ones
          only, otherwise "squared_error".

    solver : {"adam", "sgd"}, default="adam"
        Optimizer: Adam with decoupled weight decay, or stochastic gradient descent with
        Nesterov momentum.

    alpha : float, default=0.0
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
        Initial learning rate. "auto" is 0.005 without hidden layers and for
        ``solver="sgd"``. With hidden layers it is 0.01, or 0.005 for activations that
        are noisy at 0.01, and a layer of more than 64 inputs takes proportionally
        smaller steps. A float applies to all layers, except that wide layers of "relu"
        units take smaller steps where the units would die.

    momentum : float in [0, 1), default=0.9
        Momentum of ``solver="sgd"``. Adam ignores it.

    max_grad_norm : float or None, default=None
        Maximum norm of the gradient of all weights. A longer gradient is scaled down to
        it. None sets no limit.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. "auto" is the number that makes about 500 steps,
        between 5 and 300.

    shuffle : bool, default=True
        Whether each epoch visits the rows in a new random order.

    tol : float, default=1e-4
        Minimum decrease of the loss that counts as an improvement, see
        `n_iter_no_change`. The unit is that of `loss_curve_`.

    n_iter_no_change : int or "auto", default="auto"
        Number of consecutive epochs without improvement after which the fit stops.
        "auto" is a fifth of the maximum number of epochs, at least 10: the noise makes
        the loss of small data unsteady.

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
    classes_ : ndarray of shape (n_classes,) or None
        The classes, in the order of the components of the labels. None for numbers,
        and without labels.

    n_label_components_ : int
        Number of components that tell the labels apart, the last ones of the code. For
        several classes these are logits, for two classes the log-odds of the second
        one, and for numbers the standardized number, all multiplied by 10. 0 without
        labels.

    n_components_ : int
        Width of the code, with the components of the labels.

    hidden_layer_sizes_ : tuple of int
        Widths of the encoder's hidden layers; empty for a linear code.

    loss_function_ : str
        Name of the loss.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in `fit`. Defined only if all names are strings.

    mean_ : ndarray of shape (n_features_in_,)
        Means of the columns, which are subtracted first.

    scale_ : float
        Root of the mean variance of the columns, by which the centred rows are divided.

    network_ : torch.nn.Module
        Network in evaluation mode. Its `encode` takes standardized rows. Its `decode`
        returns such rows, or the values that the loss converts to them: shifts of
        logits for "binary_cross_entropy".

    n_iter_ : int
        Number of epochs trained.

    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch: the share of the variance that is not
        reconstructed (of the deviance, for other losses than the squared error), and
        `label_weight` times that of the labels.

    loss_ : float
        Last value of `loss_curve_`. If the loss of the last epoch was a fifth or more
        above the lowest, the fit restored the weights of the best epoch, and this is
        the lowest value.

    best_loss_ : float
        Lowest value of `loss_curve_`.

    See Also
    --------
    AutoencoderTransformer : Features without any labels.
    sklearn.semi_supervised.LabelSpreading : Classes of the training rows themselves.
    sklearn.semi_supervised.SelfTrainingClassifier : Takes rows without labels at the
        end of a pipeline.

    Notes
    -----
    Parameters by group:

    - code: `n_components`
    - labels: `target_type`, `label_weight`, `n_neighbors`
    - network: `hidden_layer_sizes`, `activation`
    - noise: `corruption`, `corruption_rate`
    - loss: `loss`
    - solver: `solver`, `alpha`, `batch_size`, `learning_rate`, `learning_rate_init`,
      `momentum`, `max_grad_norm`, `max_iter`, `shuffle`, `tol`, `n_iter_no_change`
    - run: `checkpoint`, `device`, `random_state`, `verbose`

    Classifiers of scikit-learn take -1 for a class. Fit them to the labelled rows, or
    put ``SelfTrainingClassifier(classifier, max_iter=0)`` at the end of a pipeline,
    which does so. The network has seen the labels of the training rows: measure
    accuracy on held-out rows.

    Threads: a network so wide that several threads share a training step gives the same
    bytes for the same `random_state` as long as torch sums in the same order on any
    number of threads. Smaller networks always run on one thread.

    References
    ----------
    .. [1] Zhou et al., "Learning with local and global consistency", NeurIPS 2003.
    .. [2] Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.

    Examples
    --------
    Twenty labels of 1,347 digits:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from skautoenc import SemiSupervisedAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> known = np.concatenate([np.flatnonzero(y_train == k)[:2] for k in range(10)])
    >>> labels = np.full(len(y_train), -1)
    >>> labels[known] = y_train[known]
    >>> model = SemiSupervisedAutoencoder(random_state=0).fit(X_train, labels)
    >>> linear = LogisticRegression(max_iter=1000)
    >>> raw = linear.fit(X_train[known], y_train[known]).score(X_test, y_test)
    >>> linear = linear.fit(model.transform(X_train[known]), y_train[known])
    >>> bool(linear.score(model.transform(X_test), y_test) > raw + 0.1)
    True
    """

    __module__ = "skautoenc"

    classes_: NDArray[Any] | None
    n_label_components_: int
    hidden_layer_sizes_: tuple[int, ...]

    corruption_rate: float

    _fitted_schema = {
        **MATRIX_AUTOENCODER,
        "network_": is_a(DenseAutoencoder),
        "classes_": is_a(np.ndarray, None),
        "n_label_components_": is_a(int),
        "hidden_layer_sizes_": is_a(tuple),
    }
    _parameter_constraints = {
        **{
            name: constraints
            for name, constraints in MatrixAutoencoder._parameter_constraints.items()
            if name not in _NOT_OFFERED
        },
        "n_components": COUNT,
        "target_type": [StrOptions({"auto", "multiclass", "continuous"})],
        "label_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 0, None, closed="left")],
        "hidden_layer_sizes": WIDTHS,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_iter_no_change": COUNT,
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        target_type: Literal["auto", "multiclass", "continuous"] = "auto",
        label_weight: float = 1.0,
        n_neighbors: int = 7,
        hidden_layer_sizes: int | Sequence[int] | Literal["auto"] = "auto",
        activation: str = "silu",
        corruption: Literal[
            "masking", "gaussian", "salt_and_pepper", "swap"
        ] = "masking",
        corruption_rate: float = 0.3,
        loss: Literal[
            "auto", "squared_error", "huber", "binary_cross_entropy", "poisson"
        ] = "auto",
        solver: Literal["adam", "sgd"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "linear", "cosine"] = "cosine",
        learning_rate_init: float | Literal["auto"] = "auto",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        max_iter: int | Literal["auto"] = "auto",
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int | Literal["auto"] = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.target_type = target_type
        self.label_weight = label_weight
        self.n_neighbors = n_neighbors
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.corruption = corruption
        self.corruption_rate = corruption_rate
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
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    _why_alone = "labels spread between rows, which may be in different processes"

    def _validate_params(self) -> None:
        super()._validate_params()
        check_layer_sizes(self)

    def _default_max_iter(self, n_batches: int, n_inputs: int) -> int:
        return min(max(5, -(-_N_STEPS // n_batches)), _MOST_EPOCHS)

    def _fit(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> None:
        """Read rows and labels, and train."""
        self._validate_params()
        if isinstance(as_blocks(X), Blocks):
            raise TypeError(
                "SemiSupervisedAutoencoder does not take Blocks: labels spread between "
                "all rows. Use an array, which may be memory-mapped."
            )
        data, form = self._read_training_data(X, sample_weight, None)
        target = read_target(y, data.matrix.shape[0], self.target_type)
        if y is not None and not target.n_labels:
            warn("No row has a label: the fit is that of an autoencoder without any.")
        self.classes_ = target.classes
        labels = target.labels if data.index is None else target.labels[data.index]
        if np.isfinite(labels).any():
            data = replace(data, labels=labels)
        self._fit_rows(data, form, None, task_of(self, X, y, sample_weight))

    def _coding(self, data: TrainingData) -> Coding | None:
        """Return how labels are written into the code, or None without labels."""
        if data.labels is None:
            return None
        n_classes = 0 if self.classes_ is None else len(self.classes_)
        return learn_coding(data.labels, data.weights, n_classes)

    def _resolve_parts(
        self,
        data: TrainingData,
        before: Model[MatrixSide] | None,
        *,
        in_parts: bool,
    ) -> Parts:
        coding = self._coding(data)
        n_labels, spread = 0, None
        if coding is not None:
            n_labels = coding.n_components
            spread = partial(spread_labels, coding=coding, n_neighbors=self.n_neighbors)
        return Parts(
            self._resolve_loss(data, before, in_parts=in_parts),
            partial(self._build_network, data.shape[1], n_labels),
            partial(self._make_objective, coding=coding),
            spread,
        )

    def _n_free(self, n_features: int) -> int:
        """Return the number of components beside those of the labels."""
        width = self.n_components
        return min(n_features, _N_FREE) if isinstance(width, str) else int(width)

    def _build_network(self, n_features: int, n_labels: int = 0) -> Autoencoder:
        return DenseAutoencoder(
            n_features=n_features,
            n_components=self._n_free(n_features) + n_labels,
            hidden_layer_sizes=resolve_widths(self.hidden_layer_sizes, n_features),
            activation=str(self.activation),
            sparsity=None,
            sparsity_rate=0.1,
            sparsity_penalty=0.0,
            tied_weights=False,
            linear_skip=True,
            normalization=None,
            dropout=0.0,
        )

    def _make_objective(
        self, side: MatrixSide, coding: Coding | None = None
    ) -> Objective:
        corruption = self._corruption()
        if coding is None:
            return ReconstructionObjective(side.loss, corruption=corruption)
        return LabelObjective(
            side.loss,
            corruption=corruption,
            n_components=coding.n_components,
            n_classes=coding.n_classes,
            deviance=coding.deviance,
            label_weight=float(self.label_weight),
        )

    def _attributes_of(self, learnt: Learnt) -> dict[str, Any]:
        network = learnt.model.network
        n_features, *_, n_components = network.widths
        return {
            "hidden_layer_sizes_": network.config["hidden_layer_sizes"],
            "n_label_components_": n_components - self._n_free(n_features),
        }

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the autoencoder on rows, and on the labels of some of them.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Training data: numbers, none missing. A batch of sparse data is made dense,
            the rest stays sparse. Memory-mapped data is never loaded as a whole.

        y : array-like of shape (n_samples,), default=None
            Labels: numbers, strings or booleans. None, NaN and missing values of pandas
            mark rows without a label, and -1 does so for classes. Without any label,
            the fit is that of an autoencoder.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss. None gives all rows the same weight.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, if there is only one class, if the
            loss is not finite in the first epoch, if the checkpoint is damaged, or if a
            parameter holds an object that a checkpoint cannot distinguish from others.
        TypeError
            If `X` is :class:`Blocks`: labels spread between all rows.
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
            If `y` has no label. If training was interrupted from the keyboard. The
            estimator is usable. If the checkpoint folder holds an unfinished fit with
            other parameters or data, or if it is no longer writable.
        """
        self._fit(X, y, sample_weight)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Train, then encode the training data.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Training data, as in `fit`.

        y : array-like of shape (n_samples,), default=None
            Labels of some of the rows, as in `fit`.

        **fit_params : dict
            Further arguments of `fit`, such as `sample_weight`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_components_), float32
            Output of `transform`.

        Raises
        ------
        TypeError
            If `X` is :class:`Blocks`.
        """
        return super().fit_transform(X, y, **fit_params)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_components_), float32
            The code. Its last `n_label_components_` columns tell the labels apart.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._transform(X)

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_components_)
            Output of :meth:`transform`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32 or float64
            The reconstruction, in the units of the training data. It is float64 if
            float32 cannot represent the data: if columns are further than 1024 times
            `scale_` from zero, such as timestamps, or if `scale_` is outside of the
            range from 2**-100 to 2**100. It is a frame with the columns of the training
            data if the estimator was fitted on a frame and `set_output` requests one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the number of columns of `X` is not that of the code, or if a value is
            not finite.
        """
        return self._inverse_transform(X)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Negative mean squared error of the reconstruction of each row, in the
            squared units of the data. 0 is perfect, and outliers have large negative
            scores: minus infinity where float64 overflows, never NaN.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._negative_errors(X)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the negative mean reconstruction error, for searches without labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
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
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return -self._mean_error(X, sample_weight)
