"""Contributions of the components of an ordered code."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@torch.no_grad()
def explained_by_each(
    code: Tensor,
    reconstruct: Callable[[Tensor], Tensor],
    target: Tensor,
    sample_weight: Tensor | None,
) -> NDArray[np.float64]:
    """Return the share of the variance that each component explains additionally.

    Parameters
    ----------
    code : Tensor of shape (n, n_components)
        Codes.
    reconstruct : callable
        Maps codes to standardised rows.
    target : Tensor of shape (n, n_features)
        The rows that were encoded, standardised.
    sample_weight : Tensor of shape (n,) or None
        Their weights.

    Returns
    -------
    ndarray of shape (n_components,)
        The shares. Their sum is the share that the whole code explains.
    """

    def error(reconstruction: Tensor | float) -> float:
        errors = (target - reconstruction).square().mean(dim=1).cpu().double()
        if sample_weight is not None:
            errors = errors * sample_weight.cpu()
        return float(errors.mean())

    positions = torch.arange(code.shape[1], device=code.device)
    left = [error(0.0)]
    for n_kept in range(1, code.shape[1] + 1):
        left.append(error(reconstruct(code * (positions < n_kept))))
    shares: NDArray[np.float64] = -np.diff(left) / (left[0] or 1.0)
    return shares
