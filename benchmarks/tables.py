"""Tables with missing values: features for a linear model, imputation, speed.

The data are twelve tables of numbers, categories and missing values from a package of
R's data sets::

    python -m pip install ".[benchmarks]"
    python -m benchmarks.tables features
    python -m benchmarks.tables imputation
    python -m benchmarks.tables speed

Defaults were chosen on Chile, credit, births, gestation, SLID and Titanic, with other
folds and other hidden cells than here. The other tables had no influence on any
default.

Features
    Up to 4,000 rows, drawn once, with five folds for each of three seeds. A linear
    model gets one of these features:

    - the raw columns: numbers with means in place of missing values, and indicators of
      missing values, all standardised, and one-hot categories;
    - the raw columns and their principal components (95 % of the variance);
    - the raw columns and the features of `TabularAutoencoderTransformer()`;
    - the features of `TabularAutoencoderTransformer()` alone;
    - a piecewise linear encoding of numbers, and one-hot categories.

    `LogisticRegression` is scored by the area under the ROC curve (one against the
    rest), `Ridge` by R². Three inner folds choose their penalty. A difference has the
    standard error of its mean over seeds and folds. Folds share rows, so the true error
    is larger.

Imputation
    Up to 2,000 rows, with three seeds. 10, 30 and 50 % of all known cells are hidden.
    The rivals get standardised numbers and one-hot categories. For `IterativeImputer`,
    one category of each column is left out (it fails otherwise), and its results are
    clipped to the range of each column. The imputed category is the one with the
    largest value. RMSE is the error of hidden numbers in standard deviations of their
    columns, accuracy that of hidden categories.

Speed
    50,000 synthetic rows of 30 mixed columns, with all threads.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)

from skautoenc import TabularAutoencoderTransformer

from .machine import describe_machine, pinned
from .untuned import load_frame

SEEDS = (0, 1, 2)
N_FOLDS = 5
N_ROWS = 4000
N_ROWS_TO_IMPUTE = 2000
PENALTIES = np.logspace(-3.5, 1.5, 11)
RATES = (0.1, 0.3, 0.5)
PACKAGES = ("scikit-learn", "torch", "numpy", "pandas")

Values = NDArray[Any]
Line = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Source of a table.

    Attributes
    ----------
    package, item : str
        Names of the package and of the data set in R.
    target : str
        The column to predict.
    drop : tuple of str
        Names of rows, and columns that tell the target.
    is_class : bool
        Whether the target is a class.
    is_log : bool
        Whether its logarithm is predicted.
    """

    package: str
    item: str
    target: str
    drop: tuple[str, ...] = ()
    is_class: bool = False
    is_log: bool = False

    def load(self, n_rows: int) -> tuple[pd.DataFrame, Values]:
        """Return columns and target of up to a number of rows, drawn once."""
        frame = load_frame(self.package, self.item)
        frame = frame[frame[self.target].notna()].drop(columns=list(self.drop))
        if len(frame) > n_rows:
            frame = frame.sample(n_rows, random_state=0)
        frame = frame.reset_index(drop=True)
        target = frame.pop(self.target)
        if self.is_class:
            return frame, target.astype(str).to_numpy()
        numbers = target.to_numpy(float)
        return frame, np.log1p(numbers) if self.is_log else numbers


SOURCES = {
    "credit": Source("modeldata", "credit_data", "Status", is_class=True),
    "churn": Source("modeldata", "wa_churn", "churn", is_class=True),
    "chile": Source("carData", "Chile", "vote", is_class=True),
    "flchain": Source(
        "survival", "flchain", "death", ("futime", "chapter"), is_class=True
    ),
    "titanic": Source("Stat2Data", "Titanic", "Survived", ("Name",), is_class=True),
    "resume": Source(
        "openintro",
        "resume",
        "received_callback",
        ("job_ad_id", "firstname"),
        is_class=True,
    ),
    "ames": Source("openintro", "ames", "price", ("Order", "PID"), is_log=True),
    "loans": Source(
        "openintro",
        "loans_full_schema",
        "interest_rate",
        ("grade", "sub_grade", "emp_title"),
    ),
    "slid": Source("carData", "SLID", "wages"),
    "births": Source("openintro", "births14", "weight", ("lowbirthweight",)),
    "gestation": Source(
        "mosaicData", "Gestation", "wt", ("id", "plurality", "outcome")
    ),
    "incomes": Source("openintro", "acs12", "income", is_log=True),
}

