"""One model on two processes: what a step costs, and how far results are from one's.

Run it on two free cores::

    torchrun --nproc-per-node=2 -m benchmarks.across

Each process has every second row of random data, or of scikit-learn's digits. The first
process fits alone before, while the second one waits, so that ratios are of one run.
CPU time is that of the whole process, with the threads that exchange gradients; the
difference of a long and a short fit leaves out what precedes training.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits

from skautoenc import AutoencoderTransformer, train_across
from skautoenc._parallel.world import ProcessWorld

from .machine import describe_machine, pinned

N_ROWS, BATCH = 25_600, 256
NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "784-512-32": (784, {"n_components": 32, "hidden_layer_sizes": (512,)}),
    "784-1024 wide": (784, {"n_components": 1024, "hidden_layer_sizes": ()}),
    "64-512 wide": (64, {"n_components": 512}),
}
# Choices of which all combinations are fitted: 24.
CHOICES: dict[str, tuple[Any, ...]] = {
    "n_components": (8, 96),
    "alpha": (0.0, 0.01),
    "corruption_rate": (0.0, 0.3),
    "kind": (
        {},
        {"early_stopping": True, "normalization": "layer"},
        {"whiten": "zca", "whiten_code": True, "max_grad_norm": 1.0},
    ),
}

Rows = NDArray[np.float32]


def make(n_components: int, **others: Any) -> AutoencoderTransformer:
    """Return an autoencoder for the squared error, with a seed."""
    return AutoencoderTransformer(
        n_components, loss="squared_error", random_state=0, **others
    )


def both(estimator: AutoencoderTransformer, rows: Any) -> AutoencoderTransformer:
    """Fit on two processes, each of which has every second row."""
    fitted: AutoencoderTransformer = clone(estimator)
    with train_across() as processes:
        fitted.fit(rows[processes.rank :: processes.size])
    return fitted


def alone(estimator: AutoencoderTransformer, rows: Any) -> AutoencoderTransformer:
    """Fit in the first process, while the second one waits."""
    fitted: AutoencoderTransformer = clone(estimator)
    if dist.get_rank() == 0:
        fitted.fit(rows)
    dist.barrier()
    return fitted


def per_epoch(
    fit: Callable[..., Any],
    estimator: AutoencoderTransformer,
    rows: Rows,
    clock: Callable[[], float],
    n_epochs: int,
) -> float:
    """Return the seconds of an epoch, by the difference of two fits."""
    found = []
    for max_iter in (1, 1 + n_epochs):
        dist.barrier()
        began = clock()
        fit(clone(estimator).set_params(max_iter=max_iter, tol=0.0), rows)
        found.append(clock() - began)
    return (found[1] - found[0]) / n_epochs


def print_steps(n_rows: int, n_epochs: int) -> None:
    """Print the CPU time of a step, and rows per second of large batches."""
    rng = np.random.default_rng(0)
    for name, (width, settings) in NETWORKS.items():
        rows = rng.random((n_rows, width), dtype=np.float32)
        estimator = make(batch_size=BATCH, **settings)
        n_steps = n_rows // BATCH
        one, two = (
            1e3 * per_epoch(fit, estimator, rows, time.process_time, n_epochs) / n_steps
            for fit in (alone, both)
        )
        say(
            f"{name}, batch {BATCH}: {one:.1f} CPU ms a step in one process, {two:.1f} "
            f"in each of two ({two / one:.2f})"
        )
    width, settings = NETWORKS["784-512-32"]
    rows = rng.random((n_rows, width), dtype=np.float32)
    estimator = make(batch_size=2048, **settings)
    one, two = (
        n_rows / per_epoch(fit, estimator, rows, time.perf_counter, n_epochs)
        for fit in (alone, both)
    )
    say(f"784-512-32, batch 2048: {one:,.0f} and {two:,.0f} rows/s ({two / one:.2f})")


def print_results() -> None:
    """Print how far models are from those of one process."""
    X = load_digits().data
    train, test = X[:1400], X[1400:]
    for sparsity, shuffle in product((None, "lifetime", "batch_topk"), (False, True)):
        width = 8 if sparsity is None else 512
        estimator = make(width, sparsity=sparsity, shuffle=shuffle, batch_size=140)
        one, two = alone(estimator, train), both(estimator, train)
        if dist.get_rank() == 0:
            loss, score = (
                abs(a / b - 1)
                for a, b in ((two.loss_, one.loss_), (two.score(test), one.score(test)))
            )
            order = "other order" if shuffle else "same batches"
            say(f"{sparsity}, {order}: loss {loss:.1e}, held-out score {score:.1e}")


def digest(estimator: AutoencoderTransformer) -> str:
    """Return a digest of all weights and whitening matrices."""
    state = estimator.__getstate__()
    arrays = [*state["network_"]["weights"].values()]
    arrays += [state["whitening_"], state["code_whitening_"]]
    parts = [each.tobytes() for each in arrays if each is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def print_digests(n_epochs: int) -> None:
    """Print in how many configurations both processes end with the same bytes."""
    X = load_digits().data
    n_equal, n_all = 0, 0
    for n_components, alpha, rate, kind in product(*CHOICES.values()):
        estimator = make(
            n_components, alpha=alpha, corruption_rate=rate, max_iter=n_epochs, **kind
        )
        found = [""] * dist.get_world_size()
        dist.all_gather_object(found, digest(both(estimator, X)))
        n_equal += len(set(found)) == 1
        n_all += 1
    say(f"equal bytes in both processes: {n_equal} of {n_all} configurations")


def print_exchanges() -> None:
    """Print the number of exchanges of a step and of an epoch."""
    X = load_digits().data[:1280]
    counts = [0]
    exchange = ProcessWorld._exchange

    def count(world: ProcessWorld, function: Callable[[], Any]) -> Any:
        counts[-1] += 1
        return exchange(world, function)

    ProcessWorld._exchange = count  # type: ignore[method-assign, assignment]
    kinds: dict[str, dict[str, Any]] = {
        "dense": {"n_components": 8},
        "weight decay": {"n_components": 8, "alpha": 0.1},
        "lifetime": {"n_components": 96},
        "held-out rows": {"n_components": 8, "early_stopping": True},
    }
    for name, settings in kinds.items():
        counts.clear()
        for max_iter, batch_size in (5, 1280), (6, 1280), (5, 128), (6, 128):
            counts.append(0)
            estimator = make(max_iter=max_iter, batch_size=batch_size, **settings)
            both(estimator.set_params(tol=0.0, n_iter_no_change=50), X)
        once, tenth = counts[1] - counts[0], counts[3] - counts[2]
        n_batches = 9 if settings.get("early_stopping") else 10
        per_step = (tenth - once) / (n_batches - 1)
        say(f"{name}: {per_step:g} a step, {once - per_step:g} an epoch")
    ProcessWorld._exchange = exchange  # type: ignore[method-assign]


def say(line: str) -> None:
    """Print a line in the first process."""
    if dist.get_rank() == 0:
        print(line, flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--epochs", type=int, default=3, help="epochs that are timed")
    parts: dict[str, Callable[[], None]] = {
        "exchanges": print_exchanges,
        "results": print_results,
        "digests": lambda: print_digests(3),
        "steps": lambda: print_steps(int(N_ROWS * options.scale), options.epochs),
    }
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    options = parser.parse_args()
    dist.init_process_group("gloo")
    with pinned(1):
        for part in options.parts:
            parts[part]()
        say(describe_machine(("scikit-learn", "torch", "numpy")))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
