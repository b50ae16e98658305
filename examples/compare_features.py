"""Compare autoencoder features with raw pixels and PCA under one linear classifier.

The program searches one grid. The feature step of a pipeline is raw pixels, PCA, an
autoencoder of whole images, or an autoencoder of image patches. The classifier has the
same candidates each time. The best candidate of each of the four is fitted to all
training images, and scored once on the test images. To run it on the digits of
scikit-learn::

    python examples/compare_features.py

To run it on MNIST or Fashion-MNIST, from OpenML or from a folder with the IDX files::

    python examples/compare_features.py --dataset mnist --train-size 2000
    python examples/compare_features.py --dataset fashion-mnist --data-dir ~/data

The output folder receives the table as ``results.csv``, and five figures. During the
search, a temporary folder holds the features of each fold. For all 60,000 images of
MNIST, they take a dozen gigabytes. If rich is installed, the search has a progress bar.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

# Works without a screen: the figures are only written to files.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    StratifiedKFold,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import Bunch, resample
from threadpoolctl import threadpool_limits

from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer
from skautoenc.datasets import load_idx_dataset
from skautoenc.inspection import (
    FilterDisplay,
    LatentDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
# On OpenML the official test images are the last ones.
N_OFFICIAL_TRAIN = 60_000

CLASSIFIER_C = [0.001, 0.01, 0.1, 1, 10, 100]
# Shares of the variance, which suit images of any size.
PCA_COMPONENTS = [0.8, 0.9, 0.95, 0.99]
# A narrow code, a wider one and the default.
AUTOENCODER_COMPONENTS: list[int | str] = [32, 256, "auto"]

CONFIDENCE = 0.95
# More points would hide each other.
MAX_LATENT_POINTS = 2_000
CV_COLOR = "#717581"
TEST_COLOR = "#3f90da"


@dataclass(frozen=True)
class Result:
    """Results of the best candidate with one kind of features.

    Attributes
    ----------
    features : str
        The kind of features.
    parameters : dict
        The parameters that the search chose, without the names of the steps.
    n_features : int
        The number of features that the classifier receives.
    cv_mean, cv_std : float
        Mean and standard deviation of the accuracy over the folds.
    is_correct : ndarray of shape (n_test,)
        Whether the class of each test image was predicted.
    fit_seconds, transform_seconds : float
        Time of scaling all training images and fitting the features to them, and time
        of computing the features of all test images.
    pipeline : Pipeline
        The pipeline, fitted to all training images.
    """

    features: str
    parameters: dict[str, Any]
    n_features: int
    cv_mean: float
    cv_std: float
    is_correct: NDArray[np.bool_]
    fit_seconds: float
    transform_seconds: float
    pipeline: Pipeline

    @property
    def test_accuracy(self) -> float:
        """Share of the test images whose class was predicted."""
        return float(self.is_correct.mean())

    @property
    def test_interval(self) -> tuple[float, float]:
        """Wilson interval of the test accuracy."""
        n_correct = int(self.is_correct.sum())
        interval = binomtest(n_correct, len(self.is_correct)).proportion_ci(
            CONFIDENCE, method="wilson"
        )
        return float(interval.low), float(interval.high)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status.

    Parameters
    ----------
    argv : sequence of str, default=None
        Command-line arguments. If None, those of the process are used.

    Returns
    -------
    status : int
        0 after a comparison, 1 if the images cannot be read or the output folder
        cannot be created. Wrong arguments end the process with status 2.
    """
    arguments = parse_arguments(argv)
    try:
        make_output_folder(arguments.output)
        images = load_images(arguments)
    except (OSError, ValueError) as error:
        print(f"compare_features: {error}", file=sys.stderr)
        return 1

    # The search itself is parallel. The matrix products of a linear classifier are too
    # short to gain from more threads.
    with threadpool_limits(limits=1, user_api="blas"):
        results = compare(images, arguments)
    table = tabulate(results)
    print(f"\n{format_table(table)}\n\n{summarize(results)}\n")

    table.to_csv(arguments.output / "results.csv", index=False)
    write_figures(results, images, arguments.output)
    print(f"Wrote results.csv and five figures to {arguments.output}")
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong arguments end the process with status 2."""
    parser = argparse.ArgumentParser(
        description="Compare autoencoder features with raw pixels and PCA under the "
        "same linear classifier.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--dataset",
        choices=["digits", *OPENML_NAMES],
        default="digits",
        help="the images",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder with the IDX files, or with a subfolder named like the data set; "
        "without it, the images are downloaded from OpenML",
    )
    parser.add_argument(
        "--train-size",
        type=integer_from(1),
        metavar="N",
        help="use only N training images, with the same proportions of classes",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("compare_features_output"),
        metavar="DIR",
        help="folder for the table and the figures",
    )
    parser.add_argument(
        "--folds",
        type=integer_from(2),
        default=5,
        metavar="N",
        help="number of folds of the cross-validation",
    )
    parser.add_argument(
        "--n-jobs",
        type=int,
        default=2,
        metavar="N",
        help="number of fits at the same time, -1 for one on each core",
    )
    parser.add_argument(
        "--random-state",
        type=integer_from(0),
        default=0,
        metavar="SEED",
        help="seed of the splits, the subset and the estimators",
    )
    arguments = parser.parse_args(argv)
    if arguments.dataset == "digits" and arguments.data_dir is not None:
        parser.error("--data-dir needs --dataset mnist or --dataset fashion-mnist")
    if arguments.n_jobs == 0:
        parser.error("--n-jobs must not be 0")
    return arguments


def integer_from(minimum: int) -> Callable[[str], int]:
    """Return a reader of integers that rejects those below `minimum`."""

    def integer(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {value}")
        return value

    return integer


def make_output_folder(folder: Path) -> None:
    """Create the folder before the long computation, so that an error shows at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The output folder {folder} cannot be created ({error.strerror}). Choose "
            "another one with --output."
        ) from error


