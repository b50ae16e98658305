"""Arrays in the safetensors format: the header's entries, and the bytes after it.

The bytes equal those of the safetensors library for the same arrays and metadata (a
test compares them), so any reader of the format accepts the files. The format is small
and will not change; the implementation here does not depend on a library's version.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

# In the order of the format: arrays are sorted by descending type, then by name.
_TYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_RANKS = {name: rank for rank, name in enumerate(_TYPES)}
# The header's length is a multiple of it, so that the arrays are aligned.
_ALIGNMENT = 8


def encode(arrays: Arrays, metadata: dict[str, str]) -> bytearray:
    """Convert arrays and metadata to the bytes of a file.

    Parameters
    ----------
    arrays : dict of ndarray
        Booleans, integers and floats of up to eight bytes, by name. Each is written in
        the order of its indices.
    metadata : dict of str
        First entry of the header.
    """
    little = {n: np.asarray(a, a.dtype.newbyteorder("<")) for n, a in arrays.items()}
    types = {name: _NAMES[array.dtype] for name, array in little.items()}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in sorted(arrays, key=lambda name: (-_RANKS[types[name]], name)):
        begin, end = end, end + little[name].nbytes
        header[name] = {
            "dtype": types[name],
            "shape": list(little[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    data = bytearray(len(text).to_bytes(8, "little") + text)
    for name in list(header)[1:]:
        data += little[name].tobytes()
    return data


def decode(entries: dict[str, Any], data: memoryview) -> Arrays:
    """Convert a header's entries and the bytes after the header to arrays.

    Parameters
    ----------
    entries : dict
        The parsed header without its metadata.
    data : memoryview
        Bytes after the header.

    Returns
    -------
    dict of ndarray
        Copies of the arrays, by name.

    Raises
    ------
    Exception
        Of any type, if the entries are not like those of `encode`, or do not divide up
        the bytes exactly. Nothing has been copied then.
    """
    kinds = {name: _check_entry(entry) for name, entry in entries.items()}
    spans = sorted(entry["data_offsets"] for entry in entries.values())
    edges = [0, *(edge for span in spans for edge in span), len(data)]
    if any(end != begin for end, begin in list(pairwise(edges))[::2]):
        raise ValueError("its arrays leave bytes out or share some")
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], kinds[name])
        .astype(kinds[name].newbyteorder("="))
        .reshape(entry["shape"])
        for name, entry in entries.items()
    }


def _check_entry(entry: dict[str, Any]) -> np.dtype[Any]:
    """Check that an entry describes an array, and return the array's type."""
    if entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("an array is not described as it must be")
    dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
    begin, end = entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (begin, *shape)):
        raise ValueError("an array's size is no number")
    if type(end) is not int or math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError("an array has another size than its bytes")
    return dtype
