"""Every public estimator meets the whole contract of scikit-learn."""

import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import skautoenc
from skautoenc import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvVariationalAutoencoder,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
)
from skautoenc._persistence.saving import public_estimators


class TwoLayers(torch.nn.Module):
    """A user's own network."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)


ESTIMATORS = [
    AutoencoderTransformer(),
    AutoencoderTransformer(n_components=2, features="stack"),
    AutoencoderTransformer(n_components=2),
    AutoencoderTransformer(sparsity="topk"),
    AutoencoderTransformer(sparsity="batch_topk", whiten="zca"),
    AutoencoderTransformer(n_components=2, network=TwoLayers),
    AutoencoderTransformer(
        n_components=2, ordered=True, whiten_code=True, loss="huber", normalize_rows=0.5
    ),
    AutoencoderTransformer(sparsity="l1", contractive_penalty=0.1, features="sparse"),
    AutoencoderTransformer(
        sparsity="kl", n_neighbors=3, corruption_rate=0.2, corruption_weight=2.0
    ),
    ConvAutoencoderTransformer(max_iter=3),
    ConvAutoencoderTransformer(
        2,
        max_iter=3,
        max_shift=1,
        corruption_rate=0.1,
        normalize_rows=0.5,
        kernel_size=1,
    ),
    PatchAutoencoderTransformer(),
    PatchAutoencoderTransformer(
        AutoencoderTransformer(2, max_iter=2, batch_size=1024), pooling=2
    ),
    SemiSupervisedAutoencoder(max_iter=20),
    SemiSupervisedAutoencoder(
        n_components=2, hidden_layer_sizes=(), n_neighbors=0, loss="huber", max_iter=5
    ),
    TabularAutoencoderTransformer(),
    TabularAutoencoderTransformer(
        2, features="code", scaling="quantile", corruption="swap", loss="huber"
    ),
    TabularAutoencoderTransformer(
        2,
        features="spread",
        hidden_layer_sizes=(8,),
        number_output="distribution",
        max_iter=2,
    ),
    AutoencoderImputer(),
    # A whole fit in each of some hundred checks would take minutes.
    AutoencoderImputer(
        TabularAutoencoderTransformer(2, max_iter=2, batch_size=1024),
        add_indicator=True,
        keep_empty_features=True,
    ),
    AutoencoderImputer(
        TabularAutoencoderTransformer(
            2,
            hidden_layer_sizes=(8,),
            number_output="distribution",
            max_iter=2,
            batch_size=1024,
        ),
    ),
    VariationalAutoencoder(),
    VariationalAutoencoder(2, prior="mixture", hidden_layer_sizes=(8,), max_iter=20),
    ConvVariationalAutoencoder(hidden_channels=(4,), max_iter=2),
    ConvVariationalAutoencoder(
        2,
        hidden_channels=(2, 2),
        kernel_size=1,
        covariance_type="spherical",
        prior="mixture",
        max_iter=2,
    ),
    AutoencoderOutlierDetector(),
    AutoencoderOutlierDetector(
        ConvAutoencoderTransformer(
            2, hidden_channels=(4,), max_iter=1, batch_size=1024, corruption_rate=0.1
        ),
        n_estimators=4,
        max_samples=50,
    ),
    AutoencoderOutlierDetector(
        TabularAutoencoderTransformer(2, max_iter=2, batch_size=1024), n_estimators=4
    ),
]

# One of each class.
FIRST = list({type(each): each for each in reversed(ESTIMATORS)}.values())

CHECKS_OF_TRANSFORMERS = {
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
}
# Checks that scikit-learn has but does not run on third-party estimators.
MORE_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_estimators_partial_fit_n_features",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def with_few_epochs(estimator):
    """Return a copy that trains for two epochs, if it has the parameter."""
    estimator = clone(estimator)
    if "max_iter" in estimator.get_params(deep=False):
        estimator.set_params(max_iter=2)
    return estimator


def test_every_public_estimator_is_listed():
    assert {type(estimator) for estimator in ESTIMATORS} == set(public_estimators())
    public = {value for value in vars(skautoenc).values() if isinstance(value, type)}
    estimators = {value for value in public if issubclass(value, BaseEstimator)}
    assert estimators == set(public_estimators())


def test_names_of_public_classes_are_those_of_imports():
    for kind in public_estimators():
        assert kind.__module__ == "skautoenc"
        assert getattr(skautoenc, kind.__name__) is kind
        assert f"skautoenc.{kind.__name__}" in skautoenc.TRUSTED_TYPES


@pytest.mark.usefixtures("quick_defaults")
@parametrize_with_checks(FIRST)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.slow  # Some nine hundred checks, of classes that are checked above.
@pytest.mark.usefixtures("quick_defaults")
@parametrize_with_checks([each for each in ESTIMATORS if each not in FIRST])
def test_check_estimator_with_other_parameters(estimator, check):
    check(estimator)


def quick(each):
    """Return an estimator of few epochs; classes that are tested before are slow."""
    marks = [] if each in FIRST else [pytest.mark.slow]
    return pytest.param(with_few_epochs(each), marks=marks, id=repr(each))


# Some of these pass an array after a frame, or a frame after an array, on purpose.
@pytest.mark.filterwarnings(
    r"ignore:X (has|does not have valid) feature names:UserWarning"
)
@pytest.mark.parametrize("estimator", [quick(each) for each in ESTIMATORS])
@pytest.mark.parametrize("name", MORE_CHECKS)
@pytest.mark.usefixtures("quick_defaults")
def test_more_checks(estimator, name):
    if not hasattr(estimator, "transform") and name in CHECKS_OF_TRANSFORMERS:
        pytest.skip("no transformer")
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)
