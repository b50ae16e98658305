"""Rows brought to about one length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._data.rows import Rows


@dataclass(frozen=True)
class RowNormalization:
    """Divide each row by its root mean square, then standardise again.

    A row of mean square m becomes one of mean square m / (m + regularization²). The
    regularisation keeps rows next to nothing from being blown up, and makes the map
    invertible: how far a normalised row stays below one tells its length.

    Parameters
    ----------
    regularization : float
        In units of the root mean square of all rows, which is one.
    mean : Tensor of shape (n_features,)
        Means of the columns of the normalised rows.
    scale : float
        Root of their mean variance.
    longest : float
        Mean square of the longest training row, beyond which no row is stretched on
        the way back.
    """

    regularization: float
    mean: Tensor
    scale: float
    longest: float

    def to(self, device: torch.device) -> RowNormalization:
        """Return the same on another device."""
        return replace(self, mean=self.mean.to(device))

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise standardised rows, (n, n_features)."""
        return (_normalise(rows, self.regularization) - self.mean) / self.scale

    def inverse(self, rows: Tensor) -> Tensor:
        """Give normalised rows, (n, n_features), their lengths back."""
        rows = rows * self.scale + self.mean
        square = self.regularization**2
        share = rows.square().mean(dim=1, keepdim=True)
        left = (1 - share).clamp(min=square / (self.longest + square))
        return rows * (square / left).sqrt()


def _normalise(rows: Tensor, regularization: float) -> Tensor:
    square = rows.square().mean(dim=1, keepdim=True)
    return rows / (square + regularization**2).sqrt()


def learn_row_normalization(rows: Rows, regularization: float) -> RowNormalization:
    """Find the moments of the normalised rows.

    Parameters
    ----------
    rows : Rows
        Standardised training rows.
    regularization : float
        In units of their root mean square.
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
        regularization, mean, float(variance) ** 0.5 or 1.0, longest
    )
