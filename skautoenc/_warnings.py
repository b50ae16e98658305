"""Warnings that point at the user's line."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import sklearn

# Callbacks and output containers of scikit-learn wrap `fit` and `transform`, and
# contextlib calls context managers: warnings should not point there.
_SKIPPED = (
    *(f"{Path(module).parent}/" for module in (__file__, str(sklearn.__file__))),
    contextlib.__file__,
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the nearest line outside of the package and of scikit-learn.

    Parameters
    ----------
    message : str
        What to say.
    category : type, default=UserWarning
        Its class.

    Notes
    -----
    `warnings.warn` does the same by `skip_file_prefixes` from Python 3.12 on.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
