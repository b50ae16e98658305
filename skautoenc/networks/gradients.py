"""The gradients of the dense autoencoder, written out.

Small networks spend most of a step in autograd's bookkeeping. Here the same kernels are
called that autograd would call, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from .codes import PENALTIES
from .dense import DenseAutoencoder
from .layers import ACTIVATIONS, Linear, TransposedLinear

_aten = torch.ops.aten

# Gradient by the input of an activation, from that by its output, its input and its
# output.
Derivative = Callable[[Tensor, Tensor, Tensor], Tensor]


def _of_selu(gradient: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    found: Tensor = _aten.elu_backward(gradient, alpha, scale, 1.0, False, inputs)
    return found


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


class Backward(Protocol):
    """Computes a loss and leaves its gradients in ``grad`` of the parameters.

    To be called where autograd is off.
    """

    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        source : Tensor of shape (n, n_features)
            Rows to encode.
        target : Tensor of shape (n, n_features)
            What they are to be decoded to.
        sample_weight : Tensor of shape (n,) or None
            Weights of the rows.
        """


def write_out(network: nn.Module) -> Backward | None:
    """Return the gradients of the squared error if they are known, otherwise None.

    They are for dense autoencoders without normalisation, dropout and penalties.

    Parameters
    ----------
    network : torch.nn.Module
        Whose parameters have a ``grad``, and whose memory stays where it is.
    """
    if not isinstance(network, DenseAutoencoder):
        return None
    config = network.config
    if config["normalization"] or config["dropout"] or config["sparsity"] in PENALTIES:
        return None
    return _DenseBackward(network)


class _Affine:
    """An affine layer, as the two products of its way back need it.

    Parameters
    ----------
    layer : Linear or TransposedLinear
        The layer.
    adds : bool
        Whether another layer has left a gradient of the same weight before.
    """

    def __init__(self, layer: Linear | TransposedLinear, *, adds: bool) -> None:
        weight, bias = layer.weight, layer.bias
        assert weight.grad is not None
        assert bias.grad is not None
        self.transposed = isinstance(layer, TransposedLinear)
        self.matrix = weight.detach() if self.transposed else weight.detach().t()
        self.back = self.matrix.t()
        self.bias = bias.detach()
        self.weight_gradient = weight.grad
        self.bias_gradient = bias.grad
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.matrix)

    def backward(self, gradient: Tensor, x: Tensor) -> None:
        """Leave the gradients of weight and bias."""
        left, right = (x, gradient) if self.transposed else (gradient, x)
        if self.adds:
            self.weight_gradient.addmm_(left.t(), right)
        else:
            torch.mm(left.t(), right, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)


class _DenseBackward:
    """Squared error and gradients of a `DenseAutoencoder`; see `write_out`."""

    def __init__(self, network: DenseAutoencoder) -> None:
        activation = network.config["activation"]
        # Called without the hooks of modules, of which these can have none.
        self.activate = ACTIVATIONS[activation].module().forward
        self.derive = _DERIVATIVES[activation]
        decoder = _affine_layers(network.decoder)
        tied = network.config["tied_weights"]
        self.encoder = [
            _Affine(layer, adds=tied) for layer in _affine_layers(network.encoder)
        ]
        self.decoder = [_Affine(layer, adds=False) for layer in decoder]
        self.rectified = network.is_sparse
        self.thin_out = network.sparsity.forward
        self.projection: Tensor | None = None
        if network.projection is not None:
            self.projection = network.projection.weight.detach()
            self.projection_gradient = network.projection.weight.grad

    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, and leave its gradients."""
        inward = self._forward(self.encoder, source)
        code = inward[-1][1]
        if self.projection is not None:
            code.addmm_(source, self.projection.t())
        if self.rectified:
            code.relu_()
        kept = self.thin_out(code, sample_weight)
        outward = self._forward(self.decoder, kept)
        output = outward[-1][1]
        if self.projection is not None:
            output.addmm_(kept, self.projection)
        difference = gradient = output.sub_(target)
        if sample_weight is not None:
            gradient = difference * sample_weight.unsqueeze(1)
        loss = (gradient * difference).mean()
        direct = gradient.mul_(2 / difference.numel())
        gradient = self._backward(self.decoder, direct, outward)
        gradient = torch.mm(gradient, self.decoder[0].back)
        if self.projection is not None:
            torch.mm(kept.t(), direct, out=self.projection_gradient)
            gradient.addmm_(direct, self.projection.t())
        if self.rectified:
            gradient = _aten.threshold_backward(gradient, kept, 0)
        if self.projection is not None:
            assert self.projection_gradient is not None
            self.projection_gradient.addmm_(gradient.t(), source)
        self._backward(self.encoder, gradient, inward)
        return loss

    def _forward(self, layers: list[_Affine], x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return input and affine map of each layer."""
        found = []
        for layer in layers[:-1]:
            affine = layer.forward(x)
            found.append((x, affine))
            x = self.activate(affine)
        found.append((x, layers[-1].forward(x)))
        return found

    def _backward(
        self,
        layers: list[_Affine],
        gradient: Tensor,
        found: list[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Go back to the affine map of the first layer, and return its gradient."""
        for number in range(len(layers) - 1, 0, -1):
            x = found[number][0]
            layers[number].backward(gradient, x)
            gradient = torch.mm(gradient, layers[number].back)
            gradient = self.derive(gradient, found[number - 1][1], x)
        layers[0].backward(gradient, found[0][0])
        return gradient


def _affine_layers(stack: nn.Sequential) -> list[Linear | TransposedLinear]:
    return [m for m in stack.modules() if isinstance(m, Linear | TransposedLinear)]
