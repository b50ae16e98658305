"""Columns that describe one entity, which several rows share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

# Columns with less entropy (bits) hardly tell entities apart. Columns in which most
# rows differ repeat nothing.
_LEAST_ENTROPY = 0.02
_LEAST_REPEATS = 1.5
# Bits per row that entities have to save in addition to what pairs of columns save.
_LEAST_GAIN = 0.5
_MOST_COLUMNS = 100
_MOST_KINDS = 16
# Columns that are added to a kind although that saves no bits.
_PATIENCE = 5
MOST_ENTITIES = 2000

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Entities:
    """Entities of one kind.

    Attributes
    ----------
    columns : tuple of int
        The columns that describe them.
    values : ndarray of shape (n_entities, n_columns), float32
        Their values in these columns.
    """

    columns: tuple[int, ...]
    values: NDArray[np.float32]


def find_entities(cells: NDArray[np.float32]) -> list[Entities]:
    """Find entities that are described by the same columns of several rows.

    A table may be the join of others: if each row is an application, the columns of the
    applicant have the same values in all rows of this applicant. Such columns can be
    described in fewer bits by describing each entity once, and by telling the entity of
    each row. A kind of entities is a set of columns from which no single column can be
    dropped, and to which none can be added, to save more bits.

    Any dependence between columns saves bits. The result is therefore empty, unless a
    kind saves half a bit per row in addition to what the dependence between pairs of
    columns saves (that of the best tree of pairs).

    Parameters
    ----------
    cells : ndarray of shape (n, n_columns), float32
        Rows without NaN. Equal rows count once.

    Returns
    -------
    list of Entities
        Those that at least two different rows share, up to 2,000: kinds that save the
        most bits come first, and the most frequent entities in each of them.
    """
    cells = np.unique(cells, axis=0)
    columns = _Columns(cells)
    if not 3 <= len(columns.candidates) <= _MOST_COLUMNS:
        return []
    kinds = _kinds(columns)
    found, n_left = [], MOST_ENTITIES
    for kind in kinds:
        entities = _entities(cells, kind, n_left)
        n_left -= len(entities.values)
        if len(entities.values):
            found.append(entities)
    return found


class _Columns:
    """Integer codes of columns, and lengths of descriptions, in bits per row."""

    def __init__(self, cells: NDArray[np.float32]) -> None:
        self.n = len(cells)
        # The set of columns that `_grown` goes on to from another, and its gain.
        self.steps: dict[frozenset[int], tuple[frozenset[int], float]] = {}
        self.codes = [_codes(column) for column in cells.T]
        self.entropies = [_entropy(codes)[0] for codes in self.codes]
        most = np.log2(max(self.n, 1)) - _LEAST_REPEATS
        self.candidates = [
            column
            for column, entropy in enumerate(self.entropies)
            if _LEAST_ENTROPY < entropy < most
        ]

    def joint(self, columns: Iterable[int]) -> Codes:
        """Return the integer code of each combination of values."""
        joint = np.zeros(self.n, np.int64)
        for column in columns:
            joint = _codes(self.paired(joint, column))
        return joint

    def paired(self, joint: Codes, column: int) -> Codes:
        """Return integers for the pairs of a code and the value in a column."""
        codes = self.codes[column]
        pairs: Codes = joint * (codes.max(initial=0) + 1) + codes
        return pairs

    def gain(self, columns: Iterable[int], joint: Codes) -> float:
        """Return how many bits entities save if columns are independent."""
        return self._saved(joint, sum(self.entropies[column] for column in columns))

    def gain_over_pairs(self, columns: frozenset[int]) -> float:
        """Return how many bits entities save if a tree of pairs describes columns."""
        first, *rest = sorted(columns)
        entropy = sum(self.entropies[column] for column in columns)
        # Prim's algorithm: the information that each column shares with the tree.
        shared = {column: self._shared(first, column) for column in rest}
        while shared:
            column = max(shared, key=lambda each: shared[each])
            entropy -= shared.pop(column)
            for other in shared:
                shared[other] = max(shared[other], self._shared(column, other))
        return self._saved(self.joint(sorted(columns)), entropy)

    def _saved(self, joint: Codes, entropy: float) -> float:
        """Return the bits saved per row, given those of a description of columns."""
        of_joint, n_entities = _entropy(joint)
        return (1 - n_entities / self.n) * entropy - of_joint

    def _shared(self, first: int, second: int) -> float:
        """Return the mutual information of two columns."""
        of_both, _ = _entropy(self.paired(self.codes[first], second))
        return self.entropies[first] + self.entropies[second] - of_both


def _codes(values: NDArray[np.float32] | Codes) -> Codes:
    """Return a code for each different value, from zero."""
    codes: Codes = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return codes


def _entropy(values: Codes) -> tuple[float, int]:
    """Return the entropy of integers, in bits, and the number of different ones."""
    if not len(values):
        return 0.0, 0
    ordered = np.sort(values)
    # This is a third of the time of np.unique, which also returns the values.
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered))
    counts = ends.copy()
    counts[1:] -= ends[:-1]
    n = len(values)
    return float(np.log2(n) - counts @ np.log2(counts) / n), len(counts)


def _kinds(columns: _Columns) -> list[frozenset[int]]:
    """Return sets of columns that entities describe in fewer bits, the best first."""
    found: dict[frozenset[int], float] = {}
    left = []
    for column in columns.candidates:
        # Most columns of a kind lead to it. Whether a table has any entities at all is
        # known without growing it from each of them.
        if any(column in kind for kind in found):
            left.append(column)
        else:
            found |= _grown(columns, column)
    if not any(columns.gain_over_pairs(kind) > _LEAST_GAIN for kind in found):
        return []
    for column in left:
        found |= _grown(columns, column)
    ordered = sorted(found, key=lambda kind: (-found[kind], sorted(kind)))
    return ordered[:_MOST_KINDS]


def _grown(columns: _Columns, start: int) -> dict[frozenset[int], float]:
    """Add columns, always the best one, then drop columns while that saves bits.

    Few columns may tell many entities apart, but not all of them. Until they do, each
    column seems to cost bits. Some are therefore added although they do.

    Returns
    -------
    dict
        The bits saved per row by the set of columns; empty if there are none.
    """
    kind, best, most = frozenset([start]), frozenset([start]), -np.inf
    n_worse = 0
    while n_worse < _PATIENCE:
        if kind not in columns.steps:
            columns.steps[kind] = _best(columns, _with_one_more(columns, kind))
        kind, gain = columns.steps[kind]
        n_worse += 1
        if gain > most + 1e-9:
            best, most, n_worse = kind, gain, 0
    while len(best) > 2:
        kind, gain = _best(columns, _with_one_less(columns, best))
        if gain <= most + 1e-9:
            break
        best, most = kind, gain
    return {best: most} if most > 0 else {}


def _with_one_more(
    columns: _Columns, kind: frozenset[int]
) -> Iterator[tuple[frozenset[int], Codes]]:
    joint = columns.joint(sorted(kind))
    for column in columns.candidates:
        if column not in kind:
            yield kind | {column}, columns.paired(joint, column)


def _with_one_less(
    columns: _Columns, kind: frozenset[int]
) -> Iterator[tuple[frozenset[int], Codes]]:
    for column in sorted(kind):
        yield kind - {column}, columns.joint(sorted(kind - {column}))


def _best(
    columns: _Columns, kinds: Iterable[tuple[frozenset[int], Codes]]
) -> tuple[frozenset[int], float]:
    """Return the set of columns that saves the most bits, and these."""
    found = ((kind, columns.gain(kind, joint)) for kind, joint in kinds)
    return max(found, key=itemgetter(1), default=(frozenset(), -np.inf))


def _entities(
    cells: NDArray[np.float32], kind: frozenset[int], n_most: int
) -> Entities:
    """Return the entities that at least two rows share, the most frequent first."""
    ordered = tuple(sorted(kind))
    values, counts = np.unique(cells[:, ordered], axis=0, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[:n_most]
    return Entities(ordered, values[chosen[counts[chosen] > 1]])
