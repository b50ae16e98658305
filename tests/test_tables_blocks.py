"""Tables that are read in blocks: as one frame of all rows, or close to it."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.special import ndtr
from sklearn.base import clone
from torch.utils.data import DataLoader, TensorDataset

from skautoenc import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    Blocks,
    TabularAutoencoderTransformer,
)
from skautoenc._data.frames import Columns
from skautoenc._data.held_out_stream import hold_out_of_stream
from skautoenc._data.rows import TrainingData
from skautoenc._data.streamed import StreamedMatrix
from skautoenc._persistence.saving import _dump

N = 600


def make_frame(n=N):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "b": rng.integers(0, 9, n),
            "c": rng.choice([*"xyz"], n),
            "d": pd.Timestamp("2024")
            + pd.to_timedelta(rng.integers(0, 9000, n), unit="h"),
            "e": rng.random(n) > 0.5,
        }
    )
    frame.loc[::7, "a"] = np.nan
    frame.loc[::5, "c"] = None
    return frame


def cut(X):
    """Cut rows into blocks of several sizes, one of them empty."""
    bounds = [0, 150, 151, 151, 400, len(X)]
    return [X[start:end] for start, end in pairwise(bounds)]


@pytest.fixture
def quick():
    return TabularAutoencoderTransformer(
        4, hidden_layer_sizes=(8,), max_iter=2, random_state=0
    )


def same(one, other):
    """Whether the files of two estimators are equal, byte for byte."""
    return bytes(_dump(one)) == bytes(_dump(other))


LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "array": lambda frame: frame[["a", "b"]].to_numpy(),
    "objects": lambda frame: frame.astype(object).where(frame.notna(), None),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"number_output": "distribution"},
        {"early_stopping": True, "scaling": "quantile", "min_frequency": 0.3},
        {"batch_size": 1000},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_buffer_of_all_rows_gives_the_bytes_of_a_frame(
    quick, library, parameters, is_weighted
):
    X = LIBRARIES[library](make_frame())
    weights = np.arange(N) % 3 if is_weighted else None
    quick.set_params(**parameters)
    whole = clone(quick).fit(X, sample_weight=weights)
    parts = clone(quick).fit(Blocks(cut(X)), sample_weight=weights)
    assert same(whole, parts)


@pytest.mark.parametrize("buffer_size", [1, 250])
def test_without_shuffling_any_buffer_gives_the_bytes_of_a_frame(quick, buffer_size):
    frame = make_frame()
    quick.set_params(shuffle=False)
    parts = clone(quick).fit(Blocks(cut(frame), buffer_size=buffer_size))
    assert same(quick.fit(frame), parts)


def test_parts_go_on_from_blocks(quick):
    frame = make_frame()
    whole, parts = clone(quick), clone(quick)
    for _ in range(2):
        whole.partial_fit(frame)
        parts.partial_fit(Blocks(cut(frame)))
    assert same(whole, parts)
    warm = quick.set_params(warm_start=True)
    whole = clone(warm).fit(frame).fit(frame)
    assert same(whole, clone(warm).fit(frame).fit(Blocks(cut(frame))))


def test_loaders_and_other_sources_are_blocks(quick):
    X = make_frame()[["a", "b"]].to_numpy()
    whole = clone(quick).fit(X)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=97)
    for source in (loader, lambda: iter(cut(X))):
        assert same(whole, clone(quick).fit(Blocks(source)))
    with pytest.raises(TypeError, match=r"Pass Blocks\(X\) to fit of .*Tabular"):
        quick.fit(loader)
    lazy = pl.from_pandas(make_frame()).lazy()
    assert same(clone(quick).fit(lazy), clone(quick).fit(lazy.collect()))
    with pytest.raises(TypeError, match=r"does not take a LazyFrame"):
        AutoencoderImputer(quick).fit(lazy)


# More rows than the sample


@pytest.fixture(scope="module")
def long():
    frame = make_frame(70_000)
    frame["f"] = np.arange(70_000).astype(float)
    frame.loc[12_345, "c"] = "once"
    return frame


@pytest.mark.parametrize("is_weighted", [False, True])
def test_all_rows_say_what_is_exact(quick, long, is_weighted):
    weights = 1 + np.arange(len(long)) % 3 if is_weighted else None
    quick.set_params(
        max_iter=1, batch_size=70_000, scaling="quantile", max_categories=3
    )
    whole = clone(quick).fit(long, sample_weight=weights)
    blocks = Blocks([long[:30_000], long[30_000:]], buffer_size=1000)
    parts = clone(quick).fit(blocks, sample_weight=weights)
    for one, other in zip(whole._table.columns, parts._table.columns, strict=True):
        assert (one.kind, one.name) == (other.kind, other.name)
        if one.kind == "category":
            assert list(one.levels) == list(other.levels)
            assert list(one.rare) == list(other.rare)
            assert one.rare_cost == pytest.approx(other.rare_cost, nan_ok=True)
            assert one.unknown_cost == other.unknown_cost
            continue
        one, other = getattr(one, "_time", one), getattr(other, "_time", other)
        assert (one.lowest, one.highest) == (other.lowest, other.highest)
        assert one.mean == pytest.approx(other.mean, rel=1e-9)
        assert one.scale == pytest.approx(other.scale, rel=1e-9)
    # Quantiles are those of a sample.
    column = long["f"].to_numpy()
    shares = ndtr([each._table.columns[5].encode(column) for each in (whole, parts)])
    assert 0 < np.abs(shares[0] - shares[1]).max() < 0.011
    assert parts.loss_ == pytest.approx(whole.loss_, rel=0.05)


def test_the_sample_is_that_of_the_rows_not_of_the_blocks(quick, long):
    quick.set_params(max_iter=1, batch_size=70_000, scaling="quantile")
    rows = [long[["f"]][start : start + 7000] for start in range(0, 70_000, 7000)]
    one = clone(quick).fit(Blocks(rows, buffer_size=1000))
    other = clone(quick).fit(Blocks([long[["f"]]], buffer_size=1000))
    for first, second in zip(
        one._table.columns[0].quantiles, other._table.columns[0].quantiles, strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_cells_of_a_stream_are_held_out(quick):
    """Cells are lost in training in each pass, and come back as targets."""
    frame = make_frame()
    frame = pd.concat([frame, *[frame[:1]] * 50], ignore_index=True)
    fitted = quick.fit(frame[:N])
    rows = fitted._table.encode(Columns(frame))
    data = TrainingData(as_stream(rows, 100))
    cells = fitted._table.layout.cells
    training, held_out = hold_out_of_stream(data, cells)
    for _ in range(2):
        seen = training.matrix[:]
        lost = np.isnan(seen) & ~np.isnan(rows)
        assert 0.05 < lost.mean() < 0.12
        np.testing.assert_array_equal(seen[~lost], rows[~lost])
    # The row that is more common than most loses nothing.
    assert not lost[N:].any()
    # All inputs of a cell, such as those of a date, are lost together.
    for cell in set(cells):
        inputs = lost[:, np.array(cells) == cell]
        assert (inputs.any(axis=1) == inputs.all(axis=1)).all()
    targets = held_out.matrix[:, rows.shape[1] :]
    expected = {tuple(row) for row in rows[lost.any(axis=1)].tolist()}
    assert len(targets) == len({str(row) for row in expected})
    assert set(targets[~np.isnan(targets)]) <= set(rows[lost])


def as_stream(rows, capacity):
    parts = [rows[:150], rows[150:400], rows[400:]]
    return StreamedMatrix(lambda: iter(parts), rows.shape, rows.dtype, capacity)


def test_distributions_of_a_stream_are_calibrated(quick):
    """Other rows are about as likely as after a fit with a buffer of all rows."""
    frame = make_frame()
    quick.set_params(number_output="distribution", max_iter=30, dropout=0.0)
    whole = clone(quick).fit(frame)
    parts = clone(quick).fit(Blocks(cut(frame), buffer_size=200))
    other = pd.DataFrame(make_frame().sample(frac=1, random_state=1).to_dict("list"))
    for fitted in (whole, parts):
        nats = fitted.cell_log_likelihood(other)
        assert np.nanmean(nats[:, 1]) > np.log(1 / 9) - 0.3
    assert set(parts.sample(50, random_state=0)["c"]) <= {*"xyz"}


# Types that differ between blocks


def test_types_are_those_that_hold_all_blocks(quick):
    """As the parts of a CSV file: integers where no value is missing."""
    frame = make_frame()[["a", "b", "c"]]
    frame["b"] = frame["b"].astype(float).mask(np.arange(N) > 500)
    parts = cut(frame)
    for place in range(4):
        parts[place] = parts[place].assign(b=parts[place]["b"].astype("int64"))
    fitted = clone(quick).fit(Blocks(parts))
    assert same(fitted, quick.fit(frame))
    assert fitted.inverse_transform(fitted.transform(frame))["b"].dtype == float


OTHERS = {
    "name": (lambda f: f.rename(columns={"a": "z"}), "feature names should match"),
    "fewer": (lambda f: f.drop(columns="a"), "feature names should match"),
    "more": (lambda f: f.assign(z=1), "feature names"),
    "order": (lambda f: f[["b", "a", "c", "d", "e"]], "feature names"),
    "infinity": (lambda f: f.assign(a=np.inf), "Column 'a' holds infinity"),
    "words": (lambda f: f.assign(a="a"), r"row 400: Column 'a' (holds|does not hold)"),
    "type": (lambda f: f.assign(a=f["d"]), r"row 400: Column 'a' holds .*datetime64"),
    "period": (
        lambda f: f.assign(d=f["d"].dt.to_period("D")),
        r"row 400: Column 'd' holds .*period",
    ),
    "zone": (
        lambda f: f.assign(d=f["d"].dt.tz_localize("UTC")),
        r"row 400: Column 'd' holds .*with a time zone",
    ),
    "library": (pl.from_pandas, "row 400 is a frame of polars, but the first"),
    "array": (lambda f: f[["a", "b"]].to_numpy(), "2 features, but .* 5 features"),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", OTHERS)
def test_a_block_with_other_columns_is_named(quick, name):
    frame = make_frame()
    other, text = OTHERS[name]
    with pytest.raises(ValueError, match=text):
        quick.fit(Blocks([frame[:400], other(frame[400:])]))
    quick.partial_fit(frame[:400])
    if name != "library":
        with pytest.raises(ValueError, match=text.split(": ")[-1]):
            quick.partial_fit(other(frame[400:]))


def test_weights_are_one_for_each_row(quick):
    blocks = Blocks(cut(make_frame()))
    for n in (N - 1, N + 1):
        with pytest.raises(ValueError, match=f"sample_weight has {n} entries"):
            quick.fit(blocks, sample_weight=np.ones(n))


def test_too_few_rows_are_refused(quick):
    with pytest.raises(ValueError, match="Blocks have 1 rows, but two are needed"):
        quick.fit(Blocks([make_frame(1)]))
    with pytest.raises(ValueError, match="Blocks have 0 rows"):
        quick.fit(Blocks([]))


def test_blocks_are_for_fit_alone(quick):
    blocks = Blocks(cut(make_frame()))
    fitted = quick.fit(blocks)
    for use in (fitted.transform, fitted.impute, fitted.score):
        with pytest.raises(TypeError, match="Pass one block at a time"):
            use(blocks)
    with pytest.raises(TypeError, match=r"FrozenEstimator\(autoencoder\)"):
        AutoencoderImputer(quick).fit(blocks)
    with pytest.raises(ValueError, match="does not take Blocks"):
        AutoencoderOutlierDetector(quick).fit(blocks)


def test_blocks_of_arrow_give_arrow(quick):
    table = pa.Table.from_pandas(make_frame(), preserve_index=False)
    fitted = quick.fit(Blocks(table.to_batches(max_chunksize=100)))
    assert type(fitted.inverse_transform(fitted.transform(table))) is pa.Table
