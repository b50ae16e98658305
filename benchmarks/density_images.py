"""VariationalAutoencoder on MNIST: bounds, densities, and samples to train on.

The data is a folder with the four IDX files, as `skautoenc.datasets` reads them::

    python -m benchmarks.density_images bound --data mnist --epochs 12 27 250
    python -m benchmarks.density_images density --data mnist
    python -m benchmarks.density_images samples --data mnist
    python -m benchmarks.density_images layers --data mnist --rows 2000 10000

"bound" fits zeros and ones that are drawn anew in each epoch. It prints a lower bound
of the log-likelihood of the first 2,000 test images, which are drawn once, with 50
samples, as in Burda et al., "Importance weighted autoencoders", 2016. `--seconds`
limits the CPU time of the fit, which ends with the epoch in which the limit is reached.
The time of computing bounds does not count.

"density" adds uniform noise to the 256 grey values, so that they have a density. It
compares log-likelihoods of test images with those of `PCA`, in nats. Both have default
parameters.

"samples" fits a model to each class, and draws 1,000 digits from each. A linear
classifier is trained on them and tested on real digits. Another classifier is trained
on as many real digits. Cross-validation on its training digits chooses the
regularisation of each classifier.

"layers" compares dense layers with convolutions on the digits of scikit-learn and on
some of the images of MNIST, with uniform noise, for two numbers of steps. A step of
convolutions takes about four times as long, so a fourth of the steps is equal time.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from skautoenc import ConvVariationalAutoencoder, VariationalAutoencoder
from skautoenc.datasets import load_idx

from .machine import describe_machine, pinned

Images = NDArray[np.float32]
_N_TEST = 2000
_N_SAMPLES = 1000
# Inverse regularisations of the linear classifiers.
_C = (0.01, 0.03, 0.1)
# Epochs between two bounds.
_N_BETWEEN = 25
# Steps of a fit of "layers".
_N_STEPS = 3000


def read(folder: Path, part: str) -> tuple[Images, NDArray[np.int64]]:
    """Return images, (n, 784), between 0 and 1, and their labels."""
    images = load_idx(folder / f"{part}-images-idx3-ubyte")
    labels = load_idx(folder / f"{part}-labels-idx1-ubyte")
    rows = (images.reshape(len(images), -1) / 255).astype(np.float32)
    return rows, labels.astype(np.int64)


class Watch:
    """Callback that prints bounds during a fit, and ends it after a CPU time.

    Parameters
    ----------
    rows : ndarray of shape (n, 784)
        Zeros and ones to score.
    limit : float
        CPU seconds after which the fit ends, without those of the bounds.
    """

    def __init__(self, rows: Images, limit: float) -> None:
        self.rows = rows
        self.limit = limit
        self.seconds = 0.0
        self.resumed = 0.0

    def setup(self, estimator: Any, context: Any) -> None:
        """Start the clock."""
        self.resumed = time.process_time()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing: the protocol of callbacks requires the method."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Stop the clock."""
        self.seconds += time.process_time() - self.resumed

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> bool:
        """Print the bound after some of the epochs; return whether time is up."""
        if context.task_name != "epoch":
            return False
        self.teardown(estimator, context)
        if fitted_estimator.n_iter_ % _N_BETWEEN == 0:
            self.report(fitted_estimator)
        self.setup(estimator, context)
        return self.seconds > self.limit

    def report(self, model: VariationalAutoencoder) -> None:
        """Print the bound of a model."""
        print(
            f"{model.n_iter_} epochs, {self.seconds:.0f} CPU seconds: "
            f"{model.score(self.rows):.2f} nats, {model.n_active_units_} units",
            flush=True,
        )


def print_bounds(
    folder: Path, epochs: Sequence[int], seed: int, seconds: float
) -> None:
    X, _ = read(folder, "train")
    X_test = read(folder, "t10k")[0][:_N_TEST]
    drawn = np.random.default_rng(0).random(X_test.shape) < X_test
    for n_epochs in epochs:
        model = VariationalAutoencoder(
            50,
            binarize=True,
            hidden_layer_sizes=(300, 200),
            max_iter=n_epochs,
            early_stopping=False,
            random_state=seed,
        )
        watch = Watch(drawn.astype(np.float32), seconds)
        model.set_callbacks(watch).fit(X)
        print(f"{n_epochs} epochs asked for:", flush=True)
        watch.report(model)
        # Without further epochs, a fit only learns the prior.
        watch.setup(model, None)
        model.set_callbacks().set_params(
            prior="mixture", warm_start=True, max_iter=0
        ).fit(X)
        watch.teardown(model, None)
        print("With a mixture as prior:", flush=True)
        watch.report(model)


