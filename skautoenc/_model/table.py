"""The input side of a table: maps between its columns and the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._data.columns import Table, entropy
from .._data.frames import Columns, Schema, fill_gaps, make_array, make_frame
from .._data.rows import RowMap, Rows, TrainingData
from .._data.trial import try_some_columns
from .._networks.autoencoder import Autoencoder
from .._objectives.distributions import BinnedNumbers, DistributionObjective
from .._objectives.losses import LOSSES, Loss
from .._objectives.objectives import without_nan
from .._objectives.tabular import TabularObjective
from .linear_fill import NO_LINEAR_FILL, LinearFill

_CPU = torch.device("cpu")
# If there are more columns, one of each kind is tested.
_MANY_COLUMNS = 50


@dataclass(frozen=True)
class TableSide:
    """Columns as numbers and integer codes of categories; missing values are NaN.

    Parameters
    ----------
    table : Table
        The columns.
    schema : Schema or None
        Types of the frame; None for an array.
    loss : Loss
        Cost of an error of a number.
    loss_name : str
        Key of the loss in `LOSSES`.
    deviances : list of float
        Cross-entropy of each categorical column under its frequencies.
    device : torch.device, default=cpu
        Device of its tensors.
    linear : LinearFill or None, default=None
        Predictions of missing cells in addition to those of the network.
    """

    table: Table
    schema: Schema | None
    loss: Loss
    loss_name: str
    deviances: list[float]
    device: torch.device = _CPU
    linear: LinearFill | None = None

    error_unit = 1.0  # Costs are already shares of deviance.

    @property
    def width(self) -> int:
        """Number of columns of a decoded row."""
        layout = self.table.layout
        return layout.n_numbers + len(layout.n_levels)

    def to(self, device: torch.device) -> TableSide:
        """Return a copy on another device."""
        if device == self.device:
            return self
        return replace(self, loss=self.loss.to(device), device=device)

    def rows(
        self, data: TrainingData, targets: NDArray[np.float32] | None = None
    ) -> Rows:
        """Return an encoded table as rows; its columns are already scaled."""
        return Rows(
            data.matrix,
            np.zeros(data.shape[1]),
            1.0,
            self.device,
            index=data.index,
            weights=data.weights,
            targets=targets,
        )

    def new_rows(self, matrix: Any) -> Rows:
        """Return a user's encoded table as rows."""
        return Rows(matrix, np.zeros(matrix.shape[1]), 1.0, self.device)

    @property
    def prepare(self) -> RowMap:
        """Function that maps rows to network inputs: the identity."""
        return lambda batch: batch

    def objective(
        self,
        rates: Sequence[float] | None = None,
        *,
        swaps: bool = False,
        corruption_weight: float = 1.0,
    ) -> TabularObjective:
        """Return the objective for training, or without `rates` for evaluation.

        Parameters
        ----------
        rates : sequence of float of length n_cells, optional
            Share of the rows in which each cell is hidden.
        swaps : bool, default=False
            Whether a hidden cell takes the value of another row instead of being
            missing.
        corruption_weight : float, default=1.0
            Weight of the hidden cells relative to the others.
        """
        layout, categories = self.table.layout, self.table.categories
        if rates is None:
            rates = [0.0] * layout.n_cells
        to_tensor = partial(torch.tensor, dtype=torch.float32, device=self.device)
        make: Any = partial(TabularObjective, self.loss)
        if layout.n_bins:
            make = partial(DistributionObjective, self.loss, self.bins)
        objective: TabularObjective = make(
            n_levels=layout.n_levels,
            deviances=to_tensor(self.deviances),
            cells=torch.tensor(layout.cells, device=self.device),
            rates=to_tensor(rates),
            swaps=swaps,
            corruption_weight=corruption_weight,
            rare_costs=to_tensor([column.rare_cost for column in categories]),
            unknown_costs=to_tensor([column.unknown_cost for column in categories]),
        )
        return objective

    @cached_property
    def bins(self) -> BinnedNumbers:
        """What the distributions of numbers are over."""
        numbers = self.table.in_order[: self.table.layout.n_numbers]
        found = [column.bins for column in numbers]
        return BinnedNumbers(
            [
                [] if column.bins is None else column.edges.tolist()
                for column in numbers
            ],
            [1.0 if bins is None else entropy(bins.shares) for bins in found],
            self.table.layout.n_bins,
            self.device,
        )

    @cached_property
    def evaluation(self) -> TabularObjective:
        """The objective without corruption."""
        return self.objective()

    def decoded(self, output: Tensor) -> Tensor:
        """Map the output to numbers and codes of likeliest categories, (n, width)."""
        layout = self.table.layout
        numbers, logits = output.tensor_split([layout.n_numbers], dim=1)
        levels = [
            column_logits.argmax(dim=1, keepdim=True)
            if column_logits.shape[1]
            else column_logits.new_zeros(len(output), 1)
            for column_logits in torch.split(logits, list(layout.n_levels), dim=1)
        ]
        return torch.cat([numbers, *levels], dim=1)

    def errors(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the mean cost of each row's cells, (n,), for scores."""
        return self.evaluation.score(network, batch)

    def cell_errors(self, network: Autoencoder, batch: Tensor) -> Tensor:
        """Return the cost of each cell, (n, width); NaN for missing values."""
        costs, seen = self.evaluation.surprise(network(batch), batch)
        return without_nan(costs).masked_fill(seen == 0, torch.nan)

    def restore(
        self, rows: NDArray[np.float32], like: Columns | None = None
    ) -> list[NDArray[Any]]:
        """Convert decoded rows to values, one array per column.

        Dates in text columns are formatted as in the columns of `like`.
        """
        n_numbers = self.table.layout.n_numbers
        return self.table.decode(rows[:, :n_numbers], rows[:, n_numbers:], like)

    def as_frame(self, values: list[NDArray[Any]], index: Any = None) -> Any:
        """Convert the result of `restore` to a frame as in the fit, or an array."""
        if self.schema is None:
            return make_array(values)
        return make_frame(self.table.written(values), self.schema, index)

    def fill(self, columns: Columns, rows: NDArray[np.float32]) -> Any:
        """Return a copy of a frame or array with missing values filled from rows."""
        values = self.restore(rows, columns if columns.is_frame else None)
        return self.fill_with(columns, values)

    def fill_with(self, columns: Columns, values: list[NDArray[Any]]) -> Any:
        """Return a copy of a frame or array with missing values filled by column."""
        gaps = self.table.gaps(columns)
        if columns.is_frame:
            values = [
                self._suited(columns, place, gap, found)
                for place, (gap, found) in enumerate(zip(gaps, values, strict=True))
            ]
            filled = fill_gaps(columns.native, gaps, values, self.schema)
            return columns.as_given(filled)
        filled = np.array(columns.native, copy=True)
        for place, (gap, column) in enumerate(zip(gaps, values, strict=True)):
            filled[gap, place] = column[gap]
        return filled

    def _suited(
        self,
        columns: Columns,
        place: int,
        gap: NDArray[np.bool_],
        values: NDArray[Any],
    ) -> NDArray[Any]:
        """Return values of a column as its type holds them, to fill its gaps with."""
        if gap.all():
            # A column without any value has the type of the fit.
            written: NDArray[Any] = self.table.columns[place].written(values)
            return written
        return columns.suit(place, values) if gap.any() else values

    def round_trip(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert decoded rows to values, and encode these as `rows` accepts them.

        If there are many columns, one of each kind is tested and the result is zeros.
        """
        if len(self.table.columns) > _MANY_COLUMNS:
            try_some_columns(self.table, self.schema)
            width = len(self.table.layout.cells)
            return np.zeros((len(rows), width), dtype=np.float32)
        columns = Columns(self.as_frame(self.restore(rows)))
        self.fill(columns, rows)
        return self.table.encode(columns, warns=False)

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the side, as plain values and arrays."""
        columns = self.table.columns
        return {
            "_table": self.table,
            "_schema": self.schema,
            "column_kinds_": {column.name: column.kind for column in columns},
            "loss_function_": self.loss_name,
            # Estimators of matrices have these attributes, and files hold them.
            "_row_normalization": None,
            "whitening_": None,
            "dewhitening_": None,
            "_deviances": self.deviances,
            "_loss_constants": {},
            **(NO_LINEAR_FILL if self.linear is None else self.linear.attributes()),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> TableSide:
        """Build the side, on the CPU, from the result of `attributes`."""
        table, schema, name, deviances = (
            attributes[key]
            for key in ("_table", "_schema", "loss_function_", "_deviances")
        )
        loss = _make_loss(name, attributes["_loss_constants"])
        linear = LinearFill.from_attributes(attributes, table.layout.n_levels)
        return cls(table, schema, loss, name, deviances, linear=linear)


def _make_loss(name: str, constants: Mapping[str, float]) -> Loss:
    nothing = torch.zeros(0, dtype=torch.float32, device="cpu")
    return LOSSES[name](nothing, 1.0, **constants)


def learn_table_side(
    data: TrainingData, *, table: Table, schema: Schema | None, loss: str
) -> TableSide:
    """Learn the divisors of the costs.

    Parameters
    ----------
    data : TrainingData
        The encoded rows.
    table : Table
        The table that encoded them.
    schema : Schema or None
        Types of the frame; None for an array.
    loss : str
        Key of `LOSSES`.
    """
    n_levels = table.layout.n_levels
    kind = np.int64 if data.weights is None else np.float64
    counts = [np.zeros(count, dtype=kind) for count in n_levels]
    n_read = 0
    for rows in data.in_blocks() if n_levels else ():
        weights = None
        if data.weights is not None:
            weights = data.weights[n_read : n_read + len(rows)]
        n_read += len(rows)
        codes = rows[:, rows.shape[1] - len(n_levels) :]
        for number, found in enumerate(counts):
            _count(codes[:, number], weights, found)
    deviances = [entropy(found) for found in counts]
    return TableSide(table, schema, _make_loss(loss, {}), loss, deviances)


def _count(
    codes: NDArray[np.float32], weights: NDArray[Any] | None, counts: NDArray[Any]
) -> None:
    """Add the frequencies of codes of categories to `counts`."""
    seen = codes < len(counts)
    # One after the other: the sums do not depend on how rows are divided into blocks.
    np.add.at(
        counts, codes[seen].astype(np.int64), 1 if weights is None else weights[seen]
    )
