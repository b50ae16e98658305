"""AutoencoderOutlierDetector, through its public interface."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skautoenc
from skautoenc import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._data.row_keys import distinct_rows, row_keys
from skautoenc._data.rows import TrainingData
from skautoenc._model import outliers as outlier_models
from skautoenc._model.blocks import Blockwise


def make_rows(n_rows, seed=0, n_features=6):
    """Rows near a plane."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(2, n_features))
    return rng.normal(size=(n_rows, 2)) @ mixing + 0.1 * rng.normal(
        size=(n_rows, n_features)
    )


def make_frame(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    size = rng.normal(170, 10, n_rows)
    frame = pd.DataFrame(
        {
            "size": size,
            "fits": np.where(size > 175, "large", "small"),
            "weight": 0.9 * size - 90 + rng.normal(0, 2, n_rows),
        }
    )
    frame.loc[:5, "weight"] = np.nan
    return frame


@pytest.fixture(scope="module")
def detector():
    return AutoencoderOutlierDetector(random_state=0).fit(make_rows(600))


@pytest.fixture(scope="module")
def tabular():
    return AutoencoderOutlierDetector(random_state=0).fit(make_frame())


# Keys of rows


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        st.sampled_from([np.float32, np.float64, np.int64]),
        st.tuples(st.integers(1, 12), st.integers(1, 4)),
        elements=st.integers(-2, 2),
    )
)
def test_keys_are_equal_for_equal_rows_and_no_others(rows):
    keys = row_keys(rows)
    equal = (rows[:, None] == rows[None]).all(axis=2)
    assert_array_equal(keys[:, None] == keys[None], equal)
    # Neither the type nor the sign of zero has an effect.
    assert_array_equal(row_keys(rows.astype(np.float64)), keys)
    assert_array_equal(row_keys(np.where(rows == 0, -0.0, rows)), keys)


def test_keys_of_missing_values_are_equal():
    other = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)[0]
    assert len(set(row_keys(np.array([[np.nan], [other], [-np.nan]])))) == 1


def test_distinct_rows_do_not_depend_on_order_or_repetition():
    X = make_rows(50)
    counts = np.random.default_rng(0).integers(1, 4, 50)
    order = np.random.default_rng(1).permutation(counts.sum())
    repeated = distinct_rows(TrainingData(X.repeat(counts, axis=0)[order]))
    weighted = distinct_rows(TrainingData(X, counts.astype(float)))
    assert_array_equal(repeated.keys, weighted.keys)
    assert_array_equal(repeated.data.weights, weighted.data.weights)


# Scores


def test_outliers_among_training_rows_are_found():
    X = make_rows(500)
    strange = np.random.default_rng(1).normal(size=(10, 6)) * X.std(axis=0)
    both = np.vstack([X, strange])
    detector = AutoencoderOutlierDetector(random_state=0).fit(both)
    truth = np.arange(len(both)) < len(X)
    assert roc_auc_score(truth, detector.score_samples(both)) > 0.88


def test_each_part_of_the_score_tells_outliers(detector):
    X = make_rows(300, seed=1)
    broken = X.copy()
    broken[:, 0] = np.roll(X[:, 0], 1)
    both = np.vstack([X, broken])
    parts = detector._model.parts(both)
    for part, least in zip(parts.T, (0.65, 0.5, 0.8), strict=True):
        assert roc_auc_score(np.arange(600) >= 300, part) > least


@pytest.mark.parametrize("n_rows", [2, 3, 7, 40, 300])
def test_fit_predict_is_fit_and_predict(n_rows):
    X = make_rows(n_rows)
    parameters = {"random_state": 0, "contamination": 0.3}
    found = AutoencoderOutlierDetector(**parameters).fit_predict(X)
    fitted = AutoencoderOutlierDetector(**parameters).fit(X)
    assert_array_equal(found, fitted.predict(X))
    assert np.isfinite(fitted.score_samples(X)).all()


def test_training_rows_are_scored_by_members_that_have_not_seen_them(detector):
    X = make_rows(600)
    known = detector._model.parts(X)
    new = detector._model.parts(X + 1e-9)
    # For members that know a row, it is its own nearest neighbour.
    assert known[:, 2].mean() > 1.1 * new[:, 2].mean()
    # Among known rows, scores are like those of new rows.
    fresh = detector._model.parts(make_rows(600, seed=5))
    assert known[:, 2].mean() == pytest.approx(fresh[:, 2].mean(), rel=0.2)


