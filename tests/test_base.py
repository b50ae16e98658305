"""The contract of estimators beyond scikit-learn's own checks."""

import pickle
import re
import signal
import tracemalloc
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer


@pytest.fixture
def X():
    """A small table: three factors behind eight columns."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) + 1.0


@pytest.fixture
def quick():
    return AutoencoderTransformer(3, max_iter=5, random_state=0)


# Bad input


def test_missing_values_are_named_by_column(quick, X):
    X[17, 5] = np.nan
    with pytest.raises(ValueError, match=r"contains NaN: row 17, column 5. Fill the"):
        quick.fit(X)
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    with pytest.raises(ValueError, match="contains NaN: row 17, column 'f'"):
        quick.fit(frame)
    with pytest.raises(ValueError, match="contains infinity: row 17, column 5"):
        quick.fit(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="contains NaN: row 17, column 5"):
        quick.fit(sparse.csr_array(X))


def test_missing_values_are_refused_after_fit_too(quick, X):
    quick.fit(X)
    X[3, 2] = np.inf
    for method in (quick.transform, quick.score_samples, quick.score):
        with pytest.raises(ValueError, match="contains infinity: row 3, column 2"):
            method(X)
    with pytest.raises(ValueError, match="NaN"):
        quick.inverse_transform([[np.nan, 0, 0]])


@pytest.mark.parametrize("library", [pd, pl])
def test_text_is_named_by_column(quick, library):
    frame = library.DataFrame({"age": [1.0, 2.0, 3.0], "town": ["Bonn", "Rome", "Ulm"]})
    with pytest.raises(ValueError, match="Column 'town' of X does not hold numbers"):
        quick.fit(frame)


def test_wrong_width_and_names(quick, X):
    quick.fit(pd.DataFrame(X, columns=list("abcdefgh")))
    with pytest.raises(ValueError, match="should match those that were passed"):
        quick.transform(pd.DataFrame(X, columns=list("abcdefgx")))
    with pytest.raises(
        ValueError, match=r"X has 4 columns, but transform of this .* gives 3"
    ):
        quick.inverse_transform(np.zeros((2, 4)))
    quick.fit(X)
    with pytest.raises(
        ValueError, match=r"X has 7 features, but Auto.* is expecting 8"
    ):
        quick.transform(X[:, :7])


@pytest.mark.parametrize("n_samples", [0, 1])
def test_too_few_rows(quick, X, n_samples):
    for method in (quick.fit, quick.partial_fit):
        with pytest.raises(ValueError, match=f"Found array with {n_samples} sample"):
            method(X[:n_samples])


def test_few_rows_and_constant_columns_work(quick, X):
    code = quick.fit(X[:2]).transform(X)
    assert np.isfinite(code).all()
    X[:, 0] = 1e6
    quick.set_params(max_iter=200).fit(X)
    error = (quick.inverse_transform(quick.transform(X)) - X) ** 2
    assert error[:, 0].mean() < 1
    constant = np.full((30, 4), 7.3)
    quick.fit(constant)
    np.testing.assert_allclose(
        quick.inverse_transform(quick.transform(constant)), constant, rtol=1e-3
    )


def test_values_too_large_for_their_variance(quick, X):
    with pytest.raises(ValueError, match=r"variance overflows. Scale them"):
        quick.fit(X * 1e200)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter of Auto.* Got 0 instead"),
        ({"activation": "swish"}, "'activation' parameter .* Got 'swish' instead"),
        ({"hidden_layer_sizes": (4, 0)}, "'hidden_layer_sizes' .* Got (4, 0) instead"),
        ({"hidden_layer_sizes": 4.5}, "'hidden_layer_sizes' .* Got 4.5 instead"),
        ({"corruption_rate": 1.0}, "'corruption_rate' .* below 1 .* Got 1.0 instead"),
        ({"sparsity": "top"}, "'sparsity' parameter .* Got 'top' instead"),
        ({"max_iter": 0}, "'max_iter' parameter .* Got 0 instead"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused_before_training(X, parameters, message):
    pattern = re.escape(message).replace(r"\.\*", ".*")
    for error in (ValueError, TypeError):
        with pytest.raises(error, match=pattern):
            AutoencoderTransformer(**parameters).fit(X)


def test_early_stopping_needs_rows(quick, X):
    quick.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="splits 10 rows into 9 and 1; both need two"):
        quick.fit(X[:10])
    with pytest.raises(AttributeError) as refusal:
        quick.partial_fit(X)
    message = "partial_fit does not support early_stopping=True"
    assert message in str(refusal.value.__cause__)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(200), "at least one non-zero"),
        (np.r_[-1, np.ones(199)], "Negative values"),
        (np.ones(199), "sample_weight.shape == (199,), expected (200,)"),
    ],
)
def test_bad_weights(quick, X, weights, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        quick.fit(X, sample_weight=weights)


def test_dates_are_named_by_column(quick):
    frame = pd.DataFrame({"a": [1.0, 2.0], "when": pd.to_datetime(["2024", "2025"])})
    with pytest.raises((ValueError, TypeError), match="Column 'when' of X does not"):
        quick.fit(frame)


def test_reading_before_fit(quick, X):
    for method in (
        quick.transform,
        quick.inverse_transform,
        quick.score,
        quick.score_samples,
    ):
        with pytest.raises(NotFittedError):
            method(X)


# Errors and interrupts in training


def test_a_loss_that_is_never_finite_gives_advice(X):
    estimator = AutoencoderTransformer(
        3, solver="sgd", learning_rate_init=1e30, random_state=0
    )
    with pytest.raises(ValueError, match=r"Lower learning_rate_init \(now 1e\+30\)"):
        estimator.fit(np.repeat(X, 10, axis=0))
    assert not hasattr(estimator, "network_")


def test_a_loss_that_turns_non_finite_keeps_the_best_weights(X):
    estimator = AutoencoderTransformer(
        3,
        hidden_layer_sizes=(),
        solver="sgd",
        learning_rate_init=0.3,
        learning_rate="constant",
        max_iter=2000,
        n_iter_no_change=2000,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match="best weights until then are kept"):
        estimator.fit(X)
    assert 1 <= estimator.n_iter_ < 2000
    assert np.isfinite(estimator.loss_curve_).all()
    assert np.isfinite(estimator.transform(X)).all()
    # The lowest loss belongs to the weights at the end of the epoch before.
    best = clone(estimator).set_params(max_iter=int(np.argmin(estimator.loss_curve_)))
    np.testing.assert_array_equal(best.fit(X).transform(X), estimator.transform(X))
    assert -estimator.score(X) < 0.1 * X.var(axis=0).mean()


def test_weights_that_end_non_finite_are_no_result(X):
    estimator = AutoencoderTransformer(
        3, solver="sgd", learning_rate_init=1e39, max_iter=1, random_state=0
    )
    with pytest.raises(ValueError, match="before any weights were worth keeping"):
        estimator.fit(X)
    with pytest.raises(ValueError, match="before any weights were worth keeping"):
        estimator.partial_fit(X)


def test_a_failed_fit_leaves_nothing_that_looks_fitted(quick, X):
    quick.fit(X).set_params(solver="sgd", learning_rate_init=1e30, batch_size=20)
    with pytest.raises(ValueError, match="Lower learning_rate_init"):
        quick.fit(100 * X)
    with pytest.raises(NotFittedError):
        quick.transform(X)


def test_batch_normalization_needs_two_rows_in_a_batch(quick, X):
    quick.set_params(normalization="batch", batch_size=1)
    with pytest.raises(
        ValueError, match=r"needs 2 rows in a batch, got 1\. Raise batch_size"
    ):
        quick.fit(X)


def test_interrupt_leaves_a_usable_estimator(X):
    class Interrupt:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 2:
                signal.raise_signal(signal.SIGINT)

    estimator = AutoencoderTransformer(3, max_iter=20).set_callbacks(Interrupt())
    # Python leaves the signal ignored if the shell that started it ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            estimator.fit(X)
    finally:
        signal.signal(signal.SIGINT, before)
    assert estimator.n_iter_ == 3
    estimator.set_callbacks()
    assert np.isfinite(estimator.transform(X)).all()
    pickle.loads(pickle.dumps(estimator)).transform(X)


# Kinds of input


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csc_array])
def test_sparse_input_gives_the_result_of_dense_input(train_rows, convert):
    dense = AutoencoderTransformer(8, max_iter=2, random_state=0).fit(train_rows)
    rows = convert(train_rows)
    estimator = clone(dense).fit(rows)
    np.testing.assert_array_equal(
        estimator.transform(rows), dense.transform(train_rows)
    )
    assert estimator.score(rows) == dense.score(train_rows)


def test_sparse_input_is_never_densified():
    rng, n_values = np.random.default_rng(0), 200_000
    places = rng.integers(20_000, size=n_values), rng.integers(2_000, size=n_values)
    rows = sparse.csr_array((rng.random(n_values), places), shape=(20_000, 2_000))
    estimator = AutoencoderTransformer(
        4, hidden_layer_sizes=(), max_iter=1, random_state=0
    )
    tracemalloc.start()
    estimator.fit(rows).transform(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.35 * 8 * np.prod(rows.shape)


@pytest.mark.parametrize(
    "dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)]
)
def test_memory_mapped_input_stays_on_disk(tmp_path, dtype):
    path = tmp_path / "X.npy"
    X = np.random.default_rng(0).normal(size=(200_000, 50)).astype(dtype)
    np.save(path, X)
    estimator = AutoencoderTransformer(2, max_iter=1, random_state=0)
    expected = clone(estimator).fit(X).transform(X[:5])
    size = X.nbytes
    del X
    mapped = np.load(path, mmap_mode="r")
    tracemalloc.start()
    estimator.fit(mapped)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2
    np.testing.assert_array_equal(estimator.transform(mapped[:5]), expected)


def test_float32_and_float64_agree(train_rows):
    single = train_rows.astype(np.float32)
    estimator = AutoencoderTransformer(8, max_iter=2, random_state=0)
    codes = [
        clone(estimator).fit_transform(rows) for rows in (single, single.astype(float))
    ]
    assert codes[0].dtype == codes[1].dtype == np.float32
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-2)


@pytest.mark.parametrize(
    "y", [None, np.arange(200), np.repeat("class", 200), np.full(200, np.nan), object()]
)
def test_y_is_ignored_whatever_it_is(quick, X, y):
    expected = clone(quick).fit(X).transform(X)
    np.testing.assert_array_equal(quick.fit(X, y).transform(X), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_in_and_out(quick, X, library):
    columns = list("abcdefgh")
    frame = pd.DataFrame(X, columns=columns, index=np.arange(200) + 1000)
    if library == "polars":
        frame = pl.from_pandas(frame)
    quick.set_output(transform=library).fit(frame)
    code = quick.transform(frame)
    back = quick.inverse_transform(code)
    assert type(code) is type(back) is type(frame)
    assert list(code.columns) == [f"autoencodertransformer{i}" for i in range(3)]
    assert list(back.columns) == columns
    if library == "pandas":
        assert back.index.equals(frame.index)
    plain = clone(quick).set_output(transform="default").fit(frame)
    assert isinstance(plain.inverse_transform(code), np.ndarray)
    backwards = plain.inverse_transform(code.to_numpy()[::-1])
    np.testing.assert_array_equal(backwards[::-1], back.to_numpy())
    np.testing.assert_array_equal(plain.inverse_transform(code), back.to_numpy())


def test_inverse_transform_follows_the_global_configuration(quick, X):
    quick.fit(pd.DataFrame(X, columns=list("abcdefgh")))
    with config_context(transform_output="polars"):
        assert isinstance(quick.inverse_transform(np.zeros((2, 3))), pl.DataFrame)


@pytest.mark.parametrize("whiten", [None, "zca"])
@pytest.mark.parametrize("n_components", [2, 100])
def test_a_row_has_its_result_wherever_it_stands(train_rows, n_components, whiten):
    estimator = AutoencoderTransformer(
        n_components, max_iter=2, whiten=whiten, random_state=0
    ).fit(train_rows)
    code = estimator.transform(train_rows)
    for start, stop in [(0, 1), (700, 719), (3, 1200)]:
        part = estimator.transform(train_rows[start:stop])
        np.testing.assert_allclose(part, code[start:stop], rtol=1e-6, atol=1e-6)
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(
        estimator.transform(train_rows[:50][order]),
        estimator.transform(train_rows[:50])[order],
    )
    np.testing.assert_array_equal(
        estimator.score_samples(train_rows[:50][order]),
        estimator.score_samples(train_rows[:50])[order],
    )


# Weights


def test_heavy_rows_are_reconstructed_better(train_rows):
    weights = np.ones(len(train_rows))
    weights[::10] = 1000
    estimator = AutoencoderTransformer(4, random_state=0)
    plain = clone(estimator).fit(train_rows)
    weighted = clone(estimator).fit(train_rows, sample_weight=weights)
    assert weighted.score(train_rows[::10]) > plain.score(train_rows[::10])
    assert weighted.score(train_rows, sample_weight=weights) > plain.score(
        train_rows, sample_weight=weights
    )


def test_weight_zero_equals_absence(train_rows):
    weights = np.ones(len(train_rows))
    weights[::3] = 0
    estimator = AutoencoderTransformer(4, max_iter=2, random_state=0)
    kept = clone(estimator).fit(train_rows[weights > 0])
    estimator.fit(train_rows, sample_weight=weights)
    np.testing.assert_allclose(
        estimator.transform(train_rows), kept.transform(train_rows), atol=1e-4
    )


def test_weights_are_routed_through_a_pipeline(quick, X):
    weights = np.linspace(0, 1, len(X))
    with config_context(enable_metadata_routing=True):
        quick.set_fit_request(sample_weight=True)
        pipeline = make_pipeline(quick).fit(X, sample_weight=weights)
    expected = clone(quick).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(pipeline.transform(X), expected.transform(X))


def test_extreme_weights_are_ratios(quick, X):
    weights = np.linspace(1, 2, len(X))
    expected = clone(quick).fit(X, sample_weight=weights).transform(X)
    quick.fit(X, sample_weight=weights * 1e300)
    np.testing.assert_allclose(quick.transform(X), expected, atol=1e-3)


# Units


def test_losses_are_shares_of_the_variance(quick, X):
    rng = np.random.default_rng(0)
    # A column of variance one is not constant, whatever StandardScaler says.
    X = np.c_[np.tile([-1.0, 1.0], 100), np.ones(200), 0.01 * rng.normal(size=(200, 3))]
    quick.fit(X)
    assert quick.scale_ == pytest.approx(np.sqrt(X.var(axis=0).mean()), rel=1e-6)
    untrained = clone(quick).set_params(
        max_iter=1, learning_rate_init=1e-12, sparsity=None, linear_skip=False
    )
    untrained.fit(X)
    share = -untrained.score(X) / X.var(axis=0).mean()
    assert untrained.loss_ == pytest.approx(share, rel=1e-4)
    standard = StandardScaler().fit_transform(rng.normal(size=(200, 30)))
    assert quick.fit(standard).scale_ == pytest.approx(1)


@pytest.mark.parametrize("unit", [1e-22, 1e-9, 1e9, 1e18])
def test_scores_are_in_the_units_of_the_data(quick, X, unit):
    expected = clone(quick).fit(X).score(X)
    assert quick.fit(unit * X).score(unit * X) == pytest.approx(
        expected * unit**2, rel=1e-2
    )


# Clones, pickles and files


def test_a_clone_has_the_parameters_but_not_the_weights(quick, X):
    copy = clone(quick.fit(X))
    assert copy.get_params() == quick.get_params()
    assert not hasattr(copy, "network_")
    np.testing.assert_array_equal(copy.fit(X).transform(X), quick.transform(X))


def test_pickles_are_small_and_behave_the_same(train_rows):
    estimator = AutoencoderTransformer(16, random_state=0).fit(train_rows)
    data = pickle.dumps(estimator)
    weights = sum(p.numel() * 4 for p in estimator.network_.parameters())
    assert len(data) < 1.1 * weights + 10_000
    assert b"torch" not in data
    assert b"lambda" not in data
    copy = pickle.loads(data)
    np.testing.assert_array_equal(
        copy.transform(train_rows), estimator.transform(train_rows)
    )
    code = estimator.transform(train_rows)
    np.testing.assert_array_equal(
        copy.inverse_transform(code), estimator.inverse_transform(code)
    )
    assert copy.loss_curve_ == estimator.loss_curve_
    assert joblib.hash(copy) == joblib.hash(estimator)


def test_partial_fit_goes_on_from_a_pickle_as_if_nothing_had_happened(train_rows):
    parts = np.array_split(train_rows, 4)
    straight = AutoencoderTransformer(8, random_state=0)
    paused = clone(straight)
    for part in parts:
        straight.partial_fit(part)
        paused = pickle.loads(pickle.dumps(paused)).partial_fit(part)
    np.testing.assert_array_equal(
        straight.transform(train_rows), paused.transform(train_rows)
    )


class Counting(AutoencoderTransformer):
    """Counts its fits; at module level so that joblib can hash it."""

    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        Counting.fits += 1
        return super().fit(X, y, sample_weight)


def test_a_pipeline_finds_it_in_its_cache(tmp_path, train_rows):
    Counting.fits = 0
    pipeline = Pipeline(
        [
            ("features", Counting(4, max_iter=1, random_state=0)),
            ("last", "passthrough"),
        ],
        memory=str(tmp_path),
    )
    first = clone(pipeline).fit(train_rows).transform(train_rows)
    again = clone(pipeline).fit(train_rows).transform(train_rows)
    assert Counting.fits == 1
    np.testing.assert_array_equal(first, again)
    pipeline.set_params(features__n_components=5).fit(train_rows)
    assert Counting.fits == 2


# Continued training


def test_partial_fit_learns(train_rows, test_rows):
    estimator = AutoencoderTransformer(8, random_state=0)
    scores = []
    for _ in range(5):
        for part in np.array_split(train_rows, 3):
            estimator.partial_fit(part)
        scores.append(estimator.score(test_rows))
    assert scores[-1] > scores[0]
    assert -scores[-1] < 0.5 * test_rows.var(axis=0).mean()
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 15


def test_partial_fit_carries_the_optimiser_on(quick, X):
    # All rows form one batch, so an epoch is one step and both fits should agree.
    quick.set_params(learning_rate="constant", max_iter=5)
    expected = clone(quick).fit(X).transform(X)
    for _ in range(5):
        quick.partial_fit(X)
    np.testing.assert_array_equal(quick.transform(X), expected)


def test_fit_forgets_what_partial_fit_did(quick, X):
    expected = clone(quick).fit(X).transform(X)
    quick.partial_fit(X).fit(X)
    np.testing.assert_array_equal(quick.transform(X), expected)


def test_warm_start_goes_on(train_rows):
    estimator = AutoencoderTransformer(8, max_iter=5, random_state=0, warm_start=True)
    first = estimator.fit(train_rows).score(train_rows)
    estimator.fit(train_rows)
    assert estimator.score(train_rows) > first
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 10
    with pytest.raises(ValueError, match=r"n_components was 8 and is now 9\. Use fit"):
        estimator.set_params(n_components=9).fit(train_rows)


def test_warm_start_may_change_what_does_not_change_the_weights(train_rows):
    estimator = AutoencoderTransformer(8, max_iter=2, random_state=0, warm_start=True)
    estimator.fit(train_rows).set_params(dropout=0.1, sparsity_rate=0.3, alpha=1e-4)
    assert estimator.fit(train_rows).n_iter_ == 4


def test_early_stopping_after_a_warm_start_keeps_the_better_start(train_rows):
    estimator = AutoencoderTransformer(
        8, max_iter=10, early_stopping=True, warm_start=True, random_state=0
    ).fit(train_rows)
    score, code = estimator.best_validation_score_, estimator.transform(train_rows)
    estimator.set_params(learning_rate_init=0.3, max_iter=2).fit(train_rows)
    assert max(estimator.validation_scores_[-2:]) < score
    assert estimator.best_validation_score_ == pytest.approx(score, abs=1e-5)
    np.testing.assert_array_equal(estimator.transform(train_rows), code)


def test_warm_start_with_another_kind_of_network(quick, X):
    quick.set_params(warm_start=True).fit(X).set_params(network=HalfFrozen)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes was .* and is now None"):
        quick.fit(X)


class HalfFrozen(torch.nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.unused = torch.nn.Linear(n_features, 2)
        self.encode = torch.nn.Linear(n_features, n_components).requires_grad_(False)
        self.decode = torch.nn.Linear(n_components, n_features)


def test_partial_fit_of_a_network_with_frozen_and_unused_weights(quick, X):
    quick.set_params(network=HalfFrozen)
    for _ in range(4):
        quick.partial_fit(X)
    assert quick.loss_curve_ == sorted(quick.loss_curve_, reverse=True)


def test_partial_fit_takes_another_solver(quick, X):
    quick.set_params(solver="sgd").partial_fit(X)
    quick.set_params(solver="adam").partial_fit(X)
    assert quick.n_iter_ == 2


def test_early_stopping_restores_the_best_epoch(train_rows):
    class Keep:
        """Stores the code after each epoch."""

        codes = []

        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.codes.append(fitted_estimator.transform(train_rows))

    estimator = AutoencoderTransformer(
        8,
        early_stopping=True,
        learning_rate="constant",
        learning_rate_init=0.03,
        n_iter_no_change=5,
        max_iter=100,
        random_state=0,
    )
    keep = Keep()
    estimator.set_callbacks(keep).fit(train_rows)
    scores = estimator.validation_scores_
    assert len(scores) == estimator.n_iter_ < 100
    assert estimator.best_validation_score_ == max(scores)
    best = int(np.argmax(scores))
    assert best < len(scores) - 1
    np.testing.assert_array_equal(estimator.transform(train_rows), keep.codes[best])


def test_what_a_callback_keeps_of_an_epoch_is_of_that_epoch(quick, X):
    class Keep:
        """Stores the estimators of all epochs, and their results at that time."""

        kept = []

        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.kept.append((fitted_estimator, fitted_estimator.transform(X)))

    keep = Keep()
    quick.set_params(max_iter=3).set_callbacks(keep).fit(X)
    for estimator, code in keep.kept:
        np.testing.assert_array_equal(estimator.transform(X), code)
    codes = {code.tobytes() for _, code in keep.kept}
    assert len(codes) == 3


# Messages


def test_verbose_prints_a_line_an_epoch(quick, X, capsys):
    quick.set_params(verbose=True, early_stopping=True).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == quick.n_iter_
    assert re.fullmatch(
        r"\[AutoencoderTransformer\] Epoch 1/5, loss = \d\.\d+, "
        r"validation score = -?\d\.\d+",
        lines[0],
    )


def reconstruction(estimator, X, y):
    return estimator.score(X)


@pytest.mark.parametrize("y", [None, np.zeros(200)])
def test_scoring_monitor_logs_every_epoch(quick, X, y):
    monitor = ScoringMonitor(scoring={"reconstruction": reconstruction})
    quick.set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log["task_name"] == "epoch", "reconstruction"]
    assert len(scores) == quick.n_iter_ == 5
    assert scores.iloc[-1] == pytest.approx(quick.score(X))
    assert scores.iloc[0] != scores.iloc[-1]
    pickle.dumps(quick)


def test_progress_bar_shows_epochs_under_a_search(X, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    y = np.arange(200) % 2
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderTransformer(3, max_iter=3, random_state=0),
        LogisticRegression(),
    )
    grid = {"autoencodertransformer__n_components": [2, 3]}
    search = GridSearchCV(pipeline, grid, cv=2)
    with warnings.catch_warnings():
        # Some steps of a pipeline have no callbacks, of which scikit-learn warns.
        warnings.filterwarnings("ignore", message=".*does not support callbacks")
        search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    shown = capsys.readouterr().out
    assert "GridSearchCV" in shown
    assert "AutoencoderTransformer - fit" in shown


def test_a_callback_can_stop_the_fit(quick, X):
    class StopAfterTwo:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 1

    quick.set_callbacks(StopAfterTwo()).fit(X)
    assert quick.n_iter_ == 2
    assert np.isfinite(quick.transform(X)).all()