# Features

NUMBERS = make_column_selector(dtype_include="number")
CATEGORIES = make_column_selector(dtype_exclude="number")


def make_raw(numbers: Any) -> Any:
    """Return the encoder of a frame's raw columns, with `numbers` for its numbers."""
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False
    )
    words = make_pipeline(FunctionTransformer(to_words), one_hot)
    return make_column_transformer((numbers, NUMBERS), (words, CATEGORIES))


def to_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Make missing values a category, and all categories strings."""
    return frame.astype(object).where(frame.notna(), "").astype(str)


def make_candidates(seed: int) -> dict[str, Any]:
    """Return the encoders of each kind of features."""
    gaps = SimpleImputer(add_indicator=True)
    raw = make_raw(make_pipeline(gaps, StandardScaler()))
    bins = SplineTransformer(degree=1, n_knots=9, knots="quantile")
    pca = PCA(0.95, svd_solver="full")
    autoencoder = TabularAutoencoderTransformer(random_state=seed)
    return {
        "raw": raw,
        "raw + PCA": make_pipeline(raw, make_union(FunctionTransformer(), pca)),
        "raw + autoencoder": make_union(raw, autoencoder),
        "autoencoder": autoencoder,
        "piecewise linear": make_raw(make_pipeline(gaps, bins)),
    }


FEATURES = tuple(make_candidates(0))


def make_search(*, is_class: bool) -> GridSearchCV:
    """Return a linear model with the choice of its penalty."""
    if is_class:
        model, scoring = LogisticRegression(max_iter=1000), "roc_auc_ovr"
        parameters = {"C": PENALTIES}
    else:
        model, scoring = Ridge(), "r2"
        parameters = {"alpha": 1 / PENALTIES}
    return GridSearchCV(model, parameters, cv=3, scoring=scoring)


def measure_features(name: str) -> Iterator[Line]:
    """Yield the score of each seed, fold and kind of features."""
    source = SOURCES[name]
    frame, target = source.load(N_ROWS)
    make_folds = StratifiedKFold if source.is_class else KFold
    for seed in SEEDS:
        folds = make_folds(N_FOLDS, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(frame, target)):
            for kind, transformer in make_candidates(seed).items():
                features = transformer.fit_transform(frame.iloc[train])
                search = make_search(is_class=source.is_class)
                search.fit(features, target[train])
                score = search.score(
                    transformer.transform(frame.iloc[test]), target[test]
                )
                yield {
                    "data": name,
                    "seed": seed,
                    "fold": fold,
                    "features": kind,
                    "score": 100 * score,
                }


def summarise_features(lines: pd.DataFrame) -> None:
    """Print scores, what the autoencoder adds, and mean ranks."""
    scores = lines.pivot(index=["data", "seed", "fold"], columns="features")["score"]
    scores = scores[list(FEATURES)]
    of_sets = pd.DataFrame(scores.groupby("data", sort=False).mean())
    table = of_sets.map("{:.2f}".format)
    for rival in ("raw", "raw + PCA"):
        difference = scores["raw + autoencoder"] - scores[rival]
        of_set = difference.groupby("data", sort=False)
        mean, error = of_set.mean(), of_set.sem()
        table[f"added to {rival}"] = [
            f"{m:+.2f} ± {e:.2f}" for m, e in zip(mean, error, strict=True)
        ]
    print(f"\n{table.to_string()}\n")
    ranks = of_sets.rank(axis=1, ascending=False).mean()
    print(pd.DataFrame({"mean score": of_sets.mean(), "mean rank": ranks}).round(2))
    first = of_sets[["raw", "raw + PCA", "raw + autoencoder"]]
    print("\nMean rank among the first three:")
    print(first.rank(axis=1, ascending=False).mean().round(2).to_string())


# Imputation


def hide(frame: pd.DataFrame, rate: float, seed: int) -> tuple[pd.DataFrame, Values]:
    """Return the frame with known cells hidden, and the hidden cells."""
    draw = np.random.default_rng(seed).random(frame.shape) < rate
    hidden = draw & frame.notna().to_numpy()
    return frame.mask(hidden), hidden


def split_kinds(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers and of categories."""
    numbers = list(NUMBERS(frame))
    return numbers, list(CATEGORIES(frame))


