"""Types of columns: accepted, filled in the same type, refused by name, and saved."""

import datetime
import enum
import fractions
import os
import uuid
import zoneinfo
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import skautoenc
from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer

N = 40
ROWS = np.arange(N)
HOURS = pd.Series(pd.Timestamp("2024") + pd.to_timedelta(7 * ROWS, unit="h"))
PANDAS_2 = pd.__version__.startswith("2.")
of_pandas_3 = pytest.mark.skipif(PANDAS_2, reason="pandas 2 fails on such categories")
few = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def fit(frame, **parameters):
    transformer = TabularAutoencoderTransformer(
        2, hidden_layer_sizes=(4,), random_state=0, max_iter=1, **parameters
    )
    return transformer.fit(frame)


def cycle(values, dtype=object):
    """Repeat values as objects, without inference of a type."""
    column = np.empty(N, dtype=object)
    for row in ROWS:
        column[row] = values[row % len(values)]
    return pd.Series(column, dtype=dtype)


def with_arrow(values, kind):
    """Make a column of a pyarrow type."""
    array = pa.chunked_array([pa.array(values, type=kind)])
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


def with_gaps(column):
    """Remove every fourth value."""
    return column.mask(pd.Series(ROWS % 4 == 0))


# Everything that can be fitted can be saved


def typed_columns():
    """Columns of all supported types."""
    flags = [True, False, None]
    words = ["a", "b", None]
    python = [stamp.to_pydatetime() for stamp in HOURS]
    columns = {
        f"number {dtype}": pd.Series(ROWS).astype(dtype)
        for dtype in [
            *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
            *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
            *("float16", "float32", "float64", "Float32", "Float64"),
        ]
    }
    for kind in (pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()):
        columns[f"arrow {kind}"] = pd.Series(ROWS).astype(pd.ArrowDtype(kind))
    decimals = [Decimal(int(row)) / 4 for row in ROWS]
    columns["arrow decimal"] = with_arrow(decimals, pa.decimal128(10, 2))
    columns["bool"] = pd.Series(ROWS % 2 == 0)
    columns["boolean"] = cycle(flags, "boolean")
    columns["arrow bool"] = with_arrow(cycle(flags), pa.bool_())
    for storage in ("python", "pyarrow"):
        for missing in (pd.NA, np.nan):
            dtype = pd.StringDtype(storage, missing)
            columns[f"string {storage} {missing}"] = cycle(words, dtype)
            categories = pd.Series(["a", "b"], dtype=dtype)
            columns[f"category {storage} {missing}"] = cycle(words, dtype).astype(
                pd.CategoricalDtype(categories, ordered=True)
            )
    for kind in (pa.string(), pa.large_string()):
        columns[f"arrow {kind}"] = with_arrow(cycle(words), kind)
    encoded = pa.array(cycle(words)).dictionary_encode()
    columns["arrow dictionary"] = pd.Series(
        pd.arrays.ArrowExtensionArray(pa.chunked_array([encoded]))
    )
    for unit in ("s", "ms", "us", "ns"):
        columns[f"date {unit}"] = HOURS.dt.as_unit(unit)
        columns[f"arrow date {unit}"] = with_arrow(python, pa.timestamp(unit))
        zoned = HOURS.dt.as_unit(unit).dt.tz_localize("Asia/Tokyo")
        columns[f"zoned {unit}"] = zoned
        columns[f"arrow zoned {unit}"] = zoned.astype(
            pd.ArrowDtype(pa.timestamp(unit, "Europe/Berlin"))
        )
        fixed = pd.ArrowDtype(pa.timestamp(unit, "-03:30"))
        columns[f"arrow fixed {unit}"] = zoned.astype(fixed)
    hours = datetime.timedelta(hours=-3, minutes=-30)
    for zone in (
        datetime.UTC,
        datetime.timezone(hours),
        # pandas 2 loads it as the zone of that name in pytz.
        *([zoneinfo.ZoneInfo("America/Lima")] if pd.__version__ >= "3" else []),
    ):
        columns[f"zone {zone}"] = HOURS.dt.tz_localize(zone)
    columns["arrow day"] = with_arrow([d.date() for d in python], pa.date32())
    columns["cut"] = pd.Series(pd.cut(ROWS, 3))
    columns["cut left"] = pd.Series(pd.cut(ROWS * 1.5, [0, 20, 90], right=False))
    columns["cut dates"] = pd.Series(pd.cut(HOURS, 3))
    columns["cut zoned"] = pd.Series(pd.cut(HOURS.dt.tz_localize("Asia/Tokyo"), 3))
    columns["quarters"] = pd.Series(pd.qcut(ROWS, 4))
    columns["cut with names"] = pd.Series(pd.cut(ROWS, 2, labels=["low", "high"]))
    for name, levels in LEVELS.items():
        columns[f"category of {name}"] = cycle(levels).astype("category")
    return columns