def test_calibration_scores_are_those_of_training_rows(detector):
    scores = np.sort(detector.score_samples(make_rows(600)))
    assert_allclose(scores, detector.calibration_scores_, rtol=1e-9)


def test_score_of_a_row_is_its_own(detector):
    X = make_rows(101, seed=2)
    together = detector.score_samples(X)
    assert_array_equal(detector.score_samples(X[37:60]), together[37:60])
    assert_array_equal(detector.score_samples(X[::-1])[::-1], together)


def test_repetition_is_a_weight():
    X = make_rows(120)
    weights = np.random.default_rng(0).integers(0, 3, 120)
    order = np.random.default_rng(1).permutation(weights.sum())
    repeated = X.repeat(weights, axis=0)[order]
    first = AutoencoderOutlierDetector(random_state=0).fit(X, sample_weight=weights)
    second = AutoencoderOutlierDetector(random_state=0).fit(repeated)
    assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.offset_ == second.offset_


def test_seed_decides():
    X = make_rows(200)
    fits = [AutoencoderOutlierDetector(random_state=s).fit(X) for s in (0, 0, 1)]
    first, again, other = (fit.score_samples(X) for fit in fits)
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_units_of_columns_do_not_matter():
    X = make_rows(300)
    units = np.array([1e-3, 1.0, 10.0, 1e4, 1.0, 1.0])
    detector = AutoencoderOutlierDetector(random_state=0)
    rank = clone(detector).fit(X).score_samples(X).argsort().argsort()
    again = clone(detector).fit(X * units + 5).score_samples(X * units + 5)
    # Keys, and therefore samples, differ; ranks hardly do.
    assert np.corrcoef(rank, again.argsort().argsort())[0, 1] > 0.9


def test_constant_column():
    X = np.column_stack([make_rows(200), np.full(200, 7.1)])
    detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    strange = X[:1].copy()
    strange[0, -1] = 12
    assert detector.score_samples(strange)[0] < detector.offset_


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csc_array, np.asarray])
def test_sparse_rows(convert):
    X = make_rows(150)
    X[X < 0] = 0
    detector = AutoencoderOutlierDetector(random_state=0).fit(convert(X))
    dense = AutoencoderOutlierDetector(random_state=0).fit(X)
    assert_array_equal(detector.score_samples(convert(X)), dense.score_samples(X))
    assert detector.explain(convert(X[:3])).surprise.shape == (3, 6)


# Thresholds


def test_contamination_is_met():
    X = make_rows(300)
    for share in (0.01, 0.1, 0.5):
        detector = AutoencoderOutlierDetector(contamination=share, random_state=0)
        assert (detector.fit_predict(X) == -1).sum() == round(300 * share)


def test_false_alarms_are_as_asked():
    rates = []
    for seed in range(3):
        detector = AutoencoderOutlierDetector(random_state=seed)
        detector.fit(make_rows(1000, seed=seed))
        rates.append((detector.predict(make_rows(2000, seed=seed + 50)) == -1).mean())
    assert 0.04 < np.mean(rates) < 0.065


def test_false_alarm_rate_moves_the_threshold(detector):
    X = make_rows(600)
    strict = AutoencoderOutlierDetector(random_state=0, false_alarm_rate=0.01).fit(X)
    assert strict.offset_ < detector.offset_
    assert_array_equal(strict.score_samples(X), detector.score_samples(X))
    decision = strict.decision_function(X)
    assert_allclose(decision, strict.score_samples(X) - strict.offset_)


def test_p_values_are_uniform_for_inliers(detector):
    p = detector.p_values(make_rows(3000, seed=3))
    assert ((p > 0) & (p <= 1)).all()
    for share in (0.05, 0.1, 0.3, 0.6):
        assert (p <= share).mean() == pytest.approx(share, abs=0.05)
    far = detector.p_values(np.full((1, 6), 100.0))
    assert far[0] == pytest.approx(1 / 601)


def test_threshold_is_a_p_value(detector):
    X = make_rows(2000, seed=4)
    assert_array_equal(detector.predict(X) == -1, detector.p_values(X) <= 0.05)


def test_false_discoveries_are_few():
    detector = AutoencoderOutlierDetector(random_state=0).fit(make_rows(2000))
    shares, found = [], []
    for seed in range(5):
        strange = np.random.default_rng(seed).normal(size=(30, 6)) * 3
        X = np.vstack([make_rows(300, seed=70 + seed), strange])
        selected = detector.select_outliers(X, false_discovery_rate=0.2)
        assert selected.dtype == bool
        shares.append(selected[:300].sum() / max(selected.sum(), 1))
        found.append(selected[300:].mean())
    assert np.mean(shares) < 0.25
    assert np.mean(found) > 0.8
    assert not detector.select_outliers(make_rows(50, seed=8)).all()
    for rate in (0, 1, -0.1, np.nan):
        with pytest.raises(ValueError, match="false_discovery_rate"):
            detector.select_outliers(X, false_discovery_rate=rate)


