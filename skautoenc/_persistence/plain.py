"""Codecs of values: their conversion to JSON and back.

None, booleans, integers, finite numbers, strings and lists are themselves in JSON.
Other values are objects with one entry, whose name is the type: ``{"tuple": [1, 2]}``.
Each type has a `Codec`, and the list of codecs is fixed: nothing in a file can name a
class or function of its choice. Arrays are stored apart, under the names of their
positions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from .hashes import check_hashes
from .safetensors import Arrays

# Maximum nesting, more than any value that is written.
_DEEPEST = 40
# Maximum for all arrays of strings together; each has room for its longest string.
_MOST_CHARACTERS = 1_000_000


class CannotBeSaved(ValueError):
    """Raised for a value that no codec accepts.

    Parameters
    ----------
    place : str
        Position of the value.
    what : str
        Description of the value.
    """

    def __init__(self, place: str, what: str) -> None:
        super().__init__(
            f"{place} holds {what}, which files do not hold. Take that away, or "
            "use pickle or skops.io."
        )


@dataclass(frozen=True)
class Codec:
    """Conversion of the values of one type to JSON and back.

    Parameters
    ----------
    tag : str
        Name of the type.
    takes : callable
        Returns whether a value is of the type.
    write : callable
        Takes a value, the `Writer` and the value's position, and returns JSON.
    read : callable
        Takes this JSON and the `Reader`, and returns the value. It may raise any error
        if the JSON is not a result of `write`.
    most : float, default=inf
        Maximum number of such values in a file, for types that are slow to make: the
        most that an estimator can have.
    """

    tag: str
    takes: Callable[[Any], bool]
    write: Callable[[Any, Writer, str], Any]
    read: Callable[[Any, Reader], Any]
    most: float = math.inf


def is_a(*kinds: type) -> Callable[[Any], bool]:
    """Return a test whether a value is an instance of one of some types."""
    return lambda value: isinstance(value, kinds)


def is_just(kind: type) -> Callable[[Any], bool]:
    """Return a test of the exact type, since subclasses would not be restored."""
    return lambda value: type(value) is kind


class Writer:
    """Converts values to JSON.

    Parameters
    ----------
    codecs : sequence of Codec
        The first codec that accepts a value converts it.

    Attributes
    ----------
    arrays : dict of ndarray
        Arrays that are stored apart.
    generators : list
        States of random generators. A generator that occurs twice is stored once.
    """

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = codecs
        self._generators: list[np.random.RandomState] = []
        self.arrays: Arrays = {}
        self.generators: list[Any] = []
        self.n_characters = 0

    def write(self, value: Any, place: str) -> Any:
        """Convert a value to JSON; `place` is its position, a path with dots."""
        # Exact types only: instances of subclasses have further state.
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is list:
            return [self.write(v, f"{place}.{n}") for n, v in enumerate(value)]
        for codec in self._codecs:
            if codec.takes(value):
                return {codec.tag: codec.write(value, self, place)}
        raise CannotBeSaved(place, f"a {type(value).__name__}")

    def put_aside(self, array: np.ndarray, place: str) -> str:
        """Store an array apart, and return its name."""
        name = place
        while name in self.arrays:
            name += "_"
        self.arrays[name] = array
        return name

    def number_of(self, generator: np.random.RandomState, place: str) -> int:
        """Return the index of a generator in `generators`."""
        for number, known in enumerate(self._generators):
            if known is generator:
                return number
        self._generators.append(generator)
        self.generators.append(None)
        # numpy's global generator is not saved: after loading it is that of the
        # process.
        if generator is not np.random.mtrand._rand:
            state = self.write(_state_of(generator, place), f"{place}.state")
            self.generators[-1] = state
        return len(self.generators) - 1


class Reader:
    """Converts JSON to values.

    Parameters
    ----------
    codecs : sequence of Codec
        Codecs, which are found by their tags.
    arrays : dict of ndarray
        Arrays of the file. Each can be used once.
    generators : list
        States of random generators from a `Writer`.
    """

    def __init__(
        self, codecs: Sequence[Codec], arrays: Arrays, generators: list[Any]
    ) -> None:
        self._codecs = {codec.tag: codec for codec in codecs}
        self._left = {codec.tag: codec.most for codec in codecs}
        self._depth = 0
        self.n_characters = 0
        self.arrays = dict(arrays)
        self.generators = [
            np.random.mtrand._rand if state is None else _generator(*self.read(state))
            for state in generators
        ]

    def read(self, plain: Any) -> Any:
        """Convert JSON to a value. Lists are changed in place.

        Raises
        ------
        Exception
            Of any type, if the JSON is not the result of a `Writer`.
        """
        if isinstance(plain, float) and not math.isfinite(plain):
            raise ValueError("a number is not finite")
        if not isinstance(plain, list | dict):
            return plain
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        try:
            if isinstance(plain, list):
                # In place, since a copy of millions of short lists would take memory.
                for number, value in enumerate(plain):
                    plain[number] = self.read(value)
                return plain
            [(tag, payload)] = plain.items()
            self._left[tag] -= 1
            if self._left[tag] < 0:
                raise ValueError(f"it holds too many of the kind {tag!r}")
            return self._codecs[tag].read(payload, self)
        finally:
            self._depth -= 1

    def read_list(self, plain: Any) -> list[Any]:
        """Convert a list; strings, for example, can be long without being large."""
        if type(plain) is not list:
            raise ValueError("something is no list")
        values: list[Any] = self.read(plain)
        return values


def _state_of(generator: np.random.RandomState, place: str) -> tuple[Any, ...]:
    state: Any = generator.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        kind = state["bit_generator"]
        raise CannotBeSaved(place, f"a RandomState on {kind}, not on MT19937")
    inner = state["state"]
    return inner["key"], inner["pos"], state["has_gauss"], state["gauss"]


def _generator(
    key: np.ndarray, position: int, has_gauss: int, gauss: float
) -> np.random.RandomState:
    # numpy does not check the position before it uses it.
    if not (key.dtype == np.uint32 and key.shape == (624,) and 0 <= position <= 624):
        raise ValueError("a random generator has an impossible state")
    generator = np.random.RandomState(0)
    generator.set_state(("MT19937", key, position, has_gauss, gauss))
    return generator


# Numbers, strings, and collections of them


def _write_dict(value: dict[Any, Any], writer: Writer, place: str) -> Any:
    return [
        [writer.write(k, f"a name in {place}"), writer.write(v, f"{place}.{k}")]
        for k, v in value.items()
    ]


def _read_dict(plain: Any, reader: Reader) -> dict[Any, Any]:
    names = [reader.read(key) for key, _ in plain]
    check_hashes(names)
    found = dict(zip(names, [reader.read(value) for _, value in plain], strict=True))
    if len(found) < len(plain):
        raise ValueError("a name is there twice")
    return found


def _write_array(value: np.ndarray, writer: Writer, place: str) -> Any:
    if value.dtype.kind in "OU":
        items = value.ravel().tolist()
        if value.dtype.kind == "U" and not _is_compact(items, writer):
            raise CannotBeSaved(place, "a large array of strings, not a list")
        return [value.dtype.kind, list(value.shape), writer.write(items, place)]
    if not (value.dtype.kind in "biuf" and value.dtype.itemsize <= 8):
        raise CannotBeSaved(place, f"an array of {value.dtype}")
    value = np.asarray(value, value.dtype.newbyteorder("="))
    # The memory order is kept, because the rounding of products depends on it.
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    name = writer.put_aside(value.T if by_columns else value, place)
    return ["columns" if by_columns else "rows", name]


def _read_array(plain: Any, reader: Reader) -> np.ndarray:
    kind, *others = plain
    if kind in ("O", "U"):
        shape, items = others
        values = reader.read_list(items)
        if kind == "U":
            if not _is_compact(values, reader):
                raise ValueError("an array of strings is too large")
            return np.array(values, dtype=str).reshape(shape)
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array.reshape(shape)
    [name] = others
    array = reader.arrays.pop(name)
    if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("a boolean is neither true nor false")
    return {"rows": array, "columns": array.T}[kind]


def _is_compact(values: list[str], file: Reader | Writer) -> bool:
    file.n_characters += len(values) * max(map(len, values), default=0)
    return file.n_characters <= _MOST_CHARACTERS


def _write_scalar(value: np.generic, writer: Writer, place: str) -> Any:
    kind = value.dtype.kind
    if kind == "M":
        return [value.dtype.str, int(value.astype(np.int64))]
    if kind == "U":
        return [kind, str(value)]
    if kind not in "biuf" or value.dtype.itemsize > 8:
        raise CannotBeSaved(place, f"a number of type {value.dtype}")
    return [value.dtype.str, writer.write(value.item(), place)]


def _read_scalar(plain: Any, reader: Reader) -> Any:
    kind, value = plain[0], reader.read(plain[1])
    if kind == "U":
        return np.str_(value)
    if not _SCALARS.fullmatch(kind):
        raise ValueError(f"{kind:.80} is no kind of number")
    dtype = np.dtype(kind)
    return np.int64(value).view(dtype) if dtype.kind == "M" else dtype.type(value)


_SCALARS = re.compile(r"\|b1|[|<>=]?[iuf][1248]|<M8(\[\d*(Y|M|W|D|h|m|s|ms|us|ns)\])?")
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

PLAIN_CODECS = [
    Codec(
        "tuple",
        is_just(tuple),
        lambda value, writer, place: writer.write(list(value), place),
        lambda plain, reader: tuple(reader.read_list(plain)),
    ),
    Codec("dict", is_just(dict), _write_dict, _read_dict),
    Codec("array", is_a(np.ndarray), _write_array, _read_array),
    # Some of these are also instances of Python's numbers.
    Codec("scalar", is_a(np.generic), _write_scalar, _read_scalar),
    Codec(
        "float",
        is_a(float),
        lambda value, writer, place: repr(value),
        lambda plain, reader: _FLOATS[plain],
    ),
    Codec(
        "generator",
        is_a(np.random.RandomState),
        lambda value, writer, place: writer.number_of(value, place),
        lambda plain, reader: reader.generators[plain],
    ),
    Codec(
        "path",
        is_a(PurePath),
        lambda value, writer, place: str(value),
        lambda plain, reader: Path(plain),
    ),
    Codec(
        "device",
        is_a(torch.device),
        lambda value, writer, place: str(value),
        lambda plain, reader: torch.device(plain),
    ),
]
