"""The fully connected autoencoder."""

import math

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .codes import PENALTIES, SPARSITIES, DenseCode
from .layers import (
    BOUNDED,
    RESIDUAL_INIT_SCALE,
    Affine,
    Linear,
    LinearSkip,
    TransposedLinear,
    build_stacks,
    draw_stacks,
)
from .rates import (
    FATAL_STEP,
    base_rate,
    full_width,
    initial_share,
    output_share,
    rate_factors,
    unit_share,
)

# Activation of the code by kind of sparsity; ReLU for those that are not listed.
_CODE_ACTIVATIONS: dict[str | None, type[nn.Module]] = {
    None: nn.Identity,
    "kl": nn.Sigmoid,
}


class DenseAutoencoder(Autoencoder):
    """Fully connected encoder and mirrored decoder around one code.

    Input and output rows are standardised: centred, with unit mean variance.

    Parameters
    ----------
    n_features : int
        Width of a row.
    n_components : int
        Width of the code.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse order.
    activation : str
        Key of `ACTIVATIONS`, applied to the hidden layers.
    sparsity : str or None
        Key of `SPARSITIES` or `PENALTIES`. A sparse code is rectified, or lies between
        0 and 1 for "kl"; without sparsity the code is linear.
    sparsity_rate : float
        Share of the activations that a rule keeps in training; desired mean activation
        for "kl".
    sparsity_penalty : float
        Weight of the penalty, for "l1" and "kl".
    tied_weights : bool
        Whether the decoder uses the encoder's weights, transposed.
    linear_skip : bool
        Whether a linear map, tied between encoder and decoder, is added to the hidden
        layers. The network then starts as PCA, which the hidden layers learn to
        correct. A network without hidden layers gets none.
    normalization : {"batch", "layer"} or None
        Normalisation before each hidden activation.
    dropout : float
        Rate at which hidden activations are zeroed in training.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_components: int,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        sparsity: str | None,
        sparsity_rate: float,
        sparsity_penalty: float,
        tied_weights: bool,
        linear_skip: bool,
        normalization: str | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.config = {
            "n_features": n_features,
            "n_components": n_components,
            "hidden_layer_sizes": tuple(hidden_layer_sizes),
            "activation": activation,
            "sparsity": sparsity,
            "sparsity_rate": sparsity_rate,
            "sparsity_penalty": sparsity_penalty,
            "tied_weights": tied_weights,
            "linear_skip": linear_skip,
            "normalization": normalization,
            "dropout": dropout,
        }
        if normalization == "batch":
            self.smallest_batch = 2
            self.weighs_rows = False
        self.widths = widths = [n_features, *hidden_layer_sizes, n_components]
        self.encoder, self.decoder = build_stacks(
            widths,
            activation=activation,
            normalization=normalization,
            dropout=dropout,
            tied_weights=tied_weights,
        )
        self.projection = (
            LinearSkip(n_features, n_components)
            if linear_skip and hidden_layer_sizes
            else None
        )
        self.code_activation = _CODE_ACTIVATIONS.get(sparsity, nn.ReLU)()
        self.is_sparse = isinstance(self.code_activation, nn.ReLU)
        self.sparsity = (
            SPARSITIES[sparsity](n_components, sparsity_rate)
            if sparsity in SPARSITIES
            else DenseCode()
        )

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; the linear skip starts at the principal axes of `rows`."""
        draw_stacks(
            self.encoder,
            self.decoder,
            activation=self.config["activation"],
            generator=generator,
        )
        if self.config["sparsity"] == "kl":
            rate = self.config["sparsity_rate"]
            nn.init.constant_(self._before_code().bias, math.log(rate / (1 - rate)))
        if self.projection is None:
            self._scale_outputs()
            return
        self.projection.initialise(generator, rows, sample_weight)
        # With tied weights, the decoder's last weight is the encoder's first one, which
        # is not scaled.
        for last, scale in (self.encoder[-1], 1.0), (self.decoder[-1], self._gain):
            if isinstance(last, Linear):
                last.weight.mul_(RESIDUAL_INIT_SCALE / scale)

    def _scale_outputs(self) -> None:
        """Start the code and the output of wide layers small, without a linear skip."""
        # Tied weights are those of other layers, too.
        if self.config["tied_weights"] or not self.config["hidden_layer_sizes"]:
            return
        for last in self.encoder[-1], self.decoder[-1]:
            assert isinstance(last, Linear)
            last.weight.mul_(initial_share(self.config["activation"], last.fans[0]))

    @property
    def _gain(self) -> float:
        """How much larger than usual the decoder's activations are.

        With a linear skip, a component of the code has a variance of up to n_features
        / n_components. Unbounded activations pass it on.
        """
        config = self.config
        is_bounded = config["normalization"] or config["activation"] in BOUNDED
        return 1.0 if self.projection is None or is_bounded else self._spread

    @property
    def _spread(self) -> float:
        """Standard deviation of a component relative to that in most networks."""
        config = self.config
        return max(1.0, math.sqrt(config["n_features"] / config["n_components"]) / 2)

    def adam_rates(self) -> tuple[float, dict[Tensor, float]]:
        """Return the learning rate for Adam, and the factors of wide layers."""
        if not self.config["hidden_layer_sizes"]:
            return self.learning_rate, {}
        kind = self.config["activation"], self.config["normalization"]
        has_skip = self.projection is not None
        sizes, numbers = self.config["hidden_layer_sizes"], self._numbers_of_inputs()
        rate = base_rate(*kind, has_skip=has_skip)
        width: float = full_width(*kind, has_skip=has_skip, n_layers=len(sizes))
        if len(sizes) == 1 and not has_skip:
            # The outputs of wide layers take the same steps as before.
            share = unit_share(kind[0], sizes[0])
            rate, width = rate * share, width / share
        return rate, rate_factors(numbers, width)

    def safe_factors(self, learning_rate: float) -> dict[Tensor, float]:
        """Return factors for wide rectified layers that the rate would kill."""
        if self.config["normalization"] or not self.rectifiers():
            return {}
        layers = [m for m in self.modules() if isinstance(m, Affine)]
        numbers = [(layer.weight, float(layer.fans[0])) for layer in layers]
        return rate_factors(numbers, FATAL_STEP / learning_rate)

    def _numbers_of_inputs(self) -> list[tuple[Tensor, float]]:
        """List the weights, each with its number of inputs times their scale."""
        numbers = [
            (layer.weight, layer.fans[0] * self._gain_of(layer))
            for layer in self.modules()
            if isinstance(layer, Affine)
        ]
        if self.projection is not None:
            numbers.append((self.projection.weight, self.config["n_features"]))
        return numbers

    def _gain_of(self, layer: nn.Module) -> float:
        if layer is not self.decoder[-1]:
            return 1.0
        activation = self.config["activation"]
        if self.config["normalization"] or activation == "tanh":
            return 1 / output_share(activation, self._spread)
        return self._gain

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""
        return self._code(x, self.encoder[:-1](x))

    def sparse(self, x: Tensor) -> Tensor:
        """Map rows to codes after the sparsity rule, (n, n_components)."""
        code: Tensor = self.sparsity(self.encode(x))
        return code

    def stack(self, x: Tensor) -> Tensor:
        """Map rows to all hidden activations and the code, (n, sum(widths[1:]))."""
        hidden, activations = x, []
        for layer in list(self.encoder)[:-1]:
            hidden = layer(hidden)  # (n, width of the layer)
            activations.append(hidden)
        return torch.cat([*activations, self._code(x, hidden)], dim=1)

    def _code(self, x: Tensor, hidden: Tensor) -> Tensor:
        code = self.encoder[-1](hidden)  # (n, n_components)
        if self.projection is not None:
            code = code + self.projection.encode(x)
        activated: Tensor = self.code_activation(code)
        return activated

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features)."""
        code = self.sparsity(code, sample_weight)
        reconstruction: Tensor = self.decoder(code)  # (n, n_features)
        if self.projection is not None:
            reconstruction = reconstruction + self.projection.decode(code)
        return reconstruction

    def _before_code(self) -> Linear:
        layer = self.encoder[-1]
        assert isinstance(layer, Linear)
        return layer

    def _after_code(self) -> Affine:
        first = self.decoder[0]
        layer = first[0] if isinstance(first, nn.Sequential) else first
        assert isinstance(layer, Affine)
        return layer

    def _outgoing(self) -> Tensor:
        """Return each unit's weights in the decoder, (n_components, width)."""
        layer = self._after_code()
        tied = isinstance(layer, TransposedLinear)
        outgoing = layer.weight if tied else layer.weight.t()  # (n_components, width)
        if self.projection is not None:
            outgoing = torch.cat([outgoing, self.projection.weight], dim=1)
        return outgoing

    def penalty(self, code: Tensor, sample_weight: Tensor | None) -> Tensor | None:
        """Return the penalty of a batch of codes, a scalar, or None without one."""
        penalty = PENALTIES.get(self.config["sparsity"])
        if penalty is None:
            return None
        cost = penalty(
            code,
            outgoing=self._outgoing(),
            rate=self.config["sparsity_rate"],
            sample_weight=sample_weight,
        )
        return cost * float(self.config["sparsity_penalty"])

    def squared_jacobian(self, code: Tensor) -> Tensor | None:
        """Return the squared norm of each code's Jacobian, (n,).

        With one layer, it is the sum over the units of the squared slope times the
        squared norm of the weights [1]_. With more layers, None is returned.

        References
        ----------
        .. [1] Rifai et al., "Contractive auto-encoders", ICML 2011.
        """
        if len(self.encoder) > 1:
            return None
        if isinstance(self.code_activation, nn.Sigmoid):
            slopes = code * (1 - code)
        elif isinstance(self.code_activation, nn.ReLU):
            slopes = (code > 0).to(code.dtype)
        else:
            slopes = torch.ones_like(code)
        layer = self._before_code()
        return slopes.square() @ layer.weight.square().sum(dim=1)  # (n,)

    def unit_weights(self) -> list[tuple[Tensor, int]]:
        """List the weights of single units, each with the dimension of the units."""
        layer, after = self._before_code(), self._after_code()
        weights: list[tuple[Tensor, int]] = [(layer.weight, 0), (layer.bias, 0)]
        if isinstance(after, Linear):
            weights.append((after.weight, 1))
        if self.projection is not None:
            weights.append((self.projection.weight, 0))
        return weights

    @torch.no_grad()
    def revive(self, dead: Tensor, x: Tensor, chosen: Tensor) -> None:
        """Reinitialise dead units so that each responds to a row of `x`.

        The response to its row has the strength that the strongest unit of a row has on
        average, so that the sparsity rule selects the unit. Outgoing weights that the
        unit does not share with the encoder start at zero: the reconstruction does not
        change until they are trained.
        """
        hidden, strongest = self.encoder[:-1](x), self.encode(x).amax(dim=1).mean()
        mean = hidden.mean(dim=0)  # (width,)
        directions = hidden[chosen] - mean  # (n_dead, width)
        squares = directions.square().sum(dim=1, keepdim=True).clamp(min=1e-12)
        for weight, dim in self.unit_weights():
            weight.index_fill_(dim, dead, 0)
        layer = self._before_code()
        layer.weight[dead] = directions * (strongest / squares)
        layer.bias[dead] = -layer.weight[dead] @ mean

    def rectifiers(self) -> list[nn.Module]:
        """List the modules that rectify hidden units; the code's is not among them."""
        stacks = self.encoder, self.decoder
        return [
            m for stack in stacks for m in stack.modules() if isinstance(m, nn.ReLU)
        ]

    def directions(self) -> Tensor | None:
        """Return each unit's contribution to the reconstruction, if it is linear.

        Returns
        -------
        Tensor of shape (n_components, n_features) or None
            Row k is added to a standardised row for one unit of component k. None if
            there are hidden layers: the contribution then depends on other components.
        """
        if len(self.decoder) > 1:
            return None
        layer = self.decoder[0]
        if isinstance(layer, TransposedLinear):
            return layer.weight.detach()
        assert isinstance(layer, Linear)
        return layer.weight.detach().t()
