"""The dense autoencoder."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from .._data.validation import check_layer_sizes, refuse
from .._model.learn import Learnt
from .._model.matrix import MatrixSide
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
from .base import can_stream
from .matrix import MatrixAutoencoder


class AutoencoderTransformer(MatrixAutoencoder):
    """Dimensionality reduction and feature learning by a dense autoencoder.

    A network learns to reconstruct its input through a code of `n_components` units;
    `transform` gives the code. Two kinds of code are worth learning, and the number of
    components decides between them:

    - A code *narrower* than the data has to compress it. It is dense and linear, as
      in PCA, with hidden layers around it: it usually reconstructs better than PCA
      with as many components.
    - A code *at least as wide* as the data could just copy it, unless it is sparse:
      each unit may be active for a share of the rows only [1]_. It becomes a
      dictionary of the patterns in the data, and its activations are better features
      for a linear model than the data itself or its principal components.

    The data is centred by column and divided by one scale, so that a common unit or
    offset does not matter. Columns of different units should be brought together
    first, by `StandardScaler` or `MinMaxScaler`, as for PCA.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Width of the code. "auto" takes eight times the number of features, up to
        1024: wide enough for a dictionary, small enough for a laptop.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. "auto"
        takes none for a sparse code and two for a dense one: 4 and 2 times the number
        of features, up to 256 and 128.
    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", \
            "gelu", "silu", "selu"}, default="silu"
        Activation of the hidden layers. The smooth ones reconstruct best. Initial
        weights are scaled to suit it. Without hidden layers it has no effect.
    sparsity : {"auto", "lifetime", "topk", "batch_topk", "l1", "kl"} or None, \
            default="auto"
        How the code is kept from copying the data. A rule rectifies it and lets only
        the share `sparsity_rate` of its activations reach the decoder: of each unit
        the rows in which it is strongest ("lifetime", winner take all [1]_), of each
        row its strongest units ("topk", k-sparse [3]_), or the strongest of a batch
        altogether ("batch_topk" [4]_). A penalty makes activations cost: rectified
        ones by what they add to the reconstruction ("l1"), those of a logistic code by
        how far a unit's mean is from `sparsity_rate` ("kl" [5]_). None leaves the code
        dense and linear. "auto" is "lifetime", which leaves no unit idle, if
        ``n_components >= n_features`` and the code is not `ordered`.
    sparsity_rate : float in (0, 1) or "auto", default="auto"
        Share of the activations of a sparse code that are decoded; with "kl" the mean
        activation aimed at, with "l1" without effect. "auto" is 0.1, or more where the
        code is so narrow that fewer than 16 units would be left to describe a row, up
        to 0.5.
    sparsity_penalty : float, default=0.1
        Weight of the penalty, for "l1" and "kl", against losses that are shares of the
        variance.
    contractive_penalty : float, default=0.0
        Weight of the squared norm of the encoder's Jacobian [6]_, against a squared
        error summed over the features: small changes of a row are to change its code
        little. Exact for an encoder of one layer, by a random probe for others. Tie
        the weights, or the network shrinks the code and the decoder makes up for it.
    ordered : bool, default=False
        Whether the first components are to carry most, as in PCA: in training, half of
        the codes are cut short at random [7]_. The first k components are then the
        best k or nearly, and `explained_variance_ratio_` says what each adds.
    tied_weights : bool or "auto", default="auto"
        Whether the decoder uses the encoder's weights, transposed. "auto" ties them
        if there are no hidden layers: the weights are then the dictionary itself.
    linear_skip : bool, default=True
        Whether a linear map, tied between encoder and decoder, runs beside the hidden
        layers. It starts at the principal axes of a sample of the rows, so the
        network starts as PCA and learns what PCA cannot do. Without hidden layers it
        has no effect.
    normalization : {"batch", "layer"} or None, default=None
        Normalisation ahead of each hidden activation. Without hidden layers it has no
        effect.
    dropout : float in [0, 1), default=0.0
        Rate at which hidden activations are dropped in training. Without hidden
        layers it has no effect.
    network : callable, default=None
        Your own network: a class or a function, called as
        ``network(n_features=..., n_components=...)``, that returns a
        `torch.nn.Module` with `encode` and `decode`, both for standardised rows. It
        replaces the built-in one and the parameters that shape that one:
        `hidden_layer_sizes` to `sparsity_penalty`, and `tied_weights` to `dropout`.
        Never an instance: clones would share its
        trained weights. At module level, so that pickles can name it. Randomness in
        training, other than that of `torch.nn.Dropout`, comes from torch's global
        generator and is not covered by `random_state`.
    corruption : {"masking", "gaussian", "salt_and_pepper", "swap"}, default="masking"
        What is done to the entries of a batch before they are encoded; the target
        stays clean [2]_. They are set to their column's mean, or have noise added, or
        are set to the smallest or largest value of their column in the batch, or are
        replaced by those of rows drawn at random, which keeps each column's
        distribution. With `normalize_rows` or `whiten`, that is done to what comes out
        of them.
    corruption_rate : float, default=0.0
        Share of the entries that are corrupted, below 1. For "gaussian", the standard
        deviation of the noise, in units of `scale_`.
    corruption_weight : float, default=1.0
        Weight of the corrupted entries in the loss, where that of the others is 1.
    n_neighbors : int, default=None
        If given, the target of a row is not the row itself but the mean of as many
        of its nearest training rows, after [8]_: what tells a row from its neighbours
        is treated as noise. Good for a narrow code that is to tell groups apart, and
        where labels are few; it reconstructs less exactly. Neighbours are found along
        the 64 leading principal axes, in time that grows with the square of the number
        of rows; the targets take as much memory as the rows do as a dense array.
    n_diffusion_steps : int, default=1
        How often that mean is taken: with 2 steps the target is the mean of the
        neighbours' means, and so on (diffusion [9]_). More steps leave less of a row
        and more of its group.
    loss : {"auto", "squared_error", "huber", "binary_cross_entropy", "poisson"}, \
            default="auto"
        What an error costs. "huber" is the squared error up to the mean absolute
        deviation and linear beyond, so that outliers weigh less.
        "binary_cross_entropy" is for shares and for zeros and ones, "poisson" for
        counts. "auto" is "binary_cross_entropy" for data of zeros and ones and nothing
        else, otherwise "squared_error". Whatever it is, `score` stays the squared
        error.
    features : {"code", "sparse", "stack"}, default="code"
        What `transform` gives: the code; the code thinned out by the sparsity rule, as
        the decoder gets it, which is the same where there is no rule; or all hidden
        activations and the code, which a network of your own does not tell.
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
    whiten : {"zca", "pca"} or None, default=None
        Whether the network sees whitened rows, in which all directions of the data
        are about equally strong, so that fine patterns count as much as coarse ones.
        "zca" keeps each column as close to the original as can be, "pca" turns them
        to the principal axes. It is undone on the way back; losses are then shares of
        the whitened variance. It takes memory in the square of the number of features
        and time in its cube. Rows are normalised first.
    whiten_regularization : float, default=0.1
        Added to the variance of each direction, as a share of their mean, so that
        directions of mere noise stay weak. Where there are more features than rows,
        keep it well above zero.
    whiten_code : bool, default=False
        Whether `transform` gives uncorrelated components of variance one, or less
        where they hardly vary. The map is triangular, so that an order among the
        components stays; `inverse_transform` undoes it. Have more rows than components.
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
        Learning rate at the start. "auto" suits the network. With hidden layers it is
        0.01, or 0.005 where some activations are noisy at that: a layer of more than
        64 inputs takes steps that are smaller in proportion. Without hidden layers,
        for `solver="sgd"` and for a network of your own it is 0.005. A number is what
        all layers take, except that wide layers of rectified units ("relu" without
        normalisation) take smaller steps where the number would kill them.
    momentum : float in [0, 1), default=0.9
        Momentum of `solver="sgd"`.
    max_grad_norm : float, default=None
        Bound on the norm of the gradient; None for no bound.
    max_iter : int or "auto", default="auto"
        Most epochs. "auto" takes as many as make about 1000 steps, but at least 5 and
        at most 50. For a sparse matrix of more than 1000 columns, and a network with
        `linear_skip`, it takes 3 at most: a step over such rows costs as much as over
        dense ones, and more epochs overfit.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    tol : float, default=1e-4
        The fit stops when the loss has not fallen by more than this for
        `n_iter_no_change` epochs. Losses are shares of the variance.
    n_iter_no_change : int, default=10
        Epochs without progress until the fit stops.
    early_stopping : bool, default=False
        Whether to hold out rows, to watch their loss in place of the training loss,
        and to go back to the weights of its best epoch in the end. Penalties are no
        part of that loss.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows to hold out.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit, with a fresh optimiser
        and schedule. Mean, scale, loss, normalisation and whitening stay those of the
        first fit.
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
        Source of the initial weights, of the order of the rows, of the noise and of
        the rows held out. An int gives the same weights in every fit, bit for bit on
        the same processor; for networks so wide that several threads share a step,
        that holds as long as torch adds up in the same order on any number of them.
    verbose : bool or int, default=False
        Whether to print a line an epoch.

    Attributes
    ----------
    n_components_ : int
        Width of the code.
    hidden_layer_sizes_ : tuple of int or None
        Widths of the encoder's hidden layers; None for a network of your own.
    sparsity_ : str or None
        The sparsity rule of the code, if it has one.
    sparsity_rate_ : float or None
        Share of the activations that are decoded; None for a dense code.
    n_dead_ : int or None
        How many units of a rectified code are active for none of up to 4096 training
        rows at even distances; None for other codes. Up to three times in a fit dead
        units are pointed at rows that are badly reconstructed, so few are left.
    loss_function_ : str
        The loss.
    explained_variance_ratio_ : ndarray of shape (n_components_,) or None
        Share of the variance that each component of an `ordered` code adds to those
        before it, on up to 512 training rows; None without order.
    features_ : str
        What `transform` gives.
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
    whitening_, dewhitening_ : ndarray of shape (n_features_in_, n_features_in_) or None
        Maps that standardised rows are multiplied by to whiten them, and back.
    code_mean_ : ndarray of shape (n_components_,) or None
        Mean of the code, subtracted from it with `whiten_code`.
    code_whitening_, code_dewhitening_ : ndarray of shape \
            (n_components_, n_components_) or None
        Maps that centred codes are multiplied by to whiten them, and back.
    network_ : torch.nn.Module
        The network, in evaluation mode. Its `encode` takes standardised rows,
        normalised and whitened if asked for. Its `decode` gives such rows, or what the
        loss turns into them: shifts of logits for "binary_cross_entropy".
    n_iter_ : int
        Epochs trained, those of earlier warm starts and `partial_fit` included.
    loss_curve_ : list of float of length n_iter_
        Mean training loss of each epoch, penalties included, as a share of the
        variance of the data (of the deviance, for other losses than the squared
        error): 1 is no better than the mean, 0 is perfect. With `n_neighbors` it is
        still the variance of the rows, of which the targets have less.
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
    sklearn.decomposition.PCA : Best linear reconstruction.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes by optimisation
        for each row.

    Notes
    -----
    A sparse code is sparse in training. `transform` gives the rectified activations as
    they are, which a linear model uses best; `inverse_transform` first thins them out.
    Where the rule compares the rows of a batch, it does so by a running mean of the
    thresholds met in training, so that each row's result is its own.

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
        ],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
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
        "features": [StrOptions({"code", "sparse", "stack"})],
        "whiten": [StrOptions({"zca", "pca"}), None],
        "whiten_regularization": [Interval(Real, 0, None, closed="left")],
        "whiten_code": ["boolean"],
        **MatrixAutoencoder._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
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
        features: Literal["code", "sparse", "stack"] = "code",
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
        check_layer_sizes(self)
        if isinstance(self.network, torch.nn.Module):
            refuse(self, "network", "a class or a function, never an instance")
        if self.network is not None and self.features == "stack":
            refuse(self, "features", "'code' or 'sparse' with a network of your own")
        if self.n_neighbors is not None and self.early_stopping:
            refuse(
                self,
                "early_stopping",
                "False with n_neighbors, which held-out rows lack",
            )
        if self.corruption_weight != 1 and self.corruption == "gaussian":
            refuse(
                self,
                "corruption_weight",
                "1 for corruption='gaussian', which corrupts all entries alike",
            )
        sparse = self.network is None and self.sparsity not in ("auto", None)
        if self.ordered and sparse:
            refuse(
                self,
                "sparsity",
                "'auto' or None for ordered=True, which needs a dense code",
            )

    def _build_network(self, n_features: int) -> Autoencoder:
        n_components = (
            min(8 * n_features, 1024)
            if self.n_components == "auto"
            else int(self.n_components)
        )
        if self.network is not None:
            return CustomAutoencoder(
                builder=self.network,
                n_features=n_features,
                n_components=n_components,
            )
        sparsity = self.sparsity
        if sparsity == "auto":
            dense = self.ordered or n_components < n_features
            sparsity = None if dense else "lifetime"
        sizes = _resolve_hidden_layer_sizes(
            self.hidden_layer_sizes, n_features, sparsity
        )
        rate, tied = self.sparsity_rate, self.tied_weights
        if rate == "auto":
            rate = min(max(0.1, 16 / n_components), 0.5)
        return DenseAutoencoder(
            n_features=n_features,
            n_components=n_components,
            hidden_layer_sizes=sizes,
            activation=str(self.activation),
            sparsity=sparsity,
            sparsity_rate=float(rate),
            sparsity_penalty=float(self.sparsity_penalty),
            tied_weights=not sizes if tied == "auto" else bool(tied),
            linear_skip=bool(self.linear_skip),
            normalization=self.normalization,
            dropout=float(self.dropout),
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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features) or \
                Blocks
            Training data: numbers, none missing. Sparse data stays sparse but for
            the batch at hand; memory-mapped data and `Blocks` stay where they are.

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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            A part of the training data, of any number of rows. The first part, of two
            rows at least, also sets mean, scale and whitening: let it be a fair sample
            of the rest. A part of one row is normalised by what came before it, with
            batch normalisation.

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
            With `early_stopping` or `whiten_code`, which need all data at once.

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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to encode.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            The code, one column a component; with ``features="stack"`` the hidden
            activations before it, from the first layer on.

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
            What `transform` gives. Of a stack the code alone, its last
            `n_components` columns, is enough.

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
        """Score each row by how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus the mean squared error of each row's reconstruction, in the squared
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
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
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


def _resolve_hidden_layer_sizes(
    sizes: Sequence[int] | str, n_features: int, sparsity: str | None
) -> tuple[int, ...]:
    """Return the widths of the encoder's hidden layers."""
    if not isinstance(sizes, str):
        return tuple(int(size) for size in sizes)
    if sparsity is not None:
        return ()
    return min(4 * n_features, 256), min(2 * n_features, 128)
