"""The convolutional autoencoder of images."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from .._data.validation import as_widths, refuse
from .._model.matrix import MatrixSide
from .._networks.autoencoder import Autoencoder
from .._networks.convolutional import ConvolutionalAutoencoder
from .._networks.layers import ACTIVATIONS, NORMALIZATIONS
from .._objectives.augmentation import shift
from .._objectives.objectives import Change, Objective, ReconstructionObjective
from .._persistence.schemas import MATRIX_AUTOENCODER, counts, is_a
from .base import can_stream
from .convolutions import (
    CONVOLUTION_CONSTRAINTS,
    check_convolutions,
    describe_convolutions,
)
from .decorators import available_if, with_callbacks
from .images import ImageInput
from .matrix import MatrixAutoencoder


class ConvAutoencoderTransformer(ImageInput, MatrixAutoencoder):
    """Compression of images by a convolutional autoencoder.

    Convolutions halve the height and width of an image several times [1]_, a dense
    layer compresses it to a code of `n_components` units, and transposed convolutions
    reconstruct it. :meth:`transform` returns the code, and :meth:`inverse_transform`
    returns images. A linear map runs parallel to the convolutions, so the network
    starts close to PCA and learns what PCA cannot represent.

    :class:`PatchAutoencoderTransformer` gives better features for linear classifiers
    and is much faster.

    Parameters
    ----------
    n_components : int, default=64
        Width of the code.

    hidden_channels : int or array-like of int, default=(16, 32, 64)
        Numbers of channels of the encoder's feature maps. An int is the number of
        channels of a single map. Each map has half the height and width of the previous
        one. The decoder has the same maps in reverse.

    kernel_size : int, default=3
        Height and width of the convolution kernels, odd.

    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", \
            "silu", "selu"}, default="silu"
        Activation of the feature maps. Initial weights are scaled to match it.

    linear_skip : bool, default=True
        Whether a linear map, tied between encoder and decoder, runs parallel to the
        convolutions. It starts from the principal axes of a sample of the images. The
        network then starts as PCA, up to small contributions of the convolutions, and
        learns what PCA cannot represent. If PCA explains nearly all of the variance,
        PCA has the lower error, by up to about a thousandth of the variance.

    normalization : {"batch", "layer"} or None, default="layer"
        Normalization layer before each activation: "batch" normalizes each channel over
        all positions of a batch, "layer" each position over its channels.
        Reconstruction is clearly worse without it. "layer" is the default because it
        treats each image independently.

    max_shift : int, default=0
        Maximum shift in pixels: in training, each image is shifted at random by up to
        this distance vertically and horizontally. The edge is repeated to fill the
        margin. It is a substitute for more images and needs no labels.

    corruption : {"masking", "gaussian", "salt_and_pepper", "swap"}, default="masking"
        Kind of noise added to the entries of a batch before they are encoded. The
        target stays clean [2]_. Noise is added after the preparation of the rows.

        - "masking" sets entries to the mean of their column.
        - "gaussian" adds normal noise.
        - "salt_and_pepper" sets entries to the smallest or largest value of their
          column in the batch.
        - "swap" replaces entries by those of randomly drawn rows, which keeps the
          distribution of each column.

    corruption_rate : float, default=0.0
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

    image_shape : tuple of int or "auto", default="auto"
        Shape of the image in a row: ``(height, width)`` or ``(height, width,
        n_channels)``. "auto" is the shape of the images if `fit` gets an array of three
        or four dimensions. Otherwise it is a square with one channel where the number
        of features is a square. Other rows with fewer than 192 features are images of a
        single line. Longer rows are squares with three channels, or need `image_shape`.

    normalize_rows : float, "total" or None, default=None
        If given, each centred row is divided by its root mean square, so that weak and
        strong rows count equally. This helps where the strength of a row has no
        meaning, such as the contrast of an image.

        A float, in units of the root mean square of all rows, is added in quadrature to
        the divisor, so that weak rows are not amplified without limit; 0.5 is a good
        start. `inverse_transform` restores the length of a row. It is less exact for a
        smaller float.

        "total" is for counts and ``loss="poisson"``, where the total of a row has no
        meaning, such as the depth of a cell or the length of a document. Rows are
        scaled to the mean total, `row_total_`, and weighted by their own total (an
        exposure). Reconstructions and scores refer to the mean total. This option takes
        a copy of `X`.

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
        Initial learning rate. "auto" is 0.01.

    momentum : float in [0, 1), default=0.9
        Momentum of ``solver="sgd"``. Adam ignores it.

    max_grad_norm : float or None, default=None
        Maximum norm of the gradient of all weights. A longer gradient is scaled down to
        it. None sets no limit.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. "auto" is the number that makes about 1000 steps,
        between 5 and 50. It is at most 3 for a sparse matrix of more than 1000 columns
        and a network with `linear_skip`: a step over such rows costs as much as over
        dense rows, and more epochs overfit.

    shuffle : bool, default=True
        Whether each epoch visits the rows in a new random order.

    tol : float, default=1e-4
        Minimum decrease of the loss that counts as an improvement, see
        `n_iter_no_change`. The unit is that of `loss_curve_`.

    n_iter_no_change : int, default=10
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
    n_components_ : int
        Width of the code.

    image_shape_ : tuple of int
        ``(height, width, n_channels)``.

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

    row_total_ : float
        Mean total of the training rows. Defined only with ``normalize_rows="total"``.

    network_ : torch.nn.Module
        Network in evaluation mode. Its `encode` takes standardized rows, normalized if
        requested. Its `decode` returns such rows, or the values that the loss converts
        to them: shifts of logits for "binary_cross_entropy".

    n_iter_ : int
        Number of epochs trained, including those of earlier warm starts and of
        `partial_fit`.

    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch, including penalties, as a share of the
        variance of the data (of the deviance, for other losses than the squared error).
        1 is no better than predicting averages, 0 is perfect.

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
    PatchAutoencoderTransformer : Features of images for linear models, in seconds.
    AutoencoderTransformer : Codes of rows of all kinds.

    Notes
    -----
    Parameters by group:

    - code: `n_components`
    - network: `hidden_channels`, `kernel_size`, `activation`, `linear_skip`,
      `normalization`
    - noise: `max_shift`, `corruption`, `corruption_rate`
    - loss: `loss`
    - preparation: `image_shape`, `normalize_rows`
    - solver: `solver`, `alpha`, `batch_size`, `learning_rate`, `learning_rate_init`,
      `momentum`, `max_grad_norm`, `max_iter`, `shuffle`, `tol`, `n_iter_no_change`,
      `early_stopping`, `validation_fraction`
    - run: `warm_start`, `checkpoint`, `device`, `random_state`, `verbose`

    The result for a `random_state` depends on the number of threads: torch's
    convolutions sum in a different order on a different number of them. Small networks
    always run on one thread.

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
        **CONVOLUTION_CONSTRAINTS,
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
        hidden_channels: int | Sequence[int] = (16, 32, 64),
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
        check_convolutions(self)
        if self.normalization == "layer" and 1 in as_widths(self.hidden_channels):
            refuse(
                self,
                "hidden_channels",
                "of more than one channel each with normalization='layer', which would "
                "leave nothing of one",
            )
        if self.max_shift and self.loss == "poisson":
            refuse(
                self,
                "max_shift",
                "0 for loss='poisson', which has no rate for counts that are moved to "
                "where there never were any",
            )

    def _build_network(self, n_features: int) -> Autoencoder:
        return ConvolutionalAutoencoder(
            n_components=int(self.n_components),
            normalization=self.normalization,
            **describe_convolutions(self),
        )

    def _make_objective(self, side: MatrixSide) -> Objective:
        return ReconstructionObjective(
            side.loss,
            augmentation=self._augmentation(side),
            corruption=self._corruption(),
        )

    def _augmentation(self, side: MatrixSide) -> Change | None:
        """Return the function that shifts the images of a batch, or None."""
        if self.max_shift == 0:
            return None
        preparation, max_shift = side.preparation, int(self.max_shift)
        offset, image_shape = side.loss.center / side.loss.scale, self.image_shape_

        def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
            # Shifting a standardised image would shift the mean image, too.
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
                a collection or Blocks of these
            Training images, one per row, channels last: numbers, none missing. A batch
            of sparse data is made dense, the rest stays sparse. Memory-mapped data,
            :ref:`collections <collections>`, as of Dask, and :class:`Blocks` are never
            loaded as a whole.

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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Part of the training images, any number of them. The first part needs at
            least two images and determines mean and scale: it should be a
            representative sample. With batch normalization, a part of one image is
            normalized by the statistics of the previous parts.

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
        """Encode images.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The code, with one column per component.

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
        X : array-like or frame of shape (n_samples, n_features_out)
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
        """Score each image by how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to score.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Negative mean squared error of the reconstruction of each image, in the
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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to score.

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
