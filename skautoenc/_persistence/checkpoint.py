"""Where a fit stands, in a folder, to go on from if its process should die."""

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
# Training takes at least as many times as long as writing does.
_PATIENCE = 20

# Seconds to try for a lock where others would be held up by waiting for it. Who only
# looks whether it is free holds it for less.
_A_MOMENT = 0.2

# Threads may train the same fit; processes may not.
_writing = threading.Lock()


def _after_fork() -> None:
    """Let a forked process write where a thread of its parent's wrote."""
    global _writing
    _writing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# Whether other fits of this process stand still while this one waits: for the process
# that it waits for, those may be what that one waits for.
holds_up_others: ContextVar[bool] = ContextVar("holds_up_others", default=False)


class Checkpoint:
    """Where one fit stands, in a folder of its own.

    It is written after the first epoch and the last, and in between as often as leaves
    nineteen twentieths of the time to training.

    Parameters
    ----------
    home : Path
        The folder, which is there.
    seed : int or None
        For a fit that has none of its own.

    Attributes
    ----------
    seed : int or None
        That of the fit that is gone on with, or as it was given.
    is_done : bool
        Whether nothing is left to train.

    Raises
    ------
    ValueError
        If what was written is damaged.
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
        """Whether there is something to go on from."""
        return self._saved is not None

    def restore(self, run: Run) -> None:
        """Let a run that was set up anew go on from what was written, if anything.

        Raises
        ------
        ValueError
            If it was written on another device, or of another network or fit.
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
            # Torch has looked into the state of a generator.
            raise _not_of_this_fit(self.home) from error
        self._saved = None

    def save(self, run: Run, *, is_done: bool) -> None:
        """Write down where a run stands after an epoch, if it is time to.

        Warns
        -----
        UserWarning
            If it cannot be written, once; training goes on.
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
    """Keep other processes from a fit's checkpoint while it is trained.

    If another process is busy with the same fit, wait for its end. What holds up other
    fits of this process does not wait, lest each process wait for the other, and is
    trained without a checkpoint.

    Parameters
    ----------
    folder : Path
        Is made if it is not there; each fit has a folder in it.
    description : dict of str
        All that the fit comes from: fits that differ in any of it share nothing. Its
        "class" becomes part of a name.
    seed : int or None
        For a fit that has none of its own.
    verbose : bool, default=False
        Whether to print that it waits.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    ValueError
        If what was written is damaged.

    Warns
    -----
    UserWarning
        If the fit starts anew, but another one was left unfinished there, which may be
        the one that was meant.
    """
    text = json.dumps(description, indent=1).encode()
    name = hashlib.sha256(text).hexdigest()[:_N_CHARACTERS]
    home = folder / f"{description['class']}-{name}"
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(home, description["class"], verbose=verbose))
            with _writing:
                # A process that is killed while it writes leaves its part behind.
                remove_parts(home)
                notes = home / DESCRIPTION
                if not (notes.is_file() or notes.is_dir()):
                    # A pipe, say, in whose place no file is put.
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


def _locked(home: Path, name: str, *, verbose: bool) -> Any:
    """Make the context in which a fit has its folder to itself."""
    waits = partial(print, f"[{name}] Waiting for another process, which fits {home}")
    return locked(
        home / LOCK,
        patience=_A_MOMENT if holds_up_others.get() else math.inf,
        on_wait=waits if verbose else None,
    )


# What is written


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
        # Whatever comes of content that was not written here.
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
    """Whether a saved state is made as that of a run that has not begun."""
    stopping = saved.get("stopping")
    if isinstance(stopping, dict):
        # The weights around the best epoch so far, of which there are none at first.
        names = [name for name in ("kept", "after") if stopping.get(name) is not None]
        kept = dict.fromkeys(names, fresh["weights"])
        fresh = {**fresh, "stopping": {**fresh["stopping"], **kept}}
    return _is_like(saved, fresh)


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value is made as an example is; its numbers may be others."""
    if isinstance(example, dict):
        return (
            isinstance(value, dict)
            and value.keys() == example.keys()
            and all(_is_like(value[name], each) for name, each in example.items())
        )
    if isinstance(example, list):
        if not isinstance(value, list):
            return False
        # An empty list is that of losses, which grows.
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
