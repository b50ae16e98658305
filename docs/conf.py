"""Build of the documentation: see CONTRIBUTING.md for the command."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

from inventories import pack  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import skautoenc  # noqa: E402
from skautoenc._about import DOCS_URL  # noqa: E402

project = "skautoenc"
author = "The skautoenc developers"
copyright = author
release = version = skautoenc.__version__

extensions = [
    "browser_demo",
    "linked_names",
    "repository_links",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]

# Every reference must resolve: a typo in a link or in a class name fails the build.
nitpicky = True
default_role = "literal"
exclude_patterns = ["_*", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
templates_path = ["_templates"]

# Pages are Markdown, and are also read where they lie in the repository.
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_use_plots = False
numpydoc_class_members_toctree = False

intersphinx_mapping = pack(HERE / "inventories", HERE.parent / "build" / "inventories")

# Prompts and output are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples" / "gallery"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    # Examples named long_* are shown, but run only with SKAUTOENC_LONG=1: they show the
    # figures of docs/images.
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "gallery_order.by_subject",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skautoenc",),
    "reference_url": {"skautoenc": None},
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 5,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skautoenc"
html_baseurl = DOCS_URL
html_favicon = "_static/logo.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("demo.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": "skautoenc",
    },
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without a section of their own need no empty bar.
html_sidebars = {
    page: []
    for page in (
        "index",
        "install",
        "getting_started",
        "faq",
        "comparison",
        "citation",
    )
}

if os.environ.get("SKAUTOENC_LONG") == "1":
    sphinx_gallery_conf["filename_pattern"] = r"/(plot|long)_"


def escape_shapes(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Keep "of shape (n_components_,)" from being read as a link to `n_components`."""
    for number, line in enumerate(lines):
        before, of, after = re.split(r"( of (?:shape|length) |$)", line, maxsplit=1)
        lines[number] = before + of + re.sub(r"(?<=\w)_(?=[,)]|$)", r"\\_", after)


def setup(app: Sphinx) -> None:
    """Escape names in shapes, after numpydoc has made text of them."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)
