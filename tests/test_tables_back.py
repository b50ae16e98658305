"""Decoded tables: types, ranges, missing values, unknown categories, zero weights."""

import datetime
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skautoenc
from skautoenc import TabularAutoencoderTransformer
from skautoenc._data.frames import _make_column, round_within

N = 30
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
Z = np.random.default_rng(0).normal(size=N)
IS_GAP = np.arange(N) % 7 == 3


def few(n):
    return settings(max_examples=n, deadline=None, derandomize=True, database=None)


def fit(frame, sample_weight=None, **parameters):
    """Fit for one epoch: results are bad, but must still be valid."""
    estimator = TabularAutoencoderTransformer(
        **{
            "n_components": 3,
            "hidden_layer_sizes": (4,),
            "max_iter": 1,
            "random_state": 0,
            **parameters,
        }
    )
    return estimator.fit(frame, sample_weight=sample_weight)


def decode_anything(fitted, n=N):
    """Decode codes that are far from those of any row."""
    codes = 1e4 * np.random.default_rng(1).normal(size=(n, 3))
    return fitted.inverse_transform(codes)


def missing(column):
    if isinstance(column, pd.Series):
        return column.isna().to_numpy()
    filled = column.fill_nan(None) if column.dtype.is_float() else column
    return filled.is_null().to_numpy()


# Columns of every type


def gapped(values):
    return [None if gap else v for gap, v in zip(IS_GAP, values, strict=True)]


WORDS = gapped(np.where(Z > 0, "high", "low").tolist())
FLAGS = gapped((Z > 0).tolist())
FLOATS = gapped(np.exp(Z).tolist())
CENTS = gapped([Decimal(f"{z:.2f}") for z in Z])
START = datetime.datetime(2024, 1, 1)
DAYS = gapped([START + datetime.timedelta(days=round(20 * z)) for z in Z])
TIMES = gapped([START + datetime.timedelta(seconds=1.1e4 * z) for z in Z])
DATES = [day and day.date() for day in DAYS]
ZONED = [t and t.replace(tzinfo=datetime.UTC) for t in TIMES]

