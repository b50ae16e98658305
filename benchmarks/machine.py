"""What a measurement was made with."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from skautoenc import __version__


def describe_machine(packages: Sequence[str]) -> str:
    """Name processor, threads, Python, and the versions of skautoenc and `packages`."""
    processor = platform.processor() or platform.machine()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = " ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{processor}, {cores}, Python {platform.python_version()}\n"
        f"skautoenc {__version__} {versions}"
    )
