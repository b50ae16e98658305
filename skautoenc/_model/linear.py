"""Initial weights in closed form, from linear models of maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._data.rows import Rows
from .._networks.layers import principal_axes
from .._networks.variational import VariationalNetwork
from .._preparation.whitening import moments

# Maximum number of columns for which the covariance of all rows is computed.
_WIDEST = 1024
# Number of rows that determine the axes of wider data.
_N_SAMPLE = 4096
# Minimum noise, for rows that lie exactly in a plane.
_LEAST_NOISE = 1e-6
# Maximum number of multiplications for factor analysis, and limits of its iterations.
_WORK = 3e8
_FEWEST, _MOST = 3, 200


@dataclass(frozen=True)
class LinearModel:
    """Normal codes that are mapped linearly, with independent noise of the columns.

    Of all codes with maximum likelihood, these have independent posteriors [1]_.

    Parameters
    ----------
    axes : Tensor of shape (n_axes, n_features), float64
        Orthonormal axes of rows divided by the standard deviations of the noise.
    variances : Tensor of shape (n_axes,), float64
        Variances of these rows along the axes, at least one.
    noise : Tensor of shape (n_features,), float64
        Variances of the noise.
    mean_noise : float
        Variance of the noise of probabilistic PCA.

    References
    ----------
    .. [1] Tipping and Bishop, "Probabilistic principal component analysis", Journal of
       the Royal Statistical Society B 61, 1999.
    """

    axes: Tensor
    variances: Tensor
    noise: Tensor
    mean_noise: float


def learn_linear_model(
    rows: Rows,
    n_axes: int,
    count: float,
    *,
    floor: float,
    by_column: bool,
    generator: torch.Generator,
) -> LinearModel:
    """Return the linear model of maximum likelihood.

    Parameters
    ----------
    rows : Rows
        Standardised training rows, on the CPU.
    n_axes : int
        Number of axes; at least one direction is left for the noise.
    count : float
        Number of rows, including repeated ones: variances are unbiased, as in
        scikit-learn's PCA.
    floor : float
        Minimum noise variance of a column, as a share of the total noise.
    by_column : bool
        Whether columns have noise of different variance (factor analysis), or not
        (probabilistic PCA). Of wide data they do not.
    generator : torch.Generator
        Draws a sample of the data if its covariance is too large.

    Returns
    -------
    LinearModel
        The model.
    """
    n_features = int(rows.matrix.shape[1])
    n_axes = min(n_axes, n_features - 1)
    unbiased = count / max(count - 1, 1)
    if n_features > _WIDEST:
        return _scaled(*_of_sample(rows, n_axes, generator), unbiased)
    _, covariance = moments(rows, lambda batch: batch, n_features)
    variances, columns = torch.linalg.eigh(covariance)
    # Of rows in a plane, some of the plane is left for the noise, which would be none.
    rank = int((variances > _LEAST_NOISE * variances.mean()).sum())
    n_axes = min(n_axes, max(rank - 1, 0))
    axes, found = columns.t().flip(0)[:n_axes], variances.flip(0)[:n_axes]
    model = _scaled(axes, found, float(variances.sum()), unbiased)
    if by_column:
        model = _factor_analysis(covariance * unbiased, model, floor)
    return model


def _of_sample(
    rows: Rows, n_axes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Return axes of a sample, variances along them, and the total variance."""
    sample, weights = rows.sample(_N_SAMPLE)
    if weights is not None:
        sample = sample * (weights / weights.mean()).sqrt().unsqueeze(1)
    axes = principal_axes(sample, n_axes, generator)
    variances = (sample @ axes.t()).double().square().mean(dim=0)
    total = float(sample.double().square().sum(dim=1).mean())
    return axes.double(), variances, total


def _scaled(
    axes: Tensor, variances: Tensor, total: float, unbiased: float
) -> LinearModel:
    """Return probabilistic PCA from principal axes of the covariance."""
    n_axes, n_features = axes.shape
    variances = variances.clamp(min=0) * unbiased
    rest = total * unbiased - float(variances.sum())
    noise = max(rest / (n_features - n_axes), _LEAST_NOISE)
    by_column = torch.full((n_features,), noise, dtype=torch.float64, device="cpu")
    return LinearModel(
        _signed(axes), (variances / noise).clamp(min=1), by_column, noise
    )


def _factor_analysis(
    covariance: Tensor, model: LinearModel, floor: float
) -> LinearModel:
    """Add separate noise per column, starting from probabilistic PCA [1]_.

    References
    ----------
    .. [1] Barber, "Bayesian reasoning and machine learning", algorithm 21.1, 2012.
    """
    n_axes, n_features = model.axes.shape
    variances, mean_noise = covariance.diagonal(), model.mean_noise
    # Above the floor, so that training can lower it a little.
    lowest = 2 * floor * mean_noise
    n_iter = int(min(max(_WORK / n_features**3, _FEWEST), _MOST))
    for _ in range(n_iter):
        signal = (model.axes.square() * (model.variances - 1).unsqueeze(1)).sum(dim=0)
        noise = (variances - model.noise * signal).clamp(min=lowest)
        spread = noise.sqrt()
        found, columns = torch.linalg.eigh(covariance / torch.outer(spread, spread))
        axes = columns.t().flip(0)[:n_axes]
        found = found.flip(0)[:n_axes].clamp(min=1)
        model = LinearModel(axes, found, noise, mean_noise)
    return replace(model, axes=_signed(model.axes))


def _signed(axes: Tensor) -> Tensor:
    """Choose the signs of axes by their largest entries, as scikit-learn does."""
    largest = axes.abs().argmax(dim=1, keepdim=True)
    return axes * axes.gather(1, largest).sign()


def start_at(network: VariationalNetwork, model: LinearModel) -> None:
    """Set a network to a linear model and its exact posterior.

    Components beyond the axes of the model have no effect at first. The network keeps
    the model if it can.
    """
    n_components, n_features = network.widths[-1], network.widths[0]
    n_axes, spread = len(model.axes), model.noise.sqrt()
    signal = (model.variances - 1).sqrt().unsqueeze(1)
    encoder = torch.zeros(n_components, n_features, dtype=torch.float64, device="cpu")
    decoder, log_variance = torch.zeros_like(encoder), torch.zeros_like(encoder[:, 0])
    encoder[:n_axes] = model.axes / spread * signal / model.variances.unsqueeze(1)
    decoder[:n_axes] = model.axes * spread * signal
    log_variance[:n_axes] = -model.variances.log()
    network.start_linear(encoder.float(), log_variance.float(), decoder.float())
    if network.linear is not None:
        network.linear.set(model.axes, model.variances, model.noise)