COLUMNS = {
    "pandas": {
        **{
            name: pd.Series(WORDS, dtype=name)
            for name in ("str", "object", "string", "string[pyarrow]")
        },
        "categorical": pd.Series(pd.Categorical(WORDS)),
        "ordered": pd.Series(pd.Categorical(WORDS, ["low", "some", "high"], True)),
        "dictionary": pd.Series(
            WORDS, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
        ),
        "intervals": pd.cut(pd.Series(np.where(IS_GAP, np.nan, Z)), 4),
        "bool": pd.Series(Z > 0),
        "objects of bool": pd.Series(FLAGS, dtype=object),
        "boolean": pd.Series(FLAGS, dtype="boolean"),
        "bool[pyarrow]": pd.Series(FLAGS, dtype="bool[pyarrow]"),
        **{
            name: pd.Series(np.where(IS_GAP, np.nan, np.exp(Z)), dtype=name)
            for name in ("float16", "float32", "float64")
        },
        **{
            name: pd.Series(FLOATS, dtype=name)
            for name in ("Float32", "Float64", "float[pyarrow]", "double[pyarrow]")
        },
        "decimal": pd.Series(CENTS, dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
        "days": pd.Series(DAYS, dtype="datetime64[us]"),
        "s": pd.Series(TIMES, dtype="datetime64[us]").astype("datetime64[s]"),
        "ms": pd.Series(TIMES, dtype="datetime64[us]").astype("datetime64[ms]"),
        "ns": pd.Series(TIMES, dtype="datetime64[ns]"),
        "zoned": pd.Series(ZONED).astype("datetime64[us, Europe/Vienna]"),
        "date32": pd.Series(DATES, dtype="date32[day][pyarrow]"),
        "timestamp": pd.Series(TIMES, dtype="timestamp[us][pyarrow]"),
    },
    "polars": {
        **{
            repr(dtype): pl.Series(WORDS, dtype=dtype)
            for dtype in (pl.String, pl.Categorical, pl.Enum(["low", "some", "high"]))
        },
        "Boolean": pl.Series(FLAGS),
        "Float32": pl.Series(FLOATS, dtype=pl.Float32),
        "Float64": pl.Series(FLOATS),
        "NaN": pl.Series(np.where(IS_GAP, np.nan, Z)),
        "Decimal": pl.Series(CENTS, dtype=pl.Decimal(10, 2)),
        "Date": pl.Series(DATES),
        **{
            unit: pl.Series(TIMES, dtype=pl.Datetime(unit))
            for unit in ("ms", "us", "ns")
        },
        "zoned": pl.Series(ZONED).dt.convert_time_zone("Europe/Vienna"),
    },
}
EVERY_COLUMN = [(lib, name) for lib, columns in COLUMNS.items() for name in columns]
# Columns without values, as file readers and small frames have them.
NOTHING = {
    "pandas": [
        pd.Series([None, None], dtype=dtype)
        for dtype in (
            *("float64", "object", "str", "string", "Int8", "boolean", "Float32"),
            *("category", "datetime64[s]", "timedelta64[ns]"),
            pd.ArrowDtype(pa.null()),
        )
    ]
    + [
        pd.Series([pd.NA, pd.NA], dtype=object),
        pd.Series([None, pd.NaT], dtype=object),
    ],
    "polars": [
        pl.Series([None, None], dtype=dtype)
        for dtype in (
            *(pl.Null, pl.String, pl.Float64, pl.Int8, pl.Boolean, pl.Categorical),
            *(pl.Enum(["else"]), pl.Date, pl.Datetime("ms"), pl.Duration, pl.Object),
            pl.List(pl.Int8),
        )
    ]
    + [pl.Series([np.nan, np.nan])],
}


@pytest.mark.parametrize(("library", "name"), EVERY_COLUMN)
def test_every_type_comes_back(library, name):
    column = COLUMNS[library][name]
    frame = LIBRARIES[library]({"z": Z, "x": column})
    fitted = fit(frame)
    back, filled = decode_anything(fitted), fitted.impute(frame)
    for found in (back["x"], filled["x"]):
        assert found.dtype == column.dtype
        assert not missing(found).any()
    kept = filled["x"].to_list()
    known = [
        v for v, gap in zip(column.to_list(), missing(column), strict=True) if not gap
    ]
    assert [v for v, gap in zip(kept, missing(column), strict=True) if not gap] == known
    if fitted.column_kinds_["x"] != "category":
        assert min(known) <= min(*back["x"].to_list(), *kept)
        assert max(*back["x"].to_list(), *kept) <= max(known)


@pytest.mark.parametrize(("library", "name"), EVERY_COLUMN)
def test_a_column_without_a_value_is_read_and_filled_whatever_its_type(library, name):
    column = COLUMNS[library][name]
    fitted = fit(LIBRARIES[library]({"z": Z, "x": column}))
    typed = LIBRARIES[library]({"z": Z[:2], "x": column[3:4].to_list() * 2})
    if name != "bool":
        codes = fitted.transform(typed)
    for nothing in NOTHING[library]:
        batch = LIBRARIES[library]({"z": Z[:2], "x": nothing})
        filled = fitted.impute(batch)["x"]
        assert filled.dtype == column.dtype, nothing.dtype
        assert not missing(filled).any(), nothing.dtype
        if name != "bool":
            np.testing.assert_array_equal(fitted.transform(batch), codes)
        assert np.isfinite(fitted.score_samples(batch)).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_is_filled_by_its_values_where_fit_saw_another_library(library):
    other = {"pandas": pl.DataFrame, "polars": pd.DataFrame}[library]
    values = {"word": WORDS, "x": FLOATS, "day": DAYS, "z": Z}
    fitted = fit(other(values))
    batch = LIBRARIES[library](
        {"word": [None, None], "x": [None, None], "day": [None, None], "z": Z[:2]}
    )
    filled = fitted.impute(batch)
    assert set(filled["word"]) <= {"low", "high"}
    assert filled["x"].dtype in (np.dtype(float), pl.Float64)
    assert all(isinstance(day, datetime.datetime) for day in filled["day"])
    for name in values:
        assert not missing(filled[name]).any()
    # Arrays have no types for columns without values; those of numbers are kept.
    of_array = fit(np.column_stack([Z, Z]))
    batch = LIBRARIES[library]({"a": Z[:2], "b": [None, None]})
    with pytest.warns(UserWarning, match="fitted without feature names"):
        filled = of_array.impute(batch)
    assert filled["b"].dtype in (np.dtype(float), pl.Float64)


# Integers

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def nullable(name):
    return name.replace("int", "Int").replace("uI", "UI")


def integer_column(kind, name, values):
    if kind == "polars":
        return pl.Series(values, dtype=getattr(pl, nullable(name)))
    dtype = {"numpy": name, "nullable": nullable(name), "arrow": f"{name}[pyarrow]"}
    return pd.Series(values, dtype=dtype[kind])


def some_integers(name):
    """Draw integers around a random position in the type's range, or at its limits."""
    bounds = np.iinfo(name)
    ends = int(bounds.min), int(bounds.max)
    anywhere = st.integers(*ends)
    near = anywhere.flatmap(
        lambda at: st.integers(max(ends[0], at - 40), min(ends[1], at + 40))
    )
    last = st.integers(ends[1] - 40, ends[1])
    first = st.integers(ends[0], ends[0] + 40)
    each = st.sampled_from([anywhere, near, last, first, st.sampled_from(ends)])
    return each.flatmap(lambda some: st.lists(some, min_size=N, max_size=N))


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("kind", ["numpy", "nullable", "arrow", "polars"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_decoded_within_the_range_of_fit(name, kind, scaling):
    @few(3)
    @given(some_integers(name))
    def check(values):
        holed = values if kind == "numpy" else gapped(values)
        column = integer_column(kind, name, holed)
        frame = LIBRARIES["polars" if kind == "polars" else "pandas"]
        frame = frame({"x": column, "z": Z})
        fitted = fit(frame, scaling=scaling)
        known = [value for value in holed if value is not None]
        back, filled = decode_anything(fitted)["x"], fitted.impute(frame)["x"]
        for found in (back, filled):
            assert found.dtype == column.dtype
            integers = [int(each) for each in found.to_list()]
            assert min(known) <= min(integers)
            assert max(integers) <= max(known)
        kept = [new for new, old in zip(filled, holed, strict=True) if old is not None]
        assert kept == known

    check()


@pytest.mark.parametrize("name", INTEGERS)
@few(3)
@given(data=st.data())
def test_arrays_of_integers_come_back_as_floats_that_the_type_holds(name, data):
    values = np.array(data.draw(some_integers(name)), dtype=name)
    back = decode_anything(fit(values[:, None]))
    assert back.dtype == np.float64
    assert (back == np.round(back)).all()
    # A cast to the type must not wrap around.
    np.testing.assert_array_equal(back.astype(name).astype(float), back)
    if abs(int(values.min())) < 2**53 and int(values.max()) < 2**53:
        assert values.min() <= back.min()
        assert back.max() <= values.max()


@few(300)
@given(
    st.lists(st.floats(-1e25, 1e25) | st.floats(-300, 300), min_size=1),
    st.integers(-(2**80), 2**80) | st.integers(-300, 300),
    st.integers(0, 2**80) | st.integers(0, 300),
)
def test_rounding_within_a_range_is_exact(values, lowest, width):
    highest = lowest + width
    found = round_within(np.array(values), lowest, highest).tolist()
    for value, each in zip(values, found, strict=True):
        assert type(each) is int
        assert lowest <= each <= highest
        if float(lowest) < round(value) < float(highest):
            assert each == round(value)
        elif float(lowest) != float(highest):
            assert each == (lowest if round(value) <= float(lowest) else highest)


@pytest.mark.parametrize("n_bits", [8, 16, 32, 64])
def test_columns_of_polars_reach_from_end_to_end(n_bits):
    for name in (f"Int{n_bits}", f"UInt{n_bits}"):
        dtype, bounds = getattr(pl, name), np.iinfo(name.lower())
        far = np.array([-1e30, 1e30])
        column = _make_column(far, dtype, "polars")
        assert column.dtype == dtype
        assert column.to_list() == [bounds.min, bounds.max]


@pytest.mark.parametrize("kind", ["nullable", "arrow", "polars"])
def test_a_gap_in_a_narrower_type_takes_what_that_holds(kind):
    library = LIBRARIES["polars" if kind == "polars" else "pandas"]
    values = [1000 + k for k in range(N)]
    fitted = fit(library({"x": integer_column(kind, "int64", values), "z": Z}))
    narrow = integer_column(kind, "int8", [5, None, 7])
    filled = fitted.impute(library({"x": narrow, "z": Z[:3]}))["x"]
    assert filled.dtype == narrow.dtype
    assert filled.to_list() == [5, 127, 7]


@pytest.mark.parametrize("kind", ["nullable", "arrow", "polars"])
def test_fractions_are_rounded_in_a_column_of_integers(kind):
    library = LIBRARIES["polars" if kind == "polars" else "pandas"]
    fitted = fit(library({"x": np.linspace(6.6, 6.7, N), "z": Z}))
    whole = integer_column(kind, "int32", [5, None])
    filled = fitted.impute(library({"x": whole, "z": Z[:2]}))["x"]
    assert filled.to_list() == [5, 7]


# Booleans, and columns whose categories are all rare

BOOLEANS = {
    "bool": pd.Series(Z > 0),
    "boolean": pd.Series(FLAGS, dtype="boolean"),
    "bool[pyarrow]": pd.Series(FLAGS, dtype="bool[pyarrow]"),
    "Boolean": pl.Series(FLAGS),
}


@pytest.mark.parametrize("name", BOOLEANS)
def test_booleans_come_back(name):
    column = BOOLEANS[name]
    library = LIBRARIES["polars" if name == "Boolean" else "pandas"]
    for seen, expected in ((column, {True, False}), (column & False, {False})):
        frame = library({"x": seen, "z": Z})
        for kinds in (None, {"x": "number"}):
            fitted = fit(frame, column_kinds=kinds)
            for found in (decode_anything(fitted)["x"], fitted.impute(frame)["x"]):
                assert found.dtype == column.dtype
                assert not missing(found).any()
                assert {bool(each) for each in found} <= expected


@pytest.mark.parametrize("name", [*BOOLEANS, "int64", "uint8", "Int64", "UInt8"])
def test_where_there_is_nothing_to_decode_to_nothing_is_made_up(name):
    """A column without a frequent category is missing, not false or zero."""
    column = BOOLEANS.get(name)
    if column is None:
        column = pd.Series(np.arange(N) % 3, dtype=name)
    library = LIBRARIES["polars" if name == "Boolean" else "pandas"]
    options = {"min_frequency": 1000, "categorical_features": ["x"]}
    back = decode_anything(fit(library({"x": column, "z": Z}), **options))
    assert missing(back["x"]).all()
    # numpy's own types have no missing values.
    keeps = not isinstance(column.dtype, np.dtype)
    assert (back["x"].dtype == column.dtype) is keeps


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "boolean", "int64[pyarrow]"])
def test_columns_of_gaps_keep_their_type_and_their_gaps(dtype):
    frame = pd.DataFrame({"x": pd.Series([None] * N, dtype=dtype), "z": Z})
    fitted = fit(frame, column_kinds={"x": "number"})
    for found in (decode_anything(fitted), fitted.impute(frame)):
        assert found["x"].isna().all()
        assert found["x"].dtype == frame["x"].dtype


# Numbers and dates stay within the range of fit


@pytest.mark.parametrize("encoding", [None, "piecewise_linear", "periodic"])
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@few(4)
@given(st.data())
def test_numbers_and_dates_are_decoded_within_the_range_of_fit(scaling, encoding, data):
    numbers = st.floats(-1e6, 1e6) | st.floats(0, 1)
    moments = st.integers(-(10**15), 10**15) | st.integers(0, 3 * 10**6)
    draw = {
        "number": data.draw(st.lists(numbers, min_size=N, max_size=N)),
        "moment": data.draw(st.lists(moments, min_size=N, max_size=N)),
    }
    moments = np.array(draw["moment"]).astype("datetime64[us]")
    frame = pd.DataFrame({"number": draw["number"], "time": moments})
    frame["day"] = frame["time"].dt.normalize()
    frame[IS_GAP] = None
    fitted = fit(frame, scaling=scaling, number_encoding=encoding)
    for found in (decode_anything(fitted), fitted.impute(frame)):
        for name in frame:
            assert frame[name].min() <= found[name].min()
            assert found[name].max() <= frame[name].max()


def test_fractions_have_a_range_of_fractions():
    values = np.linspace(0.25, 0.75, N)
    fitted = fit(pd.DataFrame({"x": values, "z": Z}))
    (column, _) = fitted._table.columns
    assert (column.lowest, column.highest) == (0.25, 0.75)


def test_text_dates_stay_within_what_was_seen():
    times = [f"2024-05-{1 + k:02}T07:08:09.5" for k in range(N)]
    frame = pd.DataFrame({"time": times, "day": [t[:10] for t in times], "z": Z})
    fitted = fit(frame, column_kinds={"time": "date", "day": "date"})
    back = decode_anything(fitted)
    for name in ("time", "day"):
        moments = pd.to_datetime(frame[name])
        assert pd.to_datetime(back[name]).between(moments.min(), moments.max()).all()


def test_later_parts_of_the_data_widen_the_range():
    first = pd.DataFrame(
        {"x": np.arange(N), "y": Z, "day": pd.date_range("2024-01-01", periods=N)}
    )
    days = first["day"] + pd.Timedelta(99, "D")
    later = first.assign(x=first["x"] + 100, y=Z + 50, day=days)
    stream = TabularAutoencoderTransformer(3, hidden_layer_sizes=(4,), random_state=0)
    stream.partial_fit(first).partial_fit(later).partial_fit(later.assign(y=np.nan))
    back = decode_anything(stream)
    for name in first:
        assert back[name].min() == first[name].min()
        assert back[name].max() == later[name].max()
    # Rows of weight zero widen no range.
    far = later.assign(x=10**6)
    stream.partial_fit(pd.concat([far, first]), sample_weight=np.repeat([0, 1], N))
    assert decode_anything(stream)["x"].max() == N + 99


def test_a_later_part_widens_no_model_but_the_new_one():
    """Threads may be applying the old model; a part that is refused adds nothing."""
    frame = pd.DataFrame({"x": np.arange(N), "z": Z, "day": DAYS})
    later = frame.assign(x=frame["x"] + 100, day=frame["day"] + pd.Timedelta(99, "D"))
    for go_on in ("fit", "partial_fit"):
        fitted = fit(frame, warm_start=True)
        before = fitted._model
        table = pickle.dumps(before.side.table.columns)
        getattr(fitted, go_on)(later)
        assert pickle.dumps(before.side.table.columns) == table
        assert decode_anything(fitted)["x"].max() == N + 99
        assert fitted._table is fitted._model.side.table
        fitted._model = before
        assert decode_anything(fitted)["x"].max() == N - 1
    fitted = fit(frame).set_params(n_components=4)
    with pytest.raises(ValueError, match="Training cannot go on"):
        fitted.partial_fit(later)
    assert decode_anything(fitted)["x"].max() == N - 1


def test_features_know_no_range():
    fitted = fit(pd.DataFrame({"x": np.arange(N), "z": Z}))
    features = fitted.transform(pd.DataFrame({"x": [N, 10 * N], "z": Z[:2]}))
    assert not np.allclose(*features)


def test_older_files_have_no_range_and_no_costs(tmp_path):
    frame = pd.DataFrame({"x": np.arange(N), "word": WORDS, "day": DAYS, "z": Z})
    fitted = fit(frame)
    for column in fitted._table.columns:
        number = getattr(column, "_time", column)
        for name in ("lowest", "highest", "rare_cost", "unknown_cost"):
            vars(number).pop(name, None)
    fitted.save(tmp_path / "older")
    older = skautoenc.load(tmp_path / "older")
    codes = 100 * np.random.default_rng(1).normal(size=(N, 3))
    back = older.inverse_transform(codes)
    assert not back["x"].between(0, N - 1).all()
    assert not back["day"].between(frame["day"].min(), frame["day"].max()).all()
    assert back["x"].dtype == frame["x"].dtype
    new = frame[:3].assign(word="new")
    # The network alone sets the probability of a category; none is below one half.
    cells = older.reconstruction_error(new, per_column=True)[:, 1]
    assert (cells >= 1).all()
    assert np.isfinite(older.partial_fit(frame).score_samples(new)).all()


# Categories


LETTERS = np.array(["a", "b", "c"])[np.digitize(Z, [-0.5, 0.5])]
FITTED_LETTERS = {
    "plain": pd.Series(LETTERS, dtype="str"),
    "unordered": pd.Series(pd.Categorical(LETTERS)),
    "ordered": pd.Series(pd.Categorical(LETTERS, ordered=True)),
}


@pytest.mark.parametrize("seen", FITTED_LETTERS)
@pytest.mark.parametrize(
    "categories", ["a", "b", "ba", "cba", "q", "qa", "", "qabc", "abcde"]
)
@pytest.mark.parametrize("ordered", [False, True])
def test_a_batch_with_categories_of_its_own_is_filled(seen, categories, ordered):
    fitted = fit(pd.DataFrame({"x": FITTED_LETTERS[seen], "z": Z}), max_iter=30)
    first = categories[0] if categories else None
    dtype = pd.CategoricalDtype(pd.Index(list(categories), dtype=object), ordered)
    values = [first, *[None] * (N - 1)]
    batch = pd.DataFrame({"x": pd.Series(values, dtype=dtype), "z": np.sort(Z)})
    filled = fitted.impute(batch)["x"]
    assert filled.notna().all()
    assert first is None or filled[0] == first
    assert set(filled[1:]) <= set("abc")
    if set(filled) <= set(categories):
        assert filled.dtype == dtype
    elif seen != "plain" and set(categories) <= set("abc"):
        assert filled.dtype == FITTED_LETTERS[seen].dtype
    elif categories:
        assert list(filled.cat.categories[: len(categories)]) == list(categories)
        assert not filled.cat.ordered


@pytest.mark.parametrize("seen", [pl.String, pl.Categorical, pl.Enum(["a", "b", "c"])])
@pytest.mark.parametrize("categories", ["a", "ba", "q", "qa", "abcd"])
def test_a_batch_of_polars_with_categories_of_its_own_is_filled(seen, categories):
    fitted = fit(pl.DataFrame({"x": pl.Series(LETTERS, dtype=seen), "z": Z}))
    for dtype in (pl.Enum(list(categories)), pl.Categorical, pl.String):
        column = pl.Series([categories[0], None, None], dtype=dtype)
        filled = fitted.impute(pl.DataFrame({"x": column, "z": Z[:3]}))["x"]
        assert filled.null_count() == 0
        assert filled[0] == categories[0]
        assert set(filled[1:]) <= set("abc")
        if dtype != pl.Enum or set(filled) <= set(categories):
            assert filled.dtype == dtype
        elif seen == pl.Enum and set(categories) <= set("abc"):
            assert filled.dtype == seen
        else:
            assert filled.dtype.categories.to_list()[: len(categories)] == [*categories]


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_row_read_on_its_own_is_filled_as_among_others(library):
    columns = {name: COLUMNS[library][name] for name in COLUMNS[library]}
    if library == "polars":
        columns = {f"x{n}": column for n, column in enumerate(columns.values())}
    frame = LIBRARIES[library](columns)
    fitted = fit(frame)
    together = fitted.impute(frame)
    for row in range(2, 6):
        alone = fitted.impute(frame[row : row + 1])
        assert not any(missing(alone[name]).any() for name in alone.columns)
        for name in alone.columns:
            expected = together[name][row : row + 1]
            assert alone[name].to_list() == expected.to_list()
            assert alone[name].dtype == expected.dtype


@pytest.mark.parametrize("kind", ["nullable", "arrow", "polars"])
def test_a_category_that_a_narrower_type_cannot_hold_gets_the_type_of_fit(kind):
    """A category is not a quantity: it must not be mapped to the nearest one."""
    library = LIBRARIES["polars" if kind == "polars" else "pandas"]
    places = integer_column(kind, "int64", np.where(Z > 0, 1305, 5).tolist())
    fitted = fit(
        library({"x": places, "z": Z}), categorical_features=["x"], max_iter=200
    )
    narrow = integer_column(kind, "int8", [None, 5, None])
    filled = fitted.impute(library({"x": narrow, "z": [2.0, 0.0, -2.0]}))["x"]
    assert filled.to_list() == [1305, 5, 5]
    assert filled.dtype == places.dtype
    filled = fitted.impute(library({"x": narrow, "z": [-2.0, 0.0, -2.0]}))["x"]
    assert filled.to_list() == [5, 5, 5]
    assert filled.dtype == narrow.dtype


@pytest.mark.filterwarnings("ignore:Column 'x'. 1 of 1 values")
def test_what_no_type_of_a_batch_can_hold_is_an_error():
    """It must not stay missing without a message."""
    fitted = fit(pl.DataFrame({"x": WORDS, "z": Z}))
    batch = pl.DataFrame({"x": [1.5, None], "z": Z[:2]})
    with pytest.raises(ValueError, match="Column 'x' holds Float64, which cannot hold"):
        fitted.impute(batch)


# The index


def test_the_index_of_codes_is_that_of_the_rows():
    frame = pd.DataFrame({"x": Z, "word": WORDS})
    fitted = fit(frame)
    assert decode_anything(fitted).index.equals(pd.RangeIndex(N))
    for index in (
        pd.Index([f"r{n}" for n in range(N)], name="row"),
        pd.Index([0] * N),
        pd.date_range("2024", periods=N),
        pd.MultiIndex.from_arrays([range(N), ["a"] * N], names=["n", "k"]),
    ):
        named = frame.set_axis(index)
        codes = fitted.set_output(transform="pandas").transform(named)
        for found in (codes, codes.iloc[:, -3:]):
            pd.testing.assert_index_equal(fitted.inverse_transform(found).index, index)
        part = fitted.inverse_transform(codes[5:9])
        pd.testing.assert_index_equal(part.index, index[5:9])
    for others in (codes.to_numpy(), pl.from_pandas(codes.reset_index(drop=True))):
        assert fitted.inverse_transform(others).index.equals(pd.RangeIndex(N))


def test_codes_of_pandas_and_rows_of_polars_have_no_index():
    fitted = fit(pl.DataFrame({"x": Z, "word": WORDS}))
    codes = pd.DataFrame(np.zeros((2, 3)), index=["a", "b"])
    assert isinstance(fitted.inverse_transform(codes), pl.DataFrame)


# Unknown categories, and rows without a value


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("min_frequency", [None, 3, 0.2])
@few(6)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(1, 40))
def test_an_unknown_level_costs_as_much_as_any(library, min_frequency, counts, epochs):
    words = np.repeat([f"level {n}" for n in range(len(counts) + 1)], [9, *counts])
    z = np.arange(len(words)) * 1.0
    make = LIBRARIES[library]
    fitted = fit(
        make({"word": words, "z": z}), min_frequency=min_frequency, max_iter=epochs
    )

    def cells(word):
        batch = make({"word": [word] * 5, "z": z[:5]})
        return fitted.reconstruction_error(batch, per_column=True)[:, 0], batch

    unknown, batch = cells("unheard of")
    assert np.isfinite(unknown).all()
    assert (unknown > 0).all()
    scores = fitted.score_samples(batch)
    for level in set(words.tolist()):
        known, batch = cells(level)
        assert (np.nan_to_num(known) <= unknown).all()
        assert (fitted.score_samples(batch) >= scores).all()
        assert np.isfinite(fitted.score_samples(batch)).all()


