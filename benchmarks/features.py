"""Linear probes on autoencoder features, against raw pixels and PCA.

Features are learnt without labels from the training images: in each of five stratified
folds on digits, and from all 60,000 training images on MNIST and Fashion-MNIST (IDX
files). The features are then fixed, centred and divided by one scale. A
`LogisticRegression` is fitted to them, and scored once on the test images.

The C of the classifier is chosen from up to six candidates, on training images only:

- on digits, by 5-fold cross-validation within each training fold;
- with 1,000 labels (100 per class, drawn by the seed), by 5-fold cross-validation of
  the log loss on these images, because accuracies of so few images are coarse;
- otherwise by 10,000 training images that are held out from the classifier, with the
  features of the first seed.

With self-training, scikit-learn's `SelfTrainingClassifier` then gives the classifier of
1,000 labels the other 59,000 images without their labels. It takes predicted classes
above a probability of 0.9 for labels, and fits again, up to ten times, with the same C.

Parameters of the autoencoders, and this probability, were also chosen on training
images. No images are augmented::

    python -m benchmarks.features --data-dir DIR --output OUT

`DIR` has the folders `mnist` and `fashion-mnist`. Without it, the benchmark uses digits
only. `OUT` receives three files. `features.csv` has a line for each task, kind of
features and seed. A line is written as soon as it is known, and a second run continues
where the first ended. `features.md` is the table of means and standard deviations over
the seeds, and `features.png` is the figure. Seconds are those of `fit` on all training
images and of `transform` of all test images, with the threads that torch uses. Let the
machine do nothing else meanwhile.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.semi_supervised import SelfTrainingClassifier

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
)
from skautoenc.datasets import load_idx_dataset

from .machine import describe_machine

SEEDS = (0, 1, 2)
REGULARIZATION = (0.003, 0.01, 0.03, 0.1, 0.3, 1)
# A large number of whitened columns needs more regularisation.
STRONG_REGULARIZATION = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
# So does a large number of similarities to prototypes.
PROTOTYPE_REGULARIZATION = (0.0003, 0.001, 0.003)
# Few rows need less.
WEAK_REGULARIZATION = (0.03, 0.1, 0.3, 1, 3, 10)
N_LABELS = 1_000
# Probability from which self-training takes a predicted class for a label.
THRESHOLD = 0.9
N_HELD_OUT = 10_000
PACKAGES = ("scikit-learn", "torch", "numpy")
EPOCHS = (1, 2, 4, 8)

Rows = NDArray[Any]
# Builds the features from a seed.
Features = Callable[[int], Any]


@dataclass(frozen=True)
class Data:
    """Images in [0, 1] as rows, and their classes."""

    X_train: Rows
    y_train: Rows
    X_test: Rows
    y_test: Rows


@dataclass(frozen=True)
class Task:
    """One line of the table: the data, and the features that are compared on it.

    Parameters
    ----------
    name : str
        What the table calls it.
    data : str
        "digits", "mnist" or "fashion-mnist".
    features : dict
        From the name of the features to what builds them.
    few_labels : bool
        Whether the classifier is given `N_LABELS` labels.
    self_training : bool
        Whether it is also given the other images, without their labels.
    n_seeds : int
        How many of `SEEDS` to run.
    candidates : tuple of float
        From which C is chosen.
    """

    name: str
    data: str
    features: dict[str, Features] = field(repr=False)
    few_labels: bool = False
    self_training: bool = False
    n_seeds: int = len(SEEDS)
    candidates: tuple[float, ...] = REGULARIZATION


# The features


def raw(seed: int) -> Any:
    return FunctionTransformer()


def principal(n_components: int) -> Features:
    return lambda seed: PCA(n_components, random_state=seed)


def default(seed: int) -> Any:
    return AutoencoderTransformer(random_state=seed)


def dictionary(n_components: int, **parameters: Any) -> Features:
    """Wide sparse codes of images, independent of contrast."""
    return lambda seed: AutoencoderTransformer(
        n_components, normalize_rows=0.5, random_state=seed, **parameters
    )


def two_stages(n_components: int, n_diffusion_steps: int) -> Features:
    """Sparse codes, normalised to one length and compressed to distinguish groups."""
    return lambda seed: make_pipeline(
        AutoencoderTransformer(
            1000,
            sparsity_rate=0.02,
            normalize_rows=0.5,
            features="sparse",
            max_iter=8,
            random_state=seed,
        ),
        Normalizer(),
        AutoencoderTransformer(
            n_components,
            hidden_layer_sizes=(1000,),
            normalization="batch",
            corruption_rate=0.3,
            n_neighbors=10,
            n_diffusion_steps=n_diffusion_steps,
            # The other settings were chosen at this rate.
            learning_rate_init=0.005,
            max_iter=8,
            random_state=seed,
        ),
    )


def root(features: Features) -> Features:
    """Take the square root of the pixels first, which compresses bright ones."""
    return lambda seed: make_pipeline(FunctionTransformer(np.sqrt), features(seed))


def patches(**parameters: Any) -> Features:
    """Convolutional features."""
    return lambda seed: PatchAutoencoderTransformer(random_state=seed, **parameters)


def patches_of(*sizes: int) -> Features:
    """Convolutional features of patches of several sizes, side by side."""
    return lambda seed: FeatureUnion(
        [
            (
                str(size),
                PatchAutoencoderTransformer(
                    patch_size=size, n_prototypes=None, random_state=seed
                ),
            )
            for size in sizes
        ]
    )


def grouped_patches(n_components: int, n_diffusion_steps: int) -> Features:
    """Convolutional features, compressed to distinguish groups."""
    return lambda seed: make_pipeline(
        PatchAutoencoderTransformer(
            n_components=512, whiten_regularization=10.0, random_state=seed
        ),
        AutoencoderTransformer(
            n_components,
            hidden_layer_sizes=(1000,),
            normalization="batch",
            corruption_rate=0.3,
            n_neighbors=10,
            n_diffusion_steps=n_diffusion_steps,
            # The other settings were chosen at this rate.
            learning_rate_init=0.005,
            max_iter=8,
            random_state=seed,
        ),
    )


def grouped_patches_and_components(seed: int) -> Any:
    """Codes that separate groups, and principal components of features beside them."""
    return FeatureUnion(
        [
            ("groups", grouped_patches(128, 5)(seed)),
            ("components", patches(n_components=512)(seed)),
        ],
        # Columns of both have about the same variance.
        transformer_weights={"components": 2},
    )


def end_to_end(n_components: int) -> Features:
    return lambda seed: ConvAutoencoderTransformer(n_components, random_state=seed)


TASKS = (
    Task(
        "digits",
        "digits",
        {"raw": raw, "PCA(32)": principal(32), "default": default},
        candidates=WEAK_REGULARIZATION,
    ),
    Task(
        "MNIST, up to 2000 units",
        "mnist",
        {
            "raw": raw,
            "PCA(128)": principal(128),
            "default": default,
            "tuned": dictionary(2000, sparsity_rate=0.03, max_iter=16),
        },
    ),
    Task(
        "MNIST, 1000 units",
        "mnist",
        {"tuned": dictionary(1000, sparsity_rate=0.05, max_iter=12)},
    ),
    Task(
        "MNIST, 32 components",
        "mnist",
        {"PCA(32)": principal(32), "tuned": two_stages(32, 20)},
    ),
    Task(
        "Fashion-MNIST, up to 2000 units",
        "fashion-mnist",
        {
            "raw": raw,
            "PCA(128)": principal(128),
            "default": default,
            "tuned": root(dictionary(2000, sparsity_rate=0.1, max_iter=12)),
        },
    ),
    Task(
        "MNIST, 1,000 labels",
        "mnist",
        {
            "raw": raw,
            "PCA(128)": principal(128),
            "default": default,
            "tuned": two_stages(64, 30),
        },
        few_labels=True,
    ),
    Task(
        "digits, images",
        "digits",
        {"patches (default)": patches()},
        candidates=STRONG_REGULARIZATION,
    ),
    Task(
        "MNIST, images",
        "mnist",
        {
            "patches (default)": patches(),
            "patches (tuned)": patches(n_prototypes=4000),
        },
        candidates=PROTOTYPE_REGULARIZATION,
    ),
    Task(
        "MNIST, images, no prototypes",
        "mnist",
        {
            "patches": patches(n_prototypes=None),
            "patches of 5 and 9": patches_of(5, 9),
        },
        candidates=STRONG_REGULARIZATION,
    ),
    Task(
        "Fashion-MNIST, images",
        "fashion-mnist",
        {
            "patches (default)": patches(),
            "patches (tuned)": patches(n_prototypes=4000, normalize_patches=0.1),
        },
        candidates=PROTOTYPE_REGULARIZATION,
    ),
    Task(
        "Fashion-MNIST, images, no prototypes",
        "fashion-mnist",
        {
            "patches": patches(n_prototypes=None),
            "patches (tuned)": patches(
                n_prototypes=None, pooling=5, normalize_patches=0.1
            ),
        },
        candidates=STRONG_REGULARIZATION,
    ),
    Task(
        "Fashion-MNIST, images, by step",
        "fashion-mnist",
        {
            "not whitened": patches(n_prototypes=None, whiten_code=False),
            "patches not normalised": patches(
                n_prototypes=None, normalize_patches=None
            ),
            "patches within the image": patches(n_prototypes=None, padding=0),
        },
        n_seeds=1,
        candidates=STRONG_REGULARIZATION,
    ),
    Task(
        "MNIST, images, 128 components",
        "mnist",
        {
            "end to end (default)": end_to_end(128),
            "patches (default)": patches(n_components=128),
            "patches (tuned)": grouped_patches(128, 5),
        },
    ),
    Task(
        "MNIST, images, 1,000 labels",
        "mnist",
        {
            "patches (default)": patches(),
            "patches (tuned)": grouped_patches(128, 5),
        },
        few_labels=True,
        candidates=WEAK_REGULARIZATION,
    ),
    Task(
        "MNIST, images, 1,000 labels, self-training",
        "mnist",
        {
            "raw": raw,
            "PCA(128)": principal(128),
            "default": default,
            "patches (tuned)": grouped_patches_and_components,
        },
        few_labels=True,
        self_training=True,
        candidates=WEAK_REGULARIZATION,
    ),
    Task(
        "MNIST, 1000 units, by epochs",
        "mnist",
        {
            f"max_iter={n}": dictionary(1000, sparsity_rate=0.05, max_iter=n)
            for n in EPOCHS
        },
        n_seeds=1,
        # Values around that of the line above, with the same number of units.
        candidates=(0.01, 0.03, 0.1),
    ),
)


# The probe


@dataclass
class Probe:
    """A linear classifier on codes that are centred and divided by one scale.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    scale : float
        Both of the training codes, so that C means the same for all kinds of codes.
    """

    mean: Rows
    scale: float

    @classmethod
    def of(cls, codes: Rows) -> "Probe":
        """Learn mean and scale of the training codes."""
        return cls(codes.mean(axis=0), float(np.sqrt(codes.var(axis=0).mean())))

    def fit(
        self, codes: Rows, y: Rows, C: float, *, self_training: bool = False
    ) -> Any:
        """Fit the classifier; with self-training, a label of -1 is unknown."""
        classifier: Any = LogisticRegression(C=C, max_iter=100)
        if self_training:
            classifier = SelfTrainingClassifier(classifier, threshold=THRESHOLD)
        with warnings.catch_warnings():
            # Candidates that have not converged by then do not improve later.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return classifier.fit((codes - self.mean) / self.scale, y)

    def accuracy(self, classifier: Any, codes: Rows, y: Rows) -> float:
        """Score a fitted classifier."""
        return float(classifier.score((codes - self.mean) / self.scale, y))

    def likelihood(self, classifier: Any, codes: Rows, y: Rows) -> float:
        """Score the probabilities of a fitted classifier."""
        rows = (codes - self.mean) / self.scale
        return -float(log_loss(y, classifier.predict_proba(rows)))

    def choose(
        self,
        candidates: tuple[float, ...],
        codes: Rows,
        y: Rows,
        splits: Iterator[tuple[Rows, Rows]],
        score: Callable[[Any, Rows, Rows], float],
    ) -> float:
        """Return the C of the highest mean score over splits into fit and check."""
        scores = [
            [
                score(self.fit(codes[fit], y[fit], C), codes[check], y[check])
                for C in candidates
            ]
            for fit, check in splits
        ]
        return candidates[int(np.mean(scores, axis=0).argmax())]


def five_folds(y: Rows, seed: int) -> Iterator[tuple[Rows, Rows]]:
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(y)), y)


# The measurements


def load(name: str, data_dir: Path) -> Data:
    images = load_idx_dataset(data_dir / name)
    return Data(
        images.data_train.astype(np.float32) / 255,
        images.target_train,
        images.data_test.astype(np.float32) / 255,
        images.target_test,
    )


@dataclass(frozen=True)
class Codes:
    """Results of one kind of features on one data set, with times."""

    train: Rows
    test: Rows
    fit_seconds: float
    transform_seconds: float


def encode(features: Any, X_train: Rows, X_test: Rows) -> Codes:
    start = time.perf_counter()
    features.fit(X_train)
    fitted = time.perf_counter()
    test = features.transform(X_test)
    transformed = time.perf_counter()
    return Codes(
        features.transform(X_train), test, fitted - start, transformed - fitted
    )


def on_digits(task: Task, build: Features, seed: int) -> dict[str, Any]:
    """Cross-validate, with the C of each fold chosen within it."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32) / 16
    folds = []
    for train, test in five_folds(y, seed):
        codes = encode(build(seed), X[train], X[test])
        probe = Probe.of(codes.train)
        splits = five_folds(y[train], seed)
        C = probe.choose(task.candidates, codes.train, y[train], splits, probe.accuracy)
        classifier = probe.fit(codes.train, y[train], C)
        accuracy = probe.accuracy(classifier, codes.test, y[test])
        folds.append((accuracy, C, codes.fit_seconds, codes.transform_seconds))
    accuracy, C, fit_seconds, transform_seconds = np.median(folds, axis=0)
    return {
        "n_features": codes.train.shape[1],
        "C": C,
        "accuracy": 100 * np.mean([fold[0] for fold in folds]),
        "fit_seconds": fit_seconds,
        "transform_seconds": transform_seconds,
    }


