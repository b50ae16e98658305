"""The training data: one matrix, read a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .streamed import StreamedMatrix

Index = NDArray[np.int64] | slice
RowMap = Callable[[Tensor], Tensor]

_BLOCK_VALUES = 2**20
# Columns beyond which steps over sparse rows take far longer than other methods do.
_WIDE = 1000
# Where float32 has all its digits.
_NORMAL = 2.0**-100, 2.0**100
# Enough rows to tell a dead unit from a rare one: of units that are active for one row
# in a hundred, one that is alive shows in about forty of them.
N_SAMPLE = 4096


def blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Cut rows into blocks of 4 MiB of float32, `width` values to a row.

    All but the last have a multiple of 32 rows, whole vectors of the processor.
    """
    size = max(32, _BLOCK_VALUES // width // 32 * 32)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def take(
    matrix: Any, chosen: Index, among: NDArray[np.int64] | None = None
) -> NDArray[Any]:
    """Return rows of a dense or sparse matrix as a dense array.

    Parameters
    ----------
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The data.
    chosen : ndarray of int or slice
        Which rows.
    among : ndarray of int, optional
        The rows that `chosen` counts; all of them by default.
    """
    rows = matrix[chosen if among is None else among[chosen]]
    dense: NDArray[Any] = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return dense


def computing_type(dtype: np.dtype, mean: NDArray[Any], scale: float) -> np.dtype:
    """Return the type in which rows are standardised: their own, if it can hold both.

    Parameters
    ----------
    dtype : dtype
        Of the rows, float32 or float64.
    mean : ndarray of float64
        What is subtracted.
    scale : float
        What is divided by.
    """
    lowest, highest = _NORMAL
    fits = lowest < scale < highest and np.abs(mean).max(initial=0) < highest
    return dtype if fits else np.dtype(np.float64)


def canonical(rows: Any) -> Any:
    """Return CSR rows that have at most one value for each place."""
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def spread(n_all: int, n_chosen: int) -> NDArray[np.int64]:
    """Choose up to `n_chosen` of `n_all` places at even distances."""
    return np.linspace(0, n_all - 1, min(n_chosen, n_all)).astype(np.int64)


def _shape(matrix: Any, index: NDArray[np.int64] | None) -> tuple[int, int]:
    """Return the shape of the rows of a matrix that take part."""
    n_rows, n_features = matrix.shape
    return int(n_rows if index is None else len(index)), int(n_features)


