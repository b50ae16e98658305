"""Frames of any library that narwhals reads come back in that library."""

import sys
import types

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import skautoenc
from skautoenc import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    TabularAutoencoderTransformer,
)

N = 40
QUICK = TabularAutoencoderTransformer(
    2, hidden_layer_sizes=(4,), max_iter=1, random_state=0
)


def make_frame():
    rows = np.arange(N)
    frame = pd.DataFrame(
        {
            "number": np.sin(rows),
            "whole": pd.Series(rows % 7, dtype="Int64"),
            "word": pd.Categorical(np.where(rows % 3, "a", "b")),
            "day": pd.date_range("2024", periods=N),
        },
        index=rows[::-1],
    )
    return frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)


class LikeModin:
    """Frames that modin could have made, with as much of them as is asked for."""

    def __init__(self, frame):
        self.frame = frame

    def _to_pandas(self):
        return self.frame.copy()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.frame, name)

    def __len__(self):
        return len(self.frame)

    def __getitem__(self, key):
        return self.frame[key]


@pytest.fixture
def modin(monkeypatch):
    """Return a library whose frames narwhals takes for those of modin."""
    module = types.ModuleType("modin.pandas")
    module.__version__ = "1.0"
    module.DataFrame, module.Series = LikeModin, type("Series", (), {})
    monkeypatch.setitem(sys.modules, "modin", types.ModuleType("modin"))
    monkeypatch.setitem(sys.modules, "modin.pandas", module)
    return LikeModin


def same(found, expected):
    assert type(found) is LikeModin
    pd.testing.assert_frame_equal(found.frame, expected)


def test_frames_like_those_of_pandas_come_back(modin, tmp_path, monkeypatch):
    frame = make_frame()
    given, plain = modin(frame), QUICK.fit(frame)
    code, filled = plain.transform(frame), plain.impute(frame)
    back = plain.inverse_transform(code)
    fitted = TabularAutoencoderTransformer(**plain.get_params()).fit(given)
    assert list(fitted.feature_names_in_) == list(frame)
    np.testing.assert_array_equal(fitted.transform(given), code)
    same(fitted.impute(given), filled)
    same(fitted.inverse_transform(code), back)
    # One fit takes frames of any library.
    pd.testing.assert_frame_equal(fitted.impute(frame), filled)
    same(plain.impute(given), filled)
    fitted.save(tmp_path / "table")
    same(skautoenc.load(tmp_path / "table").inverse_transform(code), back)
    # A file does not decide what is imported.
    monkeypatch.delitem(sys.modules, "modin.pandas")
    loaded = skautoenc.load(tmp_path / "table")
    pd.testing.assert_frame_equal(loaded.inverse_transform(code), back)


def test_imputers_and_detectors_give_frames_back(modin):
    frame = make_frame()
    imputer = AutoencoderImputer(QUICK, add_indicator=True)
    expected = imputer.fit(frame).transform(frame)
    found = imputer.fit(modin(frame)).transform(modin(frame))
    assert list(found.frame) == list(imputer.get_feature_names_out())
    same(found, expected)
    detector = AutoencoderOutlierDetector(QUICK, n_estimators=4, random_state=0)
    expected = detector.fit(frame).explain(frame)
    found = detector.fit(modin(frame)).explain(modin(frame))
    for one, other in zip(found, expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("library", ["polars", "pyarrow", "batch"])
@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_imputers_give_the_library_asked_for(library, output):
    table = pa.Table.from_pandas(make_frame(), preserve_index=False)
    given = {"polars": pl.from_arrow(table), "batch": table.to_batches()[0]}.get(
        library, table
    )
    imputer = AutoencoderImputer(QUICK, add_indicator=True)
    found = imputer.set_output(transform=output).fit(given).transform(given)
    kinds = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
    default = pl.DataFrame if library == "polars" else pa.Table
    assert type(found) is kinds.get(output, default)
    names = found.column_names if type(found) is pa.Table else found.columns
    assert list(names) == list(imputer.get_feature_names_out())
    assert len(found) == N


def test_explanations_of_arrow_are_of_arrow():
    table = pa.Table.from_pandas(make_frame(), preserve_index=False)
    detector = AutoencoderOutlierDetector(QUICK, n_estimators=4, random_state=0)
    surprise, expected = detector.fit(table).explain(table)
    assert type(surprise) is type(expected) is pa.Table
    assert surprise.column_names == expected.column_names == list(make_frame())


class Relation:
    """Rows of a database that are not read yet."""

    columns, shape = ["x"], (9, 1)

    def df(self):
        raise AssertionError("read without being asked")


class Unknown:
    columns, shape = ["x"], (9, 1)


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (Relation(), r"Relation, whose rows are not computed yet\. Pass X\.df\(\)\."),
        (Unknown(), r"Unknown, a frame that narwhals does not read"),
    ],
)
def test_what_is_no_frame_yet_is_refused_in_one_sentence(X, text):
    fitted = QUICK.fit(make_frame()[["number"]])
    for use in (QUICK.fit, fitted.transform, fitted.impute):
        with pytest.raises(TypeError, match=text):
            use(X)
