"""Closed-form gradients of dense networks.

Small networks spend most of a step in autograd's bookkeeping. This module calls the
same kernels as autograd would, without the bookkeeping.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .codes import PENALTIES, DenseCode
from .dense import DenseAutoencoder
from .layers import ACTIVATIONS, CPU_FLOAT32, Affine, TransposedLinear
from .weights import stacked_view

_aten = torch.ops.aten

# Maps (gradient by the output, input, output) of an activation to the gradient by its
# input.
Derivative = Callable[[Tensor, Tensor, Tensor], Tensor]


def _of_selu(gradient: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    result: Tensor = _aten.elu_backward(gradient, alpha, scale, 1.0, False, inputs)
    return result


_DERIVATIVES: dict[str, Derivative] = {
    "identity": lambda g, x, y: g,
    "logistic": lambda g, x, y: _aten.sigmoid_backward(g, y),
    "tanh": lambda g, x, y: _aten.tanh_backward(g, y),
    "relu": lambda g, x, y: _aten.threshold_backward(g, y, 0),
    "leaky_relu": lambda g, x, y: _aten.leaky_relu_backward(g, x, 0.01, False),
    "elu": lambda g, x, y: _aten.elu_backward(g, 1.0, 1.0, 1.0, False, x),
    "gelu": lambda g, x, y: _aten.gelu_backward(g, x),
    "silu": lambda g, x, y: _aten.silu_backward(g, x),
    "selu": _of_selu,
}


class Backward(ABC):
    """Computes a loss and stores its gradients in ``grad`` of the parameters.

    It is called with autograd switched off. For several networks, all tensors have an
    additional first dimension, of size n_networks.

    Attributes
    ----------
    corrupts : bool
        Whether it corrupts the rows, so that they need not be corrupted before.
    """

    corrupts = False

    def width(self, n_features: int) -> int:
        """Return the number of values of a prepared row."""
        return n_features

    def prepare(self, rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what does not change in training, for several batches at once.

        Parameters
        ----------
        rows, target : Tensor of shape (n, n_features)
            Rows to encode, and rows that they should be decoded to.

        Returns
        -------
        rows, target : Tensor of shape (n, width) and (n, ...)
            Arguments of the call, after they are split into batches.
        """
        return rows, target

    @abstractmethod
    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        source, target : Tensor
            Prepared rows to encode, and those that they should be decoded to.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """


def closed_form_gradients(networks: Sequence[nn.Module]) -> Backward | None:
    """Return a function that computes the squared error and its gradients, or None.

    There are closed forms for dense autoencoders without normalisation, dropout and
    penalties. None means that autograd must be used. The closed forms call kernels of
    torch that are not public. Therefore they are first compared with autograd on a
    small network, once per process and architecture; if they differ, None is returned.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        One network, or several of one architecture whose parameters lie at equal
        distances in one block of memory. The parameters have a ``grad`` and are not
        moved afterwards.
    """
    dense = [network for network in networks if isinstance(network, DenseAutoencoder)]
    if len(dense) < len(networks) or not all(map(_has_closed_form, dense)):
        return None
    config = dense[0].config
    kernels = {name: config[name] for name in _SELECT_KERNELS}
    if not _agrees_with_autograd(n_hidden=len(config["hidden_layer_sizes"]), **kernels):
        return None
    return _DenseBackward(dense)


def _has_closed_form(network: DenseAutoencoder) -> bool:
    config = network.config
    special = config["normalization"] or config["dropout"]
    return not special and config["sparsity"] not in PENALTIES


# Arguments that determine, with the number of layers, which kernels are called.
_SELECT_KERNELS = "activation", "sparsity", "tied_weights", "linear_skip"


@cache
def _agrees_with_autograd(*, n_hidden: int, **arguments: Any) -> bool:
    """Whether closed form and autograd agree for a small network."""
    network = DenseAutoencoder(
        n_features=3,
        n_components=4,
        hidden_layer_sizes=(5,) * min(n_hidden, 2),
        sparsity_rate=0.5,
        sparsity_penalty=0.0,
        normalization=None,
        dropout=0.0,
        **arguments,
    )
    generator = torch.Generator("cpu").manual_seed(0)
    rows = torch.empty(8, 3, **CPU_FLOAT32).normal_(generator=generator)
    network.initialise(generator, rows, None)
    return have_same_gradients(
        network,
        lambda: (network(rows) - rows).square().mean(),
        lambda: _DenseBackward([network])(rows, rows, None),
    )


def have_same_gradients(
    network: nn.Module,
    by_autograd: Callable[[], Tensor],
    in_closed_form: Callable[[], Tensor],
) -> bool:
    """Whether autograd and a closed form have the same loss and gradients.

    Parameters
    ----------
    network : Module
        Its parameters get a ``grad``.
    by_autograd : callable
        Returns the loss, a scalar that depends on the parameters.
    in_closed_form : callable
        Returns the loss, and stores the gradients in ``grad`` of the parameters. It is
        called with autograd switched off.

    Returns
    -------
    bool
        False, too, if one of the two fails: other versions of torch may lack a kernel.
    """
    parameters = list(network.parameters())
    try:
        with torch.enable_grad():
            loss = by_autograd()
            expected = torch.autograd.grad(loss, parameters, materialize_grads=True)
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            result = in_closed_form()
    except (AttributeError, TypeError, RuntimeError):
        return False
    pairs = zip([result, *gradients], [loss, *expected], strict=True)
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)


class Products(NamedTuple):
    """Matrix products, for single matrices or for stacks of matrices."""

    of: Callable[[Tensor, Tensor], Tensor]
    plus: Callable[[Tensor, Tensor, Tensor], Tensor]
    into: Callable[[Tensor, Tensor, Tensor], Tensor]
    onto: Callable[[Tensor, Tensor, Tensor], Tensor]


def _into(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.mm(left, right, out=out)


# The gradients of several networks are strided views. `bmm` into a temporary plus
# `copy_` takes a tenth of the time of `bmm(out=view)`.
def _stack_into(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return out.copy_(torch.bmm(left, right))


def _stack_onto(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return out.add_(torch.bmm(left, right))


_SINGLE = Products(torch.mm, torch.addmm, _into, Tensor.addmm_)
_STACKED = Products(torch.bmm, torch.baddbmm, _stack_into, _stack_onto)


def products_for(n_networks: int) -> Products:
    """Return the products of one network, or of several that are stacked."""
    return _SINGLE if n_networks == 1 else _STACKED


def as_one(tensors: Sequence[Tensor | None]) -> Tensor:
    """Return a stacked view of one tensor per network, or the only one."""
    views = [tensor.detach() for tensor in tensors if tensor is not None]
    return views[0] if len(views) == 1 else stacked_view(views)


class ClosedFormAffine:
    """An affine layer with its forward and backward products.

    Parameters
    ----------
    layers : sequence of Linear or of TransposedLinear
        The layer of each network.
    products : Products
        Products for one network or for several.
    adds : bool
        Whether the gradient of the weight is added to that of another layer, which has
        been computed before.
    """

    def __init__(
        self, layers: Sequence[Affine], products: Products, *, adds: bool
    ) -> None:
        weight = as_one([layer.weight for layer in layers])
        self.products = products
        self.transposed = isinstance(layers[0], TransposedLinear)
        self.matrix = weight if self.transposed else weight.mT  # (..., inputs, outputs)
        self.back = self.matrix.mT  # (..., outputs, inputs)
        # (..., 1, outputs)
        self.bias = as_one([layer.bias for layer in layers]).unsqueeze(-2)
        self.weight_gradient = as_one([layer.weight.grad for layer in layers])
        self.bias_gradient = as_one([layer.bias.grad for layer in layers])
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:
        return self.products.plus(self.bias, x, self.matrix)

    def backward(self, gradient: Tensor, x: Tensor) -> None:
        """Store the gradients of weight and bias."""
        left, right = (x, gradient) if self.transposed else (gradient, x)
        if self.adds:
            self.products.onto(self.weight_gradient, left.mT, right)
        else:
            self.products.into(self.weight_gradient, left.mT, right)
        torch.sum(gradient, -2, out=self.bias_gradient)

    def to_input(self, gradient: Tensor) -> Tensor:
        """Map the gradient by the output to that by the input."""
        return self.products.of(gradient, self.back)


def derivative_of(activation: str) -> Derivative:
    """Return the derivative of an activation."""
    return _DERIVATIVES[activation]


def kernel_of(activation: str) -> Callable[[Tensor], Tensor]:
    """Return the function that an activation calls.

    Modules and functions of torch check their arguments first, which takes longer than
    the kernel of a small layer.
    """
    kernels = {
        "relu": torch.relu,
        "silu": getattr(torch._C._nn, "silu", None),
        "gelu": getattr(torch._C._nn, "gelu", None),
    }
    # `forward` itself is called: these modules can have no hooks.
    return kernels.get(activation) or ACTIVATIONS[activation].module().forward


class ClosedFormStack:
    """Affine layers with activations between them, and their backward pass.

    Parameters
    ----------
    stacks : sequence of torch.nn.Sequential
        The layers of one network, or those of several networks of one architecture.
    activation : str
        Key of `ACTIVATIONS`.
    adds : bool, default=False
        Whether the gradients of weights are added to those of other layers, which have
        been computed before.
    """

    def __init__(
        self, stacks: Sequence[nn.Sequential], activation: str, *, adds: bool = False
    ) -> None:
        self.activate = kernel_of(activation)
        self.derive = derivative_of(activation)
        self.products = products_for(len(stacks))
        by_layer = zip(*map(_affine_layers, stacks), strict=True)
        self.layers = [
            ClosedFormAffine(layers, self.products, adds=adds) for layers in by_layer
        ]

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return input and affine map, before the activation, of each layer."""
        values = []
        for layer in self.layers[:-1]:
            affine = layer.forward(x)  # (..., n, outputs)
            values.append((x, affine))
            x = self.activate(affine)
        values.append((x, self.layers[-1].forward(x)))
        return values

    def backward(self, gradient: Tensor, values: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Store the gradients of the parameters.

        Parameters
        ----------
        gradient : Tensor of shape (..., n, outputs)
            Gradient by the output of the last layer.
        values : list of tuple of Tensor
            Result of `forward`.

        Returns
        -------
        Tensor of shape (..., n, outputs of the first layer)
            Gradient by the affine map of the first layer.
        """
        layers = self.layers
        for number in range(len(layers) - 1, 0, -1):
            x = values[number][0]
            layers[number].backward(gradient, x)
            gradient = layers[number].to_input(gradient)  # (..., n, inputs)
            gradient = self.derive(gradient, values[number - 1][1], x)
        layers[0].backward(gradient, values[0][0])
        return gradient

    def to_input(self, gradient: Tensor) -> Tensor:
        """Map the result of `backward` to the gradient by the input."""
        return self.layers[0].to_input(gradient)


class _DenseBackward(Backward):
    """Squared error and gradients of dense networks; see `closed_form_gradients`."""

    def __init__(self, networks: Sequence[DenseAutoencoder]) -> None:
        config = networks[0].config
        activation, tied = config["activation"], config["tied_weights"]
        self.products = products_for(len(networks))
        encoders, decoders = zip(
            *((n.encoder, n.decoder) for n in networks), strict=True
        )
        self.encoder = ClosedFormStack(encoders, activation, adds=tied)
        self.decoder = ClosedFormStack(decoders, activation)
        self.rectified = networks[0].is_sparse
        self.rules = [network.sparsity for network in networks]
        self.projection: Tensor | None = None
        skips = [n.projection for n in networks if n.projection is not None]
        if skips:
            self.projection = as_one([skip.weight for skip in skips])
            self.projection_gradient = as_one([skip.weight.grad for skip in skips])

    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, and store its gradients."""
        products = self.products
        inward = self.encoder.forward(source)
        code = inward[-1][1]  # (..., n, n_components)
        if self.projection is not None:
            products.onto(code, source, self.projection.mT)
        if self.rectified:
            code.relu_()
        kept = self._apply_sparsity(code, sample_weight)
        outward = self.decoder.forward(kept)
        output = outward[-1][1]  # (..., n, n_features)
        if self.projection is not None:
            products.onto(output, kept, self.projection)
        difference = gradient = output.sub_(target)
        if sample_weight is not None:
            gradient = difference * sample_weight.unsqueeze(-1)
        loss = (gradient * difference).mean((-2, -1))  # (...)
        direct = gradient.mul_(2 / (difference.shape[-2] * difference.shape[-1]))
        gradient = self.decoder.backward(direct, outward)
        gradient = self.decoder.to_input(gradient)  # (..., n, n_components)
        if self.projection is not None:
            products.into(self.projection_gradient, kept.mT, direct)
            products.onto(gradient, direct, self.projection.mT)
        if self.rectified:
            gradient = _aten.threshold_backward(gradient, kept, 0)
        if self.projection is not None:
            products.onto(self.projection_gradient, gradient.mT, source)
        self.encoder.backward(gradient, inward)
        return loss

    def _apply_sparsity(self, code: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Apply each network's sparsity rule to its own activations."""
        if isinstance(self.rules[0], DenseCode):
            return code
        if len(self.rules) == 1:
            kept: Tensor = self.rules[0].forward(code, sample_weight)
            return kept
        weights = repeat(None) if sample_weight is None else sample_weight
        per_network = zip(self.rules, code, weights, strict=False)
        # (n_networks, n, n_components)
        return torch.stack([rule.forward(*values) for rule, *values in per_network])


def _affine_layers(stack: nn.Sequential) -> list[Affine]:
    return [m for m in stack.modules() if isinstance(m, Affine)]
