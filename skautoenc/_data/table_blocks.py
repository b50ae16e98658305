"""Tables that are read in blocks.

A sample of the rows decides what can be learnt of a few thousand as well as of all:
kinds and types of columns, quantiles, and the form of dates. A second pass makes the
rest exact: categories and their frequencies, ranges, means and scales.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .blocks import Blocks, buffer_rows
from .columns import CategoryColumn, Table, is_missing
from .frames import Columns
from .row_keys import mix
from .streamed import StreamedMatrix

Weights = NDArray[np.float64]
# Validates a block; whether it is the first one comes second.
Check = Callable[[Any, bool], Columns]

# Fewest rows to learn quantiles from: each is then within 1.1 percentage points of that
# of all rows, with a probability of 1 - 1e-6 (Dvoretzky, Kiefer and Wolfowitz).
FEWEST_SAMPLED = 2**16
# Rows to sample if the size of the buffer does not say so.
MOST_SAMPLED = 2**18


class Part(NamedTuple):
    """Rows of positive weight of a block.

    Parameters
    ----------
    columns : Columns
        The rows.
    rows : ndarray of shape (n,), int64
        Their numbers in the stream.
    weights : ndarray of shape (n,) or None
        Their weights.
    start, stop : int
        The rows of the block in the stream, those of weight zero included.
    """

    columns: Columns
    rows: NDArray[np.int64]
    weights: Weights | None
    start: int
    stop: int

    def take(self, chosen: NDArray[np.bool_]) -> Part:
        """Return chosen rows."""
        weights = None if self.weights is None else self.weights[chosen]
        columns, rows = self.columns.take(chosen), self.rows[chosen]
        return Part(columns, rows, weights, self.start, self.stop)


def read_parts(
    blocks: Iterable[Any], check: Check, weights: Weights | None
) -> Iterator[Part]:
    """Validate the blocks of one pass, and iterate over their rows.

    Raises
    ------
    ValueError or TypeError
        If a block is not valid; with the number of its first row.
    """
    n_read = 0
    for block in blocks:
        with naming_block(n_read):
            columns = check(block, n_read == 0)
        start, n_read = n_read, n_read + columns.n_rows
        rows = np.arange(start, n_read)
        if weights is None:
            yield Part(columns, rows, None, start, n_read)
            continue
        if n_read > len(weights):
            raise ValueError(
                f"sample_weight has {len(weights)} entries, but the blocks have more "
                "rows. Give each row of all blocks a weight."
            )
        part = Part(columns, rows, weights[rows], start, n_read)
        seen = weights[rows] > 0
        yield part if seen.all() else part.take(seen)


@contextmanager
def _saying(where: str | None) -> Iterator[None]:
    """Say in an error where its rows are; None if they are all rows of the data."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if where is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from error


def naming_block(first_row: int) -> AbstractContextManager[None]:
    """Name the block that is not valid in an error, by its first row."""
    return _saying(
        f"In the block that begins with row {first_row}" if first_row else None
    )


