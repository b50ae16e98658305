"""Solvers and learning rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from ..networks.weights import own_array

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

# Numbers between the places of parameters: whole lines of the cache.
_ALIGNMENT = 16


class _Flat:
    """Parameters that lie in one piece of memory, as their gradients do.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        They keep values, shapes and the order of dimensions, and get a ``grad``.
    decay : float
        Weight decay of all of them.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.parameters = parameters
        self._places = []
        size = 0
        for parameter in parameters:
            self._places.append(size)
            size += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        device = parameters[0].device
        values = torch.zeros(size, dtype=torch.float32, device=device)
        self.values = nn.Parameter(values)
        self.gradient = torch.zeros_like(values)
        self.values.grad = self.gradient
        placed = zip(
            parameters, self.views(values), self.views(self.gradient), strict=True
        )
        for parameter, value, gradient in placed:
            value.copy_(parameter.detach())
            parameter.data = value
            parameter.grad = gradient

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Cut a buffer of the size of `values` into the shapes of the parameters."""
        return [
            # Strides of a copy: a parameter may be a view of something else.
            buffer.as_strided(p.shape, torch.empty_like(p).stride(), place)
            for p, place in zip(self.parameters, self._places, strict=True)
        ]


class Optimizer(ABC):
    """Updates all parameters of a network in one call into torch.

    `torch.optim.Optimizer` looks through all parameters and their states in each step,
    which takes longer than the update of a small network.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters are moved into one piece of memory.
    learning_rate : float
        Until another one is set.
    alpha : float
        Weight decay of matrices; biases and normalisations are not decayed.

    Attributes
    ----------
    learning_rate : float
        Of the next step.
    """

    def __init__(self, network: nn.Module, learning_rate: float, alpha: float) -> None:
        self.learning_rate = learning_rate
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in self._parameters if p.ndim > 1]
        others = [p for p in self._parameters if p.ndim <= 1]
        groups = (
            [(matrices, alpha), (others, 0.0)] if alpha else [(self._parameters, 0.0)]
        )
        self._flats = [_Flat(group, decay) for group, decay in groups if group]
        self._buffers = [
            {name: torch.zeros_like(flat.gradient) for name in self._names}
            for flat in self._flats
        ]
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=flat.gradient.device)
            for flat in self._flats
        ]

    @property
    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """What is remembered of each parameter."""

    @abstractmethod
    def _update(self, flat: _Flat, buffers: dict[str, Tensor], step: Tensor) -> None:
        """Update one piece."""

    def step(self) -> None:
        """Update the parameters by their gradients, where autograd is off."""
        for flat, buffers, step in zip(
            self._flats, self._buffers, self._steps, strict=True
        ):
            self._update(flat, buffers, step)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for flat in self._flats:
            flat.gradient.zero_()

    def clip_gradients(self, max_norm: float) -> None:
        """Scale the gradients down to a norm of `max_norm` altogether."""
        nn.utils.clip_grad_norm_([flat.values for flat in self._flats], max_norm)

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
        for flat, buffers in zip(self._flats, self._buffers, strict=True):
            views = {name: flat.views(buffer) for name, buffer in buffers.items()}
            for number, parameter in enumerate(flat.parameters):
                found[parameter] = {name: views[name][number] for name in views}
        for parameter in self._parameters:
            yield parameter, found[parameter]

    def state(self) -> dict[str, Any]:
        """Copy what is remembered into plain values and arrays."""
        return {
            "n_steps": float(self._steps[0]),
            "moments": [
                {name: own_array(view) for name, view in buffers.items()}
                for _, buffers in self._by_parameter()
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave for parameters of the same shapes."""
        for step in self._steps:
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

    def _update(self, flat: _Flat, buffers: dict[str, Tensor], step: Tensor) -> None:
        values: list[Tensor] = [flat.values]
        moments = [flat.gradient], [buffers["mean"]], [buffers["square"]]
        numbers: dict[str, Any] = {
            "lr": self.learning_rate,
            "beta1": 0.9,
            "beta2": 0.999,
            "weight_decay": flat.decay,
            "eps": 1e-8,
            "amsgrad": False,
            "maximize": False,
        }
        if _has_fused_adamw():
            step += 1
            torch._fused_adamw_(values, *moments, [], [step], **numbers)
        else:
            numbers = {**numbers, "fused": True, "decoupled_weight_decay": True}
            adam(values, *moments, [], [step], **numbers)


class SGD(Optimizer):
    """Gradient descent with Nesterov's momentum.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters are moved into one piece of memory.
    learning_rate : float
        Until another one is set.
    alpha : float
        Weight decay of matrices.
    momentum : float
        Share of the last update that is kept.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, alpha: float, momentum: float
    ) -> None:
        self.momentum = momentum
        super().__init__(network, learning_rate, alpha)

    @property
    def _names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _update(self, flat: _Flat, buffers: dict[str, Tensor], step: Tensor) -> None:
        sgd(
            [flat.values],
            [flat.gradient],
            [buffers.get("momentum")],
            fused=True,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=flat.decay,
            dampening=0.0,
            maximize=False,
        )


def make_optimizer(
    network: nn.Module,
    solver: str,
    *,
    learning_rate_init: float,
    momentum: float,
    alpha: float,
) -> Optimizer:
    """Build the optimiser of `network`.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters are moved into one piece of memory.
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
