"""Normalisation of the lengths of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._data.rows import Rows


@dataclass(frozen=True)
class RowNormalization:
    """Divide each row by its root mean square, and standardise the result.

    A row of mean square m gets a mean square of m / (m + regularization²). The
    regularisation limits the factor of rows near zero, and makes the map invertible:
    the length of a row follows from how far its normalised mean square is below one.

    Parameters
    ----------
    regularization : float
        Relative to the root mean square of all rows, which is one.
    mean : Tensor of shape (n_features,)
        Means of the columns of the normalised rows.
    scale : float
        Root of the mean variance of these columns.
    longest : float
        Mean square of the longest training row. `inverse` makes no row longer.
    """

    regularization: float
    mean: Tensor
    scale: float
    longest: float

    def to(self, device: torch.device) -> RowNormalization:
        """Return a copy on another device."""
        return replace(self, mean=self.mean.to(device))

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise standardised rows, (n, n_features)."""
        return (_normalise(rows, self.regularization) - self.mean) / self.scale

    def inverse(self, rows: Tensor) -> Tensor:
        """Restore the lengths of normalised rows, (n, n_features)."""
        rows = rows * self.scale + self.mean
        square = self.regularization**2
        share = rows.square().mean(dim=1, keepdim=True)  # (n, 1)
        left = (1 - share).clamp(min=square / (self.longest + square))
        return rows * (square / left).sqrt()


def _normalise(rows: Tensor, regularization: float) -> Tensor:
    square = rows.square().mean(dim=1, keepdim=True)  # (n, 1)
    return rows / (square + regularization**2).sqrt()


def learn_row_normalization(rows: Rows, regularization: float) -> RowNormalization:
    """Learn the row normalisation, which standardises by the moments of its result.

    Parameters
    ----------
    rows : Rows
        Standardised training rows.
    regularization : float
        Relative to their root mean square.
    """
    mean = rows.average(lambda batch: _normalise(batch, regularization)).float()
    variance = rows.average(
        lambda batch: (_normalise(batch, regularization) - mean).square().mean(dim=1)
    )
    longest = max(
        float(batch.square().mean(dim=1).max())
        for batch, _ in rows.batches(rows.matrix.shape[1])
    )
    return RowNormalization(
        regularization, mean, float(variance) ** 0.5 or 1.0, rows.highest(longest)
    )
