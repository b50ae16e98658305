"""Numbers as several numbers, which a network bends more easily than one."""

import math

import torch
from torch import Tensor, nn

from .layers import CPU_FLOAT32

_N_BINS = 16
_N_FREQUENCIES = 8
# Of the first frequencies, in periods per standard deviation.
_SPREAD = 0.3


class PiecewiseLinear(nn.Module):
    """Say how far each number fills each of some bins, which hold as many rows [1]_.

    Bins below a number are full, those above are empty, its own is filled in part.
    The first goes on below and the last above.

    Parameters
    ----------
    n_numbers : int
        Numbers in a row.

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
        """Put the edges at quantiles of the numbers, (n, n_numbers); gaps are NaN."""
        weights = rows.new_ones(len(rows)) if sample_weight is None else sample_weight
        for edges, numbers in zip(self.edges, rows.t(), strict=True):
            known = ~numbers.isnan()
            if not known.any():
                continue
            ordered, order = numbers[known].sort()
            cumulative = weights[known][order].double().cumsum(0)
            # Each quantile is a value that was seen: rows of weight two are two rows.
            wanted = torch.linspace(
                0, 1, len(edges), dtype=torch.float64, device=edges.device
            )
            places = torch.searchsorted(
                cumulative, wanted * cumulative[-1] * (1 - 1e-9)
            )
            edges.copy_(ordered[places])

    def forward(self, numbers: Tensor) -> Tensor:
        """Encode numbers, (n, n_numbers), to (n, n_numbers, width)."""
        lower, upper = self.edges[:, :-1], self.edges[:, 1:]
        numbers = numbers.unsqueeze(2)
        width = upper - lower
        filled = (numbers - lower) / width.masked_fill(width == 0, 1)
        # Where many rows share a value, a bin has no width: it is full or empty.
        filled = torch.where(width == 0, (numbers >= upper).to(filled.dtype), filled)
        first, inner, last = filled.tensor_split([1, _N_BINS - 1], dim=2)
        return torch.cat(
            [first.clamp(max=1), inner.clamp(0, 1), last.clamp(min=0)], dim=2
        )


class Periodic(nn.Module):
    """Sine and cosine of each number at some frequencies, which are learnt [1]_.

    Parameters
    ----------
    n_numbers : int
        Numbers in a row.

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
        angles = 2 * math.pi * numbers.unsqueeze(2) * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=2)


NUMBER_ENCODINGS: dict[str, type[PiecewiseLinear] | type[Periodic]] = {
    "periodic": Periodic,
    "piecewise_linear": PiecewiseLinear,
}
