"""Outlier detection: AutoencoderOutlierDetector against other detectors.

The data sets are classical ones of ADBench (Han et al., NeurIPS 2022; repository
Minqi824/ADBench, BSD-2-Clause). They are not part of this package. The benchmark reads
a folder with one file `NAME.npz` for each: `X` of shape (rows, columns), and `y`, in
which 1 is an outlier::

    python -m benchmarks.outliers --data-dir DIR --half odd
    python -m benchmarks.outliers --data-dir DIR --half even

Everything was chosen on the sets at odd positions of the list, sorted by name without
regard to case. The sets at even positions were scored once, afterwards.

Settings
    Unsupervised: fit on all rows, score the same rows. Novelty: fit on 60 % of the
    inliers, score all other rows. Up to `--rows` rows are drawn from each set.

Scores
    AUROC is the area under the ROC curve, AP the average precision. A difference
    between two detectors comes with its 95 % bootstrap interval over sets. False alarms
    are the share of new inliers that `predict` labels as outliers in the novelty
    setting, for a nominal rate of 5 %.

Detectors
    All get standardised columns. kNN is the distance to the fifth neighbour. ECOD is an
    implementation of the published rule (Li et al., TKDE 2022): sums of the logarithms
    of empirical tail probabilities. All others have the defaults of scikit-learn.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import skew
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skautoenc import AutoencoderOutlierDetector

from .machine import describe_machine

Values = NDArray[Any]
Split = tuple[Values, Values, Values]
OURS = "AutoencoderOutlierDetector"
N_BOOTSTRAP = 10_000


def load(path: Path, n_rows: int, seed: int) -> tuple[Values, Values]:
    """Return up to `n_rows` rows of a set, drawn at random, and their labels."""
    with np.load(path) as found:
        X, y = found["X"], found["y"].ravel().astype(bool)
    chosen = np.random.default_rng(seed).permutation(len(X))[:n_rows]
    return X[chosen].astype(np.float64), y[chosen]


def split(X: Values, y: Values, setting: str, seed: int) -> Split:
    """Return training rows, rows to score, and the labels of the latter."""
    if setting == "unsupervised":
        return X, X, y
    inliers = np.random.default_rng(seed).permutation(np.flatnonzero(~y))
    n_training = int(0.6 * len(inliers))
    test = np.concatenate([inliers[n_training:], np.flatnonzero(y)])
    return X[inliers[:n_training]], X[test], y[test]


def score_ours(train: Values, test: Values, seed: int) -> Values:
    detector = AutoencoderOutlierDetector(random_state=seed).fit(train)
    return -np.asarray(detector.score_samples(test))


def score_forest(train: Values, test: Values, seed: int) -> Values:
    return -np.asarray(
        IsolationForest(random_state=seed).fit(train).score_samples(test)
    )


def score_knn(train: Values, test: Values, seed: int) -> Values:
    neighbors = NearestNeighbors(n_neighbors=5).fit(train)
    distances, _ = neighbors.kneighbors(None if train is test else test)
    return np.asarray(distances[:, -1])


def score_svm(train: Values, test: Values, seed: int) -> Values:
    return -np.asarray(OneClassSVM().fit(train).score_samples(test))


def score_lof(train: Values, test: Values, seed: int) -> Values:
    if train is test:
        return -np.asarray(LocalOutlierFactor().fit(train).negative_outlier_factor_)
    return -np.asarray(LocalOutlierFactor(novelty=True).fit(train).score_samples(test))


def score_ecod(train: Values, test: Values, seed: int) -> Values:
    n_rows = len(train)
    tails = []
    for known, values in zip(train.T, test.T, strict=True):
        ascending = np.sort(known)
        left = np.searchsorted(ascending, values, side="right")
        right = n_rows - np.searchsorted(ascending, values, side="left")
        tails.append([left, right])
    counts = np.maximum(np.array(tails), 1)  # (n_features, 2, n_rows)
    left, right = -np.log(counts / n_rows).transpose(1, 2, 0)
    by_skewness = np.where(np.nan_to_num(skew(train)) < 0, left, right)
    sums = [part.sum(axis=1) for part in (left, right, by_skewness)]
    return np.asarray(np.max(sums, axis=0))


DETECTORS: dict[str, Callable[[Values, Values, int], Values]] = {
    OURS: score_ours,
    "IsolationForest": score_forest,
    "kNN": score_knn,
    "OneClassSVM": score_svm,
    "LocalOutlierFactor": score_lof,
    "ECOD": score_ecod,
}


def measure_set(path: Path, n_rows: int, seed: int) -> list[dict[str, Any]]:
    """Score a set by all detectors in both settings."""
    lines = []
    for setting in ("unsupervised", "novelty"):
        train, test, truth = split(*load(path, n_rows, seed), setting, seed)
        scaler = StandardScaler().fit(train)
        scaled = scaler.transform(train)
        other = scaled if test is train else scaler.transform(test)
        for name, score in DETECTORS.items():
            begin = time.perf_counter()
            found = score(scaled, other, seed)
            lines.append(
                {
                    "set": path.stem,
                    "setting": setting,
                    "seed": seed,
                    "detector": name,
                    "AUROC": roc_auc_score(truth, found),
                    "AP": average_precision_score(truth, found),
                    "seconds": time.perf_counter() - begin,
                }
            )
        if setting == "novelty":
            detector = AutoencoderOutlierDetector(random_state=seed).fit(scaled)
            alarms = float((detector.predict(other[~truth]) == -1).mean())
            lines[-len(DETECTORS)]["false alarms"] = alarms
    return lines


def difference(table: pd.DataFrame, rival: str) -> str:
    """Return the mean difference to another detector, with a bootstrap interval."""
    values = table.groupby(["detector", "set"])["AUROC"].mean().unstack("set")
    gaps = (values.loc[OURS] - values.loc[rival]).to_numpy()
    drawn = np.random.default_rng(0).integers(len(gaps), size=(N_BOOTSTRAP, len(gaps)))
    low, high = np.quantile(gaps[drawn].mean(axis=1), [0.025, 0.975])
    return f"{gaps.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def summarise(lines: pd.DataFrame) -> pd.DataFrame:
    """Return a row per detector: means over sets, and differences to this package."""
    found = {}
    for name in DETECTORS:
        chosen = lines[lines["detector"] == name]
        by_setting = chosen.groupby("setting")[["AUROC", "AP"]].mean()
        row: dict[str, Any] = {}
        for setting in ("unsupervised", "novelty"):
            auroc, precision = by_setting.loc[setting].to_numpy(float)
            row[f"{setting} AUROC"] = f"{auroc:.3f}"
            row[f"{setting} AP"] = f"{precision:.3f}"
        row["mean AUROC"] = f"{by_setting['AUROC'].mean():.4f}"
        for setting in ("unsupervised", "novelty"):
            of_setting = lines[lines["setting"] == setting]
            row[f"ours - it, {setting}"] = (
                "" if name == OURS else difference(of_setting, name)
            )
        row["ours - it, mean"] = "" if name == OURS else difference(lines, name)
        found[name] = row
    return pd.DataFrame(found).T


def main() -> None:
    """Score the sets of one half, or all, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--half", choices=["odd", "even", "all"], default="odd")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.data_dir.glob("*.npz"), key=lambda path: path.stem.lower())
    start = {"odd": 0, "even": 1, "all": 0}[arguments.half]
    lines = []
    for path in paths[start :: 1 if arguments.half == "all" else 2]:
        for seed in arguments.seeds:
            lines += measure_set(path, arguments.rows, seed)
        print(f"{path.stem} done", flush=True)
    table = pd.DataFrame(lines)
    if arguments.output is not None:
        table.to_csv(arguments.output, index=False)
    print(describe_machine(("scikit-learn", "torch", "numpy")))
    print(summarise(table).to_string())
    if (table["set"] == "http").any():
        print("\nWithout http:")
        print(summarise(table[table["set"] != "http"]).to_string())
    alarms = table["false alarms"].dropna()
    print(
        f"\nFalse alarms, 5 % asked for: {alarms.mean():.1%} ({alarms.min():.1%} ... )"
    )


if __name__ == "__main__":
    main()
