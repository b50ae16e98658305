"""Mixtures of normal distributions as priors of codes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor

from .._data.rows import Rows
from .._networks.variational import VariationalNetwork
from .._networks.weights import own_array
from .._objectives.objectives import Objective
from .._training.resources import one_thread

Codes = NDArray[np.float64]

_CPU = torch.device("cpu")
# Number of codes from which a mixture is learnt, and maximum number for each row.
_N_CODES, _MOST_DRAWS = 10_000, 3
# One in so many rows chooses the mixture if no rows are held out.
_SHARE = 5
# Maximum number of components, and rows that each needs.
_MOST_COMPONENTS, _ROWS_EACH = 64, 5
# Weight of the standard normal distribution: where there were no codes, a code is as
# likely as under it, but for this factor.
_NORMAL = 0.01
# Numbers of components in a row that are tried without an improvement.
_PATIENCE = 2
# Smallest variance of a component, whose codes have about unit variance.
_LEAST_VARIANCE = 1e-3
# Rows that are encoded at a time.
_BLOCK = 1024
_SEED = 0


@dataclass(frozen=True)
class CodePrior:
    """A mixture of normal distributions.

    Parameters
    ----------
    weights : Tensor of shape (n_mixed,)
        Weights of the components.
    means : Tensor of shape (n_mixed, n_components)
        Their means.
    factors : Tensor of shape (n_mixed, n_components, n_components)
        Their precisions are these matrices times their transposes.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def to(self, device: torch.device) -> CodePrior:
        """Return a copy on another device."""
        return CodePrior(
            self.weights.to(device), self.means.to(device), self.factors.to(device)
        )

    def log_ratio(self, code: Tensor) -> Tensor:
        """Return log-densities of codes, (n,), minus those of the standard normal."""
        # (n_mixed, n, n_components)
        centred = code @ self.factors - (self.means.unsqueeze(1) @ self.factors)
        volume: Tensor = torch.linalg.slogdet(self.factors).logabsdet
        constants = (self.weights.log() + volume).unsqueeze(1)
        terms = constants - 0.5 * centred.square().sum(dim=2)  # (n_mixed, n)
        found: Tensor = terms.logsumexp(dim=0) + 0.5 * code.square().sum(dim=1)
        return found

    def draw(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw codes, (n_samples, n_components), on the CPU."""
        here = self.to(_CPU)
        chosen = torch.multinomial(
            here.weights, n_samples, replacement=True, generator=generator
        )
        code = torch.randn(
            n_samples, here.means.shape[1], generator=generator, dtype=torch.float32
        )
        for number, (mean, factor) in enumerate(
            zip(here.means, here.factors, strict=True)
        ):
            rows = chosen == number
            code[rows] = mean + torch.linalg.solve(factor, code[rows], left=False)
        return code

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the prior."""
        return {
            "prior_weights_": own_array(self.weights),
            "prior_means_": own_array(self.means),
            "prior_precisions_cholesky_": own_array(self.factors),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> CodePrior | None:
        """Build the prior, on the CPU; None for the standard normal distribution."""
        found = [attributes.get(name) for name in NO_PRIOR]
        if found[0] is None:
            return None
        return cls(*(torch.tensor(array, device="cpu") for array in found))


# Attributes of a standard normal prior.
NO_PRIOR: dict[str, None] = dict.fromkeys(
    ("prior_weights_", "prior_means_", "prior_precisions_cholesky_")
)


def learn_prior(
    network: VariationalNetwork,
    objective: Objective,
    rows: Rows,
    held_out: Rows | None,
) -> CodePrior | None:
    """Learn the distribution of codes that are drawn for training rows.

    The codes of held-out rows choose among mixtures of different sizes, with full or
    diagonal covariances.

    Parameters
    ----------
    network : VariationalNetwork
        The network, in evaluation mode.
    objective : Objective
        Draws the rows of a training batch from the probabilities of their values.
    rows : Rows
        Training rows.
    held_out : Rows or None
        Rows that the network was not trained on; None to hold out the codes of some of
        the training rows.

    Returns
    -------
    CodePrior or None
        The mixture, which contains the standard normal distribution; None if held-out
        codes are more likely under that distribution alone, or for fewer than 10 rows.
    """
    codes = _codes(network, objective, rows)  # (n_draws, n, n_components)
    if codes.shape[1] < 2 * _ROWS_EACH:
        return None
    if held_out is not None:
        others = _codes(network, objective, held_out)
    else:
        order = np.random.default_rng(_SEED).permutation(codes.shape[1])
        n_others = max(codes.shape[1] // _SHARE, 1)
        codes, others = codes[:, order[n_others:]], codes[:, order[:n_others]]
    n_rows, width = codes.shape[1:]
    codes, others = codes.reshape(-1, width), others.reshape(-1, width)
    best, highest = None, float(_log_normal(others).mean())
    with (
        threadpool_limits(1),
        config_context(array_api_dispatch=False),
        warnings.catch_warnings(),
    ):
        # Of mixtures that need more iterations, which would change little.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for kind in ("full", "diag"):
            for mixture, score in _growing(kind, codes, others, n_rows):
                if score > highest:
                    best, highest = mixture, score
    return None if best is None else _with_normal(best)


def _growing(
    kind: str, codes: Codes, others: Codes, n_rows: int
) -> Iterator[tuple[GaussianMixture, float]]:
    """Fit mixtures of more and more components, until other codes like them less.

    The number is doubled; two in a row that are no better than the best are the end.
    """
    number, highest, n_worse = 1, -math.inf, 0
    normal = _log_normal(others) + math.log(_NORMAL)
    while number <= min(_MOST_COMPONENTS, n_rows // _ROWS_EACH):
        mixture = GaussianMixture(
            number,
            covariance_type=kind,
            reg_covar=_LEAST_VARIANCE,
            max_iter=50,
            random_state=_SEED,
        ).fit(codes)
        mixed = mixture.score_samples(others) + math.log1p(-_NORMAL)
        score = float(np.logaddexp(mixed, normal).mean())
        yield mixture, score
        n_worse = n_worse + 1 if score <= highest else 0
        if n_worse == _PATIENCE:
            return
        number, highest = 2 * number, max(score, highest)


def _with_normal(mixture: GaussianMixture) -> CodePrior:
    """Return a mixture together with the standard normal distribution."""
    factors = mixture.precisions_cholesky_
    if factors.ndim == 2:
        factors = factors[:, :, np.newaxis] * np.eye(factors.shape[1])
    width = factors.shape[1]
    parts = (
        np.append(mixture.weights_ * (1 - _NORMAL), _NORMAL),
        np.vstack([mixture.means_, np.zeros(width)]),
        np.concatenate([factors, np.eye(width)[np.newaxis]]),
    )
    return CodePrior(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


def _log_normal(codes: Codes) -> NDArray[np.float64]:
    """Return standard normal log-densities of codes, (n,)."""
    squares = np.square(codes).sum(axis=1)
    constant = codes.shape[1] * math.log(2 * math.pi)
    found: NDArray[np.float64] = -0.5 * (squares + constant)
    return found


def _codes(network: VariationalNetwork, objective: Objective, rows: Rows) -> Codes:
    """Draw codes from the posteriors of rows, (n_draws, n, n_components).

    Rows are chosen as often as their weights say.
    """
    chosen = _chosen(rows)
    generator = torch.Generator(rows.device).manual_seed(_SEED)
    means: list[NDArray[np.float32]] = []
    spreads: list[NDArray[np.float32]] = []
    with one_thread(rows.device), torch.no_grad():
        for start in range(0, len(chosen), _BLOCK):
            batch = rows[chosen[start : start + _BLOCK]]
            batch, _, _ = objective.draw(batch, batch, generator)
            mean, log_variance = network.posterior(batch)
            means.append(own_array(mean))
            spreads.append(own_array((0.5 * log_variance).exp()))
    n_draws = min(max(_N_CODES // len(chosen), 1), _MOST_DRAWS)
    shape = n_draws, len(chosen), network.widths[-1]
    noise = np.random.default_rng(_SEED).standard_normal(shape)
    return np.concatenate(means) + np.concatenate(spreads) * noise


def _chosen(rows: Rows) -> NDArray[np.int64]:
    """Choose rows at equal distances, of the sum of the weights if there are any."""
    everything = np.arange(len(rows))
    weights = rows.weights(everything)
    if weights is None:
        return rows.spread(_N_CODES)
    total = np.cumsum(own_array(weights).astype(np.float64))
    n_chosen = min(_N_CODES, max(len(rows), round(total[-1])))
    points = (np.arange(n_chosen) + 0.5) / n_chosen * total[-1]
    found: NDArray[np.int64] = np.searchsorted(total, points).astype(np.int64)
    return found
