"""Numbers at the edge of what floats hold, and torch's settings around a fit."""

from contextlib import contextmanager

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    load,
)

SHORT = {"max_iter": 2, "random_state": 0}


class Custom(nn.Module):
    """A network of a user's, with batch normalisation."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Linear(8, n_components)
        )
        self.decode = nn.Linear(n_components, n_features)


def rows(n=90, width=16, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, width))
    return X + rng.normal(size=X.shape) / 3


def table(n=90):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rows(n, 4), columns=list("abcd"))
    frame["level"] = pd.Categorical(rng.choice(["x", "y", "z"], n))
    frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), "D")
    frame.loc[::7, "a"] = np.nan
    return frame


# Torch's defaults


@contextmanager
def torch_defaults(dtype, device):
    try:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


NOISY = {"corruption_rate": 0.2, **SHORT}
OF_ROWS = {
    "dense": AutoencoderTransformer(3, dropout=0.2, **SHORT),
    "sparse": AutoencoderTransformer(20, whiten="zca", whiten_code=True, **SHORT),
    "top": AutoencoderTransformer(
        20, sparsity="topk", whiten="pca", normalize_rows=0.5, **SHORT
    ),
    "batch": AutoencoderTransformer(
        20, sparsity="batch_topk", solver="sgd", max_grad_norm=0.1, **SHORT
    ),
    "weighted": AutoencoderTransformer(3, corruption_weight=4.0, **NOISY),
    "gaussian": AutoencoderTransformer(3, corruption="gaussian", **NOISY),
    "pepper": AutoencoderTransformer(3, corruption="salt_and_pepper", **NOISY),
    "swap": AutoencoderTransformer(3, corruption="swap", early_stopping=True, **NOISY),
    "ordered": AutoencoderTransformer(3, ordered=True, normalization="batch", **SHORT),
    "contracted": AutoencoderTransformer(3, contractive_penalty=0.1, **SHORT),
    "kl": AutoencoderTransformer(20, sparsity="kl", **SHORT),
    "l1": AutoencoderTransformer(20, sparsity="l1", features="sparse", **SHORT),
    "huber": AutoencoderTransformer(3, loss="huber", normalization="layer", **SHORT),
    "neighbors": AutoencoderTransformer(3, n_neighbors=3, features="stack", **SHORT),
    "custom": AutoencoderTransformer(3, network=Custom, **SHORT),
    "convolutional": ConvAutoencoderTransformer(3, max_shift=1, **SHORT),
    "convolutional, batch": ConvAutoencoderTransformer(
        3, normalization="batch", normalize_rows=0.5, **NOISY
    ),
    "patches": PatchAutoencoderTransformer(random_state=0),
    "patches, compressed": PatchAutoencoderTransformer(
        AutoencoderTransformer(4, **SHORT), n_components=5, random_state=0
    ),
}
OF_COUNTS = {
    "counts": AutoencoderTransformer(3, loss="poisson", **SHORT),
    "shares": AutoencoderTransformer(3, loss="binary_cross_entropy", **SHORT),
}
OF_TABLES = {
    "table": TabularAutoencoderTransformer(3, **SHORT),
    "table, swap": TabularAutoencoderTransformer(
        3, corruption="swap", number_encoding="piecewise_linear", **SHORT
    ),
    "table, periodic": TabularAutoencoderTransformer(
        3, number_encoding="periodic", scaling="quantile", loss="huber", **SHORT
    ),
}
ALL = {**OF_ROWS, **OF_COUNTS, **OF_TABLES}


def data_for(name):
    if name in OF_TABLES:
        return table()
    return (rows() > 0.5).astype(float) if name in OF_COUNTS else rows()


def results(name, path):
    """All that a fit gives, as bytes: of itself and of a loaded copy."""
    X, estimator = data_for(name), ALL[name]
    estimator.fit(X)
    found = []
    estimator.save(path)
    copies = [estimator] if name == "custom" else [estimator, load(path)]
    for copy in copies:
        codes = copy.transform(X)
        found += [codes, np.asarray(copy.inverse_transform(codes), dtype=str)]
        if hasattr(copy, "score_samples"):
            found += [copy.score_samples(X), copy.score(X)]
        if name in OF_TABLES:
            found += [copy.reconstruction_error(X, per_column=True)]
            found += [copy.impute(X).to_numpy(dtype=str)]
        if name.startswith("patches"):
            found += [copy.extract_patches(X)]
    return [joblib.hash(np.asarray(each)) for each in found]


@pytest.mark.parametrize("name", list(ALL))
def test_torchs_defaults_change_no_bit(name, tmp_path):
    path = tmp_path / "autoencoder"
    expected = results(name, path)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        with torch_defaults(dtype, "meta"):
            assert results(name, path) == expected
