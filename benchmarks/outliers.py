r"""Outlier detection: AutoencoderOutlierDetector against other detectors.

The data sets are the classical ones of ADBench (Han et al., NeurIPS 2022; repository
Minqi824/ADBench, BSD-2-Clause). They are not part of this package. The benchmark reads
a folder with a file `NAME.npz` for each: `X` of shape (rows, columns), and `y`, in
which 1 is an outlier::

    python -m benchmarks.outliers --data-dir DIR --half odd
    python -m benchmarks.outliers --data-dir DIR --half even

All choices were made on the sets at odd positions of the list, sorted by name without
regard to case. docs/outliers.md says how often the sets at even positions were scored.

Settings
    Unsupervised: fit on all rows, score the same rows. Novelty: fit on 60 % of the
    inliers, score all other rows. Up to `--rows` rows are drawn from each set.

Scores
    AUROC is the area under the ROC curve, AP the average precision. A difference
    between two detectors has a 95 % bootstrap interval over the sets. Each set counts
    with its mean over the seeds. False alarms are the share of new inliers that
    `predict` labels as outliers in the novelty setting, for a nominal rate of 5 %.

Detectors
    All of them get standardised columns. kNN is the distance to the fifth neighbour.
    ECOD implements the published rule (Li et al., TKDE 2022): sums of the logarithms of
    empirical tail probabilities. The neural detectors of pyod have pyod's defaults, and
    need ``pip install pyod tqdm``. All others have the defaults of scikit-learn.

You can split a run by sets, detectors or seeds. Results that the output file holds are
not measured again, so the same command continues an interrupted run::

    python -m benchmarks.outliers --data-dir DIR --half odd --output ours.csv
    python -m benchmarks.outliers --data-dir DIR --half odd --output pyod.csv \
        --detectors "pyod AutoEncoder" "pyod VAE" "pyod DeepSVDD"
    python -m benchmarks.outliers --results ours.csv pyod.csv --half even

To compare the time of a fit with that of IsolationForest::

    python -m benchmarks.outliers --time
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
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
SETTINGS = ("unsupervised", "novelty")
# What identifies a line of the results.
KEYS = ("set", "setting", "seed", "detector")
PYOD_MODULES = {"AutoEncoder": "auto_encoder", "VAE": "vae", "DeepSVDD": "deep_svdd"}


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


def fit_ours(train: Values, seed: int) -> AutoencoderOutlierDetector:
    detector = AutoencoderOutlierDetector(random_state=seed)
    detector.fit(train)
    return detector


def score_ours(train: Values, test: Values, seed: int) -> Values:
    return -np.asarray(fit_ours(train, seed).score_samples(test))


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


def score_pyod(name: str, train: Values, test: Values, seed: int) -> Values:
    """Score by a detector of pyod with its defaults."""
    try:
        import torch

        module = import_module(f"pyod.models.{PYOD_MODULES[name]}")
    except ImportError as error:
        raise SystemExit(
            f"{error}. The detectors of pyod need: pip install pyod tqdm. To run "
            "without them, name others with --detectors."
        ) from error
    torch.manual_seed(seed)
    parameters: dict[str, Any] = {"random_state": seed, "verbose": 0}
    if name == "DeepSVDD":
        parameters["n_features"] = train.shape[1]
    detector = getattr(module, name)(**parameters)
    detector.fit(train)
    return np.asarray(detector.decision_function(test))


Detector = Callable[[Values, Values, int], Values]
OF_SCIKIT_LEARN: dict[str, Detector] = {
    OURS: score_ours,
    "IsolationForest": score_forest,
    "kNN": score_knn,
    "OneClassSVM": score_svm,
    "LocalOutlierFactor": score_lof,
    "ECOD": score_ecod,
}
OF_PYOD: dict[str, Detector] = {
    f"pyod {name}": partial(score_pyod, name) for name in PYOD_MODULES
}
DETECTORS = OF_SCIKIT_LEARN | OF_PYOD


def measure_set(
    path: Path, n_rows: int, seed: int, detectors: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """Score a set by the detectors of each setting."""
    for setting, names in detectors.items():
        train, test, truth = split(*load(path, n_rows, seed), setting, seed)
        scaler = StandardScaler().fit(train)
        scaled = scaler.transform(train)
        other = scaled if test is train else scaler.transform(test)
        for name in names:
            begin = time.perf_counter()
            if name == OURS:
                detector = fit_ours(scaled, seed)
                found = -detector.score_samples(other)
            else:
                found = DETECTORS[name](scaled, other, seed)
            line = {
                "set": path.stem,
                "setting": setting,
                "seed": seed,
                "detector": name,
                "AUROC": roc_auc_score(truth, found),
                "AP": average_precision_score(truth, found),
                "seconds": time.perf_counter() - begin,
            }
            if name == OURS and setting == "novelty":
                # New inliers that `predict` labels as outliers.
                line["false alarms"] = (-found[~truth] < detector.offset_).mean()
            yield line


def difference(table: pd.DataFrame, rival: str) -> str:
    """Return the mean difference to another detector, with a bootstrap interval."""
    values = table.groupby(["detector", "set"])["AUROC"].mean().unstack("set")
    gaps = (values.loc[OURS] - values.loc[rival]).to_numpy()
    drawn = np.random.default_rng(0).integers(len(gaps), size=(N_BOOTSTRAP, len(gaps)))
    low, high = np.quantile(gaps[drawn].mean(axis=1), [0.025, 0.975])
    return f"{gaps.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def means_by_seed(lines: pd.DataFrame) -> str:
    """Return the mean AUROC of each seed."""
    sizes = lines.groupby("seed").size()
    found = lines.groupby("seed")["AUROC"].mean()[sizes == sizes.max()]
    return " ".join(f"{mean:.3f}" for mean in found)


def summarise(lines: pd.DataFrame) -> pd.DataFrame:
    """Return a row per detector: means over sets, and differences to this package."""
    found = {}
    names = [name for name in DETECTORS if (lines["detector"] == name).any()]
    for name in names:
        chosen = lines[lines["detector"] == name]
        # A set counts once, however many seeds it was measured with.
        of_sets = chosen.groupby(["setting", "set"])[["AUROC", "AP"]].mean()
        by_setting = of_sets.groupby("setting").mean()
        row: dict[str, Any] = {}
        for setting in SETTINGS:
            auroc, precision = by_setting.loc[setting].to_numpy(float)
            row[f"{setting} AUROC"] = f"{auroc:.3f}"
            row[f"{setting} AP"] = f"{precision:.3f}"
        row["mean AUROC"] = f"{by_setting['AUROC'].mean():.4f}"
        row["by seed"] = means_by_seed(chosen)
        if OURS in names and name != OURS:
            for setting in SETTINGS:
                of_setting = lines[lines["setting"] == setting]
                row[f"ours - it, {setting}"] = difference(of_setting, name)
            row["ours - it, mean"] = difference(lines, name)
        found[name] = row
    return pd.DataFrame(found).T.fillna("")


def compare_times(n_rows: int = 10_000, n_features: int = 30, n_runs: int = 7) -> None:
    """Compare the CPU time of a fit with that of IsolationForest.

    Both set their thresholds by scores of all rows.
    """
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(n_features, n_features))
    X = rng.normal(size=(n_rows, n_features)) @ mixing
    detectors = [
        IsolationForest(contamination=0.05, random_state=0),
        AutoencoderOutlierDetector(random_state=0),
    ]
    seconds = np.empty((n_runs + 1, 2))
    for run in range(n_runs + 1):
        for number, detector in enumerate(detectors):
            begin = time.process_time()
            detector.fit(X)
            seconds[run, number] = time.process_time() - begin
    # The first fits load libraries.
    forest, ours = seconds[1:].T
    ratios = ours / forest
    print(
        f"{n_rows} rows of {n_features} columns: {np.median(ours):.2f} s, "
        f"IsolationForest {np.median(forest):.2f} s; ratio {np.median(ratios):.2f} "
        f"({ratios.min():.2f} to {ratios.max():.2f})"
    )


def choose(names: Sequence[str], half: str) -> list[str]:
    """Return the sets of a half, sorted by name without regard to case."""
    ordered = sorted(names, key=str.lower)
    return {"odd": ordered[::2], "even": ordered[1::2], "all": ordered}[half]


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """Run the detectors on the sets of a folder, except for known results."""
    lines: list[dict[Any, Any]] = []
    if arguments.output is not None and arguments.output.exists():
        lines = pd.read_csv(arguments.output).to_dict("records")
    done = {tuple(line[key] for key in KEYS) for line in lines}
    names = [path.stem for path in arguments.data_dir.glob("*.npz")]
    for name in arguments.sets or choose(names, arguments.half):
        path = arguments.data_dir / f"{name}.npz"
        for seed in arguments.seeds:
            missing = {
                setting: [
                    detector
                    for detector in arguments.detectors
                    if (name, setting, seed, detector) not in done
                ]
                for setting in SETTINGS
            }
            for line in measure_set(path, arguments.rows, seed, missing):
                lines.append(line)
                if arguments.output is not None:
                    pd.DataFrame(lines).to_csv(arguments.output, index=False)
        print(f"{name} done", flush=True)
    return pd.DataFrame(lines)


def main() -> None:
    """Score the sets of one half, or all, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", type=Path, help="folder of NAME.npz")
    source.add_argument(
        "--results", type=Path, nargs="+", help="outputs of earlier runs to summarise"
    )
    source.add_argument(
        "--time", action="store_true", help="compare times with IsolationForest"
    )
    parser.add_argument("--half", choices=["odd", "even", "all"], default="odd")
    parser.add_argument("--sets", nargs="+", help="names of sets, instead of a half")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--detectors",
        choices=DETECTORS,
        nargs="+",
        default=list(OF_SCIKIT_LEARN),
        help="those of pyod need: pip install pyod tqdm",
    )
    parser.add_argument("--output", type=Path, help="CSV file for all results")
    arguments = parser.parse_args()
    if arguments.time:
        print(describe_machine(("scikit-learn", "torch", "numpy")))
        compare_times()
        return
    if arguments.results is None:
        table = measure(arguments)
    else:
        table = pd.concat([pd.read_csv(path) for path in arguments.results])
        chosen = choose(list(table["set"].unique()), arguments.half)
        table = table[table["set"].isin(chosen)]
    print(describe_machine(("scikit-learn", "torch", "numpy")))
    print(summarise(table).to_string())
    if (table["set"] == "http").any():
        print("\nWithout http:")
        print(summarise(table[table["set"] != "http"]).to_string())
    if "false alarms" in table:
        alarms = table["false alarms"].dropna()
        low, high = alarms.min(), alarms.max()
        spread = f"{low:.1%} to {high:.1%}"
        print(f"\nFalse alarms, 5 % asked for: {alarms.mean():.1%} ({spread})")


if __name__ == "__main__":
    main()