def on_images(
    task: Task, build: Features, seed: int, data: Data, C: float | None
) -> dict[str, Any]:
    """Learn from all training images, and probe with all labels or a few.

    Parameters
    ----------
    C : float or None
        As chosen with the first seed, or None to choose it now.
    """
    codes = encode(build(seed), data.X_train, data.X_test)
    probe, y = Probe.of(codes.train), data.y_train
    labelled = np.arange(len(y))
    if task.few_labels:
        labelled, _ = train_test_split(
            labelled, train_size=N_LABELS, stratify=y, random_state=seed
        )
        splits = five_folds(y[labelled], seed)
    else:
        splits = iter(
            [train_test_split(labelled, test_size=N_HELD_OUT, random_state=0)]
        )
    train = codes.train[labelled]
    if C is None or task.few_labels:
        score = probe.likelihood if task.few_labels else probe.accuracy
        C = probe.choose(task.candidates, train, y[labelled], splits, score)
    if task.self_training:
        known = np.full(len(y), -1)
        known[labelled] = y[labelled]
        classifier = probe.fit(codes.train, known, C, self_training=True)
    else:
        classifier = probe.fit(train, y[labelled], C)
    return {
        "n_features": train.shape[1],
        "C": C,
        "accuracy": 100 * probe.accuracy(classifier, codes.test, data.y_test),
        "fit_seconds": codes.fit_seconds,
        "transform_seconds": codes.transform_seconds,
    }


