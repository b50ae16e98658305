"""Metadata of the package: its links, and a README for the page of a package index.

README.md links to files of the repository by their paths. The page of a package index
has no such files, so its links lead to the published documentation. While that has no
address, the text of the links stays, and links and pictures are left out.
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
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:)([^)#]+)(#[^)]*)?\)")


def for_package_index(text: str, address: str) -> str:
    """Return a README whose links work without the files of the repository."""

    def absolute(link: re.Match[str]) -> str:
        image, label, path, fragment = link.groups(default="")
        if not address:
            return "" if image else label
        page = f"_images/{Path(path).name}" if image else _page(path)
        return f"{image}[{label}]({address}{page}{fragment})"

    # A picture that was left out leaves two empty lines more.
    return re.sub(r"\n{3,}", "\n\n", LINK.sub(absolute, text))


def _page(path: str) -> str:
    return PAGES.get(path) or re.sub(r"^docs/(.+)\.md$", r"\1.html", path)


class Metadata(MetadataHookInterface):
    """Fill in what depends on the address of the documentation."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README and the links."""
        about = runpy.run_path(str(Path(self.root, "skautoenc", "_about.py")))
        address = about["DOCS_URL"]
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": for_package_index(text, address),
        }
        metadata["urls"] = {}
        if address:
            metadata["urls"] = {
                "Documentation": address,
                "Changelog": f"{address}release_notes.html",
            }
