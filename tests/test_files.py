"""Estimators that are saved to files and loaded again."""

import os
import pickle
import pickletools
import resource
import shutil
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import safetensors.numpy
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from test_contract import ESTIMATORS, TwoLayers

import skautoenc
from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._persistence.files import pack, unpack


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).poisson(3, size=(60, 16)).astype(np.float64)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "estimator.safetensors"


def pass_through(estimator, path, **options):
    """Save and load."""
    assert estimator.save(path) is None
    return skautoenc.load(path, **options)


def builder_of(estimator):
    return {"network": TwoLayers} if "network=" in repr(estimator) else {}


def of_every_estimator(test):
    """Run a test for each estimator of the contract, in a few epochs where it can."""
    test = pytest.mark.usefixtures("quick_defaults")(test)
    return pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)(test)


def quick(**params):
    return AutoencoderTransformer(3, max_iter=3, random_state=0, **params)


def result_of(estimator, X):
    """Apply an estimator: a transformer, or a detector of outliers."""
    is_transformer = hasattr(estimator, "transform")
    return estimator.transform(X) if is_transformer else estimator.score_samples(X)


def assert_inverts_alike(ours, theirs, code):
    again, expected = ours.inverse_transform(code), theirs.inverse_transform(code)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(again, expected)
    else:
        assert again.equals(expected)


def assert_reads_alike(ours, theirs, X):
    if not hasattr(theirs, "transform"):
        np.testing.assert_array_equal(ours.p_values(X), theirs.p_values(X))
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        return
    code = theirs.transform(X)
    np.testing.assert_array_equal(ours.transform(X), code)
    if hasattr(theirs, "inverse_transform"):
        assert_inverts_alike(ours, theirs, code)
    if hasattr(theirs, "score"):
        assert ours.score(X) == theirs.score(X)
        np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))
    names = ours.get_feature_names_out()
    assert names.tolist() == theirs.get_feature_names_out().tolist()


# The contract


@of_every_estimator
def test_a_loaded_estimator_is_the_same(estimator, X, path):
    fitted = clone(estimator).set_params(random_state=0).fit(X)
    loaded = pass_through(fitted, path, **builder_of(estimator))
    assert type(loaded) is type(fitted)
    assert_reads_alike(loaded, fitted, X)
    assert repr(loaded.get_params()) == repr(fitted.get_params())
    assert vars(loaded).keys() == vars(fitted).keys()
    # It can be pickled, saved, cloned and fitted again, with the same result.
    assert_reads_alike(pickle.loads(pickle.dumps(loaded)), fitted, X)
    loaded.save(path.with_suffix(".again"))
    assert path.with_suffix(".again").read_bytes() == path.read_bytes()
    again = clone(loaded).fit(X)
    np.testing.assert_array_equal(result_of(again, X), result_of(fitted, X))
    if not hasattr(fitted, "transform"):
        return
    predictions = [
        make_pipeline(e, LogisticRegression(max_iter=5000))
        .fit(X, X[:, 0] > 3)
        .predict_proba(X)
        for e in (loaded, fitted)
    ]
    np.testing.assert_array_equal(*predictions)


@of_every_estimator
def test_an_estimator_that_is_not_fitted_is_the_same(estimator, X, path):
    estimator = clone(estimator)
    if hasattr(estimator, "transform"):
        estimator.set_output(transform="pandas")
    loaded = pass_through(estimator, path, **builder_of(estimator))
    assert repr(loaded) == repr(estimator)
    assert vars(loaded).keys() == vars(estimator).keys()
    found, expected = (
        result_of(each.set_params(random_state=0).fit(X), X)
        for each in (loaded, estimator)
    )
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found, expected)
    if hasattr(estimator, "transform"):
        pd.testing.assert_frame_equal(found, expected)