@dataclass(frozen=True)
class TrainingData:
    """Rows of a matrix, with their weights; the matrix is not copied.

    Parameters
    ----------
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The data.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows at `index`.
    index : ndarray of shape (n_samples,) or None
        The rows that take part; None for all.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    """

    matrix: Any
    weights: NDArray[Any] | None = None
    index: NDArray[np.int64] | None = None
    shape: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.matrix, self.index))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def window(self) -> int:
        """How many rows, one after the other, can be read in any order."""
        if not isinstance(self.matrix, StreamedMatrix):
            return len(self)
        capacity = self.matrix.capacity
        if self.index is None:
            return capacity
        ends = np.searchsorted(self.index, self.index + capacity)
        sizes = (ends - np.arange(len(self)))[ends < len(self)]
        return int(sizes.min(initial=len(self)))

    @property
    def is_wide_sparse(self) -> bool:
        """Whether the rows are sparse and wide, as those of words are."""
        return bool(sparse.issparse(self.matrix) and self.matrix.shape[1] > _WIDE)

    def in_blocks(self) -> Iterator[NDArray[Any]]:
        """Run through the rows, a dense block at a time."""
        for block in blocks(*self.shape):
            yield take(self.matrix, block, self.index)

    def is_binary(self) -> bool:
        """Whether the values are zeros and ones only."""
        return all(bool(((rows == 0) | (rows == 1)).all()) for rows in self.in_blocks())

    def _select(self, chosen: NDArray[np.int64]) -> TrainingData:
        return TrainingData(
            self.matrix,
            None if self.weights is None else self.weights[chosen],
            chosen if self.index is None else self.index[chosen],
        )

    def without_zero_weights(self) -> TrainingData:
        """Leave out the rows that weigh nothing."""
        if self.weights is None or self.weights.all():
            return self
        return self._select(np.flatnonzero(self.weights))

    def split(
        self, fraction: float, random_state: np.random.RandomState
    ) -> tuple[TrainingData, TrainingData]:
        """Hold out a random share of the rows.

        Raises
        ------
        ValueError
            If that leaves fewer than two rows on either side.
        """
        held_out = int(np.ceil(fraction * len(self)))
        if min(held_out, len(self) - held_out) < 2:
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} splits "
                f"{len(self)} rows into {len(self) - held_out} and {held_out}; both "
                "need two at least. Change validation_fraction, or set "
                "early_stopping=False."
            )
        order = random_state.permutation(len(self))
        parts = order[held_out:], order[:held_out]
        # In order, as they come from a disk or a stream.
        training, validation = (self._select(np.sort(part)) for part in parts)
        return training, validation

    def merge_equal_rows(self) -> TrainingData:
        """Sort the rows and let weights stand for repetition.

        A fit that sees all rows in each step depends on the weighted set of rows
        alone. In this form neither their order nor a repetition in place of a weight
        reaches the rounding.
        """
        rows = take(self.matrix, slice(None), self.index)
        gaps = np.isnan(rows)
        # NaN is equal to nothing, a gap is equal to a gap.
        keys = np.hstack([np.nan_to_num(rows), gaps]) if gaps.any() else rows
        _, first, inverse = np.unique(
            keys, axis=0, return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse.ravel(), weights=self.weights)
        return TrainingData(rows[first], None if (weights == 1).all() else weights)

    def moments(self) -> tuple[NDArray[np.float64], float]:
        """Return the columns' means and the root of their mean variance.

        Raises
        ------
        ValueError
            If the values are too large for their variance to be a number.
        """
        # Blocks of wide sparse rows stay sparse, which takes a tenth of the time.
        scaler = StandardScaler(with_mean=not self.is_wide_sparse)
        relative = None if self.weights is None else self.weights / self.weights.max()
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks(*self.shape):
                if self.is_wide_sparse:
                    index = self.index
                    rows = canonical(
                        self.matrix[block if index is None else index[block]]
                    )
                else:
                    rows = take(self.matrix, block, self.index)
                weights = None if relative is None else relative[block]
                scaler.partial_fit(rows.astype(np.float64, copy=False), None, weights)
            mean: NDArray[np.float64] = scaler.mean_
            # The scaler divides columns that are constant to rounding by one.
            constant = scaler.scale_ != np.sqrt(scaler.var_)
            variance = np.where(constant, 0, scaler.var_).mean()
        if not np.isfinite(scaler.var_).all() or not np.isfinite(variance):
            raise ValueError(
                "The values of X are too large: their variance overflows. Scale them "
                "first, with StandardScaler or RobustScaler for one."
            )
        return mean, float(np.sqrt(variance)) if variance > 0 else 1.0


