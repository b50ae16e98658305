"""Densities by variational autoencoders: what does not depend on the network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._data.array_api import as_given
from .._data.rows import Rows, TrainingData
from .._data.validation import (
    check_range,
    check_weights,
    check_whole,
    refuse,
    weighted_mean,
)
from .._model.density import (
    draw,
    likelihood_of,
    log_likelihood,
    noise_variance,
    posterior,
)
from .._model.learn import Learnt
from .._model.linear import learn_linear_model, start_at
from .._model.matrix import MatrixSide
from .._model.model import Model
from .._model.plan import Budget, Plan
from .._model.prior import NO_PRIOR
from .._networks.layers import ACTIVATIONS
from .._networks.variational import VariationalNetwork
from .._objectives.likelihoods import LIKELIHOODS
from .._objectives.objectives import Objective
from .._objectives.variational import VariationalObjective
from .._persistence.schemas import MATRIX_AUTOENCODER, MIXTURE, is_a, is_among
from .._training.seeds import draw_seed
from .._warnings import warn
from .matrix import COUNT, MatrixAutoencoder, Parts

# The likelihood is in place of a loss, and of rows as they are.
_NOT_OFFERED = {"loss", "corruption", "corruption_rate", "normalize_rows"}
# Rows from which some are held out unless the user decides, and epochs that fewer
# rows are trained for: they would soon be overfit.
_MANY_ROWS = 60
_FEW_EPOCHS = 20
# Variance of its posterior means above which a unit is in use (Burda et al.).
_ACTIVE = 0.01
# Smallest overdispersion of counts.
_LEAST_EXCESS = 1e-3
# Nats a row by which a training loss may end above the best one.
_FAR = 1.0
# Steps of a fit, if the data does not make more of an epoch.
_N_STEPS = 3000


# What the parameters may be.
CONSTRAINTS: dict[str, list[Any]] = {
    **{
        name: constraints
        for name, constraints in MatrixAutoencoder._parameter_constraints.items()
        if name not in _NOT_OFFERED
    },
    "n_components": COUNT,
    "likelihood": [StrOptions({"auto", *LIKELIHOODS})],
    "offset": [StrOptions({"total"}), None],
    "binarize": ["boolean"],
    "covariance_type": [StrOptions({"spherical", "diag", "heteroscedastic"})],
    "reg_covar": [Interval(Real, 0, 1, closed="neither")],
    "prior": [StrOptions({"normal", "mixture"})],
    "kl_weight": [Interval(Real, 0, None, closed="left")],
    "linear_weight": [Interval(Real, 0, 1, closed="left")],
    "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "linear_skip": ["boolean"],
    "max_iter": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
    "n_iter_no_change": COUNT,
    "early_stopping": ["boolean", StrOptions({"auto"})],
}
FITTED_SCHEMA = {
    **MATRIX_AUTOENCODER,
    "likelihood_": is_among(*LIKELIHOODS),
    "n_active_units_": is_a(int),
    **MIXTURE,
}


class DensityAutoencoder(MatrixAutoencoder):
    """A variational autoencoder of rows of numbers.

    A subclass defines the network that its parameters describe, in `_make_network`.
    """

    likelihood: Any
    offset: Any
    binarize: Any
    covariance_type: Any
    reg_covar: Any
    prior: Any
    kl_weight: Any
    linear_weight: Any
    n_importance_samples: Any
    linear_skip: Any

    likelihood_: str
    n_active_units_: int
    prior_weights_: NDArray[np.float32] | None
    prior_means_: NDArray[np.float32] | None
    prior_precisions_cholesky_: NDArray[np.float32] | None

    @abstractmethod
    def _make_network(
        self, n_features: int, n_components: int, described: dict[str, Any]
    ) -> VariationalNetwork:
        """Build the network for rows of `n_features`, without initialising it.

        Parameters
        ----------
        n_features : int
            Width of a row.
        n_components : int
            Width of the code.
        described : dict
            Arguments of the network that all subclasses have.
        """

    def _validate_params(self) -> None:
        super()._validate_params()
        if self.binarize and self.likelihood not in ("auto", "bernoulli"):
            refuse(self, "likelihood", "'auto' or 'bernoulli' for binarize=True")

    def _holds_out(self, data: TrainingData) -> bool:
        if self.early_stopping == "auto":
            return self.max_iter != 0 and len(data) >= _MANY_ROWS
        return bool(self.early_stopping) and self.max_iter != 0

    def _budget(self, data: TrainingData, *, in_parts: bool) -> Budget:
        budget = super()._budget(data, in_parts=in_parts)
        if in_parts or self.max_iter != "auto" or len(data) >= _MANY_ROWS:
            return budget
        return replace(budget, max_iter=_FEW_EPOCHS)

    def _default_max_iter(self, n_batches: int, n_inputs: int) -> int:
        return min(max(20, -(-_N_STEPS // n_batches)), 300)

    def _build_network(
        self,
        n_features: int,
        likelihood: str = "gaussian",
        *,
        keeps_start: bool = False,
    ) -> VariationalNetwork:
        n_components = self.n_components
        if isinstance(n_components, str):
            n_components = min(max(n_features // 2, 1), 32)
        is_gaussian = likelihood == "gaussian"
        is_single = is_gaussian and self.covariance_type == "spherical"
        n_dispersions = n_features if LIKELIHOODS[likelihood].is_dispersed else 0
        described = {
            "n_dispersions": 1 if is_single else n_dispersions,
            "varies": is_gaussian and self.covariance_type == "heteroscedastic",
            "likelihood": likelihood,
            "has_offset": self.offset is not None,
            "keeps_start": keeps_start,
        }
        return self._make_network(n_features, int(n_components), described)

    def _plan(
        self,
        data: TrainingData,
        form: float | None,
        before: Model[MatrixSide] | None,
        *,
        in_parts: bool,
    ) -> Plan:
        plan = super()._plan(data, form, before, in_parts=in_parts)
        return replace(
            plan,
            start=partial(_start, floor=float(self.reg_covar)),
            far=_FAR,
            code=replace(
                plan.code,
                measures_variance=True,
                mixes_prior=self.prior == "mixture" and not in_parts,
            ),
        )

    def _resolve_parts(
        self,
        data: TrainingData,
        before: Model[MatrixSide] | None,
        *,
        in_parts: bool,
    ) -> Parts:
        name = _resolve_likelihood(
            self.likelihood,
            data,
            before,
            binarizes=self.binarize,
            in_parts=in_parts,
        )
        self._check_training_data(data, name)
        return Parts(
            LIKELIHOODS[name].loss_name,
            partial(
                self._build_network,
                data.matrix.shape[1],
                name,
                keeps_start=_keeps_start(name, before),
            ),
            partial(self._make_objective, likelihood=name),
        )

    def _check_training_data(self, data: TrainingData, likelihood: str) -> None:
        """Make sure that the data is what the likelihood is for."""
        names = getattr(self, "feature_names_in_", None)
        if self.binarize and likelihood == "bernoulli":
            otherwise = "set binarize=False and likelihood='gaussian'"
            check_range(data, 0, 1, "binarize=True", otherwise=otherwise, names=names)
        else:
            otherwise = "Use likelihood='gaussian' for other numbers."
            if likelihood == "bernoulli":
                otherwise += " binarize=True takes shares between 0 and 1."
            _check_support(data, likelihood, otherwise, names)

    def _make_objective(
        self, side: MatrixSide, likelihood: str = "gaussian"
    ) -> Objective:
        config = {"likelihood": likelihood, "has_offset": self.offset is not None}
        return VariationalObjective(
            likelihood_of(side, config),
            kl_weight=float(self.kl_weight),
            binarizes=self.binarize and likelihood == "bernoulli",
        )

    def _attributes_of(self, learnt: Learnt) -> dict[str, Any]:
        config = learnt.model.network.config
        assert learnt.code_variance is not None
        return {
            "likelihood_": config["likelihood"],
            "n_active_units_": int((learnt.code_variance > _ACTIVE).sum()),
            **NO_PRIOR,
            **learnt.model.code.attributes(),
        }

    # What the public methods do

    def _fit_density(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> None:
        self._fit(X, y, sample_weight)
        if self.n_iter_ and not self.n_active_units_:
            _report_collapse(self.kl_weight)

    def _posterior(self, X: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        check_is_fitted(self)
        return posterior(self._model, self._read_rows(X))

    def _sample(self, n_samples: int, random_state: Any, *, add_noise: bool) -> Any:
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        seed = draw_seed(check_random_state(random_state))
        rows = draw(
            self._model,
            int(n_samples),
            seed,
            add_noise=add_noise,
            linear_weight=self._linear_weight,
        )
        return self._as_frame(rows, rows)

    def _log_likelihoods(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        found: NDArray[np.float64] = as_given(
            self._log_likelihood(self._read_rows(X)), X
        )
        return found

    def _mean_log_likelihood(self, X: Any, sample_weight: ArrayLike | None) -> float:
        check_is_fitted(self)
        matrix = self._read_rows(X)
        weights = check_weights(sample_weight, matrix)
        return float(weighted_mean(self._log_likelihood(matrix), weights))

    def _log_likelihood(self, matrix: Any) -> NDArray[np.float64]:
        otherwise = "Fit with likelihood='gaussian' for other numbers."
        if self.likelihood_ == "bernoulli":
            otherwise += (
                " Zeros and ones are drawn from shares by "
                "numpy.random.default_rng().random(X.shape) < X."
            )
        names = getattr(self, "feature_names_in_", None)
        _check_support(TrainingData(matrix), self.likelihood_, otherwise, names)
        return log_likelihood(
            self._model,
            matrix,
            int(self.n_importance_samples),
            linear_weight=self._linear_weight,
        )

    @property
    def _linear_weight(self) -> float:
        """Weight of the linear model; before the first epoch the network is one."""
        return float(self.linear_weight) if self.n_iter_ else 0.0

    @property
    def noise_variance_(self) -> Any:
        """Variance of the noise, in the squared units of the data."""
        if self.likelihood_ != "gaussian":
            raise AttributeError(
                f"likelihood_ is {self.likelihood_!r}, only 'gaussian' has a "
                "noise_variance_."
            )
        return noise_variance(self._model)


def _resolve_likelihood(
    asked: str,
    data: TrainingData,
    before: Model[MatrixSide] | None,
    *,
    binarizes: bool,
    in_parts: bool,
) -> str:
    """Choose the likelihood for the data."""
    if before is not None:
        name = str(before.network.config["likelihood"])
        if asked not in ("auto", name):
            raise ValueError(
                f"Training cannot go on with likelihood={asked!r}, it "
                f"began with {name!r}. Use fit with warm_start=False to start anew."
            )
        return name
    if binarizes:
        return "bernoulli"
    if asked != "auto":
        return asked
    # The first part of a stream need not be like the others.
    return "bernoulli" if not in_parts and data.is_binary() else "gaussian"


def _check_support(
    data: TrainingData, likelihood: str, otherwise: str, names: NDArray[Any] | None
) -> None:
    """Raise a ValueError if a value has no probability: the bound would be wrong."""
    if LIKELIHOODS[likelihood].is_discrete:
        highest = 1 if likelihood == "bernoulli" else np.inf
        check_whole(data, highest, likelihood, otherwise=otherwise, names=names)


def _keeps_start(likelihood: str, before: Model[MatrixSide] | None) -> bool:
    """Whether the network keeps its linear model: one of an older version does not."""
    if before is not None:
        return bool(before.network.config["keeps_start"])
    return likelihood == "gaussian"


def _report_collapse(kl_weight: float) -> None:
    warn(
        "The code is not used: the posterior means of all components are about the "
        "same for all rows (posterior collapse). The columns may be independent of "
        f"each other. Otherwise lower kl_weight (now {kl_weight:g}) or "
        "learning_rate_init, or train for more epochs.",
        ConvergenceWarning,
    )


def _start(
    network: VariationalNetwork,
    rows: Rows,
    count: float,
    generator: torch.Generator,
    *,
    floor: float,
) -> None:
    """Start at probabilistic PCA, or at factor analysis."""
    config = network.config
    is_gaussian = config["likelihood"] == "gaussian"
    by_column = is_gaussian and config["n_dispersions"] > 1 and not config["varies"]
    model = learn_linear_model(
        rows,
        network.widths[-1],
        count,
        floor=floor,
        by_column=by_column,
        generator=generator,
    )
    start_at(network, model)
    if is_gaussian:
        noise = model.noise if by_column else model.noise[:1]
        network.set_dispersion(noise, floor * model.mean_noise)
    else:
        network.set_dispersion(torch.ones_like(network.log_dispersion), _LEAST_EXCESS)