def test_an_unknown_level_is_less_likely_than_one_row_in_all():
    frame = pd.DataFrame(
        {"word": ["a", "b"] * 300, "one": "same", "z": np.arange(600.0)}
    )
    fitted = fit(frame)
    cells = fitted.reconstruction_error(
        pd.DataFrame({"word": ["new"], "one": ["new"], "z": [300.0]}), per_column=True
    )
    # The column's levels cost log(2) on average, which is the unit.
    assert cells[0, 0] == pytest.approx(np.log(601) / np.log(2))
    # A column of one category has no entropy, so a minimum is used.
    assert cells[0, 1] == pytest.approx(np.log(601) / 0.05)
    # Weights are counts; tiny ones do not make the rarest category rarer than unknown.
    tiny = fit(frame, sample_weight=np.full(600, 1e-6))
    new = frame[:1].assign(word="new")
    assert tiny.reconstruction_error(new, per_column=True)[0, 0] >= 1 - 1e-6
    double = fit(frame, sample_weight=np.full(600, 2.0))
    cells = double.reconstruction_error(new, per_column=True)
    assert cells[0, 0] == pytest.approx(np.log(1201) / np.log(2))


def test_rare_categories_cost_by_their_share():
    words = ["a"] * 50 + ["b"] * 40 + ["c"] * 6 + ["d"] * 4
    frame = pd.DataFrame({"word": words, "z": np.arange(100.0)})
    fitted = fit(frame, min_frequency=10)
    new = pd.DataFrame({"word": ["c", "d", "new"], "z": [1.0, 1.0, 1.0]})
    cells = fitted.reconstruction_error(new, per_column=True)[:, 0]
    shares = np.array([0.5, 0.4, 0.06, 0.04])
    entropy = -(shares * np.log(shares)).sum()
    np.testing.assert_allclose(cells, np.log([10, 10, 101]) / entropy, rtol=1e-5)
    # They are encoded alike, in spite of that.
    codes = fitted.transform(new)
    np.testing.assert_array_equal(codes[1], codes[2])
    # If all categories are rare, a rare one has no cost.
    fitted = fit(frame, min_frequency=1000)
    cells = fitted.reconstruction_error(new, per_column=True)[:, 0]
    assert np.isnan(cells).tolist() == [True, True, False]
    strict = fit(frame, min_frequency=10, handle_unknown="error")
    assert np.isfinite(strict.score_samples(new[:2])).all()
    with pytest.raises(ValueError, match="Column 'word' has the category 'new'"):
        strict.score_samples(new)


