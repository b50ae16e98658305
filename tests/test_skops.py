"""Estimators in pipelines that skops saves."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_files import make_frame, of_every_estimator, result_of

from skautoenc import (
    TRUSTED_TYPES,
    AutoencoderTransformer,
    TabularAutoencoderTransformer,
)

sio = pytest.importorskip("skops.io")


def test_a_fitted_pipeline_predicts_the_same(digits, tmp_path):
    X_train, X_test, y_train, _ = digits
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderTransformer(32, max_iter=3, random_state=0),
        LogisticRegression(max_iter=1000),
    ).fit(X_train, y_train)
    sio.dump(pipeline, tmp_path / "pipeline.skops")
    loaded = sio.load(tmp_path / "pipeline.skops", trusted=TRUSTED_TYPES)
    np.testing.assert_array_equal(
        loaded.predict_proba(X_test), pipeline.predict_proba(X_test)
    )
    assert repr(loaded) == repr(pipeline)


@of_every_estimator
def test_no_type_but_the_estimators_is_to_be_trusted(estimator):
    X = np.random.default_rng(0).normal(size=(40, 16))
    fitted = clone(estimator).set_params(random_state=0).fit(X)
    data = sio.dumps(fitted)
    own = {"test_contract.TwoLayers"} if "network=" in repr(estimator) else set()
    assert set(sio.get_untrusted_types(data=data)) <= {*TRUSTED_TYPES, *own}
    loaded = sio.loads(data, trusted=[*TRUSTED_TYPES, *own])
    expected = result_of(fitted, X)
    np.testing.assert_array_equal(result_of(loaded, X), expected)
    np.testing.assert_array_equal(result_of(clone(loaded).fit(X), X), expected)


@pytest.mark.filterwarnings("ignore:Column '(object|moment)' holds values of")
def test_tables_of_all_kinds_of_columns():
    frame = make_frame()
    fitted = TabularAutoencoderTransformer(3, max_iter=2, random_state=0).fit(frame)
    data = sio.dumps(fitted)
    assert set(sio.get_untrusted_types(data=data)) <= set(TRUSTED_TYPES)
    loaded = sio.loads(data, trusted=TRUSTED_TYPES)
    code = fitted.transform(frame)
    np.testing.assert_array_equal(loaded.transform(frame), code)
    assert loaded.inverse_transform(code).equals(fitted.inverse_transform(code))


def test_partial_fit_goes_on_as_if_nothing_had_happened():
    X = np.random.default_rng(0).normal(size=(40, 16))
    straight = AutoencoderTransformer(4, random_state=0).partial_fit(X)
    loaded = sio.loads(sio.dumps(straight), trusted=TRUSTED_TYPES)
    straight.partial_fit(X)
    loaded.partial_fit(X)
    np.testing.assert_array_equal(loaded.transform(X), straight.transform(X))
