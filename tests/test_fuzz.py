"""Random parameters with random data: they work, or are refused with a message."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)

# Values that every fit may get, including invalid ones.
TRAINING = {
    "alpha": st.sampled_from([0.0, 0.1, -1.0]),
    "batch_size": st.sampled_from(["auto", 1, 7, 1000, 0]),
    "early_stopping": st.booleans(),
    "learning_rate": st.sampled_from(["constant", "linear", "cosine"]),
    "learning_rate_init": st.sampled_from(["auto", 1e-3, 0.1, 0.0]),
    "max_grad_norm": st.sampled_from([None, 1.0]),
    "n_iter_no_change": st.integers(1, 3),
    "shuffle": st.booleans(),
    "solver": st.sampled_from(["adam", "sgd"]),
    "tol": st.sampled_from([0.0, 1e-3]),
    "validation_fraction": st.sampled_from([0.01, 0.5]),
    "warm_start": st.booleans(),
}
CODE = {
    "n_components": st.sampled_from([1, 3, 40, "auto", None, 0.5, 0]),
    "hidden_layer_sizes": st.sampled_from(["auto", (), (5,), (6, 4), (0,)]),
    "activation": st.sampled_from(["identity", "relu", "silu", "selu", "none"]),
    "features": st.sampled_from(["code", "sparse", "stack"]),
    "loss": st.sampled_from(
        ["auto", "squared_error", "huber", "binary_cross_entropy", "poisson"]
    ),
    "corruption": st.sampled_from(["masking", "gaussian", "salt_and_pepper", "swap"]),
    "corruption_rate": st.sampled_from([0.0, 0.3, 1.0]),
}
KINDS = {
    AutoencoderTransformer: {
        **TRAINING,
        **CODE,
        "sparsity": st.sampled_from(
            ["auto", None, "lifetime", "topk", "batch_topk", "l1", "kl"]
        ),
        "sparsity_rate": st.sampled_from(["auto", 0.01, 0.9]),
        "contractive_penalty": st.sampled_from([0.0, 0.1]),
        "ordered": st.booleans(),
        "tied_weights": st.sampled_from(["auto", True, False]),
        "linear_skip": st.booleans(),
        "normalization": st.sampled_from([None, "batch", "layer"]),
        "dropout": st.sampled_from([0.0, 0.5]),
        "corruption_weight": st.sampled_from([1.0, 0.0, 3.0]),
        "n_neighbors": st.sampled_from([None, 1, 3, 50]),
        "normalize_rows": st.sampled_from([None, 0.5]),
        "whiten": st.sampled_from([None, "zca", "pca"]),
        "whiten_code": st.booleans(),
    },
    ConvAutoencoderTransformer: {
        **TRAINING,
        "n_components": CODE["n_components"],
        "loss": CODE["loss"],
        "image_shape": st.sampled_from(["auto", (2, 4), (4, 4), (4, 4, 3), (3, 3)]),
        "max_shift": st.integers(0, 5),
    },
    PatchAutoencoderTransformer: {
        "image_shape": st.sampled_from(["auto", (2, 4), (4, 4), (4, 4, 3), (3, 3)]),
        "patch_size": st.integers(1, 5),
        "n_components": st.sampled_from([None, 1, 5, 1000]),
    },
    TabularAutoencoderTransformer: {
        **TRAINING,
        "n_components": CODE["n_components"],
        "hidden_layer_sizes": CODE["hidden_layer_sizes"],
        "features": st.sampled_from(["code", "stack", "spread"]),
        "scaling": st.sampled_from(["standard", "quantile"]),
        "number_encoding": st.sampled_from([None, "piecewise_linear", "periodic"]),
        "min_frequency": st.sampled_from([None, 2, 0.3]),
        "max_categories": st.sampled_from([None, 2, 64]),
        "handle_unknown": st.sampled_from(["infrequent_if_exist", "error"]),
        "corruption": st.sampled_from(["masking", "swap"]),
        "corruption_rate": st.sampled_from([0.0, 0.9, {"number": 0.5}]),
        "loss": st.sampled_from(["auto", "huber"]),
        "dropout": st.sampled_from([0.0, 0.5]),
    },
}


@st.composite
def parameters(draw, kind):
    """Draw up to five parameters that differ from the defaults."""
    choices = KINDS[kind]
    names = draw(st.lists(st.sampled_from(sorted(choices)), max_size=5, unique=True))
    return {name: draw(choices[name]) for name in names}


@st.composite
def matrices(draw):
    """Draw rows of numbers, good and bad."""
    n_rows = draw(st.sampled_from([1, 2, 3, 20, 60]))
    n_columns = draw(st.sampled_from([1, 2, 8, 16, 48]))
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    X = rng.normal(size=(n_rows, n_columns))
    change = draw(
        st.sampled_from(
            ["none", "constant", "shares", "counts", "huge", "tiny", "far", "gap"]
        )
    )
    if change == "constant":
        X[:, 0] = 3
    elif change == "shares":
        X = 1 / (1 + np.exp(-X))
    elif change == "counts":
        X = rng.poisson(2, X.shape)
    elif change in ("huge", "tiny"):
        X *= 1e300 if change == "huge" else 1e-12
    elif change == "far":
        X += 1e9
    elif change == "gap":
        X[0, 0] = np.nan
    kinds = {"float64": np.asarray, "float32": np.float32, "sparse": csr_array}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return kinds[draw(st.sampled_from(sorted(kinds)))](X)


@st.composite
def frames(draw):
    """Draw columns of all kinds, good and bad."""
    n_rows = draw(st.sampled_from([1, 2, 20, 60]))
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    z = rng.normal(size=n_rows)
    makers = {
        "number": lambda: z + rng.normal(size=n_rows),
        "whole": lambda: rng.integers(9, size=n_rows),
        "huge": lambda: 1e300 * z,
        "constant": lambda: np.full(n_rows, 2.0),
        "empty": lambda: np.full(n_rows, np.nan),
        "nothing": lambda: np.full(n_rows, None),
        "infinite": lambda: np.where(z > 1, np.inf, z),
        "word": lambda: np.where(z > 0, "up", "down"),
        "mixed": lambda: np.array([1.5 if each > 0 else "x" for each in z], object),
        "names": lambda: np.arange(n_rows).astype(str),
        "category": lambda: pd.Categorical(np.where(z > 0, 1, 2)),
        "yes": lambda: z > 0,
        "day": lambda: pd.Timestamp("2020-01-01") + pd.to_timedelta(z, unit="D"),
    }
    names = draw(st.lists(st.sampled_from(sorted(makers)), max_size=6, unique=True))
    frame = pd.DataFrame({n: makers[n]() for n in names}, index=range(n_rows))
    for name in draw(st.lists(st.sampled_from(sorted({*names, ""})), unique=True)):
        if name and frame[name].dtype != bool:
            frame[name] = frame[name].mask(rng.random(n_rows) < 0.3)
    return frame


def works(estimator, X, extra=lambda fitted, X: None):
    """Fit and apply; return whether it worked or was refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Of names that are all digits, and of numbers among words.
        warnings.filterwarnings("ignore", ".* holds (nothing but numbers|values of)")
        try:
            estimator.fit(X)
        except ValueError:
            return False
        features = estimator.transform(X)
        assert features.shape == (X.shape[0], len(estimator.get_feature_names_out()))
        assert np.isfinite(features).all()
        back = estimator.inverse_transform(features)
        assert back.shape == X.shape
        extra(estimator, X)
    return True