def test_training_does_not_depend_on_costs_of_rare_categories():
    """They have a cost in scores of rows only."""
    words = np.array(["a", "b", "rare"])[np.digitize(np.arange(N), [14, 28])]
    frame = pd.DataFrame({"word": words, "z": Z})
    options = {"min_frequency": 5, "max_iter": 3, "early_stopping": True}
    fitted = fit(frame, **options)
    rare_cost = fitted._table.columns[0].rare_cost
    assert rare_cost > 0
    hidden = fit(
        frame.assign(word=pd.Series(words).replace("rare", "rarer")), **options
    )
    assert hidden.loss_curve_ == fitted.loss_curve_
    assert fitted.validation_scores_ == hidden.validation_scores_


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_row_without_a_value_is_as_good_as_averages(library):
    make = LIBRARIES[library]
    frame = make({"x": Z, "y": 2 * Z, "word": np.where(Z > 0, "up", "down")})
    fitted = fit(frame, max_iter=300)
    nothing = make({"x": [None], "y": [np.nan], "word": [None]})
    assert fitted.score_samples(nothing).tolist() == [-1.0]
    assert fitted.reconstruction_error(nothing).tolist() == [1.0]
    assert np.isnan(fitted.reconstruction_error(nothing, per_column=True)).all()
    assert np.isfinite(fitted.transform(nothing)).all()
    assert fitted.score(nothing) == -1.0
    # Most rows are better than the means, but not all possible ones.
    assert np.median(fitted.score_samples(frame)) > -1
    odd = make({"x": [3.0], "y": [-6.0], "word": ["sideways"]})
    assert fitted.score_samples(odd)[0] < -1


