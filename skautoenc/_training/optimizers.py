"""Optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from .._networks.autoencoder import Autoencoder
from .._networks.weights import own_array
from .memory import FlatGroup, Group, UpdateArgs

# Step sizes of parameters in units of the learning rate; those not listed have one.
Factors = Mapping[Tensor, float]


@dataclass(frozen=True)
class Solver:
    """Settings of the optimizer.

    Parameters
    ----------
    name : {"adam", "sgd"}
        Type of the optimizer.
    learning_rate_init : float or "auto"
        Learning rate at the start; the network chooses it for "auto".
    momentum : float
        Momentum of "sgd".
    alpha : float
        Weight decay.
    max_grad_norm : float or None
        Maximum norm of the gradient.
    """

    name: str
    learning_rate_init: float | Literal["auto"]
    momentum: float
    alpha: float
    max_grad_norm: float | None


class Optimizer(ABC):
    """Updates all parameters of a network in one call into torch.

    `torch.optim.Optimizer` iterates over all parameters and their states in each step,
    which takes longer than the update of a small network.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved to one block of memory, if they may be moved.
    learning_rate : float
        Initial learning rate.
    alpha : float
        Weight decay of matrices; biases and normalisations are not decayed.
    factors : mapping of Tensor to float, optional
        Step sizes of single parameters, in units of the learning rate.

    Attributes
    ----------
    learning_rate : float or Tensor of shape ()
        Learning rate of the next step.
    groups : list of Group
        The parameters.
    values, gradients : list of Tensor
        All parameters and their gradients, one tensor per block of memory.
    version : int
        Number of times that the memory was relocated. Views taken at another version
        show memory that is no longer used.
    """

    def __init__(
        self,
        network: Autoencoder,
        learning_rate: float,
        alpha: float,
        factors: Factors | None = None,
    ) -> None:
        self.learning_rate: float | Tensor = learning_rate
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        # Matrices come first.
        for parameter in sorted(self._parameters, key=lambda p: alpha and p.ndim <= 1):
            decay = alpha if parameter.ndim > 1 else 0.0
            factor = (factors or {}).get(parameter, 1.0)
            groups.setdefault((decay, factor), []).append(parameter)
        kind = FlatGroup if network.is_movable else Group
        self.groups = [
            kind(group, decay, factor, self._names)
            for (decay, factor), group in groups.items()
        ]
        self.version = 0
        self._list_memory()

    def _list_memory(self) -> None:
        held = [group.update_args for group in self.groups]
        self.values = [value for args in held for value in args.values]
        self.gradients = [gradient for args in held for gradient in args.gradients]

    def memory(self, *n_networks: int) -> list[Tensor]:
        """Allocate memory for each group of parameters, of one or several networks."""
        flat = [group for group in self.groups if isinstance(group, FlatGroup)]
        return [group.memory(*n_networks) for group in flat]

    def relocate(self, memory: Sequence[Tensor]) -> None:
        """Move the groups to new memory; the network's parameters must be movable.

        Parameters
        ----------
        memory : sequence of Tensor
            Result of `memory`.
        """
        for group, new in zip(self.groups, memory, strict=True):
            assert isinstance(group, FlatGroup)
            group.relocate(new)
        self._list_memory()
        self.version += 1

    def join_gradients(self, n_more: int) -> Tensor:
        """Move all gradients to one tensor.

        Parameters
        ----------
        n_more : int
            Number of further values at its end.

        Returns
        -------
        Tensor of shape (n_values + n_more,)
            Zeros, of which the gradients are views.
        """
        sizes = [
            sum(gradient.numel() for gradient in group.update_args.gradients)
            for group in self.groups
        ]
        flat = self.gradients[0].new_zeros(sum(sizes) + n_more)
        parts = torch.split(flat, [*sizes, n_more])
        for group, part in zip(self.groups, parts, strict=False):
            group.move_gradients(part)
        self._list_memory()
        self.version += 1
        return flat

    @property
    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """Names of the optimizer state of each parameter."""

    @abstractmethod
    def update(self, args: UpdateArgs) -> None:
        """Update the parameters of one group, or of several networks."""

    def step(self, max_norm: float | None = None) -> None:
        """Update the parameters by their gradients; autograd must be off.

        Parameters
        ----------
        max_norm : float, optional
            Total norm to which larger gradients are scaled down first.
        """
        if max_norm is not None:
            self.clip_gradients(max_norm)
        for group in self.groups:
            self.update(group.update_args)

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        for gradient in self.gradients:
            gradient.zero_()

    def clip_gradients(self, max_norm: float) -> None:
        """Scale the gradients down to a total norm of at most `max_norm`."""
        nn.utils.clip_grad_norm_(self.values, max_norm)

    def state_tensors(self) -> list[Tensor]:
        """Return all tensors of the optimizer state, the counts of steps included."""
        held = [group.update_args for group in self.groups]
        moments = [each for args in held for each in chain(*args.buffers.values())]
        return [*moments, *(count for args in held for count in args.steps)]

    def moments(self, parameter: Tensor) -> list[Tensor]:
        """Return the optimizer state tensors of one parameter (views)."""
        return [
            view
            for owner, buffers in self._by_parameter()
            for view in buffers.values()
            if owner is parameter
        ]

    def _by_parameter(self) -> Iterator[tuple[nn.Parameter, dict[str, Tensor]]]:
        """Iterate over the network's parameters and their optimizer state."""
        states = {}
        for group in self.groups:
            held = group.update_args.buffers
            views = {name: group.by_parameter(held[name]) for name in held}
            for number, parameter in enumerate(group.parameters):
                states[parameter] = {name: views[name][number] for name in views}
        for parameter in self._parameters:
            yield parameter, states[parameter]

    @property
    def layout(self) -> tuple[Any, ...]:
        """Names of the state tensors, and sizes of the blocks of memory."""
        return *self._names, *(value.numel() for value in self.values)

    @property
    def settings(self) -> tuple[Any, ...]:
        """All that updates depend on, except the learning rate."""
        held = [group.update_args for group in self.groups]
        return type(self), *((args.decay, args.factor) for args in held)

    @property
    def n_steps(self) -> float:
        """Number of updates so far."""
        return float(self.groups[0].update_args.steps[0])

    def state(self) -> dict[str, Any]:
        """Copy the optimizer state into plain values and arrays."""
        return {
            "n_steps": self.n_steps,
            "moments": [
                {name: own_array(view) for name, view in buffers.items()}
                for _, buffers in self._by_parameter()
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the optimizer state from `state`, for parameters of equal shapes."""
        for group in self.groups:
            for step in group.update_args.steps:
                step.fill_(state["n_steps"])
        for (_, buffers), arrays in zip(
            self._by_parameter(), state["moments"], strict=True
        ):
            for name in buffers.keys() & arrays.keys():
                buffers[name].copy_(torch.from_numpy(arrays[name]))


@cache
def _has_fused_adamw() -> bool:
    """Whether torch has the private function that its own Adam calls in the end.

    A direct call takes a third of the time. Other versions of torch may not have the
    function, or may have it with other arguments.
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

    def update(self, args: UpdateArgs) -> None:
        """Update the parameters of one group, or of several networks."""
        buffers = args.buffers
        moments = args.gradients, buffers["mean"], buffers["square"]
        numbers: dict[str, Any] = {
            "lr": args.factor * self.learning_rate,
            "beta1": 0.9,
            "beta2": 0.999,
            "weight_decay": args.decay,
            "eps": 1e-8,
            "amsgrad": False,
            "maximize": False,
        }
        if _has_fused_adamw():
            for step in args.steps:
                step += 1
            torch._fused_adamw_(args.values, *moments, [], args.steps, **numbers)
        else:
            # The lowest supported torch has no fused AdamW with this signature.
            adamw(args.values, *moments, [], args.steps, fused=True, **numbers)


class SGD(Optimizer):
    """Gradient descent with Nesterov's momentum.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved to one block of memory, if they may be moved.
    learning_rate : float
        Initial learning rate.
    alpha : float
        Weight decay of matrices.
    momentum : float
        Share of the last update that is added to the next one.
    factors : mapping of Tensor to float, optional
        Step sizes of single parameters, in units of the learning rate.
    """

    def __init__(
        self,
        network: Autoencoder,
        learning_rate: float,
        alpha: float,
        momentum: float,
        factors: Factors | None = None,
    ) -> None:
        self.momentum = momentum
        super().__init__(network, learning_rate, alpha, factors)

    @property
    def _names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    @property
    def settings(self) -> tuple[Any, ...]:
        """All that updates depend on, except the learning rate."""
        return *super().settings, self.momentum

    def update(self, args: UpdateArgs) -> None:
        """Update the parameters of one group, or of several networks."""
        without: list[Tensor | None] = [None] * len(args.values)
        # torch declares a float, and accepts a tensor, too.
        rate: Any = args.factor * self.learning_rate
        sgd(
            args.values,
            args.gradients,
            [*args.buffers["momentum"]] if self.momentum else without,
            fused=True,
            lr=rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=args.decay,
            dampening=0.0,
            maximize=False,
        )


def make_optimizer(
    network: Autoencoder,
    solver: Solver,
    learning_rate: float,
    factors: Factors | None = None,
    state: Mapping[str, Any] | None = None,
) -> Optimizer:
    """Build the optimizer of `network`.

    Parameters
    ----------
    network : Autoencoder
        Its parameters are moved to one block of memory, if they may be moved.
    solver : Solver
        How weights are updated.
    learning_rate : float
        Learning rate at the start of the schedule.
    factors : mapping of torch.nn.Parameter to float, optional
        Step sizes of single parameters, in units of the learning rate.
    state : mapping, optional
        `Optimizer.state` after an earlier part of a stream, and the name of its solver
        under "solver". The state of another solver is ignored.
    """
    optimizer: Optimizer
    if solver.name == "adam":
        optimizer = Adam(network, learning_rate, solver.alpha, factors)
    else:
        optimizer = SGD(network, learning_rate, solver.alpha, solver.momentum, factors)
    if state is not None and state["solver"] == solver.name:
        optimizer.load(state)
    return optimizer
