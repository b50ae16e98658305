"""Parameters of the training engine: defaults, constraints, resolution."""

from __future__ import annotations

import math
import os
from functools import partial
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from .._data.rows import TrainingData
from .._model.plan import Budget
from .._objectives.corruption import CORRUPTIONS
from .._objectives.losses import LOSSES
from .._objectives.objectives import Change
from .._training.batches import number_of_batches
from .._training.optimizers import Solver
from .._training.schedule import SCHEDULES

# A step on wide sparse rows costs as much as on dense ones, far more than a whole
# truncated SVD, and further epochs overfit words that occur in a few rows only.
_WIDE_SPARSE_EPOCHS = 3


class EngineParameters:
    """Parameters that every autoencoder may offer.

    A subclass takes some of them as parameters of its own. The others keep the values
    that are set here.
    """

    features: Any = "code"
    whiten_code: Any = False
    loss: Any = "auto"
    corruption: Any = "masking"
    corruption_rate: Any = 0.0
    solver: Any = "adam"
    alpha: Any = 0.0
    batch_size: Any = "auto"
    learning_rate: Any = "cosine"
    learning_rate_init: Any = "auto"
    momentum: Any = 0.9
    max_grad_norm: Any = None
    max_iter: Any = "auto"
    shuffle: Any = True
    tol: Any = 1e-4
    n_iter_no_change: Any = 10
    early_stopping: Any = False
    validation_fraction: Any = 0.1
    warm_start: Any = False
    checkpoint: Any = None
    device: Any = "auto"
    random_state: Any = None
    verbose: Any = False

    _parameter_constraints: dict[str, list[Any]] = {
        "loss": [StrOptions({"auto", *LOSSES})],
        "corruption": [StrOptions(set(CORRUPTIONS))],
        "corruption_rate": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"adam", "sgd"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "learning_rate_init": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "max_grad_norm": [None, Interval(Real, 0, None, closed="neither")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _budget(self, data: TrainingData, *, in_parts: bool) -> Budget:
        """Resolve duration and schedule of training for these rows."""
        is_auto = self.max_iter == "auto"
        batch_size = 128 if self.batch_size == "auto" else int(self.batch_size)
        if in_parts:
            # The length of a stream is unknown.
            return Budget(batch_size, 1, None, "constant")
        if is_auto:
            n_batches = number_of_batches(data.n_total, batch_size)
            max_iter = self._default_max_iter(n_batches, data.shape[1])
        else:
            max_iter = int(self.max_iter)
        return Budget(
            batch_size=batch_size,
            max_iter=max_iter,
            max_iter_from_pca=(
                _WIDE_SPARSE_EPOCHS if is_auto and data.is_wide_sparse else None
            ),
            learning_rate=self.learning_rate,
        )

    def _default_max_iter(self, n_batches: int, n_inputs: int) -> int:
        """Return the maximum number of epochs, of `n_batches` steps each."""
        return min(max(5, math.ceil(1000 / n_batches)), 50)

    def _solver(self) -> Solver:
        rate = self.learning_rate_init
        return Solver(
            self.solver,
            rate if rate == "auto" else float(rate),
            self.momentum,
            self.alpha,
            self.max_grad_norm,
        )

    def _corruption(self) -> Change | None:
        """Return the function that corrupts a batch, or None for no corruption."""
        if self.corruption_rate == 0:
            return None
        return partial(CORRUPTIONS[self.corruption], rate=self.corruption_rate)
