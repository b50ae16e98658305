"""Narrow codes of tables with more columns than rows, against PCA.

There is little to learn from such a table. A code that starts as PCA must not end with
a larger error than PCA, except for about a thousandth of the variance::

    python -m pip install ".[benchmarks]"
    python -m benchmarks.wide

`AutoencoderTransformer(10, random_state=seed)`, with default parameters otherwise, and
`PCA(10)` are fitted to all rows, standardised by column. Errors are mean squared errors
on the same rows, as shares of the variance. The table has the mean and the highest
error over the seeds.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer

from .machine import describe_machine, pinned
from .rates import make_wide
from .untuned import load_frame

SEEDS = (0, 1, 2)
N_COMPONENTS = 10

Rows = NDArray[np.float64]


def of_package(package: str, item: str, n_rows: int | None = None) -> Rows:
    """Return the numbers of one of the data sets of R's packages."""
    frame = load_frame(package, item).select_dtypes("number")
    if n_rows is not None:
        frame = frame.sample(n_rows, random_state=0)
    rows: Rows = frame.to_numpy(float)
    return rows


def genes(n_columns: int) -> Rows:
    """Expression of genes in 64 cell lines of cancers."""
    return of_package("ISLR", "NCI60")[:, :n_columns]


def digits(n_rows: int, factor: int) -> Rows:
    """Images of digits, each pixel enlarged to a square of `factor` by `factor`."""
    square = np.ones((1, factor, factor))
    rows: Rows = np.kron(load_digits().images[:n_rows], square).reshape(n_rows, -1)
    return rows


DATA: dict[str, Callable[[], Rows]] = {
    "digits, 50 x 64": lambda: digits(50, 1),
    "digits, 200 x 576": lambda: digits(200, 3),
    "curved, 100 x 400": lambda: make_wide(100, 400),
    "curved, 60 x 2,000": lambda: make_wide(60, 2000),
    "curved, 60 x 10,000": lambda: make_wide(60, 10_000, 5, 0.3),
    "noisy, 60 x 1,500": lambda: make_wide(60, 1500, 30, 1.0),
    "NCI60, 64 x 1,500": lambda: genes(1500),
    "NCI60, 64 x 6,830": lambda: genes(6830),
    "tissues, 189 x 500": lambda: of_package("dslabs", "tissue_gene_expression"),
    "speech, 252 x 751": lambda: of_package("modeldata", "pd_speech"),
    "meats, 60 x 103": lambda: of_package("modeldata", "meats", 60),
    "leaves, 60 x 80": lambda: of_package("modeldata", "leaf_id_flavia", 60),
}


def compare(rows: Rows) -> dict[str, float]:
    """Return the errors of PCA and of the autoencoder, as shares of the variance."""
    rows = StandardScaler().fit_transform(rows)
    variance = rows.var(axis=0).mean()
    estimators = [AutoencoderTransformer(N_COMPONENTS, random_state=s) for s in SEEDS]
    errors = []
    for estimator in (PCA(N_COMPONENTS, random_state=0), *estimators):
        restored = estimator.inverse_transform(estimator.fit_transform(rows))
        errors.append(float(np.mean((restored - rows) ** 2) / variance))
    pca, *found = errors
    return {"PCA": pca, "autoencoder": float(np.mean(found)), "highest": max(found)}


def main() -> None:
    """Run the benchmark."""
    table = []
    with pinned(1):
        for name, make in DATA.items():
            table.append({"data": name, **compare(make())})
            print(table[-1], flush=True)
        print(f"\n{pd.DataFrame(table).round(4).to_string(index=False)}\n")
        print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
