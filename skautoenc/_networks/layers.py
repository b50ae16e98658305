"""Layers that draw random numbers from a given generator, never from the global one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

# Networks are built on the CPU in float32 and moved later, whatever defaults the user
# has set for torch.
CPU_FLOAT32: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}


class Linear(nn.Linear):
    """Affine map ``x @ weight.T + bias``, left uninitialised by its constructor.

    `torch.nn.Linear` draws its initial weights from the global generator. A network
    must not change global state, so it draws them in `initialise` instead.

    Parameters
    ----------
    in_features : int
        Width of the input.
    out_features : int
        Width of the output.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, **CPU_FLOAT32)
        # Number of inputs of an output, and of outputs of an input.
        self.fans = in_features, out_features

    def reset_parameters(self) -> None:
        """Do nothing: the network's `initialise` draws the weights."""


class TransposedLinear(nn.Module):
    """Affine map with another layer's weight, transposed: ``x @ weight + bias``.

    Parameters
    ----------
    source : Linear
        The layer whose weight, of shape (source outputs, source inputs), is shared.
    """

    def __init__(self, source: Linear) -> None:
        super().__init__()
        self.weight = source.weight
        self.bias = nn.Parameter(torch.empty(source.in_features, **CPU_FLOAT32))
        self.fans = source.out_features, source.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Map rows of shape (n, source outputs) to (n, source inputs)."""
        return nn.functional.linear(x, self.weight.t(), self.bias)


Affine = Linear | TransposedLinear


class Dropout(nn.Module):
    """Zero activations at random while training [1]_.

    Parameters
    ----------
    rate : float
        Probability that an activation is zeroed; the rest are scaled up by
        ``1 / (1 - rate)``, which keeps the expectation.

    Notes
    -----
    `torch.nn.functional.dropout` takes no generator. The mask is therefore drawn here,
    from the generator that `bind_generator` has set.

    References
    ----------
    .. [1] Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15, 2014.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop activations of `x`, of any shape; the identity in evaluation mode."""
        if not self.training or self.rate == 0:
            return x
        return x * scaled_mask(x, self.rate, self.generator)


def scaled_mask(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Draw zeros at a rate, and ``1 / (1 - rate)`` elsewhere, in the shape of `x`."""
    if x.is_contiguous():
        (mask,) = scaled_masks([x.shape], rate, generator, x.device)
        return mask
    return _draw_mask(torch.empty_like(x), rate, generator)