def load_images(arguments: argparse.Namespace) -> Bunch:
    """Load training and test images as `skautoenc.datasets.load_idx_dataset` does."""
    if arguments.dataset == "digits":
        images = load_digits_images(arguments.random_state)
    elif arguments.data_dir is None:
        images = download_images(OPENML_NAMES[arguments.dataset])
    else:
        sub_folder = arguments.data_dir / arguments.dataset
        has_sub_folder = sub_folder.is_dir()
        images = load_idx_dataset(sub_folder if has_sub_folder else arguments.data_dir)
    # float32 takes half the memory, and the autoencoder computes with it anyway.
    images.data_train = images.data_train.astype(np.float32)
    images.data_test = images.data_test.astype(np.float32)
    if arguments.train_size is not None:
        take_subset(images, arguments.train_size, arguments.random_state)
    check_class_sizes(images.target_train, arguments.folds)
    return images


def load_digits_images(random_state: int) -> Bunch:
    """Set a quarter of the digits of scikit-learn aside as the test images."""
    data, target = load_digits(return_X_y=True)
    data_train, data_test, target_train, target_test = train_test_split(
        data, target, test_size=0.25, stratify=target, random_state=random_state
    )
    return Bunch(
        data_train=data_train,
        target_train=target_train,
        data_test=data_test,
        target_test=target_test,
        image_shape=(8, 8),
    )


def download_images(name: str) -> Bunch:
    """Fetch a set of 28 x 28 images from OpenML, which scikit-learn then caches."""
    try:
        with stage(f"Loading {name} from OpenML"), warnings.catch_warnings():
            # Every retry warns; the error of the last one is sufficient.
            warnings.simplefilter("ignore")
            data, target = fetch_openml(
                name, version=1, return_X_y=True, as_frame=False
            )
    except (OSError, ValueError, HTTPException) as error:
        raise OSError(
            f"{name} cannot be loaded from OpenML ({error}). Check the connection, or "
            "download the four IDX files and pass their folder as --data-dir."
        ) from error
    target = target.astype(np.uint8)
    return Bunch(
        data_train=data[:N_OFFICIAL_TRAIN],
        target_train=target[:N_OFFICIAL_TRAIN],
        data_test=data[N_OFFICIAL_TRAIN:],
        target_test=target[N_OFFICIAL_TRAIN:],
        image_shape=(28, 28),
    )


