"""The autoencoder that is told the labels of some rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import skautoenc
from skautoenc import AutoencoderTransformer, Blocks, SemiSupervisedAutoencoder
from skautoenc._data.labels import learn_coding, read_target
from skautoenc._data.rows import Rows
from skautoenc._objectives.labels import LabelObjective
from skautoenc._objectives.losses import LOSSES
from skautoenc._preparation.labels import spread_labels

QUICK = {"max_iter": 3, "hidden_layer_sizes": (16,), "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return [*train_test_split(X, y, random_state=0)]


@pytest.fixture(scope="module")
def known(digits):
    """Three rows of each class."""
    y = digits[2]
    return np.concatenate([np.flatnonzero(y == kind)[:3] for kind in range(10)])


@pytest.fixture(scope="module")
def fitted(digits, known):
    return SemiSupervisedAutoencoder(random_state=0).fit(
        digits[0], with_gaps(digits[2], known)
    )


@pytest.fixture(scope="module")
def blobs():
    """Rows around two centres, a number that differs, and labels of some."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    X = random.normal(size=(120, 6)) + 3 * y[:, None]
    return X, with_gaps(y, np.arange(0, 120, 10))


def with_gaps(y, known):
    labels = np.full(len(y), -1)
    labels[known] = y[known]
    return labels


def accuracy(features, digits, known):
    X, X_test, y, y_test = digits
    linear = LogisticRegression(max_iter=1000)
    linear.fit(features.transform(X[known]), y[known])
    return linear.score(features.transform(X_test), y_test)


# What labels are worth


def test_few_labels_are_worth_more_than_without(digits, known, fitted):
    without = AutoencoderTransformer(random_state=0).fit(digits[0])
    found = accuracy(fitted, digits, known)
    assert found > 0.85
    assert found > accuracy(without, digits, known) + 0.07


def test_the_last_components_tell_classes_apart(digits, fitted):
    X_test, y_test = digits[1], digits[3]
    assert fitted.n_label_components_ == 10
    assert fitted.n_components_ == 42
    logits = fitted.transform(X_test)[:, -10:]
    assert (fitted.classes_[logits.argmax(axis=1)] == y_test).mean() > 0.85


def test_the_code_still_reconstructs(digits, fitted):
    X_test = digits[1]
    error = -fitted.score(X_test) / fitted.scale_**2
    assert error < 0.3
    back = fitted.inverse_transform(fitted.transform(X_test))
    assert np.square(back - X_test).mean() == pytest.approx(-fitted.score(X_test))


def test_unlabelled_rows_and_neighbours_help(digits, known, fitted):
    labels = with_gaps(digits[2], known)
    alone = SemiSupervisedAutoencoder(n_neighbors=0, random_state=0)
    alone.fit(digits[0], labels)
    ahead = accuracy(fitted, digits, known) - accuracy(alone, digits, known)
    assert ahead > 0.03


def test_labels_without_weight_teach_nothing(digits, known):
    labels = with_gaps(digits[2], known)
    model = SemiSupervisedAutoencoder(label_weight=0, max_iter=20, random_state=0)
    logits = model.fit(digits[0], labels).transform(digits[1])[:, -10:]
    assert (logits.argmax(axis=1) == digits[3]).mean() < 0.4


def test_random_labels_leak_nothing_to_held_out_rows():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(600, 12)), random.integers(0, 2, 600)
    model = SemiSupervisedAutoencoder(random_state=0).fit(X[:300], y[:300])
    linear = LogisticRegression().fit(model.transform(X[:300]), y[:300])
    assert abs(linear.score(model.transform(X[300:]), y[300:]) - 0.5) < 0.1


def test_numbers():
    X, y = make_swiss_roll(600, noise=0.3, random_state=0)
    labels = y.copy()
    labels[40:400] = np.nan
    model = SemiSupervisedAutoencoder(random_state=0).fit(X[:400], labels[:400])
    assert model.n_label_components_ == 1
    assert model.classes_ is None
    code, code_new = model.transform(X[:40]), model.transform(X[400:])
    raw = Ridge().fit(X[:40], y[:40]).score(X[400:], y[400:])
    assert Ridge().fit(code, y[:40]).score(code_new, y[400:]) > raw + 0.2


