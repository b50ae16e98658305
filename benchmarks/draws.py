"""Imputed tables: more rivals, more reasons for missing values, and draws.

Run it with the extra that has the data::

    python -m pip install ".[benchmarks]"
    python -m benchmarks.draws --output draws.csv

The data are up to 1,000 rows of the tables of `benchmarks.tables`, with one seed. About
30 % of the known cells are hidden (``--rates 0.1 0.3 0.5`` for other shares), for one
of three reasons:

random
    Each cell has the same probability (MCAR).
given
    The probability rises with a number that is never hidden (MAR).
own
    The probability rises with the number itself, or with the rarity of the category
    (MNAR).

"forest" is missForest in scikit-learn's version: `IterativeImputer` with 30 trees of
`ExtraTreesRegressor` and five rounds. Its time is the reason for the limit of 1,000
rows, and for leaving out the two widest tables. "full forest" has 100 trees and ten
rounds, as its authors' version does; it runs only if ``--imputers`` names it. Times are
CPU times. CRPS is the continuous ranked
probability score in standard deviations, of 40 draws; without draws, it is the mean
absolute error. Coverage is the share of hidden numbers within the interval of 90 % of
the draws. "of many values" counts only columns with more than 50 different values:
draws of a few values often repeat the true one, so their intervals hold more.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skautoenc import AutoencoderImputer

from .machine import describe_machine, pinned
from .tables import (
    PACKAGES,
    OneHot,
    load_to_impute,
    make_iterative,
    record,
    split_kinds,
)

SETS = [
    "titanic",
    "slid",
    "chile",
    "births",
    "incomes",
    "gestation",
    "flchain",
    "credit",
    "churn",
    "resume",
]
REASONS = "random", "given", "own"
N_ROWS = 1000
N_DRAWS = 40


def hide(
    frame: pd.DataFrame, reason: str, rate: float
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return the frame with known cells hidden, and the hidden cells."""
    uniform = np.random.default_rng(0).random(frame.shape)
    chance = np.full(frame.shape, rate)
    numbers = split_kinds(frame)[0]
    ranks = frame[numbers].rank(pct=True).fillna(0.5)
    if reason == "given":
        pivot = frame[numbers].isna().sum().idxmin()
        chance[:] = 2 * rate * ranks[[pivot]].to_numpy()
        chance[:, frame.columns.get_loc(pivot)] = 0.0
    if reason == "own":
        for place, name in enumerate(frame):
            rank = (
                ranks[name]
                if name in numbers
                else (1 - frame[name].map(frame[name].value_counts(normalize=True)))
                .rank(pct=True)
                .fillna(0.5)
            )
            chance[:, place] = 2 * rate * rank
    hidden = (uniform < chance) & frame.notna().to_numpy()
    return frame.mask(hidden), hidden


def make_forest(least: Any, largest: Any, n_trees: int = 30, n_rounds: int = 5) -> Any:
    """Return missForest."""
    trees = ExtraTreesRegressor(n_trees, min_samples_leaf=2, random_state=0)
    return IterativeImputer(
        trees, max_iter=n_rounds, min_value=least, max_value=largest, random_state=0
    )


RIVALS: dict[str, Any] = {
    "mean": OneHot(lambda *_: SimpleImputer()),
    "k nearest": OneHot(lambda *_: KNNImputer()),
    "iterative": OneHot(make_iterative, drop=True),
    "forest": OneHot(make_forest, drop=True),
    "full forest": OneHot(partial(make_forest, n_trees=100, n_rounds=10), drop=True),
}
DEFAULT = "mean", "k nearest", "iterative", "forest", "autoencoder"
IMPUTERS = (*RIVALS, "autoencoder")


