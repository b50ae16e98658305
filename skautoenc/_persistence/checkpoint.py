"""Checkpoints: states of fits in a folder, to resume from after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from .._data.world import World
from .._training.run import Run
from .._warnings import warn
from .files import pack, read, remove_parts, unpack, write
from .leftovers import (
    DESCRIPTION,
    FINISHED,
    LOCK,
    UNFINISHED,
    Description,
    warn_of_others,
)
from .locks import InUseError, locked
from .plain import PLAIN_CODECS, Reader, Writer

_N_CHARACTERS = 16
# Spend at most 5 % of the time on writing: wait 20 times as long as the last write
# took.
_PATIENCE = 20

# Seconds to wait for a lock if other fits of the process wait meanwhile. A process that
# only tests whether a lock is free holds it for less.
_SHORT_PATIENCE = 0.2

# Threads of one process may train the same fit; processes may not.
_writing = threading.Lock()


def _after_fork() -> None:
    """Replace the lock: a thread of the parent process may have held it at the fork."""
    global _writing
    _writing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# Whether other fits of this process wait while this one does. Waiting for another
# process could then be a deadlock: it may be waiting for one of those fits.
holds_up_others: ContextVar[bool] = ContextVar("holds_up_others", default=False)


class Checkpoint:
    """The saved state of one fit, in its own folder.

    It is written after the first and the last epoch, and in between so often that
    writing takes at most 5 % of the time.

    Parameters
    ----------
    home : Path
        The folder, which must exist.
    seed : int or None
        Seed for a fit that has none of its own.

    Attributes
    ----------
    seed : int or None
        Seed of the saved fit if there is one, otherwise the parameter.
    is_done : bool
        Whether the saved fit is finished.

    Raises
    ------
    ValueError
        If a saved file is damaged.
    """

    def __init__(self, home: Path, seed: int | None) -> None:
        self.home = home
        self.is_done = (home / FINISHED).exists()
        path = home / (FINISHED if self.is_done else UNFINISHED)
        self._saved = _read(path) if path.exists() else None
        if self._saved is not None:
            if (self._saved["seed"] is None) != (seed is None):
                raise _not_of_this_fit(path)
            seed = self._saved["seed"]
        self.seed = seed
        self._due = 0.0
        self._has_warned = False

    @property
    def has_begun(self) -> bool:
        """Whether there is a saved state to resume from."""
        return self._saved is not None

    def restore(self, run: Run) -> None:
        """Restore the saved state, if there is one, in a run with equal settings.

        Raises
        ------
        ValueError
            If it was saved on another device, or for another network or fit.
        """
        if self._saved is None:
            return
        before, now = self._saved["device"], str(run.rows.device)
        if before != now:
            raise ValueError(
                f"The checkpoint {self.home} was written on device {before!r}, and "
                f"this fit is on {now!r}. Set device={before!r}, or delete the folder "
                "to start anew."
            )
        saved, fresh = self._saved["run"], run.state()
        if _shapes(saved.get("weights")) != _shapes(fresh["weights"]):
            raise ValueError(
                f"The checkpoint {self.home} is of a network with other weights. "
                "Delete the folder to start anew."
            )
        if not _is_state(saved, fresh):
            raise _not_of_this_fit(self.home)
        try:
            run.load(saved)
        except RuntimeError as error:
            # Torch rejects the state of a generator.
            raise _not_of_this_fit(self.home) from error
        self._saved = None

    def save(self, run: Run, *, is_done: bool) -> None:
        """Save the state of a run after an epoch, if enough time has passed.

        Warns
        -----
        UserWarning
            If it cannot be written; only once per fit. Training continues.
        """
        began = time.monotonic()
        if began < self._due and not is_done:
            return
        state = {
            "device": str(run.rows.device),
            "seed": self.seed,
            "run": run.state(),
        }
        try:
            name = FINISHED if is_done else UNFINISHED
            with _writing:
                write(self.home / name, _to_bytes(state))
            if is_done:
                (self.home / UNFINISHED).unlink(missing_ok=True)
        except OSError as error:
            if not self._has_warned:
                warn(
                    f"The checkpoint {self.home} cannot be written ({error.strerror}). "
                    "Training goes on; should it be killed, it resumes from what was "
                    "written before, if anything was."
                )
            self._has_warned = True
        now = time.monotonic()
        self._due = now + _PATIENCE * (now - began)


@contextmanager
def open_checkpoint(
    folder: Path, description: Description, seed: int | None, *, verbose: bool = False
) -> Iterator[Checkpoint | None]:
    """Keep other processes out of a fit's checkpoint while it is trained.

    If another process trains the same fit, wait for it to end. If other fits of this
    process would wait, too, do not wait, because of the risk of a deadlock: the fit is
    then trained without a checkpoint.

    Parameters
    ----------
    folder : Path
        Created if it does not exist. Each fit has a folder in it.
    description : dict of str
        All inputs of the fit, which identify it. Its "class" becomes part of the name
        of the folder.
    seed : int or None
        Seed for a fit that has none of its own.
    verbose : bool, default=False
        Whether to print a message before waiting.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    ValueError
        If a saved file is damaged.

    Warns
    -----
    UserWarning
        If the fit starts from the beginning, but another one in the folder is
        unfinished and may be the one that was meant.
    """
    text = json.dumps(description, indent=1).encode()
    name = hashlib.sha256(text).hexdigest()[:_N_CHARACTERS]
    home = folder / f"{description['class']}-{name}"
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(home, description["class"], verbose=verbose))
            with _writing:
                # A process that was killed while writing leaves a partial file.
                remove_parts(home)
                notes = home / DESCRIPTION
                if not (notes.is_file() or notes.is_dir()):
                    # A pipe, for example, which `write` does not replace.
                    notes.unlink(missing_ok=True)
                write(notes, text)
        except InUseError:
            yield None
            return
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The checkpoint folder cannot be written to ({error.strerror}); "
                "choose another one, or set checkpoint=None",
                str(folder),
            ) from error
        token = holds_up_others.set(True)
        stack.callback(holds_up_others.reset, token)
        checkpoint = Checkpoint(home, seed)
        if not checkpoint.has_begun:
            warn_of_others(home, description)
        yield checkpoint


@contextmanager
def open_shared_checkpoint(
    world: World,
    folder: Path,
    description: Description,
    seed: int | None,
    *,
    verbose: bool = False,
) -> Iterator[Checkpoint | None]:
    """Open the checkpoint of a fit of several processes.

    The first process locks, reads and writes it. Parameters are those of
    `open_checkpoint`.
    """
    if world.rank > 0:
        found = world.broadcast(None)
        yield None if found is None else _Follower(folder, *found)
        return
    with open_checkpoint(folder, description, seed, verbose=verbose) as checkpoint:
        if checkpoint is None:
            world.broadcast(None)
        else:
            world.broadcast((checkpoint.seed, checkpoint.is_done, checkpoint._saved))
        yield checkpoint


class _Follower(Checkpoint):
    """What another process has read, which this process does not write."""

    def __init__(self, home: Path, seed: int | None, is_done: bool, saved: Any) -> None:
        self.home = home
        self.seed = seed
        self.is_done = is_done
        self._saved = saved

    def restore(self, run: Run) -> None:
        """Restore the saved state, if there is one."""
        if self._saved is not None:
            run.load(self._saved["run"])

    def save(self, run: Run, *, is_done: bool) -> None:
        """Leave this to the first process."""


def _locked(home: Path, name: str, *, verbose: bool) -> Any:
    """Return the context in which no other process uses the fit's folder."""
    waits = partial(print, f"[{name}] Waiting for another process, which fits {home}")
    return locked(
        home / LOCK,
        patience=_SHORT_PATIENCE if holds_up_others.get() else math.inf,
        on_wait=waits if verbose else None,
    )


