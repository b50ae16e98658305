"""The cells of a row, spread over columns for a linear model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .numbers import PiecewiseLinear


class Spread(nn.Module):
    """Numbers with their bins and indicators of missing values, and one-hot codes.

    The bins of a number are the columns of a piecewise linear encoding: a linear model
    of them is a piecewise linear function of the number. Outside of the range of the
    training rows the bins are constant, and only the number itself goes on. If a value
    is so frequent that bins have no width, these have no column.

    Parameters
    ----------
    n_numbers, n_extras : int
        Number of numbers with bins, and of those without.
    n_codes : sequence of int
        Number of codes of each categorical column, without that of missing values.
    """

    def __init__(self, n_numbers: int, n_extras: int, n_codes: tuple[int, ...]) -> None:
        super().__init__()
        self.n_plain = 2 * n_numbers + n_extras
        self.n_indices = sum(n_codes) + len(n_codes)
        self.bins = PiecewiseLinear(n_numbers)

    @property
    def kept(self) -> Tensor:
        """Whether each bin of each number has a width, (n_numbers, n_bins), bool."""
        return self.bins.edges.diff(dim=1) > 0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.n_plain + int(self.kept.sum()) + self.n_indices

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
            `plain`, the bins, and one-hot codes.
        """
        bins = self.bins(numbers).clamp(0, 1)  # (n, n_numbers, n_bins)
        one_hot = bins.new_zeros(len(numbers), self.n_indices)
        one_hot.scatter_(1, indices, 1)
        # (n, n_kept) are left of the bins.
        return torch.cat([plain, bins[:, self.kept], one_hot], dim=1)