# Costs of a fit


def test_costs_of_training_rows_are_computed_once(monkeypatch):
    guessed, trials = [], []
    guess, try_out = outlier_models.guess, Blockwise._try_out

    def count_rows(model, rows, hidden, **others):
        guessed.append(len(rows))
        return guess(model, rows, hidden, **others)

    def count_trials(self, name, *others):
        trials.append(name)
        return try_out(self, name, *others)

    monkeypatch.setattr(outlier_models, "guess", count_rows)
    monkeypatch.setattr(Blockwise, "_try_out", count_trials)
    AutoencoderOutlierDetector(random_state=0).fit(make_rows(700))
    assert sum(guessed) == 8 * 700
    # Members have the same shapes, so one of them tries sizes of blocks.
    assert trials.count("guess") == 1


# Explanations


def test_explain_names_the_cell(detector):
    X = make_rows(60, seed=6)
    broken = X.copy()
    columns = np.arange(60) % 6
    broken[np.arange(60), columns] += 4 * X.std(axis=0)[columns]
    surprise, expected = detector.explain(broken)
    assert surprise.shape == expected.shape == X.shape
    ranks = (-surprise).argsort(axis=1).argsort(axis=1)
    assert (ranks[np.arange(60), columns] < 2).mean() > 0.8
    cells = np.arange(60), columns
    error = np.abs(expected[cells] - X[cells]) / X.std(axis=0)[columns]
    assert np.median(error) < 1.5
    usual = np.median(detector.explain(X).surprise)
    assert 0.1 < usual < 2


@pytest.mark.parametrize("kind", ["numbers", "table"])
def test_explain_gives_frames_for_frames(kind):
    frame = make_frame(60).set_index(np.arange(7, 67))
    if kind == "numbers":
        frame = frame[["size"]].assign(other=make_rows(60)[:, 0])
    names = list(frame.columns)
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0)
    for other in (
        frame,
        pl.from_pandas(frame),
        pa.Table.from_pandas(frame, preserve_index=False),
    ):
        detector.fit(other)
        few = other.slice(0, 5) if hasattr(other, "slice") else other[:5]
        surprise, expected = detector.explain(few)
        assert type(surprise) is type(expected) is type(other)
        for found in (surprise, expected):
            assert getattr(found, "column_names", list(found.columns)) == names
            if hasattr(found, "index"):
                assert found.index.tolist() == list(range(7, 12))
        # Surprise has the form of what is explained.
        assert type(detector.explain(frame[:5]).surprise) is pd.DataFrame


def test_rows_without_values_among_training_rows(recwarn):
    frame = make_frame(100)
    frame.iloc[:30] = np.nan
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(frame)
    assert np.isfinite(detector.score_samples(frame)).all()
    assert not recwarn.list


# Tables


def test_tables_are_recognised(tabular):
    kinds = {type(estimator) for estimator in tabular.estimators_}
    assert kinds == {TabularAutoencoderTransformer}
    only_numbers = make_frame()[["size"]].assign(other=1.5)
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0)
    detector.fit(only_numbers)
    assert type(detector.estimators_[0]) is AutoencoderTransformer
    holed = only_numbers.astype({"other": "float"})
    holed.loc[3, "other"] = np.nan
    detector.fit(holed)
    assert type(detector.estimators_[0]) is TabularAutoencoderTransformer


def test_broken_cells_of_a_table_are_named(tabular):
    frame = make_frame(60, seed=1).dropna().reset_index(drop=True)
    broken = frame.copy()
    broken["fits"] = np.where(frame["fits"] == "large", "small", "large")
    clear = (frame["size"] - 175).abs() > 8
    before, after = tabular.score_samples(frame), tabular.score_samples(broken)
    assert (after < before)[clear].mean() > 0.95
    surprise, expected = tabular.explain(broken[clear])
    assert list(surprise.columns) == list(expected.columns) == list(frame.columns)
    assert (surprise["fits"] == surprise.max(axis=1)).mean() > 0.7
    assert (expected["fits"] == frame["fits"][clear]).mean() > 0.9
    assert expected.index.equals(surprise.index)