LEVELS = {
    "integers": [1, 2],
    "floats": [0.5, 1.5],
    "booleans": [True, False],
    "both": [1, "a"],
    "tuples": [("a", 1), ("b", None)],
    "bytes": [b"a", b""],
    "decimals": [Decimal("1.50"), Decimal("NaN"), Decimal("-2")],
    "days": [datetime.date(2024, 1, 1), datetime.date(1, 1, 1)],
    "datetimes": [datetime.datetime(2024, 1, 1, 5), datetime.datetime(1, 1, 1)],
    "zoned": [
        datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
    ],
    "times": [datetime.time(1), datetime.time(2, 3, 4, 5)],
    "spans": [datetime.timedelta(1), datetime.timedelta(-1, 2, 3)],
    "timestamps": [pd.Timestamp("2024"), pd.Timestamp("2024-01-01T01:02:03.000000004")],
    "zoned timestamps": list(pd.date_range("2024", periods=2, tz="Asia/Tokyo")),
    "timedeltas": list(pd.to_timedelta([1, 2], unit="h")),
    "periods": list(pd.period_range("2024", periods=2, freq="3M")),
    "weeks": list(pd.period_range("2024", periods=2, freq="W-TUE")),
    "intervals": list(pd.interval_range(0, 2, closed="left")),
    "identities": [uuid.UUID(int=1), uuid.UUID(int=2)],
}


def passed_through(transformer, folder):
    transformer.save(folder / "table")
    return skautoenc.load(folder / "table")


def types_of(frame):
    return [[type(value) for value in frame[name]] for name in frame.columns]


def check_same(loaded, fitted, frame):
    """Assert that a loaded estimator gives the same results, of the same types."""
    code = fitted.transform(frame)
    np.testing.assert_array_equal(loaded.transform(frame), code)
    for now, before in [
        (loaded.inverse_transform(code), fitted.inverse_transform(code)),
        (loaded.impute(frame), fitted.impute(frame)),
    ]:
        if isinstance(frame, pl.DataFrame):
            assert now.schema == before.schema == frame.schema
            assert now.rows() == before.rows()
            continue
        pd.testing.assert_frame_equal(now, before)
        assert now.dtypes.equals(frame.dtypes)
        assert types_of(now) == types_of(before)


def test_all_types_of_pandas_are_saved(tmp_path):
    frame = pd.DataFrame(typed_columns())
    fitted = fit(frame)
    check_same(passed_through(fitted, tmp_path), fitted, frame)


def test_all_types_of_polars_are_saved(tmp_path):
    python = [stamp.to_pydatetime() for stamp in HOURS]
    columns = {
        str(dtype): pl.Series(ROWS.tolist(), dtype=dtype)
        for dtype in [
            *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
            *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
            *(pl.Float32, pl.Float64, pl.Decimal(10, 2)),
        ]
    }
    if hasattr(pl, "Float16"):
        columns["half"] = pl.Series(ROWS.tolist(), dtype=pl.Float16)
    words = cycle(["a", "b", None]).tolist()
    kinds = [pl.String, pl.Categorical, pl.Enum(["b", "c", "a"])]
    if hasattr(pl, "Categories"):
        kinds.append(pl.Categorical(pl.Categories("mine", "here")))
    columns |= {repr(kind): pl.Series(words, dtype=kind) for kind in kinds}
    columns["flags"] = pl.Series(cycle([True, None]).tolist(), dtype=pl.Boolean)
    columns["days"] = pl.Series([moment.date() for moment in python])
    for unit in ("ms", "us", "ns"):
        dates = pl.Series(python).cast(pl.Datetime(unit))
        columns[f"dates {unit}"] = dates
        columns[f"zoned {unit}"] = dates.dt.replace_time_zone("Asia/Tokyo")
    frame = pl.DataFrame(columns)
    fitted = fit(frame)
    check_same(passed_through(fitted, tmp_path), fitted, frame)


class Colour(enum.Enum):
    RED = 1


class Word(str):
    pass


class Odd:
    pass


plain = st.one_of(
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones(no_cache=True)),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.complex_numbers(),
    st.fractions(),
    st.frozensets(st.integers()),
    st.sampled_from([Colour.RED, Word("a"), Odd(), len, int, ..., range(3)]),
    st.sampled_from([np.int8(1), np.str_("a"), np.bytes_(b"a"), np.longdouble(1)]),
    st.sampled_from([np.datetime64("2024"), np.timedelta64(1, "h"), np.True_]),
    st.sampled_from([level for levels in LEVELS.values() for level in levels]),
)


@few
@given(
    levels=st.lists(
        plain | st.tuples(plain, plain) | st.tuples(st.tuples(plain)),
        min_size=1,
        max_size=4,
    )
)
def test_levels_are_saved_or_refused_by_fit(levels, tmp_path_factory):
    frame = pd.DataFrame({"c": cycle(levels), "x": ROWS * 1.0})
    try:
        fitted = fit(frame, column_kinds={"c": "category"})
    except ValueError as error:
        refusal = str(error)
        assume("Column 'c' holds a " not in refusal)
        raise
    loaded = passed_through(fitted, tmp_path_factory.mktemp("levels"))
    check_same(loaded, fitted, frame)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.filterwarnings("ignore:Column 'c' holds (nothing|values of):UserWarning")
