"""Tables with missing values: features for a linear model, imputation, speed.

The data are twelve tables of numbers, categories and missing values from a package of
R's data sets::

    python -m pip install ".[benchmarks]"
    python -m benchmarks.tables features
    python -m benchmarks.tables features --further --output lines.csv
    python -m benchmarks.tables imputation
    python -m benchmarks.tables speed

Defaults were chosen on Chile, credit, births, gestation, SLID and Titanic, with other
folds and other hidden cells than here. The other tables had no influence on any
default, except the weights of linear predictions in imputation. The features of
`features="spread"` were chosen on the same tables without Chile, on resume, with other
folds than here, and on other rows of loans. Its entities were chosen on four fifths of
the rows of all twelve tables, and on other folds of resume. Ten further tables
(`--further`) were picked before.

Features
    Up to 4,000 rows, drawn once, with five folds for each of three seeds. A linear
    model gets one of these features:

    - the raw columns: numbers with means in place of missing values, and indicators of
      missing values, all standardised, and one-hot categories;
    - the raw columns and their principal components (95 % of the variance);
    - the raw columns and the features of `TabularAutoencoderTransformer()`;
    - the features of `TabularAutoencoderTransformer()` alone;
    - a piecewise linear encoding of numbers, and one-hot categories;
    - the features of `TabularAutoencoderTransformer(features="spread")`.

    `LogisticRegression` is scored by the area under the ROC curve (one against the
    rest), `Ridge` by R². Three inner folds choose their penalty. The raw columns also
    go to gradient boosting, with the best of 20 random candidates in three inner folds,
    and to a random forest (`benchmarks.trees`). A difference has the standard error of
    its mean over seeds and folds. Folds share rows, so the true error is larger.

    With `--output`, fits that the file has are not repeated.

Imputation
    Up to 2,000 rows, with three seeds. 10, 30 and 50 % of all known cells are hidden.
    The rivals get standardised numbers and one-hot categories. For `IterativeImputer`,
    one category of each column is left out (it fails otherwise), and its results are
    clipped to the range of each column. The imputed category is the one with the
    largest value. "autoencoder" is `TabularAutoencoderTransformer`, "imputer" is
    `AutoencoderImputer`. RMSE is the error of hidden numbers in standard deviations of
    their columns, accuracy that of hidden categories.

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
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)

from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer

from .machine import describe_machine, pinned
from .trees import CATEGORIES, NUMBERS, SCORING, make_boosting, make_forest
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
# Picked before `features="spread"` was made, and looked at once.
FURTHER = {
    "mortgages": Source("AER", "HMDA", "deny", is_class=True),
    "smoking": Source(
        "openintro",
        "smoking",
        "smoke",
        ("amt_weekends", "amt_weekdays", "type"),
        is_class=True,
    ),
    "crashes": Source(
        "DAAG", "nassCDS", "dead", ("caseid", "injSeverity"), is_class=True
    ),
    "attrition": Source("modeldata", "attrition", "Attrition", is_class=True),
    "arrests": Source("carData", "Arrests", "released", is_class=True),
    "poverty": Source("carData", "WVS", "poverty", is_class=True),
    "wages": Source("ISLR", "Wage", "wage", ("logwage",)),
    "computers": Source("Ecdat", "Computers", "price"),
    "students": Source("openintro", "yrbss", "weight"),
    "visits": Source("AER", "NMES1988", "visits", is_log=True),
}
ALL_SOURCES = SOURCES | FURTHER

# Features


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
    spread = TabularAutoencoderTransformer(features="spread", random_state=seed)
    return {
        "raw": raw,
        "raw + PCA": make_pipeline(raw, make_union(FunctionTransformer(), pca)),
        "raw + autoencoder": make_union(raw, autoencoder),
        "autoencoder": autoencoder,
        "piecewise linear": make_raw(make_pipeline(gaps, bins)),
        "spread": spread,
    }


TREES = ("random forest", "tuned boosting")
FEATURES = (*make_candidates(0), *TREES)


def make_search(*, is_class: bool) -> GridSearchCV:
    """Return a linear model with the choice of its penalty."""
    if is_class:
        model, parameters = LogisticRegression(max_iter=1000), {"C": PENALTIES}
    else:
        model, parameters = Ridge(), {"alpha": 1 / PENALTIES}
    return GridSearchCV(model, parameters, cv=3, scoring=SCORING[is_class])


def make_model(kind: str, frame: pd.DataFrame, seed: int, *, is_class: bool) -> Any:
    """Return a model of the rows of a frame, by its features or its kind of trees."""
    if kind == "random forest":
        return make_forest(seed, is_class=is_class)
    if kind == "tuned boosting":
        return make_boosting(frame, seed, is_class=is_class)
    features = make_candidates(seed)[kind]
    return make_pipeline(features, make_search(is_class=is_class))


def measure_features(name: str, options: argparse.Namespace) -> Iterator[Line]:
    """Yield the score of each seed, fold and kind of features that is not known."""
    source = ALL_SOURCES[name]
    frame, target = source.load(N_ROWS)
    make_folds = StratifiedKFold if source.is_class else KFold
    score = get_scorer(SCORING[source.is_class])
    for seed in options.seeds:
        folds = make_folds(N_FOLDS, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(frame, target)):
            for kind in options.features:
                line = {"data": name, "seed": seed, "fold": fold, "features": kind}
                if tuple(line.values()) in options.known:
                    continue
                model = make_model(kind, frame, seed, is_class=source.is_class)
                model.fit(frame.iloc[train], target[train])
                line["score"] = 100 * score(model, frame.iloc[test], target[test])
                yield line


def describe_difference(scores: pd.DataFrame, kind: str, rival: str) -> list[str]:
    """Return the mean difference of two kinds of features for each set, with error."""
    of_set = (scores[kind] - scores[rival]).groupby("data", sort=False)
    pairs = zip(of_set.mean(), of_set.sem(), strict=True)
    return [f"{mean:+.2f} ± {error:.2f}" for mean, error in pairs]


def summarise_features(lines: pd.DataFrame) -> None:
    """Print scores, differences between kinds of features, and mean ranks."""
    scores = lines.pivot_table(
        "score", ["data", "seed", "fold"], "features", sort=False
    )
    kinds = [kind for kind in FEATURES if kind in scores]
    scores = scores[kinds].dropna()
    of_sets = pd.DataFrame(scores.groupby("data", sort=False).mean())
    table = of_sets.map("{:.2f}".format)
    for kind in ("raw + autoencoder", "spread"):
        for rival in ("raw", "raw + PCA", "tuned boosting"):
            if kind in kinds and rival in kinds:
                found = describe_difference(scores, kind, rival)
                table[f"{kind} - {rival}"] = found
    print(f"\n{table.to_string()}\n")
    ranks = of_sets.rank(axis=1, ascending=False).mean()
    spread = scores.groupby(["seed", "data"]).mean().groupby("seed").mean().std()
    columns = {"mean score": of_sets.mean(), "over seeds": spread, "mean rank": ranks}
    print(pd.DataFrame(columns).loc[kinds].round(2))
    for group in (
        ["raw", "raw + PCA", "raw + autoencoder"],
        ["spread", "tuned boosting"],
    ):
        if set(group) <= set(kinds):
            print(f"\nMean rank among {', '.join(group)}:")
            among = of_sets[group].rank(axis=1, ascending=False).mean()
            print(among.round(2).to_string())


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
    """Imputes a frame with the autoencoder that predicts means.

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


