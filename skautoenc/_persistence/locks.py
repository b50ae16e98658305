"""What one process at a time may use."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# By process and file: a forked child does not inherit its parent's locks.
_held: dict[tuple[int, Path], tuple[int, int]] = {}
_guard = threading.Lock()


class InUseError(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there.

    The lock is the process's: its threads share it, and it ends with the process,
    however that ends. Windows has none such, there nothing is locked.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InUseError
        If another process holds the lock.
    OSError
        If the file cannot be made.
    """
    key = os.getpid(), path.resolve()
    with _guard:
        descriptor, n_users = _held.get(key, (-1, 0))
        if n_users == 0:
            descriptor = _acquire(path)
        _held[key] = descriptor, n_users + 1
    try:
        yield
    finally:
        with _guard:
            descriptor, n_users = _held.pop(key)
            if n_users > 1:
                _held[key] = descriptor, n_users - 1
            else:
                os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock of a file."""
    try:
        # To close a file ends all locks of the process on it.
        with _guard:
            if (os.getpid(), path.resolve()) in _held:
                return False
            os.close(_acquire(path))
    except (OSError, InUseError):
        return False
    return True


def _acquire(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if sys.platform == "win32":
        return descriptor
    import fcntl

    try:
        # Unlike those of `flock`, a forked child that lives on does not keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(descriptor)
        raise InUseError(
            f"Another process is busy with {path.parent}. Wait for its end, or use "
            "another folder."
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
