"""Time of a grid search whose fits are trained jointly, against separate fits.

The search is a `GridSearchCV` over nine learning rates and five folds. The rows have
the shapes of the digits and of a small table, and the networks those of
`benchmarks.speed`. `MLPRegressor` is searched as well, with the rows as their own
targets. The contenders take turns, each with one thread per process. The table has
medians of ratios over `--repeats` rounds. A "cold" search starts its two processes, as
in a script that searches once. The other searches reuse them. The benchmark also
compares the scores of separate and joint fits::

    python -m benchmarks.search
"""

import argparse
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor

from skautoenc import AutoencoderTransformer, train_together

from .machine import describe_machine, pinned
from .speed import SMALL, Rows, Task, in_turns

RATES = list(np.geomspace(0.001, 0.01, 9))


def make_autoencoder(task: Task, n_epochs: int) -> AutoencoderTransformer:
    """Make the autoencoder of a task of `benchmarks.speed`."""
    middle = len(task.widths) // 2
    return AutoencoderTransformer(
        task.widths[middle],
        hidden_layer_sizes=task.widths[1:middle],
        activation="relu",
        linear_skip=False,
        batch_size=task.batch_size,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs,
        random_state=0,
    )


def make_regressor(task: Task, n_epochs: int) -> MLPRegressor:
    """Make the same network as a regressor."""
    return MLPRegressor(
        hidden_layer_sizes=task.widths[1:-1],
        batch_size=task.batch_size,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs,
        alpha=0.0,
        random_state=0,
    )


def run(
    estimator: Any,
    rows: Rows,
    n_jobs: int,
    *,
    together: bool = False,
    cold: bool = False,
) -> Any:
    """Search, and return the mean scores of the candidates."""
    grid = {"learning_rate_init": RATES}
    search = GridSearchCV(estimator, grid, cv=5, n_jobs=n_jobs, refit=False)
    if cold:
        get_reusable_executor().shutdown(wait=True)
    with train_together() if together else nullcontext():
        return search.fit(rows, rows).cv_results_["mean_test_score"]


def compare_searches(task: Task, n_epochs: int, repeats: int) -> None:
    """Print the seconds of each search, and their ratios to joint searches."""
    print(f"{task}, {n_epochs} epochs, 9 candidates, 5 folds")
    rows = task.make_rows()
    autoencoder = make_autoencoder(task, n_epochs)
    ways: dict[str, Callable[[], Any]] = {
        f"together, n_jobs={n_jobs}": partial(
            run, autoencoder, rows, n_jobs, together=True
        )
        for n_jobs in (1, 2)
    }
    scores = [way() for way in ways.values()]
    scores.append(run(autoencoder, rows, 1))
    ways["separate, n_jobs=1"] = partial(run, autoencoder, rows, 1)
    ways["separate, n_jobs=2"] = partial(run, autoencoder, rows, 2)
    ways["separate, n_jobs=2, cold"] = partial(run, autoencoder, rows, 2, cold=True)
    ways["MLPRegressor, n_jobs=2"] = partial(
        run, make_regressor(task, n_epochs), rows, 2
    )
    times = in_turns(ways, repeats)
    for name, found in times.items():
        ours = [f"{np.median(found / times[way]):6.2f}" for way in list(ways)[:2]]
        print(f"  {name:24} {np.median(found):6.2f} s   {' '.join(ours)}")
    spread = np.ptp(scores, axis=0) / np.abs(np.mean(scores, axis=0))
    print(f"  largest difference of a mean score: {spread.max():.1e} of it")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="few epochs, to see that it runs"
    )
    arguments = parser.parse_args()
    digits, table = SMALL
    print(
        "last columns: how often the time of together with n_jobs=1, and with n_jobs=2"
    )
    with pinned(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for task, n_epochs in ((table, 60), (table, 200), (digits, 20), (digits, 50)):
            compare_searches(
                task, 1 if arguments.quick else n_epochs, arguments.repeats
            )
    print(describe_machine(["scikit-learn", "torch", "numpy", "joblib"]))


if __name__ == "__main__":
    main()
