"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

_writing = threading.Lock()
_N_DIGITS = hashlib.sha256().digest_size * 2


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, or leave what was there.

    Threads take turns. Keep other processes from the folder.

    Parameters
    ----------
    path : Path
        The file; its folder is there.
    data : bytes
        What it is to hold.

    Raises
    ------
    OSError
        If it cannot be written. The file is as it was before.
    """
    # Of one name, so that processes that are killed do not fill the folder.
    partial = path.with_name(f".{path.name}.partial")
    with _writing:
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                # Without it a name may reach the disk before what it stands for.
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def seal(data: bytes) -> bytes:
    """Put a checksum in front of data."""
    return hashlib.sha256(data).hexdigest().encode() + data


def unseal(sealed: bytes) -> bytes:
    """Return the data without its checksum.

    Raises
    ------
    ValueError
        If any byte is not as it was.
    """
    data = sealed[_N_DIGITS:]
    if seal(data) != sealed:
        raise ValueError("its checksum does not match")
    return data
