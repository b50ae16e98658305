"""Errors name the cause and the remedy."""

import datetime
import os
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import StrOptions
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import skautoenc
from skautoenc import (
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    TabularAutoencoderTransformer,
)
from skautoenc.inspection import LatentDisplay

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")

N = 20
MATRIX_ESTIMATORS = [
    AutoencoderTransformer(2, max_iter=1, random_state=0),
    ConvAutoencoderTransformer(2, max_iter=1, random_state=0),
    SemiSupervisedAutoencoder(2, max_iter=1, random_state=0),
    PatchAutoencoderTransformer(
        AutoencoderTransformer(2, max_iter=1), patch_size=1, random_state=0
    ),
]
ALL_ESTIMATORS = [*MATRIX_ESTIMATORS, TabularAutoencoderTransformer()]
each_matrix_estimator = pytest.mark.parametrize(
    "estimator", MATRIX_ESTIMATORS, ids=lambda e: type(e).__name__
)
each_estimator = pytest.mark.parametrize(
    "estimator", ALL_ESTIMATORS, ids=lambda e: type(e).__name__
)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(N, 4))


@pytest.fixture
def quick():
    return AutoencoderTransformer(2, max_iter=1, random_state=0)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def says(error, *parts):
    """Expect an error whose message contains all parts, in order."""
    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


# Values


@each_matrix_estimator
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("convert", [np.asarray, pd.DataFrame, sparse.csr_array])
def test_infinity_is_no_missing_value(estimator, X, value, convert):
    X[3, 2] = value
    data = convert(X)
    if convert is pd.DataFrame:
        data.columns = list("abcd")
    with says(ValueError, "infinity: row 3, column", "numpy.clip") as raised:
        estimator.fit(data)
    assert "Fill the" not in str(raised.value)


@each_matrix_estimator
@pytest.mark.parametrize("convert", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_missing_values_have_an_estimator_that_takes_them(estimator, X, convert):
    X[5, 1] = np.nan
    with says(ValueError, "NaN: row 5", "SimpleImputer", "TabularAutoencoder"):
        estimator.fit(convert(X) if convert is not pd.DataFrame else pd.DataFrame(X))


def test_missing_values_of_pandas_among_objects(quick, X):
    frame = pd.DataFrame(
        {"a": X[:, 0], "b": pd.Series([1.0, pd.NA] * 10, dtype=object)}
    )
    with says(ValueError, "NaN: row 1, column 'b'", "SimpleImputer"):
        quick.fit(frame)


TEXTS = {
    "str": lambda: ["x"] * N,
    "text late": lambda: [1.0] * (N - 1) + ["x"],
    "text after a missing one": lambda: [None] * (N - 1) + ["x"],
    "bytes": lambda: [b"x"] * N,
    "string": lambda: pd.array(["x"] * N, dtype="string"),
    "category": lambda: pd.Categorical(["x"] * N),
}
DATES = {
    "naive": lambda: pd.date_range("2020", periods=N),
    "zoned": lambda: pd.date_range("2020", periods=N, tz="Europe/Berlin"),
    "date": lambda: [datetime.date(2020, 1, 2)] * N,
    "datetime": lambda: pd.Series([datetime.datetime(2020, 1, 2)] * N, dtype=object),
    "time": lambda: [datetime.time(12)] * N,
}
OTHERS = {
    "durations": lambda: pd.to_timedelta(np.arange(N), unit="h"),
    "Period": lambda: pd.period_range("2020", periods=N),
    "lists": lambda: [[1, 2]] * N,
    "dict": lambda: [{"x": 1}] * N,
    "Interval": lambda: pd.cut(np.arange(N), 3),
}


@each_matrix_estimator
@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_columns_of_text_are_encoded_or_go_to_the_estimator_of_tables(
    estimator, X, make
):
    frame = pd.DataFrame({"size": X[:, 0], "town": make()})
    with says(
        ValueError,
        "Column 'town' of X does not hold numbers but text, such as",
        "x'",
        "OrdinalEncoder",
        "TabularAutoencoderTransformer",
    ) as raised:
        estimator.fit(frame)
    assert len(str(raised.value)) < 300


@each_matrix_estimator
@pytest.mark.parametrize("make", DATES.values(), ids=DATES)
def test_dates_are_not_for_encoders_of_categories(estimator, X, make):
    frame = pd.DataFrame({"size": X[:, 0], "when": make()})
    with says(
        TypeError,
        "Column 'when' of X does not hold numbers but dates, such as",
        "a year",
        "TabularAutoencoderTransformer",
    ) as raised:
        estimator.fit(frame)
    assert "OrdinalEncoder" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_columns_of_other_things_are_named(quick, X, make):
    frame = pd.DataFrame({"size": X[:, 0], "odd": make()})
    expected = "Column 'odd' of X does not hold numbers but "
    with says((ValueError, TypeError), expected, "leave it out") as raised:
        quick.fit(frame)
    assert len(str(raised.value)) < 300


def test_complex_columns_are_named(quick, X):
    frame = pd.DataFrame({"size": X[:, 0], "wave": [1j] * N})
    with says(ValueError, "Complex data", "column 'wave'", "real and imaginary"):
        quick.fit(frame)


@pytest.mark.parametrize("library", [pl.DataFrame, pa.table])
def test_columns_of_other_libraries_are_named(quick, X, library):
    frame = library({"size": X[:, 0], "town": ["x"] * N})
    with says(ValueError, "Column 'town'", "text, such as 'x'"):
        quick.fit(frame)


def test_columns_of_one_name_are_told_too(quick, X):
    frame = pd.concat([pd.DataFrame({"a": X[:, 0]}), pd.DataFrame({"a": ["x"] * N})])
    frame = pd.DataFrame(np.full((N, 2), 1.0), columns=["a", "a"]).astype(object)
    frame.iloc[2, 1] = "x"
    with says(ValueError, "Column 'a'", "text"):
        quick.fit(frame)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, lambda rows: np.asarray(rows, dtype=object), list],
    ids=["text", "object", "list"],
)
def test_text_in_arrays_says_which_column_is_a_category(quick, convert):
    rows = [[1.0, "x"]] * N
    with says(ValueError, "Column 1 of X", "'x'", "(categorical_features=[1])"):
        quick.fit(convert(rows))


