"""Shared data, and settings that must precede the first import of scipy."""

import os
from importlib.metadata import version

# Processes of xdist share the processors: threads of one would wait for the others'.
if "PYTEST_XDIST_WORKER" in os.environ:
    n_processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    n_threads = max(1, len(os.sched_getaffinity(0)) // n_processes)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(n_threads))

# scikit-learn skips its array API checks without it, and fails with an older scipy.
if tuple(map(int, version("scipy").split(".")[:2])) >= (1, 14):
    os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skautoenc import TabularAutoencoderTransformer


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


@pytest.fixture
def quick_defaults(request, monkeypatch):
    """Let autoencoders of tables, and those that imputers make, train for two epochs.

    If the parameter ``estimator`` of a test leaves the number to them.
    """
    estimator = request.node.callspec.params["estimator"]
    autoencoder = getattr(estimator, "autoencoder", estimator)
    if autoencoder is None or isinstance(autoencoder, TabularAutoencoderTransformer):

        def few(self, n_batches, n_inputs):
            return 2

        monkeypatch.setattr(TabularAutoencoderTransformer, "_default_max_iter", few)


# Tests that only run when their mark is asked for, and why.
ON_REQUEST = {
    "integrations": "needs other packages; runs with -m integrations",
    "nightly": "takes many minutes; runs with -m nightly",
    "site": "opens the built documentation; runs with -m site",
}


def pytest_collection_modifyitems(config, items):
    for mark, reason in ON_REQUEST.items():
        if mark in config.option.markexpr:
            continue
        skip = pytest.mark.skip(reason=reason)
        for item in items:
            if item.get_closest_marker(mark):
                item.add_marker(skip)
