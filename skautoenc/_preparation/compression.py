"""Linear maps of features, and regressions from the result back to the input."""

from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Compression:
    """A linear map of features, and a linear map from its result to targets.

    Parameters
    ----------
    mean : Tensor of shape (n_features,) or None
        Subtracted from the features.
    forward : Tensor of shape (n_features, n_components) or None
        Matrix that the centred features are multiplied by. Both are None if features
        are not changed.
    backward : Tensor of shape (n_components, n_targets)
        Matrix that the result is multiplied by to predict the targets.
    intercept : Tensor of shape (n_targets,)
        Added to the prediction.
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
) -> tuple[Compression, float]:
    """Whiten features, or keep their principal components, or both.

    Parameters
    ----------
    features : Tensor of shape (n, n_features), float32
        Features to map.
    targets : Tensor of shape (n, n_targets)
        Targets that a ridge regression predicts from the mapped features.
    weights : Tensor of shape (n,), float64
        Weights of the rows.
    n_components : int or None
        Number of principal components to keep. None keeps all features and whitens them
        by a triangular map.
    whiten : bool
        Whether to divide by standard deviations.
    regularization : float
        Added to the variance of each direction, as a share of the mean variance. It is
        also the penalty of the regression.

    Returns
    -------
    compression : Compression
        In float32.
    variance : float
        Mean variance of the columns of its result.
    """
    shares = (weights / weights.sum()).unsqueeze(1)  # (n, 1)
    mean = (shares * features).sum(dim=0)  # (n_features,)
    covariance = _covariance(features, mean, shares)
    forward, scales = _whitening(covariance, n_components, regularization)
    whitened = (features - mean.float()) @ forward.float()  # (n, n_components)
    intercept = (shares * targets).sum(dim=0)  # (n_targets,)
    # The cross-covariance of the targets with features that are whitened by a
    # regularised covariance is the ridge regression with the same penalty.
    backward = (whitened.t() @ ((targets - intercept) * shares).float()).double()
    if not whiten and n_components is None:
        backward = forward @ backward
        intercept = intercept - mean @ backward
        unchanged = Compression(None, None, backward.float(), intercept.float())
        return unchanged, float(covariance.diagonal().mean())
    variances = (shares.float().t() @ whitened.square()).squeeze(0).double()
    if not whiten:
        forward, backward = forward * scales, backward / scales.unsqueeze(1)
        variances = variances * scales.square()
    compression = Compression(
        mean.float(), forward.float().contiguous(), backward.float(), intercept.float()
    )
    return compression, float(variances.mean())


def mean_square(features: Tensor, weights: Tensor) -> float:
    """Return the mean over columns of the weighted mean squares.

    Parameters
    ----------
    features : Tensor of shape (n, n_features), float32
        Rows.
    weights : Tensor of shape (n,), float64
        Weights of the rows.
    """
    shares = (weights / weights.sum()).float()
    return float((shares @ features.square()).double().mean())


def _covariance(features: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device="cpu")
    for block, share in zip(
        torch.split(features, _BLOCK_ROWS),
        torch.split(shares, _BLOCK_ROWS),
        strict=True,
    ):
        # Single precision is faster, and accurate enough for products of few rows.
        centred = ((block - mean) * share.sqrt()).float()
        total += centred.t() @ centred
    return total


def _whitening(
    covariance: Tensor, n_components: int | None, regularization: float
) -> tuple[Tensor, Tensor]:
    """Return the whitening matrix, one column per component, and the axes' divisors."""
    # Constant features have no variance to set the floor by.
    floor = regularization * float(covariance.diagonal().mean()) or 1.0
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device="cpu")
    if n_components is None:
        root = torch.linalg.cholesky(covariance + floor * identity)
        forward = torch.linalg.solve_triangular(root, identity, upper=False).t()
        return forward, torch.ones_like(covariance[0])
    variances, axes = torch.linalg.eigh(covariance)
    axes = axes.flip(1)[:, :n_components]  # (n_features, n_components)
    scales = (variances.flip(0)[:n_components].clamp(min=0) + floor).sqrt()
    return axes / scales, scales
