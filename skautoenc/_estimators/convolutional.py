"""The convolutional autoencoder of images."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from .._data.validation import refuse
from .._model.matrix import MatrixSide
from .._networks.autoencoder import Autoencoder
from .._networks.convolutional import ConvolutionalAutoencoder
from .._networks.layers import ACTIVATIONS, NORMALIZATIONS
from .._objectives.augmentation import shift
from .._objectives.objectives import Change, Objective, ReconstructionObjective
from .._persistence.schemas import MATRIX_AUTOENCODER, counts, is_a
from .base import can_stream
from .images import IMAGE_SHAPE_CONSTRAINT, ImageInput
from .matrix import MatrixAutoencoder


class ConvAutoencoderTransformer(ImageInput, MatrixAutoencoder):
    """Compression of images by a convolutional autoencoder.

    Convolutions halve an image a few times [1]_, a dense code of `n_components` is all
    that is left of it, and transposed convolutions give it back. `transform` gives the
    code, and `inverse_transform` images. A linear map runs beside the convolutions, so
    that the network starts as PCA and learns what PCA cannot do.

    For features that a linear classifier does best on, see
    :class:`PatchAutoencoderTransformer`, which also is much faster.

    Parameters
    ----------
    n_components : int, default=64
        Width of the code.
    image_shape : tuple of int or "auto", default="auto"
        ``(height, width)`` or ``(height, width, n_channels)`` of a row. "auto" is the
        shape of the images, if `fit` is given them as an array of three or four
        dimensions; otherwise a square of one channel, or a line where the number of
        features is no square.
    hidden_channels : array-like of int, default=(16, 32, 64)
        Channels of the encoder's maps; each map has half the height and width of the
        one before. The decoder has them in reverse.
    kernel_size : int, default=3
        Height and width of the convolutions' kernels, odd.
    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", \
            "gelu", "silu", "selu"}, default="silu"
        Activation of the maps. Initial weights are scaled to suit it.
    linear_skip : bool, default=True
        Whether a linear map, tied between encoder and decoder, runs beside the
        convolutions. It starts at the principal axes of a sample of the images.
    normalization : {"batch", "layer"} or None, default="layer"
        Normalisation ahead of each activation: of each channel over all places of a
        batch, or of each place over its channels. Without it reconstruction is clearly
        worse; "layer" is the default because it treats each image by itself.
    max_shift : int, default=0
        In training, images are moved at random by up to as many places down or up and
        across; what comes in from outside repeats the edge. It stands in for more
        images, and takes no labels.
    corruption : {"masking", "gaussian", "salt_and_pepper", "swap"}, default="masking"
        What is done to the entries of a batch before they are encoded; the target
        stays clean [2]_. They are set to their column's mean, or have noise added, or
        are set to the smallest or largest value of their column in the batch, or are
        replaced by those of rows drawn at random, which keeps each column's
        distribution. With `normalize_rows`, that is done to what comes out of it.
    corruption_rate : float, default=0.0
        Share of the entries that are corrupted, below 1. For "gaussian", the standard
        deviation of the noise, in units of `scale_`.
    loss : {"auto", "squared_error", "huber", "binary_cross_entropy", "poisson"}, \
            default="auto"
        What an error costs. "huber" is the squared error up to the mean absolute
        deviation and linear beyond, so that outliers weigh less.
        "binary_cross_entropy" is for shares and for zeros and ones, "poisson" for
        counts. "auto" is "binary_cross_entropy" for data of zeros and ones and nothing
        else, otherwise "squared_error". Whatever it is, `score` stays the squared
        error.
    normalize_rows : float or "total", default=None
        If given, each centred row is divided by its root mean square, so that faint
        and strong rows count alike: good where strength says nothing, as with the
        contrast of an image. The number, in units of the root mean square of all rows,
        is added in quadrature to keep faint rows from being blown up: 0.5 is a start.
        Rows get their lengths back on the way back, less exactly the smaller the
        number. "total" is for counts and ``loss="poisson"``, where how many a row has
        says nothing, as with the depth of a cell or the length of a document: rows are
        brought to the mean total, `row_total_`, and weigh by their own (an exposure).
        What comes back, and what is scored, is of that total. It takes a copy of `X`.
    solver : {"adam", "sgd"}, default="adam"
        Adam with decoupled weight decay, or gradient descent with momentum.
    alpha : float, default=0.0
        Weight decay. Reconstruction has as many targets as inputs, and the code is
        already the regulariser.
    batch_size : int or "auto", default="auto"
        Rows in a batch. "auto" is 128. A batch never has fewer rows, unless there are
        fewer in all: rows left over are dealt out among the others.
    learning_rate : {"constant", "linear", "cosine"}, default="cosine"
        How the learning rate falls in the course of the fit: not at all, linearly to
        zero, or along half a cosine.
    learning_rate_init : float or "auto", default="auto"
        Learning rate at the start; "auto" is 0.01.
    momentum : float in [0, 1), default=0.9
        Momentum of `solver="sgd"`.
    max_grad_norm : float, default=None
        Bound on the norm of the gradient; None for no bound.
    max_iter : int or "auto", default="auto"
        Most epochs. "auto" takes as many as make about 1000 steps, but at least 5 and
        at most 50; for a sparse matrix of more than 1000 columns, and with
        `linear_skip`, 3 at most.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    tol : float, default=1e-4
        The fit stops when the loss has not fallen by more than this for
        `n_iter_no_change` epochs. Losses are shares of the variance.
    n_iter_no_change : int, default=10
        Epochs without progress until the fit stops.
    early_stopping : bool, default=False
        Whether to hold out rows, to watch their loss in place of the training loss,
        and to go back to the weights of its best epoch in the end.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows to hold out.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit, with a fresh optimiser
        and schedule. Mean, scale, loss and normalisation stay those of the first fit.
    checkpoint : str or path-like, default=None
        Folder in which `fit` notes after epochs where it stands. Killed at any moment
        and started again, with the same parameters and data, it goes on from there and
        comes to the same bytes. Each fit has a folder of its own in it, so searches and
        scripts with several fits may share one; fits that are done are not trained
        again. Delete the folder to start anew.
    device : str or torch.device, default="auto"
        Where to compute. "auto" is the CPU, unless there is an accelerator and the
        network is large enough to be worth it.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, of the order of the rows, of shifts and noise,
        and of the rows held out. An int gives the same weights in every fit, bit for
        bit on the same processor and the same number of threads: torch's convolutions
        add up in another order on another number. Small networks always run on one.
    verbose : bool or int, default=False
        Whether to print a line an epoch.

    Attributes
    ----------
    n_components_ : int
        Width of the code.
    image_shape_ : tuple of int
        ``(height, width, n_channels)``.
    loss_function_ : str
        The loss.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all were strings.
    mean_ : ndarray of shape (n_features_in_,)
        Means of the columns, subtracted first.
    scale_ : float
        Root of the columns' mean variance, by which the centred rows are divided.
    row_total_ : float
        Mean total of the training rows, with ``normalize_rows="total"`` only.
    network_ : torch.nn.Module
        The network, in evaluation mode. Its `encode` takes standardised rows,
        normalised if asked for. Its `decode` gives such rows, or what the
        loss turns into them: shifts of logits for "binary_cross_entropy".
    n_iter_ : int
        Epochs trained, those of earlier warm starts and `partial_fit` included.
    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch, as a share of the variance of the data (of the
        deviance, for other losses than the squared error): 1 is no better than the
        mean, 0 is perfect.
    loss_ : float
        Its last value; the lowest where the fit went back to the weights of its best
        epoch, because the last one's loss was far above it (by a fifth or more).
    best_loss_ : float
        Its lowest value.
    validation_scores_ : list of float or None
        Share of the variance (deviance) of the held-out rows that is explained, R²
        (D²), after each epoch trained with `early_stopping`; None without.
    best_validation_score_ : float or None
        The score of the weights that the last fit ended with; None without
        `early_stopping`.

    See Also
    --------
    PatchAutoencoderTransformer : Features of images for linear models, in seconds.
    AutoencoderTransformer : Codes of rows of any kind.

    References
    ----------
    .. [1] Masci et al., "Stacked convolutional auto-encoders for hierarchical feature
       extraction", ICANN 2011.
    .. [2] Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import train_test_split
    >>> from skautoenc import ConvAutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> X_train, X_test = train_test_split(X, random_state=0)
    >>> autoencoder = ConvAutoencoderTransformer(8, random_state=0).fit(X_train)
    >>> pca = PCA(8).fit(X_train)
    >>> reconstruction = pca.inverse_transform(pca.transform(X_test))
    >>> pca_error = ((reconstruction - X_test) ** 2).mean()
    >>> bool(-autoencoder.score(X_test) < 0.8 * pca_error)
    True
    """

    __module__ = "skautoenc"

    _fitted_schema = {
        **MATRIX_AUTOENCODER,
        "network_": is_a(ConvolutionalAutoencoder),
        "image_shape_": counts(3),
    }
    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "image_shape": IMAGE_SHAPE_CONSTRAINT,
        "hidden_channels": ["array-like"],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "linear_skip": ["boolean"],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
        "max_shift": [Interval(Integral, 0, None, closed="left")],
        **MatrixAutoencoder._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        image_shape: Sequence[int] | Literal["auto"] = "auto",
        hidden_channels: Sequence[int] = (16, 32, 64),
        kernel_size: int = 3,
        activation: str = "silu",
        linear_skip: bool = True,
        normalization: Literal["batch", "layer"] | None = "layer",
        max_shift: int = 0,
        corruption: Literal[
            "masking", "gaussian", "salt_and_pepper", "swap"
        ] = "masking",
        corruption_rate: float = 0.0,
        loss: Literal[
            "auto", "squared_error", "huber", "binary_cross_entropy", "poisson"
        ] = "auto",
        normalize_rows: float | Literal["total"] | None = None,
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
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.image_shape = image_shape
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.activation = activation
        self.linear_skip = linear_skip
        self.normalization = normalization
        self.max_shift = max_shift
        self.corruption = corruption
        self.corruption_rate = corruption_rate
        self.loss = loss
        self.normalize_rows = normalize_rows
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
        channels = list(self.hidden_channels)
        if not channels or not all(
            isinstance(number, Integral) and int(number) > 0 for number in channels
        ):
            refuse(
                self,
                "hidden_channels",
                "a sequence of positive integers, such as (16, 32)",
            )
        if self.normalization == "layer" and 1 in channels:
            refuse(
                self,
                "hidden_channels",
                "of more than one channel each with normalization='layer', which would "
                "leave nothing of one",
            )
        if self.kernel_size % 2 == 0:
            refuse(self, "kernel_size", "odd")
        if self.max_shift and self.loss == "poisson":
            refuse(
                self,
                "max_shift",
                "0 for loss='poisson', which has no rate for counts that are moved to "
                "where there never were any",
            )

    def _build_network(self, n_features: int) -> Autoencoder:
        self._check_image_shape()
        return ConvolutionalAutoencoder(
            image_shape=self.image_shape_,
            n_components=int(self.n_components),
            hidden_channels=tuple(int(number) for number in self.hidden_channels),
            kernel_size=int(self.kernel_size),
            activation=str(self.activation),
            linear_skip=bool(self.linear_skip),
            normalization=self.normalization,
        )

    def _make_objective(self, side: MatrixSide) -> Objective:
        return ReconstructionObjective(
            side.loss,
            augmentation=self._augmentation(side),
            corruption=self._corruption(),
        )

    def _augmentation(self, side: MatrixSide) -> Change | None:
        """Return what moves the images of a batch, if they are to be moved."""
        if self.max_shift == 0:
            return None
        preparation, max_shift = side.preparation, int(self.max_shift)
        offset, image_shape = side.loss.center / side.loss.scale, self.image_shape_

        def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
            # Of a standardised image the mean image would move along.
            images = preparation.inverse(batch) + offset
            images = images.view(-1, *image_shape)  # (n, height, width, n_channels)
            moved = shift(images, max_shift, generator).flatten(1)  # (n, n_features)
            return preparation.forward(moved - offset)

        return augment

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels]), or \
                Blocks of these
            Training images, one a row, channels last: numbers, none missing. Sparse
            data stays sparse but for the batch at hand; memory-mapped data and `Blocks`
            stay where they are.

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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            A part of the training images, of any number. The first part, of two at
            least, also sets mean and scale: let it be a fair sample of the rest. A part
            of one image is normalised by what came before it, with batch normalisation.

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
        """Encode images.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The code, one column a component.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        return self._transform(X)

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            What `transform` gives.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32 or float64
            The reconstruction, in the units of the training data. It is float64 if
            float32 could not hold the data: with columns further than 1024 times
            `scale_` from zero, such as timestamps, or a `scale_` outside of 2**-100 to
            2**100. A frame with the training data's columns if the estimator was
            fitted on a frame and `set_output` asks for one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has another number of columns than the code, or values that are
            not finite.
        """
        return self._inverse_transform(X)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Score each image by how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to score.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus the mean squared error of each image's reconstruction, in the squared
            units of the data: 0 is perfect, and outliers are far below, at minus
            infinity where float64 has no such number. Never NaN.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        return -self._errors(X)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return minus the mean reconstruction error, for searches without labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to score.

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