def take_subset(images: Bunch, train_size: int, random_state: int) -> None:
    """Select `train_size` training images, in the proportions of the classes."""
    n_train = len(images.data_train)
    if train_size > n_train:
        raise ValueError(
            f"--train-size is {train_size} but there are {n_train} training images. "
            "Choose a smaller size."
        )
    images.data_train, images.target_train = resample(
        images.data_train,
        images.target_train,
        replace=False,
        n_samples=train_size,
        stratify=images.target_train,
        random_state=random_state,
    )


def check_class_sizes(target: NDArray[Any], n_folds: int) -> None:
    """Raise an error unless each fold can contain an image of every class."""
    _, counts = np.unique(target, return_counts=True)
    smallest = counts.min()
    if smallest < n_folds:
        raise ValueError(
            f"{n_folds} folds need {n_folds} training images of each class, but the "
            f"smallest has {smallest}. Raise --train-size or lower --folds."
        )


def compare(images: Bunch, arguments: argparse.Namespace) -> list[Result]:
    """Search all candidates, then score the best one with each kind of features."""
    grids = make_grids(images.image_shape, arguments.random_state)
    # C varies slowest in the search. The folder keeps the features of each fold, so
    # these are fitted once, for the first C.
    with TemporaryDirectory() as folder:
        search = GridSearchCV(
            make_pipeline(memory=folder),
            list(grids.values()),
            cv=StratifiedKFold(
                arguments.folds, shuffle=True, random_state=arguments.random_state
            ),
            n_jobs=arguments.n_jobs,
            refit=False,
            error_score="raise",
        )
        run_search(search, images)
    return [
        score_on_test(features, *best, images)
        for features, best in select_best(search, grids).items()
    ]


def make_pipeline(memory: str | None = None) -> Pipeline:
    """Return the pipeline of all candidates."""
    # Far more iterations than any candidate needs to converge.
    classifier = LogisticRegression(max_iter=10_000)
    return Pipeline(
        [
            ("scale", MinMaxScaler()),
            ("features", "passthrough"),
            ("classify", classifier),
        ],
        memory=memory,
    )


def make_grids(
    image_shape: tuple[int, int], random_state: int
) -> dict[str, dict[str, list[Any]]]:
    """Return the candidates with each kind of features."""
    classifier_grid = {"classify__C": CLASSIFIER_C}
    return {
        "raw pixels": {"features": ["passthrough"], **classifier_grid},
        "PCA": {
            "features": [PCA()],
            "features__n_components": PCA_COMPONENTS,
            **classifier_grid,
        },
        "autoencoder": {
            "features": [AutoencoderTransformer(random_state=random_state)],
            "features__n_components": AUTOENCODER_COMPONENTS,
            **classifier_grid,
        },
        "patch autoencoder": {
            "features": [
                PatchAutoencoderTransformer(
                    image_shape=image_shape, random_state=random_state
                )
            ],
            **classifier_grid,
        },
    }


def run_search(search: GridSearchCV, images: Bunch) -> None:
    """Run the search, with a progress bar if rich is installed."""
    if find_spec("rich") is not None:
        search.set_callbacks(ProgressBar(max_propagation_depth=0))
    n_candidates = len(ParameterGrid(search.param_grid))
    n_folds = search.cv.get_n_splits()
    with stage(
        f"Searching {n_candidates} candidates on {len(images.data_train)} training "
        f"images: {n_candidates * n_folds} fits"
    ):
        search.fit(images.data_train, images.target_train)


def select_best(
    search: GridSearchCV, grids: dict[str, dict[str, list[Any]]]
) -> dict[str, tuple[dict[str, Any], float, float]]:
    """Return parameters, mean and deviation of the best candidate of each grid."""
    candidates = search.cv_results_
    # The search lists the candidates grid by grid.
    owners = np.repeat(
        list(grids), [len(ParameterGrid(grid)) for grid in grids.values()]
    )
    best = {}
    for features in grids:
        rows = np.flatnonzero(owners == features)
        row = rows[np.argmax(candidates["mean_test_score"][rows])]
        best[features] = (
            candidates["params"][row],
            float(candidates["mean_test_score"][row]),
            float(candidates["std_test_score"][row]),
        )
    return best


