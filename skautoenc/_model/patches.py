"""What a patch autoencoder has learnt, ready to be applied to images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement
from torch import Tensor, nn

from .._data.ranges import LARGEST, computing_type, restored_type
from .._data.rows import TrainingData, take
from .._networks.dense import DenseAutoencoder
from .._preparation.compression import Compression
from .._preparation.patches import (
    PatchEncoder,
    cut_patches,
    normalize_patches,
    pad_edges,
    pool,
    view_patches,
)
from .._training.resources import compute, step_work
from .model import Model

_CPU = torch.device("cpu")
# Images of a block: enough for whole vectors of the processor, few enough for their
# codes to stay in its cache.
_BLOCK = 16
# Images whose features are mapped at a time: enough for matrix products at full speed.
_N_MAPPED = 256


@dataclass(frozen=True)
class PatchSource:
    """Rows as standardised images, and images as patches.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, n_channels)`` of a row.
    patch_size, padding : tuple of int
        Down and across.
    mean, scale : float
        Of all pixels.
    """

    image_shape: tuple[int, int, int]
    patch_size: tuple[int, int]
    padding: tuple[int, int]
    mean: float
    scale: float

    @property
    def n_positions(self) -> tuple[int, int]:
        """Number of positions of a patch, down and across."""
        return count_positions(self.image_shape, self.patch_size, self.padding)

    def standardised(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return standardised rows, (n, n_features)."""
        kind = computing_type(rows.dtype, np.array(self.mean), self.scale).type
        # Beyond the largest, sums over a patch would overflow.
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
        """Draw patches, without replacement, and tell which images they are of.

        Parameters
        ----------
        data : TrainingData
            The images.
        n_patches : int
            How many, at most.
        random_state : RandomState
            Source of the choice.

        Returns
        -------
        patches : ndarray of shape (n, n_values)
            In the order of images and positions.
        images : ndarray of shape (n,)
            Positions of their images in the data.
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
    """Return the number of positions of a patch in a padded image, down and across."""
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
        Where patches come from.
    grid : tuple of int
        Number of cells, down and across.
    contrast : float or None
        Regularisation of the contrast normalisation; None for none.
    inner : Model
        The autoencoder of patches.
    encode : callable
        Maps padded images to codes, (n, n_rows, n_columns, n_units).
    """

    source: PatchSource
    grid: tuple[int, int]
    contrast: float | None
    inner: Model[Any]
    encode: Callable[[Tensor], Tensor]

    @property
    def n_pooled(self) -> int:
        """Number of features of an image."""
        return int(math.prod(self.grid) * self.inner.n_features_out)

    def pooled(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return roots of the mean codes of each cell, (n, n_pooled)."""
        n_samples = len(rows)
        result = np.empty((n_samples, self.n_pooled), dtype=np.float32)
        n_codes = math.prod(self.source.n_positions) * n_samples
        work = step_work(self.inner.network.n_multiplications, n_codes)
        with compute(work, _CPU), torch.inference_mode():
            for start in range(0, n_samples, _BLOCK):
                block = slice(start, min(start + _BLOCK, n_samples))
                images = self.source.images(rows[block])
                missing = _BLOCK - len(images)
                images = nn.functional.pad(images, (0, 0, 0, 0, 0, 0, 0, missing))
                # (_BLOCK, n_pooled)
                pooled = pool(self.encode(images), self.grid).flatten(1)
                # Of codes that may be negative, as a dense autoencoder has them.
                root = pooled.abs().sqrt_().copysign_(pooled)
                result[block] = root[: _BLOCK - missing].numpy()
        return result


def make_patch_features(
    source: PatchSource,
    grid: tuple[int, int],
    contrast: float | None,
    inner: Model[Any],
) -> PatchFeatures:
    """Put together what encodes patches: one product, where the model is as simple."""
    encode = _as_one_product(source, contrast, inner)
    if encode is None:

        def encode(images: Tensor) -> Tensor:
            patches = cut_patches(images, source.patch_size)
            if contrast is not None:
                patches = normalize_patches(patches, contrast)
            codes = inner.encode(patches.flatten(0, 2).numpy())
            return torch.from_numpy(codes).view(*patches.shape[:3], -1)

    return PatchFeatures(source, grid, contrast, inner, encode)


def _as_one_product(
    source: PatchSource, contrast: float | None, inner: Model[Any]
) -> Callable[[Tensor], Tensor] | None:
    """Return the encoder of a single rectified layer, if that is all there is."""
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


@dataclass(frozen=True)
class PatchModel:
    """Features of patches, what is done to them, and the way back to images.

    Parameters
    ----------
    features : PatchFeatures
        Pooled codes.
    compression : Compression
        Map of the features, and the regression back to standardised images.
    """

    features: PatchFeatures
    compression: Compression

    @property
    def n_features_out(self) -> int:
        """Number of features that `encode` gives."""
        forward = self.compression.forward
        return self.features.n_pooled if forward is None else forward.shape[1]

    def encode(self, matrix: Any) -> NDArray[np.float32]:
        """Return the features of images, (n_samples, n_features_out).

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Validated rows.
        """
        n_samples = matrix.shape[0]
        result = np.empty((n_samples, self.n_features_out), dtype=np.float32)
        for start in range(0, n_samples, _N_MAPPED):
            block = slice(start, min(start + _N_MAPPED, n_samples))
            pooled = torch.from_numpy(self.features.pooled(take(matrix, block)))
            # A row's result is not to depend on how many others there are.
            pooled = nn.functional.pad(pooled, (0, 0, 0, -len(pooled) % 32))
            with compute(2.0 * result.size * pooled.shape[1], _CPU):
                mapped = self._compress(pooled)
            result[block] = mapped[: block.stop - start].numpy()
        return result

    def check_usable(self) -> None:
        """Apply the model once in each way: parts that do not fit show then."""
        width = math.prod(self.features.source.image_shape)
        row = np.full((1, width), self.features.source.mean)
        self.decode(self.encode(row))

    def _compress(self, pooled: Tensor) -> Tensor:
        mean, forward = self.compression.mean, self.compression.forward
        if mean is None or forward is None:
            return pooled
        return (pooled - mean) @ forward

    def decode(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """Return images, (n_samples, n_features), in the units of the data."""
        source = self.features.source
        backward = self.compression.backward.numpy()
        decoded: NDArray[np.float32] = features @ backward
        decoded += self.compression.intercept.numpy()
        dtype = restored_type(source.mean, source.scale)
        rows: NDArray[Any] = decoded.astype(dtype, copy=False)
        rows *= dtype.type(source.scale)
        rows += dtype.type(source.mean)
        return rows
