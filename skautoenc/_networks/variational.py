"""Networks whose codes have a posterior: variational autoencoders."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, Code
from .layers import ACTIVATIONS, CPU_FLOAT32, Linear, draw_weight
from .linear_density import LinearDensity
from .maps import Convolution, TransposedConvolution
from .rates import FATAL_STEP, FULL_WIDTH, base_rate, rate_factors

# Beyond these log-variances, exponentials overflow or vanish.
LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = -30.0, 10.0


class VariationalNetwork(Autoencoder):
    """A network whose encoder gives a normal posterior with independent components.

    The prior of the codes is standard normal. `encode` returns posterior means.

    Attributes
    ----------
    skip_in, skip_out : torch.nn.Parameter of shape (n_components, n_features) or None
        Linear maps that are added to encoder and decoder.
    log_dispersion : torch.nn.Parameter of shape (n_dispersions,)
        Logarithms of the dispersions minus the floor. A dispersion is a variance of the
        noise, or the overdispersion of counts.
    floor : Tensor of shape ()
        Minimum dispersion.
    linear : LinearDensity or None
        The linear model that the network starts at, if it is kept.
    """

    skip_in: nn.Parameter | None
    skip_out: nn.Parameter | None
    log_dispersion: nn.Parameter
    floor: Tensor
    linear: LinearDensity | None

    def _add_shared(self, *, has_skip: bool) -> None:
        """Make the parameters beside the layers of encoder and decoder."""
        n_components, n_features = self.widths[-1], self.widths[0]
        self.skip_in, self.skip_out = (
            nn.Parameter(torch.empty(n_components, n_features, **CPU_FLOAT32))
            if has_skip
            else None
            for _ in range(2)
        )
        n_dispersions = self.config["n_dispersions"]
        self.log_dispersion = nn.Parameter(torch.zeros(n_dispersions, **CPU_FLOAT32))
        self.register_buffer("floor", torch.zeros((), **CPU_FLOAT32))
        keeps = self.config["keeps_start"]
        self.linear = LinearDensity(n_components, n_features) if keeps else None

    @abstractmethod
    def _encoded(self, x: Tensor) -> Tensor:
        """Map rows to means and log-variances, (n, 2 * n_components).

        What `skip_in` adds to the means is not in it.
        """

    @abstractmethod
    def _decoded(self, code: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map codes to outputs and logarithms of factors of the dispersions.

        Both are (n, n_features). What `skip_out` adds to the outputs is not in them.
        There are no factors unless the dispersions vary.
        """

    @abstractmethod
    def _last_layers(self) -> tuple[Linear, Linear | TransposedConvolution]:
        """Return the last layers of encoder and decoder."""

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances of the codes, both (n, n_components).

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Standardised rows.
        """
        mean, log_variance = self._encoded(x).chunk(2, dim=1)
        if self.skip_in is not None:
            mean = mean + nn.functional.linear(x, self.skip_in)
        return mean, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)

    @torch.no_grad()
    def _silence(self) -> None:
        """Make a network with a skip start at it: all else is zero at first.

        Small values would add noise to the linear model, which is exact.
        """
        if self.skip_in is None or self.skip_out is None:
            return
        inward, outward = self._last_layers()
        for weight in (self.skip_in, self.skip_out, inward.weight, outward.weight):
            nn.init.zeros_(weight)

    @torch.no_grad()
    def start_linear(
        self, encoder: Tensor, log_variance: Tensor, decoder: Tensor
    ) -> None:
        """Set the weights to those of a linear model.

        Parameters
        ----------
        encoder : Tensor of shape (n_components, n_features)
            Maps a row to the mean of its code.
        log_variance : Tensor of shape (n_components,)
            Log-variances of the posterior, which are the same for all rows.
        decoder : Tensor of shape (n_components, n_features)
            Maps a code to a row by ``code @ decoder``.
        """
        inward, _ = self._last_layers()
        inward.bias[self.widths[-1] :] = log_variance
        if self.skip_in is not None and self.skip_out is not None:
            self.skip_in.copy_(encoder)
            self.skip_out.copy_(decoder)

    @property
    def dispersion(self) -> Tensor:
        """Dispersions of the likelihood, (n_dispersions,), positive."""
        return self.log_dispersion.exp() + self.floor

    @torch.no_grad()
    def set_dispersion(self, value: Tensor, floor: float) -> None:
        """Set `dispersion`, (n_dispersions,), and its minimum."""
        self.floor.fill_(floor)
        self.log_dispersion.copy_((value.cpu().double() - floor).log())

    def decode_dispersed(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Map codes to outputs and dispersions.

        Parameters
        ----------
        code : Tensor of shape (n, n_components)
            Codes.

        Returns
        -------
        output : Tensor of shape (n, n_features)
            Result of `decode`.
        dispersion : Tensor of shape (n_dispersions,) or (n, n_features)
            `dispersion`, or the dispersions of each code.
        """
        output, log_factor = self._decoded(code)
        output = self._with_skip(output, code)
        if log_factor is None:
            return output, self.dispersion
        # (n, n_features)
        logarithm = self.log_dispersion + log_factor
        logarithm = logarithm.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)
        return output, logarithm.exp() + self.floor

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to outputs, (n, n_features)."""
        return self._with_skip(self._decoded(code)[0], code)

    def _with_skip(self, output: Tensor, code: Tensor) -> Tensor:
        if self.skip_out is None:
            return output
        return torch.addmm(output, code, self.skip_out)

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to posterior means."""
        return self.posterior(x)[0]

    def code(
        self, x: Tensor, sample_weight: Tensor | None, generator: torch.Generator
    ) -> Code:
        """Draw codes from the posteriors of a training batch [1]_.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Rows to encode.
        sample_weight : Tensor of shape (n,) or None
            Their weights.
        generator : torch.Generator
            Draws the codes.

        Returns
        -------
        Code
            The cost is the mean divergence of posteriors from the prior, in nats.

        References
        ----------
        .. [1] Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
        """
        mean, log_variance = self.posterior(x)
        noise = torch.empty_like(mean).normal_(generator=generator)
        values = torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
        # (n, n_components) -> (n,)
        cost = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
        if sample_weight is not None:
            cost = cost * sample_weight
        return Code(values, cost.mean())

    @property
    def starts_as_pca(self) -> bool:
        """Whether the initial weights already reconstruct as PCA does."""
        return bool(self.config["linear_skip"])

    def adam_rates(self) -> tuple[float, dict[Tensor, float]]:
        """Return the learning rate for Adam, and the factors of wide layers."""
        rate = base_rate(
            self.config["activation"], None, has_skip=self.skip_in is not None
        )
        return rate, rate_factors(self._numbers_of_inputs(), FULL_WIDTH)

    def safe_factors(self, learning_rate: float) -> dict[Tensor, float]:
        """Return factors for wide rectified layers that the rate would kill."""
        if not self.rectifiers():
            return {}
        return rate_factors(self._numbers_of_inputs(), FATAL_STEP / learning_rate)

    def _numbers_of_inputs(self) -> list[tuple[Tensor, float]]:
        """List the weights, each with its number of inputs."""
        found: list[tuple[Tensor, float]] = [
            (layer.weight, layer.fans[0])
            for layer in self.modules()
            if isinstance(layer, Linear | Convolution | TransposedConvolution)
        ]
        if self.skip_in is not None and self.skip_out is not None:
            found.append((self.skip_in, self.widths[0]))
            found.append((self.skip_out, self.widths[-1]))
        return found


