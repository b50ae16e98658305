"""Where a fit stands, in a folder, to go on from if its process should die."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .._training.run import Run
from .files import pack, read, remove_parts, unpack, write
from .locks import is_free, locked
from .plain import PLAIN_CODECS, Reader, Writer

_UNFINISHED, _FINISHED = "unfinished.safetensors", "finished.safetensors"
_LOCK, _DESCRIPTION = "lock", "fit.json"
_N_CHARACTERS = 16
# Training takes at least as many times as long as writing does.
_PATIENCE = 20

# Threads may train the same fit; processes may not.
_writing = threading.Lock()

Description = dict[str, str]


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
        self.is_done = (home / _FINISHED).exists()
        path = home / (_FINISHED if self.is_done else _UNFINISHED)
        self._saved = _read(path) if path.exists() else None
        if self._saved is not None:
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
            If it was written on another device, or of another network.
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
        shapes = [tensor.shape for tensor in run.step.tensors()]
        if shapes != [array.shape for array in self._saved["run"]["weights"]]:
            raise ValueError(
                f"The checkpoint {self.home} is of a network with other weights. "
                "Delete the folder to start anew."
            )
        run.load(self._saved["run"])
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
            name = _FINISHED if is_done else _UNFINISHED
            with _writing:
                write(self.home / name, _to_bytes(state))
            if is_done:
                (self.home / _UNFINISHED).unlink(missing_ok=True)
        except OSError as error:
            if not self._has_warned:
                warnings.warn(
                    f"The checkpoint {self.home} cannot be written ({error.strerror}). "
                    "Training goes on; should it be killed, it resumes from what was "
                    "written before, if anything was.",
                    stacklevel=2,
                )
            self._has_warned = True
        now = time.monotonic()
        self._due = now + _PATIENCE * (now - began)


@contextmanager
def open_checkpoint(
    folder: Path, description: Description, seed: int | None
) -> Iterator[Checkpoint]:
    """Keep other processes from a fit's checkpoint while it is trained.

    Parameters
    ----------
    folder : Path
        Is made if it is not there; each fit has a folder in it.
    description : dict of str
        All that the fit comes from: fits that differ in any of it share nothing. Its
        "class" becomes part of a name.
    seed : int or None
        For a fit that has none of its own.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    RuntimeError
        If another process is busy with this fit.
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
            home.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(home / _LOCK))
            with _writing:
                # A process that is killed while it writes leaves its part behind.
                remove_parts(home)
                write(home / _DESCRIPTION, text)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The checkpoint folder cannot be written to ({error.strerror}); "
                "choose another one, or set checkpoint=None",
                str(folder),
            ) from error
        checkpoint = Checkpoint(home, seed)
        if not checkpoint.has_begun:
            _warn_of_others(home, description)
        yield checkpoint


def _warn_of_others(home: Path, description: Description) -> None:
    """Tell what sets the fit apart from those that were left unfinished."""
    for path in sorted(home.parent.glob(f"{description['class']}-*/{_UNFINISHED}")):
        other = path.parent
        if (other / _FINISHED).exists() or not is_free(other / _LOCK):
            continue
        before = json.loads((other / _DESCRIPTION).read_bytes())
        changes = [
            f"{name} was {before.get(name)} and is now {description.get(name)}"
            for name in sorted({*before, *description})
            if before.get(name) != description.get(name)
        ]
        warnings.warn(
            f"The checkpoint {other} was left unfinished, but is of another fit: "
            f"{', '.join(changes)}. This fit starts anew.",
            stacklevel=2,
        )


# What is written


def _to_bytes(state: Any) -> bytearray:
    writer = Writer(PLAIN_CODECS)
    return pack({"state": writer.write(state, "state")}, writer.arrays)


def _read(path: Path) -> Any:
    try:
        document, arrays = unpack(read(path))
        return Reader(PLAIN_CODECS, arrays, []).read(document["state"])
    except ValueError as error:
        raise ValueError(
            f"The checkpoint {path} cannot be read: {error}. Delete it to start anew."
        ) from error
