"""Time of `fit` and `transform` against other packages and matrix products.

All contenders train the same network on the same rows, in the same batches, for the
same number of epochs, with Adam and the squared error, on the same number of threads.
They take turns, and the table has medians of ratios over `--repeats` rounds: seconds
depend on the machine and its load, ratios hardly do. "Loop" is an efficient training
loop in plain torch, which slices a shuffled tensor and uses the fused Adam. "Products"
are only the matrix products of a fit or a transform, on existing operands::

    python -m benchmarks.speed

skorch is measured if it is installed (``pip install ".[benchmarks]"``). Rows are noise
of the given shapes: no step depends on the values.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from torch import nn

from skautoenc import AutoencoderTransformer

from .machine import describe_machine, pinned

Rows = NDArray[np.float32]
# Fits a network of these widths to rows, in batches, for a number of epochs.
Contender = Callable[[Rows, Sequence[int], int, int], Any]


@dataclass(frozen=True)
class Task:
    """The shape of the rows, and the widths of a network to train on them."""

    shape: tuple[int, int]
    widths: tuple[int, ...]
    batch_size: int
    n_epochs: int

    def __str__(self) -> str:
        rows = " x ".join(map(str, self.shape))
        widths = "-".join(map(str, self.widths))
        return f"{rows}, {widths}, batches of {self.batch_size}"

    def make_rows(self) -> Rows:
        """Draw noise of the shape."""
        return np.random.default_rng(0).random(self.shape, dtype=np.float32)


# The shapes of digits, of a table and of MNIST.
SMALL = (
    Task((1797, 64), (64, 128, 32, 128, 64), 64, 20),
    Task((500, 20), (20, 32, 8, 32, 20), 64, 60),
)
LARGE = Task((60_000, 784), (784, 512, 512, 512, 784), 256, 1)


def skautoenc(rows: Rows, widths: Sequence[int], batch_size: int, n_epochs: int) -> Any:
    middle = len(widths) // 2
    return AutoencoderTransformer(
        widths[middle],
        hidden_layer_sizes=widths[1:middle],
        activation="relu",
        sparsity=None,
        tied_weights=False,
        linear_skip=False,
        batch_size=batch_size,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs,
        random_state=0,
    ).fit(rows)


def make_module(widths: Sequence[int]) -> nn.Sequential:
    """Build the same network, rectified except for the code and the output."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers.append(nn.Linear(inputs, outputs))
        if number not in (len(widths) // 2, len(widths) - 1):
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def loop(rows: Rows, widths: Sequence[int], batch_size: int, n_epochs: int) -> Any:
    module = make_module(widths)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.005, fused=True)
    tensor = torch.from_numpy(rows)
    for _ in range(n_epochs):
        shuffled = tensor[torch.randperm(len(tensor))]
        for batch in shuffled.tensor_split(len(rows) // batch_size):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(batch), batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return module


def skorch(rows: Rows, widths: Sequence[int], batch_size: int, n_epochs: int) -> Any:
    from skorch import NeuralNetRegressor

    net = NeuralNetRegressor(
        make_module(widths),
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=0.005,
        batch_size=batch_size,
        max_epochs=n_epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return net.fit(rows, rows)


def mlp_regressor(
    rows: Rows, widths: Sequence[int], batch_size: int, n_epochs: int
) -> Any:
    regressor = MLPRegressor(
        hidden_layer_sizes=widths[1:-1],
        batch_size=batch_size,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs,
        alpha=0.0,
        learning_rate_init=0.005,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regressor.fit(rows, rows)


def fit_products(
    rows: Rows, widths: Sequence[int], batch_size: int, n_epochs: int
) -> None:
    """Compute the matrix products of some steps: one forward, two backward."""
    batches = [torch.rand(batch_size, width) for width in widths]
    weights = [torch.rand(pair) for pair in pairwise(widths)]
    forward = [torch.empty_like(batch) for batch in batches]
    gradients = [torch.empty_like(weight) for weight in weights]
    for _ in range(n_epochs * (len(rows) // batch_size)):
        for number, weight in enumerate(weights):
            torch.mm(batches[number], weight, out=forward[number + 1])
            torch.mm(batches[number].t(), batches[number + 1], out=gradients[number])
            if number:
                torch.mm(batches[number + 1], weight.t(), out=forward[number])


CONTENDERS: dict[str, Contender] = {
    "skautoenc": skautoenc,
    "loop": loop,
    "MLPRegressor": mlp_regressor,
    "products": fit_products,
}
if find_spec("skorch") is not None:
    CONTENDERS["skorch"] = skorch


def seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def in_turns(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Run functions in turn, after a warm-up, and return the seconds of each."""
    times: dict[str, Any] = {name: [] for name in functions}
    for number in range(repeats + 1):
        for name, function in functions.items():
            spent = seconds(function)
            if number:
                times[name].append(spent)
    return {name: np.array(found) for name, found in times.items()}


def compare_fits(task: Task, repeats: int) -> None:
    """Print microseconds per step, and the ratio of each contender to this package."""
    print(f"fit, {task}")
    arguments = task.make_rows(), task.widths, task.batch_size, task.n_epochs
    times = in_turns(
        {name: partial(fit, *arguments) for name, fit in CONTENDERS.items()}, repeats
    )
    n_steps = task.n_epochs * (task.shape[0] // task.batch_size)
    for name, found in times.items():
        ratio = np.median(found / times["skautoenc"])
        micro = 1e6 * np.median(found) / n_steps
        print(f"  {name:14} {micro:9.0f} us a step   {ratio:6.2f} of ours")


def compare_transforms(task: Task, repeats: int) -> None:
    """Print the time of `transform` against its matrix products and PCA."""
    rows, widths = task.make_rows(), task.widths
    fitted = skautoenc(rows[:2560], widths, task.batch_size, 1)
    middle = len(widths) // 2
    pca = PCA(widths[middle], svd_solver="covariance_eigh").fit(rows[:2560])
    tensor = torch.from_numpy(rows)
    weights = [torch.rand(pair) for pair in pairwise(widths[: middle + 1])]

    def products() -> None:
        for block in torch.split(tensor, 1024):
            for weight in weights:
                block = block @ weight

    times = in_turns(
        {
            "skautoenc": lambda: fitted.transform(rows),
            "products": products,
            "PCA": lambda: pca.transform(rows),
        },
        repeats,
    )
    print(f"transform, {task}")
    n_products = sum(weight.numel() for weight in weights)
    share = n_products / (widths[0] * widths[middle])
    alone = np.median(times["skautoenc"] / times["products"])
    against = np.median(times["skautoenc"] / times["PCA"]) / share
    print(f"  {1e3 * np.median(times['skautoenc']):.0f} ms")
    print(f"  {alone:.2f} of the products alone")
    print(f"  {against:.2f} of PCA's time for a multiplication")


def measure_overhead(repeats: int) -> None:
    """Print the time of the smallest fit."""
    rows = np.random.default_rng(0).random((10, 4), dtype=np.float32)
    smallest = AutoencoderTransformer(2, max_iter=1, random_state=0)
    times = in_turns({"fit": lambda: smallest.fit(rows)}, repeats)
    print(f"  {1e3 * np.median(times['fit']):.1f} ms")


def measure_growth(n_rows: Sequence[int], repeats: int) -> None:
    """Print the time of an epoch per row, which should be constant."""
    print("fit, 20 columns, one epoch, microseconds a row")
    for number in n_rows:
        rows = np.random.default_rng(0).random((number, 20), dtype=np.float32)
        estimator = AutoencoderTransformer(8, max_iter=1, random_state=0)
        times = in_turns({"fit": partial(estimator.fit, rows)}, repeats)
        print(f"  {number:9,} rows {1e6 * np.median(times['fit']) / number:7.2f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="few rows, to see that it runs"
    )
    arguments = parser.parse_args()
    with pinned(arguments.threads):
        for task in SMALL:
            n_epochs = 2 if arguments.quick else task.n_epochs
            compare_fits(replace(task, n_epochs=n_epochs), arguments.repeats)
        n_rows = 1024 if arguments.quick else LARGE.shape[0]
        large = replace(LARGE, shape=(n_rows, LARGE.shape[1]))
        compare_fits(large, arguments.repeats)
        compare_transforms(large, arguments.repeats)
        growth = (1_000, 10_000, 100_000, 1_000_000)
        measure_growth(growth[: 1 if arguments.quick else None], arguments.repeats)
        print("the smallest fit")
        measure_overhead(arguments.repeats)
        packages = ["scikit-learn", "torch", "numpy"]
        print(describe_machine(packages + ["skorch"] * ("skorch" in CONTENDERS)))


if __name__ == "__main__":
    main()
