"""Margins of new rows: those of the training rows, and draws that are stratified."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

import skautoenc
from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer
from skautoenc._model import calibration, margins
from skautoenc._networks.tabular import TabularAutoencoder

N_ROWS = 600


def make_frame():
    draw = np.random.default_rng(0)
    size = draw.normal(size=N_ROWS)
    return pd.DataFrame(
        {
            "size": size,
            "weight": size + 0.5 * draw.normal(size=N_ROWS),
            "price": draw.exponential(size=N_ROWS),
            "word": draw.choice(["a", "b", "c"], N_ROWS, p=[0.7, 0.2, 0.1]),
        }
    )


def make_transformer(**parameters):
    return TabularAutoencoderTransformer(
        number_output="distribution",
        hidden_layer_sizes=(32,),
        random_state=0,
        **{"max_iter": 20, **parameters},
    )


def without_shifts(model, rows):
    return [0.0] * len(margins.margin_shifts(model, rows))


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module")
def fitted(frame):
    return make_transformer().fit(frame)


def distances(rows, frame):
    """Return the largest difference of the distribution functions of each column."""
    found = []
    for name in frame:
        levels = np.sort(frame[name].unique())
        known, drawn = (
            np.searchsorted(np.sort(each[name]), levels, side="right") / len(each)
            for each in (frame, rows)
        )
        found.append(np.abs(known - drawn).max())
    return np.array(found)


def test_new_rows_have_the_margins_of_fit_after_few_epochs(frame, monkeypatch):
    transformer = make_transformer(max_iter=1).fit(frame)
    corrected = distances(transformer.sample(4000, random_state=0), frame)
    assert corrected.max() < 0.05
    monkeypatch.setattr(calibration, "margin_shifts", without_shifts)
    plain = transformer.fit(frame).sample(4000, random_state=0)
    assert distances(plain, frame).max() > 0.1


def test_margins_vary_less_than_those_of_independent_rows(frame, fitted):
    means = [fitted.sample(100, random_state=seed)["size"].mean() for seed in range(20)]
    # Of independent rows it is 0.1.
    assert np.std(means) < 0.06
    assert np.mean(means) == pytest.approx(frame["size"].mean(), abs=0.05)


def test_each_new_row_is_a_draw_by_itself(frame, fitted):
    rows = [fitted.sample(2, random_state=seed).iloc[0] for seed in range(200)]
    rows = pd.DataFrame(rows).reset_index(drop=True)
    assert (distances(rows, frame) < 1.6 / np.sqrt(200)).all()


def test_margins_are_those_of_complete_rows():
    # Half of the weights are missing: those of large sizes.
    frame = make_frame()
    known = frame["weight"].where(frame["size"] < 0)
    fitted = make_transformer(max_iter=60).fit(frame.assign(weight=known))
    drawn = fitted.sample(2000, random_state=0)["weight"]
    assert known.mean() < -0.6
    assert drawn.mean() > known.mean() + 0.1


def test_rows_of_more_weight_count_more(frame):
    weights = np.where(frame["word"] == "c", 5.0, 1.0)
    fitted = make_transformer(max_iter=3).fit(frame, sample_weight=weights)
    drawn = fitted.sample(2000, random_state=0)["word"]
    expected = weights[frame["word"] == "c"].sum() / weights.sum()
    assert (drawn == "c").mean() == pytest.approx(expected, abs=0.05)


def test_categories_alone_have_margins_too(frame):
    words = pd.DataFrame({"one": frame["word"], "two": frame["word"].str.upper()})
    fitted = make_transformer(max_iter=2).fit(words)
    drawn = fitted.sample(1000, random_state=0)
    for name in words:
        shares = [each[name].value_counts(normalize=True) for each in (words, drawn)]
        assert (shares[0] - shares[1]).abs().max() < 0.03


def test_files_keep_the_margins(frame, fitted, tmp_path):
    fitted.save(tmp_path / "file")
    again = skautoenc.load(tmp_path / "file")
    rows = fitted.sample(50, random_state=0)
    pd.testing.assert_frame_equal(rows, again.sample(50, random_state=0))
    del again._model.network.config["shifts"]
    assert not rows.equals(again.sample(50, random_state=0))


def test_only_new_rows_are_corrected(frame, fitted, monkeypatch):
    holed = frame.assign(weight=np.nan, word=None)
    monkeypatch.setattr(calibration, "margin_shifts", without_shifts)
    plain = make_transformer().fit(frame)
    np.testing.assert_array_equal(plain.transform(frame), fitted.transform(frame))
    pd.testing.assert_frame_equal(plain.impute(holed), fitted.impute(holed))
    draws = [
        AutoencoderImputer(FrozenEstimator(each), random_state=0).fit(holed).draw(holed)
        for each in (plain, fitted)
    ]
    for one, other in zip(*draws, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_parts_are_not_compared_with_margins(frame):
    transformer = make_transformer()
    transformer.partial_fit(frame[:300]).partial_fit(frame[300:])
    assert "shifts" not in transformer._model.network.config
    assert len(transformer.sample(5)) == 5


@pytest.mark.parametrize("shifts", [(0.5,), (float("nan"),) * 99])
def test_shifts_that_fit_no_network_are_refused(fitted, shifts):
    config = fitted._model.network.config
    shifts = shifts[: len(config["shifts"])] if len(shifts) > 1 else shifts
    with pytest.raises(ValueError, match="each logit has a shift"):
        TabularAutoencoder(**{**config, "shifts": shifts})


def test_large_tables_are_corrected_by_some_of_their_rows(monkeypatch):
    seen = []
    draw = margins.Draw

    def counted(model, matrix, *arguments, **options):
        seen.append(matrix.shape)
        return draw(model, matrix, *arguments, **options)

    monkeypatch.setattr(margins, "Draw", counted)
    wide = np.random.default_rng(0).integers(0, 3, (1000, 48)).astype(float)
    make_transformer(max_iter=1).fit(wide)
    ((n_rows, n_columns),) = seen
    assert n_columns == 48
    assert n_rows * n_columns < 1.1 * margins._MOST_CELLS
