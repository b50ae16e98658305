"""How rare values are among those of their column."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skautoenc import AutoencoderOutlierDetector
from skautoenc._model.rarity import (
    learn_cell_tails,
    learn_part_tail,
    rarity_of_cells,
    rarity_of_parts,
)


@pytest.fixture
def exponential():
    return np.random.default_rng(0).exponential(size=4000)


def test_rarity_is_minus_the_log_of_the_share(exponential):
    values = exponential[:, None]
    tails = learn_cell_tails(values, None)
    for share, tolerance in ((0.5, 0.1), (0.1, 0.02), (0.01, 0.2), (0.001, 0.5)):
        at = np.quantile(values, 1 - share, axis=0)[None]
        assert_allclose(rarity_of_cells(at, tails), -np.log(share), atol=tolerance)
    # Beyond all values, rarity goes on at the same rate.
    assert_allclose(rarity_of_cells(np.full((1, 1), 30.0), tails), 30, rtol=0.1)


def test_rarity_is_relative_to_the_column(exponential):
    values = np.column_stack([exponential, 7 * exponential, exponential**2])
    tails = learn_cell_tails(values, None)
    # Units do not matter, and the same error is less rare in a column with a long tail.
    found = rarity_of_cells(np.array([[20.0, 140.0, 20.0]]), tails)[0]
    assert_allclose(found[0], found[1], rtol=0.25)
    assert found[2] < found[0] / 2


def test_rarity_of_parts(exponential):
    parts = 5 + 3 * exponential
    center, scale, tail = learn_part_tail(parts, None)
    shares = np.array([0.5, 0.25, 0.1, 0.01, 0.001])
    at = (np.quantile(parts, 1 - shares)[:, None] - center) / scale
    found = rarity_of_parts(at, np.array([tail]))[:, 0]
    assert_allclose(found, -np.log(shares), atol=0.4)
    # Values below the median are told apart, too.
    below = rarity_of_parts(np.linspace(-30, 1, 20)[:, None], np.array([tail]))[:, 0]
    assert (np.diff(below) > 0).all()
    assert (below > 0).all()
    assert rarity_of_parts(np.array([[np.inf]]), np.array([tail]))[0, 0] == np.inf


def test_weights_count_as_repetition(exponential):
    values = exponential[:400].reshape(200, 2)
    values[3, 0] = np.nan
    weights = np.where(values[:, 1] > 1, 5, 1)
    repeated = np.repeat(values, weights, axis=0)
    expected = learn_cell_tails(repeated, None)
    found = learn_cell_tails(values, weights.astype(float))
    assert_allclose(found, expected, rtol=0.1)
    assert found[0, 1] > 1.2 * learn_cell_tails(values, None)[0, 1]
    expected = learn_part_tail(repeated[:, 1], None)
    found = learn_part_tail(values[:, 1], weights.astype(float))
    assert_allclose(found, expected, rtol=0.1)


def test_columns_that_say_nothing():
    values = np.column_stack([np.zeros(50), np.full(50, np.nan), np.arange(50.0)])
    tails = learn_cell_tails(values, None)
    assert (tails > 0).all()
    found = rarity_of_cells(np.array([[0.0, 1.0, 1.0], [3.0, np.nan, np.nan]]), tails)
    assert found[0, 0] == 0
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1, 1:]).all()
    # Where all values were as expected, one that is not is rare, but not without bound.
    assert 3 < found[1, 0] < 30
    assert (learn_cell_tails(values[:, :2], None) > 0).all()
    for parts in (np.zeros(5), np.full(5, np.inf), np.ones(1)):
        center, scale, tail = learn_part_tail(parts, None)
        assert np.isfinite(center)
        assert scale > 0
        assert tail > 0


def test_a_column_with_many_strange_values_does_not_hide_the_errors_of_others():
    rng = np.random.default_rng(0)
    size = rng.normal(170, 10, 600)
    frame = pd.DataFrame(
        {
            "group": rng.choice(["a", "b"], 600),
            "size": size,
            "weight": 0.9 * size - 90 + rng.normal(0, 2, 600),
            "arm": 0.4 * size + rng.normal(0, 1, 600),
            "assets": 1000 * np.exp(3 * rng.standard_t(3, 600)),
        }
    )
    wrong = np.arange(12)
    frame.loc[wrong, "weight"] += 40
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(frame)
    strangest = detector.score_samples(frame).argsort()[:12]
    assert np.isin(strangest, wrong).mean() > 0.65
    surprise = detector.explain(frame.iloc[wrong]).surprise
    assert (surprise.idxmax(axis=1) == "weight").mean() > 0.9
