"""Writes the files that every later version has to load.

Run once for each version of the format, in the version that brings it in:

    python tests/make_files.py

It writes to tests/files/<version of the format>, and refuses to touch what is there.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._persistence.saving import FORMAT_VERSION

FILES = Path(__file__).parent / "files"


class Straight(torch.nn.Module):
    """A user's own network."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encode = torch.nn.Linear(n_features, n_components)
        self.decode = torch.nn.Linear(n_components, n_features)


def rows(n_features, n_rows=40):
    """Make rows by a formula, which gives the same values on any machine."""
    places = np.arange(n_rows * n_features, dtype=np.float64)
    return (np.sin(places**1.5) + np.cos(places / 7)).reshape(n_rows, n_features)


def frame():
    """Make a frame with a column of each kind."""
    numbers = rows(2)
    place = np.arange(len(numbers))
    return pd.DataFrame(
        {
            "number": np.where(place % 9 == 0, np.nan, numbers[:, 0]),
            "whole": place % 7,
            "yes": numbers[:, 1] > 0,
            "word": pd.Series(np.array(["a", "b", None, "ä"])[place % 4], dtype="str"),
            "kind": pd.Categorical(np.array(["x", "y", "z"])[place % 3], ordered=True),
            "day": pd.date_range("2020-01-01", periods=len(place)).as_unit("us"),
            "time": pd.date_range(
                "2020-01-01", periods=len(place), freq="h", tz="Europe/Berlin"
            ).as_unit("us"),
        }
    )


def estimators():
    """Fit one estimator of each class, by name, each with its rows."""
    named = pd.DataFrame(rows(4), columns=list("abcd"))
    options = {"max_iter": 2, "random_state": 0}
    stream = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), random_state=np.random.RandomState(0)
    )
    return {
        "dense": (
            AutoencoderTransformer(
                2,
                hidden_layer_sizes=(5, 4),
                normalization="batch",
                normalize_rows=0.5,
                whiten="pca",
                whiten_code=True,
                ordered=True,
                early_stopping=True,
                **options,
            ).fit(named),
            named,
        ),
        "sparse": (AutoencoderTransformer(12, **options).fit(rows(4)), rows(4)),
        "stream": (stream.partial_fit(rows(4)), rows(4)),
        "own": (
            AutoencoderTransformer(2, network=Straight, **options).fit(rows(4)),
            rows(4),
        ),
        "convolutional": (
            ConvAutoencoderTransformer(2, hidden_channels=(2, 3), **options).fit(
                rows(16)
            ),
            rows(16),
        ),
        "patches": (
            PatchAutoencoderTransformer(
                AutoencoderTransformer(6, whiten="zca", **options),
                pooling=2,
                n_components=5,
                random_state=0,
            ).fit(rows(16)),
            rows(16),
        ),
        "tabular": (
            TabularAutoencoderTransformer(
                3,
                hidden_layer_sizes=(4,),
                scaling="quantile",
                max_categories=3,
                **options,
            ).fit(frame()),
            frame(),
        ),
    }


def main():
    """Write the files, and the results of the estimators in them."""
    folder = FILES / str(FORMAT_VERSION)
    folder.mkdir(parents=True)
    for name, (estimator, X) in estimators().items():
        estimator.save(folder / f"{name}.safetensors")
        code = estimator.transform(X)
        again = estimator.inverse_transform(code)
        if hasattr(again, "columns"):
            again.to_csv(folder / f"{name}.csv", index=False)
            again = np.zeros(0)
        np.savez_compressed(folder / f"{name}.npz", code=code, again=again)


if __name__ == "__main__":
    main()
