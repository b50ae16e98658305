"""Unfinished and finished fits in a checkpoint folder, and their removal."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

from .._warnings import warn
from .locks import InUseError, is_free, locked

# Names of all files in the folder of a fit, except partial files.
UNFINISHED, FINISHED = "unfinished.safetensors", "finished.safetensors"
LOCK, DESCRIPTION = "lock", "fit.json"
_NAME_OF_A_FIT = re.compile(r"\w+-[0-9a-f]{16}")

# Limits for the description of another fit, which anybody may have written.
_LONGEST_DESCRIPTION, _LONGEST_VALUE = 1_000_000, 100

Description = dict[str, str]


def warn_of_others(home: Path, description: Description) -> None:
    """Warn of the most similar unfinished fit, with the differences."""
    found = [
        (len(changes), str(other), changes)
        for other in _left_unfinished(home.parent, description["class"])
        if (changes := _changes(other, description)) is not None
    ]
    if not found:
        return
    _, other, changes = min(found)
    others = (
        f" There are {len(found) - 1} more; skautoenc.clear_checkpoints removes them."
        if len(found) > 1
        else ""
    )
    warn(
        f"The checkpoint {other} was left unfinished, but is of another fit: "
        f"{', '.join(changes)}. This fit starts anew.{others}"
    )


def _left_unfinished(folder: Path, name: str) -> Iterator[Path]:
    """Iterate over the folders of unfinished fits of a class that nobody trains."""
    for path in sorted(folder.glob(f"{name}-*/{UNFINISHED}")):
        if not os.path.exists(path.with_name(FINISHED)) and is_free(
            path.with_name(LOCK)
        ):
            yield path.parent


def _changes(other: Path, description: Description) -> list[str] | None:
    """List the differences between two fits, or return None if one is unreadable."""
    path = other / DESCRIPTION
    try:
        # Do not read a device, a pipe or a large file.
        if not path.is_file() or path.stat().st_size > _LONGEST_DESCRIPTION:
            return None
        before = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(before, dict):
        return None
    return [
        f"{name} was {before.get(name)!s:.{_LONGEST_VALUE}} and is now "
        f"{description.get(name)!s:.{_LONGEST_VALUE}}"
        for name in sorted({*before, *description})
        if before.get(name) != description.get(name)
    ]


def clear_checkpoints(
    folder: str | os.PathLike[str],
    *,
    which: Literal["all", "finished", "unfinished"] = "all",
    age_limit: timedelta | None = None,
) -> list[Path]:
    """Remove checkpoints of fits from a folder.

    A fit whose checkpoint is removed starts from the beginning when it is run again.
    Checkpoints of fits that are running are kept, and so are all other files in the
    folder.

    Parameters
    ----------
    folder : str or path-like
        Folder that was passed to estimators as `checkpoint`.

    which : {"all", "finished", "unfinished"}, default="all"
        Which fits to remove. Unfinished fits were killed and could resume.

    age_limit : datetime.timedelta, default=None
        Remove only checkpoints that no fit has used for longer than this. None removes
        all.

    Returns
    -------
    list of Path
        The folders of the fits that were removed.

    Raises
    ------
    ValueError
        If `which` is not one of these values.
    OSError
        If the folder does not exist, or if a checkpoint cannot be removed.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from skautoenc import AutoencoderTransformer, clear_checkpoints
    >>> X = load_iris().data
    >>> folder = tempfile.mkdtemp()
    >>> autoencoder = AutoencoderTransformer(2, checkpoint=folder, random_state=0)
    >>> autoencoder = autoencoder.fit(X)
    >>> len(clear_checkpoints(folder, which="unfinished"))
    0
    >>> len(clear_checkpoints(folder))
    1
    """
    if which not in ("all", "finished", "unfinished"):
        raise ValueError(
            f"which must be 'all', 'finished' or 'unfinished', got {which!r}"
        )
    limit = -1.0 if age_limit is None else age_limit.total_seconds()
    removed = []
    for home in sorted(Path(folder).expanduser().iterdir()):
        if home.is_symlink() or not (home.is_dir() and _is_of_a_fit(home)):
            continue
        with suppress(InUseError), locked(home / LOCK, alone=True):
            state = "finished" if (home / FINISHED).exists() else "unfinished"
            if which in ("all", state) and _age(home) > limit:
                _remove(home)
                removed.append(home)
    return removed


def _is_of_a_fit(home: Path) -> bool:
    """Whether a folder holds a lock, and no files other than those of a fit."""
    names = {path.name for path in home.iterdir()}
    parts = {name for name in names if name.startswith(".") and name.endswith(".part")}
    ours = {UNFINISHED, FINISHED, LOCK, DESCRIPTION}
    return (
        _NAME_OF_A_FIT.fullmatch(home.name) is not None
        and LOCK in names
        and names - parts <= ours
    )


def _age(home: Path) -> float:
    """Return the seconds since a fit was last started or resumed."""
    return time.time() - max(path.lstat().st_mtime for path in home.iterdir())


def _remove(home: Path) -> None:
    # The lock is last: without it, another process could start the fit meanwhile.
    for path in sorted(home.iterdir(), key=lambda path: path.name == LOCK):
        path.unlink()
    home.rmdir()