@given(
    st.lists(st.sampled_from(["number", "text", "date", "lists"]), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_first_column_that_is_no_number_is_named(kinds, random):
    """For frames with columns in any order, in any row of a column."""
    odd = {"text": "x", "date": datetime.date(2020, 1, 1), "lists": [1, 2]}
    frame = pd.DataFrame({"first": np.arange(4.0)})
    for number, kind in enumerate(kinds):
        column = pd.Series(np.arange(4.0), dtype=object)
        if kind != "number":
            column[random.randrange(4)] = odd[kind]
        frame[f"column {number}"] = column
    faulty = [n for n, kind in enumerate(kinds) if kind != "number"]
    estimator = AutoencoderTransformer(1, max_iter=1, random_state=0)
    if not faulty:
        estimator.fit(frame)
        return
    what = {"date": "dates"}.get(kinds[faulty[0]], kinds[faulty[0]])
    with says((ValueError, TypeError), f"'column {faulty[0]}'", f"but {what}"):
        estimator.fit(frame)


# Shapes, and objects that are not data


@pytest.mark.parametrize("shape", [(N, 28, 28), (N, 8, 8, 3), (N, 2, 2, 2, 2)])
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_arrays_of_images_have_estimators_of_images(quick, shape, convert):
    images = convert(np.zeros(shape))
    with says(
        ValueError, f"dim {len(shape)}", str(shape), "reshape(len(X), -1)", "ConvAuto"
    ):
        quick.fit(images)
    quick.fit(np.random.default_rng(0).normal(size=(N, 4)))
    for method in (quick.transform, quick.score, quick.score_samples):
        with says(ValueError, "PatchAutoencoderTransformer take images"):
            method(images)


def test_structured_arrays_are_frames(quick):
    records = np.zeros(N, dtype=[("a", float), ("b", float)])
    with says(TypeError, "structured array", "pandas.DataFrame(X)"):
        quick.fit(records)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


NOT_YET = {
    "loader": (lambda X: DataLoader(X), "DataLoader", "Blocks(X)"),
    "dataset": (
        lambda X: TensorDataset(torch.tensor(X)),
        "TensorDataset",
        "Blocks(X)",
    ),
    "stream": (lambda X: Stream(), "Stream", "Blocks(X)"),
    "generator": (lambda X: (row for row in X), "generator", "Blocks of a function"),
    "iterator": (lambda X: iter(X), "iterator", "Blocks of a function"),
    "dict": (lambda X: dict(enumerate(X.T)), "dict", "pandas.DataFrame(X)"),
}


@each_matrix_estimator
@pytest.mark.parametrize(("make", "name", "advice"), NOT_YET.values(), ids=NOT_YET)
def test_sources_of_data_are_refused_with_advice(estimator, X, make, name, advice):
    with says(TypeError, "X is a ", name, advice):
        estimator.fit(make(X))


def test_lazy_frames_are_refused_by_every_method_but_fit(quick, X):
    quick.fit(pl.LazyFrame(X))
    for method in (quick.transform, quick.score, quick.score_samples):
        with says(TypeError, "X is a LazyFrame", "X.collect()"):
            method(pl.LazyFrame(X))


def test_a_collection_is_refused_where_blocks_are(X):
    for rows in (pl.LazyFrame(X), Blocks([X])):
        with says(TypeError, "SemiSupervisedAutoencoder does not take Blocks"):
            SemiSupervisedAutoencoder(2).fit(rows, np.arange(N) % 2)


# Blocks


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        pd.DataFrame,
        pl.DataFrame,
        torch.tensor,
        sparse.csr_array,
        lambda X: X[0],
        lambda X: {"a": X},
    ],
    ids=["array", "pandas", "polars", "tensor", "sparse", "row", "dict"],
)
def test_blocks_of_one_array_are_a_list(X, convert):
    with says(TypeError, "got one ", "Blocks([X])"):
        Blocks(convert(X))


