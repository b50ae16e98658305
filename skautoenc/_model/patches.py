"""The model of a patch autoencoder, which is applied to images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from .._data.ranges import LARGEST, restored_type
from .._data.rows import TrainingData, computing_type, take
from .._networks.dense import DenseAutoencoder
from .._networks.layers import CPU_FLOAT32
from .._networks.weights import readonly_tensor
from .._preparation.compression import Compression, learn_compression, mean_square
from .._preparation.patches import (
    PatchEncoder,
    cut_patches,
    normalize_patches,
    pad_edges,
    pool,
    view_patches,
)
from .._preparation.similarities import Similarities, learn_similarities
from .._training.resources import one_thread
from .blocks import Block, Blockwise, whole_vectors
from .model import Model

# Attributes of similarities; all are None if there are none.
_SIMILARITY_ATTRIBUTES = (
    "prototypes_",
    "prototype_mean_",
    "prototype_map_",
    "_prototype_rate",
)

_CPU = torch.device("cpu")
# Number of images of a block: whole tiles of matrix products whose codes stay in the
# cache; and sizes of blocks to test for a few images.
_BLOCK = 24
_SMALLER = (1, 4)
# Number of rows of features that are mapped at a time, and of images held in memory.
_MAPPED_BLOCK = 96
_N_MAPPED = 288


@dataclass(frozen=True)
class PatchSource:
    """Rows as standardised images, and images as patches.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, n_channels)`` of a row.
    patch_size, padding : tuple of int
        Vertical and horizontal.
    mean, scale : float
        Mean and standard deviation of all pixels.
    """

    image_shape: tuple[int, int, int]
    patch_size: tuple[int, int]
    padding: tuple[int, int]
    mean: float
    scale: float

    @property
    def n_positions(self) -> tuple[int, int]:
        """Number of positions of a patch, vertically and horizontally."""
        return count_positions(self.image_shape, self.patch_size, self.padding)

    def standardised(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return standardised rows, (n, n_features)."""
        kind = computing_type(rows.dtype, np.array(self.mean), self.scale).type
        # Clipped, because sums of larger values over a patch would overflow.
        with np.errstate(over="ignore"):
            scaled = (rows - kind(self.mean)) / kind(self.scale)
        return np.ascontiguousarray(np.clip(scaled, -LARGEST, LARGEST))

    def images(self, rows: NDArray[Any]) -> Tensor:
        """Return standardised, padded images, (n, height, width, n_channels)."""
        images = torch.from_numpy(self.standardised(rows).astype(np.float32))
        return pad_edges(images.view(-1, *self.image_shape), self.padding)

    def draw(
        self, data: TrainingData, n_patches: int, random_state: np.random.RandomState
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw patches without replacement, with the indices of their images.

        Parameters
        ----------
        data : TrainingData
            The images.
        n_patches : int
            Maximum number of patches.
        random_state : RandomState
            Source of the draws.

        Returns
        -------
        patches : ndarray of shape (n, n_values)
            Patches, in the order of images and positions.
        images : ndarray of shape (n,)
            Indices of their images in the data.
        """
        n_rows, n_columns = self.n_positions
        n_all = len(data) * n_rows * n_columns
        if n_all <= n_patches:
            chosen = np.arange(n_all)
        else:
            chosen = sample_without_replacement(
                n_all, n_patches, random_state=random_state
            )
            chosen.sort()
        images, position = np.divmod(chosen, n_rows * n_columns)
        row, column = np.divmod(position, n_columns)
        patches = []
        for part in np.array_split(np.arange(len(chosen)), -(-len(chosen) // 2000)):
            needed, which = np.unique(images[part], return_inverse=True)
            padded = self.images(take(data.matrix, needed, data.index))
            views = view_patches(padded, self.patch_size)
            patches.append(views[which, row[part], column[part]].flatten(1).numpy())
        return np.concatenate(patches), images


def count_positions(
    image_shape: tuple[int, int, int],
    patch_size: tuple[int, int],
    padding: tuple[int, int],
) -> tuple[int, int]:
    """Return the number of positions of a patch in a padded image, by dimension."""
    (height, width, _), (down, across) = image_shape, padding
    return (
        height + 2 * down - patch_size[0] + 1,
        width + 2 * across - patch_size[1] + 1,
    )


@dataclass(frozen=True)
class PatchFeatures:
    """Codes of all patches, averaged over the cells of a grid.

    Parameters
    ----------
    source : PatchSource
        Cuts images into patches.
    grid : tuple of int
        Number of cells, vertically and horizontally.
    contrast : float or None
        Regularisation of the contrast normalisation; None for no normalisation.
    inner : Model
        The autoencoder of patches.
    product : PatchEncoder or None
        Encodes patches by one matrix product, if the autoencoder is a single layer.
    """

    source: PatchSource
    grid: tuple[int, int]
    contrast: float | None
    inner: Model[Any]
    product: PatchEncoder | None

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the features, as plain values."""
        return {
            "patch_size_": self.source.patch_size,
            "padding_": self.source.padding,
            "grid_": self.grid,
            "mean_": self.source.mean,
            "scale_": self.source.scale,
            "_contrast": self.contrast,
        }

    @property
    def n_pooled(self) -> int:
        """Number of features of an image."""
        return int(math.prod(self.grid) * self.inner.n_features_out)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of all patches, (n, n_rows, n_columns, n_units).

        Parameters
        ----------
        images : Tensor of shape (n, height, width, n_channels)
            Padded images.
        """
        if self.product is not None:
            return self.product(images)
        patches = cut_patches(images, self.source.patch_size)
        if self.contrast is not None:
            patches = normalize_patches(patches, self.contrast)
        codes = self.inner.encode(patches.flatten(0, 2).numpy())
        return torch.from_numpy(codes).view(*patches.shape[:3], -1)

    def pooled(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return square roots of the mean codes of each cell, (n, n_pooled)."""
        standardised = self.source.standardised(rows).astype(np.float32, copy=False)
        source = torch.from_numpy(standardised)
        return self._blockwise.apply("pool", self._pool, source, self.n_pooled)

    @cached_property
    def _blockwise(self) -> Blockwise:
        network = self.inner.network
        n_multiplications = network.n_multiplications * math.prod(
            self.source.n_positions
        )
        in_threads = network.runs_in_threads
        smaller = _SMALLER if in_threads else ()
        return Blockwise(Block(_BLOCK, n_multiplications, smaller, in_threads))

    def _pool(self, batch: Tensor) -> Tensor:
        """Map standardised rows to square roots of mean codes, (n, n_pooled)."""
        images = batch.view(-1, *self.source.image_shape)
        codes = self.encode(pad_edges(images, self.source.padding))
        pooled = pool(codes, self.grid).flatten(1)
        # The sign is kept: codes of dense autoencoders can be negative.
        return pooled.abs().sqrt_().copysign_(pooled)


def make_patch_features(
    source: PatchSource,
    grid: tuple[int, int],
    contrast: float | None,
    inner: Model[Any],
) -> PatchFeatures:
    """Make the encoder of patches: one product if the model is a single layer."""
    product = _as_one_product(source, contrast, inner)
    return PatchFeatures(source, grid, contrast, inner, product)


def _as_one_product(
    source: PatchSource, contrast: float | None, inner: Model[Any]
) -> PatchEncoder | None:
    """Return the encoder of a single rectified layer, or None for other models."""
    network, side = inner.network, inner.side
    attributes = side.attributes()
    if not (
        isinstance(network, DenseAutoencoder)
        and len(network.encoder) == 1
        and network.is_sparse
        and inner.code.features != "sparse"
        and inner.code.whitening is None
        and attributes["_row_normalization"] is None
    ):
        return None
    weight, bias = (p.detach().cpu() for p in network.encoder[0].parameters())
    inward = weight.t().double() / side.scale
    if attributes["whitening_"] is not None:
        inward = torch.from_numpy(attributes["whitening_"]).double() @ inward
    shift = bias.double() - torch.tensor(side.mean, device="cpu") @ inward
    return PatchEncoder(
        inward.float().contiguous(), shift.float(), source.patch_size, contrast
    )


def learn_maps(
    pooled: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    prototypes: Tensor | None,
    n_components: int | None,
    whiten: bool,
    regularization: float,
) -> tuple[Compression, Similarities | None]:
    """Learn the maps of pooled codes to features, and of features to images.

    Parameters
    ----------
    pooled : Tensor of shape (n, n_pooled), float32
        Roots of the pooled codes of training images.
    targets : Tensor of shape (n, n_features)
        The standardised images.
    weights : Tensor of shape (n,), float64
        Weights of the images.
    prototypes : Tensor of shape (n_prototypes, n_pooled) or None
        Roots of pooled codes to compare with; None for no similarities.
    n_components : int or None
        Number of principal components to keep: of the similarities if there are any.
    whiten : bool
        Whether to whiten the components, or the roots and the similarities.
    regularization : float
        See `learn_compression`.
    """
    options: dict[str, Any] = {
        "n_components": n_components,
        "whiten": whiten,
        "regularization": regularization,
    }
    if prototypes is None:
        found, _ = learn_compression(pooled, targets, weights, **options)
        return found, None
    similarities, values = learn_similarities(pooled, weights, prototypes)
    if whiten or n_components is not None:
        of_values, variance = learn_compression(values, targets, weights, **options)
        assert of_values.forward is not None
        # The values have mean zero.
        similarities = similarities.followed_by(of_values.forward)
        if n_components is not None:
            return replace(of_values, mean=None, forward=None), similarities
    else:
        variance = mean_square(values, weights)
    found, wanted = learn_compression(pooled, targets, weights, **options)
    # Similarities count as much as the other columns.
    scale = math.sqrt(wanted / variance) if variance else 1.0
    # The regression back to images uses the roots only.
    unused = torch.zeros(values.shape[1], targets.shape[1], **CPU_FLOAT32)
    found = replace(found, backward=torch.cat([found.backward, unused]))
    return found, replace(similarities, forward=similarities.forward * scale)


@dataclass(frozen=True)
class PatchModel:
    """Features of patches, their compression, and the regression back to images.

    Parameters
    ----------
    features : PatchFeatures
        Pooled codes.
    compression : Compression
        Map of the features, and the regression to standardised images.
    similarities : Similarities or None
        Columns beside the compressed features, or instead of them.
    """

    features: PatchFeatures
    compression: Compression
    similarities: Similarities | None = None

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of compression and similarities, as arrays."""
        found, similarities = self.compression, self.similarities
        mean, forward = found.mean, found.forward
        attributes: dict[str, Any] = {
            "code_mean_": None if mean is None else mean.numpy(),
            "code_map_": None if forward is None else forward.numpy(),
            "decoder_map_": found.backward.numpy(),
            "decoder_mean_": found.intercept.numpy(),
        }
        if similarities is None:
            return attributes | dict.fromkeys(_SIMILARITY_ATTRIBUTES)
        return attributes | {
            "prototypes_": similarities.prototypes.numpy(),
            "prototype_mean_": similarities.mean.numpy(),
            "prototype_map_": similarities.forward.numpy(),
            "_prototype_rate": similarities.rate,
        }

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], inner: Model[Any]
    ) -> PatchModel:
        """Build the model from the attributes of features and compression.

        Parameters
        ----------
        attributes : mapping
            These attributes, and `image_shape_`.
        inner : Model
            The autoencoder of patches.
        """
        names = "image_shape_", "patch_size_", "padding_", "mean_", "scale_"
        source = PatchSource(*(attributes[name] for name in names))
        features = make_patch_features(
            source, attributes["grid_"], attributes["_contrast"], inner
        )
        mean, forward = (
            None if attributes[name] is None else readonly_tensor(attributes[name])
            for name in ("code_mean_", "code_map_")
        )
        compression = Compression(
            mean,
            forward,
            readonly_tensor(attributes["decoder_map_"]),
            readonly_tensor(attributes["decoder_mean_"]),
        )
        # Files of earlier versions lack the attributes.
        if attributes.get("_prototype_rate") is None:
            return cls(features, compression)
        similarities = Similarities(
            readonly_tensor(attributes["prototypes_"]),
            attributes["_prototype_rate"],
            readonly_tensor(attributes["prototype_mean_"]),
            readonly_tensor(attributes["prototype_map_"]),
        )
        return cls(features, compression, similarities)

    @property
    def n_features_out(self) -> int:
        """Number of features that `encode` returns."""
        return self.compression.backward.shape[0]

    @property
    def is_alone(self) -> bool:
        """Whether similarities are the only columns."""
        similarities = self.similarities
        if similarities is None:
            return False
        return similarities.forward.shape[1] == self.n_features_out

    def encode(self, matrix: Any) -> NDArray[np.float32]:
        """Return the features of images, (n_samples, n_features_out).

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Validated rows.
        """
        n_samples, width = matrix.shape[0], self.n_features_out
        result = np.empty((n_samples, width), dtype=np.float32)
        for start in range(0, n_samples, _N_MAPPED):
            block = slice(start, min(start + _N_MAPPED, n_samples))
            result[block] = self._map(self.features.pooled(take(matrix, block)))
        return result

    def _map(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map roots of pooled codes to features, (n, n_features_out)."""
        source, parts = torch.from_numpy(pooled), []
        forward, similarities = self.compression.forward, self.similarities
        if forward is not None:
            width = forward.shape[1]
            parts.append(self._forward.apply("compress", self._compress, source, width))
        elif not self.is_alone:
            parts.append(pooled)
        if similarities is not None:
            width = similarities.forward.shape[1]
            parts.append(self._comparing.apply("compare", similarities, source, width))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def decode(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """Return images, (n_samples, n_features), in the units of the data."""
        source, n_columns = self.features.source, self.compression.backward.shape[1]
        codes = readonly_tensor(np.ascontiguousarray(features))
        decoded = self._backward.apply("decode", self._decode, codes, n_columns)
        dtype = restored_type(source.mean, source.scale)
        rows: NDArray[Any] = decoded.astype(dtype, copy=False)
        rows *= dtype.type(source.scale)
        rows += dtype.type(source.mean)
        return rows

    def check_usable(self) -> None:
        """Apply network and maps to single rows, to detect parts that do not fit.

        They are applied to one patch and to its features, not to an image, which may
        have any number of patches. The sizes of all other arrays follow from these.
        """
        source, inner = self.features.source, self.features.inner
        inner.check_usable()
        width, n_columns = math.prod(source.image_shape), inner.side.width
        with one_thread(_CPU), torch.inference_mode():
            pooled = torch.zeros(1, self.features.n_pooled, **CPU_FLOAT32)
            parts = [] if self.is_alone else [self._compress(pooled)]
            if self.similarities is not None:
                parts.append(self.similarities(pooled))
            features = torch.cat(parts, dim=1)
            decoded = self._decode(features)
        shapes = [tuple(values.shape) for values in (features, decoded)]
        if shapes != [(1, self.n_features_out), (1, width)]:
            raise ValueError(f"Rows of shapes {shapes} came out")
        if n_columns != math.prod(source.patch_size) * source.image_shape[2]:
            raise ValueError(f"Patches of {n_columns} values are encoded")

    def _compress(self, pooled: Tensor) -> Tensor:
        """Map pooled codes to features, (n, n_features_out)."""
        mean, forward = self.compression.mean, self.compression.forward
        if mean is None or forward is None:
            return pooled
        return (pooled - mean) @ forward

    def _decode(self, features: Tensor) -> Tensor:
        """Map features to standardised images, (n, n_features)."""
        return features @ self.compression.backward + self.compression.intercept

    @cached_property
    def _forward(self) -> Blockwise:
        n_multiplications = self.features.n_pooled * self.n_features_out
        return Blockwise(Block(_MAPPED_BLOCK, n_multiplications))

    @cached_property
    def _comparing(self) -> Blockwise:
        assert self.similarities is not None
        n_prototypes, width = self.similarities.forward.shape
        n_multiplications = n_prototypes * (self.features.n_pooled + width)
        smaller = whole_vectors(n_prototypes)
        return Blockwise(Block(_MAPPED_BLOCK, n_multiplications, smaller))

    @cached_property
    def _backward(self) -> Blockwise:
        n_multiplications = self.compression.backward.numel()
        return Blockwise(Block(_MAPPED_BLOCK, n_multiplications))
