"""Training data of which each of several processes holds a part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .moments import Floats, is_constant
from .rows import N_SAMPLE, RowMap, Rows, TrainingData, root_of_mean, spread, take
from .world import World

# Values of a sample, and its rows if they are very wide.
_MOST_SAMPLED = 2**23
_FEWEST_ROWS = 256


@dataclass(frozen=True)
class SharedData(TrainingData):
    """The rows of one process; results are those of the rows of all processes.

    The rows of all processes are numbered in the order of ranks. A process may have
    none. All processes make and use the object in the same way, except `in_blocks`.

    Parameters
    ----------
    matrix, weights, index, labels
        See `TrainingData`. All processes have weights, or none has.
    world : World
        The processes.

    Attributes
    ----------
    counts : list of int
        Number of rows of each process.
    """

    world: World = field(kw_only=True)  # type: ignore[misc]
    counts: list[int] = field(init=False)

    @property
    def n_processes(self) -> int:  # type: ignore[override]
        """Number of processes."""
        return self.world.size

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "counts", self.world.gather(self.shape[0]))
        object.__setattr__(self, "n_total", sum(self.counts))

    @property
    def count(self) -> float:
        """Number of rows, where weights may be numbers of equal rows."""
        total = 0.0 if self.weights is None else float(self.weights.sum())
        return max(float(self.n_total), sum(self.world.gather(total)))

    def is_binary(self) -> bool:
        """Whether all values are zero or one."""
        return all(self.world.gather(super().is_binary()))

    def without_zero_weights(self) -> SharedData:
        """Return the rows of non-zero weight."""
        if self.weights is None:
            return self
        found = self._select(np.flatnonzero(self.weights))
        assert isinstance(found, SharedData)
        return found

    def _check_split(self, held_out: int, fraction: float) -> None:
        super()._check_split(sum(self.world.gather(held_out)), fraction)

    def rows(
        self,
        mean: NDArray[np.float64],
        scale: float,
        device: torch.device,
        *,
        prepare: RowMap | None = None,
        targets: NDArray[np.float32] | None = None,
    ) -> SharedRows:
        """Return the rows, standardised and prepared; see `Rows`."""
        assert targets is None
        return SharedRows(self, mean, scale, device, prepare=prepare)

    def sample(self, n_rows: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return up to `n_rows` rows at equal distances, dense, and their weights."""
        chosen = here(spread(self.n_total, n_rows), self.counts, self.world.rank)
        rows = take(self.matrix, chosen, self.index)
        weights = None if self.weights is None else self.weights[chosen]
        found = self.world.gather((rows, weights))
        given = [part for _, part in found if part is not None]
        return (
            np.concatenate([part for part, _ in found]),
            np.concatenate(given) if given else None,
        )

    def in_any(self, condition: bool) -> bool:
        """Whether a condition holds for the rows of any process."""
        return any(self.world.gather(bool(condition)))

    def mean_of(self, values: NDArray[np.float64]) -> float:
        """Return the weighted mean of one value per row."""
        weights = np.ones_like(values) if self.weights is None else self.weights
        sums = self.world.gather((float(values @ weights), float(weights.sum())))
        return sum(each for each, _ in sums) / sum(each for _, each in sums)

    def description(self, found: dict[str, str]) -> dict[str, str]:
        """Complete a description of these rows by the rows of other processes."""
        all_found = self.world.gather(found)
        merged = {
            name: first
            if len(values) == 1
            else _digest([each[name] for each in all_found])
            for name, first in found.items()
            if (values := {each[name] for each in all_found})
        }
        return {**merged, "processes": str(self.world.size)}

    def merge_equal_rows(self) -> TrainingData:
        """Return the rows as they are: equal ones may be on different processes."""
        return self

    def moments(self, n_threads: int = 1) -> tuple[Floats, float]:
        """Return the columns' means and the root of their mean variance."""
        weights, total = self.weights, float(len(self))
        with np.errstate(over="ignore", invalid="ignore"):
            if weights is not None:
                total = float(weights.sum())
                weights = weights / (weights.max(initial=0) or 1.0)
            own: tuple[float, Any, Any] = 0.0, None, None
            if len(self):
                own = total, *self._column_moments(weights, n_threads)[1:]
            total, mean, variances = _combine(self.world.gather(own))
            constant = is_constant(mean, variances, self.n_total)
        return mean, root_of_mean(variances, constant)


