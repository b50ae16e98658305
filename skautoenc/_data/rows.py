"""The training data: one matrix, of which a few rows at a time are loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .moments import ColumnMoments, Floats, is_constant
from .streamed import StreamedMatrix

if TYPE_CHECKING:
    from .world import World

Index = NDArray[np.int64] | slice
RowMap = Callable[[Tensor], Tensor]

_BLOCK_VALUES = 2**20
# Values of training rows that stay on an accelerator, 512 MiB of float32: steps there
# are shorter than the work of the CPU to load their rows.
_RESIDENT_VALUES = 2**27
# Values that are loaded at once for several batches there, 64 MiB of float32: the CPU
# has as much work for few rows as for many.
_LOADED_VALUES = 2**24
# Number of columns above which steps over sparse rows are far slower than other
# methods.
_WIDE = 1000
# Range in which float32 has its full precision.
_NORMAL = 2.0**-100, 2.0**100
# Number of rows that distinguishes dead units from rare ones: a unit that is active for
# one row in a hundred is active for about forty of them.
N_SAMPLE = 4096


def blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Split rows into blocks of 4 MiB of float32, with `width` values per row.

    All but the last block have a multiple of 32 rows, which are whole vectors.
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
        Indices of the rows.
    among : ndarray of int, optional
        Rows that `chosen` refers to; all rows by default.
    """
    rows = matrix[chosen if among is None else among[chosen]]
    dense: NDArray[Any] = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return dense


def computing_type(dtype: np.dtype, mean: NDArray[Any], scale: float) -> np.dtype:
    """Return the type in which rows are standardised: their own if it holds the result.

    Parameters
    ----------
    dtype : dtype
        Type of the rows, float32 or float64.
    mean : ndarray of float64
        Subtracted from the rows.
    scale : float
        Divisor of the rows.
    """
    lowest, highest = _NORMAL
    fits = lowest < scale < highest and np.abs(mean).max(initial=0) < highest
    return dtype if fits else np.dtype(np.float64)


def in_float32(
    mean: NDArray[np.float64], scale: float, *, has_unit: bool
) -> tuple[NDArray[np.float64], float]:
    """Return mean and scale, in units of the scale if float32 does not hold them.

    They stay as they are if the unit of the data is part of what they mean.
    """
    single = np.dtype(np.float32)
    fits = has_unit or computing_type(single, mean, scale) == single
    return (mean, scale) if fits else (mean / scale, 1.0)


def canonical(rows: Any) -> Any:
    """Return CSR rows that have at most one value for each place."""
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def spread(n_all: int, n_chosen: int) -> NDArray[np.int64]:
    """Choose up to `n_chosen` of `n_all` positions at equal distances."""
    return np.linspace(0, n_all - 1, min(n_chosen, n_all)).astype(np.int64)


def _shape(matrix: Any, index: NDArray[np.int64] | None) -> tuple[int, int]:
    """Return the shape of the selected rows of a matrix."""
    n_rows, n_features = matrix.shape
    return int(n_rows if index is None else len(index)), int(n_features)


def _most_kept(device: torch.device) -> int:
    """Return the number of standardised values that stay in the memory of a device."""
    return _BLOCK_VALUES if device.type == "cpu" else _RESIDENT_VALUES


