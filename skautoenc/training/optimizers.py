"""Solvers and learning rate schedules."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..networks.weights import Arrays, own_array, to_tensors

Schedule = Callable[[float], float]


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return 1.0 - progress


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


# Each maps the share of the fit that is done, so that none outlasts a short fit.
# Cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, without the restarts.
SCHEDULES: dict[str, Schedule] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
}


def make_optimizer(
    network: nn.Module,
    solver: str,
    *,
    learning_rate_init: float,
    momentum: float,
    alpha: float,
) -> torch.optim.Optimizer:
    """Build the fused optimiser of `network`.

    Parameters
    ----------
    network : torch.nn.Module
        Its matrices are decayed by `alpha`; biases and normalisations are not.
    solver : {"adam", "sgd"}
        Adam with decoupled weight decay [1]_, or gradient descent with Nesterov's
        momentum.
    learning_rate_init : float
        Learning rate at the start of the schedule.
    momentum : float
        Momentum of "sgd".
    alpha : float
        Weight decay.

    Returns
    -------
    torch.optim.Optimizer
        One step of it is one call into torch.

    References
    ----------
    .. [1] Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": alpha},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if solver == "adam":
        return torch.optim.AdamW(groups, lr=learning_rate_init, fused=True)
    return torch.optim.SGD(
        groups,
        lr=learning_rate_init,
        momentum=momentum,
        nesterov=momentum > 0,
        fused=True,
    )


def optimizer_to_arrays(optimizer: torch.optim.Optimizer) -> dict[int, Arrays]:
    """Copy the optimiser's moments and counters, by the number of the parameter."""
    return {
        number: {k: own_array(v) for k, v in state.items() if isinstance(v, Tensor)}
        for number, state in optimizer.state_dict()["state"].items()
    }


def optimizer_from_arrays(
    optimizer: torch.optim.Optimizer, states: dict[int, Arrays]
) -> None:
    """Copy states, as `optimizer_to_arrays` gave them, into the optimiser."""
    optimizer.load_state_dict(
        {
            "state": {number: to_tensors(state) for number, state in states.items()},
            "param_groups": optimizer.state_dict()["param_groups"],
        }
    )