class KindsOfBlocks:
    """The kinds of columns by their types, which all blocks must agree on."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[str, str]] = {}

    def check(self, columns: Columns, named: Mapping[int, str]) -> None:
        """Compare a block with those before it, except columns of a kind by parameter.

        Raises
        ------
        ValueError
            If a column that is not all missing is of another kind.
        """
        for place in columns:
            if place in named or is_missing(columns[place]):
                continue
            kind = columns.kind(place)
            if kind == "date" and columns.has_zone(place):
                kind = "date with a time zone"
            found = kind, columns.type_name(place)
            before = self._first.setdefault(place, found)
            if before[0] != kind:
                told = [f"{a}s ({b})" for a, b in (found, before)]
                raise ValueError(
                    f"Column {columns.names[place]!r} holds {told[0]}, but held "
                    f"{told[1]} in the blocks before. Give it one type, or say what "
                    "it is, with column_kinds."
                )


class Sample(NamedTuple):
    """Rows that are drawn from all blocks.

    Parameters
    ----------
    part : Part
        The rows, in their order.
    n_rows : int
        Number of rows of the blocks.
    is_whole : bool
        Whether it holds all rows of positive weight.
    """

    part: Part
    n_rows: int
    is_whole: bool


def naming_sample(sample: Sample) -> AbstractContextManager[None]:
    """Say in an error that its rows are not those of the data, but of a sample."""
    return _saying(None if sample.is_whole else "In a sample of the rows of all blocks")


def draw_sample(parts: Iterable[Part], size: int) -> Sample:
    """Draw rows, each with the same probability, in one pass.

    Which rows these are follows from their numbers, not from how they are divided into
    blocks.
    """
    kept: list[Part] = []
    n_kept, n_rows, is_whole = 0, 0, True
    limit = np.uint64(2**64 - 1)
    for part in parts:
        n_rows = part.stop
        chosen = part.take(_keys(part) <= limit)
        kept.append(chosen)
        n_kept += len(chosen.rows)
        if n_kept > 2 * size:
            kept, limit = _prune(kept, size)
            n_kept, is_whole = size, False
    if not kept:
        raise ValueError("Blocks have 0 rows, but two are needed at least.")
    if n_kept > size:
        kept, limit = _prune(kept, size)
        is_whole = False
    return Sample(_join(kept), n_rows, is_whole)


def _keys(part: Part) -> NDArray[np.uint64]:
    """Return numbers that order the rows at random."""
    return mix(part.rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _prune(parts: list[Part], size: int) -> tuple[list[Part], np.uint64]:
    """Keep the rows of the smallest keys; return them with the largest of these."""
    part = _join(parts)
    keys = _keys(part)
    limit = np.partition(keys, size - 1)[size - 1]
    return [part.take(keys <= limit)], limit


def _join(parts: list[Part]) -> Part:
    """Put parts together, in the types that hold all of them."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0].columns
    for part in parts:
        if part.columns.library != first.library:
            raise ValueError(
                f"The block with row {part.rows[0]} is {_told(part.columns)}, but the "
                f"first one is {_told(first)}. Give all blocks one type."
            )
    frames = [part.columns.native for part in parts]
    if not first.is_frame:
        native: Any = np.concatenate(frames)
    elif first.library == "polars":
        native = _join_polars(frames)
    else:
        native = pd.concat(frames, ignore_index=True)
    columns = Columns(native)
    columns.library = first.library
    weights = None
    if parts[0].weights is not None:
        weights = np.concatenate([part.weights for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    return Part(columns, rows, weights, parts[0].start, parts[-1].stop)


def _join_polars(frames: list[Any]) -> Any:
    import polars as pl

    try:
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"The blocks differ in the types of their columns ({error}). Give all "
            "blocks the same types."
        ) from error


def _told(columns: Columns) -> str:
    return f"a frame of {columns.library}" if columns.is_frame else "an array"


# The second pass


def refine(table: Table, parts: Iterable[Part]) -> Table:
    """Return a table that a sample taught, with what all rows say.

    Parameters
    ----------
    table : Table
        What was learnt of the sample.
    parts : iterable of Part
        All rows.
    """
    found = [
        _Levels(column) if isinstance(column, CategoryColumn) else _Moments(column)
        for column in table.columns
    ]
    for part in parts:
        with naming_block(part.start):
            for place, column in enumerate(found):
                column.add(part.columns[place], part.weights)
    return Table([column.finish() for column in found])


class _Levels:
    """Counts of the categories of a column."""

    def __init__(self, column: CategoryColumn) -> None:
        self.column = column
        self.codes: dict[Any, int] = {}
        self.counts = np.zeros(0)

    def add(self, values: Any, weights: Weights | None) -> None:
        codes, levels = self.column.factorize(values)
        codes_of = self.codes
        own = np.array(
            [codes_of.setdefault(level, len(codes_of)) for level in levels],
            dtype=np.int64,
        )
        n_new = len(codes_of) - len(self.counts)
        self.counts = np.append(self.counts, np.zeros(n_new))
        seen = codes >= 0
        # One after the other, as all rows at once are added up.
        np.add.at(
            self.counts, own[codes[seen]], 1 if weights is None else weights[seen]
        )

    def finish(self) -> CategoryColumn:
        levels = np.empty(len(self.codes), dtype=object)
        levels[:] = list(self.codes)
        return copy.copy(self.column).learn(levels, self.counts)


class _Moments:
    """Range, mean and scale of a column of numbers or dates."""

    def __init__(self, column: Any) -> None:
        self.column = column
        self.weight, self.mean, self.square = 0.0, 0.0, 0.0

    def add(self, values: Any, weights: Weights | None) -> None:
        column = self.column
        floats = column.to_floats(values)
        seen = ~np.isnan(floats)
        if not seen.any():
            return
        if column.is_empty:
            # The sample had no value of it.
            column = copy.copy(column).fit(values, weights)
            self.column = column
        else:
            self.column = column.widened(values)
        share = np.ones(len(floats)) if weights is None else weights
        with np.errstate(over="ignore", invalid="ignore"):
            self._merge(floats[seen], share[seen])

    def _merge(self, known: Weights, share: Weights) -> None:
        """Add values to mean and variance (Chan, Golub and LeVeque)."""
        weight = float(share.sum())
        mean = float(np.average(known, weights=share))
        total = self.weight + weight
        shift = mean - self.mean
        self.square += float(share @ (known - mean) ** 2)
        self.square += shift**2 * self.weight * weight / total
        self.mean += shift * weight / total
        self.weight = total

    def finish(self) -> Any:
        if self.weight == 0:
            return self.column
        scale = float(np.sqrt(self.square / self.weight))
        if not np.isfinite(scale):
            raise ValueError(
                f"Column {self.column.name!r} has values whose variance overflows. "
                "Scale it first."
            )
        return self.column.rescaled(self.mean, scale if scale > 0 else 1.0)


# The passes of training


def sample_size(blocks: Blocks) -> int:
    """Return the number of rows to sample: as many as are held in memory, at least."""
    if blocks.buffer_size == "auto":
        return MOST_SAMPLED
    return max(int(blocks.buffer_size), FEWEST_SAMPLED)


def check_stream(sample: Sample, weights: Weights | None, min_rows: int) -> None:
    """Raise an error if there are too few rows, or another number of weights."""
    if sample.n_rows < min_rows:
        needed = "two are" if min_rows == 2 else "one is"
        raise ValueError(
            f"Blocks have {sample.n_rows} rows, but {needed} needed at least."
        )
    if weights is not None and len(weights) != sample.n_rows:
        raise ValueError(
            f"sample_weight has {len(weights)} entries, but the blocks have "
            f"{sample.n_rows} rows. Give each row a weight."
        )


def widened(table: Table, parts: Iterable[Part]) -> Table:
    """Return a table whose ranges include further rows."""
    for part in parts:
        table = table.widened(part.columns)
    return table


def encoded(
    blocks: Blocks, table: Table, read: Callable[[Table], Iterable[Part]], n_rows: int
) -> StreamedMatrix:
    """Return the encoded rows of blocks, read anew in each pass.

    Parameters
    ----------
    blocks : Blocks
        The data.
    table : Table
        Its columns.
    read : callable
        Starts a pass over the rows, of a table with these columns.
    n_rows : int
        Number of rows of positive weight.
    """

    def start() -> Iterator[NDArray[np.float32]]:
        for part in read(table):
            with naming_block(part.start):
                yield table.encode(part.columns, warns=False)

    width, dtype = len(table.layout.cells), np.dtype(np.float32)
    capacity = buffer_rows(blocks, width, dtype)
    return StreamedMatrix(start, (n_rows, width), dtype, capacity)
