"""The dense autoencoder."""

from collections.abc import Sequence
from math import ceil
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from ._base import BaseAutoencoder
from .corruption import MaskingNoise
from .networks import ACTIVATIONS, DenseAutoencoder
from .objectives import Objective, ReconstructionObjective
from .training import Budget, number_of_batches


class AutoencoderTransformer(BaseAutoencoder):
    """TODO."""

    _parameter_constraints = {
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "sparsity": [StrOptions({"auto", "lifetime"}), None],
        "sparsity_rate": [Interval(Real, 0, 1, closed="neither")],
        "tied_weights": ["boolean"],
        "normalization": [StrOptions({"batch", "layer"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "corruption_rate": [Interval(Real, 0, 1, closed="left")],
        **BaseAutoencoder._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto",
        activation: str = "relu",
        sparsity: Literal["auto", "lifetime"] | None = "auto",
        sparsity_rate: float = 0.05,
        tied_weights: bool = True,
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        corruption_rate: float = 0.0,
        solver: Literal["adam", "sgd"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "linear", "cosine"] = "cosine",
        learning_rate_init: float | Literal["auto"] = "auto",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        max_iter: int | Literal["auto"] = "auto",
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.sparsity = sparsity
        self.sparsity_rate = sparsity_rate
        self.tied_weights = tied_weights
        self.normalization = normalization
        self.dropout = dropout
        self.corruption_rate = corruption_rate
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_grad_norm = max_grad_norm
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _build_network(self, n_features: int) -> DenseAutoencoder:
        n_components = self.n_components
        if n_components == "auto":
            n_components = min(8 * n_features, 1024)
        sparsity = self.sparsity
        if sparsity == "auto":
            sparsity = "lifetime" if n_components >= n_features else None
        hidden = self.hidden_layer_sizes
        if isinstance(hidden, str):
            hidden = () if sparsity else (256, 128)
        return DenseAutoencoder(
            n_features=int(n_features),
            n_components=int(n_components),
            hidden_layer_sizes=self._check_hidden(hidden),
            activation=self.activation,
            sparsity=sparsity,
            sparsity_rate=float(self.sparsity_rate),
            tied_weights=bool(self.tied_weights),
            normalization=self.normalization,
            dropout=float(self.dropout),
        )

    def _check_hidden(self, sizes: Any) -> tuple[int, ...]:
        if not all(isinstance(s, Integral) and s > 0 for s in sizes):
            raise ValueError("TODO")
        return tuple(int(s) for s in sizes)

    def _build_objective(self) -> Objective:
        if self.corruption_rate > 0:
            return ReconstructionObjective(MaskingNoise(self.corruption_rate))
        return ReconstructionObjective()

    def _resolve_budget(self, n_samples: int, network: DenseAutoencoder) -> Budget:
        batch_size = 128 if self.batch_size == "auto" else self.batch_size
        max_iter = self.max_iter
        if max_iter == "auto":
            n_batches = number_of_batches(n_samples, batch_size)
            max_iter = int(np.clip(ceil(500 / n_batches), 10, 100))
        learning_rate_init = self.learning_rate_init
        if learning_rate_init == "auto":
            learning_rate_init = 1e-2
        return Budget(batch_size, max_iter, learning_rate_init)
