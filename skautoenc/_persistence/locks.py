"""What one process at a time may use."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# By process and file: a forked child does not inherit its parent's locks.
_held: dict[tuple[int, Path], tuple[int, int]] = {}
# Those that are not to be shared with other threads either.
_alone: set[tuple[int, Path]] = set()
_guard = threading.Lock()

# Seconds between two looks at a lock that another process holds: at first, as it may
# only have looked itself, and at most.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5


def _after_fork() -> None:
    """Let a forked process go on where a thread of its parent's held the guard."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class InUseError(RuntimeError):
    """Another process, or another thread of this one, holds the lock."""


@contextmanager
def locked(
    path: Path,
    *,
    alone: bool = False,
    patience: float = 0.0,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there, with its folder.

    The lock is the process's: its threads share it, and it ends with the process,
    however that ends. Windows has none such, there nothing is locked.

    Parameters
    ----------
    path : Path
        The file.
    alone : bool, default=False
        Whether to share the lock with no other thread either.
    patience : float, default=0.0
        Seconds to wait for another process that holds the lock.
    on_wait : callable, default=None
        Is called once if it comes to waiting for longer than a moment.

    Raises
    ------
    InUseError
        If another process, or for `alone` another thread, holds the lock for longer.
    OSError
        If the file cannot be made.
    """
    key = os.getpid(), path.resolve()
    _wait_for(lambda: _enter(key, path, alone=alone), patience, on_wait)
    try:
        yield
    finally:
        _leave(key)


def _enter(key: tuple[int, Path], path: Path, *, alone: bool) -> None:
    with _guard:
        descriptor, n_users = _held.get(key, (-1, 0))
        if key in _alone or (alone and n_users > 0):
            raise _in_use(path)
        if n_users == 0:
            descriptor = _make_and_acquire(path)
        _held[key] = descriptor, n_users + 1
        if alone:
            _alone.add(key)


def _leave(key: tuple[int, Path]) -> None:
    with _guard:
        descriptor, n_users = _held.pop(key)
        _alone.discard(key)
        if n_users > 1:
            _held[key] = descriptor, n_users - 1
        else:
            os.close(descriptor)


def _wait_for(
    enter: Callable[[], None], patience: float, on_wait: Callable[[], None] | None
) -> None:
    """Try again until it succeeds or patience ends; no lock is held in between."""
    end, pause = time.monotonic() + patience, _SHORTEST_PAUSE
    while True:
        try:
            enter()
            return
        except InUseError:
            if time.monotonic() >= end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        if pause == _LONGEST_PAUSE and on_wait is not None:
            on_wait()
            on_wait = None


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


def _make_and_acquire(path: Path) -> int:
    # Whoever tidies up may remove the folder as soon as it is made.
    for _ in range(10):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return _acquire(path)
    return _acquire(path)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path)
            if _is_still(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held it has removed it: the lock is that of another file now.
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        # Unlike those of `flock`, a forked child that lives on does not keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(path) from error


def _in_use(path: Path) -> InUseError:
    return InUseError(
        f"Another process is busy with {path.parent}. Wait for its end, or use another "
        "folder."
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
