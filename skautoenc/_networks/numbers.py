"""Encodings of a number as several numbers, from which a network learns more easily."""

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32

_N_BINS = 16
# Width of a bin that all larger differences fill.
_TINY = 1e-30
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
        edges = self.edges
        # (n_numbers * width,) each: rows of one dimension take a fraction of the time.
        lower, upper = edges[:, :-1].flatten(), edges[:, 1:].flatten()
        width = upper - lower
        # A value that many rows share can give a bin without width: it is zero below
        # the value, and one from there on.
        is_flat = width == 0
        least, most = torch.zeros_like(edges[:, 1:]), torch.ones_like(edges[:, 1:])
        least[:, 0], most[:, -1] = -torch.inf, torch.inf
        filled = numbers.repeat_interleave(_N_BINS, dim=1) - lower
        filled = torch.addcdiv(
            is_flat.to(filled.dtype), filled, width.masked_fill(is_flat, _TINY)
        )
        filled = filled.clamp_(
            least.flatten().masked_fill(is_flat, 0),
            most.flatten().masked_fill(is_flat, 1),
        )
        return filled.view(len(numbers), *least.shape)


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
