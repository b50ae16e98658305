"""Shared data, and settings that must precede the first import of scipy."""

import os
from importlib.metadata import version

# scikit-learn skips its array API checks without it, and fails with an older scipy.
if tuple(map(int, version("scipy").split(".")[:2])) >= (1, 14):
    os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@pytest.fixture(scope="session")
def digits():
    """Digits in [0, 1]: training rows, test rows, and their classes."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)


@pytest.fixture(scope="session")
def train_rows(digits):
    return digits[0]


@pytest.fixture(scope="session")
def test_rows(digits):
    return digits[1]


def pytest_collection_modifyitems(config, items):
    if "nightly" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="takes many minutes; runs with -m nightly")
    for item in items:
        if "nightly" in item.keywords:
            item.add_marker(skip)
