"""The model that a fit returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.rows import RowMap, blocks, take
from .._networks.autoencoder import Autoencoder
from .._networks.weights import own_array
from .._preparation.whitening import Whitening
from .._training.resources import one_thread
from .blocks import Blockwise, block_of
from .matrix import MatrixSide
from .prior import CodePrior
from .table import TableSide

Side = MatrixSide | TableSide
SideT = TypeVar("SideT", MatrixSide, TableSide)


@dataclass(frozen=True)
class CodeMap:
    """Maps between the network's code and the features that users get.

    Parameters
    ----------
    features : {"code", "sparse", "stack", "spread", "reconstruction"}
        Activations of the network that are the features, or the decoded rows.
    whitening : Whitening or None, default=None
        Map of the code.
    scale : float or None, default=None
        Divisor of the activations among the features.
    prior : CodePrior or None, default=None
        Distribution of the codes; None for the standard normal distribution.
    """

    features: str
    whitening: Whitening | None = None
    scale: float | None = None
    prior: CodePrior | None = None

    def to(self, device: torch.device) -> CodeMap:
        """Return a copy on another device."""
        return replace(
            self,
            whitening=None if self.whitening is None else self.whitening.to(device),
            prior=None if self.prior is None else self.prior.to(device),
        )

    def select(self, network: Autoencoder) -> Callable[[Tensor], Tensor]:
        """Return the method of the network that computes the features."""
        by_name: dict[str, Callable[[Tensor], Tensor]] = {
            "code": network.encode,
            "sparse": network.sparse,
            "stack": network.stack,
            "spread": network.spread,
            "reconstruction": network.encode,
        }
        return by_name[self.features]

    def forward(self, values: Tensor, n_components: int) -> Tensor:
        """Map activations to features, (n, n_features_out); the code comes last."""
        if self.whitening is None:
            return values
        hidden, code = values.tensor_split([-n_components], dim=1)
        return torch.cat([hidden, self.whitening.forward(code)], dim=1)

    def inverse(self, code: Tensor) -> Tensor:
        """Map codes of the user, (n, n_components), to those of the network."""
        return code if self.whitening is None else self.whitening.inverse(code)

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the maps, as plain values and arrays."""
        names = "code_mean_", "code_whitening_", "code_dewhitening_"
        found: dict[str, Any] = dict.fromkeys(names)
        if self.whitening is not None and self.whitening.mean is not None:
            found["code_mean_"] = own_array(self.whitening.mean)
            found["code_whitening_"] = own_array(self.whitening.matrix)
            found["code_dewhitening_"] = own_array(self.whitening.inverse_matrix)
        if self.scale is not None:
            found["features_scale_"] = self.scale
        if self.prior is not None:
            found.update(self.prior.attributes())
        return found

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> CodeMap:
        """Build the maps, on the CPU, from the result of `attributes`."""
        whitening = None
        if attributes["code_whitening_"] is not None:
            names = "code_whitening_", "code_dewhitening_", "code_mean_"
            whitening = Whitening(
                *(torch.tensor(attributes[name], device="cpu") for name in names)
            )
        scale = attributes.get("features_scale_")
        prior = CodePrior.from_attributes(attributes)
        return cls(attributes["features_"], whitening, scale, prior)


