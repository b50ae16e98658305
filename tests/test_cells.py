"""Cells that are not numbers: converted correctly, or named in an error with advice."""

import datetime
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone

from skautoenc import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)

QUICK = AutoencoderTransformer(2, max_iter=1, random_state=0)
MATRICES = [
    QUICK,
    ConvAutoencoderTransformer(2, max_iter=1, random_state=0),
    PatchAutoencoderTransformer(QUICK, patch_size=1, random_state=0),
    AutoencoderOutlierDetector(QUICK, n_estimators=4, random_state=0),
]
TABLE = TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
N = 20
X = np.random.default_rng(0).normal(size=(N, 4))


def name(estimator):
    return type(estimator).__name__


each_matrix = pytest.mark.parametrize("estimator", MATRICES, ids=name)
each = pytest.mark.parametrize("estimator", [*MATRICES, TABLE], ids=name)


def with_cell(value, row=3, column=1):
    found = X.astype(object)
    found[row, column] = value
    return found


def says(error, *parts):
    """Expect an error whose message contains all parts, in order."""
    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


# Numbers beyond float64

HUGE = {
    "integer": 10**400,
    "negative": -(10**400),
    "more digits than Python writes": 10**6000,
    "fraction": Fraction(10**400, 3),
}


@each
@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("convert", [np.asarray, lambda cells: cells.tolist()])
def test_numbers_beyond_float64_are_named(estimator, value, convert):
    with says(ValueError, "olumn 1", "too large", "in row 3"):
        clone(estimator).fit(convert(with_cell(value)))


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
def test_numbers_beyond_float64_are_named_in_frames(value):
    frame = pd.DataFrame(with_cell(value), columns=list("abcd"))
    with says(ValueError, "Column 'b'", "too large", "in row 3", "logarithm"):
        clone(QUICK).fit(frame)
    fitted = clone(QUICK).fit(X)
    with says(ValueError, "Column 1 of X", "too large", "in row 3"):
        fitted.transform(with_cell(value))
    with says(ValueError, "Column 1 of X", "in row 3", "what transform returned"):
        fitted.inverse_transform(with_cell(value)[:, :2])
    table = clone(TABLE).set_params(column_kinds={"b": "number"})
    with says(ValueError, "Column 'b'", "too large", "in row 3"):
        table.fit(frame)


@each
@pytest.mark.parametrize(
    "convert",
    [Fraction, lambda v: Decimal(str(v)), np.float32, lambda v: np.array(v)],
    ids=["fraction", "decimal", "float32", "array"],
)
def test_numbers_of_other_classes_are_numbers(estimator, convert):
    cells = np.frompyfunc(convert, 1, 1)(X)
    found = clone(estimator).fit(cells)
    numbers = cells.astype(np.float64)
    same = clone(estimator).fit(numbers)
    method = "transform" if hasattr(found, "transform") else "score_samples"
    np.testing.assert_array_equal(
        getattr(found, method)(cells), getattr(same, method)(numbers)
    )


def test_longdouble_beyond_float64_is_infinity():
    rows = np.full((N, 2), np.longdouble("1e4000"))
    if np.isinf(rows).all():
        pytest.skip("longdouble is float64 here")
    for estimator in (QUICK, TABLE):
        with says(ValueError, "infinity"):
            clone(estimator).fit(rows)


# Dates and durations, which numpy would convert to numbers of their unit

NANOSECONDS = (X * 1e12).astype(np.int64)
DATES = {
    "array": lambda: NANOSECONDS.astype("M8[ns]"),
    "days": lambda: np.full((N, 4), np.datetime64("2020-02-03")),
    "list": lambda: [[np.datetime64("2020-02-03")] * 4] * N,
    "cell": lambda: with_cell(np.datetime64("2020-02-03")),
    "list with a cell": lambda: with_cell(np.datetime64("2020-02-03")).tolist(),
    "date": lambda: with_cell(datetime.date(2020, 2, 3)),
    "not a time": lambda: np.full((N, 4), np.datetime64("NaT")),
}
DURATIONS = {
    "array": lambda: NANOSECONDS.astype("m8[ns]"),
    "list": lambda: [[np.timedelta64(1, "D")] * 4] * N,
    "cell": lambda: with_cell(np.timedelta64(1, "D")),
    "timedelta": lambda: with_cell(datetime.timedelta(1)),
}