def score_on_test(
    features: str,
    parameters: dict[str, Any],
    cv_mean: float,
    cv_std: float,
    images: Bunch,
) -> Result:
    """Fit one candidate to all training images and score it on the test images."""
    pipeline = clone(make_pipeline().set_params(**parameters))
    # The slice shares its steps with the pipeline. The two parts are fitted one after
    # the other, so that the time of the features can be measured.
    extractor = pipeline[:-1]
    with stage(f"Fitting the best candidate with {features} to all training images"):
        started = time.perf_counter()
        train_features = extractor.fit_transform(images.data_train)
        fit_seconds = time.perf_counter() - started
        pipeline[-1].fit(train_features, images.target_train)

    started = time.perf_counter()
    test_features = extractor.transform(images.data_test)
    transform_seconds = time.perf_counter() - started
    return Result(
        features=features,
        parameters={
            name.split("__")[1]: value
            for name, value in parameters.items()
            if "__" in name
        },
        n_features=test_features.shape[1],
        cv_mean=cv_mean,
        cv_std=cv_std,
        is_correct=pipeline[-1].predict(test_features) == images.target_test,
        fit_seconds=fit_seconds,
        transform_seconds=transform_seconds,
        pipeline=pipeline,
    )


@contextmanager
def stage(description: str) -> Iterator[None]:
    """Print what is being done, and afterwards how long it took."""
    print(f"{description} ...", flush=True)
    started = time.perf_counter()
    yield
    print(f"  done in {time.perf_counter() - started:.1f} s", flush=True)


def tabulate(results: list[Result]) -> pd.DataFrame:
    """Return one row per kind of features, with unformatted numbers."""
    return pd.DataFrame(
        [
            {
                "features": result.features,
                "best_parameters": format_parameters(result.parameters),
                "n_features": result.n_features,
                "cv_accuracy_mean": result.cv_mean,
                "cv_accuracy_std": result.cv_std,
                "test_accuracy": result.test_accuracy,
                "test_accuracy_low": result.test_interval[0],
                "test_accuracy_high": result.test_interval[1],
                "fit_seconds": result.fit_seconds,
                "transform_seconds": result.transform_seconds,
            }
            for result in results
        ]
    )


def format_parameters(parameters: dict[str, Any]) -> str:
    """Format parameters as keyword arguments, for example ``C=1``."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def format_table(table: pd.DataFrame) -> str:
    """Format the table with aligned columns."""
    return pd.DataFrame(
        {
            "features": table["features"],
            "best parameters": table["best_parameters"],
            "n features": table["n_features"],
            "CV accuracy": [
                f"{mean:.4f} ± {std:.4f}"
                for mean, std in zip(
                    table["cv_accuracy_mean"], table["cv_accuracy_std"], strict=True
                )
            ],
            f"test accuracy [{CONFIDENCE:.0%} interval]": [
                f"{accuracy:.4f} [{low:.4f}, {high:.4f}]"
                for accuracy, low, high in zip(
                    table["test_accuracy"],
                    table["test_accuracy_low"],
                    table["test_accuracy_high"],
                    strict=True,
                )
            ],
            "fit (s)": table["fit_seconds"].map("{:.2f}".format),
            "transform (s)": table["transform_seconds"].map("{:.3f}".format),
        }
    ).to_string(index=False)


def summarize(results: list[Result]) -> str:
    """Compare each kind of features with those before it, in one sentence."""
    sentences = []
    for number in range(1, len(results)):
        differences: dict[str, list[str]] = {}
        for other in results[:number]:
            relation, numbers = measure_difference(results[number], other)
            differences.setdefault(relation, []).append(f"{other.features} ({numbers})")
        statements = [
            f"{relation} {enumerate_names(names)}"
            for relation, names in differences.items()
        ]
        sentences.append(
            f"{results[number].features} features {' and '.join(statements)}"
        )
    return (
        f"Verdict: under the same linear classifier, {'; '.join(sentences)} on "
        f"{len(results[0].is_correct):,} test images (exact McNemar tests)."
    )


def enumerate_names(names: list[str]) -> str:
    """Join names by commas and "and"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def measure_difference(result: Result, other: Result) -> tuple[str, str]:
    """Compare two kinds of features on the test images that only one gets right.

    Returns
    -------
    relation : str
        What the first features do, with the other features as the object.
    numbers : str
        The difference of the accuracies in percentage points and its p-value.
    """
    n_won = int(np.sum(result.is_correct & ~other.is_correct))
    n_lost = int(np.sum(~result.is_correct & other.is_correct))
    n_decided = n_won + n_lost
    p_value = float(binomtest(n_won, n_decided).pvalue) if n_decided else 1.0
    if p_value > 1 - CONFIDENCE:
        relation = "do not differ significantly from"
    else:
        relation = "beat" if n_won > n_lost else "fall behind"
    points = 100 * (result.test_accuracy - other.test_accuracy)
    p_text = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return relation, f"{points:+.1f} points, {p_text}"