def test_objects_come_back_as_what_they_were(name, tmp_path):
    if PANDAS_2 and name in ("days", "datetimes"):
        pytest.skip("pandas 2 reads no dates of the year 1")
    frame = pd.DataFrame({"c": cycle(LEVELS[name]), "x": ROWS * 1.0})
    fitted = fit(frame)
    check_same(passed_through(fitted, tmp_path), fitted, frame)
    filled = fitted.impute(frame.assign(c=with_gaps(frame["c"])))
    assert set(map(type, filled["c"])) <= set(map(type, LEVELS[name]))


@pytest.mark.parametrize(
    "level",
    [1j, frozenset(), Colour.RED, Word("a"), fractions.Fraction(1, 3), len, ("a", 1j)],
    ids=repr,
)
def test_other_levels_are_refused(level):
    frame = pd.DataFrame({"c": cycle([level, "a"]), "x": ROWS * 1.0})
    with pytest.raises(ValueError, match=f"Column 'c' holds a {type(level).__name__}"):
        fit(frame)


def test_names_of_columns_are_saved_or_refused(tmp_path):
    for names in ([0, 1], [("a", 1), ("b", 2)], [1.5, 2.5]):
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2)))
        frame.columns = pd.Index(names, tupleize_cols=False)
        fitted = fit(frame)
        check_same(passed_through(fitted, tmp_path), fitted, frame)