@each_matrix
@pytest.mark.parametrize("make", DATES.values(), ids=DATES)
def test_dates_in_arrays_are_no_numbers(estimator, make):
    parts = "does not hold numbers but dates, such as", "in row", "Tabular", "a frame"
    with says(TypeError, *parts):
        clone(estimator).fit(make())
    if estimator is QUICK:
        fitted = clone(estimator).fit(X)
        for method in (fitted.transform, fitted.score, fitted.score_samples):
            with says(TypeError, *parts):
                method(make())


@each_matrix
@pytest.mark.parametrize("make", DURATIONS.values(), ids=DURATIONS)
def test_durations_in_arrays_are_no_numbers(estimator, make):
    with says(TypeError, "does not hold numbers but durations", "in row", "one second"):
        clone(estimator).fit(make())


@pytest.mark.parametrize("make", [*DATES.values(), *DURATIONS.values()])
def test_dates_in_arrays_of_tables_are_no_numbers(make):
    with says(TypeError, "Column ", "in row", "Pass a frame"):
        clone(TABLE).fit(make())
    fitted = clone(TABLE).fit(X)
    with says(TypeError, "Column ", "in row", "Pass a frame"):
        fitted.transform(make())
    # If columns are named, each cell may have any type.
    named = clone(TABLE).set_params(categorical_features=[0])
    with says(ValueError, "Column 1 does not hold numbers"):
        named.fit(make())


FRAMES = {
    "pandas": lambda dates: pd.DataFrame({"a": dates, "b": dates}),
    "Arrow": lambda dates: pd.DataFrame(
        {"a": dates, "b": dates}, dtype="timestamp[us][pyarrow]"
    ),
    "polars": lambda dates: pl.DataFrame({"a": dates, "b": dates}),
    "objects": lambda dates: pd.DataFrame({"a": dates, "b": dates}, dtype=object).map(
        pd.Timestamp.to_datetime64
    ),
}


@each_matrix
@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_frames_of_nothing_but_dates_are_no_numbers(estimator, make):
    with says(TypeError, "Column 'a' of X", "dates, such as", "as they are"):
        clone(estimator).fit(make(pd.date_range("2020-01-01", periods=N).to_list()))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_of_nothing_but_durations_are_no_numbers(make):
    times = pd.to_timedelta(np.arange(N), unit="h").to_pytimedelta().tolist()
    with says(TypeError, "Column 'a' of X", "durations, such as", "total_seconds"):
        clone(QUICK).fit(make({"a": times, "b": times}))


# Masked cells


@each_matrix
@pytest.mark.parametrize("dtype", [float, np.float32, int, object])
def test_masked_cells_are_no_data(estimator, dtype):
    mask = np.zeros((N, 4), dtype=bool)
    mask[5, 2] = True
    masked = np.ma.array((10 * X).astype(dtype), mask=mask)
    with says(ValueError, "masked values: row 5, column 2", "filled", "Tabular"):
        clone(estimator).fit(masked)
    clone(estimator).fit(masked[6:])


def test_masked_cells_of_a_stream_and_of_images():
    masked = np.ma.array(X, mask=False)
    masked[7] = np.ma.masked
    with says(ValueError, "masked values: row 17"):
        clone(QUICK).fit(Blocks([X[:10], masked]))
    with says(ValueError, "masked values: row 7"):
        clone(MATRICES[1]).fit(masked.reshape(N, 2, 2))