def _window(capacity: int, index: NDArray[np.int64] | None) -> int:
    """Return the number of consecutive selected rows that fit into a buffer."""
    if index is None:
        return capacity
    ends = np.searchsorted(index, index + capacity)
    sizes = (ends - np.arange(len(index)))[ends < len(index)]
    return int(sizes.min(initial=len(index)))


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
        Indices of the selected rows; None for all rows.
    labels : ndarray of shape (n_samples,), float64, or None
        Labels of the rows at `index`, NaN for rows without one; None if there are none.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    n_total : int
        Number of rows of all processes that train the model; `n_samples` for one.
    n_processes : int
        Number of these processes.
    world : World or None
        These processes; None for one.
    is_wide_sparse : bool
        Whether the rows are sparse and wide, as counts of words are.
    window : int
        Number of consecutive rows that can be loaded in any order.
    """

    matrix: Any
    weights: NDArray[Any] | None = None
    index: NDArray[np.int64] | None = None
    labels: NDArray[np.float64] | None = None
    shape: tuple[int, int] = field(init=False)
    n_total: int = field(init=False)
    is_wide_sparse: bool = field(init=False)
    window: int = field(init=False)
    n_processes: ClassVar[int] = 1
    world: ClassVar[World | None] = None

    def __post_init__(self) -> None:
        matrix = self.matrix
        is_wide = sparse.issparse(matrix) and matrix.shape[1] > _WIDE
        shape = _shape(matrix, self.index)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "n_total", shape[0])
        object.__setattr__(self, "is_wide_sparse", is_wide)
        is_streamed = isinstance(matrix, StreamedMatrix)
        window = _window(matrix.capacity, self.index) if is_streamed else shape[0]
        object.__setattr__(self, "window", window)

    def __len__(self) -> int:
        return self.shape[0]

    def in_blocks(self) -> Iterator[NDArray[Any]]:
        """Iterate over the rows in dense blocks."""
        for block in blocks(*self.shape):
            yield take(self.matrix, block, self.index)

    def is_binary(self) -> bool:
        """Whether all values are zero or one."""
        return all(bool(((rows == 0) | (rows == 1)).all()) for rows in self.in_blocks())

    def _select(self, chosen: NDArray[np.int64]) -> TrainingData:
        return replace(
            self,
            weights=None if self.weights is None else self.weights[chosen],
            index=chosen if self.index is None else self.index[chosen],
            labels=None if self.labels is None else self.labels[chosen],
        )

    def union(self, other: TrainingData) -> TrainingData:
        """Put back together what `split` gave."""
        assert self.index is not None
        assert other.index is not None
        order = np.argsort(index := np.concatenate([self.index, other.index]))
        weights = None
        if self.weights is not None and other.weights is not None:
            weights = np.concatenate([self.weights, other.weights])[order]
        return replace(self, weights=weights, index=index[order], labels=None)

    @property
    def count(self) -> float:
        """Number of rows, where weights may be numbers of equal rows.

        Weights of a sum below the number of rows are no such numbers.
        """
        n_rows = float(len(self))
        if self.weights is None:
            return n_rows
        return max(n_rows, float(self.weights.sum()))

    def without_zero_weights(self) -> TrainingData:
        """Return the rows of non-zero weight."""
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
            If fewer than two rows would be left in either part.
        """
        held_out = int(np.ceil(fraction * len(self)))
        self._check_split(held_out, fraction)
        order = random_state.permutation(len(self))
        parts = order[held_out:], order[:held_out]
        # In order, as they come from a disk or a stream.
        training, validation = (self._select(np.sort(part)) for part in parts)
        return training, validation

    def _check_split(self, held_out: int, fraction: float) -> None:
        if min(held_out, self.n_total - held_out) < 2:
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} splits "
                f"{self.n_total} rows into {self.n_total - held_out} and {held_out}; "
                "both need two at least. Change validation_fraction, or set "
                "early_stopping=False."
            )

    def rows(
        self,
        mean: NDArray[np.float64],
        scale: float,
        device: torch.device,
        *,
        prepare: RowMap | None = None,
        targets: NDArray[np.float32] | None = None,
    ) -> Rows:
        """Return the rows, standardised and prepared; see `Rows`."""
        return Rows(
            self.matrix,
            mean,
            scale,
            device,
            index=self.index,
            weights=self.weights,
            prepare=prepare,
            targets=targets,
        )

    def sample(self, n_rows: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return up to `n_rows` rows at equal distances, dense, and their weights."""
        chosen = spread(len(self), n_rows)
        rows = take(self.matrix, chosen, self.index)
        return rows, None if self.weights is None else self.weights[chosen]

    def in_any(self, condition: bool) -> bool:
        """Whether a condition holds for the rows of any process."""
        return condition

    def mean_of(self, values: NDArray[np.float64]) -> float:
        """Return the weighted mean of one value per row."""
        return float(np.average(values, weights=self.weights))

    def description(self, found: dict[str, str]) -> dict[str, str]:
        """Complete a description of these rows by the rows of other processes."""
        return found

    def merge_equal_rows(self) -> TrainingData:
        """Sort the rows, and replace repeated rows by weights.

        A fit that uses all rows in each step depends only on the weighted set of rows.
        In this form, neither their order nor repetition affects the rounding.
        """
        rows = take(self.matrix, slice(None), self.index)
        if self.labels is not None:
            # Equal rows of different labels are different rows.
            rows = np.column_stack([rows, self.labels])
        gaps = np.isnan(rows)
        # NaN differs from itself, but missing values are equal to each other.
        keys = np.hstack([np.nan_to_num(rows), gaps]) if gaps.any() else rows
        _, first, inverse = np.unique(
            keys, axis=0, return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse.ravel(), weights=self.weights)
        merged = None if (weights == 1).all() else weights
        rows = rows[first]
        if self.labels is None:
            return TrainingData(rows, merged)
        unlabelled = np.ascontiguousarray(rows[:, :-1], self.matrix.dtype)
        return TrainingData(unlabelled, merged, None, self.labels[first])

    def moments(self, n_threads: int = 1) -> tuple[Floats, float]:
        """Return the columns' means and the root of their mean variance.

        Parameters
        ----------
        n_threads : int, default=1
            Number of threads to use. The result does not depend on it.

        Raises
        ------
        ValueError
            If the variance of the values overflows.
        """
        relative = None if self.weights is None else self.weights / self.weights.max()
        with np.errstate(over="ignore", invalid="ignore"):
            count, mean, variance = self._column_moments(relative, n_threads)
            constant = is_constant(mean, variance, count)
        return mean, root_of_mean(variance, constant)

    def _column_moments(
        self, weights: NDArray[Any] | None, n_threads: int
    ) -> tuple[float, Floats, Floats]:
        """Return the sum of the weights, and means and variances of the columns."""
        if weights is None and not self.is_wide_sparse:
            return self._moments_of_rows(n_threads)
        # Blocks of wide sparse rows stay sparse, which takes a tenth of the time.
        scaler = StandardScaler(with_mean=not self.is_wide_sparse)
        for block in blocks(*self.shape):
            if self.is_wide_sparse:
                index = self.index
                rows = canonical(self.matrix[block if index is None else index[block]])
            else:
                rows = take(self.matrix, block, self.index)
            given = None if weights is None else weights[block]
            scaler.partial_fit(rows.astype(np.float64, copy=False), None, given)
        return scaler.n_samples_seen_, scaler.mean_, scaler.var_

    def _moments_of_rows(self, n_threads: int) -> tuple[float, Floats, Floats]:
        """Return the result of `_column_moments` for dense rows without weights."""
        found = ColumnMoments(self.shape[1])
        # Threads take as long to begin as a few blocks do.
        n_threads = n_threads if math.prod(self.shape) > 4 * _BLOCK_VALUES else 1
        with ThreadPoolExecutor(n_threads) as pool:
            for block in blocks(*self.shape):
                rows = take(self.matrix, block, self.index)
                found.add(rows, pool, n_threads)
        return found.count, found.mean, found.variance


def root_of_mean(variances: NDArray[np.float64], constant: NDArray[np.bool_]) -> float:
    """Return the root of the mean variance of columns, some of them constant.

    Raises
    ------
    ValueError
        If the variance overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        variance = np.where(constant, 0, variances).mean()
    if not np.isfinite(variances).all() or not np.isfinite(variance):
        raise ValueError(
            "The values of X are too large: their variance overflows. Scale them "
            "first, with StandardScaler or RobustScaler for one."
        )
    return float(np.sqrt(variance)) if variance > 0 else 1.0


class Rows:
    """Standardised float32 rows of a matrix, computed on request.

    The matrix is never copied, cast or densified: it may be memory-mapped, read-only or
    sparse, and larger than memory. Rows of up to 4 MiB in total are computed once and
    stored, and rows of up to 512 MiB on an accelerator, if it has the memory.

    Parameters
    ----------
    matrix : ndarray, CSR matrix or StreamedMatrix of shape (n_rows, n_features)
        The data, float32 or float64.
    mean : ndarray of shape (n_features,), float64
        Subtracted from each row before the cast to float32, in which large offsets
        would cost precision.
    scale : float
        Divisor of the centred rows.
    device : torch.device
        Device of the tensors.
    index : ndarray of shape (n_samples,), optional
        Indices of the selected rows; all rows by default.
    weights : ndarray of shape (n_samples,), optional
        Weights of the selected rows; equal by default.
    prepare : callable, optional
        Map of a tensor of standardised rows.
    targets : ndarray of shape (n_samples, n_targets), float32, optional
        What the objective compares with: rows that the rows should be decoded to, or
        labels; by default the rows themselves.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features), as of a tensor of all rows.
    n_total : int
        Number of rows of all processes that train the model.
    is_shared : bool
        Whether other processes have further rows.
    block_size : int
        Number of rows to load at once: they fill 4 MiB of float32, or 64 MiB on an
        accelerator.
    """

    is_shared = False

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
        self.n_total = self.shape[0]
        n_loaded = _BLOCK_VALUES if device.type == "cpu" else _LOADED_VALUES
        self.block_size = max(1, n_loaded // self.shape[1])
        self.matrix = matrix
        dtype = computing_type(matrix.dtype, mean, scale)
        self.mean = mean.astype(dtype)
        self.scale = dtype.type(scale)
        self.device = device
        self.index = index
        self.prepare = prepare
        self.targets = None if targets is None else torch.from_numpy(targets)
        self._kept: Tensor | None = None
        self._is_kept = math.prod(self.shape) <= _most_kept(device)
        self._weights = (
            None
            if weights is None
            else torch.from_numpy(weights / self._mean_weight(weights))
            .float()
            .to(device)
        )

    def _mean_weight(self, weights: NDArray[Any]) -> float:
        return float(weights.mean())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Index) -> Tensor:
        """Return chosen rows as a tensor of shape (n_chosen, n_features)."""
        if self._kept is None and self._is_kept:
            self._keep()
        if self._kept is None:
            return self._make(chosen)
        # A copy, because a user's network may work in place.
        return self._choose(self._kept, chosen)

    def _choose(self, values: Tensor, chosen: Index) -> Tensor:
        """Copy the values of rows, without waiting for what the device does."""
        if isinstance(chosen, slice):
            return values[chosen].clone()
        index = torch.from_numpy(chosen)
        if values.device.type == "cuda":
            index = index.pin_memory().to(values.device, non_blocking=True)
        # `index_select` takes a third of the time of indexing with brackets.
        return values.index_select(0, index.to(values.device))

    def _keep(self) -> None:
        """Compute all rows, unless the device lacks the memory."""
        if math.prod(self.shape) <= _BLOCK_VALUES:
            self._kept = self._make(slice(None))
        else:
            try:
                made = [self._make(block) for block in blocks(*self.shape)]
                self._kept = torch.cat(made)
            except torch.OutOfMemoryError:
                self._is_kept = False
                return
        if self.targets is not None:
            self.targets = self.targets.to(self.device)

    def _make(self, chosen: Index) -> Tensor:
        rows = self.standardised(chosen)
        return rows if self.prepare is None else self.prepare(rows)

    def take(self, chosen: Index) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return rows with their targets and weights.

        Returns
        -------
        rows : Tensor of shape (n_chosen, n_features)
            The rows.
        targets : Tensor of shape (n_chosen, n_features)
            Rows that they should be decoded to; `rows` itself if these are the same.
        weights : Tensor of shape (n_chosen,) or None
            Weights of the rows, see `weights`.
        """
        rows, targets = self[chosen], self.targets
        if targets is None:
            return rows, rows, self.weights(chosen)
        wanted = self._choose(targets, chosen).to(self.device)
        return rows, wanted, self.weights(chosen)

    def standardised(self, chosen: Index) -> Tensor:
        """Return rows before they are prepared."""
        if sparse.issparse(self.matrix):
            return torch.from_numpy(self._of_sparse(chosen)).to(self.device)
        rows = take(self.matrix, chosen, self.index)
        # Chosen rows are copies. To subtract in place takes a third off the time.
        is_own = rows.base is None and rows.dtype == self.mean.dtype
        block = self._of_dense(rows, rows if is_own else None)
        return torch.from_numpy(block).to(self.device)

    def _of_dense(
        self, rows: NDArray[Any], out: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Standardise dense rows, in memory of their type if it is given."""
        # Values beyond float32 become infinite, which the callers handle.
        with np.errstate(over="ignore"):
            block: NDArray[Any] = np.subtract(rows, self.mean, out=out)
            block /= self.scale
            return block.astype(np.float32, copy=False)

    def _of_sparse(self, chosen: Index) -> NDArray[np.float32]:
        """Standardise the non-zero values, and the zeros once for all rows."""
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
        """Write standardised rows to memory, (n_chosen, n_features), float32."""
        if sparse.issparse(self.matrix):
            memory.copy_(torch.from_numpy(self._of_sparse(chosen)))
            return
        rows = take(self.matrix, chosen, self.index)
        is_float32 = np.result_type(rows, self.mean) == np.float32
        if is_float32 and memory.device.type == "cpu":
            self._of_dense(rows, memory.numpy())
        else:
            memory.copy_(torch.from_numpy(self._of_dense(rows, None)))

    @property
    def n_bytes(self) -> int:
        """Size of the matrix in memory."""
        if hasattr(self.matrix, "nbytes"):
            return int(self.matrix.nbytes)
        parts = self.matrix.data, self.matrix.indices, self.matrix.indptr
        return sum(part.nbytes for part in parts)

    @property
    def has_weights(self) -> bool:
        """Whether the rows have different weights."""
        return self._weights is not None

    def spread(self, n_rows: int) -> NDArray[np.int64]:
        """Choose up to `n_rows` rows at equal distances."""
        return spread(self.shape[0], n_rows)

    def choose(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Return some of the rows of all processes, and their weights.

        Parameters
        ----------
        index : ndarray of shape (n_chosen,)
            Numbers below `n_total`, in ascending order.

        Returns
        -------
        rows : Tensor of shape (n_chosen, n_features)
            The rows.
        weights : Tensor of shape (n_chosen,) or None
            Their weights.
        """
        return self[index], self.weights(index)

    def sample(self, n_rows: int) -> tuple[Tensor, Tensor | None]:
        """Return up to `n_rows` rows at equal distances, and their weights."""
        return self.choose(self.spread(n_rows))

    def sample_standardised(self, n_rows: int) -> Tensor:
        """Return the rows of `sample` before they are prepared."""
        return self.standardised(self.spread(n_rows))

    def of_this_process(self) -> Rows:
        """Return rows that can be used without the other processes."""
        return self

    def add_up(self, *sums: Tensor) -> tuple[Tensor, ...]:
        """Return sums over the rows of all processes from those over these rows."""
        return sums

    def highest(self, value: float) -> float:
        """Return the largest of the values of all processes."""
        return value

    def weights(self, chosen: Index) -> Tensor | None:
        """Return weights, with mean one over all rows, or None if all are equal."""
        return None if self._weights is None else self._choose(self._weights, chosen)

    def batches(self, width: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Iterate over all rows and weights in blocks, with `width` values per row."""
        for block in blocks(len(self), width):
            yield self[block], self.weights(block)

    def average(self, values: RowMap, width: int | None = None) -> Tensor:
        """Return the weighted mean of a function over all rows.

        Parameters
        ----------
        values : callable
            Maps rows of shape (n, n_features) to what is averaged, of shape (n, ...).
        width : int, optional
            Maximum number of values per row that `values` needs at a time; the number
            of features by default.

        Returns
        -------
        Tensor of shape (...), float64, on the CPU
            The weighted mean.
        """
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for batch, weights in self.batches(width or self.matrix.shape[1]):
            found = values(batch).cpu().double()
            if weights is not None:
                found = torch.einsum("n...,n->n...", found, weights.cpu().double())
            total = total + found.sum(dim=0)
        (total,) = self.add_up(total)
        return total / self.total_weight

    @property
    def total_weight(self) -> float:
        """Sum of the weights: the number of rows, except for rounding."""
        if self._weights is None:
            return len(self)
        return float(self._weights.cpu().double().sum())