# Content of the files


def _to_bytes(state: Any) -> bytearray:
    writer = Writer(PLAIN_CODECS)
    return pack({"state": writer.write(state, "state")}, writer.arrays)


def _read(path: Path) -> Any:
    try:
        document, arrays = unpack(read(path))
    except ValueError as error:
        raise ValueError(
            f"The checkpoint {path} cannot be read: {error}. Delete it to start anew."
        ) from error
    try:
        state = Reader(PLAIN_CODECS, arrays, []).read(document["state"])
    except MemoryError:
        raise
    except Exception as error:
        # Any error can come from content that was not written by this package.
        raise _not_of_this_fit(path) from error
    if not (
        isinstance(state, dict)
        and state.keys() == {"device", "seed", "run"}
        and isinstance(state["device"], str)
        and isinstance(state["run"], dict)
        and (state["seed"] is None or _is_like(state["seed"], 0))
    ):
        raise _not_of_this_fit(path)
    return state


def _shapes(arrays: Any) -> list[Any]:
    arrays = arrays if isinstance(arrays, list) else [arrays]
    return [getattr(array, "shape", None) for array in arrays]


def _is_state(saved: Any, fresh: dict[str, Any]) -> bool:
    """Whether a saved state has the structure of the state of a new run."""
    stopping = saved.get("stopping")
    if isinstance(stopping, dict):
        # A new run has no weights of a best epoch yet.
        names = [name for name in ("kept", "after") if stopping.get(name) is not None]
        kept = dict.fromkeys(names, fresh["weights"])
        fresh = {**fresh, "stopping": {**fresh["stopping"], **kept}}
    return _is_like(saved, fresh)


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value has the structure of an example, with other numbers."""
    if isinstance(example, dict):
        return (
            isinstance(value, dict)
            and value.keys() == example.keys()
            and all(_is_like(value[name], each) for name, each in example.items())
        )
    if isinstance(example, list):
        if not isinstance(value, list):
            return False
        # The example's lists of losses are empty, and grow.
        examples = example or [0.0] * len(value)
        return len(value) == len(examples) and all(map(_is_like, value, examples))
    if isinstance(example, np.ndarray):
        return isinstance(value, np.ndarray) and (value.dtype, value.shape) == (
            example.dtype,
            example.shape,
        )
    if isinstance(example, bool) or not isinstance(example, Real):
        return type(value) is type(example)
    return isinstance(value, Real) and not isinstance(value, bool)


def _not_of_this_fit(path: Path) -> ValueError:
    return ValueError(
        f"The checkpoint {path} holds something else than a state of this fit. Delete "
        "it to start anew."
    )