@pytest.mark.parametrize("dtype", [float, np.float32, int, bool, object])
def test_masked_cells_of_tables_are_missing(dtype):
    mask = X > 0.8
    values = (10 * X).astype(dtype)
    masked = np.ma.array(values, mask=mask)
    is_float = np.issubdtype(dtype, np.floating)
    missing = np.where(mask, np.nan, values.astype(dtype if is_float else float))
    fitted, same = clone(TABLE).fit(masked), clone(TABLE).fit(missing)
    np.testing.assert_array_equal(fitted.transform(masked), same.transform(missing))
    filled = fitted.impute(masked)
    assert not np.ma.isMaskedArray(filled)
    assert not pd.isna(filled).any()
    np.testing.assert_array_equal(filled[~mask], values[~mask])


def test_masked_strings_of_tables_are_missing():
    towns = np.ma.array([["Ulm"], ["Bonn"]] * 10, mask=[[False]] * 19 + [[True]])
    fitted = clone(TABLE).set_params(n_components=1, categorical_features=[0])
    assert fitted.fit(towns).impute(towns)[-1, 0] in ("Ulm", "Bonn")


# Rows of different lengths


def ragged():
    rows = X.tolist()
    rows[5] = rows[5][:3]
    return rows


RAGGED = {
    "lists": (ragged, "row 0 has 4 entries, row 5 has 3"),
    "tuples": (lambda: tuple(map(tuple, ragged())), "row 5 has 3 entries"),
    "arrays": (lambda: [np.array(row) for row in ragged()], "row 5 has 3 entries"),
    "array": (lambda: np.array([*map(np.array, ragged())], dtype=object), "row 5"),
    "a number": (lambda: [[1.0, 2.0], 3.0], "row 1 has no entries, but is a float"),
    "nothing": (lambda: [[1.0, 2.0], []], "row 1 has 0 entries"),
    "none": (lambda: [[1.0, 2.0], None], "row 1 has no entries, but is a NoneType"),
}


@each
@pytest.mark.parametrize(("make", "told"), RAGGED.values(), ids=RAGGED)
def test_rows_of_different_lengths_are_named(estimator, make, told):
    with says(ValueError, "rows of X differ in length", told, "Give all rows"):
        clone(estimator).fit(make())


def test_rows_of_different_lengths_are_named_elsewhere():
    fitted = clone(QUICK).fit(X)
    with says(ValueError, "row 0 has 4 entries, row 5 has 3 entries"):
        fitted.transform(ragged())
    codes = fitted.transform(X).tolist()
    codes[2].append(0.0)
    with says(ValueError, "row 2 has 3 entries", "what transform returned"):
        fitted.inverse_transform(codes)
    images = [np.zeros((4, 4))] * 3 + [np.zeros((4, 5))]
    with says(ValueError, "differ in shape", "row 3 has shape (4, 5)"):
        clone(MATRICES[1]).fit(images)


@each
def test_cells_that_are_lists_are_named(estimator):
    cells = [[1.0, [2.0, 3.0]], [1.0, 2.0]] * 10
    with says(ValueError, "olumn 1", "in row 0"):
        clone(estimator).fit(cells)


def test_arrays_of_arrays_are_stacked():
    rows = np.empty(N, dtype=object)
    rows[:] = list(X)
    for estimator in (QUICK, TABLE):
        with says(ValueError, "array of arrays of shape (4,)", "numpy.stack(X)"):
            clone(estimator).fit(rows)


# Other types


@each
@pytest.mark.parametrize("what", [None, "data.csv", b"data", {1, 2}])
def test_what_is_no_data_is_named(estimator, what):
    with says(TypeError, f"X is a {type(what).__name__}", "array or a frame"):
        clone(estimator).fit(what)


@each
@pytest.mark.parametrize("shape", [N, (N, 1), (N, 2)])
def test_records_are_frames(estimator, shape):
    records = np.zeros(shape, dtype=[("a", float)])
    with says(TypeError, "structured array", "pandas.DataFrame(X)"):
        clone(estimator).fit(records)


