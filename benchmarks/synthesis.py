"""New rows of tables against those of TVAE, CTGAN, a Gaussian copula and SMOTE.

The rivals need another version of pandas. They run in an environment of their own, with
``pip install ctgan sdmetrics scikit-learn``::

    python -m benchmarks.synthesis folder        # where skautoenc is installed
    python benchmarks/synthesis.py folder        # where the rivals are installed

The first command writes real and drawn rows to a folder. The second command adds the
rows of the rivals, and prints the scores. Both keep what the folder holds from an
earlier run. The data are up to 2,000 complete rows of five tables of
`benchmarks.tables`. Half of the rows are training rows, and as many rows are drawn.
``--seeds 0 1 2`` gives the seeds of fits and of draws.

shapes, pairs
    Mean similarity of the columns, and of all pairs of columns, by SDMetrics (1 is
    best). Numbers have ten bins of equal width within the range of the training rows.
    SDMetrics' own reports count only pairs of high association, and bin each table
    within its own range.
detection
    Area under the ROC curve of gradient boosting that separates drawn from held-out
    rows, with five folds (0.5 is best).
usefulness
    Score on the held-out rows of gradient boosting that is trained on the drawn rows,
    in percent: area under the ROC curve for classes, R² for numbers.
nearer
    Share of the drawn rows that are nearer to a training row than to a held-out row
    (0.5 is ideal, 1 is copying).

"real" are the held-out rows for shapes and pairs, and the training rows for the other
scores. The copula has the margins of the training rows. SMOTE draws a point on the line
from a row to one of its five nearest neighbours, with the categories of one of the two.
"""

import argparse
import importlib.util
import time
from itertools import combinations, product
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
MODELS = "real", "autoencoder", "TVAE", "CTGAN", "copula", "SMOTE"


def load(name: str) -> pd.DataFrame:
    """Return complete rows of a table, with its target."""
    from .tables import SOURCES

    source = SOURCES[name]
    frame, target = source.load(10**9)
    frame[SETS[name]] = target
    frame = frame[[c for c in frame if frame[c].nunique() > 1]].dropna()
    frame = frame.sample(min(N_ROWS, len(frame)), random_state=0)
    return frame.reset_index(drop=True)


def draw(folder: Path, names: list[str], seeds: list[int]) -> None:
    """Write real rows, and rows that are drawn by the autoencoder."""
    from skautoenc import TabularAutoencoderTransformer

    folder.mkdir(exist_ok=True)
    for name, seed in product(names, seeds):
        drawn = folder / f"{name}.autoencoder.{seed}.csv"
        if drawn.exists():
            continue
        frame = load(name)
        middle = len(frame) // 2
        train, test = frame.iloc[:middle], frame.iloc[middle:]
        start = time.process_time()
        transformer = TabularAutoencoderTransformer(
            number_output="distribution", random_state=seed
        ).fit(train)
        rows = transformer.sample(len(train), random_state=seed)
        print(f"{name}, {seed}: {time.process_time() - start:.1f} s", flush=True)
        for part, each in (("train", train), ("test", test)):
            each.to_csv(folder / f"{name}.{part}.csv", index=False)
        rows.to_csv(drawn, index=False)


def make_rival(
    model: str, train: pd.DataFrame, words: list[Any], seed: int
) -> pd.DataFrame:
    """Fit a rival and return as many rows as it was fitted on."""
    if model == "SMOTE":
        return interpolate(train, words, seed)
    if model == "copula":
        return draw_from_copula(train, words, seed)
    import ctgan

    rival = getattr(ctgan, model)(epochs=300)
    if hasattr(rival, "set_random_state"):
        rival.set_random_state(seed)
    rival.fit(train, discrete_columns=words)
    drawn: pd.DataFrame = rival.sample(len(train))
    return drawn


def draw_from_copula(train: pd.DataFrame, words: list[Any], seed: int) -> pd.DataFrame:
    """Return rows of a Gaussian copula, with the margins of the rows."""
    from scipy.special import ndtr, ndtri

    generator = np.random.default_rng(seed)
    n = len(train)
    margins, scores = {}, []
    for name in train:
        values = train[name]
        ordered = values.value_counts().index if name in words else np.unique(values)
        codes = pd.Index(ordered).get_indexer(pd.Index(values))
        # Equal values are in random order.
        order = np.lexsort([generator.random(n), codes])
        margins[name] = values.to_numpy()[order]
        scores.append(ndtri((order.argsort() + 0.5) / n))
    drawn = generator.multivariate_normal(np.zeros(len(scores)), np.corrcoef(scores), n)
    places = np.minimum((ndtr(drawn) * n).astype(int), n - 1)  # (n, n_columns)
    return pd.DataFrame(
        {
            name: margins[name][place]
            for name, place in zip(train, places.T, strict=True)
        }
    )


