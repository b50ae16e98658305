"""Snippets may write files: each page does so in a folder of its own."""

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run a page in an empty folder."""
    monkeypatch.chdir(tmp_path)