class DenseVariationalAutoencoder(VariationalNetwork):
    """Fully connected encoder to a posterior, and mirrored decoder.

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
    linear_skip : bool
        Whether linear maps are added to the hidden layers, whose last layers then start
        at zero: the network starts as the linear model of `start_linear`.
    n_dispersions : int
        Number of dispersions that the likelihood learns.
    varies : bool
        Whether the dispersions depend on the code, by factors of the learnt ones.
    likelihood : str
        Key of `LIKELIHOODS`; it does not affect the network.
    has_offset : bool
        Whether the likelihood depends on row totals; it does not affect the network.
    keeps_start : bool, default=False
        Whether the linear model that the network starts at is kept.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_components: int,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        linear_skip: bool,
        n_dispersions: int,
        varies: bool,
        likelihood: str,
        has_offset: bool,
        keeps_start: bool = False,
    ) -> None:
        super().__init__()
        self.config = {
            "n_features": n_features,
            "n_components": n_components,
            "hidden_layer_sizes": tuple(hidden_layer_sizes),
            "activation": activation,
            "linear_skip": linear_skip,
            "n_dispersions": n_dispersions,
            "varies": varies,
            "likelihood": likelihood,
            "has_offset": has_offset,
            "keeps_start": keeps_start,
        }
        self.widths = widths = [n_features, *hidden_layer_sizes, n_components]
        # Means and log-variances are two outputs of one layer.
        self.encoder = self._stack([*widths[:-1], 2 * n_components])
        n_outputs = n_features * (2 if varies else 1)
        self.decoder = self._stack([*widths[:0:-1], n_outputs])
        self._add_shared(has_skip=linear_skip and bool(hidden_layer_sizes))

    def _stack(self, widths: list[int]) -> nn.Sequential:
        """Return affine layers with activations between them."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers.append(Linear(inputs, outputs))
            layers.append(ACTIVATIONS[self.config["activation"]].module())
        return nn.Sequential(*layers[:-1])

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Draw the weights; with a skip, those of the last layers are zero."""
        for stack in (self.encoder, self.decoder):
            for layer in (each for each in stack if isinstance(each, Linear)):
                is_last = layer is stack[-1]
                kind = "identity" if is_last else self.config["activation"]
                draw_weight(layer.weight, layer.fans, ACTIVATIONS[kind], generator)
                nn.init.zeros_(layer.bias)
        self._silence()

    @torch.no_grad()
    def start_linear(
        self, encoder: Tensor, log_variance: Tensor, decoder: Tensor
    ) -> None:
        """Set the weights to those of a linear model; see `VariationalNetwork`."""
        super().start_linear(encoder, log_variance, decoder)
        if not self.config["hidden_layer_sizes"]:
            inward, outward = self._last_layers()
            inward.weight.zero_()
            inward.weight[: self.widths[-1]] = encoder
            outward.weight.zero_()
            outward.weight[: self.widths[0]] = decoder.t()

    def _last_layers(self) -> tuple[Linear, Linear]:
        inward, outward = self.encoder[-1], self.decoder[-1]
        assert isinstance(inward, Linear)
        assert isinstance(outward, Linear)
        return inward, outward

    def _encoded(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(x)
        return encoded

    def _decoded(self, code: Tensor) -> tuple[Tensor, Tensor | None]:
        decoded: Tensor = self.decoder(code)
        if not self.config["varies"]:
            return decoded, None
        output, log_factor = decoded.chunk(2, dim=1)
        return output, log_factor