def interpolate(train: pd.DataFrame, words: list[Any], seed: int) -> pd.DataFrame:
    """Return rows of SMOTE."""
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(seed)
    n = len(train)
    (rows,) = encode([train], words)
    near = NearestNeighbors(n_neighbors=6).fit(rows).kneighbors(rows)[1][:, 1:]
    others = train.iloc[near[np.arange(n), generator.integers(0, 5, n)]]
    others = others.reset_index(drop=True)
    drawn, share = train.reset_index(drop=True), generator.random(n)
    for name in drawn:
        if name in words:
            drawn[name] = drawn[name].where(generator.random(n) < 0.5, others[name])
        else:
            step = share * (others[name] - drawn[name])
            is_whole = drawn[name].dtype.kind == "i"
            drawn[name] = drawn[name] + (step.round() if is_whole else step)
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


def look_alike(
    rows: pd.DataFrame, train: pd.DataFrame, words: list[Any]
) -> tuple[float, float]:
    """Return the mean similarity of columns, and that of pairs of columns."""
    from sdmetrics import column_pairs, single_column

    shapes, pairs = [], []
    for name in train:
        kind = "TVComplement" if name in words else "KSComplement"
        shapes.append(getattr(single_column, kind).compute(train[name], rows[name]))
    for both in map(list, combinations(train, 2)):
        numbers = [name for name in both if name not in words]
        if len(numbers) == 2:
            measure, options = column_pairs.CorrelationSimilarity, {}
        else:
            measure = column_pairs.ContingencySimilarity
            options = {"continuous_column_names": numbers or None}
        pairs.append(measure.compute(train[both], rows[both], **options))
    return float(np.mean(shapes)), float(np.mean(pairs))


def score(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    test: pd.DataFrame,
    words: list[Any],
    target: str,
) -> dict[str, float]:
    """Return the scores of drawn rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier as Classifier
    from sklearn.ensemble import HistGradientBoostingRegressor as Regressor
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import NearestNeighbors

    shapes, pairs = look_alike(test if rows.equals(train) else rows, train, words)
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


def compare(
    folder: Path, names: list[str], models: list[str], seeds: list[int]
) -> None:
    """Fit the rivals, and print the scores of all."""
    file = folder / "scores.csv"
    lines: list[Any] = []
    if file.exists():
        lines = pd.read_csv(file).to_dict("records")
    keys = "data", "model", "seed"
    done = {tuple(line[key] for key in keys) for line in lines}
    for name, model, seed in product(names, models, seeds):
        if (name, model, seed) in done or (model == "real" and seed):
            continue
        train, test = (
            pd.read_csv(folder / f"{name}.{p}.csv") for p in ("train", "test")
        )
        words: list[Any] = [c for c in train if train[c].dtype.kind not in "if"]
        line: dict[str, Any] = {"data": name, "model": model, "seed": seed}
        part = "train" if model == "real" else f"{model}.{seed}"
        drawn = folder / f"{name}.{part}.csv"
        if not drawn.exists():
            start = time.process_time()
            make_rival(model, train, words, seed).to_csv(drawn, index=False)
            line["s"] = time.process_time() - start
        rows = pd.read_csv(drawn)[list(train)]
        line |= score(rows, train, test, words, SETS[name])
        lines.append(line)
        print(pd.DataFrame([line]).round(3).to_string(header=False), flush=True)
        pd.DataFrame(lines).to_csv(file, index=False)
    scores = pd.DataFrame(lines).drop(columns="seed")
    of_sets = scores.groupby(["model", "data"], sort=False).mean()
    means = of_sets.groupby("model", sort=False).mean()
    print(f"\nMean of all tables\n{means.round(3)}")


def main() -> None:
    """Draw rows where skautoenc is installed, and compare them where rivals are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    if importlib.util.find_spec("sdmetrics") is None:
        draw(arguments.folder, arguments.data, arguments.seeds)
    else:
        compare(arguments.folder, arguments.data, arguments.models, arguments.seeds)


if __name__ == "__main__":
    main()