# What labels may be


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, -1, 1],
        [0.0, 1.0, np.nan, 1.0],
        ["a", "b", None, "b"],
        ["a", "b", np.nan, "b"],
        [False, True, None, True],
        np.array(["a", "b", None, "b"], dtype=object),
        pd.Series([0, 1, None, 1], dtype="Int64"),
        pd.Series(["a", "b", None, "b"]),
        pd.Series(["a", "b", None, "b"], dtype="category"),
        pd.Series([True, False, None, False], dtype="boolean"),
        torch.tensor([0, 1, -1, 1]),
        np.array([[0], [1], [-1], [1]]),
    ],
    ids=repr,
)
def test_classes_and_rows_without_one(labels):
    target = read_target(labels, 4, "auto")
    assert len(target.classes) == 2
    assert np.isnan(target.labels).tolist() == [False, False, True, False]
    assert target.labels[0] != target.labels[1]
    assert target.labels[1] == target.labels[3]


@pytest.mark.parametrize(
    ("labels", "target_type"),
    [([0.5, -1.0, np.nan], "auto"), ([1, -1, None], "continuous")],
)
def test_minus_one_is_a_number_among_numbers(labels, target_type):
    target = read_target(labels, 3, target_type)
    assert target.classes is None
    assert np.isnan(target.labels).tolist() == [False, False, True]
    assert target.labels[1] == -1


@pytest.mark.parametrize(
    ("labels", "target_type", "message"),
    [
        ([0, 1], "auto", "y has 2 labels, but X has 3 rows"),
        ([1, 1, -1], "auto", "All labels of y are 1: there is nothing to tell"),
        (["a", 1, None], "auto", "y mixes strings and numbers"),
        (["a", "b", None], "continuous", "y holds 'a' in row 0"),
        ([0.5, np.inf, np.nan], "auto", "y holds inf in row 1"),
        ([[0, 1], [1, 0], [0, 0]], "auto", "one label per row"),
        ([{}, {}, None], "multiclass", "in row 0"),
    ],
)
def test_labels_that_cannot_be_used(labels, target_type, message):
    with pytest.raises(ValueError, match=message):
        read_target(labels, 3, target_type)


def test_classes_have_the_type_of_the_labels(blobs):
    X, labels = blobs
    assert SemiSupervisedAutoencoder(**QUICK).fit(X, labels).classes_.dtype.kind == "i"
    names = np.array(["no", "yes", None], dtype=object)[labels]
    fitted = SemiSupervisedAutoencoder(**QUICK).fit(X, names)
    assert fitted.classes_.tolist() == ["no", "yes"]
    code = SemiSupervisedAutoencoder(**QUICK).fit(X, labels).transform(X)
    assert (fitted.transform(X) == code).all()


def test_no_labels(blobs):
    X = blobs[0]
    plain = SemiSupervisedAutoencoder(**QUICK).fit(X)
    assert (plain.n_label_components_, plain.n_components_) == (0, 6)
    with pytest.warns(UserWarning, match="No row has a label"):
        unlabelled = SemiSupervisedAutoencoder(**QUICK).fit(X, np.full(len(X), -1))
    assert (unlabelled.transform(X) == plain.transform(X)).all()


def test_blocks_are_refused(blobs):
    with pytest.raises(TypeError, match="does not take Blocks"):
        SemiSupervisedAutoencoder().fit(Blocks([blobs[0]]), blobs[1])


# How labels spread


def test_labels_spread_to_neighbours_and_get_less_certain():
    X = np.concatenate([np.arange(20.0), np.arange(20.0) + 100])[:, None]
    labels = np.full(40, np.nan)
    labels[[0, 39]] = 0, 1
    rows = Rows(X, np.zeros(1), 1.0, torch.device("cpu"))
    coding = learn_coding(labels, None, 2)
    found = spread_labels(rows, labels, coding=coding, n_neighbors=2)
    assert (found[:20, 0] > 0.99).all()
    assert (found[20:, 1] > 0.99).all()
    assert found[:, 2].mean() == pytest.approx(1)
    alone = spread_labels(rows, labels, coding=coding, n_neighbors=0)
    assert (np.flatnonzero(alone[:, 2]) == [0, 39]).all()
    line = Rows(np.arange(40.0)[:, None], np.zeros(1), 1.0, torch.device("cpu"))
    certainty = spread_labels(line, labels, coding=coding, n_neighbors=2)[:, 2]
    assert certainty[[18, 19, 20, 21]].max() < 0.5 * certainty[[0, 1, 38, 39]].min()
    assert certainty.argmax() in (0, 39)


def test_the_cost_is_one_for_the_frequencies_of_the_labels():
    torch.manual_seed(0)
    labels = np.array([0, 0, 0, 1, 2, 2], dtype=float)
    coding = learn_coding(labels, None, 3)
    objective = LabelObjective(
        LOSSES["squared_error"](torch.zeros(2), 1.0),
        corruption=None,
        n_components=3,
        n_classes=3,
        deviance=coding.deviance,
        label_weight=1.0,
    )
    target = torch.eye(3)[labels.astype(int)]
    target = torch.cat([target, torch.ones(6, 1)], dim=1)
    logits = 10 * torch.tensor([3.0, 1.0, 2.0]).log().expand(6, 3)
    code = torch.cat([torch.randn(6, 2), logits], dim=1)
    assert objective._label_costs(code, target).mean().item() == pytest.approx(1)


