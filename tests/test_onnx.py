"""ONNX Runtime gives the same results for an exported model as the estimator."""

import importlib
import json
import math
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import skl2onnx
import torch
from onnxruntime import InferenceSession, SessionOptions
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
)
from skautoenc._networks.layers import ACTIVATIONS
from skautoenc.onnx import to_onnx

# Enough to change the initial weights: numbers are compared, not quality.
SHORT = {"max_iter": 3, "random_state": 0}
DENSE = {"n_components": 8, "hidden_layer_sizes": (24, 12), **SHORT}
WIDE = {"n_components": 100, **SHORT}

ESTIMATORS = {
    **{
        f"activation={name}": AutoencoderTransformer(activation=name, **DENSE)
        for name in ACTIVATIONS
    },
    **{
        f"sparsity={name}": AutoencoderTransformer(sparsity=name, **WIDE)
        for name in ("lifetime", "topk", "batch_topk", "l1", "kl", None)
    },
    "sparsity with hidden layers": AutoencoderTransformer(
        sparsity="topk", hidden_layer_sizes=(32,), **WIDE
    ),
    **{
        f"normalization={name}": AutoencoderTransformer(normalization=name, **DENSE)
        for name in ("batch", "layer")
    },
    "no skip": AutoencoderTransformer(linear_skip=False, dropout=0.1, **DENSE),
    "tied": AutoencoderTransformer(tied_weights=True, **DENSE),
    "not tied": AutoencoderTransformer(tied_weights=False, **WIDE),
    **{
        f"loss={name}": AutoencoderTransformer(loss=name, **DENSE)
        for name in ("squared_error", "huber", "binary_cross_entropy", "poisson")
    },
    **{
        f"whiten={name}": AutoencoderTransformer(whiten=name, **WIDE)
        for name in ("zca", "pca")
    },
    "normalize_rows": AutoencoderTransformer(normalize_rows=0.5, **DENSE),
    "all of the preparation": AutoencoderTransformer(
        normalize_rows=0.5, whiten="zca", whiten_code=True, **DENSE
    ),
    "features=sparse": AutoencoderTransformer(
        features="sparse", whiten_code=True, **WIDE
    ),
    "features=stack": AutoencoderTransformer(features="stack", **DENSE),
    "whitened stack": AutoencoderTransformer(
        features="stack", whiten_code=True, **DENSE
    ),
    "stack of one layer": AutoencoderTransformer(features="stack", **WIDE),
    "convolutional": ConvAutoencoderTransformer(**SHORT),
    "convolutional, line": ConvAutoencoderTransformer(
        image_shape=(1, 64), kernel_size=5, linear_skip=False, **SHORT
    ),
    "convolutional, channels": ConvAutoencoderTransformer(
        image_shape=(3, 7, 3), hidden_channels=(4, 6, 8), normalize_rows=0.5, **SHORT
    ),
    **{
        f"convolutional, normalization={name}": ConvAutoencoderTransformer(
            normalization=name, activation="gelu", **SHORT
        )
        for name in ("batch", "layer")
    },
    "convolutional, counts": ConvAutoencoderTransformer(loss="poisson", **SHORT),
    "semi-supervised": SemiSupervisedAutoencoder(**SHORT),
    "patches": PatchAutoencoderTransformer(n_patches=2000, random_state=0),
    "patches as they are": PatchAutoencoderTransformer(
        AutoencoderTransformer(20, sparsity="topk", **SHORT),
        normalize_patches=None,
        whiten_code=False,
        padding=0,
    ),
    "patches, prototypes": PatchAutoencoderTransformer(
        n_patches=2000, n_prototypes=30, random_state=0
    ),
    "patches, components of prototypes": PatchAutoencoderTransformer(
        n_patches=2000, n_prototypes=30, n_components=8, random_state=0
    ),
    "patches, components": PatchAutoencoderTransformer(
        AutoencoderTransformer(40, sparsity="lifetime", **SHORT),
        image_shape=(3, 7, 3),
        patch_size=(2, 3),
        padding=(1, 2),
        pooling=(2, 3),
        n_components=10,
    ),
    "patches, dense": PatchAutoencoderTransformer(
        AutoencoderTransformer(
            6, hidden_layer_sizes=(16,), features="stack", whiten_code=True, **SHORT
        ),
        pooling=2,
    ),
}


