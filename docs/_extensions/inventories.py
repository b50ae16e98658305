"""Names of other projects that the pages refer to.

Sphinx usually downloads an inventory of each project. A build must also work without a
network, and give the same links each time. The names of scikit-learn's public interface
follow from the installed version. Other names stand in text files, one project a file::

    https://docs.pytorch.org/docs/stable/
    torch.nn.Module py:class generated/torch.nn.Module.html

A reference to a name that is nowhere fails the build: add it to its file.
"""

import itertools
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

HEADER = (
    "# Sphinx inventory version 2\n"
    "# Project: {project}\n"
    "# Version: \n"
    "# The remainder of this file is compressed using zlib.\n"
)


def pack(source: Path, target: Path) -> dict[str, tuple[str, str]]:
    """Write inventories, and return the mapping to them for intersphinx."""
    target.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for path in sorted(source.glob("*.txt")):
        address, *lines = path.read_text().splitlines()
        names = [line.split() for line in lines if line]
        if path.stem == "sklearn":
            names += _names_of_sklearn()
        text = "\n".join(_line(*name) for name in names) + "\n"
        header = HEADER.format(project=path.stem).encode()
        inventory = target / f"{path.stem}.inv"
        inventory.write_bytes(header + zlib.compress(text.encode()))
        mapping[path.stem] = (address, str(inventory))
    return mapping


def _line(name: str, role: str, page: str) -> str:
    anchor = "" if "#" in page else "#$"
    return f"{name} {role} 1 {page}{anchor} -"


def _names_of_sklearn() -> Iterator[list[str]]:
    """Yield what has a page of its own, at an address that follows from its name."""
    from sklearn.utils.discovery import all_displays, all_estimators, all_functions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [*all_estimators(), *all_displays(), *all_functions()]
    for name, value in found:
        parts = value.__module__.split(".")
        public = itertools.takewhile(lambda part: not part.startswith("_"), parts)
        full_name = ".".join([*public, name])
        role = "py:class" if isinstance(value, type) else "py:function"
        yield [full_name, role, f"modules/generated/{full_name}.html"]
