"""The objective of fits that have labels of some rows."""

from __future__ import annotations

import torch
from torch import Tensor

from .._networks.autoencoder import Autoencoder
from .losses import Loss
from .objectives import Change, ReconstructionObjective, weighted_mean

# Standard deviations of a component per unit of the label. Linear models with a penalty
# prefer columns of a large variance.
_UNITS = 10.0


class LabelObjective(ReconstructionObjective):
    """Reconstruct rows, and read labels from the last components of their codes.

    Targets are labels: a column per class or a number, and a weight.

    Parameters
    ----------
    loss : Loss
        Cost of an error of the reconstruction.
    corruption : callable or None
        Takes a batch and a generator, and returns the batch that is encoded.
    n_components : int
        Number of components that labels are read from.
    n_classes : int
        Number of classes; 0 for labels that are numbers.
    deviance : float
        Mean cost of the frequencies of the classes; 1 for numbers.
    label_weight : float
        Weight of the labels' cost, which is a share of their deviance.
    """

    def __init__(
        self,
        loss: Loss,
        *,
        corruption: Change | None,
        n_components: int,
        n_classes: int,
        deviance: float,
        label_weight: float,
    ) -> None:
        super().__init__(loss, corruption=corruption)
        self.n_components = n_components
        self.n_classes = n_classes
        self.deviance = deviance
        self.label_weight = label_weight
        self.is_squared_error = False

    def __call__(
        self,
        network: Autoencoder,
        batch: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the loss of a training batch, a scalar; see `Objective`."""
        source, batch, _ = self.draw(batch, batch, generator)
        code, cost = network.code(source, sample_weight, generator)
        errors = self.loss.rows(network.decode(code, sample_weight), batch)  # (n,)
        errors = errors + self.label_weight * self._label_costs(code, target)
        loss = weighted_mean(errors, sample_weight)
        return loss if cost is None else loss + cost

    def _label_costs(self, code: Tensor, target: Tensor) -> Tensor:
        """Return the weighted cost of each row's label, (n,)."""
        found = code[:, -self.n_components :] / _UNITS
        wanted, weights = target[:, :-1], target[:, -1]
        if not self.n_classes:
            return weights * (found - wanted).square().sum(dim=1)
        if self.n_classes == 2:
            found = torch.cat([torch.zeros_like(found), found], dim=1)
        costs = -(wanted * found.log_softmax(dim=1)).sum(dim=1)
        return weights * costs / self.deviance
