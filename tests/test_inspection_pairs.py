"""Margins and pairs of real and drawn rows."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from skautoenc import TabularAutoencoderTransformer
from skautoenc.inspection import PairsDisplay

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def agg_backend():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    z = np.random.default_rng(0).normal(size=200)
    frame = pd.DataFrame(
        {
            "size": z,
            "fits": np.where(z > 0, "L", "S"),
            "day": pd.Timestamp("2025") + pd.to_timedelta((9 * z).round(), unit="D"),
            "flag": z > 1,
            "price": [Decimal(int(100 * each)) / 100 for each in z],
            "other": z,
        }
    )
    return frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)


@pytest.fixture(scope="module")
def fitted(frame):
    return TabularAutoencoderTransformer(
        2,
        hidden_layer_sizes=(8,),
        number_output="distribution",
        max_iter=5,
        random_state=0,
    ).fit(frame)


def test_margins_are_shares_and_pairs_are_rows(frame, fitted):
    display = PairsDisplay.from_estimator(fitted, frame, random_state=0)
    assert display.axes_.shape == display.artists_.shape == (5, 5)
    drawn = fitted.sample(200, random_state=0)
    pd.testing.assert_frame_equal(display.drawn, drawn)
    for artist in display.artists_[0, 0]:
        assert artist.get_data().values.sum() == pytest.approx(1)
    for container, rows in zip(display.artists_[1, 1], (frame, drawn), strict=True):
        shares = rows["fits"].value_counts(normalize=True)
        levels = frame["fits"].value_counts().index
        heights = [bar.get_height() for bar in container]
        np.testing.assert_allclose(heights, shares[levels])
    # Below the diagonal real rows, above it drawn ones.
    np.testing.assert_array_equal(display.artists_[4, 0].get_xdata(), frame["size"])
    np.testing.assert_array_equal(display.artists_[0, 4].get_ydata(), drawn["size"])
    prices = display.artists_[0, 4].get_xdata()
    np.testing.assert_array_equal(prices, drawn["price"].astype(float))
    near = display.artists_[1, 0].get_ydata()
    codes = frame["fits"].map({level: n for n, level in enumerate(levels)})
    seen = codes.notna()
    np.testing.assert_allclose(near[seen], codes[seen].astype(float), atol=0.31)
    assert np.isnan(near[~seen]).all()
    names = [tile.get_ylabel() for tile in display.axes_[:, 0]]
    assert names == [tile.get_xlabel() for tile in display.axes_[-1]]
    assert names == [*frame.columns[:5]]


@pytest.mark.parametrize(
    "convert", [pl.from_pandas, lambda f: f, lambda f: f.to_numpy()]
)
def test_any_rows_may_be_compared(frame, convert):
    rows = convert(frame[["size", "fits"]])
    display = PairsDisplay(rows, rows[:20], columns=[1, 0]).plot()
    assert display.axes_.shape == (2, 2)
    assert len(display.artists_[1, 0].get_xdata()) == 200
    assert len(display.artists_[0, 1].get_xdata()) == 20


def test_conditions_and_columns_are_passed_on(frame, fitted):
    _, ax = plt.subplots()
    display = PairsDisplay.from_estimator(
        fitted,
        frame,
        columns=["other", "fits"],
        conditions={"fits": "L"},
        n_samples=30,
        random_state=0,
        ax=ax,
    )
    assert display.ax_ is ax
    assert len(display.drawn) == 30
    assert set(display.drawn["fits"]) == {"L"}
    given = pd.DataFrame({"fits": ["L", "S"]})
    display = PairsDisplay.from_estimator(fitted, frame, conditions=given)
    assert list(display.drawn["fits"]) == ["L", "S"]


def test_columns_without_values_are_drawn():
    frame = pd.DataFrame({"a": [np.nan] * 9, "b": [1.0] * 9, "c": [None] * 9})
    display = PairsDisplay(frame, frame).plot()
    display.figure_.canvas.draw()
    assert display.axes_.shape == (3, 3)


def test_pairs_display_explains_what_it_needs(frame, fitted):
    with pytest.raises(ValueError, match="must have the same columns"):
        PairsDisplay(frame, frame[["size"]]).plot()
    with pytest.raises(ValueError, match="columns has 'weight', which is none"):
        PairsDisplay(frame, frame, columns=["weight"]).plot()
    with pytest.raises(TypeError, match="expects a TabularAutoencoderTransformer"):
        PairsDisplay.from_estimator(PCA(1).fit(np.eye(3)), np.eye(3))
    means = TabularAutoencoderTransformer(2, max_iter=1).fit(frame)
    with pytest.raises(TypeError, match="number_output='distribution'"):
        PairsDisplay.from_estimator(means, frame)
    with pytest.raises(NotFittedError):
        PairsDisplay.from_estimator(TabularAutoencoderTransformer(), frame)
    with pytest.raises(ValueError, match="n_samples"):
        PairsDisplay.from_estimator(fitted, frame, n_samples=0)


def test_names_of_categories_beside_each_other_are_slanted():
    rows = pd.DataFrame({name: ["Gentoo", "Chinstrap"] * 5 for name in "abcd"})
    display = PairsDisplay(rows, rows).plot()
    across, upwards = display.axes_[3, 0].xaxis, display.axes_[1, 0].yaxis
    for axis, slant in ((across, 30), (upwards, 0)):
        labels = axis.get_ticklabels()
        assert {label.get_text() for label in labels} == {"Gentoo", "Chinstrap"}
        assert {label.get_rotation() for label in labels} == {slant}