@of_every_estimator
def test_it_is_loaded_by_its_class_and_by_no_other(estimator, path):
    estimator.save(path)
    options = builder_of(estimator)
    assert type(type(estimator).load(path, **options)) is type(estimator)
    others = {type(other) for other in ESTIMATORS} - {type(estimator)}
    for other in others:
        with pytest.raises(ValueError, match=rf"no {other.__name__}; skautoenc\.load"):
            other.load(path, **options)


@of_every_estimator
def test_pickles_are_small_and_of_no_device(estimator, X, path):
    fitted = clone(estimator).set_params(random_state=0).fit(X)
    fitted.save(path)
    with safetensors.safe_open(path, framework="np") as file:
        arrays = sum(file.get_tensor(name).nbytes for name in list(file.keys()))
    data = pickle.dumps(fitted)
    assert len(data) < 1.2 * arrays + 10_000
    # Weights may happen to contain a word.
    texts = [text for _, text, _ in pickletools.genops(data) if isinstance(text, str)]
    assert "skautoenc" in texts
    for word in ("torch", "cpu", "cuda", "storage"):
        assert not any(word in text for text in texts)


@of_every_estimator
def test_joblib_maps_it_into_memory(estimator, X, path):
    fitted = clone(estimator).set_params(random_state=0).fit(X)
    fitted.save(path)
    joblib.dump(fitted, path.with_suffix(".joblib"))
    mapped = joblib.load(path.with_suffix(".joblib"), mmap_mode="r")
    assert_reads_alike(mapped, fitted, X)
    mapped.save(path.with_suffix(".again"))
    assert path.with_suffix(".again").read_bytes() == path.read_bytes()


# Continued training


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_goes_on_as_if_nothing_had_happened(solver, X, path):
    estimators = [
        AutoencoderTransformer(solver=solver, random_state=np.random.RandomState(0)),
        ConvAutoencoderTransformer(4, solver=solver, random_state=0),
    ]
    for straight in estimators:
        paused = clone(straight)
        for part in np.array_split(X, 4):
            straight.partial_fit(part)
            paused = pass_through(paused.partial_fit(part), path)
        assert_reads_alike(paused, straight, X)
        assert paused.loss_curve_ == straight.loss_curve_


def test_warm_start_goes_on_as_if_nothing_had_happened(X, path):
    for estimator in (
        quick(warm_start=True, early_stopping=True, normalization="batch"),
        ConvAutoencoderTransformer(3, max_iter=3, warm_start=True, random_state=0),
        TabularAutoencoderTransformer(3, max_iter=3, warm_start=True, random_state=0),
    ):
        loaded = pass_through(estimator.fit(X), path)
        assert_reads_alike(loaded.fit(X), estimator.fit(X), X)
        assert loaded.loss_curve_ == estimator.loss_curve_


def test_a_generator_in_two_places_stays_one(X, path):
    estimator = AutoencoderTransformer(3, random_state=np.random.RandomState(0))
    loaded = pass_through(estimator.partial_fit(X), path)
    assert loaded.random_state is loaded._random_state
    loaded.partial_fit(X)
    estimator.partial_fit(X)
    assert loaded.random_state.randint(1000) == estimator.random_state.randint(1000)


def test_numpys_own_generator_stays_numpys(X, path):
    loaded = pass_through(AutoencoderTransformer(3).partial_fit(X), path)
    assert loaded._random_state is np.random.mtrand._rand


# What is saved


def test_arrays_lie_in_memory_as_they_did(X, path):
    # The rounding of products depends on the memory order.
    estimator = quick(whiten="zca").fit(X)
    estimator.whitening_ = np.asfortranarray(estimator.whitening_)
    loaded = pass_through(estimator, path)
    assert loaded.whitening_.flags.f_contiguous
    assert loaded.dewhitening_.flags.c_contiguous
    np.testing.assert_array_equal(loaded.whitening_, estimator.whitening_)


