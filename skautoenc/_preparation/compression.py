"""Linear maps of features, and the regressions back from what they give."""

from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Compression:
    """A linear map of features, and one from what that gives to targets.

    Parameters
    ----------
    mean : Tensor of shape (n_features,) or None
        Subtracted from the features.
    forward : Tensor of shape (n_features, n_components) or None
        What they are then multiplied by; both are None where features stay as they are.
    backward : Tensor of shape (n_components, n_targets)
        What the result is multiplied by to predict the targets.
    intercept : Tensor of shape (n_targets,)
        Added to that.
    """

    mean: Tensor | None
    forward: Tensor | None
    backward: Tensor
    intercept: Tensor


def learn_compression(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    n_components: int | None,
    whiten: bool,
    regularization: float,
) -> Compression:
    """Whiten features, or keep their principal components, or both.

    Parameters
    ----------
    features : Tensor of shape (n, n_features), float32
        What is mapped.
    targets : Tensor of shape (n, n_targets)
        What is predicted on the way back, by a ridge regression.
    weights : Tensor of shape (n,), float64
        Weights of the rows.
    n_components : int or None
        Number of principal components to keep; None for all features, which are then
        whitened by a triangular map.
    whiten : bool
        Whether to divide by standard deviations.
    regularization : float
        Added to the variance of each direction, as a share of their mean; also the
        penalty of the regression.

    Returns
    -------
    Compression
        In float32.
    """
    shares = (weights / weights.sum()).unsqueeze(1)
    mean = (shares * features).sum(dim=0)
    covariance = _covariance(features, mean, shares)
    forward, scales = _whitening(covariance, n_components, regularization)
    whitened = (features - mean.float()) @ forward.float()
    intercept = (shares * targets).sum(dim=0)
    # Between what is whitened by a regularised covariance and the targets, the
    # covariance is the regression with that as its ridge penalty.
    backward = (whitened.t() @ ((targets - intercept) * shares).float()).double()
    if not whiten and n_components is None:
        backward = forward @ backward
        intercept = intercept - mean @ backward
        return Compression(None, None, backward.float(), intercept.float())
    if not whiten:
        forward, backward = forward * scales, backward / scales.unsqueeze(1)
    return Compression(
        mean.float(), forward.float().contiguous(), backward.float(), intercept.float()
    )


def _covariance(features: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device="cpu")
    for block, share in zip(
        torch.split(features, _BLOCK_ROWS),
        torch.split(shares, _BLOCK_ROWS),
        strict=True,
    ):
        # Products in single precision, for speed, of few enough rows to lose nothing.
        centred = ((block - mean) * share.sqrt()).float()
        total += centred.t() @ centred
    return total


def _whitening(
    covariance: Tensor, n_components: int | None, regularization: float
) -> tuple[Tensor, Tensor]:
    """Return what whitens, one column a component, and what its axes are divided by."""
    # Of features that are constant the variance is no measure.
    floor = regularization * float(covariance.diagonal().mean()) or 1.0
    same = torch.eye(len(covariance), dtype=covariance.dtype, device="cpu")
    if n_components is None:
        root = torch.linalg.cholesky(covariance + floor * same)
        forward = torch.linalg.solve_triangular(root, same, upper=False).t()
        return forward, torch.ones_like(covariance[0])
    variances, axes = torch.linalg.eigh(covariance)
    axes = axes.flip(1)[:, :n_components]
    scales = (variances.flip(0)[:n_components].clamp(min=0) + floor).sqrt()
    return axes / scales, scales