def test_a_new_category_costs_as_much_as_the_rarest(tabular):
    frame = make_frame(40, seed=2).dropna()
    new = frame.assign(fits="huge")
    with pytest.warns(UserWarning, match="34 of 34 values, such as 'huge'"):
        surprise = tabular.explain(new).surprise["fits"]
    for level in ("large", "small"):
        known = tabular.explain(frame.assign(fits=level)).surprise["fits"]
        assert (surprise >= known - 1e-6).all()


def test_a_row_of_a_table_is_as_surprising_as_its_worst_cell():
    rng = np.random.default_rng(0)
    frame = make_frame(600).dropna().reset_index(drop=True)
    for number in range(8):
        frame[f"code{number}"] = rng.choice(list("abcd"), len(frame))
    wrong = np.arange(len(frame)) < 12
    clear = (frame["size"] - 175).abs() > 5
    flipped = np.where(frame["fits"] == "large", "small", "large")
    frame["fits"] = np.where(wrong & clear, flipped, frame["fits"])
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(frame)
    surprise = detector._model.parts(detector._read(frame))[:, 0]
    assert roc_auc_score(wrong & clear, surprise) > 0.98
    assert_allclose(surprise, detector.explain(frame).surprise.max(axis=1), rtol=1e-5)


def test_a_row_of_a_table_is_near_to_its_twin_in_any_sample():
    frame = make_frame(300).dropna().reset_index(drop=True)
    both = pd.concat([frame, frame.assign(size=frame["size"] + 1e-3)])
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(both)
    nearest = detector._model.parts(detector._read(both))[:, 2]
    # In the mean over two unseen samples, a quarter of the rows would be.
    assert (nearest < 1e-3).mean() > 0.6


def test_a_cell_as_likely_as_the_likeliest_is_no_surprise():
    rng = np.random.default_rng(0)
    frame = make_frame(500).dropna().reset_index(drop=True)
    frame["code"] = rng.choice(list("abcdefgh"), len(frame))
    frame["kind"] = np.where(np.arange(len(frame)) % 2, "exact", "vague")
    noise = np.where(frame["kind"] == "exact", 0.05, 1.0)
    frame["measured"] = noise * rng.normal(size=len(frame))
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(frame)
    probe = frame[:60].copy()
    # Each code has a probability of 1/8, but none is less likely than the others.
    assert detector.explain(probe).surprise["code"].median() < 1
    # The same error says more where errors are small.
    probe["measured"] = 1.0
    found = detector.explain(probe).surprise["measured"].groupby(probe["kind"]).median()
    assert found["exact"] > found["vague"] + 0.5


def test_a_rare_category_is_far_from_others():
    frame = make_frame(600).dropna().reset_index(drop=True)
    rng = np.random.default_rng(0)
    frame["colour"] = rng.choice(
        ["red", "blue", "green"], len(frame), p=[0.5, 0.48, 0.02]
    )
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(frame)
    model = detector._model
    red = frame[frame["colour"] == "red"][:100]
    nearest = {
        colour: model.parts(detector._read(red.assign(colour=colour)))[:, 2]
        for colour in ("red", "blue", "green")
    }
    change = np.median(nearest["green"]) - np.median(nearest["red"])
    assert change > 0.5 * np.median(nearest["red"])
    assert np.median(nearest["blue"]) < 1.2 * np.median(nearest["red"])
    # Positions have the same variance in each direction.
    places = np.vstack([member.places for member in model.members])
    spread = (places / model._place_divisors).std(axis=0)
    assert_allclose(spread[places.std(axis=0) > 0], 1, atol=0.1)


def test_a_row_without_values_has_the_lowest_score(tabular):
    nothing = pd.DataFrame({"size": [np.nan], "fits": [None], "weight": [np.nan]})
    assert tabular.score_samples(nothing)[0] == tabular.calibration_scores_[0]
    assert tabular.predict(nothing)[0] == -1
    assert tabular.explain(nothing).surprise.isna().all(axis=None)


# Autoencoders of users


def test_images_are_explained_as_images():
    rng = np.random.default_rng(0)
    images = np.outer(np.ones(8), np.linspace(0, 1, 8)) + 0.1 * rng.normal(
        size=(200, 8, 8)
    )
    inner = ConvAutoencoderTransformer(4, max_iter=3, corruption_rate=0.1)
    detector = AutoencoderOutlierDetector(inner, n_estimators=4, random_state=0)
    detector.fit(images)
    broken = images[:5].copy()
    broken[:, 3, 4] += 5
    assert (detector.score_samples(broken) < detector.score_samples(images[:5])).all()
    surprise = detector.explain(broken).surprise
    assert surprise.shape == broken.shape
    assert (surprise.reshape(5, -1).argmax(axis=1) == 3 * 8 + 4).all()


