"""Few labels: SemiSupervisedAutoencoder against features without labels, and boosting.

The data are the digits, 4,000 training and 2,000 test images each of MNIST and
Fashion-MNIST, and three standardised tables of numbers. A quarter of the rows of digits
and tables are test rows::

    python -m benchmarks.labels --data-dir DIR --output labels.csv

`DIR` has the folders `mnist` and `fashion-mnist` with IDX files. Without it, these two
are left out. 1 %, 5 % and 20 % of the training rows have a label. They are drawn by the
seed, at least one from each class. The table has the accuracy on the test rows:

- "autoencoder" is a `LogisticRegression` on the features of `AutoencoderTransformer`.
  The features are learnt from all training rows without labels, the classifier from the
  rows with a label.
- "boosting" is `HistGradientBoostingClassifier` on the rows with a label. Where labels
  are few, leaves may have fewer rows than by default. Images get 50 trees per class.
- "semi-supervised" is a `LogisticRegression` on the code of
  `SemiSupervisedAutoencoder`, which learns from all training rows and from the labels.

Features are centred and divided by one scale. If each class has three rows with a
label, threefold cross-validation of the log loss among these rows chooses C. Otherwise,
C is 1. The parameters of `SemiSupervisedAutoencoder` were chosen on splits of the
training rows, except for the number of steps: docs/benchmarks.md says how.
"""

import argparse
import warnings
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer, SemiSupervisedAutoencoder
from skautoenc.datasets import load_idx_dataset

from .machine import describe_machine, pinned
from .tables import record
from .untuned import load_frame

SEEDS = (0, 1, 2)
SHARES = (0.01, 0.05, 0.2)
PENALTIES = (0.01, 0.1, 1, 10)
IMAGES = ("mnist", "fashion-mnist")
# Number of columns above which boosting gets fewer trees.
MANY_COLUMNS = 300
# Package and name among R's data sets, the classes, and columns that are left out.
TABLES = {
    "cells": ("modeldata", "cells", "class", ["case"]),
    "spam": ("DAAG", "spam7", "yesno", []),
}
DATA = ("digits", *IMAGES, "cancer", *TABLES)
METHODS = ("autoencoder", "boosting", "semi-supervised")

Values = NDArray[Any]
Line = dict[str, Any]


def load(name: str, data_dir: Path | None) -> list[Values]:
    """Return training rows, test rows, and the classes of both."""
    if name in IMAGES:
        assert data_dir is not None
        images = load_idx_dataset(data_dir / name)
        random = np.random.default_rng(0)
        train = random.permutation(len(images.data_train))[:4000]
        test = random.permutation(len(images.data_test))[:2000]
        rows = images.data_train[train], images.data_test[test]
        return [
            *((each / 255).astype(np.float32) for each in rows),
            images.target_train[train],
            images.target_test[test],
        ]
    X, y = load_table(name)
    split = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    if name != "digits":
        scaler = StandardScaler().fit(split[0])
        split[:2] = [scaler.transform(rows) for rows in split[:2]]
    return [split[0].astype(np.float32), split[1].astype(np.float32), *split[2:]]


def load_table(name: str) -> tuple[Values, Values]:
    """Return rows and classes of a table, or of the digits."""
    if name == "digits":
        digits = load_digits()
        return digits.data / 16, digits.target
    if name == "cancer":
        cancer = load_breast_cancer()
        return cancer.data, cancer.target
    package, item, target, left_out = TABLES[name]
    frame = load_frame(package, item).drop(columns=left_out)
    y = np.unique(frame.pop(target).astype(str), return_inverse=True)[1]
    return frame.to_numpy(float), y


def draw_labelled(y: Values, share: float, seed: int) -> Values:
    """Return the rows with a label: a share, and at least one of each class."""
    order = np.random.default_rng(seed).permutation(len(y))
    first = [order[y[order] == kind][0] for kind in np.unique(y)]
    others = order[~np.isin(order, first)]
    n_others = max(round(share * len(y)) - len(first), 0)
    return np.sort(np.concatenate([first, others[:n_others]]))


def score_linear(
    codes: tuple[Values, Values], known: Values, y_train: Values, y_test: Values
) -> float:
    """Return the accuracy of a linear model.

    Parameters
    ----------
    codes : tuple of ndarray
        Codes of all training rows, and of the test rows.
    known : ndarray
        Positions of the training rows that have a label.
    y_train, y_test : ndarray
        Labels of the rows at `known`, and classes of the test rows.
    """
    train, test = codes
    mean, scale = train.mean(axis=0), np.sqrt(train.var(axis=0).mean()) or 1.0
    rows = (train[known] - mean) / scale
    model: Any = LogisticRegression(max_iter=300)
    if np.unique(y_train, return_counts=True)[1].min() >= 3:
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        model = GridSearchCV(model, {"C": PENALTIES}, cv=folds, scoring="neg_log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, y_train)
    return float((model.predict((test - mean) / scale) == y_test).mean())


def predict_boosting(
    X: Values, y: Values, known: Values, X_test: Values, seed: int
) -> Values:
    """Return the classes of the test rows by gradient boosting."""
    boosting = HistGradientBoostingClassifier(
        min_samples_leaf=min(20, max(2, len(known) // 20)),
        max_iter=50 if X.shape[1] > MANY_COLUMNS else 100,
        early_stopping=False,
        random_state=seed,
    )
    found: Values = boosting.fit(X[known], y[known]).predict(X_test)
    return found


def measure(
    name: str, seed: int, methods: list[str], data_dir: Path | None
) -> Iterator[Line]:
    """Yield the accuracy of each method and share of labels."""
    X, X_test, y, y_test = load(name, data_dir)
    if "autoencoder" in methods:
        unsupervised = AutoencoderTransformer(random_state=seed).fit(X)
        codes = unsupervised.transform(X), unsupervised.transform(X_test)
    for share, method in product(SHARES, methods):
        known = draw_labelled(y, share, seed)
        if method == "boosting":
            predicted = predict_boosting(X, y, known, X_test, seed)
            accuracy = float((predicted == y_test).mean())
        else:
            if method == "semi-supervised":
                labels = np.full(len(y), -1)
                labels[known] = y[known]
                model = SemiSupervisedAutoencoder(random_state=seed).fit(X, labels)
                coded = model.transform(X), model.transform(X_test)
            else:
                coded = codes
            accuracy = score_linear(coded, known, y[known], y_test)
        yield {
            "data": name,
            "seed": seed,
            "share": share,
            "n_labels": len(known),
            "method": method,
            "accuracy": accuracy,
        }


def print_summary(table: pd.DataFrame) -> None:
    """Print means over the seeds, and the lead over the better rival."""
    means = table.pivot_table(
        index=["data", "share"], columns="method", values="accuracy", sort=False
    )
    if set(METHODS) <= set(means):
        rival = means[["autoencoder", "boosting"]].max(axis=1)
        means["lead"] = means["semi-supervised"] - rival
    print(f"\n{(100 * means).round(1).to_string()}")
    print(f"\n{(100 * means.groupby('share').mean()).round(1).to_string()}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--output", type=Path, help="a file for a line of each fit")
    arguments = parser.parse_args()
    names = [
        name
        for name in arguments.data
        if name not in IMAGES or arguments.data_dir is not None
    ]
    with pinned(1):
        runs = product(names, arguments.seeds)
        found = (
            measure(name, seed, arguments.methods, arguments.data_dir)
            for name, seed in runs
        )
        print_summary(record(chain.from_iterable(found), arguments.output))
    print(f"\n{describe_machine(['scikit-learn', 'torch', 'numpy'])}")


if __name__ == "__main__":
    main()
