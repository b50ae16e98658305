r"""One file for arrays and a document of plain values.

A file is a plain safetensors file. The arrays are its tensors; the document is JSON,
the only entry of its metadata, and begins with a digest:

    8 bytes      length of the header, little-endian
    header       {"__metadata__":{"skautoenc":"{\"sha256\":\"<64 digits>\",...}"},
                 "<name>":{"dtype":...},...}
    the rest     the tensors, as the header says

The digest is the SHA-256 of the whole file with these 64 digits as zeros. Its place
never changes, so that it is compared before anything is parsed, and no byte of the file
can change unnoticed. It tells damage, and says nothing of who wrote the file: all that
is read must be checked all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

Arrays = dict[str, NDArray[Any]]

_START = b'{"__metadata__":{"skautoenc":"{\\"sha256\\":\\"'
_ZEROS = "0" * 64
_PLACE = slice(8 + len(_START), 8 + len(_START) + len(_ZEROS))
# What safetensors reads at most.
_LONGEST_HEADER = 100_000_000


def pack(document: dict[str, Any], arrays: Arrays) -> bytearray:
    """Turn a document and arrays into the bytes of a file.

    Parameters
    ----------
    document : dict
        Plain values, as JSON has them.
    arrays : dict of ndarray
        By their names. Each is written in the order of its indices.

    Raises
    ------
    ValueError
        If the document is too large for a header.
    """
    text = json.dumps(
        {"sha256": _ZEROS, **document}, separators=(",", ":"), allow_nan=False
    )
    contiguous = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    # A scalar has become a vector of one.
    contiguous = {n: a.reshape(arrays[n].shape) for n, a in contiguous.items()}
    data = bytearray(safetensors.numpy.save(contiguous, {"skautoenc": text}))
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:
        raise ValueError(
            "What is to be written beside arrays is more than 100 MB, which is most "
            "likely the levels of a category: leave such a column out."
        )
    if data[8 : _PLACE.start] != _START:
        raise RuntimeError("This version of safetensors writes metadata elsewhere.")
    data[_PLACE] = _digest(data).encode()
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Turn the bytes of a file into the document and the arrays.

    Raises
    ------
    ValueError
        If these are not the bytes that `pack` gave; it says why, in words that go
        after a colon.
    """
    _check_start(data)
    if data[_PLACE] != _digest(data).encode():
        raise ValueError("it is damaged, its bytes are not those that were written")
    length = int.from_bytes(data[:8], "little")
    try:
        header = _parse(data[8 : 8 + length].decode())
        document = _parse(header["__metadata__"]["skautoenc"])
        arrays = safetensors.numpy.load(data)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise ValueError(f"its content is not what is written ({error})") from error
    del document["sha256"]
    return document, arrays


def _digest(data: bytes | bytearray) -> str:
    digest = hashlib.sha256(data[: _PLACE.start] + _ZEROS.encode())
    digest.update(memoryview(data)[_PLACE.stop :])
    return digest.hexdigest()


def _check_start(data: bytes) -> None:
    if data[8 : _PLACE.start] != _START:
        raise ValueError("it is not a file of skautoenc, or damaged at its beginning")


def _parse(text: str) -> Any:
    """Parse JSON, which may hold each name but once, and nothing that is no JSON."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def read(path: str | os.PathLike[str]) -> bytes:
    """Read a file, if it looks like one of ours.

    Raises
    ------
    OSError
        If there is no such file, or if it cannot be read.
    ValueError
        If it is another kind of file, which may be of any size and is not read.
    """
    with open(path, "rb") as file:
        _check_start(file.read(_PLACE.start))
        file.seek(0)
        return file.read()


def write(path: str | os.PathLike[str], data: bytes | bytearray) -> None:
    """Write a file as a whole or not at all.

    A new file takes the place of the old one once it is safe on the disk, so that at
    any moment one of the two is there, whole. A failure removes the new one; a process
    that is killed can leave it behind, under a name that begins with a dot and ends
    with ``.part``.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    # A link stays a link.
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(target, new)
        os.replace(new, target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left behind.

    Keep others from writing there meanwhile.
    """
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let the new name outlast a power cut, where folders can be opened for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
