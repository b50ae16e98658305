"""Wide sparse rows, such as counts of words: small networks, as good as an SVD."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from skautoenc import AutoencoderTransformer

N, WIDTH = 200, 1100


@pytest.fixture(scope="module")
def words():
    """Frequencies of words in documents that mix five topics."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(WIDTH, 0.02), size=5)
    shares = rng.dirichlet(np.full(5, 0.3), size=N)
    counts = [rng.multinomial(80, share @ topics) for share in shares]
    return sparse.csr_array(np.array(counts, dtype=np.float64) / 80)


def test_hidden_layers_are_narrow(words):
    fitted = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(words)
    assert fitted.hidden_layer_sizes_ == (32, 32)
    assert fitted.fit(words.toarray()).hidden_layer_sizes_ == (256, 128)
    assert fitted.fit(words[:, :900]).hidden_layer_sizes_ == (256, 128)
    # Without the skip, a code would have to pass the narrow layers.
    fitted.set_params(linear_skip=False)
    assert fitted.fit(words).hidden_layer_sizes_ == (256, 128)
    fitted.set_params(linear_skip=True, hidden_layer_sizes=(100,))
    assert fitted.fit(words).hidden_layer_sizes_ == (100,)


@pytest.mark.parametrize("n_components", [2, 10])
def test_reconstructs_as_well_as_a_truncated_svd(words, n_components):
    dense = words.toarray()
    fitted = AutoencoderTransformer(n_components, random_state=0).fit(words)
    svd = TruncatedSVD(n_components, random_state=0).fit(words)
    error, bar = (
        np.square(e.inverse_transform(e.transform(words)) - dense).mean()
        for e in (fitted, svd)
    )
    assert error <= 1.01 * bar


def test_later_parts_need_not_be_sparse(words):
    fitted = AutoencoderTransformer(3, random_state=0).partial_fit(words)
    fitted.partial_fit(words.toarray())
    assert fitted.hidden_layer_sizes_ == (32, 32)
    fitted = AutoencoderTransformer(3, random_state=0).partial_fit(words.toarray())
    fitted.partial_fit(words)
    assert fitted.hidden_layer_sizes_ == (256, 128)


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_dense_rows(words, weighted):
    weights = np.arange(N) % 3.0 if weighted else None
    words = words.copy()
    # Two values for one position are added.
    words.indices[1] = words.indices[0]
    words.has_canonical_format = False
    one, other = (
        AutoencoderTransformer(3, max_iter=1, random_state=0).fit(
            X, sample_weight=weights
        )
        for X in (words, words.toarray())
    )
    np.testing.assert_allclose(one.mean_, other.mean_, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(one.scale_, other.scale_, rtol=1e-10)


def test_the_default_code_of_wide_dense_rows_is_sparse(words):
    """1,024 units are fewer than the columns, but were not chosen to compress them."""
    words = words[:30]
    dense = words.toarray()
    fitted = AutoencoderTransformer(max_iter=1, random_state=0).fit(dense)
    assert (fitted.n_components_, fitted.sparsity_) == (1024, "lifetime")
    assert fitted.hidden_layer_sizes_ == ()
    # What was chosen by the first rows stays so.
    assert fitted.set_params(warm_start=True).fit(words).sparsity_ == "lifetime"
    text = AutoencoderTransformer(random_state=0).partial_fit(words)
    assert text.partial_fit(dense).sparsity_ is None
    # A given width is taken at its word.
    narrow = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(dense)
    assert narrow.sparsity_ is None
