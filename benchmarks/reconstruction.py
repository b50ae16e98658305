"""Held-out reconstruction error of narrow codes, against PCA.

`AutoencoderTransformer(n_components, random_state=seed)`,
`ConvAutoencoderTransformer(n_components, random_state=seed)` and `PCA(n_components)`
are fitted to training rows between 0 and 1. The error is the mean squared error of the
test rows. No parameter was chosen by it. A third of scikit-learn's digits is held out.
MNIST and Fashion-MNIST have their official split, from IDX files::

    python -m benchmarks.reconstruction --data-dir DIR

`DIR` has the folders `mnist` and `fashion-mnist`. Without it, the benchmark uses digits
only. It prints the table, and writes it to `--output` as CSV. If encdr is installed, it
is measured on digits too: with default parameters, and with the hidden layers of this
package and pixels that are not standardised.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skautoenc import AutoencoderTransformer, ConvAutoencoderTransformer
from skautoenc.datasets import load_idx_dataset

from .machine import describe_machine

SEEDS = (0, 1, 2)
KINDS: dict[str, Callable[..., Any]] = {
    "dense": AutoencoderTransformer,
    "convolutional": ConvAutoencoderTransformer,
}
COMPONENTS = {
    "digits": (8, 16, 32),
    "mnist": (8, 16, 32, 64),
    "fashion-mnist": (8, 16, 32, 64),
}

Rows = NDArray[np.float32]


def load(name: str, data_dir: Path | None) -> tuple[Rows, Rows]:
    """Return training and test rows in [0, 1]."""
    if name == "digits" or data_dir is None:
        rows = load_digits().data.astype(np.float32) / 16
        train, test = train_test_split(rows, test_size=1 / 3, random_state=0)
        return train, test
    images = load_idx_dataset(data_dir / name)
    return (
        images.data_train.astype(np.float32) / 255,
        images.data_test.astype(np.float32) / 255,
    )


def make_encdr(n_components: int, random_state: int, **parameters: Any) -> Any:
    """Return the autoencoder of encdr, without output on the way."""
    from encdr import ENCDR

    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return ENCDR(
        latent_dim=n_components,
        random_state=random_state,
        trainer_kwargs={"accelerator": "cpu", **quiet},
        **parameters,
    )


def kinds_for(name: str) -> dict[str, Callable[..., Any]]:
    """Return the autoencoders to measure on a data set."""
    if name != "digits" or find_spec("encdr") is None:
        return KINDS
    adapted = partial(make_encdr, hidden_dims=[256, 128], standardize=False)
    return {**KINDS, "encdr": make_encdr, "encdr, adapted": adapted}


def error(estimator: Any, rows: Rows) -> float:
    """Return the mean squared reconstruction error."""
    reconstruction = estimator.inverse_transform(estimator.transform(rows))
    return float(np.mean((reconstruction - rows) ** 2))


def measure(name: str, train: Rows, test: Rows) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each number of components and each kind."""
    for n_components in COMPONENTS[name]:
        pca = error(PCA(n_components, random_state=0).fit(train), test)
        for kind, make in kinds_for(name).items():
            ratios, seconds = [], []
            for seed in SEEDS:
                autoencoder = make(n_components, random_state=seed)
                started = time.perf_counter()
                autoencoder.fit(train)
                seconds.append(time.perf_counter() - started)
                ratios.append(error(autoencoder, test) / pca)
            yield {
                "data": name,
                "components": n_components,
                "PCA": pca,
                "autoencoder": kind,
                "error / PCA": np.mean(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "fit (s)": np.median(seconds),
            }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("reconstruction.csv"))
    arguments = parser.parse_args()

    names = list(COMPONENTS) if arguments.data_dir else ["digits"]
    table = []
    for name in names:
        for row in measure(name, *load(name, arguments.data_dir)):
            table.append(row)
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    frame = pd.DataFrame(table)
    frame.to_csv(arguments.output, index=False)
    print(f"\n{frame.round(4).to_string(index=False)}\n")
    print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
