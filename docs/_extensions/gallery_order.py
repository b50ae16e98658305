"""Order of the examples in the gallery."""

from pathlib import Path


def by_subject(path: str) -> str:
    """Return the name of an example without "plot_" or "long_", to sort by."""
    return Path(path).stem.partition("_")[2]