def _combine(
    parts: list[tuple[float, Any, Any]],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Combine weights, means and variances of parts of the rows [1]_.

    References
    ----------
    .. [1] Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The
       American Statistician 37, 1983.
    """
    known = [part for part in parts if part[1] is not None]
    total, mean, variances = known[0]
    for weight, other_mean, other_variances in known[1:]:
        share = weight / (total + weight)
        gap = other_mean - mean
        mean = mean + share * gap
        variances = (
            (1 - share) * variances
            + share * other_variances
            + share * (1 - share) * gap**2
        )
        total += weight
    return total, mean, variances


def here(chosen: NDArray[np.int64], counts: list[int], rank: int) -> NDArray[np.int64]:
    """Return which rows of a process are among those chosen of all processes."""
    first = sum(counts[:rank])
    inside = (chosen >= first) & (chosen < first + counts[rank])
    return chosen[inside] - first


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


class SharedRows(Rows):
    """Standardised rows of one process; sums are those over all processes.

    Parameters
    ----------
    data : SharedData
        The rows.
    mean, scale, device, prepare
        See `Rows`.

    Attributes
    ----------
    data : SharedData
        The rows before they are standardised.
    """

    is_shared = True

    def __init__(
        self,
        data: SharedData,
        mean: NDArray[Any],
        scale: float,
        device: torch.device,
        *,
        prepare: RowMap | None = None,
    ) -> None:
        self.data = data
        self._sampled: Rows | None = None
        super().__init__(
            data.matrix,
            mean,
            scale,
            device,
            index=data.index,
            weights=data.weights,
            prepare=prepare,
        )
        self.n_total = data.n_total

    def _mean_weight(self, weights: NDArray[Any]) -> float:
        return sum(self.data.world.gather(float(weights.sum()))) / self.data.n_total

    def batches(self, width: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Iterate over the rows and weights of the process.

        Without rows, yield one of zeros that has no weight: what is computed of it has
        the shape of what it is added to.
        """
        if len(self):
            yield from super().batches(width)
        else:
            width = self.shape[1]
            zeros = torch.zeros(1, width, dtype=torch.float32, device=self.device)
            yield zeros, zeros[:, 0]

    def choose(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Return some of the rows of all processes, and their weights."""
        chosen, weights = self._here(index), None
        rows = self._gathered(self[chosen])
        if self.has_weights:
            weights = self._gathered(self.weights(chosen))
        return rows, weights

    def sample(self, n_rows: int) -> tuple[Tensor, Tensor | None]:
        """Return up to `n_rows` rows at equal distances, and their weights."""
        return self.of_this_process().sample(n_rows)

    def sample_standardised(self, n_rows: int) -> Tensor:
        """Return the rows of `sample` before they are prepared."""
        return self.of_this_process().sample_standardised(n_rows)

    def _here(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return here(index, self.data.counts, self.data.world.rank)

    def _gathered(self, values: Tensor | None) -> Tensor:
        assert values is not None
        parts = self.data.world.gather(values.cpu().numpy())
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    def of_this_process(self) -> Rows:
        """Return a sample of the rows of all processes.

        The first call gathers it. Later ones need no other process.
        """
        if self._sampled is None:
            n_rows = max(_MOST_SAMPLED // self.shape[1], _FEWEST_ROWS)
            rows, weights = self.data.sample(min(N_SAMPLE, n_rows))
            self._sampled = TrainingData(rows, weights).rows(
                self.mean, float(self.scale), self.device, prepare=self.prepare
            )
        return self._sampled

    def add_up(self, *sums: Tensor) -> tuple[Tensor, ...]:
        """Return sums over the rows of all processes from those over these rows."""
        flat = torch.cat([each.double().ravel() for each in sums])
        self.data.world.add_into(flat)
        parts = torch.split(flat, [each.numel() for each in sums])
        return tuple(
            part.view(each.shape) for part, each in zip(parts, sums, strict=True)
        )

    def highest(self, value: float) -> float:
        """Return the largest of the values of all processes."""
        return max(self.data.world.gather(value))

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all processes: the number of rows, almost."""
        return float(self.n_total)