def print_densities(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, X_test = (read(folder, part)[0] * 255 for part in ("train", "t10k"))
    X, X_test = (rows + rng.random(rows.shape, np.float32) for rows in (X, X_test))
    X_test = X_test[:_N_TEST]
    begin = time.process_time()
    model = VariationalAutoencoder(random_state=seed).fit(X)
    seconds = time.process_time() - begin
    ours = model.score(X_test)
    linear = PCA(model.n_components_).fit(X).score(X_test)
    print(f"ours {ours:.1f} ({seconds:.0f} CPU seconds), PCA {linear:.1f} nats")


def print_layers(folder: Path, n_rows: Sequence[int], seed: int) -> None:
    """Print log-likelihoods of held-out images, by kind of layers and steps."""
    rng = np.random.default_rng(seed)
    X, X_test = (read(folder, part)[0] * 255 for part in ("train", "t10k"))
    X, X_test = (rows + rng.random(rows.shape, np.float32) for rows in (X, X_test))
    digits = train_test_split(load_digits().data, random_state=seed)
    sets = {"digits": tuple(digits)}
    order = rng.permutation(len(X))
    for n in n_rows:
        sets[f"{n} of MNIST"] = X[order[:n]], X_test[:_N_TEST]
    kinds: tuple[tuple[str, Any, float], ...] = (
        ("dense", VariationalAutoencoder, 1),
        ("convolutions", ConvVariationalAutoencoder, 1 / 4),
        ("dense", VariationalAutoencoder, 4),
        ("convolutions", ConvVariationalAutoencoder, 1),
    )
    for name, (train, test) in sets.items():
        for layers, kind, factor in kinds:
            n_epochs = round(factor * _N_STEPS * 128 / len(train))
            model = kind(max_iter=n_epochs, random_state=seed)
            begin = time.process_time()
            model.fit(train)
            seconds = time.process_time() - begin
            print(
                f"{name}, {layers}, {model.n_iter_} of {n_epochs} epochs, "
                f"{seconds:.0f} CPU seconds: {model.score(test):.2f} nats",
                flush=True,
            )


def print_samples(folder: Path, seed: int, n_epochs: int = 30) -> None:
    X, y = read(folder, "train")
    X_test, y_test = read(folder, "t10k")
    few = np.random.default_rng(seed).permutation(len(X))[: 10 * _N_SAMPLES]
    print_accuracy("real digits", X[few], y[few], X_test, y_test)
    labels = np.arange(10).repeat(_N_SAMPLES)
    drawn: dict[str, list[Images]] = {"normal": [], "mixture": []}
    for digit in range(10):
        model = VariationalAutoencoder(
            20,
            binarize=True,
            max_iter=n_epochs,
            early_stopping=False,
            random_state=seed,
        )
        for prior, rows in drawn.items():
            model.set_params(prior=prior).fit(X[y == digit])
            rows.append(model.sample(_N_SAMPLES, random_state=seed, add_noise=False))
            # The next fit learns its prior only.
            model.set_params(warm_start=True, max_iter=0)
    for prior, rows in drawn.items():
        name = f"samples, {prior} prior"
        print_accuracy(name, np.concatenate(rows), labels, X_test, y_test)


def print_accuracy(
    name: str,
    rows: Images,
    labels: NDArray[np.int64],
    X_test: Images,
    y_test: NDArray[np.int64],
) -> None:
    """Train a linear classifier, and print its accuracy on the test rows."""
    classifier = GridSearchCV(
        LogisticRegression(max_iter=300),
        {"C": _C},
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    ).fit(rows, labels)
    chosen, accuracy = classifier.best_params_["C"], classifier.score(X_test, y_test)
    print(f"{name}: {accuracy:.2%}, C = {chosen:g}", flush=True)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["bound", "density", "samples", "layers"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 34])
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--rows", type=int, nargs="*", default=[2000, 10000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with pinned(1):
        print(describe_machine(["scikit-learn", "torch"]))
        if arguments.what == "bound":
            print_bounds(
                arguments.data, arguments.epochs, arguments.seed, arguments.seconds
            )
        elif arguments.what == "density":
            print_densities(arguments.data, arguments.seed)
        elif arguments.what == "layers":
            print_layers(arguments.data, arguments.rows, arguments.seed)
        else:
            print_samples(arguments.data, arguments.seed)


if __name__ == "__main__":
    main()
