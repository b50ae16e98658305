"""Frames with categories, dates and missing values."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import TabularAutoencoderTransformer

pytestmark = pytest.mark.filterwarnings("ignore:Column 'mixed' holds values of several")
N = 400


def make_frame():
    """Dependent columns of all types, with a fifth of the values missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    grades = np.array(["low", "middle", "high"])[np.digitize(z, [-0.5, 0.5])]
    frame = pd.DataFrame(
        {
            "number": 1e6 + 1e4 * z,
            "count": np.round(10 + 3 * z).astype(int),
            "word": np.where(z > 0, "plus", "minus"),
            "grade": pd.Categorical(grades, ["none", "low", "middle", "high"], True),
            "flag": z > 0.3,
            "day": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(np.round(100 * (z + 4)), unit="D"),
            "mixed": np.array([1.5 if each > 0 else "x" for each in z], dtype=object),
            "whole": pd.array(np.round(5 * z), dtype="Int64"),
        }
    )
    for name in ("number", "word", "grade", "day", "mixed", "whole"):
        frame.loc[rng.random(N) < 0.2, name] = None
    return frame


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module")
def fitted(frame):
    return TabularAutoencoderTransformer(random_state=0, max_iter=60).fit(frame)


def make_polars():
    frame = make_frame()
    columns = {
        "number": pl.Series(frame["number"].to_numpy(), nan_to_null=True),
        "count": pl.Series(frame["count"].to_numpy(), dtype=pl.Int32),
        "word": pl.Series([None if pd.isna(w) else w for w in frame["word"]]),
        "grade": pl.Series(
            [None if pd.isna(g) else g for g in frame["grade"]],
            dtype=pl.Enum(["none", "low", "middle", "high"]),
        ),
        "flag": pl.Series(frame["flag"].to_numpy()),
        "day": pl.Series(
            [None if pd.isna(d) else d.date() for d in frame["day"]], dtype=pl.Date
        ),
    }
    return pl.DataFrame(columns)


def test_kinds_are_those_of_the_types(fitted):
    assert fitted.column_kinds_ == {
        "number": "number",
        "count": "number",
        "word": "category",
        "grade": "category",
        "flag": "category",
        "day": "date",
        "mixed": "category",
        "whole": "number",
    }


def test_frames_come_back_as_they_were(frame, fitted):
    code = fitted.transform(frame)
    assert code.dtype == np.float32
    assert code.shape == (N, 256 + fitted.n_components_)
    back = fitted.inverse_transform(code)
    pd.testing.assert_series_equal(back.dtypes, frame.dtypes)
    assert not back.isna().any().any()
    assert np.corrcoef(back["number"], back["count"])[0, 1] > 0.9
    seen = frame["word"].notna()
    assert (back["word"] == frame["word"])[seen].mean() > 0.95
    assert (back["flag"] == frame["flag"]).mean() > 0.95
    narrow = fitted.inverse_transform(code[:, -fitted.n_components_ :])
    pd.testing.assert_frame_equal(narrow, back)


def test_polars_frames_come_back_as_they_were():
    frame = make_polars()
    fitted = TabularAutoencoderTransformer(random_state=0, max_iter=30).fit(frame)
    assert fitted.column_kinds_["day"] == "date"
    back = fitted.inverse_transform(fitted.transform(frame))
    assert back.schema == frame.schema
    filled = fitted.impute(frame)
    assert filled.schema == frame.schema
    assert sum(filled.null_count().row(0)) == 0
    for name in frame.columns:
        seen = frame[name].is_not_null()
        assert (filled[name] == frame[name]).filter(seen).all()


def test_objects_stay_objects():
    words = pd.Series(["up", "down", None] * 20, dtype=object)
    frame = pd.DataFrame({"word": words, "x": np.arange(60.0)})
    # Rows need not have names.
    frame.index = [0] * 60
    filled = TabularAutoencoderTransformer(random_state=0, max_iter=2).fit(frame)
    filled = filled.impute(frame)
    assert filled["word"].dtype == object
    assert set(filled["word"]) == {"up", "down"}


