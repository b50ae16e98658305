"""Solvers and learning rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from .._networks.autoencoder import Autoencoder
from .._networks.weights import own_array
from .memory import FlatGroup, Group, Piece

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


class Optimizer(ABC):
    """Updates all parameters of a network in one call into torch.

    `torch.optim.Optimizer` looks through all parameters and their states in each step,
    which takes longer than the update of a small network.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved into one piece of memory, if they may be.
    learning_rate : float
        Until another one is set.
    alpha : float
        Weight decay of matrices; biases and normalisations are not decayed.

    Attributes
    ----------
    learning_rate : float
        Of the next step.
    groups : list of Group
        The parameters.
    """

    def __init__(
        self, network: Autoencoder, learning_rate: float, alpha: float
    ) -> None:
        self.learning_rate = learning_rate
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in self._parameters if p.ndim > 1]
        others = [p for p in self._parameters if p.ndim <= 1]
        groups = (
            [(matrices, alpha), (others, 0.0)] if alpha else [(self._parameters, 0.0)]
        )
        kind = FlatGroup if network.is_movable else Group
        self.groups = [
            kind(group, decay, self._names) for group, decay in groups if group
        ]

    @property
    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """What is remembered of each parameter."""

    @abstractmethod
    def update(self, piece: Piece) -> None:
        """Update one piece."""

    def step(self) -> None:
        """Update the parameters by their gradients, where autograd is off."""
        for group in self.groups:
            self.update(group.piece)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for gradient in group.piece.gradients:
                gradient.zero_()

    def clip_gradients(self, max_norm: float) -> None:
        """Scale the gradients down to a norm of `max_norm` altogether."""
        nn.utils.clip_grad_norm_(self.values, max_norm)

    @property
    def values(self) -> list[Tensor]:
        """All that is trained, in as few tensors as there are pieces of memory."""
        return [value for group in self.groups for value in group.piece.values]

    def moments(self, parameter: Tensor) -> list[Tensor]:
        """Return what is remembered of one parameter, to be changed in place."""
        return [
            view
            for owner, buffers in self._by_parameter()
            for view in buffers.values()
            if owner is parameter
        ]

    def _by_parameter(self) -> Iterator[tuple[nn.Parameter, dict[str, Tensor]]]:
        """Run through the network's parameters and what is remembered of them."""
        found = {}
        for group in self.groups:
            held = group.piece.buffers
            views = {name: group.by_parameter(held[name]) for name in held}
            for number, parameter in enumerate(group.parameters):
                found[parameter] = {name: views[name][number] for name in views}
        for parameter in self._parameters:
            yield parameter, found[parameter]

    @property
    def layout(self) -> tuple[Any, ...]:
        """What the pieces of memory hold, and their sizes."""
        return *self._names, *(value.numel() for value in self.values)

    @property
    def settings(self) -> tuple[Any, ...]:
        """What updates depend on besides the learning rate."""
        decays = (group.piece.decay for group in self.groups)
        return type(self), *decays

    @property
    def n_steps(self) -> float:
        """Number of updates so far."""
        return float(self.groups[0].piece.steps[0])

    def state(self) -> dict[str, Any]:
        """Copy what is remembered into plain values and arrays."""
        return {
            "n_steps": self.n_steps,
            "moments": [
                {name: own_array(view) for name, view in buffers.items()}
                for _, buffers in self._by_parameter()
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave for parameters of the same shapes."""
        for group in self.groups:
            for step in group.piece.steps:
                step.fill_(state["n_steps"])
        for (_, buffers), arrays in zip(
            self._by_parameter(), state["moments"], strict=True
        ):
            for name in buffers.keys() & arrays.keys():
                buffers[name].copy_(torch.from_numpy(arrays[name]))


@cache
def _has_fused_adamw() -> bool:
    """Whether torch has the private function that its own Adam comes down to.

    Called directly it takes a third of the time; another version of torch may not have
    it, or in another form.
    """
    value, *others = torch.ones(5, 1, dtype=torch.float32, device="cpu")
    lists: list[Any] = [[value], *([other] for other in others)]
    lists.insert(4, [])
    numbers: dict[str, Any] = {
        "lr": 0.5,
        "beta1": 0.0,
        "beta2": 0.0,
        "weight_decay": 0.0,
        "eps": 0.0,
        "amsgrad": False,
        "maximize": False,
    }
    try:
        torch._fused_adamw_(*lists, **numbers)
    except (AttributeError, TypeError, RuntimeError):
        return False
    return bool(value == 0.5)


class Adam(Optimizer):
    """Adam with decoupled weight decay [1]_.

    References
    ----------
    .. [1] Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    _names = ("mean", "square")

    def update(self, piece: Piece) -> None:
        """Update one piece."""
        buffers = piece.buffers
        moments = piece.gradients, buffers["mean"], buffers["square"]
        numbers: dict[str, Any] = {
            "lr": self.learning_rate,
            "beta1": 0.9,
            "beta2": 0.999,
            "weight_decay": piece.decay,
            "eps": 1e-8,
            "amsgrad": False,
            "maximize": False,
        }
        if _has_fused_adamw():
            for step in piece.steps:
                step += 1
            torch._fused_adamw_(piece.values, *moments, [], piece.steps, **numbers)
        else:
            # Adam with a choice of weight decays is younger than the oldest torch.
            adamw(piece.values, *moments, [], piece.steps, fused=True, **numbers)


class SGD(Optimizer):
    """Gradient descent with Nesterov's momentum.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved into one piece of memory, if they may be.
    learning_rate : float
        Until another one is set.
    alpha : float
        Weight decay of matrices.
    momentum : float
        Share of the last update that is kept.
    """

    def __init__(
        self, network: Autoencoder, learning_rate: float, alpha: float, momentum: float
    ) -> None:
        self.momentum = momentum
        super().__init__(network, learning_rate, alpha)

    @property
    def _names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    @property
    def settings(self) -> tuple[Any, ...]:
        """What updates depend on besides the learning rate."""
        return *super().settings, self.momentum

    def update(self, piece: Piece) -> None:
        """Update one piece."""
        without: list[Tensor | None] = [None] * len(piece.values)
        sgd(
            piece.values,
            piece.gradients,
            [*piece.buffers["momentum"]] if self.momentum else without,
            fused=True,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=piece.decay,
            dampening=0.0,
            maximize=False,
        )


def make_optimizer(
    network: Autoencoder,
    solver: str,
    *,
    learning_rate_init: float,
    momentum: float,
    alpha: float,
) -> Optimizer:
    """Build the optimiser of `network`.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved into one piece of memory, if they may be.
    solver : {"adam", "sgd"}
        Which one.
    learning_rate_init : float
        Learning rate at the start of the schedule.
    momentum : float
        Momentum of "sgd".
    alpha : float
        Weight decay.
    """
    if solver == "adam":
        return Adam(network, learning_rate_init, alpha)
    return SGD(network, learning_rate_init, alpha, momentum)
