"""Names of other projects that the pages refer to.

Sphinx usually downloads an inventory of each project. A build must also work without a
network, and give the same links each time, so the few names that are used stand in text
files, one project a file::

    https://scikit-learn.org/stable/
    sklearn.decomposition.PCA py:class modules/generated/sklearn.decomposition.PCA.html

A reference to a name that is in none of them fails the build: add it to its file.
"""

import zlib
from pathlib import Path

HEADER = (
    "# Sphinx inventory version 2\n"
    "# Project: {project}\n"
    "# Version: \n"
    "# The remainder of this file is compressed using zlib.\n"
)


def pack(source: Path, target: Path) -> dict[str, tuple[str, str]]:
    """Write the text files as inventories, and return the mapping for intersphinx."""
    target.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for path in sorted(source.glob("*.txt")):
        address, *names = path.read_text().split("\n")
        lines = [_line(*name.split()) for name in names if name.strip()]
        header = HEADER.format(project=path.stem).encode()
        inventory = target / f"{path.stem}.inv"
        inventory.write_bytes(header + zlib.compress("\n".join(lines).encode() + b"\n"))
        mapping[path.stem] = (address, str(inventory))
    return mapping


def _line(name: str, role: str, page: str) -> str:
    return (
        f"{name} {role} 1 {page}#$ -"
        if "#" not in page
        else f"{name} {role} 1 {page} -"
    )
