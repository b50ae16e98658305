"""Convolutional features from an autoencoder of patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._data.blocks import Blocks, as_blocks
from .._data.rows import TrainingData, spread, take
from .._data.validation import check_codes, check_weights, refuse
from .._model.patches import (
    PatchFeatures,
    PatchModel,
    PatchSource,
    count_positions,
    learn_maps,
    make_patch_features,
)
from .._persistence.schemas import (
    ANY_ESTIMATOR,
    MATRIX,
    VECTOR,
    array,
    counts,
    is_a,
    is_count,
    is_finite,
    is_scale,
    or_none,
)
from .._preparation.patches import normalize_patches
from .._training.resources import one_thread
from .._training.seeds import draw_seed
from .decorators import with_callbacks
from .dense import AutoencoderTransformer
from .fitted import FittedEstimator
from .images import IMAGE_SHAPE_CONSTRAINT, ImageInput

# Maximum number of images to learn covariances and the decoder from.
_N_IMAGES = 10_000
# Automatic number of prototypes: at most so many, one for two images. Fewer images than
# this have none: on 1,800 digits they did not improve the accuracy.
_MOST_PROTOTYPES = 2_000
_FEWEST_IMAGES = 2_000

_LENGTHS = [Interval(Integral, 1, None, closed="left"), tuple, list]


class PatchAutoencoderTransformer(ImageInput, FittedEstimator):
    """Convolutional features of images by an autoencoder of their patches.

    A sparse autoencoder learns a dictionary of small patches, which are drawn from all
    positions of the images. :meth:`transform` encodes every patch of an image, averages
    the codes over a grid of cells [1]_, takes the square root of the means, and whitens
    the result. The features say which patterns occur at about which positions. They
    change little when the image is shifted. The fit takes seconds, and a linear model
    does much better on these features than on the codes of whole images.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer or None, default=None
        Autoencoder of the patches, an :class:`AutoencoderTransformer`. Searches can set
        all of its parameters. None is ``AutoencoderTransformer(200, sparsity="topk",
        sparsity_rate=0.025, whiten="zca", batch_size=1024)``. Encoders of one layer are
        applied as convolutions. Others give the same features more slowly.

    pooling : int or tuple of int, default=4
        Number of cells, vertically and horizontally, over which the codes are averaged.
        The weights decrease linearly to the centres of the neighbouring cells. It is
        limited to the number of patch positions.

    n_components : int or None, default=None
        If given, only this number of principal components of the features is kept.
        Otherwise there are ``cells * units`` features: thousands.

    n_prototypes : int, "auto" or None, default="auto"
        Number of training images that an image is compared with. The similarities are
        features, too. They are a Gaussian kernel of the distances between the roots of
        the pooled codes, mapped so that a linear model of them is about the kernel
        machine [2]_. A linear model then tells apart what no weighted sum of patterns
        does: it is more accurate, the more prototypes there are. "auto" is half the
        number of images, up to 2,000; it is None for fewer than 2,000 images, and with
        `n_components`. A number is limited to the number of images, and to 10,000. With
        a number and `n_components`, only principal components of the similarities are
        kept. None compares with no images.

    whiten_code : bool, default=True
        Whether the features are made uncorrelated. A linear classifier with an L2
        penalty is clearly more accurate with uncorrelated features. The map is
        triangular: it removes from each feature the part that earlier features predict,
        so each feature keeps its name. Similarities are whitened apart from the others.

    whiten_regularization : float, default=0.03
        Constant added to the variance of each direction, as a share of their mean, so
        that noise directions stay weak. It is also the ridge penalty of the map that
        `inverse_transform` uses.

    image_shape : tuple of int or "auto", default="auto"
        Shape of the image in a row: ``(height, width)`` or ``(height, width,
        n_channels)``. "auto" is the shape of the images if `fit` gets an array of three
        or four dimensions. Otherwise it is a square with one channel where the number
        of features is a square. Other rows with fewer than 192 features are images of a
        single line. Longer rows are squares with three channels, or need `image_shape`.

    patch_size : int, tuple of int or "auto", default="auto"
        Height and width of a patch in pixels. "auto" is 6, or half of the shorter side
        of the image if that is smaller.

    padding : int, tuple of int or "auto", default="auto"
        Number of pixels by which patches extend beyond the image, vertically and
        horizontally. The edge of the image is repeated there. With "auto" there are
        about as many patches as pixels.

    normalize_patches : float or None, default=0.3
        If given, the mean of each patch is subtracted, and the patch is divided by its
        contrast, so that weak and strong patches count equally. The float, in units of
        the root mean square contrast, is added in quadrature to the divisor, so that
        noise is not amplified. Use None if brightness itself says what an image shows.

    n_patches : int, default=200_000
        Maximum number of patches to train on.

    random_state : int, RandomState instance or None, default=None
        Seed or generator of the choice of patches, and of the seed of the autoencoder
        if that has no `random_state`. An int makes fits reproducible.

    Attributes
    ----------
    autoencoder_ : AutoencoderTransformer
        Fitted autoencoder of the patches.

    image_shape_ : tuple of int
        ``(height, width, n_channels)``.

    patch_size_ : tuple of int
        Height and width of a patch.

    padding_ : tuple of int
        Number of pixels by which patches extend beyond the image.

    grid_ : tuple of int
        Number of cells, vertically and horizontally.

    mean_, scale_ : float
        Mean and standard deviation of all pixels, by which images are standardized.

    n_components_ : int or None
        Number of components kept. None if all features are kept.

    code_mean_ : ndarray of shape (n_pooled,) or None
        Mean of the roots of the pooled codes, which is subtracted from them.

    code_map_ : ndarray of shape (n_pooled, n_mapped) or None
        Matrix by which the centred roots are multiplied. `code_mean_` and `code_map_`
        are None if neither `n_components` nor `whiten_code` is set, or if the features
        are components of similarities.

    prototypes_ : ndarray of shape (n_prototypes, n_pooled) or None
        Roots of the pooled codes of the images to compare with. This attribute and the
        next two are None without prototypes.

    prototype_mean_ : ndarray of shape (n_prototypes,) or None
        Mean similarities of the training images, which are subtracted.

    prototype_map_ : ndarray of shape (n_prototypes, n_similarities) or None
        Matrix by which centred similarities are multiplied.

    decoder_map_ : ndarray of shape (n_features_out, n_features_in_)
        Matrix that maps features to standardized images, see `inverse_transform`.

    decoder_mean_ : ndarray of shape (n_features_in_,)
        Intercept of that map.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in `fit`. Defined only if all names are strings.

    See Also
    --------
    ConvAutoencoderTransformer : Compression of images by a network trained end to end.
    AutoencoderTransformer : Codes of whole rows.

    Notes
    -----
    Parameters by group:

    - code: `autoencoder`, `pooling`, `n_components`, `n_prototypes`, `whiten_code`,
      `whiten_regularization`
    - preparation: `image_shape`, `patch_size`, `padding`, `normalize_patches`,
      `n_patches`
    - run: `random_state`

    The overlapping patches of an image have hundreds of times as many codes as the
    image has pixels. :meth:`transform` holds the codes of 24 images at a time, which
    fit the processor's cache, and the features of 288: a few megabytes in addition to
    its result, `code_map_`, `prototypes_` and `prototype_map_`.

    The means of the features, their covariance and the decoder are computed from up to
    10,000 images at even distances. More images do not change the accuracy of a
    classifier.

    References
    ----------
    .. [1] Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised
       feature learning", AISTATS 2011.

    .. [2] Williams and Seeger, "Using the Nyström method to speed up kernel machines",
       NIPS 2000.

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

    _why_alone = "its features are whitened by all images in one process"
    __module__ = "skautoenc"

    autoencoder_: AutoencoderTransformer
    image_shape_: tuple[int, int, int]
    patch_size_: tuple[int, int]
    padding_: tuple[int, int]
    grid_: tuple[int, int]
    mean_: float
    scale_: float
    n_components_: int | None
    code_mean_: NDArray[np.float32] | None
    code_map_: NDArray[np.float32] | None
    # Files of earlier versions lack these.
    prototypes_: NDArray[np.float32] | None = None
    prototype_mean_: NDArray[np.float32] | None = None
    prototype_map_: NDArray[np.float32] | None = None
    _prototype_rate: float | None = None
    decoder_map_: NDArray[np.float32]
    decoder_mean_: NDArray[np.float32]

    _last_attribute = "decoder_mean_"
    _model: PatchModel

    _fitted_schema = {
        **ANY_ESTIMATOR,
        "autoencoder_": is_a(AutoencoderTransformer),
        "mean_": is_finite,
        "scale_": is_scale,
        "image_shape_": counts(3),
        "patch_size_": counts(2),
        "padding_": counts(2),
        "grid_": counts(2),
        "n_components_": or_none(is_count),
        "code_mean_": VECTOR,
        "code_map_": MATRIX,
        "prototypes_": MATRIX,
        "prototype_mean_": VECTOR,
        "prototype_map_": MATRIX,
        "_prototype_rate": or_none(is_scale),
        "decoder_map_": array(np.float32, 2),
        "decoder_mean_": array(np.float32, 1),
        "_contrast": or_none(is_scale),
    }

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
        "n_prototypes": [
            None,
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
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
        n_prototypes: int | Literal["auto"] | None = "auto",
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
        self.n_prototypes = n_prototypes
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
                array-like of shape (n_samples, height, width[, n_channels]), or \
                a collection or Blocks of these
            Training images, one per row, channels last: numbers, none missing.
            :ref:`Collections <collections>`, as of Dask, and :class:`Blocks` are never
            loaded as a whole.

        y : Ignored
            Not used by the fit. Callbacks receive it as the target. If it is None, they
            receive `X`, which is the target of an autoencoder.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images. None gives all images the same weight.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid.
        """
        self._validate_params()
        # If the fit fails after this point, the estimator must not look fitted.
        for name in ("decoder_mean_", "_model"):
            self.__dict__.pop(name, None)
        data = self._read_training_data(X, sample_weight)
        patch_size, padding, grid = self._resolve_sizes()
        n_positions = count_positions(self.image_shape_, patch_size, padding)
        if len(data) * math.prod(n_positions) <= self.n_patches:
            # Small fits depend on the set of images, not on their order.
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
        mean, scale = _pixel_moments(rows, weights)
        source = PatchSource(self.image_shape_, patch_size, padding, mean, scale)
        patches, patch_weights, contrast = self._draw_patches(
            source, data, random_state
        )
        autoencoder = clone(self.autoencoder) if self.autoencoder else _default()
        if autoencoder.random_state is None:
            seed = draw_seed(random_state)
            autoencoder.set_params(random_state=seed)
        _fit_within(context, task, autoencoder, patches, patch_weights)
        features = make_patch_features(source, grid, contrast, autoencoder._model)
        n_prototypes = self._resolve_n_prototypes(len(data))
        model = self._learn_model(features, rows, weights, n_prototypes)
        self.__dict__ |= {
            **features.attributes(),
            "autoencoder_": autoencoder,
            "n_components_": self.n_components,
            **model.attributes(),
            "_model": model,
        }
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
        if getattr(inner, "features", None) == "reconstruction":
            raise ValueError(
                "autoencoder__features='reconstruction' has no codes of patches. Set "
                "autoencoder__features='code'."
            )
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

    # Data and sizes

    def _read_training_data(
        self, X: Any, sample_weight: ArrayLike | None
    ) -> TrainingData:
        """Validate images and weights."""
        blocks = as_blocks(X)
        if isinstance(blocks, Blocks):
            matrix = self._check_blocks(blocks, reset=True, min_rows=2)
        else:
            matrix = self._check_rows(X, reset=True, min_rows=2)
        data = TrainingData(matrix, check_weights(sample_weight, matrix))
        return data.without_zero_weights()

    def _resolve_sizes(
        self,
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Resolve patch size, padding and grid for this data."""
        height, width, _ = self.image_shape_
        size = _resolve_patch_size(self.patch_size, height, width)
        if size[0] > height or size[1] > width:
            refuse(self, "patch_size", f"no larger than the image, {height}x{width}")
        padding = (
            ((size[0] - 1) // 2, (size[1] - 1) // 2)
            if self.padding == "auto"
            else _pair(self.padding)
        )
        n_positions = count_positions(self.image_shape_, size, padding)
        wanted = _pair(self.pooling)
        grid = min(wanted[0], n_positions[0]), min(wanted[1], n_positions[1])
        return size, padding, grid

    def _resolve_n_prototypes(self, n_images: int) -> int | None:
        """Resolve the number of prototypes for this data."""
        if self.n_prototypes != "auto":
            return self.n_prototypes
        if self.n_components is not None or n_images < _FEWEST_IMAGES:
            return None
        return min(n_images // 2, _MOST_PROTOTYPES)

    # Fitting

    def _draw_patches(
        self,
        source: PatchSource,
        data: TrainingData,
        random_state: np.random.RandomState,
    ) -> tuple[NDArray[np.float32], NDArray[Any] | None, float | None]:
        """Return training patches, their weights, and the contrast regularisation."""
        patches, images = source.draw(data, self.n_patches, random_state)
        weights = None if data.weights is None else data.weights[images]
        if self.normalize_patches is None:
            return patches, weights, None
        values = torch.from_numpy(patches)
        square = values.var(dim=1, unbiased=False).double().numpy()
        mean_contrast = math.sqrt(np.average(square, weights=weights)) or 1.0
        contrast = max(self.normalize_patches * mean_contrast, 1e-6)
        return normalize_patches(values, contrast).numpy(), weights, contrast

    def _learn_model(
        self,
        features: PatchFeatures,
        rows: NDArray[Any],
        weights: NDArray[Any],
        n_prototypes: int | None,
    ) -> PatchModel:
        """Learn the maps of pooled codes, and the regression back to images."""
        pooled = torch.from_numpy(features.pooled(rows))
        prototypes, n_columns, what = None, pooled.shape[1], "cells times units"
        if n_prototypes is not None:
            prototypes = pooled[spread(len(pooled), n_prototypes)]
            n_columns, what = len(prototypes), "one per prototype"
        if self.n_components is not None and self.n_components > n_columns:
            refuse(self, "n_components", f"no more than {n_columns}, {what}")
        with one_thread(torch.device("cpu")):
            maps = learn_maps(
                pooled,
                torch.from_numpy(features.source.standardised(rows)),
                torch.from_numpy(weights),
                prototypes=prototypes,
                n_components=self.n_components,
                whiten=self.whiten_code,
                regularization=self.whiten_regularization,
            )
        return PatchModel(features, *maps)

    def _make_model(self) -> PatchModel:
        return PatchModel.from_attributes(vars(self), self.autoencoder_._make_model())

    # Applying

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode images.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images, as in `fit`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out), float32
            Roots of the mean codes of each cell, cell by cell, whitened or compressed
            if requested, and similarities to the prototypes, if there are any.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, or if a value is not
            finite.
        """
        return self._transform(X)

    def extract_patches(
        self, X: Any, *, max_patches: int = 10_000
    ) -> NDArray[np.float32]:
        """Return patches of images as `autoencoder_` gets them.

        They are the input of its methods, such as `score` and `transform`, and of
        displays.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features), or \
                array-like of shape (n_samples, height, width[, n_channels])
            Images, as in `fit`.

        max_patches : int, default=10_000
            Maximum number of patches. If there are more, this number of them is drawn,
            the same ones in each call.

        Returns
        -------
        ndarray of shape (n_patches, n_values), float32
            Patches, centred and normalized, in the order of images and positions.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the columns of `X` differ from those of `fit`, if a value is not finite,
            or if `max_patches` is not positive.
        TypeError
            If `max_patches` is not an integer.
        """
        check_is_fitted(self)
        check_scalar(max_patches, "max_patches", Integral, min_val=1)
        data = TrainingData(self._check_rows(X, reset=False))
        features = self._model.features
        patches, _ = features.source.draw(data, max_patches, check_random_state(0))
        if features.contrast is None:
            return patches
        normalized = normalize_patches(torch.from_numpy(patches), features.contrast)
        return normalized.numpy()

    def inverse_transform(self, X: Any) -> Any:
        """Reconstruct images approximately from their features.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features_out)
            Output of :meth:`transform`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features), float32 or float64
            A linear reconstruction. It is float64 if float32 cannot represent the data,
            see :meth:`AutoencoderTransformer.inverse_transform`. Pooling discards the
            position of a patch in its cell, so fine detail is lost.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the number of columns of `X` is not that of the features.
        """
        check_is_fitted(self)
        features = check_codes(self, X, self._model.n_features_out)
        return self._as_frame(self._model.decode(features), X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input features. They must equal those seen in `fit`, and have
            no other effect.

        Returns
        -------
        ndarray of str
            ``patch{unit}_r{row}_c{column}`` by unit and cell, from the top left, then
            ``prototype{number}``; with `n_components`,
            ``patchautoencodertransformer{component}``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        if self.n_components_ is not None:
            prefix = type(self).__name__.lower()
            names = [f"{prefix}{number}" for number in range(self._n_features_out)]
            return np.asarray(names, dtype=object)
        rows, columns = self.grid_
        n_units = self._model.features.inner.n_features_out
        names = [
            f"patch{unit}_r{row}_c{column}"
            for row in range(rows)
            for column in range(columns)
            for unit in range(n_units)
        ]
        if self.prototypes_ is not None:
            names += [f"prototype{number}" for number in range(len(self.prototypes_))]
        return np.asarray(names, dtype=object)


def _fit_within(
    context: Any,
    task: dict[str, Any],
    autoencoder: AutoencoderTransformer,
    patches: NDArray[np.float32],
    weights: NDArray[Any] | None,
) -> None:
    """Fit the autoencoder as a task of the callbacks."""
    inner = context.subcontext("fit-autoencoder")
    with inner.propagate_callback_context(autoencoder):
        inner.call_on_fit_task_begin(**task)
        autoencoder.fit(patches, sample_weight=weights)
    inner.call_on_fit_task_end(**task, reconstruction_attributes={})


def _default() -> AutoencoderTransformer:
    return AutoencoderTransformer(
        200, sparsity="topk", sparsity_rate=0.025, whiten="zca", batch_size=1024
    )


def _resolve_patch_size(size: Any, height: int, width: int) -> tuple[int, int]:
    if size != "auto":
        return _pair(size)
    # A segment of a line, or a square of an image.
    sides = [side for side in (height, width) if side > 1]
    length = max(1, min(6, *(side // 2 for side in sides))) if sides else 1
    return min(length, height), min(length, width)


def _pair(size: Any) -> tuple[int, int]:
    first, second = (size, size) if isinstance(size, Integral) else size
    return int(first), int(second)


def _pixel_moments(rows: NDArray[Any], weights: NDArray[Any]) -> tuple[float, float]:
    """Return mean and standard deviation of all pixels."""
    means, scale = TrainingData(rows, weights).moments()
    # Differences between the columns' means contribute to the variance, too.
    return float(means.mean()), math.hypot(scale, float(means.std()))
