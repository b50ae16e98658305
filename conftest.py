"""Examples in docstrings and pages draw: their figures are closed after each."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _close_figures(request):
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and isinstance(request.node, pytest.DoctestItem):
        pyplot.close("all")
