"""torch tensors in and out, under scikit-learn's array API dispatch."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    VariationalAutoencoder,
)

pytest.importorskip("scipy", minversion="1.14", reason="older ones refuse the dispatch")

SMALL = {"max_iter": 2, "random_state": 0}
ESTIMATORS = [
    AutoencoderTransformer(3, **SMALL),
    AutoencoderTransformer(3, features="reconstruction", **SMALL),
    ConvAutoencoderTransformer(3, **SMALL),
    PatchAutoencoderTransformer(
        AutoencoderTransformer(4, max_iter=2), patch_size=2, random_state=0
    ),
    SemiSupervisedAutoencoder(3, **SMALL),
    VariationalAutoencoder(3, **SMALL),
    AutoencoderOutlierDetector(n_estimators=4, random_state=0),
]
METHODS = [
    "transform",
    "score_samples",
    "decision_function",
    "predict",
    "p_values",
    "select_outliers",
]


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(40, 16))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors_of_the_same_values(estimator, dtype, X):
    tensor = torch.tensor(X, dtype=dtype)
    expected = estimator.fit(tensor.numpy())
    names = [name for name in METHODS if hasattr(estimator, name)]
    results = {name: getattr(expected, name)(tensor.numpy()) for name in names}
    with config_context(array_api_dispatch=True):
        estimator.fit(tensor.requires_grad_())
        for name, result in results.items():
            found = getattr(estimator, name)(tensor)
            assert isinstance(found, torch.Tensor), name
            assert found.device == tensor.device
            np.testing.assert_array_equal(found.numpy(), result)
            assert found.numpy().dtype == result.dtype
        if hasattr(estimator, "inverse_transform"):
            back = estimator.inverse_transform(estimator.transform(tensor))
            assert isinstance(back, torch.Tensor)
            assert tuple(back.shape) == X.shape


def test_explanations_are_tensors(X):
    tensor = torch.tensor(X)
    detector = AutoencoderOutlierDetector(n_estimators=4, random_state=0).fit(X)
    expected = detector.explain(X)
    with config_context(array_api_dispatch=True):
        for found, values in zip(detector.explain(tensor), expected, strict=True):
            assert isinstance(found, torch.Tensor)
            np.testing.assert_array_equal(found.numpy(), values)


def test_a_pipeline_stays_in_tensors(X):
    tensor = torch.tensor(X)
    y = tensor[:, 0] + tensor[:, 1]
    pipeline = make_pipeline(StandardScaler(), ESTIMATORS[0], Ridge(solver="svd"))
    with config_context(array_api_dispatch=True):
        predicted = pipeline.fit(tensor, y).predict(tensor)
        assert isinstance(predicted, torch.Tensor)
        weights = torch.ones(len(X), dtype=torch.float64)
        code = ESTIMATORS[0].fit_transform(tensor, sample_weight=weights)
        assert isinstance(code, torch.Tensor)
        assert isinstance(ESTIMATORS[0].score(tensor), float)


def test_without_dispatch_results_are_arrays(X):
    fitted = ESTIMATORS[0].fit(torch.tensor(X))
    assert isinstance(fitted.transform(torch.tensor(X)), np.ndarray)


def test_faults_of_tensors_are_named(X):
    tensor = torch.tensor(X)
    tensor[3, 2] = torch.nan
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(ValueError, match="row 3, column 2"),
    ):
        AutoencoderTransformer(2).fit(tensor)
