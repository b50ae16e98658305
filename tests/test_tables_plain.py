"""Columns of plain numbers are converted all at once, to the same bits."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from skautoenc import TabularAutoencoderTransformer
from skautoenc._data.frames import Columns
from skautoenc._model.table import TableSide

N = 40
QUICK = TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def mixed():
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 100, N).astype(name) for name in TYPES}
    columns["float32"] = rng.normal(size=N).astype(np.float32)
    columns["float64"] = np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N))
    columns["large"] = rng.integers(2**60, 2**62, N)
    columns["empty"] = np.full(N, np.nan)
    columns["flag"] = rng.random(N) < 0.5
    columns["town"] = np.array(["Ulm", "Bonn"], dtype=object)[rng.integers(0, 2, N)]
    columns["day"] = pd.date_range("2020-01-01", periods=N).to_numpy()
    return columns


MAKE = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


@pytest.fixture
def one_by_one(monkeypatch):
    def switch():
        monkeypatch.setattr(Columns, "_plain_places", frozenset())

    return switch


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_bits_are_those_of_one_column_at_a_time(make, scaling, one_by_one):
    frame = make(mixed())
    estimator = clone(QUICK).set_params(scaling=scaling)
    found = estimator.fit(frame)
    code, filled = found.transform(frame[:7]), found.impute(frame)
    back = found.inverse_transform(code)
    one_by_one()
    same = clone(estimator).fit(frame)
    np.testing.assert_array_equal(code, same.transform(frame[:7]))
    assert filled.equals(same.impute(frame))
    assert back.equals(same.inverse_transform(code))
    assert same._model.side.table.columns[10].highest > 2**60
    for one, other in zip(
        found._model.side.table.columns, same._model.side.table.columns, strict=True
    ):
        assert getattr(one, "lowest", 0) == getattr(other, "lowest", 0)
        assert getattr(one, "highest", 0) == getattr(other, "highest", 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_the_bits_of_arrays_are_the_same(dtype, one_by_one):
    X = (30 * np.random.default_rng(0).normal(size=(N, 5))).astype(dtype)
    found = clone(QUICK).fit(X)
    code = found.transform(X[:3])
    one_by_one()
    np.testing.assert_array_equal(code, clone(QUICK).fit(X).transform(X[:3]))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_no_column_of_numbers_is_read_on_its_own(make, monkeypatch):
    """One by one, a row of 1,500 columns takes forty times as long."""
    X = np.random.default_rng(0).normal(size=(N, 30))
    X[3, 3] = np.nan
    frame = make({f"column {n}": X[:, n] for n in range(30)})
    monkeypatch.setattr(Columns, "__getitem__", None)
    fitted = clone(QUICK).fit(frame)
    fitted.transform(frame[:1])
    fitted.score_samples(frame)
    fitted.impute(frame[4:])


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_infinity_is_still_named(make):
    frame = make(mixed())
    fitted = clone(QUICK).fit(frame)
    columns = mixed()
    columns["float32"][5] = np.inf
    with pytest.raises(ValueError, match="Column 'float32' holds infinity in row 5"):
        fitted.transform(make(columns))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_types_may_differ_from_those_of_the_fit(make):
    columns = {name: mixed()[name] for name in (*TYPES, "float32", "float64")}
    fitted = clone(QUICK).fit(make(columns))
    as_floats = {name: values.astype(float) for name, values in columns.items()}
    code = fitted.transform(make(columns))
    np.testing.assert_array_equal(code, fitted.transform(make(as_floats)))
    nullable = pd.DataFrame(as_floats).convert_dtypes()
    np.testing.assert_array_equal(code, fitted.transform(nullable))


def test_what_rows_are_scored_by_is_made_once(monkeypatch):
    frame = pd.DataFrame(mixed())
    fitted = clone(QUICK).fit(frame)
    scores, errors = fitted.score_samples(frame), fitted.reconstruction_error(frame)
    monkeypatch.setattr(TableSide, "objective", None)
    np.testing.assert_array_equal(fitted.score_samples(frame), scores)
    np.testing.assert_array_equal(fitted.reconstruction_error(frame), errors)