def read_scores(fitted, X):
    assert fitted.score_samples(X).shape == (X.shape[0],)
    assert not np.isnan(fitted.score(X))


def fill(fitted, X):
    filled = fitted.impute(X)
    least = fitted.min_frequency or 1
    least *= len(X) if least < 1 else 1
    counts = {name: X[name].value_counts().max() for name in X}
    known = [
        name
        for name in X
        if counts[name] >= (1 if fitted.column_kinds_[name] != "category" else least)
    ]
    assert not filled[known].isna().any(axis=None)
    error = fitted.reconstruction_error(X, per_column=True)
    assert np.isnan(error[X.isna().to_numpy()]).all()


def estimators(kind):
    """Return a strategy of quick estimators of a class."""

    def make(chosen):
        if kind is PatchAutoencoderTransformer:
            inner = AutoencoderTransformer(6, max_iter=2)
            return kind(inner, random_state=0, **chosen)
        return kind(random_state=0, max_iter=2, **chosen)

    return parameters(kind).map(make)


ARRAYS = (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
)
# Two fits of each example.
FEW = pytest.param(120, marks=[pytest.mark.slow], id="few")
MANY = pytest.param(2000, marks=[pytest.mark.nightly], id="many")


def run(kind, data, n_examples, extra=lambda fitted, X: None):
    """Try a number of examples, the same in each run."""
    outcomes = []

    @given(estimators(kind), data)
    def test(estimator, X):
        outcomes.append(works(estimator, X, extra))

    settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(test)()
    print(f"{kind.__name__}: {len(outcomes)} tried, {sum(outcomes)} worked")
    assert sum(outcomes) > len(outcomes) / 8


@pytest.mark.parametrize("n_examples", [FEW, MANY])
@pytest.mark.parametrize("kind", ARRAYS, ids=lambda kind: kind.__name__)
def test_arrays(kind, n_examples):
    scores = hasattr(kind, "score_samples")
    run(kind, matrices(), n_examples, *[read_scores] * scores)


@pytest.mark.parametrize("n_examples", [FEW, MANY])
def test_frames(n_examples):
    run(TabularAutoencoderTransformer, frames(), n_examples, fill)
