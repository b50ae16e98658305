"""Closed-form gradients of the evidence lower bound of dense networks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._networks.gradients import Backward, ClosedFormStack
from .._networks.variational import (
    HIGHEST_LOG_VARIANCE,
    LOWEST_LOG_VARIANCE,
    DenseVariationalAutoencoder,
)
from .likelihoods import Likelihood
from .objectives import weighted_mean

_aten = torch.ops.aten

# Input and affine map of each layer.
Passes = list[tuple[Tensor, Tensor]]


class _Posterior(NamedTuple):
    """Posteriors of a batch, and the codes drawn from them, all (n, n_components)."""

    mean: Tensor
    log_variance: Tensor
    unclamped: Tensor
    spread: Tensor
    noise: Tensor
    code: Tensor


class _Skip:
    """Weight of a linear skip, (n_components, n_features), and its gradient."""

    def __init__(self, weight: Tensor, gradient: Tensor | None) -> None:
        self.weight, self.transposed = weight, weight.t()
        self.gradient = gradient


class BoundBackward(Backward):
    """The negative evidence lower bound and its gradients, without autograd.

    Codes are drawn as in `VariationalNetwork.code`.

    Parameters
    ----------
    network : DenseVariationalAutoencoder
        Its parameters have a ``grad`` and are not moved afterwards.
    likelihood : Likelihood
        Likelihood of the rows.
    kl_weight : float
        Weight of the divergence of the posteriors from the prior.
    generator : torch.Generator
        Draws the codes.
    """

    def __init__(
        self,
        network: DenseVariationalAutoencoder,
        likelihood: Likelihood,
        kl_weight: float,
        generator: torch.Generator,
    ) -> None:
        self.likelihood = likelihood
        self.kl_weight = kl_weight
        self.generator = generator
        self.n_features, self.n_components = network.widths[0], network.widths[-1]
        activation = network.config["activation"]
        self.encoder = ClosedFormStack([network.encoder], activation)
        self.decoder = ClosedFormStack([network.decoder], activation)
        self.skips = [
            None if skip is None else _Skip(skip.detach(), skip.grad)
            for skip in (network.skip_in, network.skip_out)
        ]
        # Modules look their attributes up slowly.
        self.varies, self.floor = network.config["varies"], network.floor
        self.log_dispersion = network.log_dispersion.detach()
        self.log_dispersion_gradient = network.log_dispersion.grad

    def __call__(
        self, source: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the loss, and store its gradients; see `Backward`."""
        inward = self.encoder.forward(source)
        drawn = self._draw(inward[-1][1], source)
        outward = self.decoder.forward(drawn.code)
        # Factor of the derivatives of a row's bound, a number or (n, 1).
        factor: float | Tensor = -1.0 / len(source)
        if sample_weight is not None:
            factor = factor * sample_weight.unsqueeze(1)
        rows, direct = self._likelihood(outward[-1][1], drawn.code, target, factor)
        by_code = self._backward_decoder(direct, drawn.code, outward)
        divergence = self._backward_encoder(by_code, factor, drawn, inward)
        loss = weighted_mean(self.kl_weight * divergence - rows, sample_weight)
        return loss - self.likelihood.unit(self.n_features)

    def _draw(self, encoded: Tensor, source: Tensor) -> _Posterior:
        """Draw codes from the posteriors of a batch."""
        mean, unclamped = encoded.chunk(2, dim=1)
        if self.skips[0] is not None:
            mean = torch.addmm(mean, source, self.skips[0].transposed)
        log_variance = unclamped.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)
        spread = (0.5 * log_variance).exp_()
        noise = torch.empty_like(mean).normal_(generator=self.generator)
        code = torch.addcmul(mean, spread, noise)
        return _Posterior(mean, log_variance, unclamped, spread, noise, code)

    def _likelihood(
        self, decoded: Tensor, code: Tensor, target: Tensor, factor: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-likelihoods, (n,), and the gradient by the decoder's output.

        The gradient by the dispersions is stored.
        """
        n_features = self.n_features
        output = decoded[:, :n_features] if self.varies else decoded
        if self.skips[1] is not None:
            output.addmm_(code, self.skips[1].weight)
        logarithms = self.log_dispersion
        if self.varies:
            logarithms = logarithms + decoded[:, n_features:]  # (n, n_features)
            clamped = logarithms.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)
        else:
            clamped = logarithms
        above_floor = clamped.exp()
        slopes = self.likelihood.slopes(output, target, above_floor + self.floor)
        by_output, by_dispersion = slopes.by_output.mul_(factor), slopes.by_dispersion
        if by_dispersion is None:
            return slopes.rows, by_output
        # (n, n_dispersions)
        by_logarithm = by_dispersion.mul_(factor).mul_(above_floor)
        direct = by_output
        if self.varies:
            by_logarithm = _aten.hardtanh_backward(
                by_logarithm, logarithms, LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE
            )
            direct = torch.cat([by_output, by_logarithm], dim=1)
        torch.sum(by_logarithm, 0, out=self.log_dispersion_gradient)
        return slopes.rows, direct

    def _backward_decoder(
        self, direct: Tensor, code: Tensor, outward: Passes
    ) -> Tensor:
        """Store the gradients of the decoder; return that by the codes."""
        skip = self.skips[1]
        gradient = self.decoder.backward(direct, outward)
        by_code = self.decoder.to_input(gradient)  # (n, n_components)
        if skip is not None:
            by_output = direct[:, : self.n_features]
            torch.mm(code.t(), by_output, out=skip.gradient)
            by_code.addmm_(by_output, skip.transposed)
        return by_code

    def _backward_encoder(
        self, by_code: Tensor, factor: float | Tensor, drawn: _Posterior, inward: Passes
    ) -> Tensor:
        """Store the gradients of the encoder; return the divergences of rows, (n,)."""
        mean, log_variance, unclamped, spread, noise, _ = drawn
        variance = spread.square()
        divergence = 0.5 * (mean.square() + variance - log_variance - 1).sum(dim=1)
        weight = factor * -self.kl_weight
        by_mean = torch.add(by_code, mean * weight)
        by_log_variance = (by_code * noise).mul_(spread)
        by_log_variance.add_((variance - 1).mul_(weight)).mul_(0.5)
        by_log_variance = _aten.hardtanh_backward(
            by_log_variance, unclamped, LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE
        )
        skip = self.skips[0]
        if skip is not None:
            torch.mm(by_mean.t(), inward[0][0], out=skip.gradient)
        # (n, 2 * n_components)
        self.encoder.backward(torch.cat([by_mean, by_log_variance], dim=1), inward)
        return divergence
