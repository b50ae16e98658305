"""New rows of tables against those of TVAE, CTGAN and a Gaussian copula.

The rivals need other versions of pandas, so that they run in an environment of their
own, with ``pip install ctgan copulas sdmetrics scikit-learn``::

    python -m benchmarks.synthesis folder        # where skautoenc is installed
    python benchmarks/synthesis.py folder        # where the rivals are installed

The first command writes real and drawn rows to a folder, the second adds those of the
rivals and prints the scores. Complete rows of five tables of `benchmarks.tables`, up to
2,000, half of them to train; as many rows are drawn, one seed.

shapes, pairs
    SDMetrics' column shapes and column pair trends (1 is best).
detection
    Area under the ROC curve of gradient boosting that tells drawn from held-out rows,
    five folds (0.5 is best).
usefulness
    Score on the held-out rows of gradient boosting trained on the drawn ones, in
    percent: area under the ROC curve of classes, R² of numbers.
nearer
    Share of the drawn rows that are nearer to a training row than to a held-out one
    (0.5 is ideal, 1 is copying).
"""

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Sets, and the columns that usefulness is about.
SETS = {
    "credit": "Status",
    "chile": "vote",
    "churn": "churn",
    "slid": "wages",
    "incomes": "income",
}
N_ROWS = 2000
MODELS = "real", "autoencoder", "TVAE", "CTGAN", "copula"


def load(name: str) -> pd.DataFrame:
    """Return complete rows of a table, with its target."""
    from .tables import SOURCES

    source = SOURCES[name]
    frame, target = source.load(10**9)
    frame[SETS[name]] = target
    frame = frame[[c for c in frame if frame[c].nunique() > 1]].dropna()
    frame = frame.sample(min(N_ROWS, len(frame)), random_state=0)
    return frame.reset_index(drop=True)


def draw(folder: Path) -> None:
    """Write real rows, and rows that are drawn by the autoencoder."""
    from skautoenc import TabularAutoencoderTransformer

    folder.mkdir(exist_ok=True)
    for name in SETS:
        frame = load(name)
        middle = len(frame) // 2
        train, test = frame.iloc[:middle], frame.iloc[middle:]
        start = time.process_time()
        transformer = TabularAutoencoderTransformer(
            number_output="distribution", random_state=0
        ).fit(train)
        rows = transformer.sample(len(train), random_state=0)
        print(f"{name}: {time.process_time() - start:.1f} s", flush=True)
        for part, each in (("train", train), ("test", test), ("autoencoder", rows)):
            each.to_csv(folder / f"{name}.{part}.csv", index=False)


def make_rival(model: str, train: pd.DataFrame, words: list[Any]) -> pd.DataFrame:
    """Fit a rival and return as many rows as it was fitted on."""
    if model == "copula":
        from copulas.multivariate import GaussianMultivariate

        # Categories are intervals of a uniform number, as SDV has them.
        coded, levels, generator = train.copy(), {}, np.random.default_rng(0)
        for name in words:
            shares = train[name].astype(str).value_counts(normalize=True)
            ends = shares.cumsum()
            levels[name] = ends
            place = train[name].astype(str)
            width = place.map(shares).to_numpy(float)
            coded[name] = place.map(ends).to_numpy(float) - width * generator.random(
                len(train)
            )
        copula = GaussianMultivariate(random_state=0)
        copula.fit(coded.astype(float))
        rows: pd.DataFrame = copula.sample(len(train))
        for name, ends in levels.items():
            found = np.searchsorted(ends.to_numpy(), rows[name].clip(0, 1 - 1e-9))
            rows[name] = ends.index[np.minimum(found, len(ends) - 1)]
        return rows
    import ctgan

    rival = getattr(ctgan, model)(epochs=300)
    if hasattr(rival, "set_random_state"):
        rival.set_random_state(0)
    rival.fit(train, discrete_columns=words)
    drawn: pd.DataFrame = rival.sample(len(train))
    return drawn


