"""Snippets may write files: each page does so in a folder of its own."""

from importlib.util import find_spec

import pytest

# Pages whose snippets need an extra that is not installed.
collect_ignore = [] if find_spec("distributed") else ["scale.md"]


def pytest_collection_modifyitems(items):
    """Let Dask use what is deprecated in pandas."""
    for item in items:
        if item.path.name == "scale.md":
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run a page in an empty folder."""
    monkeypatch.chdir(tmp_path)
