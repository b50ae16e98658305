"""Autoencoders of tables: numbers, categories and dates, with missing values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags

from .._data.blocks import Blocks, as_blocks
from .._data.columns import Table
from .._data.frames import Columns
from .._data.held_out import hold_out_cells, hold_out_of_rows
from .._data.held_out_stream import hold_out_of_stream
from .._data.rows import N_SAMPLE, TrainingData
from .._data.streamed import StreamedMatrix
from .._data.table_blocks import (
    KindsOfBlocks,
    Part,
    Sample,
    check_stream,
    draw_sample,
    encoded,
    naming_sample,
    read_parts,
    refine,
    sample_size,
    widened,
)
from .._data.table_reading import (
    check_columns,
    learn_table,
    named_kinds,
    names_columns,
    warn_of_kinds,
)
from .._data.validation import check_weights, refuse
from .._data.world import World
from .._model.calibration import calibrate
from .._model.model import Model
from .._model.plan import Calibrate, CodePlan, Plan
from .._model.table import TableSide, learn_table_side
from .._networks.autoencoder import Autoencoder
from .._objectives.objectives import Objective
from .._persistence.returning import check_returns
from .base import BaseAutoencoder

# Bins of a number whose values are all rare, by the likelihood of held-out cells.
_MAX_BINS = 32


class TableAutoencoder(BaseAutoencoder):
    """An autoencoder of tables.

    A subclass defines the network and the objective that its parameters describe, in
    `_build_network` and `_make_objective`.
    """

    _side = TableSide
    _model: Model[TableSide]

    # Values of parameters that a subclass does not offer.
    categorical_features: Any = "from_dtype"
    column_kinds: Mapping[Any, str] | None = None
    scaling: Any = "standard"
    min_frequency: float | None = None
    max_categories: int | None = 64
    handle_unknown: Any = "infrequent_if_exist"
    number_output: str = "mean"

    @abstractmethod
    def _build_network(self, table: Table) -> Autoencoder:
        """Build the network for the columns, without initialising it."""

    @abstractmethod
    def _make_objective(self, side: TableSide) -> Objective:
        """Return the objective of training, for the input side."""

    # Validation

    def _read_training_data(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        before: Model[Any] | None,
        *,
        min_rows: int = 2,
        world: World | None = None,
    ) -> tuple[TrainingData, Any]:
        X = as_blocks(X)
        if isinstance(X, Blocks):
            data, form = self._read_blocks(X, sample_weight, before, min_rows)
        else:
            data, form = self._read_frame(X, sample_weight, before, min_rows)
        return data, (*form, self._sample_to_fill(data))

    def _read_frame(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        before: Model[Any] | None,
        min_rows: int,
    ) -> tuple[TrainingData, tuple[Table, Any]]:
        """Validate data in memory; see `_read_training_data`."""
        table = None if before is None else before.side.table
        columns = self._check_columns(X, table, min_rows=min_rows)
        weights = check_weights(sample_weight, np.empty((columns.n_rows, 0)))
        schema = columns.schema()
        if weights is not None and not weights.all():
            # Rows of weight zero must have no effect at all.
            columns, weights = columns.take(weights > 0), weights[weights > 0]
        if before is None or table is None:
            table = self._learn_table(columns, weights)
            matrix = table.encode(columns, warns=False)
            return TrainingData(matrix, weights), (table, schema)
        data = TrainingData(table.encode(columns), weights)
        return data, (table.widened(columns), before.side.schema)

    def _read_blocks(
        self,
        X: Blocks,
        sample_weight: ArrayLike | None,
        before: Model[Any] | None,
        min_rows: int,
    ) -> tuple[TrainingData, tuple[Table, Any]]:
        """Validate data in blocks; see `_read_training_data`."""
        weights = None
        if sample_weight is not None:
            given = np.asarray(sample_weight)
            weights = check_weights(given, np.empty((given.shape[0], 0)))
        known = None if before is None else before.side.table
        kinds = KindsOfBlocks()

        def read(table: Table | None = known) -> Iterator[Part]:
            def check(block: Any, is_first: bool) -> Columns:
                is_new = table is None
                columns = self._check_columns(block, table, reset=is_new and is_first)
                if is_new:
                    kinds.check(columns, self._named_kinds(columns))
                return columns

            return read_parts(X, check, weights)

        sample = draw_sample(read(), sample_size(X))
        check_stream(sample, weights, min_rows)
        if before is None or known is None:
            table, schema = self._learn_streamed(sample, read)
        else:
            table, schema = widened(known, read()), before.side.schema
        kept = None if weights is None else weights[weights > 0]
        n_rows = sample.n_rows if kept is None else len(kept)
        matrix = encoded(X, known or table, read, n_rows)
        return TrainingData(matrix, kept), (table, schema)

    def _sample_to_fill(self, data: TrainingData) -> TrainingData | None:
        """Return a sample of rows, before any of their cells are held out."""
        if not self._predicts_distributions or _is_long(data):
            return None
        return TrainingData(*data.sample(N_SAMPLE))

    def _learn_streamed(
        self, sample: Sample, read: Callable[[Table], Iterator[Part]]
    ) -> tuple[Table, Any]:
        """Learn the columns from a sample, and from all rows if that lacks some."""
        columns, schema = sample.part.columns, sample.part.columns.schema()
        with naming_sample(sample):
            table = self._learn_table(columns, sample.part.weights)
        if not sample.is_whole:
            table = refine(table, read(table))
            check_returns(table, schema)
        return table, schema

    def _named_kinds(self, columns: Columns) -> dict[int, str]:
        return named_kinds(
            columns,
            self.categorical_features,
            self.column_kinds,
            partial(refuse, self),
        )

    def _learn_table(self, columns: Columns, weights: Any) -> Table:
        named = self._named_kinds(columns)
        table = learn_table(
            columns,
            weights,
            named,
            scaling=self.scaling,
            min_frequency=self.min_frequency,
            max_categories=self.max_categories,
            handle_unknown=self.handle_unknown,
            max_bins=_MAX_BINS if self._predicts_distributions else None,
        )
        check_returns(table, columns.schema())
        warn_of_kinds(columns, table, named)
        return table

    def _columns_of(self, form: Any) -> Any:
        # The result of a fit can depend on names and kinds of columns by parameters.
        table = form[0]
        names = [(column.name, column.kind) for column in table.columns]
        layout = table.layout
        return [names, layout.n_codes, layout.n_levels, *filter(None, [layout.n_bins])]

    def _read_rows(self, X: Any) -> Any:
        table = self._model.side.table
        return table.encode(self._check_columns(X, table))

    def _check_columns(
        self,
        X: Any,
        table: Table | None,
        *,
        reset: bool | None = None,
        min_rows: int = 1,
    ) -> Columns:
        return check_columns(
            self,
            X,
            table=table,
            reset=reset,
            min_rows=min_rows,
            # Categories may be strings.
            only_numbers=not names_columns(
                self.categorical_features, self.column_kinds
            ),
        )

    @property
    def _predicts_distributions(self) -> bool:
        return self.number_output == "distribution"

    def _hold_out(
        self,
        data: TrainingData,
        form: Any,
        random_state: np.random.RandomState,
    ) -> tuple[TrainingData, TrainingData | None]:
        if not self._predicts_distributions:
            return super()._hold_out(data, form, random_state)
        cells = form[0].layout.cells
        if not self._holds_out(data):
            hold_out = hold_out_of_stream if _is_long(data) else hold_out_cells
            return hold_out(data, cells)
        data, held_out = data.split(self.validation_fraction, random_state)
        return data, hold_out_of_rows(held_out, cells)

    # From parameters to a plan

    def _plan(
        self,
        data: TrainingData,
        form: Any,
        before: Model[Any] | None,
        *,
        in_parts: bool,
    ) -> Plan:
        table, schema, whole = form
        loss = "squared_error" if self.loss == "auto" else str(self.loss)
        budget = self._budget(data, in_parts=in_parts)
        return Plan(
            build_network=partial(self._build_network, table),
            learn_side=partial(learn_table_side, table=table, schema=schema, loss=loss),
            continue_side=partial(replace, table=table, linear=None),
            make_objective=self._make_objective,
            budget=budget,
            solver=self._solver(),
            code=CodePlan(self.features, n_columns=len(table.columns)),
            tol=self.tol,
            n_iter_no_change=self._patience(budget.max_iter),
            shuffle=self.shuffle,
            device=self.device,
            calibrate=self._calibrates(data, whole, in_parts=in_parts),
            validates=bool(self.early_stopping),
            single_row=in_parts and before is not None,
        )

    def _calibrates(
        self, data: TrainingData, whole: TrainingData | None, *, in_parts: bool
    ) -> Calibrate | None:
        """Return the corrections of distributions after training, if there are any."""
        if not self._predicts_distributions:
            return None
        # The margins of one part are not those of all.
        return partial(
            calibrate, count=data.count, whole=whole, with_margins=not in_parts
        )

    def _patience(self, max_iter: int) -> int:
        """Return the number of epochs without improvement after which to stop."""
        has_default_length = self._predicts_distributions and self.max_iter == "auto"
        if has_default_length and not self.early_stopping:
            # With half of the cells hidden at random, the training loss of a small
            # table varies more than it falls, while the learning rate is still high.
            return max_iter
        return int(self.n_iter_no_change)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _is_long(data: TrainingData) -> bool:
    """Whether the rows are a stream that is longer than its buffer."""
    matrix = data.matrix
    return isinstance(matrix, StreamedMatrix) and len(data) > matrix.capacity
