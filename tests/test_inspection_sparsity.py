"""`inspection.sparsity_report`: active, dead and dense units, explained variance."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from skautoenc import AutoencoderTransformer, TabularAutoencoderTransformer
from skautoenc.inspection import sparsity_report


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    sources = rng.exponential(size=(500, 12)) * (rng.random((500, 12)) < 0.2)
    return sources @ rng.normal(size=(12, 8)) + 5


def fit(X, **parameters):
    parameters = {"max_iter": 20, "random_state": 0, **parameters}
    return AutoencoderTransformer(32, **parameters).fit(X)


@pytest.mark.parametrize("sparsity", ["lifetime", "topk", "l1", None])
def test_counts_are_those_of_the_code_that_is_decoded(X, sparsity):
    wide = fit(X, sparsity=sparsity, features="sparse")
    if not wide.network_.is_sparse:
        with pytest.raises(TypeError, match="rectified"):
            sparsity_report(wide, X)
        return
    code = wide.transform(X)
    report = sparsity_report(wide, X)
    assert report.n_active == pytest.approx((code != 0).sum(axis=1).mean())
    np.testing.assert_allclose(report.activation_rates, (code != 0).mean(axis=0))
    assert report.n_dead == (code == 0).all(axis=0).sum()
    assert report.n_dense == ((code != 0).mean(axis=0) > 0.1).sum()


def test_variance_is_that_of_the_rows(X):
    wide = fit(X, sparsity="topk", sparsity_rate=0.2)
    rows = X[::3]
    report = sparsity_report(wide, rows)
    residuals = rows - wide.inverse_transform(wide.transform(rows))
    explained = 1 - (residuals**2).sum() / ((rows - rows.mean(axis=0)) ** 2).sum()
    assert report.explained_variance == pytest.approx(explained, abs=1e-4)
    assert explained > 0.3


def test_features_do_not_matter(X):
    reports = [
        sparsity_report(fit(X, features=features, whiten_code=whiten), X)
        for features, whiten in (("sparse", False), ("code", True))
    ]
    np.testing.assert_array_equal(*[each.activation_rates for each in reports])


def test_dead_and_dense_units(X):
    wide = fit(X, sparsity="lifetime")
    whole, few = sparsity_report(wide, X), sparsity_report(wide, X[:1])
    assert few.n_dead == 32 - few.n_active > whole.n_dead
    assert sparsity_report(wide, X, dense_rate=0).n_dense == 32 - whole.n_dead
    assert sparsity_report(wide, X, dense_rate=1).n_dense == 0
    with pytest.raises(ValueError, match="dense_rate"):
        sparsity_report(wide, X, dense_rate=2)


def test_sparse_rows(X):
    rows = np.where(X > 5, X - 5, 0)
    wide = fit(rows)
    found, expected = (
        sparsity_report(wide, csr_array(rows)),
        sparsity_report(wide, rows),
    )
    assert found.n_active == pytest.approx(expected.n_active, rel=0.01)
    assert found.explained_variance == pytest.approx(expected.explained_variance)


def test_other_estimators_are_refused(X):
    with pytest.raises(NotFittedError):
        sparsity_report(AutoencoderTransformer(), X)
    for other in (
        AutoencoderTransformer(2, max_iter=1).fit(X),
        TabularAutoencoderTransformer(2, max_iter=1).fit(X),
    ):
        with pytest.raises(TypeError, match="sparsity, for instance"):
            sparsity_report(other, X)