def test_autoencoder_is_searched_over():
    X, y = make_rows(200), np.ones(200)
    y[::10] = -1
    X[::10] = np.random.default_rng(0).normal(size=(20, 6)) * 3
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderOutlierDetector(
            AutoencoderTransformer(2, max_iter=5, corruption_rate=0.3),
            n_estimators=4,
            random_state=0,
        ),
    )
    names = "autoencoderoutlierdetector__"
    grid = {f"{names}autoencoder__n_components": [1, 2], f"{names}max_samples": [50]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=2).fit(X, y)
    assert search.best_score_ > 0.9


def test_raw_losses_keep_the_columns_as_they_are():
    X = (make_rows(200) > 0).astype(float)
    inner = AutoencoderTransformer(
        2, loss="binary_cross_entropy", max_iter=3, corruption_rate=0.3
    )
    detector = AutoencoderOutlierDetector(inner, n_estimators=4).fit(X)
    assert detector.column_scale_ is None
    assert np.isfinite(detector.score_samples(X)).all()


def test_what_is_refused():
    X = make_rows(50)
    with pytest.raises(ValueError, match="does not take Blocks"):
        AutoencoderOutlierDetector().fit(Blocks([X]))
    inner = AutoencoderTransformer(checkpoint="folder")
    with pytest.raises(ValueError, match="autoencoder__checkpoint must be None"):
        AutoencoderOutlierDetector(inner).fit(X)
    with pytest.raises(ValueError, match="'autoencoder' parameter"):
        AutoencoderOutlierDetector(StandardScaler()).fit(X)
    with pytest.raises(ValueError, match=r"AutoencoderTransformer\(32\)") as raised:
        AutoencoderOutlierDetector(32).fit(X)
    # It has no such parameter.
    assert "n_components" not in str(raised.value)
    with pytest.raises(ValueError, match="max_iter"):
        AutoencoderOutlierDetector(AutoencoderTransformer(max_iter=0)).fit(X)
    table = AutoencoderOutlierDetector(
        TabularAutoencoderTransformer(), scale_columns=True
    )
    with pytest.raises(ValueError, match="scale_columns"):
        table.fit(make_frame())
    with pytest.raises(ValueError, match="too large"):
        AutoencoderOutlierDetector().fit(X * 1e200)


def test_fits_in_threads_have_the_same_bytes():
    X = make_rows(120)
    detector = AutoencoderOutlierDetector(random_state=0)
    fits = Parallel(n_jobs=2, backend="threading")(
        delayed(clone(detector).fit)(X) for _ in range(3)
    )
    alone = detector.fit(X).score_samples(X)
    for fitted in fits:
        assert_array_equal(fitted.score_samples(X), alone)


def test_onnx_is_refused(detector):
    onnx = pytest.importorskip("skautoenc.onnx")
    with pytest.raises(TypeError, match=r"cannot be exported.*its save method"):
        onnx.to_onnx(detector)


# Fitted detectors


@pytest.mark.parametrize("kind", ["matrix", "table"])
def test_pickles_and_files(kind, detector, tabular, tmp_path):
    fitted = detector if kind == "matrix" else tabular
    X = make_rows(40, seed=9) if kind == "matrix" else make_frame(40, seed=9)
    path = tmp_path / "detector.safetensors"
    fitted.save(path)
    for again in (skautoenc.load(path), pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(again.score_samples(X), fitted.score_samples(X))
        assert_array_equal(again.p_values(X), fitted.p_values(X))
        assert_array_equal(again.explain(X).surprise, fitted.explain(X).surprise)


def test_parts_that_do_not_fit_are_not_saved(tmp_path):
    fitted = AutoencoderOutlierDetector(random_state=0).fit(make_rows(60))
    fitted._places = fitted._places[:-1]
    with pytest.raises(ValueError, match="cannot be saved"):
        fitted.save(tmp_path / "detector.safetensors")


def test_a_fit_that_fails_leaves_nothing(detector):
    again = clone(detector).fit(make_rows(60))
    again.set_params(autoencoder=AutoencoderTransformer(max_iter=0))
    with pytest.raises(ValueError, match="max_iter"):
        again.fit(make_rows(60))
    assert again.__sklearn_is_fitted__() is False
