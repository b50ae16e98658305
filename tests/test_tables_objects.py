"""Columns of Python objects, as databases give them: recognised, or named."""

import datetime
import sqlite3
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skautoenc
from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer

N = 40
ROWS = np.arange(N)
TOKYO = datetime.timezone(datetime.timedelta(hours=9))
DAY, MOMENT = datetime.date(2024, 1, 31), datetime.datetime(2024, 2, 1, 7)
few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def fit(frame, **parameters):
    transformer = TabularAutoencoderTransformer(
        2, hidden_layer_sizes=(4,), random_state=0, max_iter=1, **parameters
    )
    return transformer.fit(frame)


def cycle(values):
    """Repeat values as objects, with every fifth missing."""
    column = np.full(N, None, dtype=object)
    for row in ROWS[ROWS % 5 != 4]:
        column[row] = values[row % len(values)]
    return column


def as_frame(library, **columns):
    """Make a frame of objects and of a column of numbers."""
    if library is pl:
        kinds = {k: pl.Series(v.tolist(), dtype=pl.Object) for k, v in columns.items()}
        return pl.DataFrame({**kinds, "x": np.sin(ROWS)})
    series = {name: pd.Series(v, dtype=object) for name, v in columns.items()}
    return pd.DataFrame({**series, "x": np.sin(ROWS)})


def types_in(column):
    return {type(value) for value in column.to_list()}


# What a column holds, its kind, and the class of decoded values.
RECOGNISED = {
    "integers": ([3, 1, 2], "number", int),
    "floats": ([0.5, 1.25], "number", float),
    "both": ([1, 2.5], "number", float),
    "decimals": ([Decimal("1.50"), Decimal("20.25")], "number", Decimal),
    "decimals and integers": ([1, Decimal("2.5")], "number", Decimal),
    "all": ([1, 2.5, Decimal(3)], "number", float),
    "large": ([2**62 + 1, 2**63 - 1], "number", int),
    "larger": ([2**64 - 1, 5], "number", int),
    "fractions": ([Fraction(1, 3), Fraction(1, 2)], "number", float),
    "numpy": ([np.int16(3), np.int64(4)], "number", int),
    "numpy floats": ([np.float32(0.5), np.int64(4)], "number", float),
    "days": ([DAY, datetime.date(2023, 5, 6)], "date", datetime.date),
    "moments": ([MOMENT, datetime.datetime(2023, 5, 6, 7)], "date", datetime.datetime),
    "zoned": (
        [MOMENT.replace(tzinfo=TOKYO), MOMENT.replace(tzinfo=datetime.UTC)],
        "date",
        datetime.datetime,
    ),
    "timestamps": ([pd.Timestamp(MOMENT), pd.Timestamp(DAY)], "date", pd.Timestamp),
    "days and moments": ([MOMENT, MOMENT, DAY], "date", datetime.datetime),
    "flags": ([True, False], "category", bool),
    "words": (["a", "b"], "category", str),
    "bytes": ([b"a", b"b"], "category", bytes),
}


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("name", RECOGNISED)
def test_objects_are_recognised_and_come_back(name, library, tmp_path):
    values, kind, expected = RECOGNISED[name]
    frame = as_frame(library, c=cycle(values))
    fitted = fit(frame)
    assert fitted.column_kinds_["c"] == kind
    fitted.save(tmp_path / "table")
    for each in (fitted, skautoenc.load(tmp_path / "table")):
        code = each.transform(frame)
        back = each.inverse_transform(code)
        assert types_in(back["c"]) == {expected}
        lowest, highest = min(values, key=float_of), max(values, key=float_of)
        for value in back["c"]:
            assert float_of(lowest) <= float_of(value) <= float_of(highest)
        filled = each.impute(frame)
        assert types_in(filled["c"]) <= {expected, *map(type, values)}
        pairs = zip(frame["c"], filled["c"], strict=True)
        for before, after in pairs:
            is_same = type(after) is type(before) and after == before
            assert is_same or pd.isna(before)


def float_of(value):
    """Return a number that orders values of one sort."""
    if isinstance(value, datetime.datetime):
        zone = datetime.UTC if value.tzinfo is None else value.tzinfo
        return value.replace(tzinfo=zone).timestamp()
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time()).timestamp()
    return value if isinstance(value, str | bytes) else float(value)


def test_numbers_as_objects_are_those_numbers():
    prices = np.random.default_rng(0).integers(100, 9999, N)
    objects = np.array([Decimal(int(price)) / 100 for price in prices])
    frame = as_frame(pd, c=objects)
    plain = frame.assign(c=prices / 100)
    np.testing.assert_array_equal(
        fit(frame).transform(frame), fit(plain).transform(plain)
    )
    assert len({*prices}) > 30  # Not as categories.
    # Later rows may have the other type.
    np.testing.assert_array_equal(
        fit(frame).transform(plain), fit(plain).transform(frame)
    )


