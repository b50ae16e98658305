"""`features="spread"`: the cells of a table beside the network's activations."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skautoenc import Blocks, TabularAutoencoderTransformer, load

N = 400


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    days = pd.to_timedelta(rng.integers(0, 900, N), unit="D")
    frame = pd.DataFrame(
        {
            "size": rng.normal(170, 10, N),
            "kind": rng.choice(["a", "b", "c", "d"], N, p=[0.5, 0.3, 0.18, 0.02]),
            "paid": np.where(rng.random(N) < 0.6, 0, rng.exponential(size=N)),
            "day": pd.Timestamp("2024-01-01") + days,
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::9, "kind"] = None
    return frame


def make(**parameters):
    parameters = {"max_iter": 3, "random_state": 0, **parameters}
    return TabularAutoencoderTransformer(4, min_frequency=0.05, **parameters)


@pytest.fixture(scope="module")
def fitted(frame):
    return make(features="spread").fit(frame)


@pytest.fixture(scope="module")
def table(fitted, frame):
    names = fitted.get_feature_names_out()
    return pd.DataFrame(fitted.transform(frame), columns=names)


def test_activations_are_those_of_the_stack(frame, fitted, table):
    stack = make().fit(frame)
    activations = stack.transform(frame)
    width = activations.shape[1]
    np.testing.assert_array_equal(table.to_numpy()[:, -width:], activations)
    assert list(table)[-width:] == list(stack.get_feature_names_out())
    assert fitted.features_scale_ == stack.features_scale_
    decoded = stack.inverse_transform(activations)
    for codes in (table, activations[:, -4:]):
        found = fitted.inverse_transform(np.asarray(codes))
        pd.testing.assert_frame_equal(found, decoded)


def test_numbers_are_scaled(frame, table):
    size = frame["size"]
    scaled = (size - size.mean()) / size.std(ddof=0)
    np.testing.assert_allclose(table["size"], scaled.fillna(0), atol=1e-5)
    np.testing.assert_array_equal(table["size_missing"], size.isna())
    assert not table["paid_missing"].any()


def test_bins_fill_between_quantiles(frame, fitted, table):
    bins = table[[f"size_bin{n}" for n in range(16)]].to_numpy()
    size = frame["size"].dropna()
    edges = np.quantile(size, np.linspace(0, 1, 17), method="inverted_cdf")
    n_filled = bins[size.index].sum(axis=1)
    np.testing.assert_allclose(
        n_filled, np.interp(size, edges, np.arange(17)), atol=1e-3
    )
    assert ((bins[:, :-1] == 1) | (bins[:, 1:] == 0)).all()
    # Outside of the range only the number itself goes on.
    rows = frame[:3].assign(size=[size.max(), size.max() + 100, size.min() - 100])
    found = fitted.transform(rows)[:, [list(table).index("size_bin15"), 0]]
    np.testing.assert_allclose(found[:, 0], [1, 1, 0], atol=1e-6)
    assert found[1, 1] > found[0, 1] + 5
    assert found[2, 1] < -5


def test_bins_of_a_frequent_value_are_left_out(table):
    bins = [name for name in table if name.startswith("paid_bin")]
    assert 5 < len(bins) < 10
    values = table[bins].to_numpy()
    assert (values.std(axis=0) > 0).all()
    assert len(np.unique(values, axis=1).T) == len(bins)


def test_categories_are_one_hot(frame, fitted, table):
    kinds = frame["kind"]
    for kind in "abc":
        np.testing.assert_array_equal(table[f"kind_{kind}"], kinds == kind)
    np.testing.assert_array_equal(table["kind_infrequent"], kinds == "d")
    np.testing.assert_array_equal(table["kind_missing"], kinds.isna())
    rows = frame[:1].assign(kind="new")
    found = pd.Series(fitted.transform(rows)[0], index=list(table))
    assert found[[f"kind_{kind}" for kind in "abc"]].sum() == 0
    assert found["kind_infrequent"] == 1


def test_dates_have_circles(table):
    for name in ("day", "day_missing", "day_bin0", "day_year_sin", "day_week_cos"):
        assert name in table
    circle = table[["day_year_sin", "day_year_cos"]].to_numpy()
    np.testing.assert_allclose((circle**2).sum(axis=1), 1, atol=1e-5)


def test_names_are_unique(frame):
    columns = ["size", "size_missing", "kind", "kind_a"]
    odd = pd.DataFrame(
        {
            "size": frame["size"],
            "size_missing": frame["size"],
            "kind": frame["kind"],
            "kind_a": frame["paid"],
        }
    )[columns]
    estimator = make(features="spread", max_iter=1)
    found = estimator.set_output(transform="polars").fit_transform(odd)
    assert isinstance(found, pl.DataFrame)
    assert len(set(found.columns)) == found.shape[1]


def test_arrays(frame):
    X = frame[["size", "paid"]].to_numpy()
    estimator = make(features="spread", max_iter=1).fit(X)
    names = list(estimator.get_feature_names_out())
    assert estimator.transform(X).shape == (N, len(names))
    assert len(set(names)) == len(names)


def test_single_rows(frame, fitted, table):
    for row in (0, 7, N - 1):
        found = fitted.transform(frame[row : row + 1])
        np.testing.assert_array_equal(found[0], table.to_numpy()[row])


def test_files(frame, fitted, table, tmp_path):
    fitted.save(tmp_path / "table.skautoenc")
    for same in (
        load(tmp_path / "table.skautoenc"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        np.testing.assert_array_equal(same.transform(frame), table.to_numpy())
        assert list(same.get_feature_names_out()) == list(table)


def test_no_file_has_features_that_its_network_lacks(frame, tmp_path):
    forged = make(max_iter=1).fit(frame)
    forged.features_ = "spread"
    with pytest.raises(ValueError, match="features_ does not fit"):
        forged.save(tmp_path / "forged.skautoenc")


def test_blocks_give_the_same_bytes(frame, table):
    blocks = Blocks([frame[:150], frame[150:]])
    found = make(features="spread").fit(blocks).transform(frame)
    np.testing.assert_array_equal(found, table.to_numpy())


def test_parts_keep_the_columns_of_the_first(frame):
    estimator = make(features="spread").partial_fit(frame[:200])
    names = list(estimator.get_feature_names_out())
    cells = [name for name in names if not name.startswith("tabular")]
    before = estimator.transform(frame)[:, : len(cells)]
    estimator.partial_fit(frame[200:])
    assert list(estimator.get_feature_names_out()) == names
    np.testing.assert_array_equal(estimator.transform(frame)[:, : len(cells)], before)


def test_rows_of_weight_two_are_two_rows(frame):
    weights = np.where(np.arange(100) < 50, 2, 1)
    repeated = pd.concat([frame[:100], frame[:50]])
    estimator = make(features="spread", batch_size=1000, dropout=0, corruption_rate=0)
    weighted = clone(estimator).fit(frame[:100], sample_weight=weights)
    twice = estimator.fit(repeated)
    assert list(weighted.get_feature_names_out()) == list(twice.get_feature_names_out())
    np.testing.assert_allclose(
        weighted.transform(frame), twice.transform(frame), atol=1e-3
    )


def test_other_features_need_a_new_fit(frame):
    estimator = make(warm_start=True, max_iter=1).fit(frame)
    with pytest.raises(ValueError, match="warm_start=False"):
        estimator.set_params(features="spread").fit(frame)


def test_a_linear_model_needs_no_other_columns(frame):
    y = np.sin(frame["size"].fillna(170) / 3) + (frame["kind"] == "b")
    scores = {
        features: cross_val_score(
            make_pipeline(make(features=features), Ridge()), frame, y, cv=3
        ).mean()
        for features in ("stack", "spread")
    }
    assert scores["spread"] > scores["stack"] + 0.1
