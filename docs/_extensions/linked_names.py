"""Make names of the package in code font link to their reference.

Docstrings and pages write `AutoencoderTransformer` in code font, which is also right
where they are read without Sphinx. On the site such a name is a link.
"""

import importlib
import inspect
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

MODULES = ("skautoenc", "skautoenc.inspection", "skautoenc.onnx", "skautoenc.datasets")


def public_names() -> dict[str, tuple[str, str]]:
    """Return the role and the full name behind each way to write a public name."""
    found = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            value = getattr(importlib.import_module(module), name)
            role = "class" if inspect.isclass(value) else "func"
            if inspect.isclass(value) or inspect.isfunction(value):
                found[name] = found[f"{module}.{name}"] = (role, f"{module}.{name}")
    # Common English words are too likely to mean something else.
    del found["load"]
    return found


class LinkNames(SphinxTransform):
    """Wrap code that is a public name into a reference to it."""

    default_priority = 50

    def apply(self, **_: Any) -> None:
        """Change the document in place."""
        names = public_names()
        own = self.env.docname.rpartition("/")[2]
        for literal in list(self.document.findall(nodes.literal)):
            target = names.get(literal.astext())
            inside_link = isinstance(literal.parent, nodes.reference | pending_xref)
            inside_title = isinstance(literal.parent, nodes.title)
            if target is None or inside_link or inside_title or target[1] == own:
                continue
            role, full_name = target
            reference = pending_xref(
                "",
                refdomain="py",
                reftype=role,
                reftarget=full_name,
                refexplicit=True,
                refwarn=True,
            )
            reference.source, reference.line = literal.source, literal.line
            literal.replace_self(reference)
            reference += literal


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