def test_rows_of_a_database_are_recognised_and_filled():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table sales (amount numeric, day text, n integer)")
    rows = [(10 + row / 4, f"2024-01-{1 + row % 28:02}", row) for row in range(N)]
    rows[3] = None, None, None
    connection.executemany("insert into sales values (?, ?, ?)", rows)
    found = [
        (
            None if a is None else Decimal(str(a)),
            d and datetime.date.fromisoformat(d),
            n,
        )
        for a, d, n in connection.execute("select * from sales")
    ]
    connection.close()
    frame = pd.DataFrame(found, columns=["amount", "day", "n"], dtype=object)
    imputer = AutoencoderImputer(
        TabularAutoencoderTransformer(
            2, number_output="distribution", max_iter=2, random_state=0
        )
    ).fit(frame)
    kinds = imputer.autoencoder_.column_kinds_
    assert kinds == {"amount": "number", "day": "date", "n": "number"}
    drawn = [*imputer.draw(frame, 2), imputer.autoencoder_.sample(50, random_state=0)]
    for filled in (imputer.transform(frame), *drawn):
        assert [types_in(filled[name]) for name in frame] == [
            {Decimal},
            {datetime.date},
            {int},
        ]
        assert filled["amount"].between(10, Decimal("19.75")).all()
        assert all(-each.as_tuple().exponent <= 2 for each in filled["amount"])
    given = imputer.autoencoder_.sample(3, {"amount": Decimal("12.5"), "n": 7})
    assert set(given["amount"]) == {Decimal("12.50")}
    assert set(given["n"]) == {7}


def test_batches_without_a_value_are_filled_with_objects():
    frame = as_frame(pd, price=cycle([Decimal("1.50"), Decimal("9.25")]))
    fitted = fit(frame)
    for gap in (None, np.nan, pd.NA):
        filled = fitted.impute(frame[:3].assign(price=gap))
        assert types_in(filled["price"]) == {Decimal}
    assert types_in(fitted.impute(frame.assign(price=np.nan))["price"]) == {Decimal}


def test_rounding_gives_no_negative_zero():
    frame = as_frame(pd, c=cycle([Decimal("-0.4"), Decimal("0.4"), Decimal(0)]))
    back = fit(frame).inverse_transform(np.zeros((9, 2)))
    assert "-0.0" not in [str(each) for each in back["c"]]


numbers = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(-1e9, 1e9),
    Decimal: st.decimals(-(10**9), 10**9, places=3),
}


@few
@given(st.data())
def test_generated_numbers_come_back_within_their_range(data):
    kind = data.draw(st.sampled_from(list(numbers)))
    values = data.draw(st.lists(numbers[kind], min_size=1, max_size=6))
    frame = as_frame(pd, c=cycle(values))
    fitted = fit(frame)
    found = [*fitted.inverse_transform(fitted.transform(frame))["c"]]
    found += [*fitted.impute(frame)["c"]]
    assert set(map(type, found)) == {kind}
    seen = [value for value in frame["c"] if value is not None]
    assert min(seen) <= min(found)
    assert max(found) <= max(seen)


moments = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))


@few
@given(
    values=st.lists(moments, min_size=1, max_size=6),
    zone=st.sampled_from([None, datetime.UTC, TOKYO]),
    is_day=st.booleans(),
)
def test_generated_dates_come_back_within_their_range(values, zone, is_day):
    if is_day:
        zone = None
    values = [each.date() if is_day else each.replace(tzinfo=zone) for each in values]
    frame = as_frame(pd, c=cycle(values))
    fitted = fit(frame)
    found = [*fitted.inverse_transform(fitted.transform(frame))["c"]]
    found += [*fitted.impute(frame)["c"]]
    seen = [value for value in frame["c"] if value is not None]
    assert set(map(type, found)) == {type(seen[0])}
    assert min(seen) <= min(found)
    assert max(found) <= max(seen)


SPAN = datetime.timedelta(hours=1)
WARNED = {
    "numbers and words": (
        [1, "a"],
        r"several types, such as 1 \(int\) and 'a' \(str\)",
    ),
    "flags and numbers": ([True, 2], "several types"),
    "numbers and dates": ([1.5, DAY], "several types"),
    "mixed zones": ([MOMENT, MOMENT.replace(tzinfo=TOKYO)], "several types"),
    "dates and words": ([DAY, "2024-01-01"], "several types"),
    "bytes and words": ([b"a", "a"], "several types"),
    "durations": ([SPAN, 2 * SPAN], "nothing but durations.*total_seconds"),
    "pandas durations": ([pd.Timedelta(1, "h")], "nothing but durations"),
    "times": ([datetime.time(1), datetime.time(2)], "nothing but times of day"),
    "periods": ([pd.Period("2024-01")], "nothing but periods.*to_timestamp"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_is_mixed_is_warned_of_by_name(name):
    values, text = WARNED[name]
    frame = as_frame(pd, **{"odd one": cycle(values)})
    with pytest.warns(UserWarning, match=rf"Column 'odd one' holds .*{text}") as told:
        assert fit(frame).column_kinds_["odd one"] == "category"
    assert "column_kinds={'odd one': 'category'}" in str(told[0].message)
    assert told[0].filename == __file__
    # Not if a parameter says so.
    fit(frame, column_kinds={"odd one": "category"})
    fit(frame, categorical_features=["odd one"])


def test_durations_of_numpy_are_refused_by_name():
    frame = as_frame(pd, c=cycle([np.timedelta64(1, "h")]))
    with pytest.raises(ValueError, match="Column 'c' holds a timedelta64"):
        fit(frame)


def test_rows_of_weight_zero_do_not_decide():
    frame = as_frame(pd, c=cycle([1, 2, 3]))
    frame.loc[7, "c"] = "seven"
    transformer = TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
    transformer.fit(frame, sample_weight=(ROWS != 7).astype(float))
    assert transformer.column_kinds_["c"] == "number"


@pytest.mark.parametrize("value", [np.inf, Decimal("Infinity")])
def test_infinity_in_objects_is_named(value):
    frame = as_frame(pd, c=cycle([1, 2.5, value]))
    with pytest.raises(ValueError, match="Column 'c' holds infinity in row 2"):
        fit(frame)