def test_parameters_come_back_as_they_were(path):
    params = {
        "hidden_layer_sizes": (np.int64(4), 3),
        "alpha": np.float32(0.1),
        "max_grad_norm": 1e300,
        "device": torch.device("cpu"),
        "shuffle": np.bool_(False),
        "verbose": 2,
    }
    loaded = pass_through(AutoencoderTransformer(**params), path)
    for name, value in params.items():
        assert repr(getattr(loaded, name)) == repr(value)
        assert type(getattr(loaded, name)) is type(value)


@pytest.mark.parametrize(
    "given",
    [
        ["a"],
        np.array(["a"]),
        np.array(["a"], dtype=object),
        pd.Index(["a"]),
        (np.str_("a"),),
    ],
    ids=lambda given: type(given).__name__,
)
def test_names_of_columns_come_back_in_their_own_collection(given, path):
    estimator = TabularAutoencoderTransformer(categorical_features=given)
    loaded = pass_through(estimator, path).categorical_features
    assert type(loaded) is type(given)
    assert repr(loaded) == repr(given)


def test_a_frame_comes_back_as_a_frame(X, path):
    frame = pd.DataFrame(X, columns=[f"column {n}" for n in range(16)])
    estimator = quick().set_output(transform="pandas").fit(frame)
    loaded = pass_through(estimator, path)
    pd.testing.assert_frame_equal(loaded.transform(frame), estimator.transform(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(frame.rename(columns={"column 0": "another"}))


@pytest.mark.parametrize("is_fitted", [False, True])
def test_requests_for_metadata_come_back(is_fitted, X, path):
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = quick().set_fit_request(sample_weight="w")
        estimator.set_score_request(sample_weight=False)
        if is_fitted:
            estimator.fit(X)
        loaded = pass_through(estimator, path)
        requests = [repr(e.get_metadata_routing()) for e in (loaded, estimator)]
        assert requests[0] == requests[1]
        assert "'w'" in requests[0]
        pipeline = make_pipeline(loaded, LogisticRegression(max_iter=5000))
        pipeline.fit(X, X[:, 0] > 3, w=np.arange(60.0))
        weighted = clone(quick()).fit(X, sample_weight=np.arange(60.0))
        np.testing.assert_array_equal(pipeline[0].transform(X), weighted.transform(X))


def make_frame():
    rng = np.random.default_rng(0)
    n = 40
    return pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "whole": rng.integers(9, size=n),
            "gaps": pd.array([1, None] * (n // 2), dtype="Int16"),
            "yes": rng.random(n) > 0.5,
            "word": rng.choice(["ä", "b", "日本"], n),
            "category": pd.Categorical(rng.choice(["x", "y"], n), ordered=True),
            "numbers": pd.Categorical(rng.choice([1, 2.5], n)),
            "day": pd.date_range("2020-01-01", periods=n),
            "time": pd.date_range(
                "2020-01-01", periods=n, freq="h", tz="Europe/Berlin"
            ),
            "object": pd.Series([None, 1, "a", 1.5, True] * (n // 5), dtype=object),
            "moment": pd.Series(
                [pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2021")] * (n // 2),
                dtype=object,
            ),
            "numpy": pd.Series([np.float32(0.1), np.int8(3)] * (n // 2), dtype=object),
            "empty": np.full(n, np.nan),
        }
    )


@pytest.mark.filterwarnings("ignore:Column '(object|moment)' holds values of")
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_tables_of_pandas(scaling, path):
    frame = make_frame()
    estimator = TabularAutoencoderTransformer(
        4, max_iter=2, random_state=0, scaling=scaling, min_frequency=0.1
    ).fit(frame)
    loaded = pass_through(estimator, path)
    assert_reads_alike(loaded, estimator, frame)
    pd.testing.assert_frame_equal(loaded.impute(frame), estimator.impute(frame))
    assert loaded.column_kinds_ == estimator.column_kinds_
    levels = [
        [(type(level), level) for level in column.levels]
        for e in (loaded, estimator)
        for column in e._table.columns
        if column.kind == "category"
    ]
    half = len(levels) // 2
    assert levels[:half] == levels[half:]


def test_tables_of_polars(path):
    frame = pl.DataFrame(
        {
            "number": [1.0, 2.0, None, 4.0] * 10,
            "whole": pl.Series([1, 2, 3, 4] * 10, dtype=pl.UInt8),
            "word": ["a", "b", None, "a"] * 10,
            "one": pl.Series(["a", "b", "a", "a"] * 10, dtype=pl.Enum(["a", "b", "c"])),
            "kind": pl.Series(["a", "b", "a", "a"] * 10, dtype=pl.Categorical),
            "time": pl.datetime_range(
                pl.datetime(2020, 1, 1),
                pl.datetime(2020, 1, 2, 15),
                "1h",
                time_unit="ms",
                time_zone="Europe/Berlin",
                eager=True,
            ),
            "day": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 2, 9), eager=True),
        }
    )
    estimator = TabularAutoencoderTransformer(4, max_iter=2, random_state=0).fit(frame)
    loaded = pass_through(estimator, path)
    assert_reads_alike(loaded, estimator, frame)
    assert loaded.impute(frame).equals(estimator.impute(frame))
    code = loaded.transform(frame)
    assert loaded.inverse_transform(code).schema == frame.schema


def test_a_network_of_the_users_is_given_back(X, path):
    estimator = quick(network=TwoLayers).fit(X)
    with pytest.raises(ValueError, match=r"TwoLayers' builds; pass that as network"):
        pass_through(estimator, path)
    loaded = skautoenc.load(path, network=TwoLayers)
    assert loaded.network is TwoLayers
    assert_reads_alike(loaded, estimator, X)
    wider = lambda n_features, n_components: TwoLayers(n_features, n_components + 1)  # noqa: E731
    with pytest.raises(ValueError, match="weights are not those of the network"):
        skautoenc.load(path, network=wider)
    with pytest.raises(ValueError, match="class or a function, never an instance"):
        skautoenc.load(path, network=TwoLayers(16, 3))
    with pytest.raises(ValueError, match="no network of your own"):
        pass_through(quick(), path, network=TwoLayers)


def test_a_file_is_a_plain_safetensors_file(X, path):
    estimator = quick().fit(X)
    estimator.save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        weight = file.get_tensor("network_.encoder.0.0.weight")
        assert list(file.metadata()) == ["skautoenc"]
    assert torch.equal(weight, estimator.network_.encoder[0][0].weight)


# What is not saved


class Own(AutoencoderTransformer):
    """A class that files cannot name."""


class Silent:
    """A callback."""

    def setup(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context, **others): ...
    def on_fit_task_end(self, estimator, context, **others): ...
    def teardown(self, estimator, context): ...


def with_level(level):
    levels = pd.Series([level, "a"] * 10, dtype=object)
    frame = pd.DataFrame({"odd one": levels, "n": np.arange(20.0)})
    return TabularAutoencoderTransformer(2, max_iter=1).fit(frame)


def with_attribute(estimator):
    estimator.threshold = 3
    return estimator


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Own(), "Own is a class of your own"),
        (lambda: with_attribute(quick()), r"attributes of your own, \['threshold'\]"),
        (lambda: quick().set_callbacks(Silent()), "callbacks"),
        (lambda: with_level(1j), r"Column 'odd one' .* a complex"),
        (lambda: with_level(frozenset()), r"Column 'odd one' .* a frozenset"),
        (
            lambda: AutoencoderTransformer(
                random_state=np.random.RandomState(np.random.PCG64(0))
            ),
            "random_state holds a RandomState on PCG64",
        ),
        (lambda: AutoencoderTransformer(hidden_layer_sizes=range(1, 3)), "a range"),
        (lambda: AutoencoderTransformer(n_components=-1), "'n_components' parameter"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(make, message, path):
    path.write_text("before")
    with pytest.raises(ValueError, match=message):
        make().save(path)
    assert path.read_text() == "before"
    assert os.listdir(path.parent) == [path.name]


# What is refused


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a file."""
    path = tmp_path_factory.mktemp("saved") / "estimator"
    X = np.random.default_rng(0).normal(size=(30, 4))
    AutoencoderTransformer(2, hidden_layer_sizes=(3,), random_state=0).fit(X).save(path)
    return path.read_bytes()


def refuse(path, data, message):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        skautoenc.load(path)
    assert str(caught.value).startswith(f"{str(path)!r} cannot be loaded: ")


def test_every_changed_byte_is_noticed(saved, path):
    for place in range(len(saved)):
        changed = bytearray(saved)
        changed[place] ^= 1 << place % 8
        refuse(path, changed, "not a file of skautoenc|damaged")


def test_every_lost_byte_is_noticed(saved, path):
    for length in [*range(0, 200), *range(200, len(saved), 17), len(saved) - 1]:
        refuse(path, saved[:length], "not a file of skautoenc|damaged")
    refuse(path, saved + b"\0", "damaged")


def test_other_files_are_refused(path, X):
    others = [
        b"",
        pickle.dumps(quick()),
        b"PK\x03\x04" + bytes(1000),
        safetensors.numpy.save({"a": np.zeros(3)}),
        safetensors.numpy.save({"a": np.zeros(3)}, {"skautoenc": "{}"}),
    ]
    for data in others:
        refuse(path, data, "not a file of skautoenc")


def test_a_missing_file_is_not_found(path):
    with pytest.raises(FileNotFoundError):
        skautoenc.load(path)
    with pytest.raises(IsADirectoryError):
        skautoenc.load(path.parent)


def hostile(saved, change):
    """Change document and arrays, and make a file of them with a correct digest."""
    document, arrays = unpack(saved)
    change(document, arrays)
    return pack(document, arrays)


def config_of(document):
    """Return the network's arguments as an ordinary dictionary."""
    return document["estimator"]["estimator"]["fitted"]["network_"]["network"][1][
        "dict"
    ]


def set_config(**changes):
    def change(document, arrays):
        for entry in config_of(document):
            if entry[0] in changes:
                entry[1] = changes[entry[0]]

    return change


def set_fitted(**changes):
    return lambda document, arrays: document["estimator"]["estimator"]["fitted"].update(
        changes
    )


def set_params(**changes):
    return lambda document, arrays: document["estimator"]["estimator"]["params"].update(
        changes
    )


def set_class(name):
    return lambda document, arrays: document["estimator"]["estimator"].update(
        {"class": name}
    )


NESTED = []
for _ in range(500):
    NESTED = [NESTED]

HOSTILE = {
    "gigantic": (set_config(n_components=2**40), "weights are not those"),
    "wide": (set_config(n_features=10**18), "parts do not make"),
    "deep": (set_config(hidden_layer_sizes={"tuple": [3] * 10**5}), "more layers"),
    "huge": (set_config(n_components=10**400), "parts do not make"),
    "negative": (set_config(n_components=-2), "parts do not make"),
    "swapped": (set_config(activation="os.system"), "parts do not make"),
    "class": (set_class("builtins.eval"), "no class of skautoenc"),
    "abstract": (set_class("BaseAutoencoder"), "no class of skautoenc"),
    "other class": (set_class("ConvAutoencoderTransformer"), "parts do not make"),
    "no class": (set_class(["a"]), "parts do not make"),
    "method": (set_fitted(transform=1), "not known"),
    "dunder": (set_fitted(__class__=1), "not known"),
    "type": (set_fitted(scale_="one"), "scale_ is not"),
    "zero": (set_fitted(scale_=0.0), "scale_ is not"),
    "not finite": (set_fitted(scale_={"float": "nan"}), "scale_ is not"),
    "short": (set_fitted(loss_function_="none"), "loss_function_ is not"),
    "count": (set_fitted(n_features_in_=10**15), "n_features_in_ does not fit"),
    "names": (
        set_fitted(feature_names_in_={"array": ["O", [1], ["a"]]}),
        "feature_names_in_",
    ),
    "nested": (set_params(alpha=NESTED), "nested too deeply"),
    "params": (set_params(evil=1), "unexpected keyword"),
    "value": (set_params(alpha=-1.0), "'alpha' parameter"),
    "tag": (set_params(alpha={"pickle": "gASV"}), "KeyError"),
    "two tags": (set_params(alpha={"tuple": [], "dict": []}), "parts do not make"),
    "shared": (
        set_params(alpha={"array": ["rows", "mean_"]}),
        "parts do not make",
    ),
    "strings": (
        set_params(
            hidden_layer_sizes={"array": ["U", [2000], ["a" * 10**6] + [""] * 1999]}
        ),
        "too large",
    ),
    "long": (
        set_params(
            hidden_layer_sizes={"array": ["O", [3], {"array": ["O", [10**9, 0], []]}]}
        ),
        "no list",
    ),
    "generator": (
        lambda document, arrays: (
            document.update(
                generators=[{"tuple": [{"array": ["rows", "k"]}, 625, 0, 0.0]}]
            )
            or arrays.update(k=np.zeros(624, np.uint32))
        ),
        "impossible state",
    ),
    "extra": (lambda document, arrays: arrays.update(x=np.zeros(3)), "of no use"),
    "lacking": (lambda document, arrays: arrays.pop("mean_"), "KeyError"),
    "shape": (
        lambda document, arrays: arrays.update(mean_=np.zeros((4, 1))),
        "mean_ is not",
    ),
    "kind": (
        lambda document, arrays: arrays.update(mean_=np.zeros(4, np.float32)),
        "mean_ is not",
    ),
    "infinite": (
        lambda document, arrays: arrays.update(mean_=np.full(4, np.inf)),
        "mean_ is not",
    ),
    "future": (
        lambda document, arrays: document.update(format_version=10**6),
        "takes a newer version of skautoenc",
    ),
    "past": (lambda document, arrays: document.update(format_version=0), "no format"),
    "odd": (lambda document, arrays: document.update(format_version="1"), "no format"),
    "empty": (lambda document, arrays: document.pop("estimator"), "KeyError"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused(change, message, saved, path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(path, hostile(saved, change), message)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50 * 1024


def with_header(saved, old, new):
    """Replace text in the header, and correct the length and the digest."""
    from skautoenc._persistence import files as _files

    length = int.from_bytes(saved[:8], "little")
    header = saved[8 : 8 + length].replace(old, new)
    assert header != saved[8 : 8 + length]
    data = len(header).to_bytes(8, "little") + header + saved[8 + length :]
    place = _files._PLACE
    return data[: place.start] + _files._digest(data).encode() + data[place.stop :]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"dtype":"F64"', b'"dtype":"F65"'),
        (b'"dtype":"F64"', b'"dtype":"BF16"'),
        (b'"shape":[4]', b'"shape":[4000000000000]'),
        (b'"shape":[4]', b'"shape":[-4]'),
        (b'"shape":[4]', b'"shape":' + b"[" * 100_000),
        (b'"mean_":{', b'"mean_":{"shape":[4],'),
        (b'"data_offsets":[0,', b'"data_offsets":[1,'),
        (b'\\"format_version\\":1', b'\\"format_version\\":1,\\"format_version\\":1'),
        (b'\\"format_version\\":1', b'\\"format_version\\":NaN'),
        (b'\\"alpha\\":0.0', b'\\"alpha\\":1e999'),
        (b'\\"alpha\\":0.0', b'\\"alpha\\":' + b"[" * 100_000),
        (b'\\"alpha\\":0.0', b'\\"alpha\\":' + b"9" * 10_000),
        (b'\\"alpha\\":0.0', b'\\"alpha\\":\xff'),
    ],
)
def test_hostile_headers_are_refused(old, new, saved, path):
    refuse(path, with_header(saved, old, new), "its content is not|its parts do not")


def test_a_header_of_any_length_is_refused(saved, path):
    for length in (0, 10, 2**31, 2**63, 2**64 - 1):
        refuse(path, length.to_bytes(8, "little") + saved[8:], "damaged")


# Future formats


def test_older_formats_are_brought_to_the_present_one(saved, path, monkeypatch):
    from skautoenc._persistence import saving as _saving

    calls = []

    def rename(document, arrays):
        calls.append("rename")
        params = document["estimator"]["estimator"]["params"]
        params["alpha"] = params.pop("weight_decay")
        return document, arrays

    def scale(document, arrays):
        calls.append("scale")
        arrays["mean_"] = arrays.pop("shift_") * 2
        return document, arrays

    expected = skautoenc.AutoencoderTransformer.load(_written(path, saved))

    def age(document, arrays):
        params = document["estimator"]["estimator"]["params"]
        params["weight_decay"] = params.pop("alpha")
        arrays["shift_"] = arrays.pop("mean_") / 2

    _written(path, hostile(saved, age))
    monkeypatch.setattr(_saving, "FORMAT_VERSION", 3)
    monkeypatch.setattr(_saving, "MIGRATIONS", {2: scale, 1: rename})
    loaded = skautoenc.load(path)
    assert calls == ["rename", "scale"]
    assert loaded.alpha == expected.alpha
    np.testing.assert_array_equal(loaded.mean_, expected.mean_)
    # Documents that no migration understands are refused like any other.
    refuse(path, saved, "parts do not make an estimator .KeyError")
    # New files have the new format.
    loaded.save(path)
    assert unpack(path.read_bytes())[0]["format_version"] == 3


def _written(path, data):
    path.write_bytes(data)
    return path


# Interrupted writes

HEAD = """
import numpy as np, os, resource, signal, sys
from skautoenc import AutoencoderTransformer
X = np.random.default_rng(0).normal(size=(30, 8))
estimator = AutoencoderTransformer(64, max_iter=1, random_state=1).fit(X)
path = sys.argv[1]
"""


def run(code, path, **options):
    return subprocess.run(
        [sys.executable, "-c", HEAD + code, path],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_a_limit_on_sizes_leaves_the_old_file_and_nothing_else(X, path):
    quick().fit(X).save(path)
    before = path.read_bytes()
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    estimator.save(path)
except OSError as error:
    print(type(error).__name__, error.errno)
"""
    result = run(code, path)
    assert result.stdout.startswith("OSError"), result.stderr
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(path):
    mount = ["unshare", "-rm", "sh", "-c"]
    on_small_disk = f'mount -t tmpfs -o size=64k none "{path.parent}" && exec "$@"'
    if shutil.which("unshare") is None or run_plain(
        [*mount, on_small_disk, "", "true"]
    ):
        pytest.skip("a small disk cannot be mounted here")
    code = """
import skautoenc
estimator.set_params(n_components=3).fit(X).save(path)
before = open(path, "rb").read()
estimator.set_params(n_components=4000).fit(X)
try:
    estimator.save(path)
except OSError as error:
    print(error.strerror)
print(open(path, "rb").read() == before, len(os.listdir(os.path.dirname(path))))
skautoenc.load(path)
"""
    command = [*mount, on_small_disk, "", sys.executable, "-c", HEAD + code, path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout == "No space left on device\nTrue 1\n", result.stderr


def run_plain(command):
    return subprocess.run(command, capture_output=True, timeout=120).returncode


@pytest.mark.slow  # It starts processes, for what `write` does.
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("moment", ["write", "flush", "fsync", "replace"])
def test_a_process_killed_half_way_leaves_the_old_file(moment, X, path):
    quick().fit(X).save(path)
    before = path.read_bytes()
    code = f"""
import builtins
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
moment = {moment!r}
if moment in ("fsync", "replace"):
    setattr(os, moment, die)
else:
    class Dying:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *error): ...
        def write(self, data):
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            if moment == "write": die()
        flush = die
    real = open
    builtins.open = lambda *args: Dying(real(*args))
estimator.save(path)
"""
    assert run(code, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    skautoenc.load(path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_process_killed_at_any_moment_leaves_a_whole_file(X, path):
    quick().fit(X).save(path)
    code = """
print("ready", flush=True)
while True:
    estimator.save(path)
"""
    rng = np.random.default_rng(0)
    with subprocess.Popen(
        [sys.executable, "-c", HEAD + code, path], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        for _ in range(20):
            time.sleep(rng.random() / 50)
            skautoenc.load(path)
        process.kill()
    assert skautoenc.load(path).n_components == 64


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_is_read_only_is_an_error_of_the_system(path):
    path.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            quick().save(path)
    finally:
        path.parent.chmod(0o700)


def test_a_folder_that_is_not_there_is_an_error_of_the_system(path):
    with pytest.raises(FileNotFoundError):
        quick().save(path.parent / "none" / "estimator")


def test_a_link_stays_a_link(path):
    link = path.with_name("link")
    link.symlink_to(path)
    quick().save(link)
    assert link.is_symlink()
    assert skautoenc.load(path).n_components == 3


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_permissions_of_a_file_are_kept(path):
    quick().save(path)
    path.chmod(0o600)
    quick().save(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow  # Imports torch in two processes.
def test_two_processes_save_to_one_path(path):
    code = "for _ in range(50): estimator.save(path)"
    command = [sys.executable, "-c", HEAD + code, path]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert os.listdir(path.parent) == [path.name]
    assert skautoenc.load(path).n_components == 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("padding_", [10**9, 10**9]),
        ("grid_", [10**9, 10**9]),
        ("patch_size_", [10**9, 10**9]),
        ("image_shape_", [10**9, 10**9, 1]),
    ],
)
def test_sizes_that_would_take_all_memory_are_refused(name, value, X, path):
    PatchAutoencoderTransformer(quick(), random_state=0).fit(X).save(path)
    forged = hostile(path.read_bytes(), set_fitted(**{name: {"tuple": value}}))
    refuse(path, forged, "does not fit the other attributes")


@pytest.mark.parametrize(
    "change",
    [
        lambda moments: moments.pop(),
        lambda moments: moments[0].update(mean=np.zeros((2, 2), np.float32)),
        lambda moments: moments[0].update(mean=moments[0]["mean"].astype(np.float64)),
    ],
)
def test_the_optimizer_state_must_fit_the_weights(change, X, path):
    estimator = quick().partial_fit(X)
    change(estimator._optimizer_state["moments"])
    path.write_text("before")
    with pytest.raises(ValueError, match=r"cannot be saved, .* _optimizer_state"):
        estimator.save(path)
    # It is not loaded either, if somebody has saved it all the same.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "skautoenc._persistence.saving.check_fitted", lambda estimator: None
        )
        estimator.save(path)
    refuse(path, path.read_bytes(), "_optimizer_state does not fit")


def test_an_estimator_that_does_not_work_is_not_saved(X, path):
    estimator = quick(whiten="zca").fit(X)
    estimator.whitening_ = estimator.whitening_[:3]
    with pytest.raises(ValueError, match="cannot be saved, since it could not"):
        estimator.save(path)
    assert not path.exists()


def test_wide_rows_of_one_length(tmp_path):
    # More columns than there are small integers that Python caches.
    rows = np.random.default_rng(0).normal(size=(20, 300))
    estimator = AutoencoderTransformer(2, normalize_rows=0.5, max_iter=1).fit(rows)
    estimator.save(tmp_path / "wide")
    loaded = skautoenc.load(tmp_path / "wide")
    np.testing.assert_array_equal(loaded.transform(rows), estimator.transform(rows))
