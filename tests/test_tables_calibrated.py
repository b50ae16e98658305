"""Cells that are held out, and distributions that they calibrate."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

import skautoenc
from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer
from skautoenc._data.held_out import hold_out_cells
from skautoenc._data.rows import TrainingData
from skautoenc._model import calibration

CELLS = (0, 1, 1, 2)


def make_matrix(n=3000):
    matrix = np.random.default_rng(0).integers(0, 99, (n, 4)).astype(np.float32)
    matrix[::7, 3] = np.nan
    return matrix


def test_a_tenth_of_the_cells_is_held_out_whole():
    matrix = make_matrix()
    training, held_out = hold_out_cells(TrainingData(matrix), CELLS)
    held = np.isnan(training.matrix) & ~np.isnan(matrix)
    np.testing.assert_array_equal(held[:, 1], held[:, 2])
    np.testing.assert_allclose(held[:, [0, 1]].mean(axis=0), 0.1, atol=0.02)
    given, targets = np.hsplit(held_out.matrix, 2)
    assert len(given) == held.any(axis=1).sum()
    # What is to be predicted is never given, and nothing else is to be predicted.
    assert not (~np.isnan(given) & ~np.isnan(targets)).any()
    np.testing.assert_array_equal(np.sum(~np.isnan(targets), axis=0), held.sum(axis=0))
    share = np.isnan(given).mean()
    assert 0.4 < share < 0.8


def test_weights_are_repetition_and_common_rows_lose_nothing():
    matrix = make_matrix(400)
    times = np.where(np.arange(400) % 3, 1, 4)
    repeated = hold_out_cells(TrainingData(np.repeat(matrix, times, axis=0)), CELLS)
    weighted = hold_out_cells(TrainingData(matrix, times.astype(float)), CELLS)
    expected = np.repeat(weighted[0].matrix, times, axis=0)
    np.testing.assert_array_equal(repeated[0].matrix, expected)
    np.testing.assert_array_equal(repeated[1].matrix, weighted[1].matrix)
    assert repeated[1].weights is weighted[1].weights is None
    held = np.isnan(weighted[0].matrix) & ~np.isnan(matrix)
    assert not held[times > 1].any()
    assert held[times == 1].any()


def test_a_few_distinct_rows_lose_nothing():
    matrix = np.repeat(make_matrix(49), 20, axis=0)
    training, held_out = hold_out_cells(TrainingData(matrix), CELLS)
    assert held_out is None
    np.testing.assert_array_equal(training.matrix, matrix)


def test_the_order_of_rows_does_not_matter_and_many_rows_are_kept():
    matrix = make_matrix(500) + np.arange(500, dtype=np.float32)[:, None]
    first, _ = hold_out_cells(TrainingData(matrix), CELLS)
    again, _ = hold_out_cells(TrainingData(matrix[::-1]), CELLS)
    np.testing.assert_array_equal(first.matrix, again.matrix[::-1])
    large = np.random.default_rng(0).normal(size=(40_000, 4)).astype(np.float32)
    _, held_out = hold_out_cells(TrainingData(large), CELLS)
    assert len(held_out) < 4000


@pytest.fixture(scope="module")
def noisy():
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(900, 2))
    mixed = hidden @ draw.normal(size=(2, 8)) + draw.normal(size=(900, 8))
    frame = pd.DataFrame(mixed, columns=list("abcdefgh"))
    frame["word"] = np.where(mixed[:, 0] + draw.normal(size=900) > 0, "yes", "no")
    return frame.iloc[:300], frame.iloc[300:]


def share_covered(transformer, rows):
    imputer = AutoencoderImputer(FrozenEstimator(transformer)).fit(rows)
    draws = imputer.draw(rows.assign(b=np.nan), 40, random_state=0)
    low, high = np.quantile([each["b"] for each in draws], [0.05, 0.95], axis=0)
    return float(np.mean((rows["b"] >= low) & (rows["b"] <= high)))


def test_intervals_of_an_overfitted_network_hold_what_they_say(noisy, monkeypatch):
    train, test = noisy
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", dropout=0.0, max_iter=150, random_state=0
    )
    covered = share_covered(transformer.fit(train), test)
    assert 0.84 < covered < 0.96
    monkeypatch.setattr(calibration, "_TEMPERATURES", np.ones(1))
    assert share_covered(transformer.fit(train), test) < covered - 0.03


def test_temperatures_do_not_change_the_numbers_that_are_filled_in(noisy, monkeypatch):
    train, test = noisy
    holed = test.assign(b=np.nan, word=None)
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", hidden_layer_sizes=(32,), max_iter=40
    ).set_params(random_state=0)
    filled = transformer.fit(train).impute(holed)
    monkeypatch.setattr(calibration, "_TEMPERATURES", np.ones(1))
    again = transformer.fit(train).impute(holed)
    assert (filled["word"] == again["word"]).mean() > 0.95
    np.testing.assert_allclose(filled["b"], again["b"], rtol=1e-4, atol=1e-5)


def test_new_rows_are_drawn_without_temperatures(noisy, monkeypatch, tmp_path):
    # Wide distributions would make columns less dependent.
    train, _ = noisy
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", hidden_layer_sizes=(32,), max_iter=40
    ).set_params(random_state=0, dropout=0.0)
    transformer.fit(train)
    rows = transformer.sample(500, random_state=0)
    imputed = draw_b(transformer, train)
    monkeypatch.setattr(calibration, "_TEMPERATURES", np.full(1, 3.0))
    transformer.fit(train)
    transformer.save(tmp_path / "file")
    again = skautoenc.load(tmp_path / "file").sample(500, random_state=0)
    assert (np.isclose(rows["b"], again["b"])).mean() > 0.9
    assert (rows["word"] == again["word"]).mean() > 0.9
    assert np.isclose(imputed, draw_b(transformer, train)).mean() < 0.75


def draw_b(transformer, rows):
    imputer = AutoencoderImputer(FrozenEstimator(transformer), random_state=0)
    return imputer.fit(rows).draw(rows.assign(b=np.nan), 1)[0]["b"]


def test_early_stopping_calibrates_by_the_rows_that_are_held_out(noisy):
    train, test = noisy
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", early_stopping=True, max_iter=60, random_state=0
    ).fit(train)
    assert len(transformer.validation_scores_) == transformer.n_iter_
    assert 0.8 < share_covered(transformer, test) < 0.97


# Log-likelihoods of cells


@pytest.fixture(scope="module")
def fitted(noisy):
    return TabularAutoencoderTransformer(
        number_output="distribution", max_iter=60, random_state=0
    ).fit(noisy[0])


def test_cells_are_likelier_given_their_own_row(noisy, fitted):
    _, test = noisy
    nats = fitted.cell_log_likelihood(test)
    assert nats.shape == test.shape
    assert (nats <= 0).all()
    mixed = test.copy()
    mixed["b"] = test["b"].sample(frac=1, random_state=0).to_numpy()
    swapped = fitted.cell_log_likelihood(mixed)
    assert swapped[:, 1].mean() < nats[:, 1].mean() - 0.2
    # Better than a column alone, whose bins have equal shares.
    n_bins = fitted._model.side.table.layout.n_bins[1]
    assert nats[:, 1].mean() > -np.log(n_bins)


def test_a_cell_is_not_known_when_its_own_likelihood_is_told(noisy, fitted):
    train, test = noisy
    words = [test.assign(word=word) for word in ("yes", "no")]
    nats = [fitted.cell_log_likelihood(each)[:, -1] for each in words]
    np.testing.assert_allclose(np.exp(nats).sum(axis=0), 1, rtol=1e-5)
    values = np.linspace(train["b"].min(), train["b"].max(), 2000)
    row = test.iloc[[0] * len(values)].assign(b=values)
    likelihoods = np.unique(fitted.cell_log_likelihood(row)[:, 1].round(4))
    assert np.exp(likelihoods).sum() < 1.001


def test_missing_unknown_and_far_cells(noisy, fitted):
    _, test = noisy
    row = test.iloc[[0, 0, 0, 0]].copy()
    row.iloc[1, 1] = np.nan
    row.iloc[2, 1] = 100.0
    row.iloc[3, -1] = "perhaps"
    nats = fitted.cell_log_likelihood(row)
    assert np.isnan(nats[1, 1])
    assert np.isfinite(np.delete(nats[1], 1)).all()
    assert nats[2, 1] < -20
    assert nats[3, -1] == pytest.approx(
        min(
            fitted.cell_log_likelihood(row.iloc[[0]].assign(word=w))[0, -1]
            for w in ("yes", "no")
        ),
        rel=1e-4,
    )
    alone = fitted.cell_log_likelihood(test.iloc[[3]])
    np.testing.assert_array_equal(alone, fitted.cell_log_likelihood(test)[[3]])


def test_means_alone_have_no_likelihoods(noisy):
    transformer = TabularAutoencoderTransformer(max_iter=1).fit(noisy[0])
    assert not hasattr(transformer, "cell_log_likelihood")