def test_only_gaps_are_filled(frame, fitted):
    before = frame.copy()
    filled = fitted.impute(frame)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_series_equal(filled.dtypes, frame.dtypes)
    assert not filled.isna().any().any()
    # All dates of the data are at midnight.
    assert (filled["day"].dt.normalize() == filled["day"]).all()
    for name in frame:
        seen = frame[name].notna()
        pd.testing.assert_series_equal(filled[name][seen], frame[name][seen])
    gaps = frame["word"].isna()
    truth = np.where(frame["flag"] | (frame["count"] > 10), "plus", "minus")
    assert (filled["word"] == truth)[gaps].mean() > 0.8
    gaps = frame["number"].isna()
    expected = 1e6 + 1e4 * (frame["count"] - 10) / 3
    assert (filled["number"] - expected)[gaps].abs().mean() < 3e3


def test_gaps_of_arrays_are_filled_better_than_by_neighbours():
    X = load_wine().data
    rng = np.random.default_rng(0)
    gaps = rng.random(X.shape) < 0.3
    holed = np.where(gaps, np.nan, X)
    scale = X.std(axis=0)

    def error(filled):
        return np.sqrt((((filled - X) / scale)[gaps] ** 2).mean())

    ours = TabularAutoencoderTransformer(random_state=0).fit(holed).impute(holed)
    scaler = StandardScaler().fit(holed)
    neighbours = KNNImputer().fit_transform(scaler.transform(holed))
    theirs = scaler.inverse_transform(neighbours)
    assert error(ours) < 0.95 * error(theirs)
    assert error(theirs) < error(SimpleImputer().fit_transform(holed))
    np.testing.assert_array_equal(ours[~gaps], X[~gaps])


def test_features_beat_raw_columns():
    """The wave is invisible to a linear model of the columns."""
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=600), rng.choice(list("ab"), 600)
    frame = pd.DataFrame({"x": x, "kind": kind, "noise": rng.normal(size=600)})
    y = np.where(kind == "a", np.abs(x), -np.abs(x))
    pipeline = make_pipeline(
        TabularAutoencoderTransformer(random_state=0, max_iter=30), Ridge()
    )
    raw = pd.get_dummies(frame, dtype=float)
    found = cross_val_score(pipeline, frame, y, cv=3).mean()
    assert found > cross_val_score(Ridge(), raw, y, cv=3).mean() + 0.1


def test_pipelines_with_labels(frame):
    pipeline = make_pipeline(
        TabularAutoencoderTransformer(random_state=0, max_iter=20),
        LogisticRegression(max_iter=500),
    )
    X, y = frame.drop(columns=["flag", "count"]), frame["flag"]
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85


def test_the_wrong_cell_shows(frame, fitted):
    wrong = frame[:50].copy()
    row = int(np.flatnonzero(wrong["word"].notna() & (wrong["count"] > 12))[0])
    wrong.loc[row, "word"] = "minus"
    cells = fitted.reconstruction_error(wrong, per_column=True)
    assert cells.shape == wrong.shape
    assert np.isnan(cells[wrong.isna().to_numpy()]).all()
    assert np.isfinite(cells[wrong.notna().to_numpy()]).all()
    before = fitted.reconstruction_error(frame[:50], per_column=True)
    assert cells[row, 2] > 3 * before[row, 2]
    assert cells[row, 2] == np.nanmax(cells[row])
    rows = fitted.reconstruction_error(wrong)
    np.testing.assert_allclose(rows, np.nanmean(cells, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(fitted.score_samples(wrong), -rows)
    assert fitted.score(wrong) == pytest.approx(-rows.mean(), rel=1e-5)


def test_loss_is_a_share_of_what_averages_cost(frame, fitted):
    idle = TabularAutoencoderTransformer(
        max_iter=1, learning_rate_init=1e-9, random_state=0
    )
    # Categories are not equally frequent, as they are for a network at first.
    assert idle.fit(frame).loss_ == pytest.approx(1.03, abs=0.08)
    assert fitted.loss_curve_[-1] < 0.6


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_scaling_brings_wild_columns_together(scaling):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 1))
    X = np.hstack([1e9 + 1e3 * z, np.exp(3 * z), 1e-9 * z])
    fitted = TabularAutoencoderTransformer(
        4, scaling=scaling, random_state=0, max_iter=60
    ).fit(X)
    back = fitted.inverse_transform(fitted.transform(X))
    for column in (0, 2):
        assert np.corrcoef(back[:, column], X[:, column])[0, 1] > 0.98
    if scaling == "quantile":
        ranks = [np.argsort(np.argsort(values)) for values in (back[:, 1], X[:, 1])]
        assert np.corrcoef(*ranks)[0, 1] > 0.98


