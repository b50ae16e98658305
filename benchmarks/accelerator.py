"""Time of a fit on an accelerator, against eager torch, matrix products and the CPU.

All contenders train the same network on the same rows, in the same batches, for the
same number of epochs, with Adam and the squared error. "Loop" is plain eager torch,
with the rows on the device and the fused Adam. "One by one" is this package without
recorded steps. "Products" are only the matrix products of a step. The contenders take
turns, and the table has medians over `--repeats` rounds::

    python -m benchmarks.accelerator
    python -m benchmarks.accelerator --precision high

The second command is for mixed precision: all contenders multiply matrices in
TensorFloat-32, and add in float32. Each command takes a minute or two, and needs an
accelerator that torch supports.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from skautoenc import AutoencoderTransformer, ConvAutoencoderTransformer
from skautoenc._training import run

from .machine import describe_machine
from .speed import Rows, Task, make_module

TASKS = (
    Task((1797, 64), (64, 128, 32, 128, 64), 64, 20),
    Task((10_000, 50), (50, 200, 100, 16, 100, 200, 50), 128, 5),
    Task((60_000, 784), (784, 512, 512, 512, 784), 256, 2),
    Task((60_000, 784), (784, 2048, 2048, 256, 2048, 2048, 784), 2048, 5),
)


def ours(device: str, rows: Rows, task: Task) -> Any:
    """Fit the estimator."""
    middle = len(task.widths) // 2
    return AutoencoderTransformer(
        task.widths[middle],
        hidden_layer_sizes=task.widths[1:middle],
        activation="relu",
        sparsity=None,
        tied_weights=False,
        linear_skip=False,
        batch_size=task.batch_size,
        max_iter=task.n_epochs,
        n_iter_no_change=task.n_epochs,
        device=device,
        random_state=0,
    ).fit(rows)


def one_by_one() -> AbstractContextManager[Any]:
    """Let fits repeat no recorded steps, in a context."""
    return mock.patch.object(run, "fastest", lambda step, device: step)


def ours_one_by_one(device: str, rows: Rows, task: Task) -> Any:
    """Fit the estimator, without recorded steps."""
    with one_by_one():
        return ours(device, rows, task)


def wait(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device != "cpu":
        torch.accelerator.synchronize()


def loop(device: str, rows: Rows, task: Task) -> Any:
    """Train in plain eager torch."""
    module = make_module(task.widths).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001, fused=True)
    tensor = torch.from_numpy(rows).to(device)
    for _ in range(task.n_epochs):
        shuffled = tensor[torch.randperm(len(tensor), device=device)]
        for batch in shuffled.tensor_split(len(rows) // task.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(batch), batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    wait(device)
    return module


def products(device: str, rows: Rows, task: Task) -> None:
    """Multiply what the steps of a fit multiply."""
    batch = torch.rand(task.batch_size, task.widths[0], device=device)
    layers = []
    for inputs, outputs in pairwise(task.widths):
        weight = torch.rand(outputs, inputs, device=device)
        x = batch.new_ones(task.batch_size, inputs)
        layers.append((x, weight, batch.new_ones(task.batch_size, outputs)))
    for _ in range(task.n_epochs * (len(rows) // task.batch_size)):
        for x, weight, gradient in layers:
            x @ weight.t()
            gradient.t() @ x
            gradient @ weight
    wait(device)


def measure(task: Task, device: str, repeats: int) -> dict[str, float]:
    """Return the median seconds of each contender."""
    rows = task.make_rows()
    contenders: dict[str, Callable[[], Any]] = {
        "skautoenc": partial(ours, device, rows, task),
        "one by one": partial(ours_one_by_one, device, rows, task),
        "loop": partial(loop, device, rows, task),
        "products": partial(products, device, rows, task),
        "skautoenc, cpu": partial(ours, "cpu", rows, task),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats + 1):
        for name, contender in contenders.items():
            wait(device)
            began = time.perf_counter()
            contender()
            wait(device)
            times[name].append(time.perf_counter() - began)
    # The first round compiles kernels and fills caches.
    return {name: float(np.median(found[1:])) for name, found in times.items()}


def measure_images(device: str) -> float:
    """Return the seconds of an epoch of a convolutional fit of 10,000 images."""
    images = np.random.default_rng(0).random((10_000, 784), dtype=np.float32)
    estimator = ConvAutoencoderTransformer(32, max_iter=1, device=device)
    estimator.fit(images[:1000])
    began = time.perf_counter()
    estimator.fit(images)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--precision",
        choices=("highest", "high", "medium"),
        default="highest",
        help="of matrix products, see torch.set_float32_matmul_precision",
    )
    arguments = parser.parse_args()
    found = torch.accelerator.current_accelerator()
    if found is None or not torch.accelerator.is_available():
        raise SystemExit("There is no accelerator that torch knows on this machine.")
    device = str(found)
    torch.set_float32_matmul_precision(arguments.precision)
    print(describe_machine(["torch", "numpy"]))
    for task in TASKS:
        times = measure(task, device, arguments.repeats)
        mine = times["skautoenc"]
        n_steps = task.n_epochs * (task.shape[0] // task.batch_size)
        ratios = ", ".join(
            f"{name} {times[name] / mine:.2f}" for name in times if name != "skautoenc"
        )
        print(f"{task}: {1e6 * mine / n_steps:.0f} us a step; as multiples: {ratios}")
    print(f"10,000 images of 28 x 28, convolutional: {measure_images(device):.2f} s")


if __name__ == "__main__":
    main()
