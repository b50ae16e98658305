"""The dense autoencoder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from .._data.rows import TrainingData
from .._data.validation import as_widths, check_layer_sizes, refuse
from .._model.learn import Learnt
from .._model.matrix import MatrixSide
from .._model.model import Model
from .._model.plan import Plan
from .._networks.autoencoder import Autoencoder
from .._networks.codes import PENALTIES, SPARSITIES
from .._networks.custom import CustomAutoencoder
from .._networks.dense import DenseAutoencoder
from .._networks.layers import ACTIVATIONS, NORMALIZATIONS
from .._objectives.objectives import Objective, ReconstructionObjective
from .._persistence.schemas import (
    MATRIX_AUTOENCODER,
    REAL,
    array,
    is_a,
    or_none,
)
from .._preparation.explained_variance import count_components
from .base import can_stream
from .decorators import available_if, with_callbacks
from .matrix import WIDTHS, MatrixAutoencoder

# Largest hidden layers by default, of most data and of wide sparse rows, where larger
# ones take longer and reconstruct no better.
_SIZES = (256, 128)
_NARROW_SIZES = (32, 32)


class AutoencoderTransformer(MatrixAutoencoder):
    """Dimensionality reduction and feature learning by a dense autoencoder.

    A network learns to reconstruct its input through a code of `n_components` units.
    :meth:`transform` returns the code. By default the number of components decides
    between two kinds of code:

    - A code *narrower* than the data compresses it. The code is dense and linear, as
      in PCA, and lies between hidden layers. It usually reconstructs better than PCA
      with the same number of components.
    - A code *at least as wide* as the data could copy it. It is therefore sparse: each
      unit may be active for only a small share of the rows [1]_. The code becomes a
      dictionary of the patterns in the data, and its activations are better features
      for a linear model than the data itself or its principal components.

    Each column is centred, and all columns are divided by one scale. A unit or offset
    that all columns share therefore has no effect. Scale columns of different units
    first, as for PCA, with :class:`~sklearn.preprocessing.StandardScaler` or
    :class:`~sklearn.preprocessing.MinMaxScaler`.

    Parameters
    ----------
    n_components : int, float in (0, 1), "auto" or None, default="auto"
        Width of the code. "auto" is eight times the number of features, up to 1024:
        wide enough for a dictionary, small enough for a laptop. As in PCA, a float is a
        share of the variance: the code gets as many units as principal components
        explain more than this share, on a sample of up to 4096 rows. None is the number
        of samples or of features, whichever is lower. Row normalization and whitening
        are not taken into account.

    sparsity : {"auto", "lifetime", "topk", "batch_topk", "l1", "kl"} or None, \
            default="auto"
        How the code is kept from copying the data.

        - "lifetime", "topk" and "batch_topk" are rules. A rule rectifies the code and
          passes only the share `sparsity_rate` of its activations to the decoder: for
          each unit, the rows with its largest activations ("lifetime", winner-take-all
          [1]_); for each row, its largest activations ("topk", k-sparse [3]_); or the
          largest activations of the whole batch ("batch_topk" [4]_).
        - "l1" and "kl" are penalties in the loss. "l1" penalizes rectified activations
          in proportion to their contribution to the reconstruction. "kl" penalizes the
          distance of the mean activation of each unit of a logistic code from
          `sparsity_rate` [5]_.
        - None leaves the code dense and linear.
        - "auto" is "lifetime", which leaves no unit unused, if ``n_components >=
          n_features`` and the code is not `ordered`. Otherwise it is None. With
          ``n_components="auto"`` it is "lifetime" for any number of features, except
          for sparse matrices of more than 1000 columns, whose code is dense.

    sparsity_rate : float in (0, 1) or "auto", default="auto"
        Share of the activations of a sparse code that reach the decoder. With "kl" it
        is the target of the mean activation, with "l1" it has no effect. "auto" is 0.1,
        or more (up to 0.5) if fewer than 16 units would otherwise describe a row.

    sparsity_penalty : float, default=0.1
        Weight of the penalty of "l1" and "kl". The reconstruction loss that it is added
        to is a share of the variance.

    contractive_penalty : float, default=0.0
        Weight of the squared norm of the encoder's Jacobian [6]_, relative to a squared
        error summed over the features. It makes the code insensitive to small changes
        of a row. The norm is exact for an encoder of one layer and estimated by a
        random probe for others. Use it with tied weights: otherwise the network shrinks
        the code and enlarges the decoder's weights in return.

    ordered : bool, default=False
        Whether to order the components by importance, as in PCA: in training, half of
        the codes are truncated at a random component [7]_. The first k components are
        then (nearly) the best k, and `explained_variance_ratio_` holds the contribution
        of each.

    features : {"code", "sparse", "stack", "reconstruction"}, default="code"
        What `transform` returns.

        - "code" is the code before the sparsity rule.
        - "sparse" is the code after the sparsity rule, as the decoder gets it. Without
          a rule it equals "code".
        - "stack" is all hidden activations and the code. It is not available with a
          `network` of your own.
        - "reconstruction" is the output of `inverse_transform`: the rows, denoised,
          with the names of their columns. Use it to denoise inside a pipeline.

    whiten_code : bool, default=False
        Whether `transform` returns uncorrelated components of variance one (less for
        components that hardly vary). The map is triangular, so it keeps an order of the
        components. `inverse_transform` undoes it. It needs more rows than components.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers. An int is the width of a single hidden
        layer. The decoder has the same layers in reverse. "auto" is no hidden layer for
        a sparse code, and two for a dense one: 4 and 2 times the number of features, up
        to 256 and 128. For sparse matrices of more than 1,000 columns and with
        `linear_skip`, it is 32 and 32.

    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", \
            "silu", "selu"}, default="silu"
        Activation of the hidden layers. Initial weights are scaled to match it. The
        smooth activations reconstruct best. It has no effect without hidden layers.

    tied_weights : bool or "auto", default="auto"
        Whether the decoder uses the transposed weights of the encoder. "auto" ties them
        if there are no hidden layers: the weights are then the dictionary itself.

    linear_skip : bool, default=True
        Whether a linear map, tied between encoder and decoder, runs parallel to the
        hidden layers. It starts from the principal axes of a sample of the rows. The
        network then starts as PCA, up to small contributions of the hidden layers, and
        learns what PCA cannot represent. If PCA explains nearly all of the variance,
        PCA has the lower error, by up to about a thousandth of the variance. It has no
        effect without hidden layers.

    normalization : {"batch", "layer"} or None, default=None
        Normalization layer before each hidden activation. It has no effect without
        hidden layers.

    dropout : float in [0, 1), default=0.0
        Dropout rate of the hidden activations in training. It has no effect without
        hidden layers.

    network : callable or None, default=None
        Network of your own: a class or a function, called as ``network(n_features=...,
        n_components=...)``, that returns a :class:`torch.nn.Module` with the methods
        `encode` and `decode`, both for standardized rows. It replaces the built-in
        network, and the parameters of that network have no effect: `sparsity`,
        `sparsity_rate`, `sparsity_penalty`, `hidden_layer_sizes`, `activation`,
        `tied_weights`, `linear_skip`, `normalization` and `dropout`.

        Further arguments of the class or function are parameters of the estimator:
        ``set_params(network__width=8)``, or ``network__width`` in a search, calls it
        with ``width=8``. To set one at the start, pass ``functools.partial(Net,
        width=8)``.

        Pass a class or function defined at module level, so that pickles can refer to
        it, never an instance: clones would share its trained weights. Random numbers
        that it draws in training come from torch's global generator and are not covered
        by `random_state`, except those of :class:`torch.nn.Dropout`.

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

    corruption_weight : float, default=1.0
        Weight of the corrupted entries in the loss. The weight of the other entries is
        1.

    n_neighbors : int or None, default=None
        If given, the network reconstructs the mean of this number of nearest training
        rows instead of the row itself, after [8]_. The differences between a row and
        its neighbours are thus treated as noise. A narrow code then separates groups
        better, and a classifier needs fewer labels, but the reconstruction is less
        exact. Neighbours are searched along the 64 leading principal axes, in time that
        grows with the square of the number of rows. The targets take as much memory as
        a dense array of the rows.

    n_diffusion_steps : int, default=1
        Number of times that the mean of `n_neighbors` rows is taken: with 2 steps the
        target is the mean of the neighbours' means, and so on (diffusion [9]_). More
        steps keep less of the row and more of its group.

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

    whiten : {"zca", "pca"} or None, default=None
        Whether the network gets whitened rows. Whitening gives all directions of the
        data about the same variance, so that fine patterns count as much as coarse
        ones. "zca" keeps each column as close to the original as possible, "pca"
        rotates the rows to the principal axes. `inverse_transform` undoes it. Losses
        are then shares of the whitened variance. It takes memory in the square of the
        number of features and time in its cube. Rows are normalized first.

    whiten_regularization : float, default=0.1
        Constant added to the variance of each direction, as a share of their mean, so
        that noise directions stay weak. With more features than rows, keep it well
        above zero.

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
        Initial learning rate. "auto" is 0.005 without hidden layers, for
        ``solver="sgd"`` and for a `network` of your own. With hidden layers it is 0.01,
        or 0.005 for activations that are noisy at 0.01, and a layer of more than 64 to
        256 inputs takes proportionally smaller steps. A float applies to all layers,
        except that wide layers of rectified units ("relu" without normalization) take
        smaller steps where the units would die.

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

    hidden_layer_sizes_ : tuple of int or None
        Widths of the encoder's hidden layers. None for a `network` of your own.

    sparsity_ : str or None
        Sparsity rule or penalty of the code. None for a dense code.

    sparsity_rate_ : float or None
        Share of the activations that reach the decoder. None for a dense code.

    n_dead_ : int or None
        Number of units of a rectified code that are inactive for all of up to 4096
        training rows at even distances. None for other codes. Up to three times in a
        fit, dead units are reset to badly reconstructed rows, so few remain.

    loss_function_ : str
        Name of the loss.

    explained_variance_ratio_ : ndarray of shape (n_components_,) or None
        Share of the variance that each component of an `ordered` code adds to the
        previous ones, estimated on up to 512 training rows. None for other codes.

    features_ : str
        What `transform` returns.

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

    whitening_, dewhitening_ : ndarray of shape (n_features_in_, n_features_in_) or None
        Matrices that whiten standardized rows and undo that. None without `whiten`.

    code_mean_ : ndarray of shape (n_components_,) or None
        Mean of the code, which is subtracted with `whiten_code`. None without it.

    code_whitening_, code_dewhitening_ : ndarray of shape \
            (n_components_, n_components_) or None
        Matrices that whiten centred codes and undo that. None without `whiten_code`.

    network_ : torch.nn.Module
        Network in evaluation mode. Its `encode` takes standardized rows, normalized and
        whitened if requested. Its `decode` returns such rows, or the values that the
        loss converts to them: shifts of logits for "binary_cross_entropy".

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
    sklearn.decomposition.PCA : Best linear reconstruction.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes by optimization
        for each row.
    TabularAutoencoderTransformer : Features of tables with categories, dates and
        missing values.
    PatchAutoencoderTransformer : Features of images for linear models.

    Notes
    -----
    Parameters by group:

    - code: `n_components`, `sparsity`, `sparsity_rate`, `sparsity_penalty`,
      `contractive_penalty`, `ordered`, `features`, `whiten_code`
    - network: `hidden_layer_sizes`, `activation`, `tied_weights`, `linear_skip`,
      `normalization`, `dropout`, `network`
    - noise: `corruption`, `corruption_rate`, `corruption_weight`
    - targets: `n_neighbors`, `n_diffusion_steps`
    - loss: `loss`
    - preparation: `normalize_rows`, `whiten`, `whiten_regularization`
    - solver: `solver`, `alpha`, `batch_size`, `learning_rate`, `learning_rate_init`,
      `momentum`, `max_grad_norm`, `max_iter`, `shuffle`, `tol`, `n_iter_no_change`,
      `early_stopping`, `validation_fraction`
    - run: `warm_start`, `checkpoint`, `device`, `random_state`, `verbose`

    A sparse code is sparse in training. :meth:`transform` returns the rectified
    activations before the sparsity rule, which suit linear models best;
    :meth:`inverse_transform` applies the rule first. A rule that compares the rows of a
    batch in training uses a running mean of its training thresholds afterwards, so that
    the result of a row does not depend on other rows.

    With `n_neighbors`, `loss_curve_` is still relative to the variance of the rows;
    that of the targets is smaller. Held-out losses of `early_stopping` do not include
    penalties.

    Threads: a network so wide that several threads share a training step gives the same
    bytes for the same `random_state` as long as torch sums in the same order on any
    number of threads. Smaller networks always run on one thread.

    References
    ----------
    .. [1] Makhzani and Frey, "Winner-take-all autoencoders", NeurIPS 2015.
    .. [2] Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.
    .. [3] Makhzani and Frey, "k-sparse autoencoders", ICLR 2014.
    .. [4] Bussmann, Leask and Nanda, "BatchTopK sparse autoencoders",
       arXiv:2412.06410, 2024.
    .. [5] Ng, "Sparse autoencoder", CS294A lecture notes, 2011.
    .. [6] Rifai et al., "Contractive auto-encoders", ICML 2011.
    .. [7] Rippel, Gelbart and Adams, "Learning ordered representations with nested
       dropout", ICML 2014.
    .. [8] Wang et al., "Generalized autoencoder: a neural network framework for
       dimensionality reduction", CVPR workshops 2014.
    .. [9] Coifman and Lafon, "Diffusion maps", Applied and Computational Harmonic
       Analysis 21, 2006.

    Examples
    --------
    A code wider than the data, for a linear model:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> from skautoenc import AutoencoderTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> pipeline = make_pipeline(
    ...     MinMaxScaler(),
    ...     AutoencoderTransformer(random_state=0),
    ...     LogisticRegression(max_iter=1000),
    ... )
    >>> bool(pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.97)
    True

    A narrow code, against PCA:

    >>> from sklearn.decomposition import PCA
    >>> pca = PCA(8).fit(X_train)
    >>> reconstruction = pca.inverse_transform(pca.transform(X_test))
    >>> pca_error = ((reconstruction - X_test) ** 2).mean()
    >>> autoencoder = AutoencoderTransformer(8, random_state=0).fit(X_train)
    >>> bool(-autoencoder.score(X_test) < 0.7 * pca_error)
    True
    """

    __module__ = "skautoenc"

    hidden_layer_sizes_: tuple[int, ...] | None
    sparsity_: str | None
    sparsity_rate_: float | None
    explained_variance_ratio_: NDArray[np.float64] | None
    whitening_: NDArray[np.float32] | None
    dewhitening_: NDArray[np.float32] | None
    code_mean_: NDArray[np.float32] | None
    code_whitening_: NDArray[np.float32] | None
    code_dewhitening_: NDArray[np.float32] | None

    _fitted_schema = {
        **MATRIX_AUTOENCODER,
        "network_": is_a(DenseAutoencoder, CustomAutoencoder),
        "hidden_layer_sizes_": is_a(tuple, None),
        "sparsity_": is_a(str, None),
        "sparsity_rate_": or_none(REAL),
        "explained_variance_ratio_": or_none(array(np.float64, 1)),
    }
    _parameter_constraints = {
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "hidden_layer_sizes": WIDTHS,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "sparsity": [StrOptions({"auto", *SPARSITIES, *PENALTIES}), None],
        "sparsity_rate": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="neither")],
        "sparsity_penalty": [Interval(Real, 0, None, closed="left")],
        "contractive_penalty": [Interval(Real, 0, None, closed="left")],
        "ordered": ["boolean"],
        "tied_weights": ["boolean", StrOptions({"auto"})],
        "linear_skip": ["boolean"],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "network": [callable, None],
        "corruption_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [None, Interval(Integral, 1, None, closed="left")],
        "n_diffusion_steps": [Interval(Integral, 1, None, closed="left")],
        "features": [StrOptions({"code", "sparse", "stack", "reconstruction"})],
        "whiten": [StrOptions({"zca", "pca"}), None],
        "whiten_regularization": [Interval(Real, 0, None, closed="left")],
        "whiten_code": ["boolean"],
        **MatrixAutoencoder._parameter_constraints,
    }

    def __init__(
        self,
        n_components: float | Literal["auto"] | None = "auto",
        *,
        hidden_layer_sizes: int | Sequence[int] | Literal["auto"] = "auto",
        activation: str = "silu",
        sparsity: (
            Literal["auto", "lifetime", "topk", "batch_topk", "l1", "kl"] | None
        ) = "auto",
        sparsity_rate: float | Literal["auto"] = "auto",
        sparsity_penalty: float = 0.1,
        contractive_penalty: float = 0.0,
        ordered: bool = False,
        tied_weights: bool | Literal["auto"] = "auto",
        linear_skip: bool = True,
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        network: Callable[..., torch.nn.Module] | None = None,
        corruption: Literal[
            "masking", "gaussian", "salt_and_pepper", "swap"
        ] = "masking",
        corruption_rate: float = 0.0,
        corruption_weight: float = 1.0,
        n_neighbors: int | None = None,
        n_diffusion_steps: int = 1,
        loss: Literal[
            "auto", "squared_error", "huber", "binary_cross_entropy", "poisson"
        ] = "auto",
        features: Literal["code", "sparse", "stack", "reconstruction"] = "code",
        normalize_rows: float | Literal["total"] | None = None,
        whiten: Literal["zca", "pca"] | None = None,
        whiten_regularization: float = 0.1,
        whiten_code: bool = False,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.sparsity = sparsity
        self.sparsity_rate = sparsity_rate
        self.sparsity_penalty = sparsity_penalty
        self.contractive_penalty = contractive_penalty
        self.ordered = ordered
        self.tied_weights = tied_weights
        self.linear_skip = linear_skip
        self.normalization = normalization
        self.dropout = dropout
        self.network = network
        self.corruption = corruption
        self.corruption_rate = corruption_rate
        self.corruption_weight = corruption_weight
        self.n_neighbors = n_neighbors
        self.n_diffusion_steps = n_diffusion_steps
        self.loss = loss
        self.features = features
        self.normalize_rows = normalize_rows
        self.whiten = whiten
        self.whiten_regularization = whiten_regularization
        self.whiten_code = whiten_code
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
        if not isinstance(self.hidden_layer_sizes, str):
            check_layer_sizes(self)
        _refuse_contradictions(self)

    def _plan(
        self,
        data: TrainingData,
        form: float | None,
        before: Model[Any] | None,
        *,
        in_parts: bool,
    ) -> Plan:
        plan = super()._plan(data, form, before, in_parts=in_parts)
        n_components = self._count_components(data, before)
        build = partial(self._build_network, data.shape[1], n_components=n_components)
        if before is None:
            is_narrow = data.is_wide_sparse
        else:
            # Later parts need not be sparse, or were fitted by an older version.
            sizes = before.network.config.get("hidden_layer_sizes", ())
            is_narrow = tuple(sizes) == _NARROW_SIZES
        if is_narrow and self.linear_skip:
            build = partial(build, largest_sizes=_NARROW_SIZES)
        if before is None:
            # On wide sparse rows, a fit of a sparse code would take many times longer.
            is_dictionary = self.n_components == "auto" and not data.is_wide_sparse
        else:
            is_dictionary = before.network.config.get("sparsity") is not None
        return replace(plan, build_network=partial(build, is_dictionary=is_dictionary))

    def _count_components(self, data: TrainingData, before: Model[Any] | None) -> int:
        """Return the width of the code."""
        asked = self.n_components
        if asked == "auto":
            return min(8 * data.shape[1], 1024)
        if isinstance(asked, Integral):
            return int(asked)
        # Numbers that follow from the rows stay those of the first fit.
        if before is not None:
            return before.n_components
        if asked is None:
            return min(data.n_total, data.shape[1])
        return count_components(data, asked)

    def _build_network(
        self,
        n_features: int,
        largest_sizes: tuple[int, int] = _SIZES,
        *,
        n_components: int = 0,
        is_dictionary: bool = False,
    ) -> Autoencoder:
        if self.network is not None:
            return CustomAutoencoder(
                builder=self.network,
                n_features=n_features,
                n_components=n_components,
            )
        return _build_dense_network(
            self,
            n_features,
            n_components,
            largest_sizes=largest_sizes,
            is_dictionary=is_dictionary,
        )

    def _make_objective(self, side: MatrixSide) -> Objective:
        return ReconstructionObjective(
            side.loss,
            corruption=self._corruption(),
            corruption_weight=float(self.corruption_weight),
            ordered=bool(self.ordered),
            contractive_penalty=float(self.contractive_penalty),
        )

    def _attributes_of(self, learnt: Learnt) -> dict[str, Any]:
        config = learnt.model.network.config
        sparsity = config.get("sparsity")
        return {
            "hidden_layer_sizes_": config.get("hidden_layer_sizes"),
            "sparsity_": sparsity,
            "sparsity_rate_": config["sparsity_rate"] if sparsity else None,
            "explained_variance_ratio_": learnt.explained_variance_ratio,
        }

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), \
                collection or Blocks
            Training data: numbers, none missing. A batch of
            sparse data is made dense, the rest stays sparse. Memory-mapped data,
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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Part of the training data, with any number of rows. The first part needs at
            least two rows and determines mean, scale and whitening: it should be a
            representative sample. With batch normalization, a part of one row is
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
            With `early_stopping` or `whiten_code`, which need all of the data.

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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The code, with one column per component. With ``features="stack"``, the
            activations of all hidden layers, in order, precede it. With
            ``features="reconstruction"``, the reconstructed rows, float32 or float64 as
            from :meth:`inverse_transform`.

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
            Output of :meth:`transform`. With ``features="stack"``, the code alone (the
            last `n_components` columns) is enough. With ``features="reconstruction"``,
            rows of the data, which are returned as they are.

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


def _refuse_contradictions(estimator: AutoencoderTransformer) -> None:
    """Raise an error if parameters contradict each other."""
    if isinstance(estimator.network, torch.nn.Module):
        refuse(estimator, "network", "a class or a function, never an instance")
    if estimator.network is not None and estimator.features == "stack":
        refuse(
            estimator,
            "features",
            "'code', 'sparse' or 'reconstruction' with a network of your own",
        )
    if estimator.whiten_code and estimator.features == "reconstruction":
        refuse(estimator, "whiten_code", "False for features='reconstruction'")
    if estimator.n_neighbors is not None and estimator.early_stopping:
        refuse(
            estimator,
            "early_stopping",
            "False with n_neighbors, which held-out rows lack",
        )
    if estimator.corruption_weight != 1 and estimator.corruption == "gaussian":
        refuse(
            estimator,
            "corruption_weight",
            "1 for corruption='gaussian', which corrupts all entries alike",
        )
    sparse = estimator.network is None and estimator.sparsity not in ("auto", None)
    if estimator.ordered and sparse:
        refuse(
            estimator,
            "sparsity",
            "'auto' or None for ordered=True, which needs a dense code",
        )


def _build_dense_network(
    estimator: AutoencoderTransformer,
    n_features: int,
    n_components: int,
    *,
    largest_sizes: tuple[int, int],
    is_dictionary: bool,
) -> DenseAutoencoder:
    """Return the network of an estimator, with what is "auto" decided."""
    sparsity = estimator.sparsity
    if sparsity == "auto":
        is_wide = is_dictionary or n_components >= n_features
        sparsity = "lifetime" if is_wide and not estimator.ordered else None
    sizes: tuple[int, ...] = ()
    if sparsity is None or not isinstance(estimator.hidden_layer_sizes, str):
        sizes = resolve_widths(estimator.hidden_layer_sizes, n_features, largest_sizes)
    rate, tied = estimator.sparsity_rate, estimator.tied_weights
    if rate == "auto":
        rate = min(max(0.1, 16 / n_components), 0.5)
    return DenseAutoencoder(
        n_features=n_features,
        n_components=n_components,
        hidden_layer_sizes=sizes,
        activation=str(estimator.activation),
        sparsity=sparsity,
        sparsity_rate=float(rate),
        sparsity_penalty=float(estimator.sparsity_penalty),
        tied_weights=not sizes if tied == "auto" else bool(tied),
        linear_skip=bool(estimator.linear_skip),
        normalization=estimator.normalization,
        dropout=float(estimator.dropout),
    )


def resolve_widths(
    sizes: int | Sequence[int] | str,
    n_features: int,
    largest: tuple[int, int] = _SIZES,
) -> tuple[int, ...]:
    """Return the widths of the encoder's hidden layers; of two layers for "auto"."""
    if not isinstance(sizes, str):
        return tuple(int(size) for size in as_widths(sizes))
    return min(4 * n_features, largest[0]), min(2 * n_features, largest[1])
