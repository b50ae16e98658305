"""Searches on a Dask cluster, with and without joint training."""

import os

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skautoenc import AutoencoderTransformer, train_together
from skautoenc._parallel.shares import fill_in, outline

distributed = pytest.importorskip("distributed", reason="needs skautoenc[dask]")

# The lowest Dask has what joblib 1.5 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`apply_async` is deprecated")

PARAMETER = "autoencodertransformer__learning_rate_init"


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def rows(digits):
    X, _, y, _ = digits
    return X[:300], y[:300]


def process(estimator, X, y=None):
    """Score by the number of the process."""
    return os.getpid()


def search(rows, **parameters):
    pipeline = make_pipeline(
        AutoencoderTransformer(8, hidden_layer_sizes=(12,), max_iter=3, random_state=0),
        LogisticRegression(max_iter=300),
    )
    grid = {PARAMETER: [0.001, 0.003, 0.01, 0.03]}
    return GridSearchCV(pipeline, grid, cv=2, **parameters).fit(*rows)


def scores(search):
    return search.cv_results_["mean_test_score"]


def processes(search):
    names = "split0_test_score", "split1_test_score"
    return {int(score) for name in names for score in search.cv_results_[name]}


def test_scores_are_those_of_a_serial_search(rows, client):
    serial = search(rows)
    with parallel_config("dask"):
        on_workers = search(rows)
    np.testing.assert_array_equal(scores(on_workers), scores(serial))
    np.testing.assert_array_equal(
        on_workers.best_estimator_[0].transform(rows[0]),
        serial.best_estimator_[0].transform(rows[0]),
    )


def test_each_worker_trains_a_share_jointly(rows, client):
    with train_together():
        here = search(rows)
    with parallel_config("dask"), train_together():
        on_workers = search(rows)
        where = processes(search(rows, scoring=process, refit=False))
    np.testing.assert_allclose(scores(on_workers), scores(here), rtol=1e-4)
    pids = client.run(os.getpid).values()
    assert where == set(pids)
    assert os.getpid() not in pids


def test_lazy_codes_are_computed_on_workers(rows, client):
    da = pytest.importorskip("dask.array")
    X, _ = rows
    fitted = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    lazy = fitted.transform(da.from_array(X, chunks=(100, 64)))
    np.testing.assert_array_equal(lazy.compute(), fitted.transform(X))


class Batch:
    """Calls, as joblib submits them."""

    def __init__(self, items):
        self.items = items


def test_arguments_of_several_calls_are_passed_apart(rows):
    # Dask sends a large argument once, but does not look into calls of calls.
    X, y = rows
    batches = [Batch([(abs, (number, X), {"y": y})]) for number in range(3)]
    outlines, values = outline(batches)
    assert [id(value) for value in values] == [id(X), id(y)]
    assert not any(value is X for batch in outlines for value in batch.items[0][1])
    for number, batch in enumerate(fill_in(outlines, values)):
        function, args, kwargs = batch.items[0]
        assert (function, args[0]) == (abs, number)
        assert args[1] is X
        assert kwargs == {"y": y}
    assert batches[0].items[0][1][1] is X
