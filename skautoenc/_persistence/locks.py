"""Locks that one process at a time can hold."""

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
# Locks that are not shared with other threads of the process.
_alone: set[tuple[int, Path]] = set()
_guard = threading.Lock()

# Seconds between attempts to get a lock: at first, since another process may only be
# testing it, and at most.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5


def _after_fork() -> None:
    """Replace the guard: a thread of the parent may have held it at the fork."""
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
    """Hold the lock of a file, which is created with its folder if it does not exist.

    The lock belongs to the process. Its threads share it, and it ends with the process,
    however that ends. On Windows there are no such locks, and nothing is locked.

    Parameters
    ----------
    path : Path
        The file.
    alone : bool, default=False
        Whether no other thread may share the lock.
    patience : float, default=0.0
        Seconds to wait for another process that holds the lock.
    on_wait : callable, default=None
        Called once if it waits for longer than a moment.

    Raises
    ------
    InUseError
        If another process, or with `alone` another thread, still holds the lock.
    OSError
        If the file cannot be created.
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
    """Retry until it succeeds or patience ends; no lock is held in between."""
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
        # Closing a file releases all locks of the process on it.
        with _guard:
            if (os.getpid(), path.resolve()) in _held:
                return False
            os.close(_acquire(path))
    except (OSError, InUseError):
        return False
    return True


def _make_and_acquire(path: Path) -> int:
    # `clear_checkpoints` may remove the folder as soon as it is created.
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
        # The last holder has removed the file: the lock is on a file without a name.
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        # Unlike `flock`, a forked child does not keep the lock.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(path) from error


def _in_use(path: Path) -> InUseError:
    return InUseError(
        f"Another process is busy with {path.parent}. Wait for its end, or use another "
        "folder."
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one with this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