def test_arrays_with_categories():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(0, 3, 200) * 7.0])
    for chosen in (
        {"categorical_features": [1]},
        {"categorical_features": [False, True]},
        {"categorical_features": np.array([False, True])},
        {"column_kinds": {1: "category"}},
    ):
        fitted = TabularAutoencoderTransformer(
            4, random_state=0, max_iter=30, **chosen
        ).fit(X)
        assert fitted.column_kinds_ == {0: "number", 1: "category"}
        back = fitted.inverse_transform(fitted.transform(X))
        assert set(back[:, 1]) <= {0.0, 7.0, 14.0}
        assert (back[:, 1] == X[:, 1]).mean() > 0.9


def test_arrays_with_strings():
    X = np.array(
        [[1.5, "a"], [2.5, "b"], [np.nan, "a"], [1.5, None]] * 20, dtype=object
    )
    fitted = TabularAutoencoderTransformer(
        column_kinds={1: "category"}, random_state=0
    ).fit(X)
    filled = fitted.impute(X)
    assert filled[3, 1] == "a"
    assert filled[2, 0] == pytest.approx(1.5, abs=0.2)


def test_names_choose_categories(frame):
    fitted = TabularAutoencoderTransformer(
        categorical_features=["count"], random_state=0, max_iter=1
    ).fit(frame)
    assert fitted.column_kinds_["count"] == "category"
    back = fitted.inverse_transform(fitted.transform(frame))
    assert back["count"].dtype == frame["count"].dtype
    with pytest.raises(ValueError, match="'categorical_features' parameter"):
        fitted.set_params(categorical_features=["nowhere"]).fit(frame)


# Categories


