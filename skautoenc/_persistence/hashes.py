"""Checks that hash tables of values from a file are fast.

Hash functions of numbers are public, so a file can hold many numbers with the same
hash. A hash table compares each of them with all others: for 40,000 numbers, this takes
minutes. The checks here estimate the number of comparisons.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Number of comparisons that takes no noticeable time, and an addition for each value.
_FEW, _FEW_EACH = 1_000_000, 100
# This number of values cannot need more comparisons.
_SMALL = 1400


def check_hashes(values: Collection[Any]) -> None:
    """Check that dictionaries and sets of the values are fast.

    Raises
    ------
    ValueError
        If too many of the values have one hash.
    """
    if len(values) > _SMALL:
        _check_spread(np.fromiter(map(hash, values), np.int64, len(values)))


def check_hashes_of_pandas(values: Collection[Any] | NDArray[Any]) -> None:
    """Check that a pandas index of the values is fast.

    Parameters
    ----------
    values : ndarray, or collection of Python objects
        For arrays of integers, points in time or floats, pandas hashes the bits.

    Raises
    ------
    ValueError
        If too many of the values have one hash.
    """
    if len(values) <= _SMALL:
        return
    if not isinstance(values, np.ndarray):
        check_hashes(values)
        hashes = np.fromiter(map(_hash_object, values), np.int64, len(values))
        _check_spread(_fold(hashes))
    elif values.dtype.kind == "f" and values.dtype.itemsize == 8:
        _check_spread(_murmur(values.view(np.uint64)))
    elif values.dtype.itemsize == 8:
        bits = values.view(np.uint64)
        _check_spread(
            ((bits >> np.uint64(33)) ^ bits ^ (bits << np.uint64(11))).astype(np.uint32)
        )


def _check_spread(hashes: NDArray[Any]) -> None:
    _, counts = np.unique(hashes, return_counts=True)
    counts = counts.astype(np.float64)
    if (counts * (counts - 1)).sum() / 2 > _FEW + _FEW_EACH * len(hashes):
        raise ValueError("too many values have the same hash")


def _fold(hashes: NDArray[np.int64]) -> NDArray[np.uint32]:
    bits = hashes.view(np.uint64)
    return (bits ^ (bits >> np.uint64(32))).astype(np.uint32)


def _hash_object(value: Any) -> int:
    # For tuples, pandas combines the folded hashes of the elements.
    if isinstance(value, tuple):
        parts = [_hash_object(part) for part in value]
        folded = _fold(np.array(parts, dtype=np.int64)).tolist()
        return hash(tuple(folded))
    return hash(value)


def _murmur(bits: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Hash 64 bits to 32 as pandas does (MurmurHash2)."""
    multiplier, half_of = np.uint32(0x5BD1E995), np.uint64(32)
    found = np.full(len(bits), 0xC70F6907 ^ 4, dtype=np.uint32)
    for half in (bits.astype(np.uint32), (bits >> half_of).astype(np.uint32)):
        mixed = half * multiplier
        mixed ^= mixed >> np.uint32(24)
        found = (found * multiplier) ^ (mixed * multiplier)
    found ^= found >> np.uint32(13)
    found *= multiplier
    return found ^ (found >> np.uint32(15))