class OneHot:
    """Imputes a frame with an imputer of numbers.

    Parameters
    ----------
    make_imputer : callable
        Called with the lowest and highest values of the columns.
    drop : bool
        Whether one level of each category has no column.
    """

    def __init__(self, make_imputer: Callable[..., Any], *, drop: bool = False) -> None:
        self.make_imputer = make_imputer
        self.drop = drop

    def impute(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its missing values filled."""
        numbers, categories = split_kinds(frame)
        scaler = StandardScaler()
        columns = [scaler.fit_transform(frame[numbers])]
        levels = {c: frame[c].value_counts().index[:20] for c in categories}
        for name in categories:
            codes = levels[name].get_indexer(pd.Index(frame[name]))
            one_hot = np.eye(len(levels[name]))[codes]
            one_hot[frame[name].isna()] = np.nan
            columns.append(one_hot[:, : len(levels[name]) - self.drop])
        table = np.hstack(columns)
        imputer = self.make_imputer(np.nanmin(table, axis=0), np.nanmax(table, axis=0))
        table = imputer.fit_transform(table)
        filled = frame.copy()
        filled[numbers] = scaler.inverse_transform(table[:, : len(numbers)])
        start = len(numbers)
        for name in categories:
            width = len(levels[name]) - self.drop
            values = table[:, start : start + width]
            start += width
            if self.drop:
                values = np.column_stack([values, 1 - values.sum(axis=1)])
            best = levels[name].to_numpy()[values.argmax(axis=1)]
            filled[name] = filled[name].where(filled[name].notna(), best)
        return filled


class Autoencoder:
    """Imputes a frame with the autoencoder of this package.

    Parameters
    ----------
    seed : int
        Of its random choices.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def impute(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its missing values filled."""
        transformer = TabularAutoencoderTransformer(random_state=self.seed).fit(frame)
        filled: pd.DataFrame = transformer.impute(frame)
        return filled


def make_iterative(least: Values, largest: Values) -> Any:
    """Return the imputer by regression of each column on the others."""
    return IterativeImputer(min_value=least, max_value=largest, random_state=0)


def make_imputers(seed: int) -> dict[str, Any]:
    """Return all imputers."""
    return {
        "mean": OneHot(lambda *_: SimpleImputer()),
        "k nearest": OneHot(lambda *_: KNNImputer()),
        "iterative": OneHot(make_iterative, drop=True),
        "autoencoder": Autoencoder(seed),
    }


IMPUTERS = tuple(make_imputers(0))


def load_to_impute(name: str) -> pd.DataFrame:
    """Return the informative columns of a set, as numbers and categories."""
    frame, _ = SOURCES[name].load(N_ROWS_TO_IMPUTE)
    frame = frame[[c for c in frame if frame[c].nunique() > 1]]
    numbers, categories = split_kinds(frame)
    known = frame[categories].notna()
    words = frame[categories].astype(object).where(known, None)
    return pd.concat([frame[numbers].astype(float), words], axis=1)


def measure_imputation(name: str) -> Iterator[Line]:
    """Yield errors and accuracies of each rate, seed and imputer."""
    frame = load_to_impute(name)
    numbers, categories = split_kinds(frame)
    for rate in RATES:
        for seed in SEEDS:
            holed, hidden = hide(frame, rate, seed)
            where = pd.DataFrame(hidden, columns=frame.columns)
            for imputer, filler in make_imputers(seed).items():
                start = time.perf_counter()
                with warnings.catch_warnings():
                    # The default is ten rounds, which are mostly not enough.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    filled = filler.impute(holed)
                seconds = time.perf_counter() - start
                errors = (filled[numbers] - frame[numbers]) / frame[numbers].std()
                right = (filled[categories] == frame[categories]).to_numpy()
                yield {
                    "data": name,
                    "rate": rate,
                    "seed": seed,
                    "imputer": imputer,
                    "RMSE": np.sqrt(
                        np.nanmean(errors.to_numpy(float)[where[numbers]] ** 2)
                    ),
                    "accuracy": 100 * right[where[categories]].mean(),
                    "seconds": seconds,
                }


def summarise_imputation(lines: pd.DataFrame) -> None:
    """Print means over seeds, and mean ranks."""
    for measure, ascending in (("RMSE", True), ("accuracy", False)):
        table = lines.pivot_table(
            index=["data", "rate"], columns="imputer", values=measure, sort=False
        )[list(IMPUTERS)]
        print(f"\n{measure}\n{table.round(3).to_string()}\n")
        ranks = table.rank(axis=1, ascending=ascending)
        print("Mean rank:", ranks.mean().round(2).to_dict())
    seconds = lines.groupby("imputer")["seconds"].median()
    print("\nMedian seconds:", seconds.round(2).to_dict())


# Speed


def make_large(n_rows: int = 50_000) -> pd.DataFrame:
    """Draw 20 numbers and 10 categories of 3 to 40 values, a tenth of them missing."""
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(n_rows, 5))
    mixed = np.tanh(hidden @ draw.normal(size=(5, 30)))
    mixed += 0.3 * draw.normal(size=mixed.shape)
    columns: dict[str, Any] = {f"number {n}": mixed[:, n] for n in range(20)}
    for n, n_levels in enumerate(np.linspace(3, 40, 10).astype(int)):
        places = pd.qcut(mixed[:, 20 + n], n_levels, labels=False)
        columns[f"category {n}"] = np.char.add("level ", places.astype(str))
    frame = pd.DataFrame(columns)
    return frame.mask(draw.random(frame.shape) < 0.1)


def measure_speed(_: str) -> Iterator[Line]:
    """Yield the seconds of a fit, and of five rounds of applying it."""
    frame = make_large()
    start = time.perf_counter()
    transformer = TabularAutoencoderTransformer(random_state=0).fit(frame)
    yield {"task": "fit (s)", "value": time.perf_counter() - start}
    for features in ("stack", "code"):
        transformer.features_ = features
        for _round in range(5):
            start = time.perf_counter()
            transformer.transform(frame)
            rate = len(frame) / (time.perf_counter() - start)
            yield {"task": f"transform, {features} (rows/s)", "value": rate}


def summarise_speed(lines: pd.DataFrame) -> None:
    """Print medians."""
    print(lines.groupby("task")["value"].median().round(1).to_string())


PARTS = {
    "features": (measure_features, summarise_features),
    "imputation": (measure_imputation, summarise_imputation),
    "speed": (measure_speed, summarise_speed),
}


def describe_sources(names: list[str]) -> pd.DataFrame:
    """Count rows, columns and missing values of the whole sets."""
    rows = []
    for name in names:
        source = SOURCES[name]
        frame, _ = source.load(10**9)
        rows.append(
            {
                "data": name,
                "source": f"{source.package} {source.item}",
                "predicted": source.target,
                "rows": len(frame),
                "numbers": len(NUMBERS(frame)),
                "categories": len(CATEGORIES(frame)),
                "gaps": int(frame.isna().to_numpy().sum()),
            }
        )
    return pd.DataFrame(rows)


def record(found: Iterable[Line], output: Path | None) -> pd.DataFrame:
    """Print each line when it is known, and write the lines to a file, if any."""
    lines: list[Line] = []
    for line in found:
        lines.append(line)
        print(*(f"{key}={value}" for key, value in line.items()), flush=True)
        if output is not None:
            pd.DataFrame(lines).to_csv(output, index=False)
    return pd.DataFrame(lines)


def main() -> None:
    """Run a part of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--output", type=Path, help="a file for a line of each fit")
    arguments = parser.parse_args()
    measure, summarise = PARTS[arguments.part]
    is_speed = arguments.part == "speed"
    if not is_speed:
        print(describe_sources(arguments.data).to_string(index=False), flush=True)
    n_threads = 2 if is_speed else 1
    with pinned(n_threads):
        names = ["made up"] if is_speed else arguments.data
        found = chain.from_iterable(map(measure, names))
        table = record(found, arguments.output)
    summarise(table)
    print(f"\n{describe_machine(PACKAGES)}")


if __name__ == "__main__":
    main()