def text_frame(library):
    """Columns whose types do not show their kind."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    days = np.datetime64("2025-01-01") + np.round(50 * z).astype("timedelta64[D]")
    columns = {
        "price": [f"{10 + each:.3f}" for each in z],
        "when": np.datetime_as_string(days).tolist(),
        "place": np.digitize(z, [-1, 0, 1]) * 100,
        "flag": z > 0,
    }
    for name in ("price", "when"):
        columns[name] = [
            None if n % 10 == 0 else each for n, each in enumerate(columns[name])
        ]
    return library(columns), z


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_gaps_of_a_column_of_one_value_stay_gaps(scaling):
    frame = pd.DataFrame({"one": [2.0, np.nan, 2.0, 2.0], "other": [1.0, 2, 3, 4]})
    fitted = TabularAutoencoderTransformer(scaling=scaling, random_state=0).fit(frame)
    error = fitted.reconstruction_error(frame, per_column=True)
    assert np.isnan(error[:, 0]).tolist() == [False, True, False, False]


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_kinds_can_be_forced(library):
    frame, z = text_frame(library)
    kinds = {"price": "number", "when": "date", "place": "category", "flag": "number"}
    transformer = TabularAutoencoderTransformer(
        column_kinds=kinds, max_iter=60, random_state=0
    ).fit(frame)
    assert transformer.column_kinds_ == kinds
    filled = transformer.impute(frame)
    assert list(filled["flag"]) == list(frame["flag"])
    gaps = np.arange(N) % 10 == 0
    prices = np.array([float(each) for each in filled["price"]])
    assert np.abs(prices - (10 + z))[gaps].mean() < 0.4
    days = np.array(list(filled["when"]), dtype="datetime64[D]")
    off = (days - np.datetime64("2025-01-01")) / np.timedelta64(1, "D") - 50 * z
    assert np.abs(off[gaps]).mean() < 20
    back = transformer.inverse_transform(transformer.transform(frame))
    assert set(back["place"]) <= {0, 100, 200, 300}
    for name in frame.columns:
        assert back[name].dtype == frame[name].dtype
    assert (np.asarray(back["flag"]) == (z > 0)).mean() > 0.9


def test_kinds_that_cannot_be_forced():
    frame, _ = text_frame(pd.DataFrame)
    for kinds, match in [
        ({"flag": "date"}, "Column 'flag' cannot be taken for a date"),
        ({"when": "number"}, "Column 'when' does not hold numbers"),
        ({"price": "date"}, "Column 'price' does not hold dates in ISO 8601"),
        ({"nothing": "number"}, "'column_kinds' parameter"),
        ({"price": "text"}, "'column_kinds' parameter"),
    ]:
        with pytest.raises(ValueError, match=match):
            TabularAutoencoderTransformer(column_kinds=kinds).fit(frame)
    with pytest.raises(ValueError, match="Column 0 cannot be taken for a date"):
        TabularAutoencoderTransformer(column_kinds={0: "date"}).fit(np.eye(4))


def test_columns_that_are_never_hidden_are_not_learnt():
    z = np.random.default_rng(0).normal(size=(N, 1))
    frame = pd.DataFrame(np.repeat(z, 3, axis=1), columns=["a", "b", "c"])
    transformer = TabularAutoencoderTransformer(
        corruption_rate={"a": 0.0, "number": 0.5}, random_state=0
    ).fit(frame)
    error = {}
    for name in frame.columns:
        filled = transformer.impute(frame.assign(**{name: np.nan}))
        error[name] = np.square(filled[name] - z[:, 0]).mean()
    assert max(error["b"], error["c"]) < 0.05 < error["a"]


def test_features_vary_as_much_as_scaled_columns(frame, fitted):
    features = fitted.transform(frame)
    assert features.var(axis=0).sum() == pytest.approx(frame.shape[1], rel=1e-4)
    weights = np.where(frame["flag"], 10.0, 1.0)
    weighted = TabularAutoencoderTransformer(random_state=0, max_iter=2)
    features = weighted.fit(frame, sample_weight=weights).transform(frame)
    mean = np.average(features, axis=0, weights=weights)
    variance = np.average((features - mean) ** 2, axis=0, weights=weights).sum()
    assert variance == pytest.approx(frame.shape[1], rel=1e-3)


@pytest.mark.slow  # Three fits to the end.
def test_encodings_fit_steps_that_plain_numbers_do_not():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 1000)
    steps = np.where(np.floor(x) % 2 == 0, 1.0, -1.0)
    X = np.column_stack([x, steps])
    X[::3, 1] = np.nan

    def error(**parameters):
        transformer = TabularAutoencoderTransformer(random_state=0, **parameters)
        filled = transformer.fit(X).impute(X)[::3, 1]
        return np.mean((filled - steps[::3]) ** 2)

    plain = error()
    for encoding in ("piecewise_linear", "periodic"):
        assert error(number_encoding=encoding) < 0.4 * plain, encoding


def test_many_categories_share_a_code():
    rng = np.random.default_rng(0)
    names = np.array([f"id{n}" for n in range(100_000)])
    names[:30_000] = "often"
    frame = pd.DataFrame({"x": rng.normal(size=len(names)), "id": names})
    fitted = TabularAutoencoderTransformer(random_state=0, max_iter=1)
    back = fitted.fit(frame).inverse_transform(fitted.transform(frame[:100]))
    assert "often" in set(back["id"])
    assert fitted.network_.config["n_codes"] == (64,)
    assert fitted.network_.config["n_levels"] == (63,)


@pytest.mark.parametrize(
    ("parameters", "n_codes", "n_levels"),
    [
        ({}, 4, 4),
        ({"min_frequency": 10}, 3, 2),
        ({"min_frequency": 0.4}, 2, 1),
        ({"max_categories": 3}, 3, 2),
        ({"min_frequency": 1000}, 1, 0),
    ],
)
def test_rare_levels_are_read_but_not_decoded_to(parameters, n_codes, n_levels):
    words = ["a"] * 60 + ["b"] * 30 + ["c"] * 6 + ["d"] * 4
    frame = pd.DataFrame({"word": words, "x": np.arange(100.0)})
    fitted = TabularAutoencoderTransformer(max_iter=2, random_state=0, **parameters)
    fitted.fit(frame)
    assert fitted.network_.config["n_codes"] == (n_codes,)
    assert fitted.network_.config["n_levels"] == (n_levels,)
    back = fitted.inverse_transform(fitted.transform(frame))
    assert set(back["word"].dropna()) <= set("abcd"[:n_levels])


def test_unknown_levels_are_read_as_rare_ones():
    words = ["a"] * 50 + ["b"] * 40 + ["c"] * 5 + ["d"] * 5
    frame = pd.DataFrame({"word": words, "x": np.arange(100.0)})
    fitted = TabularAutoencoderTransformer(min_frequency=10, random_state=0).fit(frame)

    def read(word):
        return fitted.transform(pd.DataFrame({"word": [word], "x": [1.0]}))

    np.testing.assert_array_equal(read("never seen"), read("d"))
    assert not np.allclose(read("never seen"), read("a"), atol=1e-4)
    assert not np.allclose(read("never seen"), read(None), atol=1e-4)


def test_unknown_levels(frame, fitted):
    new = frame[:5].copy()
    new["word"] = "never seen"
    gaps = new.copy()
    gaps["word"] = None
    # No category of this column is rare, so an unknown one is like a missing value.
    np.testing.assert_array_equal(fitted.transform(new), fitted.transform(gaps))
    assert (fitted.impute(new)["word"] == "never seen").all()
    strict = TabularAutoencoderTransformer(max_iter=1, handle_unknown="error")
    with pytest.raises(ValueError, match="Column 'word' has the category 'never seen'"):
        strict.fit(frame).transform(new)


# Bad input


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.assign(number=np.inf), "Column 'number' holds infinity"),
        (lambda f: f.assign(number="many"), "Column 'number' does not hold numbers"),
        (lambda f: f.assign(day="soon"), "Column 'day' holds String, but held dates"),
        (lambda f: f.drop(columns="word"), "word"),
        (lambda f: f[list(f)[::-1]], "same order"),
        (lambda f: f[:0], "0 sample"),
        (lambda f: f.assign(more=1), "more"),
    ],
)
def test_bad_frames_are_refused(frame, fitted, change, match):
    with pytest.raises(ValueError, match=match):
        fitted.transform(change(frame))


def test_bad_training_data_is_refused(frame):
    fresh = TabularAutoencoderTransformer(max_iter=1)
    with pytest.raises(ValueError, match="Column 'span' holds Duration"):
        fresh.fit(frame.assign(span=pd.Timedelta(1, "D")))
    with pytest.raises(ValueError, match="0 sample"):
        fresh.fit(frame[:0])
    with pytest.raises(ValueError, match="0 feature"):
        fresh.fit(frame[[]])
    with pytest.raises(ValueError, match="Column 'number' has values whose variance"):
        fresh.fit(frame.assign(number=np.where(frame["flag"], 1e300, -1e300)))
    with pytest.raises(ValueError, match="'corruption_rate' parameter"):
        fresh.set_params(corruption_rate={"no column": 0.1}).fit(frame)
    with pytest.raises(ValueError, match="'hidden_layer_sizes' parameter"):
        TabularAutoencoderTransformer(hidden_layer_sizes=(8, 0)).fit(frame)
    with pytest.raises(NotFittedError):
        TabularAutoencoderTransformer().impute(frame)


def test_gaps_and_levels_are_told_apart(frame, fitted):
    """The network's input for a cell depends on this cell only."""
    row = frame.dropna()[:1]
    rows = [
        row,
        row.assign(number=fitted._table.columns[0].mean),
        row.assign(number=np.nan),
        *(row.assign(word=pd.Series([w], index=row.index)) for w in ("plus", "minus")),
        row.assign(word=None),
        row.assign(flag=~row["flag"]),
    ]
    features = np.concatenate([fitted.transform(each) for each in rows])
    same = np.isclose(features[:, None], features, atol=1e-4).all(axis=2)
    # The row's own category is among the given ones.
    assert (same.sum(axis=1) - 1).tolist() in (
        [1, 0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0],
    )


