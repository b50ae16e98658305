"""Dask collections in, Dask collections out: nothing is computed by a call."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
)

dask = pytest.importorskip("dask", reason="needs skautoenc[dask]")
da = pytest.importorskip("dask.array", reason="needs skautoenc[dask]")
dd = pytest.importorskip("dask.dataframe", reason="needs skautoenc[dask]")
dask_callbacks = pytest.importorskip("dask.callbacks")

NAMES = [f"x{column}" for column in range(16)]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 2)) @ rng.normal(size=(2, 16)) + rng.random((300, 16))


@pytest.fixture(scope="module")
def fitted(X):
    """Return a fit without names of columns."""
    return AutoencoderTransformer(3, max_iter=2, random_state=0).fit(X)


@pytest.fixture(scope="module")
def named(X):
    frame = pd.DataFrame(X, columns=NAMES)
    return AutoencoderTransformer(3, max_iter=2, random_state=0).fit(frame)


class NoTasks(dask_callbacks.Callback):
    """Fail if Dask runs a task in the context."""

    def _pretask(self, key, dsk, state):
        raise AssertionError(f"{key} was computed")


def lazily(function, X, **others):
    """Call a function; return its result, for which nothing was computed."""
    with NoTasks():
        found = function(X, **others)
    assert hasattr(type(found), "__dask_graph__")
    return found


def array(X):
    return da.from_array(X, chunks=(90, 7))


def unknown(X):
    rows = array(X)
    return rows[rows[:, 0] < np.inf]


def frame(X):
    rows = pd.DataFrame(X, columns=NAMES[: X.shape[1]])
    return dd.from_pandas(rows.set_axis(range(1000, 1000 + len(X))), npartitions=4)


def same(found, expected):
    computed = found.compute()
    assert computed.dtype == expected.dtype == found.dtype
    np.testing.assert_array_equal(computed, expected)


@pytest.mark.parametrize("make", [array, unknown])
def test_arrays(X, fitted, make):
    rows = make(X)
    code = lazily(fitted.transform, rows)
    assert code.shape[1] == 3
    assert code.chunks[0] == rows.chunks[0] or np.isnan(code.chunks[0]).all()
    expected = fitted.transform(X)
    same(code, expected)
    back = lazily(fitted.inverse_transform, code)
    assert back.shape[1] == 16
    same(back, fitted.inverse_transform(expected))
    scores = lazily(fitted.score_samples, rows)
    assert scores.ndim == 1
    same(scores, fitted.score_samples(X))


def test_frames(X, named):
    rows = frame(X)
    given = rows.compute()
    code = lazily(named.transform, rows)
    assert np.isnan(code.shape[0])
    assert code.shape[1] == 3
    expected = named.transform(given)
    same(code, expected)
    same(lazily(named.inverse_transform, code), named.inverse_transform(expected))
    scores = lazily(named.score_samples, rows)
    assert scores.ndim == 1
    same(scores, named.score_samples(given))


@pytest.mark.parametrize("how", ["method", "global"])
@pytest.mark.parametrize("make", [array, unknown, frame])
def test_set_output(X, fitted, named, make, how):
    rows = make(X)
    estimator = clone(named if make is frame else fitted)
    given = rows.compute() if make is frame else X
    setting = {"transform_output": "pandas"} if how == "global" else {}
    with config_context(**setting):
        estimator.fit(given)
        if how == "method":
            estimator.set_output(transform="pandas")
        code = lazily(estimator.transform, rows)
        back = lazily(estimator.inverse_transform, code)
        expected = estimator.transform(given)
        expected_back = estimator.inverse_transform(expected)
    assert list(code.columns) == list(estimator.get_feature_names_out())
    assert list(code.dtypes) == [np.float32] * 3
    computed = code.compute()
    if make is unknown:
        computed = computed.set_axis(expected.index)
    pd.testing.assert_frame_equal(computed, expected)
    np.testing.assert_array_equal(back.compute(), expected_back)
    if make is frame:
        assert list(back.columns) == NAMES
        assert code.divisions == rows.divisions


def test_fit_transform(X, fitted, named):
    for estimator, rows in ((fitted, array(X)), (named, frame(X))):
        again = clone(estimator)
        found = again.fit_transform(rows)
        assert hasattr(type(found), "__dask_graph__")
        np.testing.assert_array_equal(
            found.compute(), estimator.transform(rows).compute()
        )
        assert again.set_output(transform="pandas").fit_transform(rows).shape[1] == 3


def test_the_fit_of_the_call_is_applied(X, fitted):
    estimator = clone(fitted).fit(X)
    expected = estimator.transform(X)
    code = lazily(estimator.transform, array(X))
    estimator.set_params(random_state=1).fit(2 * X + 1)
    same(code, expected)


def test_pipelines(X, fitted):
    pipeline = make_pipeline(clone(fitted), AutoencoderTransformer(2, max_iter=1))
    pipeline.fit(X)
    same(lazily(pipeline.transform, array(X)), pipeline.transform(X))


@pytest.mark.parametrize(
    "estimator",
    [
        ConvAutoencoderTransformer(3, max_iter=1, random_state=0),
        PatchAutoencoderTransformer(
            AutoencoderTransformer(4, max_iter=1), random_state=0
        ),
    ],
    ids=["conv", "patches"],
)
def test_images(X, estimator):
    images = X.reshape(-1, 4, 4)
    estimator = clone(estimator).fit(images)
    expected = estimator.transform(images)
    chunked = da.from_array(images, chunks=(90, 2, 4))
    code = lazily(estimator.transform, chunked)
    assert code.shape == expected.shape
    same(code, expected)
    same(
        lazily(estimator.inverse_transform, code),
        estimator.inverse_transform(expected),
    )


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(3, features="reconstruction", max_iter=1),
        AutoencoderTransformer(
            3, hidden_layer_sizes=(5,), features="stack", max_iter=1
        ),
        VariationalAutoencoder(2, max_iter=1, random_state=0),
    ],
    ids=["reconstruction", "stack", "variational"],
)
def test_other_features(X, estimator):
    for rows in (X, X + 1e6):
        estimator = clone(estimator).fit(rows)
        expected = estimator.transform(rows)
        same(lazily(estimator.transform, array(rows)), expected)
        same(
            lazily(estimator.inverse_transform, array(expected)),
            estimator.inverse_transform(expected),
        )
        same(
            lazily(estimator.score_samples, array(rows)),
            estimator.score_samples(rows),
        )


def test_tables():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"size": rng.normal(size=200), "kind": rng.choice(["a", "b"], 200)}
    )
    table.loc[::7, "size"] = np.nan
    estimator = TabularAutoencoderTransformer(max_iter=1, random_state=0).fit(table)
    rows = dd.from_pandas(table, npartitions=3)
    expected = estimator.transform(table)
    code = lazily(estimator.transform, rows)
    same(code, expected)
    same(lazily(estimator.score_samples, rows), estimator.score_samples(table))
    # With pandas 2, Dask would convert columns of strings.
    with dask.config.set({"dataframe.convert-string": False}):
        back = lazily(estimator.inverse_transform, code)
        found = back.compute().reset_index(drop=True)
    wanted = estimator.inverse_transform(expected)
    assert list(back.dtypes) == list(wanted.dtypes)
    pd.testing.assert_frame_equal(found, wanted)


def test_partitions_without_rows(X, fitted, named):
    rows = array(X)
    some = rows[rows[:, 0] > np.sort(X[:, 0])[-3]]
    chosen = X[X[:, 0] > np.sort(X[:, 0])[-3]]
    same(lazily(fitted.transform, some), fitted.transform(chosen))
    few = frame(X)
    few = few[few["x0"] > np.sort(X[:, 0])[-3]]
    given = few.compute()
    same(lazily(named.score_samples, few), named.score_samples(given))
    named = clone(named).set_output(transform="pandas").fit(frame(X).compute())
    pd.testing.assert_frame_equal(
        lazily(named.transform, few).compute(), named.transform(given)
    )


def test_errors_come_with_the_call(X, fitted, named):
    with pytest.raises(ValueError, match="X has 15 features"):
        fitted.transform(array(X[:, 1:]))
    with pytest.raises(ValueError, match="feature names should match"):
        named.score_samples(frame(X).rename(columns={"x0": "y"}))
    with pytest.raises(ValueError, match="X has 4 columns"):
        fitted.inverse_transform(array(X[:, :4]))
    polars = clone(fitted).set_output(transform="polars").fit(X)
    with pytest.raises(ValueError, match="no frames of polars"):
        polars.transform(array(X))


def test_dask_backed_xarray(X, fitted):
    xarray = pytest.importorskip("xarray", reason="needs xarray")
    rows = xarray.DataArray(array(X), dims=("row", "column"))
    same(lazily(fitted.transform, rows), fitted.transform(X))