@dataclass(frozen=True)
class Model(Generic[SideT]):
    """Input side, network and code map: all that `transform` and related methods need.

    A model does not change, so several threads may apply it at the same time. It is
    built once, at the end of a fit or when an estimator is loaded.

    Parameters
    ----------
    side : MatrixSide or TableSide
        Maps between the user's rows and the network.
    network : Autoencoder
        The network, in evaluation mode.
    code : CodeMap
        Maps between the network's code and the user's features.
    """

    side: SideT
    network: Autoencoder
    code: CodeMap

    @property
    def n_components(self) -> int:
        """Width of the code."""
        return int(self.network.config["n_components"])

    @property
    def n_features_out(self) -> int:
        """Number of features that `encode` returns."""
        if self.code.features == "reconstruction":
            return self.side.width
        return self._n_activations

    @property
    def _n_activations(self) -> int:
        """Number of activations that features or reconstructions are made of."""
        if self.code.features in ("stack", "spread"):
            return self._n_spread + int(sum(self.network.widths[1:]))
        return self.n_components

    @property
    def _n_spread(self) -> int:
        """Number of features that are cells, not activations; they come first."""
        return self.network.n_spread if self.code.features == "spread" else 0

    def encode(self, matrix: Any) -> NDArray[Any]:
        """Return the features of rows, (n_samples, n_features_out), float32.

        Reconstructions are features in the units of the data, see `side.restore`.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_columns)
            Validated rows; for a table, encoded ones.
        """
        here, width = self.where_the_network_is(), self._n_activations
        features, _ = here.apply("encode", here._encode, matrix, width)
        if self.code.scale is not None:
            features[:, self._n_spread :] /= np.float32(self.code.scale)
        if self.code.features == "reconstruction":
            assert isinstance(self.side, MatrixSide)
            return self.side.restore(self.decode(features))
        return features

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return decoded rows, (n_samples, side.width), before `side.restore`.

        Parameters
        ----------
        features : ndarray of shape (n_samples, n), float32
            The code in the last `n_components` columns.
        """
        here, width = self.where_the_network_is(), self.side.width
        code = np.ascontiguousarray(features[:, -self.n_components :])
        if self.code.scale is not None:
            code = code * np.float32(self.code.scale)
        source = torch.tensor(code, device=here.side.device)
        return here.blockwise.apply("decode", here._decode, source, width)

    def reconstruct(self, matrix: Any) -> NDArray[np.float32]:
        """Return reconstructed rows, (n_samples, side.width), as `decode` does."""
        here, width = self.where_the_network_is(), self.side.width

        def reconstruct(batch: Tensor) -> Tensor:
            return here.side.decoded(self.network(here.side.prepare(batch)))

        rows = here.side.new_rows(matrix)
        return here.blockwise.apply("reconstruct", reconstruct, rows, width)

    def errors(self, matrix: Any) -> NDArray[np.float64]:
        """Return the reconstruction error of each row, (n_samples,); never NaN."""
        here = self.where_the_network_is()
        values, divisors = here.apply("errors", here._errors, matrix, 1)
        found: NDArray[np.float64] = values.ravel().astype(np.float64)
        if divisors is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                found *= divisors**2
            found[np.isnan(found)] = np.inf
        return found

    def cell_errors(self, matrix: Any) -> NDArray[np.float32]:
        """Return the reconstruction error of each cell of a table.

        Returns
        -------
        ndarray of shape (n_samples, n_columns), float32
            In the order of the table's columns; NaN for missing values.
        """
        here = self.where_the_network_is()
        side = here.side
        assert isinstance(side, TableSide)

        def errors(batch: Tensor) -> Tensor:
            return side.cell_errors(self.network, batch)

        rows = here.side.new_rows(matrix)
        found = here.blockwise.apply("cell errors", errors, rows, side.width)
        return found[:, side.table.places]

    def check_usable(self) -> None:
        """Apply the network to single rows, to detect parts that do not fit each other.

        Rows are not padded and blocks are not tested: only shapes matter here.
        """
        here = self.where_the_network_is()
        side, device = here.side, here.side.device
        code = torch.zeros(1, self.n_components, dtype=torch.float32, device=device)
        with one_thread(device), torch.inference_mode():
            decoded = here._decode(code)
            row = side.new_rows(side.round_trip(decoded.cpu().numpy()))[:]
            features, errors = here._encode(row), here._errors(row)
            if isinstance(side, TableSide):
                side.cell_errors(self.network, row)
        shapes = [tuple(values.shape) for values in (features, decoded, errors)]
        if shapes != [(1, self._n_activations), (1, side.width), (1, 1)]:
            raise ValueError(f"Rows of shapes {shapes} came out")

    def _encode(self, batch: Tensor) -> Tensor:
        """Map standardised rows to features, (n, n_features_out), not yet scaled."""
        values = self.code.select(self.network)(self.side.prepare(batch))
        return self.code.forward(values, self.n_components)

    def _decode(self, batch: Tensor) -> Tensor:
        """Map codes, (n, n_components), to decoded rows, (n, side.width)."""
        return self.side.decoded(self.network.decode(self.code.inverse(batch)))

    def _errors(self, batch: Tensor) -> Tensor:
        """Map standardised rows to their reconstruction errors, (n, 1)."""
        return self.side.errors(self.network, batch).unsqueeze(1)

    def apply(
        self,
        name: str,
        function: RowMap,
        matrix: Any,
        width: int,
        *,
        trial: RowMap | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Apply a function of the network to the user's rows, however large.

        Rows of a matrix that are too large for float32 are divided by a number first.
        The values of tables are clipped instead.

        Returns
        -------
        found : ndarray of shape (n_samples, width), float32
            The function's values.
        divisors : ndarray of shape (n_samples,) or None
            Divisors of the rows; None if no row was divided.
        """
        rows = self.side.new_rows(matrix)
        found = self.blockwise.apply(name, function, rows, width, trial=trial)
        if isinstance(self.side, TableSide) or np.isfinite(found).all():
            return found, None
        large = np.flatnonzero(~np.isfinite(found).all(axis=1))
        divisors = np.ones(len(found))
        for block in blocks(len(large), matrix.shape[1]):
            chosen = large[block]
            source, divisors[chosen] = self.side.scaled_down(take(matrix, chosen))
            found[chosen] = self.blockwise.apply(name, function, source, width)
        return found, divisors

    def share_trials(self, other: Model[Any]) -> None:
        """Use the sizes of blocks that are found for a model of the same shapes."""
        is_alike = type(self.network) is type(other.network)
        if is_alike and self.network.config == other.network.config:
            self.blockwise.share_sizes(other.blockwise)

    @cached_property
    def blockwise(self) -> Blockwise:
        """Applies functions of the network block by block, on the side's device."""
        block = block_of(self.network, self.side.device)
        return Blockwise(block, self.network.noise)

    @cached_property
    def _elsewhere(self) -> dict[torch.device, Model[SideT]]:
        """The model on other devices."""
        return {}

    def where_the_network_is(self) -> Model[SideT]:
        """Return the model with all its tensors on the device of the network."""
        device = next(self.network.parameters()).device
        if device == self.side.device:
            return self
        if device not in self._elsewhere:
            side, code = self.side.to(device), self.code.to(device)
            self._elsewhere[device] = replace(self, side=side, code=code)
        return self._elsewhere[device]
