"""Text: `AutoencoderTransformer` with default parameters against `TruncatedSVD`.

The texts are the modules of Python's standard library, cut into pieces of 40 lines, of
the 30 longest modules. Rows are TF-IDF of up to 5,000 words, and sparse. A third of the
texts is held out::

    python -m benchmarks.text

For each number of components, it prints means over three splits (standard deviation):
the share of held-out texts of which a logistic regression names the module, the share
of the variance of held-out texts that is left unexplained, and the CPU time of a fit,
on one thread. Cross-validation on training texts chooses the regularisation.
"""

import argparse
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer

from .machine import describe_machine, pinned

N_LINES = 40
GRID = {"logisticregression__C": [0.001, 0.01, 0.1, 1.0, 10.0]}


def read_texts(n_modules: int) -> tuple[list[str], list[str]]:
    """Return pieces of the longest modules, and the modules that they are from."""
    pieces: dict[str, list[str]] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        lines = path.read_text("utf-8", "ignore").splitlines()
        starts = range(0, len(lines) - N_LINES + 1, N_LINES)
        pieces[path.stem] = ["\n".join(lines[n : n + N_LINES]) for n in starts]
    longest = sorted(pieces, key=lambda name: len(pieces[name]))[-n_modules:]
    texts = [text for name in longest for text in pieces[name]]
    return texts, [name for name in longest for _ in pieces[name]]


def accuracy(
    train: NDArray[Any], y_train: list[str], test: NDArray[Any], y_test: list[str]
) -> float:
    """Return the accuracy of a logistic regression on features of held-out texts."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    search = GridSearchCV(classifier, GRID, cv=3)
    return float(search.fit(train, y_train).score(test, y_test))


def compare(n_modules: int, n_words: int, n_components: int, seed: int) -> list[Any]:
    """Return a line for each method."""
    texts, modules = read_texts(n_modules)
    train, test, y_train, y_test = train_test_split(
        texts, modules, test_size=1 / 3, random_state=seed, stratify=modules
    )
    vectorizer = TfidfVectorizer(max_features=n_words, dtype=np.float32)
    rows, others = vectorizer.fit_transform(train), vectorizer.transform(test)
    dense = others.toarray()
    total = np.square(dense - rows.mean(axis=0).A1).sum()
    lines = []
    for model in (
        AutoencoderTransformer(n_components, random_state=seed),
        TruncatedSVD(n_components, random_state=seed),
    ):
        began = time.process_time()
        model.fit(rows)
        seconds = time.process_time() - began
        code = model.transform(others)
        left = np.square(model.inverse_transform(code) - dense).sum() / total
        found = accuracy(model.transform(rows), y_train, code, y_test)
        lines.append((n_components, type(model).__name__, found, left, seconds))
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--components", nargs="+", type=int, default=[8, 32, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--modules", type=int, default=30)
    parser.add_argument("--words", type=int, default=5000)
    options = parser.parse_args()
    with pinned(1):
        lines = [
            line
            for n_components in options.components
            for seed in options.seeds
            for line in compare(options.modules, options.words, n_components, seed)
        ]
        names = ["components", "method", "accuracy", "variance left", "seconds"]
        by_method = pd.DataFrame(lines, columns=names).groupby(names[:2])
        print(by_method.agg(["mean", "std"]).round(3).to_string())
        print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