def test_a_rare_level_does_not_outweigh_all_else():
    words = np.where(np.arange(400) == 7, "rare", "often")
    frame = pd.DataFrame({"word": words, "x": np.arange(400.0)})
    fitted = TabularAutoencoderTransformer(random_state=0, max_iter=1).fit(frame)
    errors = fitted.reconstruction_error(frame, per_column=True)
    # In units of the deviance under its own frequencies it would be about 350.
    assert 20 < errors[7, 0] < 100


def test_an_error_is_the_mean_of_the_known_cells(frame, fitted):
    cells = fitted.reconstruction_error(frame, per_column=True)
    rows = fitted.reconstruction_error(frame)
    np.testing.assert_allclose(rows, np.nanmean(cells, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(cells), frame.isna().to_numpy())
    assert fitted.score(frame) == pytest.approx(-rows.mean(), rel=1e-5)


def test_hidden_cells_weigh_as_much_as_is_said():
    """Noise can be copied where it is visible, and not guessed where it is hidden."""
    X = np.random.default_rng(0).normal(size=(500, 3))
    loss = {}
    for weight in (0.0, 100.0):
        fitted = TabularAutoencoderTransformer(
            corruption_weight=weight, random_state=0, dropout=0.0
        ).fit(X)
        loss[weight] = fitted.loss_
    assert loss[0.0] < 0.2 < 0.5 < loss[100.0]


def test_columns_that_say_nothing(frame):
    odd = frame.assign(
        constant=3.0, word_constant="same", empty=np.nan, empty_word=None, late=pd.NaT
    )
    odd["empty_word"] = odd["empty_word"].astype(object)
    fitted = TabularAutoencoderTransformer(random_state=0, max_iter=5).fit(odd)
    back = fitted.inverse_transform(fitted.transform(odd))
    np.testing.assert_allclose(back["constant"], 3, atol=0.5)
    assert (back["word_constant"] == "same").all()
    assert back[["empty", "empty_word", "late"]].isna().all().all()
    assert np.isfinite(fitted.loss_)
    assert fitted.impute(odd)["empty"].isna().all()


def test_rows_of_gaps_get_averages(frame, fitted):
    nothing = frame[:3].copy()
    for name in ("number", "word", "grade", "day", "mixed", "whole"):
        nothing[name] = None
        nothing[name] = nothing[name].astype(frame[name].dtype)
    assert np.isfinite(fitted.transform(nothing)).all()
    assert fitted.impute(nothing)["number"].between(0.9e6, 1.1e6).all()


def test_dates_know_their_place_in_the_week():
    days = pd.date_range("2024-01-01", periods=350, freq="D")
    frame = pd.DataFrame({"day": days, "weekend": days.day_of_week >= 5})
    holed = frame.astype({"weekend": object})
    holed.loc[::4, "weekend"] = None
    fitted = TabularAutoencoderTransformer(random_state=0).fit(holed)
    filled = fitted.impute(holed)
    assert (filled["weekend"] == frame["weekend"])[::4].mean() > 0.95


def test_times_of_day_and_zones_come_back():
    times = pd.date_range("2024-01-01", periods=200, freq="7h", tz="Europe/Vienna")
    frame = pd.DataFrame({"time": times, "x": np.arange(200.0)})
    fitted = TabularAutoencoderTransformer(random_state=0).fit(frame)
    back = fitted.inverse_transform(fitted.transform(frame))
    assert back["time"].dtype == frame["time"].dtype
    assert (back["time"] - frame["time"]).abs().median() < pd.Timedelta(3, "D")


# Contract


def test_same_seed_same_bits(frame, fitted):
    again = TabularAutoencoderTransformer(random_state=0, max_iter=60).fit(frame)
    np.testing.assert_array_equal(again.transform(frame), fitted.transform(frame))
    assert fitted.transform(frame[:1]).tolist() == fitted.transform(frame)[:1].tolist()


def test_pickles(frame, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(frame), fitted.transform(frame))
    pd.testing.assert_frame_equal(again.impute(frame), fitted.impute(frame))


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (20, 10), "n_components": 3},
        {"corruption": "swap", "corruption_rate": {"number": 0.1, "category": 0.3}},
        {"corruption_rate": 0.0, "dropout": 0.0},
        {"loss": "huber", "solver": "sgd", "max_grad_norm": 1.0},
        {"features": "code"},
        {"number_encoding": "piecewise_linear"},
        {"number_encoding": "periodic", "scaling": "quantile"},
    ],
    ids=repr,
)
def test_parameters(frame, parameters):
    fitted = TabularAutoencoderTransformer(
        **{"max_iter": 15, "random_state": 0, **parameters}
    ).fit(frame)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0] < 1.3
    code = fitted.transform(frame)
    assert code.shape[1] == len(fitted.get_feature_names_out())
    assert fitted.inverse_transform(code).shape == frame.shape


