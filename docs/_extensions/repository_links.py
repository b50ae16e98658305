"""Make links to files outside this folder work on the site.

Pages are also read where they lie in the repository, so they link to its other files
by their paths there. Some of these files are pages of the site too, and each example of
the gallery becomes one.
"""

import re

from sphinx.application import Sphinx

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "release_notes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(rf"\]\(\.\./({'|'.join(map(re.escape, PAGES))})")

EXAMPLE = re.compile(r"\]\(\.\./examples/gallery/(\w+)\.py\)")


def rewrite(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Point links to the page that shows the file."""
    text = LINK.sub(lambda link: f"]({PAGES[link[1]]}", source[0])
    source[0] = EXAMPLE.sub(r"](auto_examples/\1.rst)", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the change of sources."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