def encode(frames: list[pd.DataFrame], words: list[Any]) -> list[Any]:
    """Return matrices of standardised numbers and one-hot categories."""
    whole = pd.concat(frames, keys=range(len(frames)))
    numbers = whole.drop(columns=words)
    first: Any = numbers.loc[0]
    numbers = (numbers - first.mean()) / first.std().clip(lower=1e-9)
    one_hot = pd.get_dummies(whole[words].astype(str), dtype=float) / np.sqrt(2)
    joined = pd.concat([numbers, one_hot], axis=1)
    return [joined.loc[n].to_numpy(float) for n in range(len(frames))]


def score(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    test: pd.DataFrame,
    words: list[Any],
    target: str,
) -> dict[str, float]:
    """Return the scores of drawn rows."""
    from sdmetrics.reports.single_table import QualityReport
    from sklearn.ensemble import HistGradientBoostingClassifier as Classifier
    from sklearn.ensemble import HistGradientBoostingRegressor as Regressor
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import NearestNeighbors

    kinds = {c: {"sdtype": "categorical" if c in words else "numerical"} for c in train}
    report = QualityReport()
    report.generate(train, rows, {"columns": kinds}, verbose=False)
    shapes, pairs = report.get_properties()["Score"]
    seen, unseen, drawn = encode([train, test, rows], words)
    X = np.vstack([drawn, unseen])
    y = np.r_[np.ones(len(drawn)), np.zeros(len(unseen))]
    order = np.random.default_rng(0).permutation(len(X))
    detection = cross_val_score(
        Classifier(random_state=0), X[order], y[order], cv=5, scoring="roc_auc"
    )
    is_class = target in words
    names = [c for c in words if c != target]
    _, held_out, mine = encode(
        [f.drop(columns=target) for f in (train, test, rows)], names
    )
    model = (Classifier if is_class else Regressor)(random_state=0)
    model.fit(mine, rows[target].astype(str) if is_class else rows[target])
    if is_class:
        from sklearn.metrics import roc_auc_score

        shares = model.predict_proba(held_out)
        truth = test[target].astype(str)
        own = pd.DataFrame(shares, columns=model.classes_)
        all_classes = sorted(truth.unique())
        own = own.reindex(columns=all_classes, fill_value=0.0)
        binary = len(all_classes) == 2
        useful = np.mean(
            [roc_auc_score(truth == c, own[c]) for c in all_classes[binary:]]
        )
    else:
        useful = model.score(held_out, test[target])
    near = [
        NearestNeighbors(n_neighbors=1).fit(each).kneighbors(drawn)[0][:, 0]
        for each in (seen[: len(unseen)], unseen[: len(seen)])
    ]
    nearer = np.mean(near[0] < near[1]) + 0.5 * np.mean(near[0] == near[1])
    return {
        "shapes": shapes,
        "pairs": pairs,
        "detection": float(detection.mean()),
        "usefulness": 100 * float(useful),
        "nearer": float(nearer),
    }


def compare(folder: Path) -> None:
    """Fit the rivals, and print the scores of all."""
    lines = []
    for name, target in SETS.items():
        parts = ("train", "test", "autoencoder")
        train, test, ours = (pd.read_csv(folder / f"{name}.{p}.csv") for p in parts)
        words: list[Any] = [c for c in train if train[c].dtype.kind not in "if"]
        for model in MODELS:
            start = time.process_time()
            if model in ("real", "autoencoder"):
                rows = train if model == "real" else ours
            else:
                rows = make_rival(model, train, words)
            rows = rows[list(train)].reset_index(drop=True)
            line = {"data": name, "model": model, "s": time.process_time() - start}
            line |= score(rows, train, test, words, target)
            lines.append(line)
            print(pd.DataFrame([line]).round(3).to_string(header=not lines[1:]))
            pd.DataFrame(lines).to_csv(folder / "scores.csv", index=False)
    means = pd.DataFrame(lines).groupby("model", sort=False).mean(numeric_only=True)
    print(f"\nMean of {len(SETS)} tables\n{means.round(3)}")


def main() -> None:
    """Draw rows where skautoenc is installed, and compare them where rivals are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if importlib.util.find_spec("sdmetrics") is None:
        draw(folder)
    else:
        compare(folder)


if __name__ == "__main__":
    main()