# As other estimators


def test_weights_are_repetitions(blobs):
    X, labels = blobs
    weights = np.arange(len(X)) % 3
    repeated = np.repeat(X, weights, axis=0), np.repeat(labels, weights)
    weighted = SemiSupervisedAutoencoder(**QUICK).fit(X, labels, sample_weight=weights)
    again = SemiSupervisedAutoencoder(**QUICK).fit(*repeated)
    assert (weighted.transform(X) == again.transform(X)).all()


def test_equal_rows_may_have_different_labels(blobs):
    X, labels = blobs
    both = np.concatenate([X, X]), np.concatenate([labels, np.full(len(X), -1)])
    order = np.random.default_rng(0).permutation(2 * len(X))
    found = SemiSupervisedAutoencoder(**QUICK).fit(*both).transform(X)
    other = SemiSupervisedAutoencoder(**QUICK).fit(both[0][order], both[1][order])
    assert (found == other.transform(X)).all()


def test_sparse_rows_and_frames(blobs):
    X, labels = blobs
    X = np.where(X > 1, X, 0)
    model = SemiSupervisedAutoencoder(**QUICK)
    dense = model.fit(X, labels).transform(X)
    rows = sparse.csr_matrix(X)
    assert np.allclose(model.fit(rows, labels).transform(rows), dense, atol=1e-4)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model.set_output(transform="pandas")
    code = model.fit_transform(frame, pd.Series(labels))
    assert code.columns[-1] == "semisupervisedautoencoder6"
    assert model.inverse_transform(code).columns.tolist() == list("abcdef")


def test_files_and_pickles(blobs, tmp_path):
    X, labels = blobs
    names = np.array(["no", "yes", None], dtype=object)[labels]
    for y in (labels, names, np.where(labels < 0, np.nan, labels + 0.5), None):
        model = SemiSupervisedAutoencoder(**QUICK).fit(X, y)
        model.save(tmp_path / "model.safetensors")
        loaded = skautoenc.load(tmp_path / "model.safetensors")
        for again in (loaded, pickle.loads(pickle.dumps(model))):
            assert (again.transform(X) == model.transform(X)).all()
            assert np.array_equal(again.classes_, model.classes_)
            assert again.n_label_components_ == model.n_label_components_


def test_labels_are_part_of_a_checkpoint(blobs, tmp_path):
    X, labels = blobs
    model = SemiSupervisedAutoencoder(checkpoint=tmp_path, **QUICK)
    first = model.fit(X, labels).transform(X)
    assert (model.fit(X, labels).transform(X) == first).all()
    assert len(list(tmp_path.iterdir())) == 1
    flipped = np.where(labels < 0, labels, 1 - labels)
    assert not np.allclose(model.fit(X, flipped).transform(X), first)
    folders = sum(path.is_dir() for path in tmp_path.iterdir())
    assert folders == 2


def test_callbacks(blobs):
    X, labels = blobs
    model = SemiSupervisedAutoencoder(**QUICK)
    assert model.set_callbacks(ProgressBar()).fit(X, labels).n_iter_ == 3


def test_pipelines_and_searches(digits):
    X, y = digits[0][:400] / 16, digits[2][:400]
    labels = np.where(np.arange(400) % 4, -1, y)
    pipeline = make_pipeline(
        MinMaxScaler(),
        SemiSupervisedAutoencoder(**QUICK),
        SelfTrainingClassifier(LogisticRegression(), max_iter=0),
    )
    search = GridSearchCV(
        pipeline, {"semisupervisedautoencoder__label_weight": [0.3, 3.0]}, cv=2
    ).fit(X, labels)
    assert search.score(digits[1] / 16, digits[3]) > 0.6
    pipeline.steps[-1] = ("linear", LogisticRegression(max_iter=1000))
    assert cross_val_score(pipeline, X, y, cv=2).min() > 0.8


def test_onnx(blobs):
    onnx = pytest.importorskip("skautoenc.onnx")
    runtime = pytest.importorskip("onnxruntime")
    X, labels = blobs[0].astype(np.float32), blobs[1]
    model = SemiSupervisedAutoencoder(**QUICK).fit(X, labels)
    session = runtime.InferenceSession(onnx.to_onnx(model).SerializeToString())
    name = session.get_inputs()[0].name
    code = session.run(None, {name: X})[0]
    assert np.allclose(code, model.transform(X), atol=1e-4)
