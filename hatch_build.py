"""Metadata of the package: its links, and a README for the page of a package index.

README.md links to files of the repository by their paths. On the page of a package
index there are no such files, so there the links lead to the published documentation.
"""

import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# Files that are pages of the documentation under another name.
PAGES = {
    "CHANGELOG.md": "release_notes.html",
    "CONTRIBUTING.md": "contributing.html",
    "SECURITY.md": "security.html",
}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(#[^)]*)?\)")


class Metadata(MetadataHookInterface):
    """Fill in what depends on the address of the documentation."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README and the links."""
        links = runpy.run_path(str(Path(self.root, "skautoenc", "_links.py")))
        address = links["DOCS_URL"]

        def absolute(link: re.Match[str]) -> str:
            path, fragment = link[1], link[2] or ""
            if path.endswith(".png"):
                return f"]({address}_images/{Path(path).name})"
            page = PAGES.get(path) or re.sub(r"^docs/(.+)\.md$", r"\1.html", path)
            return f"]({address}{page}{fragment})"

        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": LINK.sub(absolute, text),
        }
        metadata["urls"] = {
            "Documentation": address,
            "Changelog": f"{address}release_notes.html",
        }
