"""The input side of a matrix: maps between rows of numbers and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.ranges import restored_type, scale_down
from .._data.rows import RowMap, Rows, TrainingData, in_float32
from .._data.totals import with_total
from .._networks.autoencoder import Autoencoder
from .._objectives.losses import LOSSES, Loss
from .._preparation.preparation import Invertible, Preparation
from .._preparation.row_normalization import RowNormalization, learn_row_normalization
from .._preparation.whitening import Whitening, learn_whitening
from .._training.resources import n_threads

_CPU = torch.device("cpu")


def _unchanged(rows: Tensor) -> Tensor:
    return rows


@dataclass(frozen=True)
class MatrixSide:
    """Centres rows, divides them by one scale and prepares them; and the inverse.

    Parameters
    ----------
    mean : ndarray of shape (n_features,), float64
        Means of the columns.
    scale : float
        Root of their mean variance.
    preparation : Preparation
        Maps of standardised rows: optionally, row normalization and whitening.
    loss : Loss
        Cost of an error, and meaning of the network's output.
    loss_name : str
        Key of the loss in `LOSSES`.
    row_total : float or None, default=None
        Total that rows are scaled to first; None for no scaling.
    device : torch.device, default=cpu
        Device of its tensors.
    """

    mean: NDArray[np.float64]
    scale: float
    preparation: Preparation
    loss: Loss
    loss_name: str
    row_total: float | None = None
    device: torch.device = _CPU

    @property
    def width(self) -> int:
        """Number of columns of a decoded row."""
        return len(self.mean)

    @property
    def error_unit(self) -> float:
        """Factor that converts `errors` to squared units of the data."""
        return self.scale**2

    def to(self, device: torch.device) -> MatrixSide:
        """Return a copy on another device."""
        if device == self.device:
            return self
        return replace(
            self,
            preparation=self.preparation.to(device),
            loss=self.loss.to(device),
            device=device,
        )

    def rows(
        self, data: TrainingData, targets: NDArray[np.float32] | None = None
    ) -> Rows:
        """Return training data as standardised and prepared rows.

        Training rows are already scaled to the total of the fit.
        """
        return data.rows(
            self.mean,
            self.scale,
            self.device,
            prepare=self.preparation.forward if self.preparation.steps else None,
            targets=targets,
        )

    def new_rows(self, matrix: Any) -> Rows:
        """Return a user's matrix as standardised rows, which are not prepared yet."""
        return Rows(self._with_total(matrix), self.mean, self.scale, self.device)

    def _with_total(self, matrix: Any) -> Any:
        return matrix if self.row_total is None else with_total(matrix, self.row_total)

    def scaled_down(self, rows: NDArray[Any]) -> tuple[Tensor, NDArray[np.float64]]:
        """Standardise rows that are too large for float32.

        Returns
        -------
        rows : Tensor of shape (n, n_features), float32
            Standardised rows, divided by the divisors.
        divisors : ndarray of shape (n,)
            One for rows that are not too large; infinity where float64 overflows.
        """
        # Computed in numpy: an accelerator may not support float64.
        found, divisors = scale_down(self._with_total(rows), self.mean, self.scale)
        source = torch.from_numpy(found.astype(np.float32)).to(self.device)
        return source, divisors.ravel()

    @property
    def prepare(self) -> RowMap:
        """Function that maps standardised rows, (n, n_features), to network inputs."""
        return self.preparation.forward if self.preparation.steps else _unchanged

    def decoded(self, output: Tensor) -> Tensor:
        """Map the network's output to standardised rows, (n, n_features)."""
        return self.preparation.inverse(self.loss.mean(output))

    def errors(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the mean squared error of each standardised row, (n,)."""
        reconstruction = self.decoded(network(self.prepare(batch)))
        return (reconstruction - batch).square().mean(dim=1)

    def restore(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Convert decoded rows to the units of the data, in place where possible."""
        dtype = restored_type(self.mean, self.scale)
        restored: NDArray[Any] = rows.astype(dtype, copy=False)
        restored *= dtype.type(self.scale)
        restored += self.mean.astype(dtype)
        if np.isfinite(self.loss.lowest):
            # Rounding can lead out of the range.
            np.clip(restored, self.loss.lowest, self.loss.highest, out=restored)
        return restored

    def round_trip(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Convert decoded rows to the form that `rows` accepts."""
        return self.restore(rows)

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the side, as plain values and arrays."""
        normalization: RowNormalization | None = None
        whitening: Whitening | None = None
        for step in self.to(_CPU).preparation.steps:
            if isinstance(step, RowNormalization):
                normalization = step
            elif isinstance(step, Whitening):
                whitening = step
        total = {} if self.row_total is None else {"row_total_": self.row_total}
        loss = self.loss
        return {
            **total,
            "loss_function_": self.loss_name,
            "mean_": self.mean,
            "scale_": self.scale,
            "_row_normalization": (
                None
                if normalization is None
                else {**vars(normalization), "mean": normalization.mean.numpy()}
            ),
            "whitening_": None if whitening is None else whitening.matrix.numpy(),
            "dewhitening_": (
                None if whitening is None else whitening.inverse_matrix.numpy()
            ),
            "_loss_constants": {
                name: getattr(loss, name) for name in loss.constant_names
            },
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> MatrixSide:
        """Build the side, on the CPU, from the result of `attributes`."""
        steps: list[Invertible] = []
        normalization = attributes["_row_normalization"]
        if normalization is not None:
            mean = torch.tensor(normalization["mean"], device="cpu")
            steps.append(RowNormalization(**{**normalization, "mean": mean}))
        if attributes["whitening_"] is not None:
            steps.append(
                Whitening(
                    torch.tensor(attributes["whitening_"], device="cpu"),
                    torch.tensor(attributes["dewhitening_"], device="cpu"),
                )
            )
        name, mean, scale = (
            attributes[key] for key in ("loss_function_", "mean_", "scale_")
        )
        unit = in_float32(mean, scale, has_unit=LOSSES[name].has_unit)
        loss = _make_loss(name, *unit, attributes["_loss_constants"])
        total = attributes.get("row_total_")
        return cls(mean, scale, Preparation(steps), loss, name, total)


def _make_loss(
    name: str, mean: NDArray[np.float64], scale: float, constants: Mapping[str, float]
) -> Loss:
    center = torch.tensor(mean, dtype=torch.float32, device="cpu")
    return LOSSES[name](center, scale, **constants)


def learn_matrix_side(
    data: TrainingData,
    *,
    loss: str,
    normalize_rows: float | None,
    row_total: float | None,
    whiten: str | None,
    whiten_regularization: float,
) -> MatrixSide:
    """Learn the maps that are applied to rows before the network.

    Parameters
    ----------
    data : TrainingData
        The training rows.
    loss : str
        Key of `LOSSES`.
    normalize_rows, whiten_regularization : float or None, float
        Parameters of the estimator.
    row_total : float or None
        Total that the rows have been scaled to.
    whiten : {"zca", "pca"} or None
        Parameter of the estimator.

    Returns
    -------
    MatrixSide
        On the CPU.
    """
    mean, scale = data.moments(n_threads())
    unit = in_float32(mean, scale, has_unit=LOSSES[loss].has_unit)
    fitted = _make_loss(loss, *unit, {})
    side = MatrixSide(mean, scale, Preparation(), fitted, loss, row_total)
    if normalize_rows is not None:
        side = _with_step(
            side, learn_row_normalization(side.rows(data), normalize_rows)
        )
    if whiten is not None:
        side = _with_step(
            side, learn_whitening(side.rows(data), whiten, whiten_regularization)
        )
    if side.loss.learns:
        side.loss.learn(lambda values: side.rows(data).average(values))
    return side


def _with_step(side: MatrixSide, step: Invertible) -> MatrixSide:
    return replace(side, preparation=Preparation([*side.preparation.steps, step]))
