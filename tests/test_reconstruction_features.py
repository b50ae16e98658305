"""`features="reconstruction"` denoises inside a pipeline."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import skautoenc
from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer
from skautoenc.inspection import FilterDisplay, ReconstructionDisplay

PARAMETERS = {
    "dense": {"n_components": 3},
    "sparse": {"n_components": 20},
    "normalized": {"n_components": 3, "normalize_rows": 0.5, "whiten": "zca"},
    "counts": {"n_components": 3, "loss": "poisson", "normalize_rows": "total"},
    "stack of layers": {"n_components": 3, "hidden_layer_sizes": (5, 4)},
}


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).poisson(4.0, size=(60, 8)).astype(float)


def make(**parameters):
    parameters = {"n_components": 3, "max_iter": 3, "random_state": 0} | parameters
    return AutoencoderTransformer(**parameters)


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("offset", [0, 1e6])
def test_features_are_what_the_code_is_decoded_to(parameters, offset, X):
    if offset and "loss" in parameters:
        pytest.skip("counts have no offset")
    data = X + offset
    by_code = make(**parameters).fit(data)
    direct = make(features="reconstruction", **parameters).fit(data)
    expected = by_code.inverse_transform(by_code.transform(data))
    found = direct.transform(data)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(direct.transform(data[:1]), expected[:1])
    # The way back is the identity, so what uses both methods still works.
    np.testing.assert_array_equal(direct.inverse_transform(found), expected)
    assert direct.inverse_transform(found).dtype == found.dtype
    np.testing.assert_array_equal(
        direct.score_samples(data), by_code.score_samples(data)
    )


def test_columns_keep_their_names(X):
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    fitted = make(features="reconstruction").set_output(transform="pandas").fit(frame)
    assert fitted.transform(frame).columns.tolist() == list("abcdefgh")
    assert fitted.inverse_transform(fitted.transform(frame)).columns.tolist() == list(
        "abcdefgh"
    )
    assert make(features="reconstruction").fit(X).get_feature_names_out().tolist() == [
        f"x{n}" for n in range(8)
    ]


def test_denoises_in_a_pipeline():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 20))
    noisy = plane + 0.5 * rng.normal(size=plane.shape)
    denoise = AutoencoderTransformer(2, features="reconstruction", random_state=0)
    scaler = StandardScaler()
    pipeline = make_pipeline(scaler, denoise).fit(noisy)
    cleaned = pipeline.inverse_transform(pipeline.transform(noisy))
    back = scaler.inverse_transform(pipeline.transform(noisy))
    assert np.square(back - plane).mean() < 0.5 * np.square(noisy - plane).mean()
    np.testing.assert_allclose(cleaned, back, rtol=1e-5, atol=1e-5)
    classes = plane[:, 0] > 0
    model = make_pipeline(denoise, LogisticRegression()).fit(noisy, classes)
    assert model.score(noisy, classes) > 0.9


def test_meets_the_contract():
    # With an older scipy, the checks of the array API are skipped.
    estimator = make(n_components=2, features="reconstruction")
    check_estimator(estimator, on_skip=None)


def test_files_and_onnx(X, tmp_path):
    fitted = make(features="reconstruction", whiten="pca").fit(X)
    fitted.save(tmp_path / "file")
    again = skautoenc.load(tmp_path / "file")
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    runtime = pytest.importorskip("onnxruntime")
    from skautoenc.onnx import to_onnx

    single = X.astype(np.float32)
    for part, name in {"encoder": "features", "autoencoder": "reconstruction"}.items():
        session = runtime.InferenceSession(to_onnx(fitted, part).SerializeToString())
        (found,) = session.run([name], {"X": single})
        np.testing.assert_allclose(found, fitted.transform(single), rtol=1e-4)


def test_what_needs_a_code_says_so(X):
    with pytest.raises(ValueError, match="whiten_code"):
        make(features="reconstruction", whiten_code=True).fit(X)
    inner = AutoencoderTransformer(2, features="reconstruction")
    with pytest.raises(ValueError, match="autoencoder__features"):
        PatchAutoencoderTransformer(inner).fit(np.tile(X, 8))
    fitted = make(n_components=20, features="reconstruction").fit(X)
    pytest.importorskip("matplotlib").use("Agg")
    with pytest.raises(ValueError, match="features='code'"):
        FilterDisplay.from_estimator(fitted, X)
    display = ReconstructionDisplay.from_estimator(fitted, X)
    np.testing.assert_array_equal(
        display.reconstructions, fitted.transform(display.originals)
    )
