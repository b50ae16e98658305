"""The variational autoencoder of images: a density of images, and new ones."""

import os
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._networks.conv_variational import ConvVariationalNetwork
from .._persistence.schemas import counts, is_a
from .base import can_stream
from .convolutions import (
    CONVOLUTION_CONSTRAINTS,
    check_convolutions,
    describe_convolutions,
)
from .decorators import available_if, with_callbacks
from .density import CONSTRAINTS, FITTED_SCHEMA, DensityAutoencoder
from .images import ImageInput


class ConvVariationalAutoencoder(ImageInput, DensityAutoencoder):
    """Density estimation of images by a convolutional variational autoencoder.

    A variational autoencoder [1]_ is a probabilistic model of the images: a code is
    drawn from a standard normal distribution, transposed convolutions decode it, and
    noise is added. :meth:`score_samples` gives log-likelihoods and :meth:`sample` new
    images. :meth:`transform` gives the mean of the code of an image, and
    :meth:`posterior` its uncertainty too.

    Linear maps run parallel to the convolutions. The network starts as probabilistic
    PCA [2]_, in closed form: before the first epoch, log-likelihoods equal those of
    :class:`~sklearn.decomposition.PCA`. Held-out images decide which weights are kept,
    so that their log-likelihood does not end lower than it started.

    Everything except the layers is as in :class:`VariationalAutoencoder`. Convolutions
    overfit less: log-likelihoods are higher if there are only some thousand images, or
    much time. A step takes longer. With more images and little time, the dense network
    is better.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Width of the code. Components that explain nothing stay unused, see
        `n_active_units_`, so a larger number does little harm. "auto" is half of the
        number of features, at least 1 and at most 32.

    likelihood : {"auto", "gaussian", "bernoulli", "poisson", "negative_binomial"}, \
            default="auto"
        Distribution of a row given its code.

        - "gaussian" is for numbers: normal noise.
        - "bernoulli" is for zeros and ones. Shares between 0 and 1 are refused, because
          their cross-entropy is not a log-likelihood. Use "gaussian", or `binarize`.
        - "poisson" is for counts.
        - "negative_binomial" is for counts that vary more than "poisson" allows, such
          as counts of genes in single cells. The overdispersion of each column is
          trained.
        - "auto" is "bernoulli" for data that consists of zeros and ones only, otherwise
          "gaussian".

    offset : {"total"} or None, default=None
        With "total", the rates of counts are proportional to the total of their row,
        such as the depth of a cell or the length of a document, and log-likelihoods are
        conditional on the total. `sample` and `inverse_transform` refer to the mean
        total. It has no effect for other likelihoods.

    binarize : bool, default=False
        Whether shares between 0 and 1, such as grey values, are the probabilities of
        zeros and ones, which are drawn anew each time that a row is trained on. The
        likelihood is then "bernoulli". Since each epoch draws new data, the model
        overfits less than with zeros and ones that are drawn once. Log-likelihoods
        refer to zeros and ones, so :meth:`score_samples` does not accept shares.

    covariance_type : {"spherical", "diag", "heteroscedastic"}, \
            default="heteroscedastic"
        Noise of the "gaussian" likelihood.

        - "spherical": one variance for all columns, as in PCA.
        - "diag": one variance for each column, as in factor analysis, from which the
          fit starts. It suits tables of few rows.
        - "heteroscedastic": variances for each column that depend on the code, decoded
          by the network. The fit starts at one variance, as in PCA. It gives by far the
          highest likelihoods in most data.

    reg_covar : float in (0, 1), default=0.01
        Smallest variance of the noise, as a share of that of probabilistic PCA. The
        density of columns that repeat their values would be infinite without it. Raise
        it if new rows are far less likely than training rows.

    prior : {"normal", "mixture"}, default="normal"
        Distribution that codes are drawn from.

        - "normal": the standard normal distribution.
        - "mixture": a Gaussian mixture, to which the codes of the training rows are
          fitted after training. The codes of some of the rows choose the number of
          components and the kind of their covariances. It gives higher
          log-likelihoods, and samples more like the rows. `partial_fit` leaves the
          prior normal.

    kl_weight : float, default=1.0
        Weight of the divergence of the codes from their prior in the training loss
        [3]_. 1 gives the evidence lower bound. A lower weight gives more exact
        reconstructions, but worse densities and samples.

    linear_weight : float in [0, 1), default=0.001
        Weight in the density of the linear model that the fit starts from, with heavy
        tails (a t-distribution with 3 degrees of freedom) [5]_: a row is drawn from it
        with that probability, and otherwise from the network. Far from all training
        rows the density of the network may be far too low, and one such row can cost
        more than all others gain. It has no effect on training, before the first
        epoch, and for likelihoods other than "gaussian".

    n_importance_samples : int, default=50
        Number of codes that :meth:`score_samples` draws for each row. The result is a
        lower bound of the log-likelihood. More codes make the bound tighter [4]_, and 1
        gives the evidence lower bound. It has no effect on training.

    hidden_channels : int or array-like of int, default=(16, 32)
        Numbers of channels of the encoder's feature maps. An int is the number of
        channels of a single map. Each map has half the height and width of the previous
        one. The decoder has the same maps in reverse.

    kernel_size : int, default=3
        Height and width of the convolution kernels, odd.

    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", \
            "silu", "selu"}, default="silu"
        Activation of the feature maps. Initial weights are scaled to match it.

    linear_skip : bool, default=True
        Whether linear maps run parallel to the convolutions, so that the network starts
        as probabilistic PCA and learns what this model cannot represent.

    image_shape : tuple of int or "auto", default="auto"
        Shape of the image in a row: ``(height, width)`` or ``(height, width,
        n_channels)``. "auto" is the shape of the images if `fit` gets an array of three
        or four dimensions. Otherwise it is a square with one channel where the number
        of features is a square. Other rows with fewer than 192 features are images of a
        single line. Longer rows are squares with three channels, or need `image_shape`.

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
        Initial learning rate. "auto" is 0.01, or 0.005 for activations that are noisy
        at 0.01, and a layer of more than 64 inputs takes proportionally smaller steps.
        A float applies to all layers, except that wide layers of "relu" units take
        smaller steps where the units would die.

    momentum : float in [0, 1), default=0.9
        Momentum of ``solver="sgd"``. Adam ignores it.

    max_grad_norm : float or None, default=None
        Maximum norm of the gradient of all weights. A longer gradient is scaled down to
        it. None sets no limit.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. "auto" is the number that makes about 3000 steps,
        between 20 and 300, or 20 for fewer than 60 rows to train on. 0 is probabilistic
        PCA.

    shuffle : bool, default=True
        Whether each epoch visits the rows in a new random order.

    tol : float, default=1e-4
        Minimum decrease of the loss that counts as an improvement, see
        `n_iter_no_change`. The unit is that of `loss_curve_`.

    n_iter_no_change : int or "auto", default="auto"
        Number of consecutive epochs without improvement after which the fit stops.
        "auto" is a fifth of the maximum number of epochs, at least 10.

    early_stopping : bool or "auto", default="auto"
        Whether to hold out `validation_fraction` of the rows, to monitor the bound of
        their log-likelihood instead of the training loss, and to restore the weights of
        the best epoch at the end, or the initial ones. "auto" is True for 60 rows or
        more. The initial weights are computed from all rows.

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

    n_active_units_ : int
        Number of components whose posterior mean has a variance above 0.01 over up to
        4096 training rows [4]_. The others carry no information.

    image_shape_ : tuple of int
        ``(height, width, n_channels)``.

    likelihood_ : str
        Name of the likelihood.

    noise_variance_ : float or ndarray of shape (n_features_in_,)
        Variance of the noise, in the squared units of the data; by column unless
        ``covariance_type="spherical"``. "heteroscedastic" noise has about this variance
        where the code is zero. Defined only for the "gaussian" likelihood.

    prior_weights_ : ndarray of shape (n_mixed,) or None
        Weights of the distributions that ``prior="mixture"`` consists of, of which the
        last one is the standard normal distribution. None if the prior is normal,
        which it also is where no mixture makes other codes more likely.

    prior_means_ : ndarray of shape (n_mixed, n_components_) or None
        Means of these distributions.

    prior_precisions_cholesky_ : ndarray of shape (n_mixed, n_components_, \
            n_components_) or None
        Factors of their precision matrices, which are these times their transposes.

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
        Network in evaluation mode. Its `posterior` takes standardized rows and returns
        means and log-variances of codes, its `encode` returns the means. Its `decode`
        returns standardized rows, or the values that are converted to them: shifts of
        logits for "bernoulli".

    n_iter_ : int
        Number of epochs trained, including those of earlier warm starts and of
        `partial_fit`.

    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch: the negative evidence lower bound, in nats a
        row.

    loss_ : float
        Last value of `loss_curve_`, or the lowest one if the fit restored the weights
        of that epoch, because the training loss had risen since.

    best_loss_ : float
        Lowest value of `loss_curve_`.

    validation_scores_ : list of float or None
        Bound of the mean log-likelihood of the held-out rows, in nats, after each epoch
        trained with `early_stopping`. None without `early_stopping`.

    best_validation_score_ : float or None
        Validation score of the final weights of the last fit. None without
        `early_stopping`.

    See Also
    --------
    VariationalAutoencoder : The same with dense layers, for rows of all kinds.
    ConvAutoencoderTransformer : Codes of images, and exact reconstructions.
    PatchAutoencoderTransformer : Features of images for linear models.

    Notes
    -----
    Parameters by group:

    - code: `n_components`
    - likelihood: `likelihood`, `offset`, `binarize`, `covariance_type`, `reg_covar`,
      `prior`, `kl_weight`, `linear_weight`, `n_importance_samples`
    - network: `hidden_channels`, `kernel_size`, `activation`, `linear_skip`
    - preparation: `image_shape`
    - solver: `solver`, `alpha`, `batch_size`, `learning_rate`, `learning_rate_init`,
      `momentum`, `max_grad_norm`, `max_iter`, `shuffle`, `tol`, `n_iter_no_change`,
      `early_stopping`, `validation_fraction`
    - run: `warm_start`, `checkpoint`, `device`, `random_state`, `verbose`

    The log-likelihood of a row does not depend on its position or on the other rows,
    because the codes that are drawn for it are a function of the row. For the
    "gaussian" likelihood, log-likelihoods are logarithms of a density. They may be
    positive. If a column is multiplied by a factor, they fall by the logarithm of the
    factor.

    `partial_fit` keeps the initial weights of the first part, and holds nothing out.

    The result for a `random_state` depends on the number of threads: torch's
    convolutions sum in a different order on a different number of them. Small networks
    always run on one thread.

    References
    ----------
    .. [1] Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
    .. [2] Tipping and Bishop, "Probabilistic principal component analysis", Journal of
       the Royal Statistical Society B 61, 1999.
    .. [3] Higgins et al., "beta-VAE: learning basic visual concepts with a constrained
       variational framework", ICLR 2017.
    .. [4] Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR
       2016.
    .. [5] Archambeau, Delannay and Verleysen, "Robust probabilistic projections", ICML
       2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skautoenc import ConvVariationalAutoencoder
    >>> images = load_digits().images
    >>> autoencoder = ConvVariationalAutoencoder(8, max_iter=20, random_state=0)
    >>> autoencoder = autoencoder.fit(images[:1300])
    >>> pca = PCA(8).fit(images[:1300].reshape(-1, 64))
    >>> linear = pca.score(images[1300:].reshape(-1, 64))
    >>> bool(autoencoder.score(images[1300:]) > linear + 20)
    True
    >>> autoencoder.sample(16, random_state=0).reshape(-1, 8, 8).shape
    (16, 8, 8)
    """

    __module__ = "skautoenc"

    _fitted_schema = {
        **FITTED_SCHEMA,
        "network_": is_a(ConvVariationalNetwork),
        "image_shape_": counts(3),
    }
    _parameter_constraints = {**CONSTRAINTS, **CONVOLUTION_CONSTRAINTS}

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        image_shape: Sequence[int] | Literal["auto"] = "auto",
        likelihood: Literal[
            "auto", "gaussian", "bernoulli", "poisson", "negative_binomial"
        ] = "auto",
        offset: Literal["total"] | None = None,
        binarize: bool = False,
        covariance_type: Literal[
            "spherical", "diag", "heteroscedastic"
        ] = "heteroscedastic",
        reg_covar: float = 0.01,
        prior: Literal["normal", "mixture"] = "normal",
        kl_weight: float = 1.0,
        linear_weight: float = 0.001,
        n_importance_samples: int = 50,
        hidden_channels: int | Sequence[int] = (16, 32),
        kernel_size: int = 3,
        activation: str = "silu",
        linear_skip: bool = True,
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
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.image_shape = image_shape
        self.likelihood = likelihood
        self.offset = offset
        self.binarize = binarize
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.prior = prior
        self.kl_weight = kl_weight
        self.linear_weight = linear_weight
        self.n_importance_samples = n_importance_samples
        self.hidden_channels = hidden_channels
        self.kernel_size = kernel_size
        self.activation = activation
        self.linear_skip = linear_skip
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

    def _make_network(
        self, n_features: int, n_components: int, described: dict[str, Any]
    ) -> ConvVariationalNetwork:
        return ConvVariationalNetwork(
            n_components=n_components, **describe_convolutions(self), **described
        )

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the variational autoencoder.

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
        self._fit_density(X, y, sample_weight)
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
            least two images and determines mean, scale and initial weights: it should
            be a representative sample.

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
            With ``early_stopping=True``, which needs all of the data.

        Notes
        -----
        The learning rate is constant, since the length of the stream is unknown.
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
        ndarray or frame of shape (n_samples, n_components), float32
            Means of the posterior distribution of the code of each row. They are not
            random. :meth:`posterior` gives their uncertainty too.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._transform(X)

    def posterior(self, X: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Encode images, with the uncertainty of their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to encode.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_components), float32
            Means of the posterior distribution of the code of each row, the output of
            :meth:`transform`.

        std : ndarray of shape (n_samples, n_components), float32
            Standard deviations of this distribution, which is normal with independent
            components. If a component says nothing about a row, its standard deviation
            is 1, as in the prior.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._posterior(X)

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_components)
            Output of :meth:`transform`, or any other codes.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32 or float64
            Mean of the rows that have the code, in the units of the training data. It
            is float64 if float32 cannot represent the data: if columns are further than
            1024 times `scale_` from zero, such as timestamps, or if `scale_` is outside
            of the range from 2**-100 to 2**100. It is a frame with the columns of the
            training data if the estimator was fitted on a frame and `set_output`
            requests one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the number of columns of `X` is not that of the code, or if a value is
            not finite.
        """
        return self._inverse_transform(X)

    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        *,
        add_noise: bool = True,
    ) -> Any:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images to draw.

        random_state : int, RandomState instance or None, default=None
            Seed or generator of the draws. None draws other rows each time.

        add_noise : bool, default=True
            Whether images are drawn from the model. Otherwise codes are drawn and
            decoded by the network: smooth images, without noise.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32 or float64
            The images, one per row, in the units of the training data, of the type of
            :meth:`inverse_transform`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `n_samples` is below 1.
        """
        return self._sample(n_samples, random_state, add_noise=add_noise)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return the log-likelihood of each image.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images to score.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Lower bound of the logarithm of the density of each row, in nats and in the
            units of the data, by `n_importance_samples` codes; of its probability, for
            zeros and ones and for counts. Outliers have low values: minus infinity
            where float64 overflows, never NaN.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._log_likelihoods(X)

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean log-likelihood, for searches without labels.

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
        return self._mean_log_likelihood(X, sample_weight)