def test_training_goes_on(frame):
    stream = TabularAutoencoderTransformer(random_state=0)
    for _ in range(5):
        for part in (frame[:200], frame[200:]):
            stream.partial_fit(part)
    assert stream.n_iter_ == 10
    assert stream.loss_curve_[-1] < stream.loss_curve_[0]
    warm = TabularAutoencoderTransformer(random_state=0, max_iter=5, warm_start=True)
    first = warm.fit(frame).loss_
    assert warm.fit(frame).loss_ < first
    assert warm.n_iter_ == 10


def test_frames_out(frame):
    fitted = TabularAutoencoderTransformer(3, features="code", max_iter=1)
    code = fitted.set_output(transform="pandas").fit_transform(frame)
    assert list(code.columns) == [
        f"tabularautoencodertransformer{number}" for number in range(3)
    ]
    assert code.index.equals(frame.index)


@pytest.mark.parametrize("encoding", [None, "piecewise_linear"])
def test_weights_stand_for_repetition(encoding):
    X = load_diabetes().data[:100, :4].copy()
    X[::7, 2] = np.nan
    X[:, 3] = np.digitize(X[:, 3], [0, 0.03])
    weights = np.arange(100) % 3
    estimator = TabularAutoencoderTransformer(
        3,
        number_encoding=encoding,
        categorical_features=[3],
        max_iter=3,
        random_state=0,
    )
    weighted = estimator.fit(X, sample_weight=weights).transform(X)
    repeated = estimator.fit(np.repeat(X, weights, axis=0)).transform(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=1e-5)