def _draw_mask(mask: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    return mask.bernoulli_(1 - rate, generator=generator).div_(1 - rate)


def scaled_masks(
    shapes: Sequence[tuple[int, ...]],
    rate: float,
    generator: torch.Generator | None,
    device: torch.device,
) -> list[Tensor]:
    """Draw the masks of several tensors, one after the other; see `scaled_mask`."""
    if device.type != "cpu":
        real: dict[str, Any] = {"dtype": torch.float32, "device": device}
        return [
            _draw_mask(torch.empty(shape, **real), rate, generator) for shape in shapes
        ]
    # `bernoulli_` takes as long as a small layer. A random integer of 64 bits is enough
    # for four activations, at rates that are multiples of 2**-16.
    # At least one of them, so that the limits below are integers of 16 bits.
    n_zeroed = min(max(round(rate * 2**16), 1), 2**16 - 1)
    sizes = [math.prod(shape) for shape in shapes]
    padded = [-(-size // 4) * 4 for size in sizes]
    integers = torch.empty(sum(padded) // 4, dtype=torch.int64, device=device)
    integers.random_(-(2**63), None, generator=generator)
    # Comparisons take several times as long as arithmetic: one or zero, by limits.
    lowest = n_zeroed - 2**15
    kept = integers.view(torch.int16).clamp_(lowest - 1, lowest).sub_(lowest - 1)
    masks = torch.split(
        kept.to(torch.float32).mul_(1 / (1 - n_zeroed * 2**-16)), padded
    )
    return [
        mask[:size].view(shape)
        for mask, size, shape in zip(masks, sizes, shapes, strict=True)
    ]


def bind_generator(network: nn.Module, generator: torch.Generator | None) -> None:
    """Make every `Dropout` of `network` draw from `generator`."""
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator


@dataclass(frozen=True)
class Activation:
    """A nonlinearity and the initial weight scale that suits it.

    Parameters
    ----------
    module : callable
        Returns the `torch.nn.Module`.
    variance : callable
        Maps (inputs, outputs) of a layer to the variance of its initial weights.
    """

    module: Callable[[], nn.Module]
    variance: Callable[[int, int], float]


def _glorot(inputs: int, outputs: int) -> float:
    return 2 / (inputs + outputs)


def _he(inputs: int, outputs: int) -> float:
    return 2 / inputs


def _lecun(inputs: int, outputs: int) -> float:
    return 1 / inputs


# He et al. 2015 for the rectifiers, Glorot and Bengio 2010 for the saturating ones,
# Klambauer et al. 2017 for SELU.
ACTIVATIONS = {
    "identity": Activation(nn.Identity, _glorot),
    "logistic": Activation(nn.Sigmoid, _glorot),
    "tanh": Activation(nn.Tanh, _glorot),
    "relu": Activation(nn.ReLU, _he),
    "leaky_relu": Activation(nn.LeakyReLU, _he),
    "elu": Activation(nn.ELU, _he),
    "gelu": Activation(nn.GELU, _he),
    "silu": Activation(nn.SiLU, _he),
    "selu": Activation(nn.SELU, _lecun),
}

# Activations whose outputs are at most one in magnitude.
BOUNDED = {"logistic", "tanh"}


def draw_weight(
    weight: Tensor,
    fans: tuple[int, int],
    activation: Activation,
    generator: torch.Generator,
) -> None:
    """Draw a layer's weight uniformly, at the scale for the activation after it."""
    bound = math.sqrt(3 * activation.variance(*fans))
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def principal_axes(rows: Tensor, n_axes: int, generator: torch.Generator) -> Tensor:
    """Return the leading right singular vectors, by subspace iteration [1]_.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        Centred rows.
    n_axes : int
        Number of axes.
    generator : torch.Generator
        Draws the initial subspace. `torch.svd_lowrank` takes no generator.

    Returns
    -------
    Tensor of shape (min(n_axes, n_features), n_features)
        Orthonormal axes, in descending order of their singular values. If the rows span
        fewer dimensions, the remaining axes are arbitrary.

    References
    ----------
    .. [1] Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM
       Review 53, 2011.
    """
    width = min(n_axes + 10, rows.shape[1])
    basis = torch.empty(rows.shape[1], width, **CPU_FLOAT32)  # (n_features, width)
    basis.normal_(generator=generator)
    for _ in range(4):
        basis = torch.linalg.qr(rows.t() @ (rows @ basis)).Q
    # In float32, the products of two or three rows can be too close to singular.
    projected = (rows @ basis).double()  # (n, width)
    rotation = torch.linalg.eigh(projected.t() @ projected).eigenvectors.float()
    axes: Tensor = (basis @ rotation).t().flip(0)  # (width, n_features)
    return axes[:n_axes]


# Scale of the last layer's initial weights in a network with a linear skip. It is small
# enough to start as PCA, and large enough to give the layers before it a gradient. At
# PCA itself, their gradient would be rounding errors, which Adam would amplify.
RESIDUAL_INIT_SCALE = 0.1


class LinearSkip(nn.Module):
    """A linear map, tied between encoder and decoder, that starts as PCA.

    Parameters
    ----------
    n_features : int
        Width of a row.
    n_components : int
        Width of the code.
    """

    def __init__(self, n_features: int, n_components: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_components, n_features, **CPU_FLOAT32))

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Start at the principal axes of `rows`."""
        if sample_weight is not None:
            rows = rows * sample_weight.sqrt().unsqueeze(1)
        nn.init.orthogonal_(self.weight, generator=generator)
        axes = principal_axes(rows, len(self.weight), generator)
        self.weight[: len(axes)] = axes

    def encode(self, x: Tensor) -> Tensor:
        """Map rows, (n, n_features), to codes, (n, n_components)."""
        return nn.functional.linear(x, self.weight)

    def decode(self, code: Tensor) -> Tensor:
        """Map codes, (n, n_components), to rows by the transposed weights."""
        return code @ self.weight


def running_momentum(n_batches: Tensor, lowest: float) -> Tensor:
    """Weight of the latest batch in a running mean that starts as a plain mean."""
    return (1 / n_batches).clamp(min=lowest)


class _Normalization(nn.Module):
    """Scale and shift after a normalisation.

    The kernels of `torch.nn.BatchNorm1d` and `torch.nn.LayerNorm` sum over rows in an
    order that depends on the number of threads. The operations used here do not, so a
    seed gives the same bits for any number of threads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, **CPU_FLOAT32))
        self.bias = nn.Parameter(torch.zeros(width, **CPU_FLOAT32))


class LayerNorm(_Normalization):
    """Give the activations of each row mean zero and variance one [1]_.

    Parameters
    ----------
    width : int
        Number of activations.

    References
    ----------
    .. [1] Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows of shape (n, width)."""
        return nn.functional.layer_norm(x, self.weight.shape) * self.weight + self.bias


class BatchNorm(_Normalization):
    """Give each activation mean zero and variance one over the batch [1]_.

    Evaluation mode uses running means of the moments of the training batches. So does
    training with a single row, which has no moments.

    Parameters
    ----------
    width : int
        Number of activations.

    References
    ----------
    .. [1] Ioffe and Szegedy, "Batch normalization", ICML 2015.
    """

    mean: Tensor
    variance: Tensor
    n_batches: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("mean", torch.zeros(width, **CPU_FLOAT32))
        self.register_buffer("variance", torch.ones(width, **CPU_FLOAT32))
        self.register_buffer("n_batches", torch.zeros((), **CPU_FLOAT32))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows of shape (n, width)."""
        if not self.training or len(x) == 1:
            return self._affine(x, self.mean, self.variance)
        variance, mean = torch.var_mean(x, dim=0, unbiased=False)  # (width,) each
        self.n_batches += 1
        momentum = running_momentum(self.n_batches, 0.1)
        self.mean.lerp_(mean.detach(), momentum)
        self.variance.lerp_(variance.detach(), momentum)
        return self._affine(x, mean, variance)

    def _affine(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm,
    "layer": LayerNorm,
}


def build_stacks(
    widths: Sequence[int],
    *,
    activation: str,
    normalization: str | None,
    dropout: float,
    tied_weights: bool,
) -> tuple[nn.Sequential, nn.Sequential]:
    """Build the layers of an encoder and of the mirrored decoder.

    Parameters
    ----------
    widths : sequence of int
        Widths of the input, the hidden layers and the code.
    activation : str
        Key of `ACTIVATIONS`, applied to the hidden layers.
    normalization : str or None
        Key of `NORMALIZATIONS`, applied before each activation.
    dropout : float
        Rate at which hidden activations are zeroed in training.
    tied_weights : bool
        Whether the decoder uses the encoder's weights, transposed.

    Returns
    -------
    encoder, decoder : torch.nn.Sequential
        Hidden layers, each of them a `Sequential`, and a last affine layer.
    """
    normalize = NORMALIZATIONS.get(normalization) if normalization else None

    def stack(affine: Sequence[nn.Module], hidden: Sequence[int]) -> nn.Sequential:
        layers: list[nn.Module] = [
            nn.Sequential(
                layer,
                normalize(width) if normalize else nn.Identity(),
                ACTIVATIONS[activation].module(),
                Dropout(dropout),
            )
            for layer, width in zip(affine, hidden, strict=False)
        ]
        return nn.Sequential(*layers, affine[-1])

    affine = [Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
    mirrored = [
        TransposedLinear(layer)
        if tied_weights
        else Linear(layer.out_features, layer.in_features)
        for layer in reversed(affine)
    ]
    return stack(affine, widths[1:-1]), stack(mirrored, widths[-2:0:-1])


def draw_stacks(
    *stacks: nn.Module, activation: str, generator: torch.Generator
) -> None:
    """Draw the weights of stacks whose last layer has no activation."""
    for stack in stacks:
        layers = [m for m in stack.modules() if isinstance(m, Affine)]
        for layer in layers:
            nn.init.zeros_(layer.bias)
            if isinstance(layer, Linear):
                kind = "identity" if layer is layers[-1] else activation
                draw_weight(layer.weight, layer.fans, ACTIVATIONS[kind], generator)