class Rows:
    """Standardised float32 rows of a matrix, made as they are asked for.

    The matrix itself is never copied, cast or densified: it may be memory-mapped,
    read-only or sparse, and larger than memory. Rows of up to 4 MiB in all are made
    once and kept.

    Parameters
    ----------
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The data, float32 or float64.
    mean : ndarray of shape (n_features,), float64
        Subtracted from each row, before the cast to float32: values that are large
        against their spread would lose their digits in it.
    scale : float
        What the centred rows are divided by.
    device : torch.device
        Where the tensors go.
    index : ndarray of shape (n_samples,), optional
        The rows of the matrix that take part; all of them by default.
    weights : ndarray of shape (n_samples,), optional
        Weights of the rows that take part; equal by default.
    prepare : callable, optional
        What is done to a tensor of standardised rows.
    targets : ndarray of shape (n_samples, n_features), float32, optional
        What the rows are to be decoded to; themselves by default.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features), as of a tensor of all rows.
    block_size : int
        How many rows fill 4 MiB of float32.
    """

    def __init__(
        self,
        matrix: Any,
        mean: NDArray[Any],
        scale: float,
        device: torch.device,
        *,
        index: NDArray[np.int64] | None = None,
        weights: NDArray[Any] | None = None,
        prepare: RowMap | None = None,
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        self.shape = _shape(matrix, index)
        self.block_size = max(1, _BLOCK_VALUES // self.shape[1])
        self.matrix = matrix
        dtype = computing_type(matrix.dtype, mean, scale)
        self.mean = mean.astype(dtype)
        self.scale = dtype.type(scale)
        self.device = device
        self.index = index
        self.prepare = prepare
        self.targets = None if targets is None else torch.from_numpy(targets)
        self._kept: Tensor | None = None
        self._weights = (
            None
            if weights is None
            else torch.from_numpy(weights / weights.mean()).float().to(device)
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Index) -> Tensor:
        """Return chosen rows as a tensor of shape (n_chosen, n_features)."""
        if math.prod(self.shape) > _BLOCK_VALUES:
            return self._make(chosen)
        if self._kept is None:
            self._kept = self._make(slice(None))
        if isinstance(chosen, slice):
            # A network of the user's may work in place.
            return self._kept[chosen].clone()
        # A third of the time of an index in brackets.
        return self._kept.index_select(0, torch.from_numpy(chosen).to(self.device))

    def _make(self, chosen: Index) -> Tensor:
        rows = self.standardised(chosen)
        return rows if self.prepare is None else self.prepare(rows)

    def take(self, chosen: Index) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return chosen rows with what training asks for beside them.

        Returns
        -------
        rows : Tensor of shape (n_chosen, n_features)
            The rows.
        targets : Tensor of shape (n_chosen, n_features)
            What they are to be decoded to; `rows` itself where that is the rows.
        weights : Tensor of shape (n_chosen,) or None
            Their weights, see `weights`.
        """
        rows, targets = self[chosen], self.targets
        wanted = rows if targets is None else targets[chosen].to(self.device)
        return rows, wanted, self.weights(chosen)

    def standardised(self, chosen: Index) -> Tensor:
        """Return chosen rows before they are prepared."""
        if sparse.issparse(self.matrix):
            return torch.from_numpy(self._of_sparse(chosen)).to(self.device)
        # Values beyond float32 become infinite; who reads them sees to that.
        with np.errstate(over="ignore"):
            block = take(self.matrix, chosen, self.index) - self.mean
            block /= self.scale
            block = block.astype(np.float32, copy=False)
        return torch.from_numpy(block).to(self.device)

    def _of_sparse(self, chosen: Index) -> NDArray[np.float32]:
        """Standardise what is not zero, and once for all what is."""
        index = self.index
        found = canonical(self.matrix[chosen if index is None else index[chosen]])
        rows = np.empty(found.shape, dtype=np.float32)
        numbers = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
        with np.errstate(over="ignore"):
            rows[:] = (0 - self.mean) / self.scale
            values = (found.data - self.mean[found.indices]) / self.scale
            rows[numbers, found.indices] = values
        return rows

    def standardise_into(self, memory: Tensor, chosen: Index) -> None:
        """Write `standardised` rows into memory, (n_chosen, n_features), float32."""
        if sparse.issparse(self.matrix):
            memory.copy_(torch.from_numpy(self._of_sparse(chosen)))
            return
        rows = take(self.matrix, chosen, self.index)
        is_float32 = np.result_type(rows, self.mean) == np.float32
        if is_float32 and memory.device.type == "cpu":
            block = memory.numpy()
            with np.errstate(over="ignore"):
                np.subtract(rows, self.mean, out=block)
                block /= self.scale
        else:
            memory.copy_(self.standardised(chosen))

    @property
    def n_bytes(self) -> int:
        """Size of the matrix in memory."""
        if hasattr(self.matrix, "nbytes"):
            return int(self.matrix.nbytes)
        parts = self.matrix.data, self.matrix.indices, self.matrix.indptr
        return sum(part.nbytes for part in parts)

    @property
    def has_weights(self) -> bool:
        """Whether the rows weigh differently."""
        return self._weights is not None

    def spread(self, n_rows: int) -> NDArray[np.int64]:
        """Choose up to `n_rows` rows at even distances."""
        return spread(self.shape[0], n_rows)

    def weights(self, chosen: Index) -> Tensor | None:
        """Return weights, of mean one over all rows, or None where all are equal."""
        return None if self._weights is None else self._weights[chosen]

    def batches(self, width: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Run through all rows and their weights in blocks, `width` values to a row."""
        for block in blocks(len(self), width):
            yield self[block], self.weights(block)

    def average(self, values: RowMap, width: int | None = None) -> Tensor:
        """Average over all rows, by their weights.

        Parameters
        ----------
        values : callable
            Maps rows of shape (n, n_features) to what is averaged, of shape (n, ...).
        width : int, optional
            Most values to a row that `values` makes on its way; the number of features
            by default.

        Returns
        -------
        Tensor of shape (...), float64, on the CPU
            The weighted mean.
        """
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for batch, weights in self.batches(width or self.matrix.shape[1]):
            found = values(batch).double()
            if weights is not None:
                found = torch.einsum("n...,n->n...", found, weights.double())
            total = total + found.sum(dim=0).cpu()
        return total / self.total_weight

    @property
    def total_weight(self) -> float:
        """Sum of the weights: the number of rows, but for rounding."""
        if self._weights is None:
            return len(self)
        return float(self._weights.double().sum())