class Distributions(Autoencoder):
    """Imputes a frame with the autoencoder that predicts distributions."""

    def impute(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its missing values filled."""
        imputer = AutoencoderImputer(random_state=self.seed)
        filled: pd.DataFrame = imputer.fit_transform(frame)
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
        "imputer": Distributions(seed),
    }


IMPUTERS = tuple(make_imputers(0))


def load_to_impute(name: str) -> pd.DataFrame:
    """Return the informative columns of a set, as numbers and categories."""
    frame, _ = ALL_SOURCES[name].load(N_ROWS_TO_IMPUTE)
    frame = frame[[c for c in frame if frame[c].nunique() > 1]]
    numbers, categories = split_kinds(frame)
    known = frame[categories].notna()
    words = frame[categories].astype(object).where(known, None)
    return pd.concat([frame[numbers].astype(float), words], axis=1)


def measure_imputation(name: str, options: argparse.Namespace) -> Iterator[Line]:
    """Yield errors and accuracies of each rate, seed and imputer."""
    frame = load_to_impute(name)
    numbers, categories = split_kinds(frame)
    for rate in RATES:
        for seed in options.seeds:
            holed, hidden = hide(frame, rate, seed)
            where = pd.DataFrame(hidden, columns=frame.columns)
            for imputer in options.imputers:
                filler = make_imputers(seed)[imputer]
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
        )
        table = table[[name for name in IMPUTERS if name in table]]
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


def measure_speed(name: str, options: argparse.Namespace) -> Iterator[Line]:
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
        source = ALL_SOURCES[name]
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


def read_lines(arguments: argparse.Namespace) -> list[Line]:
    """Return the lines of an earlier run, and set which fits are known by them."""
    lines: list[Line] = []
    output = arguments.output
    if arguments.part == "features" and output is not None and output.exists():
        lines = [dict(row) for _, row in pd.read_csv(output).iterrows()]
    keys = "data", "seed", "fold", "features"
    arguments.known = {tuple(line[key] for key in keys) for line in lines}
    return lines


def record(
    found: Iterable[Line], output: Path | None, before: Iterable[Line] = ()
) -> pd.DataFrame:
    """Print each line when it is known, and write the lines to a file, if any."""
    lines = list(before)
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
    parser.add_argument("--data", nargs="+", choices=ALL_SOURCES)
    parser.add_argument("--further", action="store_true", help="the ten further sets")
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=FEATURES)
    parser.add_argument("--imputers", nargs="+", choices=IMPUTERS, default=IMPUTERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--output", type=Path, help="a file for a line of each fit")
    arguments = parser.parse_args()
    names = arguments.data or list(FURTHER if arguments.further else SOURCES)
    before = read_lines(arguments)
    measure, summarise = PARTS[arguments.part]
    is_speed = arguments.part == "speed"
    if not is_speed:
        print(describe_sources(names).to_string(index=False), flush=True)
    n_threads = 2 if is_speed else 1
    with pinned(n_threads):
        names = ["made up"] if is_speed else names
        found = chain.from_iterable(measure(name, arguments) for name in names)
        table = record(found, arguments.output, before)
    summarise(table)
    print(f"\n{describe_machine(PACKAGES)}")


if __name__ == "__main__":
    main()
