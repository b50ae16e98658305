"""Posteriors, likelihoods and samples of variational models."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.rows import RowMap
from .._networks.variational import VariationalNetwork
from .._objectives.likelihoods import LIKELIHOODS, Likelihood
from .._objectives.variational import Noise, importance_bound
from .._training.resources import one_thread
from .matrix import MatrixSide
from .model import Model

_CPU = torch.device("cpu")

VariationalModel = Model[MatrixSide]


def likelihood_of(side: MatrixSide, config: Mapping[str, Any]) -> Likelihood:
    """Return the likelihood for a network's `config` and the rows of a side."""
    kind, has_offset = LIKELIHOODS[config["likelihood"]], config["has_offset"]
    return kind(side.loss, side.scale, has_offset=has_offset)


def posterior(
    model: VariationalModel, matrix: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return means and standard deviations of codes, both (n_samples, n_components).

    Parameters
    ----------
    model : Model
        The model.
    matrix : ndarray or CSR matrix of shape (n_samples, n_features)
        Validated rows.
    """
    here = model.where_the_network_is()
    network = _network_of(here)

    def read(batch: Tensor) -> Tensor:
        mean, log_variance = network.posterior(here.side.prepare(batch))
        return torch.cat([mean, (0.5 * log_variance).exp()], dim=1)

    found, _ = here.apply("posterior", read, matrix, 2 * here.n_components)
    means, deviations = np.split(found, 2, axis=1)
    return np.ascontiguousarray(means), np.ascontiguousarray(deviations)


def log_likelihood(
    model: VariationalModel, matrix: Any, n_draws: int, linear_weight: float = 0.0
) -> NDArray[np.float64]:
    """Return a bound of each row's log-likelihood, in nats and in the data's units.

    Parameters
    ----------
    model : Model
        The model.
    matrix : ndarray or CSR matrix of shape (n_samples, n_features)
        Validated rows.
    n_draws : int
        Number of codes that are drawn for each row.
    linear_weight : float, default=0.0
        Weight of the linear model in the density, if the network keeps it.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Never NaN; minus infinity where float64 overflows.
    """
    here = model.where_the_network_is()
    network = _network_of(here)
    likelihood = likelihood_of(here.side, network.config)
    prior = here.code.prior
    log_ratio = None if prior is None else prior.log_ratio
    n_features = here.side.width

    def bound_by(n_draws: int) -> RowMap:
        noise = Noise(n_draws, n_features, here.n_components, here.side.device)

        def bound(batch: Tensor) -> Tensor:
            found = importance_bound(network, likelihood, batch, noise, log_ratio)
            return _with_linear(network, found, batch, linear_weight).unsqueeze(1)

        return bound

    # Further draws repeat the operations of two.
    found, divisors = here.apply(
        "log-likelihood", bound_by(n_draws), matrix, 1, trial=bound_by(2)
    )
    values: NDArray[np.float64] = found.ravel().astype(np.float64)
    if divisors is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            # Far from all rows, the density falls as that of a normal distribution.
            values *= divisors**2
    values[np.isnan(values)] = -np.inf
    return values + likelihood.unit(n_features)


def _with_linear(
    network: VariationalNetwork, bound: Tensor, batch: Tensor, weight: float
) -> Tensor:
    """Return the log-density of a mixture of the network and its linear model, (n,)."""
    if network.linear is None or not weight:
        return bound
    # Rows that are too far for the network may be usual for the linear model.
    bound = bound.masked_fill(bound.isnan(), -torch.inf)
    return torch.logaddexp(
        bound + math.log1p(-weight),
        network.linear.log_density(batch) + math.log(weight),
    )


def draw(
    model: VariationalModel,
    n_samples: int,
    seed: int,
    *,
    add_noise: bool,
    linear_weight: float = 0.0,
) -> NDArray[Any]:
    """Draw rows, (n_samples, n_features), in the units of the data.

    Parameters
    ----------
    model : Model
        The model.
    n_samples : int
        Number of rows.
    seed : int
        Seed of codes and noise.
    add_noise : bool
        Whether noise is added to the decoded codes.
    linear_weight : float, default=0.0
        Share of the rows that are drawn from the linear model, if there is noise and
        the network keeps that model.
    """
    side, width = model.side.to(_CPU), model.n_components
    generator = torch.Generator("cpu").manual_seed(seed)
    if model.code.prior is None:
        code = torch.randn(n_samples, width, generator=generator, dtype=torch.float32)
    else:
        code = model.code.prior.draw(n_samples, generator)
    if not add_noise:
        return side.restore(model.decode(code.numpy()))
    likelihood = likelihood_of(side, model.network.config)
    outputs, dispersion = _decoded(model, code)
    with one_thread(_CPU):
        rows = likelihood.draw(outputs, dispersion, generator)
        _replace_by_linear(_network_of(model), rows, linear_weight, generator)
    restored = side.restore(rows.numpy())
    return np.rint(restored) if likelihood.is_discrete else restored


def _replace_by_linear(
    network: VariationalNetwork,
    rows: Tensor,
    share: float,
    generator: torch.Generator,
) -> None:
    """Replace a share of drawn rows, (n, n_features), by draws of the linear model."""
    if network.linear is None or not share:
        return
    uniform = torch.rand(len(rows), generator=generator, dtype=torch.float32)
    chosen = uniform < share
    linear = copy.deepcopy(network.linear).to(_CPU)
    rows[chosen] = linear.draw(int(chosen.sum()), generator)


def noise_variance(model: VariationalModel) -> float | NDArray[np.float64]:
    """Return the variance of the noise in the data's units, by column or of all."""
    dispersion = _network_of(model).dispersion.detach().cpu().double().numpy()
    variances: NDArray[np.float64] = dispersion * model.side.scale**2
    return float(variances[0]) if len(variances) == 1 else variances


def _decoded(model: VariationalModel, code: Tensor) -> tuple[Tensor, Tensor]:
    """Return the network's outputs and dispersions for codes, on the CPU."""
    here = model.where_the_network_is()
    network, width = _network_of(here), here.side.width

    def decode(batch: Tensor) -> Tensor:
        output, dispersion = network.decode_dispersed(batch)
        return torch.cat([output, dispersion.expand(len(batch), -1)], dim=1)

    width += len(network.log_dispersion)
    source = code.to(here.side.device)
    found = torch.from_numpy(here.blockwise.apply("dispersed", decode, source, width))
    return found[:, : here.side.width], found[:, here.side.width :]


def _network_of(model: VariationalModel) -> VariationalNetwork:
    assert isinstance(model.network, VariationalNetwork)
    return model.network
