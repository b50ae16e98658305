"""Description of the machine and versions of a measurement."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import torch
from threadpoolctl import threadpool_limits

from skautoenc import __version__


@contextmanager
def pinned(n_threads: int) -> Iterator[None]:
    """Set the numbers of threads of numpy and torch, and restore them afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(n_threads):
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def describe_machine(packages: Sequence[str]) -> str:
    """Return processor, threads, and versions of Python, skautoenc and `packages`."""
    processor = platform.processor() or platform.machine()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = " ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{processor}, {cores}, Python {platform.python_version()}\n"
        f"skautoenc {__version__} {versions}"
    )
