r"""One file for arrays and a document of plain values.

A file is a plain safetensors file. The arrays are its tensors; the document is JSON,
the only entry of its metadata, and begins with a digest:

    8 bytes      length of the header, little-endian
    header       {"__metadata__":{"skautoenc":"{\"sha256\":\"<64 digits>\",...}"},
                 "<name>":{"dtype":...},...}
    the rest     the tensors, as the header says

The digest is the SHA-256 of the whole file, with these 64 digits as zeros. Its position
is fixed, so it is compared before anything is parsed, and any changed byte is detected.
It detects damage only, and does not prove who wrote the file: everything must still be
checked.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from . import safetensors
from .safetensors import Arrays

_START = b'{"__metadata__":{"skautoenc":"{\\"sha256\\":\\"'
_ZEROS = "0" * 64
_PLACE = slice(8 + len(_START), 8 + len(_START) + len(_ZEROS))
# Maximum that readers of safetensors accept.
_LONGEST_HEADER = 100_000_000
# Number of characters of a file's name that the name of its partial file begins with.
_MOST_OF_NAME = 40
# Even empty lists and dictionaries take memory. Files have far fewer of them than one
# per 8 characters, except for a constant number.
_CHARACTERS_OF_A_LIST, _MOST_SHORT_LISTS = 8, 10_000


def pack(document: dict[str, Any], arrays: Arrays) -> bytearray:
    """Convert a document and arrays to the bytes of a file.

    Parameters
    ----------
    document : dict
        Plain values, as in JSON.
    arrays : dict of ndarray
        Arrays by name. Each is written in the order of its indices.

    Raises
    ------
    ValueError
        If the document is too large for a header.
    """
    text = json.dumps(
        {"sha256": _ZEROS, **document}, separators=(",", ":"), allow_nan=False
    )
    data = safetensors.encode(arrays, {"skautoenc": text})
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:
        raise ValueError(
            "What is to be written beside arrays is more than 100 MB, which is most "
            "likely the categories of a column: leave that column out."
        )
    data[_PLACE] = _digest(data).encode()
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Convert the bytes of a file to the document and the arrays.

    Raises
    ------
    ValueError
        If the bytes are not a result of `pack`. The message is a reason, to be put
        after a colon.
    """
    _check_start(data)
    if data[_PLACE] != _digest(data).encode():
        raise ValueError("it is damaged, its bytes are not those that were written")
    length = int.from_bytes(data[:8], "little")
    try:
        header = _parse(data[8 : 8 + length].decode())
        document = _parse(header.pop("__metadata__")["skautoenc"])
        arrays = safetensors.decode(header, memoryview(data)[8 + length :])
        del document["sha256"]
    except Exception as error:
        # Any error can occur, because the text can be any JSON.
        raise ValueError(f"its content is not what is written ({error})") from error
    return document, arrays


def _digest(data: bytes | bytearray) -> str:
    digest = hashlib.sha256(data[: _PLACE.start] + _ZEROS.encode())
    digest.update(memoryview(data)[_PLACE.stop :])
    return digest.hexdigest()


def _check_start(data: bytes) -> None:
    if data[8 : _PLACE.start] != _START:
        raise ValueError("it is not a file of skautoenc, or damaged at its beginning")


def _parse(text: str) -> Any:
    """Parse JSON in which names are unique and numbers are finite."""
    n_lists = text.count("[") + text.count("{")
    if n_lists > len(text) / _CHARACTERS_OF_A_LIST + _MOST_SHORT_LISTS:
        raise ValueError("it holds too many lists")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def read(path: str | bytes | os.PathLike[Any]) -> bytes:
    """Read a file, if it begins like one of this package.

    Raises
    ------
    OSError
        If the file does not exist, or if it cannot be read.
    ValueError
        If it is another type of file; it may be very large, so it is not read.
    """
    with open(os.fspath(path), "rb") as file:
        _check_start(file.read(_PLACE.start))
        file.seek(0)
        return file.read()


def write(
    path: str | bytes | os.PathLike[Any], data: bytes | bytearray | memoryview
) -> None:
    """Write a file as a whole or not at all.

    The new file replaces the old one after it is safely on the disk, so one complete
    file exists at any moment. An error removes the new file. A process that is killed
    may leave it behind, under a name that begins with a dot and ends with ``.part``.
    The new file gets the permissions of the old one, and never has more.

    Raises
    ------
    OSError
        If the file cannot be written, or if the path is not a file: a folder, a pipe or
        a device is never replaced. The error names `path`.
    """
    try:
        _replace(os.fsdecode(path), data)
    except OSError as error:
        if error.errno is None:
            raise
        # Name the path that the user knows, not that of the partial file.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _replace(path: str, data: bytes | bytearray | memoryview) -> None:
    mode = _mode_of_file(path)
    # A symbolic link is kept.
    target = Path(os.path.realpath(path))
    # The target's name may already have the maximum length.
    name = target.name[:_MOST_OF_NAME]
    new = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(new, flags, 0o666 if mode is None else mode & 0o777)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            # Restore permissions that the process's umask has removed.
            os.chmod(new, mode)
        os.replace(new, target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _mode_of_file(path: str) -> int | None:
    """Return the permissions of an existing file, or None if there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(
            errno.EINVAL,
            "It is a pipe, a socket or a device, which cannot be replaced by a file; "
            "save to another path",
            path,
        )
    return stat.S_IMODE(mode)


def remove_parts(folder: Path) -> None:
    """Remove partial files of processes that were killed while writing.

    No other process may write to the folder at the same time.
    """
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, on systems where folders can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
