"""What parameters and data resolve to, before anything is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .._data.rows import Rows, TrainingData
from .._networks.autoencoder import Autoencoder
from .._objectives.objectives import Objective

# Takes a network, standardised training rows, how many rows these are and a generator.
Start = Callable[[Any, Rows, float, torch.Generator], None]


@dataclass(frozen=True)
class Budget:
    """For how long to train, and how fast.

    Parameters
    ----------
    batch_size : int
        Minimum number of rows in a batch, if there are as many.
    n_batches : int
        Number of batches of an epoch.
    max_iter : int
        Maximum number of epochs.
    max_iter_from_pca : int or None
        Maximum number of epochs of a network that starts as PCA, if that is less.
    learning_rate : str
        Key of `SCHEDULES`: how the learning rate falls over these epochs.
    """

    batch_size: int
    n_batches: int
    max_iter: int
    max_iter_from_pca: int | None
    learning_rate: str


@dataclass(frozen=True)
class Solver:
    """How weights are updated.

    Parameters
    ----------
    name : {"adam", "sgd"}
        Which solver.
    learning_rate_init : float or "auto"
        Learning rate at the start; the network decides "auto".
    momentum : float
        Momentum of "sgd".
    alpha : float
        Weight decay.
    max_grad_norm : float or None
        Bound on the norm of the gradient.
    """

    name: str
    learning_rate_init: float | Literal["auto"]
    momentum: float
    alpha: float
    max_grad_norm: float | None


@dataclass(frozen=True)
class CodePlan:
    """What is learnt of the code after training.

    Parameters
    ----------
    features : {"code", "sparse", "stack"}
        What `transform` gives.
    whiten : bool, default=False
        Whether the code is whitened.
    is_ordered : bool, default=False
        Whether to measure what each component explains.
    n_columns : int or None, default=None
        If given, features are scaled to the total variance of so many scaled columns.
    measures_variance : bool, default=False
        Whether to measure the variance of each component.
    """

    features: str
    whiten: bool = False
    is_ordered: bool = False
    n_columns: int | None = None
    measures_variance: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a fit does, resolved; an estimator makes it and hands it down.

    Parameters
    ----------
    build_network : callable
        Returns a network that is not initialised yet.
    learn_side : callable
        Learns, from the training data, what lies between rows and network.
    make_objective : callable
        Returns what training minimises, given that.
    budget : Budget
        For how long to train, and how fast.
    solver : Solver
        How weights are updated.
    code : CodePlan
        What is learnt of the code in the end.
    tol : float
        Least fall of the loss that counts as progress.
    n_iter_no_change : int
        Number of epochs without progress after which training stops.
    shuffle : bool
        Whether each epoch visits the rows in a new order.
    device : str or torch.device
        Where to train.
    n_neighbors : int or None, default=None
        Number of neighbours along which targets are smoothed; None for no smoothing.
    n_diffusion_steps : int, default=1
        How often they are.
    start : callable or None, default=None
        Chooses first weights in closed form, after the network has drawn its own. They
        are a model of their own: it and the input side are learnt from held-out rows
        too, and the fit keeps it unless training gives the held-out rows a better one.
    far : float or None, default=None
        What a loss that is far above the best one exceeds it by; None for a share of
        it.
    continue_side : callable or None, default=None
        Takes into the side of an earlier fit, from which training goes on, what the
        new data adds to it, and returns a new side; None adds nothing.
    single_row : bool, default=False
        Whether one row may be all there is. Networks normalise it as they do when they
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
    n_neighbors: int | None = None
    n_diffusion_steps: int = 1
    start: Start | None = None
    far: float | None = None
    continue_side: Callable[[Any], Any] | None = None
    single_row: bool = False
