"""Displays of frames have the names of columns, and take categories."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skautoenc import AutoencoderTransformer, TabularAutoencoderTransformer
from skautoenc.inspection import FilterDisplay, ReconstructionDisplay

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    size = rng.normal(size=40)
    size[6] = np.nan
    return pd.DataFrame(
        {
            "size": size,
            "town": np.where(size > 0, "Bern", "Rome"),
            "day": pd.Timestamp("2024") + pd.to_timedelta(np.arange(40), unit="D"),
            "open": size > 0,
        }
    )


LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
    "categories": lambda frame: frame.astype({"town": "category"}),
}


@pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)
def test_mixed_frames_are_tables(convert, mixed):
    X = convert(mixed)
    fitted = TabularAutoencoderTransformer(2, max_iter=5, random_state=0).fit(X)
    display = ReconstructionDisplay.from_estimator(fitted, X, n_images=8)
    assert display.artists_.shape == (8, 4)
    names = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert names == ["size", "town", "day", "open"]
    back = fitted.inverse_transform(fitted.transform(X))
    town = list(back["town"])
    upper, lower = display.artists_[0, 1].get_text().split("\n")
    assert (upper, lower) == (mixed["town"][0], str(town[0]))
    assert display.artists_[1, 0].get_text().startswith("missing\n")
    assert display.artists_[0, 2].get_text().startswith("2024-01-01\n")


def test_cells_are_dark_where_they_are_wrong():
    rows = pd.DataFrame({"a": [0.0, 2.0, 4.0], "b": ["x", "y", None]})
    again = pd.DataFrame({"a": [0.0, 2.0, 8.0], "b": ["x", "x", "x"]})
    display = ReconstructionDisplay(rows, again).plot()
    image = display.ax_.get_images()[0].get_array()
    assert image[:, 1].tolist() == [0, 2, 0]
    assert image[:2, 0].tolist() == [0, 0]
    assert image[2, 0] > 2


@pytest.mark.parametrize("n_columns", [5, 16])
def test_frames_of_few_numbers_are_tables_and_bars(n_columns):
    rng = np.random.default_rng(0)
    names = [f"column {n}" for n in range(n_columns)]
    X = pd.DataFrame(rng.normal(size=(30, n_columns)), columns=names)
    fitted = AutoencoderTransformer(24, max_iter=2, random_state=0).fit(X)
    display = ReconstructionDisplay.from_estimator(fitted, X)
    assert display.artists_.shape == (10, n_columns)
    filters = FilterDisplay.from_estimator(fitted, X, n_filters=5)
    assert [len(bars) for bars in filters.artists_] == [n_columns] * 5
    labels = [text.get_text() for text in filters.axes_[0].get_yticklabels()]
    assert labels == names
    assert filters.axes_[1].get_yticklabels() == []
    widths = [bar.get_width() for bar in filters.artists_[2]]
    np.testing.assert_allclose(widths, filters.filters[2])
    # Whoever names a shape gets images.
    drawn = ReconstructionDisplay.from_estimator(fitted, X, image_shape=(1, n_columns))
    assert drawn.artists_.shape == (2, 10)


def test_wide_frames_of_numbers_are_images_and_of_categories_their_worst_columns():
    pixels = pd.DataFrame(np.eye(64)).add_prefix("pixel")
    assert ReconstructionDisplay(pixels, pixels).plot().artists_.shape == (2, 64)
    texts = pd.DataFrame({f"c{n}": ["a", "b"] for n in range(30)})
    other = texts.assign(c29=["a", "a"])
    display = ReconstructionDisplay(texts, other).plot()
    names = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert len(names) == 20
    assert names[-1] == "c29"


def test_arrays_with_categories_are_tables():
    X = np.array([[1.0, "a"], [2.0, "b"]] * 10, dtype=object)
    fitted = TabularAutoencoderTransformer(
        2, categorical_features=[1], max_iter=2, random_state=0
    ).fit(X)
    display = ReconstructionDisplay.from_estimator(fitted, X, n_images=2)
    assert display.artists_.shape == (2, 2)
    assert display.ax_.get_xticklabels()[1].get_text() == "1"


def test_names_are_as_many_as_columns():
    with pytest.raises(ValueError, match="2 names for 3 columns"):
        FilterDisplay(np.eye(3), feature_names=["a", "b"]).plot()