@pytest.mark.parametrize("source", [list, lambda X: X.tolist(), lambda X: lambda: X])
def test_blocks_that_are_rows_are_told(quick, X, source):
    with says(ValueError, "(4,)", "Blocks([X])"):
        quick.fit(Blocks(source(X)))


def test_blocks_without_rows_are_still_left_out(quick, X):
    one = quick.fit(Blocks([[], X, np.empty((0, 4))]))
    np.testing.assert_array_equal(one.mean_, quick.fit(X).mean_)


def test_blocks_with_labels_say_so(quick, X):
    with says(ValueError, "A block is a tuple", "without labels"):
        quick.fit(Blocks([(X, np.zeros(N))]))


@pytest.mark.parametrize("n_fields", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [5, 7])
def test_loaders_are_blocks(quick, X, n_fields, batch_size):
    fields = torch.tensor(X), torch.arange(N)
    dataset = TensorDataset(*fields[:n_fields]) if n_fields else fields[0]
    before = torch.get_rng_state()
    blocks = Blocks(DataLoader(dataset, batch_size=batch_size))
    code = quick.fit(blocks).transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(quick.fit(X).transform(X), code)
    assert next(len(block) for block in blocks) == batch_size


class Rows(torch.utils.data.Dataset):
    """Items of a row and a label."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, n):
        return self.X[n], 0


class Lines(IterableDataset):
    def __init__(self, X):
        self.X = X

    def __iter__(self):
        return iter(self.X)


@pytest.mark.parametrize(
    "make",
    [lambda X: TensorDataset(torch.tensor(X)), Rows, Lines],
    ids=["tensors", "items", "stream"],
)
def test_data_sets_are_blocks(quick, make):
    X = np.random.default_rng(0).normal(size=(1100, 3))
    blocks = Blocks(make(X))
    assert [len(block) for block in blocks] == [1024, 76]
    code = quick.fit(blocks).transform(X)
    np.testing.assert_array_equal(quick.fit(X).transform(X), code)


def test_loaders_give_images(X):
    images = torch.tensor(np.random.default_rng(0).normal(size=(N, 8, 8)))
    estimator = ConvAutoencoderTransformer(2, max_iter=1, random_state=0)
    code = estimator.fit(Blocks(DataLoader(TensorDataset(images), batch_size=9)))
    assert code.image_shape_ == (8, 8, 1)


@pytest.mark.parametrize(
    "shuffled",
    [
        {"shuffle": True},
        {"sampler": torch.utils.data.SubsetRandomSampler(range(N))},
        {
            "batch_sampler": torch.utils.data.BatchSampler(
                torch.utils.data.RandomSampler(range(N)), 5, drop_last=False
            )
        },
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_loaders_that_shuffle_are_refused(X, shuffled):
    with says(ValueError, "same order", "shuffle=False", "buffer_size"):
        Blocks(DataLoader(TensorDataset(torch.tensor(X)), **shuffled))


@each_estimator
def test_fit_transform_of_blocks_is_refused_before_training(estimator, X, monkeypatch):
    monkeypatch.setattr(type(estimator), "fit", None)
    with says(TypeError, "fit_transform", "use fit(X)", "transform each part"):
        estimator.fit_transform(Blocks([X]))
    with says(TypeError, "fit_transform"):
        make_pipeline(estimator, "passthrough").fit(Blocks([X]))


def test_fit_transform_is_fit_and_transform(quick, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    weights = np.arange(1.0, N + 1)
    code = quick.fit_transform(X, sample_weight=weights)
    np.testing.assert_array_equal(code, quick.fit(X, None, weights).transform(X))
    for library in ("pandas", "polars"):
        quick.set_output(transform=library)
        found = quick.fit_transform(frame)
        assert type(found) is type(quick.transform(frame))
        assert list(found.columns) == list(quick.get_feature_names_out())


# Parameters


def options():
    for estimator in ALL_ESTIMATORS:
        for name, constraints in estimator._parameter_constraints.items():
            for constraint in constraints:
                if isinstance(constraint, StrOptions):
                    yield pytest.param(
                        type(estimator),
                        name,
                        sorted(constraint.options),
                        id=f"{type(estimator).__name__}-{name}",
                    )


def test_types_in_errors_are_public():
    named = [getattr(skautoenc, name) for name in skautoenc.__all__]
    types = [
        constraint
        for estimator in named
        for constraints in getattr(estimator, "_parameter_constraints", {}).values()
        for constraint in (constraints if isinstance(constraints, list) else [])
        if isinstance(constraint, type) and "skautoenc" in constraint.__module__
    ]
    assert len(types) >= 6
    assert all(found in named for found in types)
    assert {found.__module__ for found in types} == {"skautoenc"}
    with says(TypeError, "'autoencoder'", "'skautoenc.AutoencoderTransformer'"):
        skautoenc.AutoencoderOutlierDetector(3).fit(np.eye(5))


@pytest.mark.parametrize(("kind", "name", "valid"), list(options()))
def test_options_are_listed_in_order(X, kind, name, valid):
    told = ", ".join(map(repr, valid))
    with says(
        ValueError, f"The {name!r} parameter", f"{{{told}}}", "Got '?!' instead."
    ):
        kind(**{name: "?!"}).fit(X)


@pytest.mark.parametrize(("kind", "name", "valid"), list(options()))
@given(st.data())
def test_a_slip_of_the_pen_is_named(kind, name, valid, data):
    """An option in capitals, with other separators, or with a letter left out."""
    option = data.draw(st.sampled_from(valid))
    change = data.draw(st.sampled_from(["upper", "blank", "drop"]))
    if change == "upper":
        slip = option.upper()
    elif change == "blank":
        slip = f" {option.replace('_', '-')} "
    else:
        place = data.draw(st.integers(1, len(option) - 1))
        slip = option[:place] + option[place + 1 :]
    if slip in valid or (change == "drop" and len(option) < 5):
        return
    with pytest.raises(ValueError, match="Did you mean") as raised:
        kind(**{name: slip})._validate_params()
    if change != "drop":
        assert f"Did you mean {option!r}?" in str(raised.value)


def test_the_order_of_options_does_not_depend_on_hashes():
    script = (
        "from skautoenc import AutoencoderTransformer as A\n"
        "for name in ('activation', 'loss', 'sparsity', 'hidden_layer_sizes'):\n"
        "    try:\n"
        "        A(**{name: '?'})._validate_params()\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = []
    for name in ("activation", "loss", "sparsity", "hidden_layer_sizes"):
        with pytest.raises(ValueError, match="must be") as raised:
            AutoencoderTransformer(**{name: "?"})._validate_params()
        here.append(str(raised.value))
    assert run.stdout.splitlines() == here


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"activation": "sigmoid"}, "Did you mean 'logistic'?"),
        ({"activation": "swish"}, "Did you mean 'silu'?"),
        ({"activation": torch.relu}, "Did you mean 'relu'?"),
        ({"activation": torch.nn.Tanh}, "Did you mean 'tanh'?"),
        ({"activation": torch.nn.LeakyReLU()}, "Did you mean 'leaky_relu'?"),
        ({"activation": "softplus"}, "The nearest is 'silu'."),
        ({"loss": "mse"}, "Did you mean 'squared_error'?"),
        ({"loss": "mean_squared_error"}, "Did you mean 'squared_error'?"),
        ({"loss": "MSELoss"}, "Did you mean 'squared_error'?"),
        ({"loss": "mae"}, "The nearest is 'huber'."),
        ({"loss": "bce"}, "Did you mean 'binary_cross_entropy'?"),
        ({"solver": "adamw"}, "'adam' with alpha="),
        ({"solver": "AdamW"}, "'adam' with alpha="),
        ({"solver": "rmsprop"}, "The nearest is 'adam'."),
        ({"normalization": "batch_norm"}, "Did you mean 'batch'?"),
        ({"sparsity": "k-sparse"}, "Did you mean 'topk'?"),
        ({"sparsity": 0.1}, "sparsity_rate=0.1"),
        ({"n_components": "mle"}, "Did you mean 'auto'?"),
        ({"learning_rate": 1e-3}, "Did you mean learning_rate_init=0.001?"),
        ({"learning_rate": "adaptive"}, "The nearest is 'cosine'."),
        ({"corruption": 0.3}, "corruption_rate=0.3"),
        ({"corruption": "dropout"}, "Did you mean 'masking'?"),
        ({"batch_size": None}, "Did you mean 'auto'?"),
    ],
    # Without addresses of functions, which differ between processes.
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_names_of_other_packages_are_suggested(X, parameters, told):
    with says(ValueError, "Got ", told):
        AutoencoderTransformer(**parameters).fit(X)


@pytest.mark.parametrize("widths", [100.0, 0, -3, True, (8, 0), (True,)], ids=str)
def test_widths_of_layers_are_positive_integers(X, widths):
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .*(an int|a positive)"):
        AutoencoderTransformer(hidden_layer_sizes=widths).fit(X)


@pytest.mark.parametrize(
    "parameters",
    [{"activation": "xyz"}, {"loss": "?"}, {"tol": -1.0}, {"n_components": 0}],
    ids=str,
)
def test_no_suggestion_without_a_similar_value(X, parameters):
    with pytest.raises(ValueError, match=r"Got .* instead\.$"):
        AutoencoderTransformer(**parameters).fit(X)


def test_patches_name_the_public_class(X):
    with says(
        ValueError, "instance of 'skautoenc.AutoencoderTransformer'", "n_components=100"
    ) as raised:
        PatchAutoencoderTransformer(100).fit(X)
    assert "._" not in str(raised.value)


class Wave(torch.nn.Module):
    """A network of a given width."""

    def __init__(self, n_features, n_components, width=4):
        super().__init__()
        self.encode = torch.nn.Sequential(
            torch.nn.Linear(n_features, width), torch.nn.Linear(width, n_components)
        )
        self.decode = torch.nn.Linear(n_components, n_features)


def test_arguments_that_a_network_does_not_have_are_named():
    own = AutoencoderTransformer(2, network=partial(Wave, width=5))
    with says(ValueError, "network__widht", "Wave has no", "Did you mean", "__width?"):
        own.set_params(network__widht=8)
    with says(ValueError, "network__n_components", "passes", "set n_components"):
        own.set_params(network__n_components=8)
    with says(ValueError, "network__width", "network is None", "class of a network"):
        AutoencoderTransformer().set_params(network__width=8)
    assert own.network.keywords == {"width": 5}


def test_parameters_of_what_has_none_are_refused():
    patches = PatchAutoencoderTransformer()
    with says(ValueError, "autoencoder__alpha", "autoencoder is None", "Pass an Auto"):
        patches.set_params(autoencoder__alpha=1.0)
    with says(ValueError, "solver__rate", "solver is 'adam'"):
        AutoencoderTransformer().set_params(solver__rate=1.0)
    with says(ValueError, "Invalid parameter 'rate'"):
        AutoencoderTransformer().set_params(rate=1.0)
    patches.set_params(autoencoder=AutoencoderTransformer(), autoencoder__alpha=1.0)
    assert patches.autoencoder.alpha == 1.0


# Labels with missing values

LABELS = {
    "str": (lambda y: pd.Series(y), ["a", "b"]),
    "string": (lambda y: pd.Series(y, dtype="string"), ["a", "b"]),
    "object": (lambda y: np.array(y, dtype=object), ["a", "b"]),
    "column": (lambda y: np.array(y, dtype=object)[:, None], ["a", "b"]),
    "list": (list, ["a", "b"]),
    "NaN": (lambda y: [np.nan if v is None else v for v in y], ["a", "b"]),
    "categories": (lambda y: pd.Categorical(y), ["a", "b"]),
    "category": (lambda y: pd.Series(y, dtype="category"), ["a", "b"]),
    "polars": (lambda y: pl.Series(y), ["a", "b"]),
    "Int64": (
        lambda y: pd.Series(y).map({"a": 1, "b": 2}).astype("Int64"),
        ["1", "2"],
    ),
    "integers": (lambda y: [{"a": 1, "b": 2}.get(v) for v in y], ["1", "2"]),
    "boolean": (lambda y: pd.Series(y).map({"a": True, "b": False}), ["False", "True"]),
    "boolean NA": (
        lambda y: pd.Series(y).map({"a": True, "b": False}).astype("boolean"),
        ["False", "True"],
    ),
    "floats": (
        lambda y: np.array([{"a": 1.0, "b": 2.0}.get(v, np.nan) for v in y]),
        ["1.0", "2.0"],
    ),
    "dates": (
        lambda y: pd.to_datetime(pd.Series(y).map({"a": "2020", "b": "2021"})),
        ["2020", "2021"],
    ),
}


@pytest.mark.parametrize(("make", "names"), LABELS.values(), ids=LABELS)
def test_missing_labels_are_a_class_of_their_own(quick, make, names):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    y = rng.permutation(["a", "b", None] * 10).tolist()
    display = LatentDisplay.from_estimator(quick.fit(X), X, make(y))
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert [
        text[: len(name)] for text, name in zip(texts, names, strict=False)
    ] == names
    assert texts[2:] == ["missing"]
    is_missing = np.array([label is None for label in y])
    missing = display.scatter_[-1]
    np.testing.assert_array_equal(
        missing.get_offsets(), quick.transform(X)[is_missing].astype(float)
    )
    red, green, blue, _ = missing.get_facecolor()[0]
    assert red == green == blue
    assert [len(points.get_offsets()) for points in display.scatter_] == [10, 10, 10]
    assert {len(np.unique(p.get_facecolor())) for p in display.scatter_[:2]} != {2}


@pytest.mark.parametrize("dtype", ["float64", "Float64"])
def test_quantities_with_missing_values_keep_their_colours(dtype):
    rng = np.random.default_rng(0)
    target = pd.Series(rng.random(30))
    target[::3] = np.nan
    points = rng.normal(size=(30, 2))
    display = LatentDisplay(points, target=target.astype(dtype)).plot()
    shown, missing = display.scatter_
    np.testing.assert_allclose(shown.get_array(), target.dropna())
    assert shown.colorbar is not None
    np.testing.assert_array_equal(missing.get_offsets(), points[::3])
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["missing"]


def test_all_labels_may_be_missing():
    display = LatentDisplay(np.eye(2), target=[None, None]).plot()
    assert len(display.scatter_) == 1
    assert display.ax_.get_legend().get_texts()[0].get_text() == "missing"