def measure(data_dir: Path | None, path: Path) -> None:
    """Append the missing results to the CSV file."""
    loaded: dict[str, Data] = {}
    for task in TASKS:
        if task.data != "digits" and data_dir is None:
            continue
        for name, build in task.features.items():
            for seed in SEEDS[: task.n_seeds]:
                known = read(path)
                same = (known["task"] == task.name) & (known["features"] == name)
                if (known["seed"][same] == seed).any():
                    continue
                if task.data == "digits":
                    row = on_digits(task, build, seed)
                else:
                    assert data_dir is not None
                    if task.data not in loaded:
                        loaded = {task.data: load(task.data, data_dir)}
                    chosen = known["C"][same & (known["seed"] == SEEDS[0])]
                    C = float(chosen.iloc[0]) if len(chosen) else None
                    row = on_images(task, build, seed, loaded[task.data], C)
                row = {"task": task.name, "features": name, "seed": seed, **row}
                print(
                    " ".join(f"{key}={value}" for key, value in row.items()), flush=True
                )
                pd.DataFrame([row]).to_csv(
                    path, mode="a", header=not path.exists(), index=False
                )


def read(path: Path) -> pd.DataFrame:
    if path.exists():
        return pd.read_csv(path)
    return pd.DataFrame(columns=["task", "features", "seed", "C"])