def write_figures(results: list[Result], images: Bunch, folder: Path) -> None:
    """Write the five figures as PNG files."""
    dense, patches = (result.pipeline for result in results[-2:])
    autoencoder = dense["features"]
    scaled_test = dense["scale"].transform(images.data_test)
    _, examples = np.unique(images.target_test, return_index=True)
    figures: dict[str, Any] = {
        "accuracy": draw_accuracies(results),
        "loss_curve": LossCurveDisplay.from_estimator(autoencoder).figure_,
        "reconstructions": ReconstructionDisplay.from_estimator(
            autoencoder,
            scaled_test[examples],
            image_shape=images.image_shape,
            n_images=len(examples),
        ).figure_,
        "latent": LatentDisplay.from_estimator(
            autoencoder,
            scaled_test,
            images.target_test,
            max_samples=MAX_LATENT_POINTS,
        ).figure_,
        "filters": FilterDisplay.from_estimator(
            patches["features"], scaled_test
        ).figure_,
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
        plt.close(figure)


def draw_accuracies(results: list[Result]) -> Figure:
    """Draw the accuracies over the folds and on the test images."""
    # Points and not bars: the differences are small, and bars on an axis that does
    # not start at zero would exaggerate them.
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    rows = np.arange(len(results))
    test_accuracies = np.array([result.test_accuracy for result in results])
    intervals = np.array([result.test_interval for result in results])
    draw_points(
        ax,
        np.array([result.cv_mean for result in results]),
        np.array([result.cv_std for result in results]),
        rows - 0.15,
        fmt="o",
        color=CV_COLOR,
        label="Cross-validation (mean ± standard deviation)",
    )
    draw_points(
        ax,
        test_accuracies,
        np.abs(intervals.T - test_accuracies),
        rows + 0.15,
        fmt="s",
        color=TEST_COLOR,
        label=f"Test images ({CONFIDENCE:.0%} interval)",
    )
    ax.set_yticks(rows, [label_of(result, results[0]) for result in results])
    ax.set_ylim(len(results) - 0.5, -0.5)
    figure.suptitle(
        "Accuracy of the same linear classifier, and difference to raw pixels"
    )
    ax.set_xlabel("Accuracy")
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def label_of(result: Result, baseline: Result) -> str:
    """Return the name of the features, and how they differ from the baseline."""
    if result is baseline:
        return result.features
    return f"{result.features}\n{measure_difference(result, baseline)[1]}"


def draw_points(
    ax: Axes,
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    rows: NDArray[Any],
    **style: Any,
) -> None:
    """Draw one point with its value and its error bar in each row."""
    ax.errorbar(values, rows, xerr=errors, capsize=4, linewidth=2, **style)
    for value, row in zip(values, rows, strict=True):
        ax.annotate(
            f"{value:.3f}",
            (value, row),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )


if __name__ == "__main__":
    sys.exit(main())