def in_pieces(*names):
    """Make an index of objects, one of which is half of a character."""
    return pd.Index(np.array(["a\ud800", *names], dtype=object), dtype=object)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("name", "Rename the column"),
        pytest.param("category", r"\.astype\(object\)", marks=of_pandas_3),
    ],
)
def test_names_that_are_no_text_are_refused_by_fit(name, advice):
    """Files cannot hold them, and `inverse_transform` fails in pandas."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2)))
    frame.columns = ["a", "b"]
    if name == "name":
        frame.columns = in_pieces("b")
    else:
        frame["a"] = pd.Categorical.from_codes(ROWS % 2, categories=in_pieces("b"))
    whole = frame.copy()
    pattern = rf"(?s)(The name|A category) of column 'a.*lone surrogate.*{advice}"
    for made in (TabularAutoencoderTransformer(2), AutoencoderImputer()):
        with pytest.raises(ValueError, match=pattern) as caught:
            made.fit(frame)
        assert not isinstance(caught.value, UnicodeError)
    pd.testing.assert_frame_equal(frame, whole)


def test_halves_of_characters_in_cells_and_indices_are_taken(tmp_path):
    frame = pd.DataFrame({"c": cycle(["a\ud800", "b", None]), "x": ROWS * 1.0})
    frame.index = in_pieces(*map(str, range(1, N)))
    fitted = fit(frame)
    loaded = passed_through(fitted, tmp_path)
    for each in (fitted, loaded):
        restored = each.inverse_transform(each.transform(frame))
        filled = each.impute(frame)
        assert {*restored["c"], *filled["c"]} <= {"a\ud800", "b"}
        assert filled.index.equals(frame.index)


def test_homes_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fit(np.eye(4)).save("~/table")
    assert os.listdir(tmp_path) == ["table"]
    assert skautoenc.load("~/table").n_features_in_ == 4
    assert TabularAutoencoderTransformer.load("~/table").n_features_in_ == 4


# Dates


def with_dates(dates, dtype=None):
    """Make a frame of dates and numbers, with some dates missing."""
    frame = pd.DataFrame({"t": pd.Series(dates, dtype=dtype), "x": np.sin(ROWS)})
    return frame.assign(t=with_gaps(frame["t"]))


def check_filled(frame, filled, parse=pd.to_datetime):
    """Assert that only missing values were filled, in the same format."""
    gaps = frame["t"].isna()
    assert filled["t"].dtype == frame["t"].dtype
    pd.testing.assert_series_equal(filled["t"][~gaps], frame["t"][~gaps])
    seen, read = parse(frame["t"]), parse(filled["t"])
    assert seen.dtype == read.dtype
    # Values of the data may be rounded to whole seconds.
    slack = pd.Timedelta(32, "D")
    assert read.between(seen.min() - slack, seen.max() + slack).all()


FORMATS = [
    *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+09:00", "%Y-%m-%d %H:%M:%S-0330"),
    *("%Y-%m-%d %H:%M:%S.%f+00:00", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S.123Z"),
    *("%Y-%m-%d", "%Y-%m", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S +0900"),
    *("%Y%m%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT00:00:00Z"),
]


@pytest.mark.parametrize("form", FORMATS)
def test_dates_in_text_are_filled_in_as_they_are_written(form, tmp_path):
    frame = with_dates(HOURS.dt.strftime(form))
    fitted = fit(frame, column_kinds={"t": "date"})
    check_filled(frame, fitted.impute(frame))
    back = passed_through(fitted, tmp_path).inverse_transform(fitted.transform(frame))
    check_filled(back.assign(t=back["t"].mask(ROWS < 2)), back)
    assert pd.to_datetime(back["t"]).dtype == pd.to_datetime(frame["t"]).dtype
    shapes = {
        column.str.replace(r"\d", "0", regex=True)[1]
        for column in (frame["t"], back["t"])
    }
    assert len(shapes) == 1
    # Whatever type holds the text, and in whatever form later rows are.
    for dtype in (object, "string", pd.ArrowDtype(pa.string())):
        other = frame.astype({"t": dtype})
        check_filled(other, fitted.impute(other))
    words = [None if pd.isna(text) else text for text in frame["t"]]
    filled = fitted.impute(pl.DataFrame({"t": words, "x": frame["x"].to_numpy()}))
    assert filled["t"].to_list() == fitted.impute(frame)["t"].tolist()


@few
@given(
    mark=st.sampled_from("-/."),
    between=st.sampled_from("T "),
    clock=st.sampled_from(["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H%M%S"]),
    zone=st.sampled_from(["", "Z", "+00:00", "-0930", "+14:00", " +01:00"]),
    later=st.sampled_from(["", "Z", "+00:00", "-0930", "+05:45"]),
)
def test_text_keeps_its_zone(mark, between, clock, zone, later):
    form = f"%Y{mark}%m{mark}%d{between}{clock}"
    frame = with_dates(HOURS.dt.strftime(form + zone))
    fitted = fit(frame, column_kinds={"t": "date"})

    def parse(text):
        return pd.to_datetime(text, format="ISO8601")

    check_filled(frame, fitted.impute(frame), parse)
    new = with_dates(HOURS.dt.strftime(form + later))
    if bool(zone) == bool(later):
        # Each batch has its own.
        check_filled(new, fitted.impute(new), parse)
    else:
        with pytest.raises(ValueError, match="Column 't' holds dates with"):
            fitted.impute(new)


# Narwhals does not support all of them.
ZONES = ["UTC", "Asia/Tokyo", "America/New_York", "Etc/GMT+5"]


def as_dates(zone, kind):
    """Make dates of a type, with or without a time zone."""
    dates = HOURS if zone is None else HOURS.dt.tz_localize("UTC").dt.tz_convert(zone)
    if kind == "polars":
        values = [None if n % 4 == 0 else date for n, date in enumerate(dates)]
        return pl.DataFrame({"t": values, "x": np.sin(ROWS)})
    if kind == "arrow":
        dates = dates.astype(pd.ArrowDtype(pa.timestamp("us", zone)))
    elif kind != "pandas":
        dates = dates.dt.as_unit(kind)
    return with_dates(dates)


@pytest.mark.parametrize("kind", ["pandas", "s", "ms", "ns", "arrow", "polars"])
def test_zones_are_not_mixed(kind):
    naive = fit(as_dates(None, kind))
    zoned = fit(as_dates("Asia/Tokyo", kind))
    errors = zoned.reconstruction_error(as_dates("Asia/Tokyo", kind))
    for zone in ZONES:
        with pytest.raises(ValueError, match="Column 't' holds dates with a time zone"):
            naive.transform(as_dates(zone, kind))
        # The same points in time in another zone are equal.
        elsewhere = as_dates(zone, kind)
        np.testing.assert_array_equal(zoned.reconstruction_error(elsewhere), errors)
        filled = zoned.impute(elsewhere)
        assert list(filled.dtypes) == list(elsewhere.dtypes)
    for use in (zoned.transform, zoned.impute, zoned.score, zoned.partial_fit):
        with pytest.raises(ValueError, match=r"without a time zone .* in row 1"):
            use(as_dates(None, kind))
    naive.transform(as_dates(None, kind))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_the_first_date_without_a_zone_is_named(kind):
    fitted = fit(as_dates("Asia/Tokyo", kind))
    frame = as_dates(None, kind)
    first = frame["t"][1]
    with pytest.raises(ValueError, match=f"{first} in row 1"):
        fitted.transform(frame)


def test_a_batch_without_a_date_has_no_zone():
    zoned = fit(as_dates("Asia/Tokyo", "pandas"))
    nothing = as_dates(None, "pandas").assign(t=pd.Series(pd.NaT, index=ROWS))
    assert np.isfinite(zoned.transform(nothing)).all()


def test_text_with_and_without_zones_is_refused():
    frame = with_dates(HOURS.dt.strftime("%Y-%m-%dT%H:%MZ"))
    frame.loc[3, "t"] = "2024-01-01T05:00"
    with pytest.raises(ValueError, match=r"Z in row 1\) and without one \(.* in row 3"):
        fit(frame, column_kinds={"t": "date"})


@pytest.mark.parametrize("zone", [None, *ZONES])
@pytest.mark.parametrize("kind", ["date", "datetime", "timestamp"])
def test_dates_as_objects_are_filled_in_as_such(kind, zone):
    dates = as_dates(zone, "pandas")["t"].bfill().ffill()
    values = {
        "date": lambda: dates.dt.date,
        "datetime": lambda: [date.to_pydatetime() for date in dates],
        "timestamp": lambda: dates,
    }[kind]()
    frame = with_dates(cycle(list(values)))
    fitted = fit(frame, column_kinds={"t": "date"})
    filled = fitted.impute(frame)
    check_filled(frame, filled)
    known = type(values[1])
    for found in (filled, fitted.inverse_transform(fitted.transform(frame))):
        assert set(map(type, found["t"])) == {known}
        if kind != "date":
            assert all((each.tzinfo is None) == (zone is None) for each in found["t"])


# Types that differ between `fit` and later rows


def plain_frame():
    """Columns from older code: floats and objects, none of them nullable."""
    z = np.random.default_rng(0).normal(size=N)
    frame = pd.DataFrame(
        {
            "float": z,
            "whole": np.round(10 * z),
            "flag": cycle([True, False]),
            "word": cycle(["a", "b", "c"]),
            "code": cycle([10.0, 20.0]).astype(float),
            "when": HOURS,
        }
    )
    gaps = np.random.default_rng(1).random(frame.shape) < 0.2
    return frame.mask(gaps)


TYPES_OF_LATER = {
    "nullable": lambda f: f.convert_dtypes(),
    "arrow": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "single": lambda f: f.astype({"float": "float32", "whole": "Float32"}),
    "small": lambda f: f.astype({"whole": "Int8", "code": "Int16", "float": "Float64"}),
    "unsigned": lambda f: f.assign(whole=f["whole"].abs().astype("UInt8")),
    "rounded": lambda f: f.assign(float=f["float"].round().astype("Int64")),
    "decimals": lambda f: f.assign(
        float=f["float"].round(2).astype(pd.ArrowDtype(pa.decimal128(10, 2)))
    ),
    "flags as numbers": lambda f: f.assign(flag=f["flag"].astype("Int64")),
    "string of python": lambda f: f.astype({"word": pd.StringDtype("python")}),
    "categorical": lambda f: f.astype({"word": "category", "flag": "category"}),
    "objects": lambda f: f.astype({"float": object, "whole": object, "code": object}),
    "arrow dates": lambda f: f.astype({"when": pd.ArrowDtype(pa.timestamp("s"))}),
    "dates of days": lambda f: f.astype({"when": "datetime64[s]"}),
}


@pytest.mark.parametrize("name", TYPES_OF_LATER)
def test_later_types_are_filled_in(name):
    frame = plain_frame()
    fitted = fit(frame, categorical_features=["code"])
    new = TYPES_OF_LATER[name](frame)
    filled = fitted.impute(new)
    assert filled.dtypes.equals(new.dtypes)
    assert not filled.isna().any().any()
    for column in new:
        seen = new[column].notna()
        pd.testing.assert_series_equal(filled[column][seen], new[column][seen])
    assert set(filled["code"]) == {10, 20}
    assert set(filled["flag"]) == {True, False}
    np.testing.assert_array_equal(
        fitted.reconstruction_error(new).shape, fitted.reconstruction_error(frame).shape
    )


@few
@given(
    dtype=st.sampled_from(
        [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
        + ["Float32", "Float64", "boolean", "string", "double[pyarrow]"]
        + ["int8[pyarrow]", "uint64[pyarrow]", "float[pyarrow]", "bool[pyarrow]"]
    ),
    values=st.lists(st.sampled_from([0, 1, None]), min_size=N, max_size=N),
    is_category=st.booleans(),
    earlier=st.sampled_from(["float64", "object", "Int64"]),
)
def test_zeros_and_ones_are_filled_in_whatever_holds_them(
    dtype, values, is_category, earlier
):
    values[:3] = [0, 1, None]
    column = pd.Series(values, dtype="Int64")
    before = cycle(values) if earlier == "object" else column.astype(earlier)
    kind = "category" if is_category or dtype == "string" else "number"
    frame = pd.DataFrame({"c": before, "x": np.sin(ROWS)})
    if dtype == "string":
        frame["c"] = frame["c"].astype("Int64").astype("string")
    fitted = fit(frame, column_kinds={"c": kind})
    new = frame.assign(c=frame["c"].astype(dtype) if dtype == "string" else column)
    new = new.astype({"c": dtype})
    filled = fitted.impute(new)
    assert filled["c"].dtype == new["c"].dtype
    assert not filled["c"].isna().any()
    is_range = filled["c"].astype(float).between(0, 1)
    assert is_range.all() or kind == "number"


def test_what_a_column_cannot_hold_is_named():
    frame = pd.DataFrame({"zip": cycle(["01067", "A-1010"]), "x": np.sin(ROWS)})
    new = frame.assign(zip=with_gaps(pd.Series(ROWS, dtype="Int64")))
    fitted = fit(frame)
    with (
        pytest.warns(UserWarning, match="Column 'zip'"),
        pytest.raises(ValueError, match=r"Column 'zip' holds Int64, which cannot hold"),
    ):
        fitted.impute(new)


def test_numbers_in_objects_are_filled_in_as_such():
    prices = [f"{10 + row / 4:.2f}" for row in ROWS]
    decimals = pl.Series([*map(Decimal, prices)], dtype=pl.Object)
    frame = pl.DataFrame({"p": decimals, "x": ROWS * 1.0})
    fitted = fit(frame, column_kinds={"p": "number"})
    assert np.isfinite(fitted.transform(frame)).all()
    for kind in (str, Decimal):
        frame = pd.DataFrame({"p": cycle([*map(kind, prices)]), "x": ROWS * 1.0})
        frame["p"] = with_gaps(frame["p"])
        named = fit(frame, column_kinds={"p": "number"})
        filled = named.impute(frame)
        decoded = named.inverse_transform(named.transform(frame))
        assert set(map(type, filled["p"])) == set(map(type, decoded["p"])) == {kind}
        assert filled["p"].astype(float).between(0, 40).all()
        # All with two decimal places.
        assert filled["p"].astype(str).str.fullmatch(r"\d+\.\d\d").all()


def test_hundreds_in_objects_are_filled_in():
    hundreds = [Decimal(row + 1) * 100 for row in range(5)]
    rounded = cycle([each.normalize() for each in hundreds])
    assert str(rounded[0]) == "1E+2"
    frame = pd.DataFrame({"p": with_gaps(rounded), "x": ROWS * 1.0})
    filled = fit(frame, column_kinds={"p": "number"}).impute(frame)
    assert set(map(type, filled["p"])) == {Decimal}
    assert filled["p"].astype(float).between(100, 500).all()


# Silent losses


@few
@given(
    is_text=st.booleans(),
    n_new=st.integers(0, N),
    handle=st.sampled_from(["infrequent_if_exist", "error"]),
    least=st.sampled_from([None, 8]),
)
def test_columns_of_mostly_unknown_levels_are_named(is_text, n_new, handle, least):
    """Categories of fit are 0 to 9, of which the last is rare; new ones are above."""
    codes = np.where(ROWS == 0, 9, ROWS % 9)
    later = codes + 100 * (n_new > ROWS)

    def frame(numbers):
        column = pd.Series(numbers, dtype=object)
        column = column.astype(str) if is_text else column
        return pd.DataFrame({"zip": column.where(ROWS % 5 != 4), "x": ROWS * 1.0})

    fitted = fit(
        frame(codes),
        column_kinds={"zip": "category"},
        handle_unknown=handle,
        min_frequency=least,
    )
    new = frame(later)
    share = (later > 9)[ROWS % 5 != 4].mean()
    if handle == "error" and share > 0:
        with pytest.raises(ValueError, match="Column 'zip' has the category"):
            fitted.transform(new)
    elif share > 0.5:
        for use in (fitted.transform, fitted.impute, fitted.score, fitted.partial_fit):
            with pytest.warns(UserWarning, match=r"^Column 'zip': .* such as '?10"):
                use(new)
    else:
        fitted.transform(new)
        fitted.partial_fit(new)


@pytest.mark.parametrize("library", ["pandas", "nullable", "polars"])
def test_zip_codes_as_strings_and_as_numbers(library):
    codes = [f"{1000 + row:05}" for row in ROWS]
    numbers = {"zip": [*map(int, codes)], "x": ROWS * 1.0}
    fitted = fit(pd.DataFrame({"zip": codes, "x": ROWS * 1.0}))
    frame = pl.DataFrame(numbers) if library == "polars" else pd.DataFrame(numbers)
    frame = frame.convert_dtypes() if library == "nullable" else frame
    text = r"40 of 40 .* 1000 \(int\), .* such as '01000' \(str\)\. .* as missing"
    with pytest.warns(UserWarning, match=text):
        fitted.transform(frame)
    # None is known if the type differs, even if there are few.
    with pytest.warns(UserWarning, match="Column 'zip': 1 of 1 values"):
        fitted.transform(frame[:1])
    row = pd.DataFrame({"zip": ["99999"], "x": [1.0]})
    fitted.transform(row)


def test_rows_that_weigh_nothing_are_no_reason_to_warn():
    words = cycle(["a", *(f"new {n}" for n in range(9))])
    frame = pd.DataFrame({"c": words, "x": ROWS * 1.0})
    transformer = TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
    transformer.fit(frame, sample_weight=(frame["c"] == "a").astype(float))


TEXTS = {
    "prices": (["10.50", "9", "-1e3"], "number"),
    "many integers": ([str(row) for row in range(1, N)], "number"),
    "dates": (["2024-01-01", "2024-12-31"], "date"),
    "moments": (["2024-01-01T05:00:00Z", "2024-12-31T06:00:00Z"], "date"),
    "words": (["a", "10.50"], None),
    "few integers": (["1", "2", "3"], None),
    "codes": ([f"{row:05}" for row in range(N)], None),
    "versions": (["1.2.3", "1.2.4"], None),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in TEXTS for dtype in (object, "string", "category")],
)
def test_texts_of_numbers_and_dates_are_named(name, dtype, recwarn):
    values, kind = TEXTS[name]
    frame = pd.DataFrame({"odd one": with_gaps(cycle(values)), "x": ROWS * 1.0})
    frame["odd one"] = frame["odd one"].astype(dtype)
    parameters = {"max_categories": 10}
    if kind is None or dtype == "category":
        fit(frame, **parameters)
    else:
        text = rf"Column 'odd one' holds nothing but {kind}s, .*column_kinds=\{{'odd"
        with pytest.warns(UserWarning, match=text):
            fit(frame, **parameters)
        # Not if a parameter sets the kind.
        named = fit(frame, column_kinds={"odd one": kind})
        assert named.column_kinds_["odd one"] == kind
    fit(frame, **parameters, column_kinds={"odd one": "category"})
    fit(frame, **parameters, categorical_features=["odd one"])
    assert not recwarn.list


# Errors


LISTS = [[1], {}, {1}, np.zeros(2), pd.Series([1])]
REFUSED = {
    "Sparse": lambda: pd.Series(pd.arrays.SparseArray(ROWS * 1.0)),
    "period": lambda: pd.Series(pd.period_range("2024", periods=N, freq="D")),
    "interval": lambda: pd.Series(pd.interval_range(0, N)),
    "complex64": lambda: pd.Series(ROWS.astype("complex64")),
    "complex128": lambda: pd.Series(ROWS * 1j),
    "longdouble": lambda: pd.Series(ROWS.astype(np.longdouble)),
    "timedelta64": lambda: pd.Series(pd.to_timedelta(ROWS, unit="h")),
    "null": lambda: with_arrow([None] * N, pa.null()),
    "list": lambda: with_arrow([[1]] * N, pa.list_(pa.int64())),
    "struct": lambda: with_arrow([{"a": 1}] * N, pa.struct([("a", pa.int64())])),
    "duration": lambda: with_arrow(ROWS, pa.int64()).astype(
        pd.ArrowDtype(pa.duration("s"))
    ),
    "binary": lambda: with_arrow([b"a"] * N, pa.binary()),
    "time64": lambda: with_arrow([datetime.time(1)] * N, pa.time64("us")),
    "string_view": lambda: with_arrow(["a"] * N, pa.string_view()),
    "Null": lambda: pl.Series([None] * N),
    "List": lambda: pl.Series([[1]] * N),
    "Array": lambda: pl.Series([[1, 2]] * N, dtype=pl.Array(pl.Int64, 2)),
    "Struct": lambda: pl.Series([{"a": 1}] * N),
    "Duration": lambda: pl.Series([datetime.timedelta(1)] * N),
    "Time": lambda: pl.Series([datetime.time(1)] * N),
    "Binary": lambda: pl.Series([b"a"] * N),
    "object": lambda: pl.Series([Odd()] * N, dtype=pl.Object),
    "tzlocal": lambda: pd.Series(HOURS.dt.tz_localize("tzlocal()")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_types_are_refused_by_name(name):
    column = REFUSED[name]()
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    frame = make({"x": ROWS * 1.0, "odd one": column})
    with pytest.raises(ValueError, match=rf"Column 'odd one' holds .*{name}") as error:
        fit(frame)
    # It gives advice, too.
    assert str(error.value).count(". ") >= 1
    assert "Unknown" not in str(error.value)


@pytest.mark.parametrize("kind", ["number", "category", "date"])
@pytest.mark.parametrize("name", REFUSED)
def test_later_types_are_refused_by_name(kind, name):
    column = REFUSED[name]()
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    was = {"number": ROWS * 1.0, "category": cycle(["a", "b"]), "date": HOURS}[kind]
    fitted = fit(pd.DataFrame({"odd one": was, "x": ROWS * 1.0}))
    frame = make({"odd one": column, "x": ROWS * 1.0})
    if name in ("null", "Null"):
        return  # Nothing has no type.
    if kind == "number" and name in ("Sparse", "longdouble"):
        assert np.isfinite(fitted.transform(frame)).all()
        return
    for use in (fitted.transform, fitted.impute):
        match = r"Column 'odd one'( holds| does not hold|: 40 of 40)"
        with pytest.raises((ValueError, UserWarning), match=match) as error:
            use(frame)
        assert "Unknown" not in str(error.value)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_dates_are_no_numbers_later(library):
    fitted = fit(library({"x": ROWS * 1.0, "y": ROWS * 2.0}))
    frame = library({"x": [stamp.to_pydatetime() for stamp in HOURS], "y": ROWS * 2.0})
    with pytest.raises(ValueError, match=r"Column 'x' holds .*, but held numbers"):
        fitted.transform(frame)


@pytest.mark.parametrize("value", LISTS, ids=lambda value: type(value).__name__)
def test_cells_that_are_no_levels_are_named(value):
    frame = pd.DataFrame({"odd one": cycle(["a", "b", value]), "x": ROWS * 1.0})
    text = f"Column 'odd one' holds a {type(value).__name__} in row 2"
    with pytest.raises(ValueError, match=text):
        fit(frame)
    fitted = fit(frame.assign(**{"odd one": cycle(["a", "b"])}))
    for use in (fitted.transform, fitted.impute, fitted.score_samples):
        with pytest.raises(ValueError, match=text):
            use(frame)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_named_by_row_and_column(value):
    X = np.random.default_rng(0).normal(size=(N, 3))
    X[0, 0] = np.nan
    bad = X.copy()
    bad[7, 1] = value
    frames = [pd.DataFrame, pl.DataFrame]
    fitted = fit(X)
    for rows in (bad, bad.astype(object), bad.tolist()):
        for use in (fit, fitted.transform, fitted.impute):
            with pytest.raises(ValueError, match="Column 1 holds infinity in row 7"):
                use(rows)
    for make in frames:
        frame = {name: bad[:, place] for place, name in enumerate("abc")}
        with pytest.raises(ValueError, match="Column 'b' holds infinity in row 7"):
            fit(make(frame))


def test_integers_that_no_float_holds_are_named():
    X = np.array([[1.0, 2], [3, 10**400]] * 9, dtype=object)
    with pytest.raises(ValueError, match=r"Column 1 holds an integer of .* in row 1\."):
        fit(X)


def test_strings_in_arrays_are_told_how_to_be_categories():
    rows = [[1.5, "a", 2], [None, "b", np.nan]] * 20
    text = r"Column 1 (holds|does not hold) .*'a'.*Name it in categorical_features"
    for X in (np.array(rows, dtype=object), rows, [[1, "a"], [2, "b"]] * 20):
        with pytest.raises(ValueError, match=text):
            fit(X)
    with pytest.raises(ValueError, match=r"Column 1 holds 'a', .* in row 0\."):
        fit(np.array(rows, dtype=object))
    assert fit(np.array(rows, dtype=object), categorical_features=[1])
    with pytest.raises(TypeError, match=r"Column 0 holds pd\.NA in row 0"):
        fit(np.array([[pd.NA], [1.0]] * 9, dtype=object))


def test_lazy_frames_are_to_be_collected(recwarn):
    lazy = pl.LazyFrame({"x": ROWS * 1.0})
    fitted = fit(lazy.collect())
    for use in (fitted.transform, fitted.impute, fitted.score):
        with pytest.raises(TypeError, match=r"LazyFrame.*\.collect\(\)"):
            use(lazy)
    assert not recwarn.list


def test_tables_of_pyarrow_come_back_as_such(tmp_path):
    frame = plain_frame().convert_dtypes(dtype_backend="pyarrow")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    fitted = fit(table)
    assert list(fitted.feature_names_in_) == list(frame)
    code = fitted.transform(table)
    np.testing.assert_array_equal(code, fitted.transform(frame))
    loaded = passed_through(fitted, tmp_path)
    for found in (fitted.inverse_transform(code), loaded.inverse_transform(code)):
        assert isinstance(found, pa.Table)
        assert found.schema == table.schema
        assert found == fitted.inverse_transform(code)
    filled = fitted.impute(table)
    assert filled.schema == table.schema
    assert sum(column.null_count for column in filled.columns) == 0
    pd.testing.assert_frame_equal(
        filled.to_pandas(types_mapper=pd.ArrowDtype), fitted.impute(frame)
    )
    batch = table.to_batches()[0]
    np.testing.assert_array_equal(fitted.transform(batch), code)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(table.select(["float", "whole"]))


@pytest.mark.parametrize("dtype", ["str", "string", "category"])
def test_a_type_of_text_does_not_change_what_is_learnt(dtype):
    words = pd.Series(np.array(list("ddaabcb"), dtype=object)[ROWS % 7])
    words[::6] = None
    later = pd.Series(["c", None, "a", "new", "d"], dtype=object)

    def outputs(kind):
        model = fit(pd.DataFrame({"w": words.astype(kind)}), min_frequency=8)
        rows = pd.DataFrame({"w": later.astype(kind)})
        return model.transform(rows), model.impute(rows)["w"].astype(object).tolist()

    codes, filled = outputs(dtype)
    expected, as_expected = outputs(object)
    np.testing.assert_array_equal(codes, expected)
    assert filled == as_expected


@pytest.mark.parametrize("dtype", ["str", "category", object])
def test_the_first_unknown_category_is_named_in_every_type(dtype):
    words = pd.Series(np.array(["a", "b"], dtype=object)[ROWS % 2])
    model = fit(pd.DataFrame({"w": words}), handle_unknown="error")
    rows = pd.DataFrame({"w": pd.Series(["b", "z", "y", "z"], dtype=dtype)})
    with pytest.raises(ValueError, match="category 'z', which was not in fit"):
        model.transform(rows)
