"""The cells of a row, spread over columns for a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .entities import MOST_ENTITIES, find_entities
from .layers import CPU_FLOAT32
from .numbers import PiecewiseLinear

# Stands for a missing value where cells are compared: far from scaled numbers.
MISSING = 1e4
# Relative difference of equal cells. A graph of ONNX may round differently.
TOLERANCE = 1e-5
# The column of an entity is this, or zero. A linear model with a penalty then shrinks
# the coefficient, which few rows determine, less than others.
HEIGHT = 3.0


class Spread(nn.Module):
    """Numbers with their bins and indicators of missing values, and one-hot codes.

    The bins of a number are the columns of a piecewise linear encoding: a linear model
    of them is a piecewise linear function of the number. Outside of the range of the
    training rows the bins are constant, and only the number itself goes on. If a value
    is so frequent that bins have no width, these have no column.

    If several rows share an entity (`find_entities`), each entity has a column, too.

    Parameters
    ----------
    n_numbers, n_extras : int
        Number of numbers with bins, and of those without.
    n_codes : sequence of int
        Number of codes of each categorical column, without that of missing values.
    entities : sequence of (sequence of int, int), default=()
        For each kind of entities, the columns that describe them and their number.
    """

    def __init__(
        self,
        n_numbers: int,
        n_extras: int,
        n_codes: tuple[int, ...],
        entities: Sequence[tuple[Sequence[int], int]] = (),
    ) -> None:
        super().__init__()
        self.n_plain = 2 * n_numbers + n_extras
        self.n_indices = sum(n_codes) + len(n_codes)
        self.n_cells = n_numbers + len(n_codes)
        self.bins = PiecewiseLinear(n_numbers)
        self.make_room(entities)

    def make_room(self, entities: Sequence[tuple[Sequence[int], int]]) -> None:
        """Add columns for entities, whose values are to be copied to them."""
        _check_entities(entities, self.n_cells)
        self.entities = nn.ModuleList(
            EntityColumns(columns, np.zeros((n_entities, len(columns)), np.float32))
            for columns, n_entities in entities
        )

    def initialise(
        self,
        generator: torch.Generator,
        plain: Tensor,
        numbers: Tensor,
        indices: Tensor,
        sample_weight: Tensor | None,
    ) -> list[tuple[tuple[int, ...], int]]:
        """Learn bins and entities.

        Parameters
        ----------
        generator : torch.Generator
            Source of random numbers, which are not needed so far.
        plain, indices : Tensor
            See `forward`.
        numbers : Tensor of shape (n, n_numbers)
            The numbers, missing values NaN.
        sample_weight : Tensor of shape (n,) or None
            Weights of rows.

        Returns
        -------
        list of (tuple of int, int)
            `entities` of a new network.
        """
        self.bins.initialise(generator, numbers, sample_weight)
        found = find_entities(self._cells(plain, indices).cpu().numpy())
        self.entities = nn.ModuleList(
            EntityColumns(kind.columns, kind.values) for kind in found
        )
        return [(kind.columns, len(kind.values)) for kind in found]

    @property
    def kept(self) -> Tensor:
        """Whether each bin of each number has a width, (n_numbers, n_bins), bool."""
        return self.bins.edges.diff(dim=1) > 0

    @property
    def kinds(self) -> list[EntityColumns]:
        """The kinds of entities."""
        return cast(list[EntityColumns], list(self.entities))

    @property
    def width(self) -> int:
        """Number of columns."""
        n_entities = sum(len(kind.values) for kind in self.kinds)
        return self.n_plain + int(self.kept.sum()) + self.n_indices + n_entities

    def forward(self, plain: Tensor, numbers: Tensor, indices: Tensor) -> Tensor:
        """Spread rows.

        Parameters
        ----------
        plain : Tensor of shape (n, 2 * n_numbers + n_extras)
            Numbers without missing values, and indicators of these.
        numbers : Tensor of shape (n, n_numbers)
            The numbers that have bins.
        indices : Tensor of shape (n, n_categories), int64
            Indices of codes, which are those of a column after those of the one before.

        Returns
        -------
        Tensor of shape (n, width)
            `plain`, the bins, one-hot codes, and entities.
        """
        bins = self.bins(numbers).clamp(0, 1)  # (n, n_numbers, n_bins)
        one_hot = bins.new_zeros(len(numbers), self.n_indices)
        one_hot.scatter_(1, indices, 1)
        # (n, n_kept) are left of the bins.
        parts = [plain, bins[:, self.kept], one_hot]
        if len(self.entities):
            cells = self._cells(plain, indices)
            parts += [kind(cells) for kind in self.kinds]
        return torch.cat(parts, dim=1)

    def _cells(self, plain: Tensor, indices: Tensor) -> Tensor:
        """Return numbers and indices of codes, (n, n_numbers + n_categories)."""
        n_numbers = len(self.bins.edges)
        missing = plain[:, plain.shape[1] - n_numbers :]  # (n, n_numbers)
        numbers = plain[:, :n_numbers] + MISSING * missing
        return torch.cat([numbers, indices.to(plain.dtype)], dim=1)


class EntityColumns(nn.Module):
    """A column for each entity of a kind.

    Parameters
    ----------
    columns : sequence of int
        The columns that describe entities.
    values : ndarray of shape (n_entities, n_columns), float32
        The values of each entity in these columns.
    """

    values: Tensor

    def __init__(self, columns: Sequence[int], values: NDArray[np.float32]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.register_buffer("values", torch.tensor(values, **CPU_FLOAT32))

    def forward(self, cells: Tensor) -> Tensor:
        """Compare cells, (n, n_cells), with each entity, (n, n_entities)."""
        found = cells.new_full((len(cells), len(self.values)), HEIGHT)
        for column, values in zip(self.columns, self.values.t(), strict=True):
            # (n, n_entities)
            far = (cells[:, column, None] - values).abs() > TOLERANCE * (
                1 + values.abs()
            )
            found.masked_fill_(far, 0)
        return found


def _check_entities(entities: Any, n_cells: int) -> None:
    """Raise a ValueError if a description of entities, maybe of a file, is unusable."""
    n_left = MOST_ENTITIES
    for columns, n_entities in entities:
        n_left -= n_entities
        fits = len(columns) <= n_cells and all(0 <= each < n_cells for each in columns)
        if not fits or n_entities < 1 or n_left < 0:
            raise ValueError("entities do not fit the columns")
