"""Encodings of a number as several numbers, from which a network learns more easily."""

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32

_N_BINS = 16
_N_FREQUENCIES = 8
# Standard deviation of the initial frequencies, in periods per standard deviation.
_SPREAD = 0.3


class PiecewiseLinear(nn.Module):
    """Encode a number by how far it fills each of some bins [1]_.

    Each bin holds about the same number of training rows. Bins below the number are
    one, bins above it are zero, and its own bin is filled in part. The first bin has no
    lower limit and the last one no upper limit.

    Parameters
    ----------
    n_numbers : int
        Number of numbers in a row.

    References
    ----------
    .. [1] Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in
       tabular deep learning", NeurIPS 2022.
    """

    edges: Tensor
    width = _N_BINS

    def __init__(self, n_numbers: int) -> None:
        super().__init__()
        self.register_buffer(
            "edges", torch.zeros(n_numbers, _N_BINS + 1, **CPU_FLOAT32)
        )

    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Set the edges to quantiles of the numbers, (n, n_numbers), or NaN."""
        weights = rows.new_ones(len(rows)) if sample_weight is None else sample_weight
        for edges, numbers in zip(self.edges, rows.t(), strict=True):
            known = ~numbers.isnan()
            if not known.any():
                continue
            ordered, order = numbers[known].sort()
            cumulative = weights[known][order].double().cumsum(0)
            # Each quantile is a value of the data, so that a row of weight two counts
            # as two equal rows.
            wanted = torch.linspace(
                0, 1, len(edges), dtype=torch.float64, device=edges.device
            )
            positions = torch.searchsorted(
                cumulative, wanted * cumulative[-1] * (1 - 1e-9)
            )
            edges.copy_(ordered[positions])

    def forward(self, numbers: Tensor) -> Tensor:
        """Encode numbers, (n, n_numbers), to (n, n_numbers, width)."""
        lower, upper = self.edges[:, :-1], self.edges[:, 1:]  # (n_numbers, width) each
        numbers = numbers.unsqueeze(2)  # (n, n_numbers, 1)
        width = upper - lower
        # (n, n_numbers, width)
        filled = (numbers - lower) / width.masked_fill(width == 0, 1)
        # A value that many rows share can give a bin without width: it is zero or one.
        filled = torch.where(width == 0, (numbers >= upper).to(filled.dtype), filled)
        first, inner, last = filled.tensor_split([1, _N_BINS - 1], dim=2)
        return torch.cat(
            [first.clamp(max=1), inner.clamp(0, 1), last.clamp(min=0)], dim=2
        )


class Periodic(nn.Module):
    """Encode a number by its sines and cosines at learnt frequencies [1]_.

    Parameters
    ----------
    n_numbers : int
        Number of numbers in a row.

    References
    ----------
    .. [1] Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in
       tabular deep learning", NeurIPS 2022.
    """

    width = 2 * _N_FREQUENCIES

    def __init__(self, n_numbers: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(
            torch.empty(n_numbers, _N_FREQUENCIES, **CPU_FLOAT32)
        )

    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the frequencies."""
        nn.init.normal_(self.frequencies, std=_SPREAD, generator=generator)

    def forward(self, numbers: Tensor) -> Tensor:
        """Encode numbers, (n, n_numbers), to (n, n_numbers, width)."""
        # (n, n_numbers, _N_FREQUENCIES)
        angles = 2 * math.pi * numbers.unsqueeze(2) * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=2)


NUMBER_ENCODINGS: dict[str, type[PiecewiseLinear] | type[Periodic]] = {
    "periodic": Periodic,
    "piecewise_linear": PiecewiseLinear,
}