def start(model):
    """Load a model as a server would."""
    options = SessionOptions()
    # For such small products, waiting threads cost more time than they save.
    options.intra_op_num_threads = 1
    return InferenceSession(model.SerializeToString(), options)


def run(model, X, output=None):
    """Return the output of a model for its one input."""
    session = start(model)
    return session.run(output and [output], {"X": X})[0]


def share_apart(actual, expected, tolerance=1e-5):
    """Return the share of rows with an error above a share of the largest entry."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype == np.float32
    differences = np.abs(actual - expected).max(axis=1)
    return np.mean(differences > tolerance * np.abs(expected).max())


def tolerance(estimator):
    """Square roots of means near zero, which are then whitened, magnify rounding."""
    return 1e-4 if isinstance(estimator, PatchAutoencoderTransformer) else 1e-5


# In sparse codes, rounding may move an activation across the threshold.
FEW = 0.01


@pytest.fixture(scope="module", params=ESTIMATORS.values(), ids=ESTIMATORS.keys())
def fitted(request, train_rows):
    """An estimator fitted to some digits."""
    shape = getattr(request.param, "image_shape", "auto")
    width = 64 if isinstance(shape, str) else math.prod(shape)
    return clone(request.param).fit(train_rows[:400, :width])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_gives_what_transform_gives(fitted, test_rows, dtype):
    X = test_rows[:, : fitted.n_features_in_].astype(dtype)
    found = run(to_onnx(fitted, dtype=dtype), X)
    assert share_apart(found, fitted.transform(X), tolerance(fitted)) <= FEW


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_autoencoder_gives_what_inverse_transform_gives(fitted, test_rows, dtype):
    X = test_rows[:, : fitted.n_features_in_].astype(dtype)
    found = run(to_onnx(fitted, "autoencoder", dtype=dtype), X)
    expected = fitted.inverse_transform(fitted.transform(X))
    assert share_apart(found, expected) <= FEW


@pytest.mark.parametrize("part", ["encoder", "autoencoder"])
@pytest.mark.parametrize("n_rows", [1, 7, 500])
def test_any_number_of_rows(fitted, test_rows, part, n_rows):
    X = test_rows[:n_rows, : fitted.n_features_in_].astype(np.float32)
    expected = fitted.transform(X)
    if part == "autoencoder":
        expected = fitted.inverse_transform(expected)
    found = run(to_onnx(fitted, part), X)
    assert share_apart(found, expected, tolerance(fitted)) <= FEW


@pytest.mark.parametrize("part", ["encoder", "autoencoder"])
def test_model_is_valid(fitted, part):
    model = to_onnx(fitted, part)
    onnx.checker.check_model(model, full_check=True)
    inputs, outputs = model.graph.input, model.graph.output
    names = {"encoder": "features", "autoencoder": "reconstruction"}
    assert [value.name for value in (*inputs, *outputs)] == ["X", names[part]]
    width = fitted.get_feature_names_out().size
    if part == "autoencoder":
        width = fitted.n_features_in_
    assert outputs[0].type.tensor_type.shape.dim[1].dim_value == width


def test_codes_of_patches_are_one_product(train_rows):
    patches = clone(ESTIMATORS["patches"]).fit(train_rows)
    types = [node.op_type for node in to_onnx(patches).graph.node]
    assert "MatMul" not in types[: types.index("Relu")]


def test_names_of_columns_and_features_are_in_the_metadata(train_rows):
    frame = pd.DataFrame(train_rows[:100]).add_prefix("pixel")
    autoencoder = AutoencoderTransformer(2, **SHORT).fit(frame)
    found = {p.key: json.loads(p.value) for p in to_onnx(autoencoder).metadata_props}
    assert found == {
        "feature_names_in": list(frame.columns),
        "feature_names_out": ["autoencodertransformer0", "autoencodertransformer1"],
    }


def test_float64_keeps_the_digits_of_large_columns(train_rows):
    X = train_rows + 1e6
    autoencoder = AutoencoderTransformer(**DENSE).fit(X)
    expected = autoencoder.transform(X)
    assert share_apart(run(to_onnx(autoencoder, dtype=np.float64), X), expected) == 0
    single = run(to_onnx(autoencoder), X.astype(np.float32))
    assert share_apart(single, expected) > 0.9


def test_tied_weights_are_stored_once(train_rows):
    sizes = [
        to_onnx(
            AutoencoderTransformer(500, tied_weights=tied, **SHORT).fit(train_rows),
            "autoencoder",
        ).ByteSize()
        for tied in (True, False)
    ]
    assert sizes[1] - sizes[0] > 0.99 * 500 * 64 * 4


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
def test_reconstruction_stays_in_the_range_of_the_loss(train_rows, loss):
    X = np.round(train_rows)
    # Long enough for shares that float32 rounds to 0 or 1.
    autoencoder = AutoencoderTransformer(loss=loss, max_iter=100, random_state=0)
    model = to_onnx(autoencoder.fit(X), "autoencoder")
    found = run(model, X.astype(np.float32))
    assert found.min() >= 0
    if loss == "binary_cross_entropy":
        assert found.max() <= 1


# Pipelines


def classifier():
    return LogisticRegression(max_iter=1000)


PIPELINES = {
    "StandardScaler": make_pipeline(
        StandardScaler(), AutoencoderTransformer(**SHORT), classifier()
    ),
    "MinMaxScaler": make_pipeline(
        MinMaxScaler(), AutoencoderTransformer(features="stack", **DENSE), classifier()
    ),
    "two autoencoders": make_pipeline(
        AutoencoderTransformer(**WIDE), AutoencoderTransformer(**DENSE), classifier()
    ),
    "convolutional": make_pipeline(ConvAutoencoderTransformer(**SHORT), classifier()),
    "patches": make_pipeline(
        PatchAutoencoderTransformer(
            AutoencoderTransformer(20, sparsity="topk", **SHORT), pooling=2
        ),
        LogisticRegression(C=0.01),
    ),
    "union": make_pipeline(
        make_union(
            AutoencoderTransformer(**DENSE),
            AutoencoderTransformer(whiten="zca", **WIDE),
            PCA(5),
        ),
        classifier(),
    ),
    "columns": make_pipeline(
        ColumnTransformer(
            [
                ("upper", AutoencoderTransformer(**DENSE), slice(0, 32)),
                ("lower", StandardScaler(), slice(32, 64)),
            ]
        ),
        classifier(),
    ),
    "search": GridSearchCV(
        make_pipeline(StandardScaler(), AutoencoderTransformer(**WIDE), classifier()),
        {"autoencodertransformer__corruption_rate": [0.0, 0.2]},
        cv=2,
    ),
    "stacking": StackingClassifier(
        [
            ("code", make_pipeline(AutoencoderTransformer(**DENSE), classifier())),
            ("pixels", make_pipeline(MinMaxScaler(), classifier())),
        ],
        classifier(),
        cv=2,
    ),
}


@pytest.fixture(scope="module", params=PIPELINES.values(), ids=PIPELINES.keys())
def pipeline(request, digits):
    return clone(request.param).fit(digits[0][:400], digits[2][:400])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipeline_is_one_graph(pipeline, test_rows, dtype):
    X = test_rows.astype(dtype)
    # Probabilities as an array, not as dictionaries.
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    for n_rows in (1, 7, 500):
        found = run(model, X[:n_rows], "probabilities")
        np.testing.assert_allclose(found, pipeline.predict_proba(X[:n_rows]), atol=1e-5)
    labels = run(model, X, "label")
    assert np.mean(labels == pipeline.predict(X)) > 0.99


def test_transformer_alone_through_skl2onnx(train_rows, test_rows):
    autoencoder = AutoencoderTransformer(**WIDE).fit(train_rows)
    X = test_rows.astype(np.float32)
    found = run(skl2onnx.to_onnx(autoencoder, X[:1]), X)
    assert share_apart(found, autoencoder.transform(X)) == 0


def test_integers(train_rows):
    X = np.round(16 * train_rows).astype(np.int64)
    autoencoder = AutoencoderTransformer(**DENSE).fit(X)
    found = run(skl2onnx.to_onnx(autoencoder, X[:1]), X)
    assert share_apart(found, autoencoder.transform(X)) == 0


def test_a_frame_has_one_input_a_column(train_rows):
    frame = pd.DataFrame(train_rows[:, 20:24], columns=["a", "b", "c", "d"])
    frame = frame.astype({"a": np.float32})
    autoencoder = AutoencoderTransformer(2, **SHORT).fit(frame)
    model = skl2onnx.to_onnx(autoencoder, frame)
    session = start(model)
    columns = {name: frame[[name]].to_numpy() for name in frame}
    found = session.run(None, columns)[0]
    assert share_apart(found, autoencoder.transform(frame)) == 0


def test_older_versions_of_onnx(train_rows, test_rows):
    autoencoder = AutoencoderTransformer(sparsity="topk", **WIDE).fit(train_rows)
    X = test_rows.astype(np.float32)
    model = skl2onnx.to_onnx(autoencoder, X[:1], target_opset=13)
    assert model.opset_import[0].version == 13
    assert share_apart(run(model, X), autoencoder.transform(X)) == 0
    with pytest.raises(ValueError, match=r"target_opset must be 13 or more.*got 12"):
        skl2onnx.to_onnx(autoencoder, X[:1], target_opset=12)


# What cannot be exported


class TwoLayers(torch.nn.Module):
    """A user's own network."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)