# The table and the figure


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard deviations over seeds, one line per task and kind."""
    tasks = [task.name for task in TASKS]
    results = results.sort_values(
        "task", key=lambda names: names.map(tasks.index), kind="stable"
    )
    groups = results.groupby(["task", "features"], sort=False)
    return groups.agg(
        n_features=("n_features", "first"),
        C=("C", "median"),
        mean=("accuracy", "mean"),
        std=("accuracy", "std"),
        seeds=("seed", "count"),
        fit=("fit_seconds", "median"),
        transform=("transform_seconds", "median"),
    ).reset_index()


def to_markdown(table: pd.DataFrame) -> str:
    lines = [
        "| data | features | columns | C | accuracy (%) | fit (s) | transform (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        spread = f" ± {row['std']:.2f}" if row["seeds"] > 1 else ""
        lines.append(
            f"| {row['task']} | {row['features']} | {row['n_features']} | "
            f"{row['C']:g} | {row['mean']:.2f}{spread} | {row['fit']:.1f} | "
            f"{row['transform']:.2f} |"
        )
    return "\n".join(lines)


def kind_of(features: str) -> str:
    """Return the label of a kind of features in the figure."""
    if features == "raw":
        return "raw pixels"
    if features.startswith("PCA"):
        return "PCA"
    if features.startswith("end to end"):
        return "autoencoder, end to end"
    return f"autoencoder, {'default' if 'default' in features else 'tuned'}"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracies by task and, if available, by seconds of fit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    by_epochs = table[table["task"].str.endswith("epochs")]
    by_task = table[~table["task"].str.contains("by step|epochs|no prototypes")]
    tasks = list(by_task["task"].unique())
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5.5), width_ratios=(3, 2), layout="constrained"
    )
    styles = {
        "raw pixels": ("o", "#717581"),
        "PCA": ("s", "#b08c3a"),
        "autoencoder, default": ("D", "#3f90da"),
        "autoencoder, tuned": ("D", "#bd1f01"),
        "autoencoder, end to end": ("^", "#3f90da"),
    }
    kind = by_task["features"].map(kind_of)
    for label, (marker, color) in styles.items():
        chosen = by_task[kind == label]
        left.errorbar(
            chosen["mean"],
            [tasks.index(task) for task in chosen["task"]],
            xerr=chosen["std"].fillna(0),
            fmt=marker,
            color=color,
            label=label,
        )
    left.set(yticks=range(len(tasks)), yticklabels=tasks, xlabel="accuracy (%)")
    left.invert_yaxis()
    left.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower left", ncols=len(styles), fontsize="small")
    right.errorbar(
        by_epochs["fit"], by_epochs["mean"], yerr=by_epochs["std"].fillna(0), fmt="D-"
    )
    for row in by_epochs.itertuples():
        right.annotate(f"{row.features} ", (row.fit, row.mean), ha="right", va="bottom")
    right.set(
        xscale="log",
        xlim=(by_epochs["fit"].min() / 3, by_epochs["fit"].max() * 1.5),
        xlabel="seconds of fit",
        ylabel="accuracy (%)",
        title="MNIST, 1000 units",
    )
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("features"))
    arguments = parser.parse_args()

    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "features.csv"
    measure(arguments.data_dir, path)
    table = summarise(read(path))
    text = f"{to_markdown(table)}\n\n{describe_machine(PACKAGES)}\n"
    (arguments.output / "features.md").write_text(text)
    draw(table, arguments.output / "features.png")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
