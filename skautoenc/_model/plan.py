"""Plans: parameters and data, resolved before anything is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._data.rows import Rows, TrainingData
from .._networks.autoencoder import Autoencoder
from .._objectives.objectives import Objective
from .._training.optimizers import Solver

# Takes a network, standardised training rows, how many rows these are and a generator.
Start = Callable[[Any, Rows, float, torch.Generator], None]
# Takes a model, the objective, the training rows and held-out rows, if there are any,
# and returns the corrected model.
Calibrate = Callable[[Any, Any, Rows, Rows | None], Any]
# Takes standardised rows, and their labels if they have any.
MakeTargets = Callable[[Rows, NDArray[np.float64] | None], NDArray[np.float32]]


@dataclass(frozen=True)
class Budget:
    """Duration of training, and schedule of the learning rate.

    Parameters
    ----------
    batch_size : int
        Minimum number of rows in a batch, if there are enough rows.
    max_iter : int
        Maximum number of epochs.
    max_iter_from_pca : int or None
        Maximum number of epochs of a network that starts as PCA, if it is lower.
    learning_rate : str
        Key of `SCHEDULES`: how the learning rate decreases over the epochs.
    """

    batch_size: int
    max_iter: int
    max_iter_from_pca: int | None
    learning_rate: str


@dataclass(frozen=True)
class CodePlan:
    """Maps and measurements of the code that are learnt after training.

    Parameters
    ----------
    features : {"code", "sparse", "stack", "spread", "reconstruction"}
        Output of `transform`.
    whiten : bool, default=False
        Whether the code is whitened.
    is_ordered : bool, default=False
        Whether to measure the variance that each component explains.
    n_columns : int or None, default=None
        If given, features are scaled to the total variance of this many scaled columns.
    measures_variance : bool, default=False
        Whether to measure the variance of each component.
    mixes_prior : bool, default=False
        Whether a mixture is learnt as the prior of the codes.
    """

    features: str
    whiten: bool = False
    is_ordered: bool = False
    n_columns: int | None = None
    measures_variance: bool = False
    mixes_prior: bool = False


@dataclass(frozen=True)
class Plan:
    """All settings of a fit, resolved by an estimator.

    Parameters
    ----------
    build_network : callable
        Returns a network that is not initialised yet.
    learn_side : callable
        Learns the input side from the training data.
    make_objective : callable
        Returns the objective for an input side.
    budget : Budget
        Duration of training, and schedule of the learning rate.
    solver : Solver
        Settings of the optimizer.
    code : CodePlan
        Maps and measurements of the code.
    tol : float
        Smallest decrease of the loss that counts as improvement.
    n_iter_no_change : int
        Number of epochs without improvement after which training stops.
    shuffle : bool
        Whether each epoch shuffles the rows.
    device : str or torch.device
        Device to train on.
    make_targets : callable or None, default=None
        Makes what the objective compares with; None for the rows themselves.
    start : callable or None, default=None
        Chooses first weights in closed form, after the network has drawn its own. They
        are a model of their own: it and the input side are learnt from held-out rows
        too, and the fit keeps it unless training gives the held-out rows a better one.
    far : float or None, default=None
        What a loss that is far above the best one exceeds it by; None for a share of
        it.
    continue_side : callable or None, default=None
        Maps the side of an earlier fit, from which training continues, to a side that
        includes the new data; None keeps the side.
    calibrate : callable or None, default=None
        Corrects the trained model, given the objective, the training rows and the
        held-out rows.
    validates : bool, default=True
        Whether the loss of held-out rows decides when to stop and which weights to
        keep.
    single_row : bool, default=False
        Whether the data may be a single row. Networks then normalise it as in
        evaluation mode.
        are applied.
    """

    build_network: Callable[[], Autoencoder]
    learn_side: Callable[[TrainingData], Any]
    make_objective: Callable[[Any], Objective]
    budget: Budget
    solver: Solver
    code: CodePlan
    tol: float
    n_iter_no_change: int
    shuffle: bool
    device: str | torch.device
    make_targets: MakeTargets | None = None
    start: Start | None = None
    far: float | None = None
    continue_side: Callable[[Any], Any] | None = None
    calibrate: Calibrate | None = None
    validates: bool = True
    single_row: bool = False
