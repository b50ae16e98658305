"""Distributions of numbers, new rows, and imputation in pipelines."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skautoenc
from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer
from skautoenc._data.bins import learn_bins

LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


def to_pandas(frame):
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def make_frame(n=400):
    draw = np.random.default_rng(0)
    size = draw.normal(170, 10, n)
    spent = np.where(draw.random(n) < 0.6, 0.0, draw.exponential(100, n).round(2))
    return pd.DataFrame(
        {
            "size": size,
            "fits": np.where(size > 175, "large", "small"),
            "weight": (0.9 * size - 90 + draw.normal(0, 2, n)).round(1),
            "children": draw.poisson(1.5, n),
            "spent": spent,
            "since": pd.Timestamp("2025-01-01")
            + pd.to_timedelta(draw.integers(0, 100, n), unit="D"),
            "tall": size > 185,
        }
    )


def make_holed(frame):
    holed = frame.copy()
    holed.loc[::5, "fits"] = None
    holed.loc[1::5, "weight"] = np.nan
    holed.loc[2::5, "since"] = pd.NaT
    return holed


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module")
def holed(frame):
    return make_holed(frame)


@pytest.fixture(scope="module")
def fitted(frame):
    return TabularAutoencoderTransformer(
        hidden_layer_sizes=(64, 64),
        dropout=0.1,
        number_output="distribution",
        max_iter=120,
        random_state=0,
    ).fit(frame)


@pytest.fixture(scope="module")
def imputer(fitted, holed):
    return AutoencoderImputer(FrozenEstimator(fitted), random_state=0).fit(holed)


# Bins


def test_bins_hold_about_as_many_rows_and_shared_values_are_alone():
    values = np.arange(1000.0)
    counts = np.ones(1000)
    counts[0] = 500.0
    bins = learn_bins(values, counts, 32)
    shares = bins.shares
    np.testing.assert_allclose(shares[0], 500 / 1499)
    assert 20 <= len(bins) <= 33
    assert shares[1:].max() < 2 * shares[1:].min()
    drawn = bins.values(np.zeros(5, dtype=np.int64), np.linspace(0.01, 0.99, 5))
    assert (drawn == 0).all()


def test_few_different_values_have_a_bin_each():
    bins = learn_bins(np.array([0.0, 1.0, 5.0]), np.array([3.0, 1.0, 6.0]), 32)
    np.testing.assert_allclose(bins.shares, [0.3, 0.1, 0.6])
    np.testing.assert_array_equal(
        bins.codes(np.array([-9.0, 0, 1, 5, 9])), [0, 0, 1, 2, 2]
    )
    for share in (0.01, 0.5, 0.99):
        drawn = bins.values(np.arange(3), np.full(3, share))
        np.testing.assert_array_equal(drawn, [0.0, 1.0, 5.0])


@pytest.mark.parametrize("n_values", [2, 31, 33, 1000, 5000])
def test_values_of_a_bin_lie_in_it_and_are_distributed_as_those_of_fit(n_values):
    draw = np.random.default_rng(0)
    rows = np.exp(draw.normal(size=n_values))
    values, counts = np.unique(
        np.append(rows, rows[: n_values // 3]), return_counts=True
    )
    bins = learn_bins(values, counts.astype(float), 32)
    chosen = draw.choice(len(bins), 20_000, p=bins.shares)
    drawn = bins.values(chosen, draw.random(20_000))
    np.testing.assert_array_equal(bins.codes(drawn), chosen)
    reached = np.cumsum(counts) / counts.sum()
    ranks = np.searchsorted(np.sort(drawn), values, side="right") / len(drawn)
    assert np.abs(ranks - reached).max() < 0.02 + 5 / counts.sum()


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([5000.0, 7000.0, 12000.0], 1000.0),
        ([0.25, 0.5, 1.0], 0.01),
        ([1.0, 2.0, 7.0], 1.0),
        ([0.1, 0.2, 0.3], 0.1),
    ],
)
def test_drawn_values_have_as_many_decimal_places_as_those_of_fit(values, unit):
    known = np.array(sorted({*values, *(values[0] + unit * np.arange(0, 400, 3))}))
    known = np.round(known / unit) * unit if unit >= 1 else np.round(known, 2)
    bins = learn_bins(known, np.ones(len(known)), 8)
    draw = np.random.default_rng(0)
    drawn = bins.values(draw.integers(0, len(bins), 100), draw.random(100))
    np.testing.assert_allclose(drawn / unit, np.round(drawn / unit), atol=1e-9)


# New rows


@pytest.mark.parametrize("library", LIBRARIES)
def test_new_rows_have_the_types_ranges_and_categories_of_fit(frame, library):
    given = LIBRARIES[library](frame)
    transformer = TabularAutoencoderTransformer(
        8, hidden_layer_sizes=(32,), number_output="distribution", max_iter=3
    ).fit(given)
    rows = transformer.sample(200, random_state=0)
    assert type(rows) is type(given)
    if library != "pyarrow":
        assert list(rows.dtypes) == list(given.dtypes)
    rows = to_pandas(rows)
    assert rows.shape == (200, frame.shape[1])
    assert not rows.isna().any().any()
    for name in ("size", "weight", "children", "spent", "since"):
        assert rows[name].between(frame[name].min(), frame[name].max()).all()
    assert set(rows["fits"]) <= {"large", "small"}
    np.testing.assert_allclose(rows["weight"], rows["weight"].round(1))
    np.testing.assert_allclose(rows["spent"], rows["spent"].round(2))


# Far from what comes of drawing the likeliest value, of drawing each column by itself,
# and of ignoring what is given: distances of 0.25, 1.0 and 0.7.


def distance(one, other):
    """Largest difference of the distribution functions (Kolmogorov, Smirnov)."""
    return ks_2samp(np.asarray(one, float), np.asarray(other, float)).statistic


def test_new_rows_keep_margins(frame, fitted):
    rows = fitted.sample(2000, random_state=0)
    for name in ("size", "weight", "children", "spent", "since"):
        assert distance(rows[name], frame[name]) < 0.1, name
    for name in ("fits", "tall"):
        shares = [each[name].value_counts(normalize=True) for each in (rows, frame)]
        assert (shares[0] - shares[1]).abs().max() < 0.05, name


def test_new_rows_keep_relations(frame, fitted):
    rows = fitted.sample(2000, random_state=0)
    names = ["size", "weight", "children", "spent"]
    ranks = [each[names].corr("spearman") for each in (rows, frame)]
    assert (ranks[0] - ranks[1]).abs().max(axis=None) < 0.25
    assert ((rows["size"] > 175) == (rows["fits"] == "large")).mean() > 0.82
    assert (rows["weight"] - (0.9 * rows["size"] - 90)).std() < 8


def test_draws_follow_the_seed_and_differ_without_one(fitted):
    first = fitted.sample(20, random_state=0)
    pd.testing.assert_frame_equal(first, fitted.sample(20, random_state=0))
    assert not first.equals(fitted.sample(20, random_state=1))
    assert not fitted.sample(20).equals(fitted.sample(20))


def test_given_cells_are_kept_and_others_follow_them(frame, fitted):
    rows = fitted.sample(1000, {"fits": "large", "spent": 0.0}, random_state=0)
    assert len(rows) == 1000
    assert (rows["fits"] == "large").all()
    assert (rows["spent"] == 0).all()
    alike = frame[frame["fits"] == "large"]
    for name in ("size", "weight"):
        assert distance(rows[name], alike[name]) < 0.5
        assert distance(rows[name], frame[name]) > 0.2
    # What does not depend on the given cells stays as it is.
    assert distance(rows["children"], frame["children"]) < 0.1
    assert distance(rows["since"], frame["since"]) < 0.1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_gives_cells_for_each_row(fitted, library):
    given = pd.DataFrame(
        {
            "size": [150.5, np.nan, 195.25],
            "since": [pd.Timestamp("2025-02-01"), pd.NaT, pd.NaT],
        }
    )
    rows = fitted.sample(2, LIBRARIES[library](given), random_state=0)
    assert len(rows) == 6
    assert rows["size"].tolist()[:2] == [150.5] * 2
    assert rows["size"].tolist()[4:] == [195.25] * 2
    assert (rows["since"][:2] == pd.Timestamp("2025-02-01")).all()
    assert not rows.isna().any().any()


def test_an_array_gives_cells_of_arrays():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(300, 3))
    X[:, 2] = X[:, 0] + X[:, 1]
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", max_iter=3, random_state=0
    ).fit(X)
    given = np.array([[0.5, np.nan, np.nan], [np.nan, -0.5, 0.25]])
    rows = transformer.sample(1, given, random_state=0)
    np.testing.assert_array_equal(rows[~np.isnan(given)], given[~np.isnan(given)])
    assert transformer.sample(3, {1: 0.25}).shape == (3, 3)
    with pytest.raises(ValueError, match="an array with 3 columns"):
        transformer.sample(1, given[:, :2])


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"fit": "large"}, "'fit', which was not there in fit"),
        ({"fits": "huge"}, "'huge', which was not there in fit. Its categories are"),
        ({"size": 300.0}, "'size' is to be 300.0, but was between"),
        ({"since": "2031-01-01"}, "'since' is to be 2031-01-01"),
        ({"fits": ["large", "small"]}, "must be a single value"),
        ({"size": "large"}, "'size' does not hold numbers"),
    ],
)
def test_conditions_that_cannot_be_are_refused(fitted, conditions, message):
    with pytest.raises(ValueError, match=message):
        fitted.sample(1, conditions)


def test_rare_categories_can_be_given_but_are_never_drawn():
    frame = make_frame(200)
    frame["fits"] = frame["fits"].where(np.arange(200) > 2, "tiny")
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", min_frequency=5, max_iter=2
    ).fit(frame)
    assert set(transformer.sample(100)["fits"]) <= {"large", "small"}
    assert set(transformer.sample(3, {"fits": "tiny"})["fits"]) == {"tiny"}


def test_means_alone_give_no_new_rows(frame):
    transformer = TabularAutoencoderTransformer(max_iter=1).fit(frame)
    assert not hasattr(transformer, "sample")
    with pytest.raises(AttributeError) as caught:
        transformer.sample(3)
    assert "Set number_output='distribution'" in str(caught.value.__cause__)


def test_odd_columns_are_drawn_too():
    frame = pd.DataFrame(
        {
            "empty": np.full(50, np.nan),
            "constant": np.full(50, 7),
            "large": 2**60 + np.arange(50),
            "word": pd.Categorical(["a", "b"] * 25),
            "nullable": pd.array([1, None, 3, 4, 5] * 10, dtype="Int8"),
        }
    )
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", max_iter=2
    ).fit(frame)
    rows = transformer.sample(30, random_state=0)
    assert rows["empty"].isna().all()
    assert (rows["constant"] == 7).all()
    assert rows["large"].between(2**60, 2**60 + 49).all()
    assert rows["nullable"].isin([1, 3, 4, 5]).all()
    assert list(rows.dtypes) == list(frame.dtypes)


def test_text_dates_and_numbers_are_drawn_as_text():
    frame = pd.DataFrame(
        {
            "price": ["9.50", "12.25", "10.00"] * 20,
            "at": ["2025-03-01", "2025-03-09"] * 30,
        }
    )
    kinds = {"price": "number", "at": "date"}
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", column_kinds=kinds, max_iter=2
    ).fit(frame)
    rows = transformer.sample(20, {"at": "2025-03-01"}, random_state=0)
    assert (rows["at"] == "2025-03-01").all()
    assert set(rows["price"].astype(float)) <= {9.5, 12.25, 10.0}
    assert set(transformer.sample(50)["at"]) <= {"2025-03-01", "2025-03-09"}


def test_fits_of_the_default_length_end_with_a_low_learning_rate():
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)))
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", hidden_layer_sizes=(8,), random_state=0
    )
    assert transformer.fit(noise).n_iter_ == 300
    assert transformer.set_params(max_iter=300).fit(noise).n_iter_ < 300


def test_weights_count_as_repetitions_in_bins(frame):
    weights = np.r_[np.zeros(200), np.ones(200)]
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", max_iter=1
    ).fit(frame.assign(spent=np.arange(400.0)), sample_weight=weights)
    assert transformer.sample(50)["spent"].min() >= 200


def test_files_and_pickles_draw_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "table.safetensors")
    again = skautoenc.load(tmp_path / "table.safetensors")
    rows = fitted.sample(20, random_state=0)
    pd.testing.assert_frame_equal(again.sample(20, random_state=0), rows)


# Imputation


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_imputer_gives_back_what_it_got_without_gaps(holed, imputer, library):
    given = LIBRARIES[library](holed)
    filled = imputer.transform(given)
    assert type(filled) is type(given)
    if library != "pyarrow":
        assert list(filled.dtypes) == list(given.dtypes)
    filled, given = to_pandas(filled), to_pandas(given)
    assert not filled.isna().any().any()
    for name in holed:
        known = given[name].notna()
        assert (filled[name][known] == given[name][known]).all()


def test_the_imputer_fills_well_and_keeps_the_index(frame, holed, imputer):
    shuffled = holed.sample(frac=1, random_state=0)
    filled = imputer.transform(shuffled)
    assert filled.index.equals(shuffled.index)
    filled = filled.sort_index()
    assert (filled["fits"] == frame["fits"]).mean() > 0.95
    error = (filled["weight"] - frame["weight"])[1::5]
    assert error.std() < 0.5 * frame["weight"].std()


def test_draws_differ_where_values_are_missing_and_nowhere_else(holed, imputer):
    first, second = imputer.draw(holed, 2, random_state=0)
    known = holed.notna()
    pd.testing.assert_frame_equal(first.where(known), second.where(known))
    assert (first["weight"] != second["weight"])[1::5].mean() > 0.5
    again, _ = imputer.draw(holed, 2, random_state=0)
    pd.testing.assert_frame_equal(first, again)
    # Without a seed, it is that of the imputer.
    pd.testing.assert_frame_equal(imputer.draw(holed, 1)[0], imputer.draw(holed, 1)[0])


def test_intervals_of_draws_hold_about_as_many_values_as_they_should(frame, imputer):
    hidden = frame.copy()
    hidden.loc[::2, "weight"] = np.nan
    draws = np.array(
        [each["weight"][::2] for each in imputer.draw(hidden, 40, random_state=0)]
    )
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    covered = ((frame["weight"][::2] >= low) & (frame["weight"][::2] <= high)).mean()
    assert 0.8 < covered < 0.98
    assert (high - low).mean() < 2 * frame["weight"].std()


def test_transform_draws_if_it_is_to(holed, fitted):
    imputer = AutoencoderImputer(
        FrozenEstimator(fitted), sample_posterior=True, random_state=0
    ).fit(holed)
    best = AutoencoderImputer(FrozenEstimator(fitted)).fit(holed)
    drawn = imputer.transform(holed)
    pd.testing.assert_frame_equal(drawn, imputer.transform(holed))
    assert drawn["weight"][1::5].std() > best.transform(holed)["weight"][1::5].std()


def test_empty_columns_are_left_out_or_zero():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[:, 1] = np.nan
    X[::4, 0] = np.nan
    inner = TabularAutoencoderTransformer(max_iter=2)
    imputer = AutoencoderImputer(inner).fit(X)
    assert imputer.transform(X).shape == (40, 2)
    assert imputer.get_feature_names_out().tolist() == ["x0", "x2"]
    imputer.set_params(keep_empty_features=True)
    assert (imputer.transform(X)[:, 1] == 0).all()
    frame = pd.DataFrame(X, columns=list("abc"))
    for make in LIBRARIES.values():
        filled = imputer.fit(make(frame)).transform(make(frame))
        assert (to_pandas(filled)["b"] == 0).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_indicators_tell_where_values_were_missing(holed, fitted, library):
    given = LIBRARIES[library](holed)
    imputer = AutoencoderImputer(FrozenEstimator(fitted), add_indicator=True)
    filled = to_pandas(imputer.fit(given).transform(given))
    names = [f"missingindicator_{name}" for name in ("fits", "weight", "since")]
    assert list(filled.columns) == [*holed, *names]
    assert list(imputer.get_feature_names_out()) == [*holed, *names]
    for name in ("fits", "weight", "since"):
        told = filled[f"missingindicator_{name}"]
        assert (told.to_numpy(bool) == holed[name].isna().to_numpy()).all()


def test_set_output_converts_frames(holed, fitted):
    imputer = AutoencoderImputer(FrozenEstimator(fitted)).fit(holed)
    for library, make in LIBRARIES.items():
        for wanted, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
            imputer.set_output(transform=wanted)
            filled = imputer.transform(make(holed))
            assert type(filled) is kind, library
            assert list(filled.columns) == list(holed.columns)


def test_the_imputer_works_in_pipelines_columns_and_searches(frame, holed):
    inner = TabularAutoencoderTransformer(
        4, hidden_layer_sizes=(16,), number_output="distribution", max_iter=3
    )
    columns = make_column_transformer(
        (OneHotEncoder(), ["fits", "tall"]), remainder="passthrough"
    )
    pipeline = make_pipeline(
        AutoencoderImputer(inner, random_state=0),
        columns,
        LogisticRegression(max_iter=2000),
    )
    numbers = holed.drop(columns=["since", "spent"])
    search = GridSearchCV(
        pipeline, {"autoencoderimputer__autoencoder__max_iter": [1, 3]}, cv=2
    ).fit(numbers, frame["spent"] == 0)
    assert search.best_estimator_[0].autoencoder_.n_iter_ in (1, 3)
    nested = make_column_transformer(
        (clone(search.best_estimator_[0]), ["size", "weight"])
    )
    assert np.isfinite(np.asarray(nested.fit_transform(holed), dtype=float)).all()


def test_a_frozen_autoencoder_is_used_as_it_is(holed, fitted, imputer):
    assert imputer.autoencoder_ is fitted
    unfrozen = AutoencoderImputer(clone(fitted).set_params(max_iter=1)).fit(holed)
    assert unfrozen.autoencoder_ is not fitted
    with pytest.raises(ValueError, match="feature names should match"):
        AutoencoderImputer(FrozenEstimator(fitted)).fit(holed[["size", "fits"]])
    with pytest.raises(ValueError, match="must be a TabularAutoencoderTransformer"):
        AutoencoderImputer(FrozenEstimator(OneHotEncoder())).fit(holed)


def test_means_alone_give_no_draws(holed):
    inner = TabularAutoencoderTransformer(max_iter=1)
    imputer = AutoencoderImputer(inner).fit(holed)
    assert not imputer.transform(holed).isna().any().any()
    with pytest.raises(ValueError, match="number_output='distribution'"):
        imputer.draw(holed)
    with pytest.raises(ValueError, match="number_output='distribution'"):
        AutoencoderImputer(inner, sample_posterior=True).fit(holed)


def test_files_hold_imputers_frozen_or_not(holed, imputer, tmp_path):
    path = tmp_path / "imputer.safetensors"
    imputer.save(path)
    again = skautoenc.load(path)
    assert isinstance(again.autoencoder, FrozenEstimator)
    pd.testing.assert_frame_equal(again.transform(holed), imputer.transform(holed))
    draws = zip(again.draw(holed, 2), imputer.draw(holed, 2), strict=True)
    for loaded, saved in draws:
        pd.testing.assert_frame_equal(loaded, saved)
