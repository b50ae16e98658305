"""Convolutional features by an autoencoder of patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags, check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from torch import Tensor

from ._images import IMAGE_SHAPE_CONSTRAINT, ImageInput
from ._input import (
    TrainingData,
    as_configured_frame,
    check_codes,
    check_weights,
    refuse,
)
from ._saving import Savable
from ._transformer import AutoencoderTransformer
from .networks import DenseAutoencoder
from .networks.layers import CPU_FLOAT32
from .networks.patches import (
    PatchEncoder,
    cut_patches,
    normalize_patches,
    pad_edges,
    pool,
    view_patches,
)
from .networks.weights import to_read
from .training import (
    Block,
    RowMap,
    Rows,
    compute,
    learn_compression,
    read,
    spread,
    take,
)

# Images of a block: enough for whole tiles of matrix products, few enough for their
# codes to stay in the cache; and blocks of fewer, which may do for a few images.
_BLOCK = 24
_SMALLER = (1, 4)
# Rows of features that are mapped at a time, and images whose features are held.
_MAPPED_BLOCK = 96
_N_MAPPED = 288
# Images that covariances are learnt from, and the way back.
_N_IMAGES = 10_000

_LENGTHS = [Interval(Integral, 1, None, closed="left"), tuple, list]


class PatchAutoencoderTransformer(
    ImageInput, CallbackSupportMixin, Savable, TransformerMixin, BaseEstimator
):
    """Convolutional features of images by an autoencoder of their patches.

    A sparse autoencoder learns a dictionary of small patches, drawn from all over the
    images. `transform` encodes every patch of an image and averages the codes over a
    grid of cells [1]_, takes the root of the means and whitens them: features that say
    what is where, roughly, and that shift little when the image does. It learns in
    seconds, and on images a linear model does much better on them than on the codes of
    whole images.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer, default=None
        What learns the patches; any of its parameters can be searched over. None is
        ``AutoencoderTransformer(200, sparsity="topk", sparsity_rate=0.025,
        whiten="zca", batch_size=1024)``. Encoders of one layer are applied as
        convolutions; others give the same features more slowly.
    image_shape : tuple of int or "auto", default="auto"
        ``(height, width)`` or ``(height, width, n_channels)`` of a row. "auto" is the
        shape of the images, if `fit` is given them as an array of three or four
        dimensions; otherwise a square of one channel, or a line where the number of
        features is no square.
    patch_size : int, tuple of int or "auto", default="auto"
        Height and width of a patch. "auto" is 6, or half of the shorter side of the
        image if that is less.
    padding : int, tuple of int or "auto", default="auto"
        How far patches reach beyond the image, down and across, where they find its
        edge repeated. "auto" lets there be about as many patches as places.
    normalize_patches : float, default=0.3
        If given, each patch has its mean subtracted and is divided by its contrast, so
        that faint and strong ones count alike. The number, in units of the root mean
        square contrast, is added in quadrature to keep noise from being blown up. Set
        it to None where brightness itself says what an image shows.
    pooling : int or tuple of int, default=4
        Number of cells, down and across, over which codes are averaged, by weights that
        fall linearly to the centres of the cells around. No more than there are places
        for a patch.
    n_components : int, default=None
        If given, only as many principal components of the features are kept. Without
        them features are ``cells * units`` in number: thousands.
    whiten_code : bool, default=True
        Whether features are made uncorrelated. A linear classifier with an L2 penalty
        does clearly better on them. The map is triangular: a feature keeps its name,
        and has what those before it tell removed.
    whiten_regularization : float, default=0.03
        Added to the variance of each direction, as a share of their mean, so that
        directions of mere noise stay weak; also the ridge penalty of the way back.
    n_patches : int, default=200_000
        Most patches to learn from.
    random_state : int, RandomState instance or None, default=None
        Source of the choice of patches, and of the autoencoder's seed where that has
        none.

    Attributes
    ----------
    autoencoder_ : AutoencoderTransformer
        The autoencoder of patches, fitted.
    image_shape_ : tuple of int
        ``(height, width, n_channels)``.
    patch_size_ : tuple of int
        Height and width of a patch.
    padding_ : tuple of int
        How far patches reach beyond the image.
    grid_ : tuple of int
        Number of cells, down and across.
    mean_, scale_ : float
        Mean and standard deviation of the pixels, subtracted first and divided by.
    n_components_ : int or None
        Number of components kept; None if all features are.
    code_mean_ : ndarray of shape (n_pooled,) or None
        Mean of the roots of pooled codes, subtracted from them.
    code_map_ : ndarray of shape (n_pooled, n_features_out) or None
        What they are then multiplied by; both are None if neither `n_components` nor
        `whiten_code` asks for it.
    decoder_map_ : ndarray of shape (n_features_out, n_features_in_)
        What features are multiplied by on the way back to standardised images.
    decoder_mean_ : ndarray of shape (n_features_in_,)
        Added to that.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all were strings.

    See Also
    --------
    ConvAutoencoderTransformer : Compression of images by a network trained end to end.
    AutoencoderTransformer : Codes of whole rows.

    Notes
    -----
    With all its patches an image has hundreds of times as many codes as pixels.
    `transform` holds those of 16 images at a time, which fit the processor's cache, and
    the features of 256: a few megabytes beyond its result and `code_map_`.

    Means of the features, their covariance and the decoder are learnt from up to 10,000
    images at even distances; more change nothing that a classifier would notice.

    References
    ----------
    .. [1] Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised
       feature learning", AISTATS 2011.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from skautoenc import PatchAutoencoderTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> features = PatchAutoencoderTransformer(random_state=0)
    >>> pipeline = make_pipeline(features, LogisticRegression(C=0.01))
    >>> bool(pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.98)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "autoencoder": [AutoencoderTransformer, None],
        "image_shape": IMAGE_SHAPE_CONSTRAINT,
        "patch_size": [*_LENGTHS, StrOptions({"auto"})],
        "padding": [
            Interval(Integral, 0, None, closed="left"),
            tuple,
            list,
            StrOptions({"auto"}),
        ],
        "normalize_patches": [None, Interval(Real, 0, None, closed="neither")],
        "pooling": _LENGTHS,
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "whiten_code": ["boolean"],
        "whiten_regularization": [Interval(Real, 0, None, closed="neither")],
        "n_patches": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        autoencoder: AutoencoderTransformer | None = None,
        *,
        image_shape: Sequence[int] | Literal["auto"] = "auto",
        patch_size: int | Sequence[int] | Literal["auto"] = "auto",
        padding: int | Sequence[int] | Literal["auto"] = "auto",
        normalize_patches: float | None = 0.3,
        pooling: int | Sequence[int] = 4,
        n_components: int | None = None,
        whiten_code: bool = True,
        whiten_regularization: float = 0.03,
        n_patches: int = 200_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.padding = padding
        self.normalize_patches = normalize_patches
        self.pooling = pooling
        self.n_components = n_components
        self.whiten_code = whiten_code
        self.whiten_regularization = whiten_regularization
        self.n_patches = n_patches
        self.random_state = random_state

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn the patches of images.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Training images.
        y : Ignored
            Present for API consistency. Callbacks are given it, or `X`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images; None weighs all alike.

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
        # A fit that fails from here on leaves nothing that looks fitted.
        self.__dict__.pop("decoder_mean_", None)
        matrix = self._check_rows(X, reset=True, min_rows=2)
        data = TrainingData(matrix, check_weights(sample_weight, matrix))
        data = data.without_zero_weights()
        self._resolve_sizes()
        if len(data) * math.prod(self._places) <= self.n_patches:
            # Small fits see the set of images, not their order.
            data = data.merge_equal_rows()
        random_state = check_random_state(self.random_state)
        task = {"estimator": self, "X": X, "y": X if y is None else y}
        context = self._init_callback_context(max_subtasks=1)
        context.call_on_fit_task_begin(**task)
        chosen = spread(len(data), _N_IMAGES)
        rows = take(data.matrix, chosen, data.index)
        weights = np.ones(len(rows))
        if data.weights is not None:
            weights = data.weights[chosen].astype(np.float64)
        self._standardise(rows, weights)
        self._learn_patches(data, random_state, context, task)
        self._learn_map(rows, weights)
        context.call_on_fit_task_end(**task, reconstruction_attributes={})
        return self

    def _validate_params(self) -> None:
        super()._validate_params()
        for name, lowest in (("patch_size", 1), ("pooling", 1), ("padding", 0)):
            value = getattr(self, name)
            if isinstance(value, tuple | list) and not (
                len(value) == 2
                and all(isinstance(v, Integral) and int(v) >= lowest for v in value)
            ):
                what = "a positive integer" if lowest else "an integer of 0 and more"
                refuse(self, name, f"{what} or a pair of them")

        inner = self.autoencoder
        if inner is not None and inner.loss in ("binary_cross_entropy", "poisson"):
            raise ValueError(
                f"autoencoder__loss={inner.loss!r} is for raw values, but patches are "
                "centred. Use 'squared_error' or 'huber'."
            )
        if inner is not None and inner.checkpoint and self.random_state is None:
            raise ValueError(
                "autoencoder__checkpoint needs a random_state of "
                "PatchAutoencoderTransformer: without one, other patches are drawn "
                "after a restart. Set random_state=0, for one."
            )

    # Sizes

    def _resolve_sizes(self) -> None:
        """Turn sizes into those of this data."""
        height, width, _ = self.image_shape_
        size = self._resolve_patch_size(height, width)
        if size[0] > height or size[1] > width:
            refuse(self, "patch_size", f"no larger than the image, {height}x{width}")
        self.patch_size_ = size
        self.padding_ = (
            ((size[0] - 1) // 2, (size[1] - 1) // 2)
            if self.padding == "auto"
            else _pair(self.padding)
        )
        places, wanted = self._places, _pair(self.pooling)
        self.grid_ = min(wanted[0], places[0]), min(wanted[1], places[1])

    def _resolve_patch_size(self, height: int, width: int) -> tuple[int, int]:
        if self.patch_size != "auto":
            return _pair(self.patch_size)
        # Of a line, a piece; of an image, a square.
        sides = [side for side in (height, width) if side > 1]
        size = max(1, min(6, *(side // 2 for side in sides))) if sides else 1
        return min(size, height), min(size, width)

    @property
    def _places(self) -> tuple[int, int]:
        """Number of places for a patch, down and across."""
        (height, width, _), size = self.image_shape_, self.patch_size_
        down, across = self.padding_
        return height + 2 * down - size[0] + 1, width + 2 * across - size[1] + 1

    def _images(self, rows: NDArray[Any]) -> Tensor:
        """Turn rows into standardised and padded images."""
        images = torch.from_numpy(self._standardised(rows).astype(np.float32))
        return pad_edges(images.view(-1, *self.image_shape_), self.padding_)

    def _standardised(self, rows: NDArray[Any]) -> NDArray[Any]:
        kind = rows.dtype.type
        return np.ascontiguousarray((rows - kind(self.mean_)) / kind(self.scale_))

    # Fitting

    def _standardise(self, rows: NDArray[Any], weights: NDArray[Any]) -> None:
        """Learn mean and scale of the pixels."""
        data = TrainingData(rows, weights)
        means, scale = data.moments()
        self.mean_ = float(means.mean())
        # What the columns' means differ by is variance of the pixels too.
        self.scale_ = math.hypot(scale, float(means.std()))

    def _learn_patches(
        self,
        data: TrainingData,
        random_state: np.random.RandomState,
        context: Any,
        task: dict[str, Any],
    ) -> None:
        """Fit the autoencoder to some patches."""
        patches, images = self._draw(data, self.n_patches, random_state)
        weights = None if data.weights is None else data.weights[images]
        self._contrast: float | None = None
        if self.normalize_patches is not None:
            values = torch.from_numpy(patches)
            square = values.var(dim=1, unbiased=False).double().numpy()
            contrast = math.sqrt(np.average(square, weights=weights)) or 1.0
            self._contrast = max(self.normalize_patches * contrast, 1e-6)
        patches = self._normalized(torch.from_numpy(patches)).numpy()
        autoencoder = clone(self.autoencoder) if self.autoencoder else _default()
        if autoencoder.random_state is None:
            seed = random_state.randint(np.iinfo(np.int32).max)
            autoencoder.set_params(random_state=seed)
        inner = context.subcontext("fit-autoencoder")
        with inner.propagate_callback_context(autoencoder):
            inner.call_on_fit_task_begin(**task)
            self.autoencoder_ = autoencoder.fit(patches, sample_weight=weights)
        inner.call_on_fit_task_end(**task, reconstruction_attributes={})

    def _normalized(self, patches: Tensor) -> Tensor:
        if self._contrast is None:
            return patches
        return normalize_patches(patches, self._contrast)

    def _draw(
        self, data: TrainingData, n_patches: int, random_state: np.random.RandomState
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw patches, without replacement, and tell which images they are of."""
        n_rows, n_columns = self._places
        n_all = len(data) * n_rows * n_columns
        if n_all <= n_patches:
            chosen = np.arange(n_all)
        else:
            chosen = sample_without_replacement(
                n_all, n_patches, random_state=random_state
            )
            chosen.sort()
        images, place = np.divmod(chosen, n_rows * n_columns)
        row, column = np.divmod(place, n_columns)
        patches = []
        for part in np.array_split(np.arange(len(chosen)), -(-len(chosen) // 2000)):
            needed, which = np.unique(images[part], return_inverse=True)
            padded = self._images(take(data.matrix, needed, data.index))
            views = view_patches(padded, self.patch_size_)
            patches.append(views[which, row[part], column[part]].flatten(1).numpy())
        return np.concatenate(patches), images

    def _learn_map(self, rows: NDArray[Any], weights: NDArray[Any]) -> None:
        """Learn what is done to pooled codes, and the way back from that."""
        pooled = self._pooled(rows, self._patch_encoder())
        n_pooled = pooled.shape[1]
        if self.n_components is not None and self.n_components > n_pooled:
            refuse(self, "n_components", f"no more than {n_pooled}, cells times units")
        # Factorisations could give other bits on another number of threads.
        with compute(0, torch.device("cpu")):
            found = learn_compression(
                torch.from_numpy(pooled),
                torch.from_numpy(self._standardised(rows)),
                torch.from_numpy(weights),
                n_components=self.n_components,
                whiten=self.whiten_code,
                regularization=self.whiten_regularization,
            )
        self.n_components_ = self.n_components
        self.code_mean_ = None if found.mean is None else found.mean.numpy()
        self.code_map_ = None if found.forward is None else found.forward.numpy()
        self.decoder_map_ = found.backward.numpy()
        self.decoder_mean_ = found.intercept.numpy()

    # Reading

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode images.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            Roots of the mean codes of each cell, cell by cell, whitened or compressed
            if asked for.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        matrix = self._check_rows(X, reset=False)
        n_samples = matrix.shape[0]
        result = np.empty((n_samples, self._n_features_out), dtype=np.float32)
        encode, compress = self._patch_encoder(), self._compression()
        for start in range(0, n_samples, _N_MAPPED):
            block = slice(start, min(start + _N_MAPPED, n_samples))
            pooled = self._pooled(take(matrix, block), encode)
            result[block] = self._map_rows(
                compress, pooled, "map features", self.code_map_
            )
        return result

    def _map_rows(
        self,
        function: RowMap,
        rows: NDArray[np.float32],
        name: str,
        matrix: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """Apply a map, which multiplies rows by a matrix."""
        if matrix is None:
            return rows
        network = self.autoencoder_.network_
        block = Block(_MAPPED_BLOCK, matrix.size)
        source, width = torch.tensor(rows.copy(), device="cpu"), matrix.shape[1]
        return read(network, function, source, width, name=name, block=block)

    def _pooled(
        self, rows: NDArray[Any], encode: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float32]:
        """Return roots of the mean codes of each cell."""
        network, cpu = self.autoencoder_.network_, torch.device("cpu")
        n_multiplications = network.n_multiplications * math.prod(self._places)
        return read(
            network,
            self._pooling(encode),
            Rows(rows, np.full(self.n_features_in_, self.mean_), self.scale_, cpu),
            self._n_pooled,
            name="pool patches",
            block=Block(_BLOCK, n_multiplications, _SMALLER),
        )

    def _pooling(self, encode: Callable[[Tensor], Tensor]) -> RowMap:
        """Return what maps standardised images to roots of the mean codes."""

        def roots(batch: Tensor) -> Tensor:
            images = pad_edges(batch.view(-1, *self.image_shape_), self.padding_)
            pooled = pool(encode(images), self.grid_).flatten(1)
            # Of codes that may be negative, as a dense autoencoder has them.
            return pooled.abs().sqrt_().copysign_(pooled)

        return roots

    def _compression(self) -> Callable[[Tensor], Tensor]:
        """Return what is done to pooled codes."""
        if self.code_map_ is None:
            return lambda pooled: pooled
        assert self.code_mean_ is not None
        mean, matrix = to_read(self.code_mean_), to_read(self.code_map_)
        return lambda pooled: (pooled - mean) @ matrix

    def _patch_encoder(self) -> Callable[[Tensor], Tensor]:
        """Return what encodes all patches of images."""
        fitted = self.autoencoder_
        network = fitted.network_
        if not (
            isinstance(network, DenseAutoencoder)
            and len(network.encoder) == 1
            and network.is_sparse
            and fitted.features_ != "sparse"
            and fitted.code_whitening_ is None
            and fitted._row_normalization is None
        ):
            return self._encode_patches
        weight, bias = (p.detach().cpu() for p in network.encoder[0].parameters())
        inward = weight.t().double() / fitted.scale_
        if fitted.whitening_ is not None:
            inward = to_read(fitted.whitening_).double() @ inward
        shift = bias.double() - to_read(fitted.mean_).double() @ inward
        return PatchEncoder(
            inward.float().contiguous(),
            shift.float(),
            self.patch_size_,
            self._contrast,
        )

    def _encode_patches(self, images: Tensor) -> Tensor:
        """Encode all patches of images by the autoencoder as it is."""
        patches = self._normalized(cut_patches(images, self.patch_size_))
        codes = self.autoencoder_._encode(patches.flatten(0, 2).numpy())
        return torch.from_numpy(codes).view(*patches.shape[:3], -1)

    def extract_patches(
        self, X: Any, *, max_patches: int = 10_000
    ) -> NDArray[np.float32]:
        """Return patches of images as `autoencoder_` sees them.

        For its `score`, `transform` and displays.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images.
        max_patches : int, default=10_000
            If there are more, as many are drawn, the same ones in each call.

        Returns
        -------
        ndarray of shape (n_patches, n_values), float32
            Patches, centred and normalised, in the order of images and places.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite, or
            if `max_patches` is not positive.
        TypeError
            If `max_patches` is not an integer.
        """
        check_is_fitted(self)
        check_scalar(max_patches, "max_patches", Integral, min_val=1)
        data = TrainingData(self._check_rows(X, reset=False))
        patches, _ = self._draw(data, max_patches, check_random_state(0))
        return self._normalized(torch.from_numpy(patches)).numpy()

    def inverse_transform(self, X: Any) -> Any:
        """Give images that have such features, about.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            What `transform` gives.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32
            A linear reconstruction. Pooling forgets where in its cell a patch was, so
            fine detail is lost.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has another number of columns than `transform` gives.
        """
        check_is_fitted(self)
        features = check_codes(self, X, self._n_features_out)
        matrix, mean = to_read(self.decoder_map_), to_read(self.decoder_mean_)
        rows = self._map_rows(
            lambda batch: batch @ matrix + mean,
            features,
            "decode features",
            self.decoder_map_,
        )
        rows *= np.float32(self.scale_)
        rows += np.float32(self.mean_)
        columns = getattr(self, "feature_names_in_", None)
        return as_configured_frame(self, rows, columns, X)

    def _read_a_row(self) -> None:
        """Do once all that reading does: attributes that do not fit show then."""
        with torch.inference_mode():
            row = torch.zeros(1, self.n_features_in_, **CPU_FLOAT32)
            pooled = self._pooling(self._patch_encoder())(row)
            features = self._compression()(pooled)
        width = features.shape[1], self.decoder_map_.shape[0]
        if pooled.shape[1] != self._n_pooled or width != (self._n_features_out,) * 2:
            raise ValueError(f"Features of widths {width} came out")

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Name the features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only compared with the names seen in `fit`.

        Returns
        -------
        ndarray of str
            ``patch{unit}_r{row}_c{column}`` by unit and cell, from the top left; with
            `n_components`, ``patchautoencodertransformer{component}``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        if self.n_components_ is not None:
            prefix = type(self).__name__.lower()
            names = [f"{prefix}{number}" for number in range(self._n_features_out)]
            return np.asarray(names, dtype=object)
        rows, columns = self.grid_
        n_units = self._n_pooled // (rows * columns)
        names = [
            f"patch{unit}_r{row}_c{column}"
            for row in range(rows)
            for column in range(columns)
            for unit in range(n_units)
        ]
        return np.asarray(names, dtype=object)

    @property
    def _n_pooled(self) -> int:
        return int(math.prod(self.grid_) * self.autoencoder_._n_features_out)

    @property
    def _n_features_out(self) -> int:
        return self._n_pooled if self.code_map_ is None else self.code_map_.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "decoder_mean_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _default() -> AutoencoderTransformer:
    return AutoencoderTransformer(
        200, sparsity="topk", sparsity_rate=0.025, whiten="zca", batch_size=1024
    )


def _pair(size: Any) -> tuple[int, int]:
    first, second = (size, size) if isinstance(size, Integral) else size
    return int(first), int(second)
