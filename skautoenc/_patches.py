"""Convolutional features by an autoencoder of patches."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
)
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from ._images import IMAGE_SHAPE_CONSTRAINT, ImageInput
from ._input import as_configured_frame, check_codes, check_weights, refuse
from ._transformer import AutoencoderTransformer
from .networks import DenseAutoencoder
from .networks.patches import PatchEncoder, cut_patches, pool
from .training import compute, spread, step_work, take

# Images of a block: enough for whole vectors of the processor, few enough for their
# codes to stay in its cache.
_BLOCK = 32
# Images that the way back is learnt from.
_N_DECODED = 2000


class PatchAutoencoderTransformer(ImageInput, TransformerMixin, BaseEstimator):
    """Convolutional features of images by an autoencoder of their patches.

    A sparse autoencoder learns a dictionary of small patches, drawn from all over the
    images. `transform` encodes every patch of an image and averages the codes over a
    grid of cells [1]_: features that say what is where, roughly, and that shift little
    when the image does. It learns in seconds, and on images a linear model does much
    better on them than on the codes of whole images.

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
    pooling : int or tuple of int, default=4
        Number of cells, down and across, over which codes are averaged. No more than
        there are places for a patch.
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
    grid_ : tuple of int
        Number of cells, down and across.
    decoder_ : sklearn.linear_model.Ridge
        From features to images, fitted to up to 2000 training images.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all were strings.

    See Also
    --------
    AutoencoderTransformer : Codes of whole rows.

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
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> features = PatchAutoencoderTransformer(pooling=3, random_state=0)
    >>> pipeline = make_pipeline(features, LogisticRegression(C=10, max_iter=1000))
    >>> bool(pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.98)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "autoencoder": [AutoencoderTransformer, None],
        "image_shape": IMAGE_SHAPE_CONSTRAINT,
        "patch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            tuple,
            list,
        ],
        "pooling": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "n_patches": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        autoencoder: AutoencoderTransformer | None = None,
        *,
        image_shape: Any = "auto",
        patch_size: Any = "auto",
        pooling: Any = 4,
        n_patches: int = 200_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.pooling = pooling
        self.n_patches = n_patches
        self.random_state = random_state

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
            Present for API consistency.
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
        matrix = self._check_rows(X, reset=True, min_rows=2)
        weights = check_weights(sample_weight, matrix)
        self._resolve()
        random_state = check_random_state(self.random_state)
        patches, patch_weights = self._draw(matrix, weights, random_state)
        autoencoder = clone(self.autoencoder) if self.autoencoder else _default()
        if autoencoder.random_state is None:
            seed = random_state.randint(np.iinfo(np.int32).max)
            autoencoder.set_params(random_state=seed)
        self.autoencoder_ = autoencoder.fit(patches, sample_weight=patch_weights)
        self.decoder_ = self._learn_decoder(matrix, weights)
        return self

    def _validate_params(self) -> None:
        super()._validate_params()
        for name in ("patch_size", "pooling"):
            value = getattr(self, name)
            if isinstance(value, tuple | list) and not _is_pair(value):
                refuse(self, name, "a positive integer or a pair of them")

    def _resolve(self) -> None:
        """Turn sizes into those of this data."""
        height, across, _ = self.image_shape_
        size = self._resolve_patch_size(height, across)
        if size[0] > height or size[1] > across:
            refuse(self, "patch_size", f"no larger than the image, {height}x{across}")
        self.patch_size_ = size
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
        return height - size[0] + 1, width - size[1] + 1

    def _images(self, rows: NDArray[Any]) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
        return images.view(-1, *self.image_shape_)

    def _draw(
        self,
        matrix: Any,
        weights: NDArray[Any] | None,
        random_state: np.random.RandomState,
    ) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        """Draw patches, without replacement, and the weights of their images."""
        n_places = math.prod(self._places)
        n_all = matrix.shape[0] * n_places
        if n_all <= self.n_patches:
            chosen = np.arange(n_all)
        else:
            chosen = np.sort(random_state.choice(n_all, self.n_patches, replace=False))
        images, place = np.divmod(chosen, n_places)
        patches = []
        for part in np.array_split(np.arange(len(chosen)), -(-len(chosen) // 20_000)):
            first, last = images[part[0]], images[part[-1]] + 1
            rows = self._images(take(matrix, slice(first, last)))
            cut = cut_patches(rows, self.patch_size_).flatten(1, 2)
            patches.append(cut[images[part] - first, place[part]].numpy())
        return np.concatenate(patches), None if weights is None else weights[images]

    def _learn_decoder(self, matrix: Any, weights: NDArray[Any] | None) -> Ridge:
        chosen = spread(matrix.shape[0], _N_DECODED)
        rows = take(matrix, chosen)
        features = self._encode(rows).astype(np.float64)
        # Features of patches overlap: without a penalty they would be told apart by
        # noise.
        penalty = 1e-3 * float(features.var(axis=0).sum()) or 1.0
        weights = None if weights is None else weights[chosen]
        # Solvers could give other bits on another number of threads.
        with threadpool_limits(1):
            return Ridge(alpha=penalty).fit(features, rows, sample_weight=weights)

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
            The mean code of each cell, cell by cell.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` has other columns than in `fit`, or values that are not finite.
        """
        check_is_fitted(self)
        return self._encode(self._check_rows(X, reset=False))

    def _encode(self, matrix: Any) -> NDArray[np.float32]:
        encode = self._patch_encoder()
        n_samples = matrix.shape[0]
        result = np.empty((n_samples, self._n_features_out), dtype=np.float32)
        n_values = self.autoencoder_.n_features_in_
        n_patches = math.prod(self._places) * n_samples
        work = step_work(n_values * self.autoencoder_.n_components_, n_patches)
        with compute(work, torch.device("cpu")), torch.inference_mode():
            for start in range(0, n_samples, _BLOCK):
                block = slice(start, min(start + _BLOCK, n_samples))
                images = self._images(take(matrix, block))
                # A row's result is not to depend on how many others there are.
                missing = _BLOCK - len(images)
                images = nn.functional.pad(images, (0, 0, 0, 0, 0, 0, 0, missing))
                patches = cut_patches(images, self.patch_size_)
                codes = encode(patches.reshape(-1, n_values))
                pooled = pool(codes.view(*patches.shape[:3], -1), self.grid_)
                result[block] = pooled.flatten(1)[: _BLOCK - missing].numpy()
        return result

    def _patch_encoder(self) -> Any:
        """Return what encodes patches, (n, n_values), in float32."""
        fitted = self.autoencoder_
        network = fitted.network_
        if not (
            isinstance(network, DenseAutoencoder)
            and len(network.encoder) == 1
            and network.is_sparse
            and fitted.features_ != "sparse"
            and fitted.code_whitening_ is None
        ):
            return lambda patches: torch.from_numpy(fitted._encode(patches.numpy()))
        weight, bias = (p.detach().cpu() for p in network.encoder[0].parameters())
        inward = weight.t().double()
        if fitted.whitening_ is not None:
            inward = torch.from_numpy(fitted.whitening_).double() @ inward
        shift, regularization = bias.double(), None
        normalization = fitted._row_normalization
        if normalization is not None:
            inward = inward / normalization["scale"]
            mean = torch.from_numpy(normalization["mean"]).double()
            shift = shift - mean @ inward
            regularization = normalization["regularization"] * fitted.scale_
        else:
            inward = inward / fitted.scale_
        return PatchEncoder(
            torch.from_numpy(fitted.mean_).float(),
            inward.float().contiguous(),
            shift.float(),
            regularization,
        )

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
        rows = self.decoder_.predict(features).astype(np.float32)
        rows = rows.reshape(len(features), -1)
        columns = getattr(self, "feature_names_in_", None)
        return as_configured_frame(self, rows, columns, X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Name the features by unit and cell, from the top left.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only compared with the names seen in `fit`.

        Returns
        -------
        ndarray of str
            ``patch{unit}_r{row}_c{column}``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        rows, columns = self.grid_
        n_units = self._n_features_out // (rows * columns)
        names = [
            f"patch{unit}_r{row}_c{column}"
            for row in range(rows)
            for column in range(columns)
            for unit in range(n_units)
        ]
        return np.asarray(names, dtype=object)

    @property
    def _n_features_out(self) -> int:
        n_cells = self.grid_[0] * self.grid_[1]
        return int(n_cells * self.autoencoder_._n_features_out)

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


def _is_pair(size: Any) -> bool:
    return len(size) == 2 and all(isinstance(v, Integral) and int(v) > 0 for v in size)