def with_either(estimator, X):
    """Both functions that export an estimator."""
    yield lambda: to_onnx(estimator)
    yield lambda: skl2onnx.to_onnx(estimator, X[:1])


def test_not_fitted(train_rows):
    for way in with_either(AutoencoderTransformer(), train_rows):
        with pytest.raises(NotFittedError):
            way()


def test_a_network_of_ones_own_is_refused(train_rows):
    estimator = AutoencoderTransformer(4, network=TwoLayers, **SHORT).fit(train_rows)
    for way in with_either(estimator, train_rows):
        with pytest.raises(TypeError, match=r"your own.*torch\.onnx\.export"):
            way()


def test_to_onnx_names_the_way_for_pipelines(train_rows):
    pipeline = make_pipeline(AutoencoderTransformer(2, **SHORT)).fit(train_rows)
    with pytest.raises(TypeError, match=r"got Pipeline.*skl2onnx\.to_onnx"):
        to_onnx(pipeline)


def test_parameters_are_checked(train_rows):
    autoencoder = AutoencoderTransformer(2, **SHORT).fit(train_rows)
    with pytest.raises(ValueError, match="'encoder' or 'autoencoder', got 'decoder'"):
        to_onnx(autoencoder, "decoder")
    with pytest.raises(ValueError, match="float32 or float64, got float16"):
        to_onnx(autoencoder, dtype=np.float16)


@pytest.mark.parametrize("missing", ["onnx", "skl2onnx"])
def test_without_the_extra_the_error_says_what_to_install(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "skautoenc.onnx")
    with pytest.raises(ImportError, match=r'pip install "skautoenc\[onnx\]"'):
        importlib.import_module("skautoenc.onnx")


def test_the_package_itself_needs_no_onnx():
    code = "import sys, skautoenc; sys.exit('onnx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
