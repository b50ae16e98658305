"""What a measurement was made with."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

from skautoenc import __version__


def describe_machine(packages: Sequence[str]) -> str:
    """Name the processor, Python, and the versions of skautoenc and `packages`."""
    processor = platform.processor() or platform.machine()
    versions = " ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{processor} Python {platform.python_version()}\n"
        f"skautoenc {__version__} {versions}"
    )