@each
@pytest.mark.parametrize(
    "convert",
    [np.asarray, lambda cells: cells.tolist(), lambda cells: cells.astype(object)],
    ids=["array", "list", "objects"],
)
def test_complex_numbers_are_named(estimator, convert):
    with says((ValueError, TypeError), "omplex") as raised:
        clone(estimator).fit(convert(X + 1j))
    assert "Complex data not supported" in str(raised.value)
    assert "in row 0" in str(raised.value)
    assert len(str(raised.value)) < 250


@each
def test_sparse_complex_numbers_are_reported(estimator):
    with says(ValueError, "Complex data not supported", "sparse", "hstack") as raised:
        clone(estimator).fit(sparse.csr_array(X + 1j))
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("dtype", ["S", "U", "T"])
def test_strings_of_numbers(dtype):
    if dtype == "T" and not hasattr(np.dtypes, "StringDType"):
        pytest.skip("numpy 2 has this type")
    text = X.astype("U").astype(np.dtypes.StringDType() if dtype == "T" else dtype)
    code = clone(QUICK).fit(text).transform(text)
    np.testing.assert_array_equal(code, clone(QUICK).fit(X).transform(X))
    with says(ValueError, "array of strings", "astype(float)", "categorical_features"):
        clone(TABLE).fit(text)
    if dtype == "U":
        with says(ValueError, "array of strings", "astype(float)"):
            clone(TABLE).fit(text.tolist())


@pytest.mark.parametrize("value", [pd.NA, pd.NaT])
def test_missing_values_of_pandas_in_arrays_of_tables(value):
    with says(TypeError, "Column 1 holds pd.N", "in row 3", "None or np.nan"):
        clone(TABLE).fit(with_cell(value))


def test_codes_name_the_cell():
    fitted = clone(QUICK).fit(X)
    codes = fitted.transform(X).astype(object)
    codes[4, 1] = "x"
    with says(ValueError, "Column 1 of X", "'x' in row 4", "what transform returned"):
        fitted.inverse_transform(codes)
    with says(ValueError, "dates", "in row 0"):
        fitted.inverse_transform(np.full((3, 2), np.datetime64("2020-01-01")))


def test_text_of_a_stream_is_named_by_its_row():
    text = with_cell("x", row=2)
    with says(ValueError, "Column 1 of X", "text, such as 'x' in row 12"):
        clone(QUICK).fit(Blocks([X[:10], text]))


BAD_WEIGHTS = {
    "huge": (lambda: [1.0, 10**400, *[1.0] * (N - 2)], "too large", "in row 1"),
    "text": (lambda: ["a"] * N, "text, such as 'a'", "in row 0"),
    "dates": (lambda: np.full(N, np.datetime64("2020")), "dates", "in row 0"),
    "durations": (lambda: np.full(N, np.timedelta64(1, "D")), "durations", "row 0"),
    "complex": (lambda: np.full(N, 1j), "complex", "in row 0"),
    "lists": (lambda: pd.Series([[1]] * N), "lists", "in row 0"),
    "masked": (lambda: np.ma.array(np.ones(N), mask=np.arange(N) == 3), "masked", "3"),
}


@each
@pytest.mark.parametrize(
    ("make", "what", "where"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS
)
def test_weights_that_are_no_numbers_are_named(estimator, make, what, where):
    with says(ValueError, "sample_weight", what, where):
        clone(estimator).fit(X, sample_weight=make())


def test_weights_of_other_classes_are_numbers():
    weights = [Fraction(n, 3) for n in range(1, N + 1)]
    code = clone(QUICK).fit(X, sample_weight=weights).transform(X)
    same = clone(QUICK).fit(X, sample_weight=np.arange(1, N + 1) / 3).transform(X)
    np.testing.assert_array_equal(code, same)


def test_rows_of_different_lengths_in_a_block():
    with says(ValueError, "In a block", "row 5 has 3 entries"):
        clone(QUICK).fit(Blocks([X.tolist(), ragged()]))
    with says(ValueError, "A block is a tuple", "without labels"):
        clone(QUICK).fit(Blocks([(X, np.zeros(N))]))