# Rows of weight zero


@st.composite
def frames_with_odd_rows(draw):
    """Draw a frame, and weights of which some are zero, for rows unlike the others."""
    n = draw(st.integers(6, 20))
    weights = np.array(
        draw(
            st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n)
        )
    )
    weights[:3] = 1.0, 0.0, 2.0
    weighs = weights > 0
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    far = draw(st.sampled_from([1.0, 1e9]))
    days = rng.integers(0, 99, n).astype("timedelta64[D]").astype("timedelta64[s]")
    days[~weighs] += np.timedelta64(4567, "s")
    frame = pd.DataFrame(
        {
            "number": np.where(weighs, rng.normal(size=n), far),
            "whole": np.where(weighs, rng.integers(0, 9, n), 10**6),
            "word": np.where(weighs, rng.choice(["a", "b", "c"], n), "unseen"),
            "flag": rng.normal(size=n) > 0,
            "time": np.datetime64("2024-01-01") + days,
            "gone": np.where(weighs, np.nan, 1.0),
        }
    )
    frame.loc[rng.random(n) < draw(st.sampled_from([0, 0.3])), ["number", "word"]] = (
        None
    )
    frame["word"] = frame["word"].astype(draw(st.sampled_from(["str", "category"])))
    return frame, weights


@pytest.mark.parametrize("library", [*LIBRARIES, "array"])
@few(12)
@given(
    frames_with_odd_rows(),
    st.fixed_dictionaries(
        {
            "scaling": st.sampled_from(["standard", "quantile"]),
            "number_encoding": st.sampled_from([None, "piecewise_linear"]),
            "min_frequency": st.sampled_from([None, 2, 0.3]),
            "max_categories": st.sampled_from([None, 2]),
            "batch_size": st.sampled_from(["auto", 4]),
        }
    ),
)
@pytest.mark.filterwarnings("ignore:Column .* were not there in fit")
def test_rows_of_weight_zero_have_no_effect(library, drawn, parameters):
    frame, weights = drawn
    if library == "polars":
        frame = pl.from_pandas(frame)
    if library == "array":
        frame = frame[["number", "whole", "gone"]].to_numpy()
        parameters = {**parameters, "categorical_features": [1]}
    weighs = weights > 0
    part = frame.filter(weighs) if library == "polars" else frame[weighs]
    found = fit(frame, weights, **parameters)
    expected = fit(part, weights[weighs], **parameters)
    assert_same(found, expected, frame)


def assert_same(found, expected, frame):
    """Assert that two fits do the same, with all rows and with all codes."""
    assert found.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(found.transform(frame), expected.transform(frame))
    cells = [
        each.reconstruction_error(frame, per_column=True) for each in (found, expected)
    ]
    np.testing.assert_array_equal(*cells)
    for make in (decode_anything, lambda fitted: fitted.impute(frame)):
        one, other = make(found), make(expected)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one.astype(float), other.astype(float))
        elif isinstance(one, pl.DataFrame):
            assert one.equals(other)
        else:
            pd.testing.assert_frame_equal(one, other)


def test_only_rows_that_weigh_something_are_read():
    frame = pd.DataFrame({"x": [1.0, 2.0, np.inf], "z": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="holds infinity"):
        fit(frame)
    fitted = fit(frame, [1.0, 1.0, 0.0])
    assert fitted._table.columns[0].highest == 2.0