def score_draws(
    draws: list[pd.DataFrame], frame: pd.DataFrame, hidden: pd.DataFrame
) -> dict[str, float]:
    """Return CRPS and coverage of the draws of hidden numbers."""
    crps, covered, is_fine = [], [], []
    for name in split_kinds(frame)[0]:
        rows = hidden[name].to_numpy()
        drawn = np.sort([each[name].to_numpy(float)[rows] for each in draws], axis=0)
        truth, n = frame[name].to_numpy(float)[rows], len(drawn)
        # Half the mean difference of two draws, by their order.
        spread = ((2 * np.arange(n) - n + 1) @ drawn) / (n * (n - 1))
        error = np.abs(drawn - truth).mean(axis=0) - spread
        crps.append(error / frame[name].std())
        # By this method, 90 % of new draws lie between quantiles of a few draws.
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0, method="weibull")
        covered.append((truth >= low) & (truth <= high))
        is_fine.append(np.full(rows.sum(), frame[name].nunique() > 50))
    inside, fine = np.concatenate(covered), np.concatenate(is_fine)
    return {
        "CRPS": float(np.concatenate(crps).mean()),
        "coverage": 100 * float(inside.mean()),
        "of many values": 100 * float(inside[fine].mean()) if fine.any() else np.nan,
    }


def measure(
    name: str, reasons: list[str], rates: list[float], imputers: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each reason, share of hidden cells, and imputer."""
    frame = load_to_impute(name).head(N_ROWS)
    numbers, categories = split_kinds(frame)
    for reason, rate in product(reasons, rates):
        holed, hidden = hide(frame, reason, rate)
        where = pd.DataFrame(hidden, columns=frame.columns)
        for imputer in imputers:
            start, line = time.process_time(), {}
            if imputer in RIVALS:
                filled = RIVALS[imputer].impute(holed)
            else:
                fitted = AutoencoderImputer(random_state=0).fit(holed)
                filled = fitted.transform(holed)
            seconds = time.process_time() - start
            errors = (filled[numbers] - frame[numbers]) / frame[numbers].std()
            errors = errors.to_numpy(float)[where[numbers]]
            right = (filled[categories] == frame[categories]).to_numpy()
            line = {"CRPS": np.abs(errors).mean()}
            if imputer == "autoencoder":
                line = score_draws(fitted.draw(holed, N_DRAWS), frame, where)
            yield {
                "data": name,
                "reason": reason,
                "rate": rate,
                "imputer": imputer,
                "RMSE": np.sqrt((errors**2).mean()),
                "accuracy": 100 * right[where[categories]].mean(),
                **line,
                "seconds": seconds,
            }


def summarise(lines: pd.DataFrame) -> None:
    """Print the figures of each case, and mean ranks."""
    for value, ascending in (("RMSE", True), ("accuracy", False), ("CRPS", True)):
        table = lines.pivot_table(
            index=["data", "reason", "rate"],
            columns="imputer",
            values=value,
            sort=False,
        )
        table = table[[name for name in IMPUTERS if name in table]]
        print(f"\n{value}\n{table.round(3).to_string()}\n")
        ranks = table.dropna().rank(axis=1, ascending=ascending)
        print("Mean rank:", ranks.mean().round(2).to_dict())
    seconds = lines.groupby("imputer")["seconds"].median()
    print("\nMedian seconds:", seconds.round(2).to_dict())
    ours = lines[lines["imputer"] == "autoencoder"]
    if ours.empty:
        return
    covered = ours.groupby(["reason", "rate"])[["coverage", "of many values"]].mean()
    print(f"\n{covered.round(1)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=SETS)
    parser.add_argument("--reasons", nargs="+", choices=REASONS, default=REASONS)
    parser.add_argument("--rates", nargs="+", type=float, default=[0.3])
    parser.add_argument("--imputers", nargs="+", choices=IMPUTERS, default=DEFAULT)
    parser.add_argument("--output", type=Path, help="a file for a line of each fit")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with pinned(1):
        found = (
            line
            for name in arguments.data
            for line in measure(
                name, arguments.reasons, arguments.rates, arguments.imputers
            )
        )
        table = record(found, arguments.output)
    summarise(table)
    print(f"\n{describe_machine(PACKAGES)}")


if __name__ == "__main__":
    main()
