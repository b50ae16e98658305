"""Cost of fitting a Dask array instead of an array, and of transforming it lazily.

Dask computes the rows in each pass, one partition after another. For comparison, the
same rows are in memory. Both fits see the same batches in the same order, so the times
differ only by the reading::

    python -m benchmarks.scale

CPU time is the time of the whole process, including Dask's threads. Memory is anonymous
memory (RssAnon) beyond that before the fit, minus the buffer. The benchmark needs
``skautoenc[dask]``.
"""

import argparse
import time
from typing import Any

import dask.array as da
import numpy as np
from dask.callbacks import Callback
from sklearn.base import clone

from skautoenc import AutoencoderTransformer, Blocks

from .machine import describe_machine
from .stream import Peak

N_ROWS, N_COLUMNS, N_EPOCHS = 50_000, 784, 5
PART_ROWS, BUFFER_ROWS = 2_500, 10_000
_MIB = 2**20


class CountTasks(Callback):
    """Counts the tasks that Dask runs in the context."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self.number += 1


def cpu_time(estimator: AutoencoderTransformer, X: Any) -> float:
    """Return the CPU seconds of a fit."""
    began = time.process_time()
    clone(estimator).fit(X)
    return time.process_time() - began


def memory(estimator: AutoencoderTransformer, X: Any) -> float:
    """Return the MiB of memory that a fit takes."""
    peak = Peak()
    peak.start()
    try:
        clone(estimator).fit(X)
    finally:
        found = peak.stop()
    return found["RssAnon"]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    n_rows = int(N_ROWS * parser.parse_args().scale)
    estimator = AutoencoderTransformer(
        32,
        hidden_layer_sizes=(256,),
        loss="squared_error",
        batch_size=256,
        max_iter=N_EPOCHS,
        random_state=0,
    )
    rng = np.random.default_rng(0)
    first = rng.random((1024, 8), dtype=np.float32)
    # Imports and first uses, of Dask too, are not measured.
    estimator.fit(first)
    estimator.fit(da.from_array(first, chunks=(512, 8)))
    X = rng.random((n_rows, N_COLUMNS), dtype=np.float32)
    lazy = da.from_array(X, chunks=(PART_ROWS, N_COLUMNS))
    in_memory, of_dask = cpu_time(estimator, X), cpu_time(estimator, lazy)
    print(f"{n_rows:,} x {N_COLUMNS}, {N_EPOCHS} epochs of batches of 256")
    print(f"array: {in_memory:.1f} CPU s, Dask array: {of_dask:.1f} CPU s")
    print(f"ratio: {of_dask / in_memory:.2f}")
    del X, lazy
    drawn = da.random.default_rng(0).random(
        (n_rows, N_COLUMNS), dtype=np.float32, chunks=(PART_ROWS, N_COLUMNS)
    )
    block, buffer = (4 * n * N_COLUMNS / _MIB for n in (PART_ROWS, BUFFER_ROWS))
    found = memory(
        clone(estimator).set_params(max_iter=1), Blocks(drawn, buffer_size=BUFFER_ROWS)
    )
    print(f"partition: {block:.0f} MiB, buffer: {buffer:.0f} MiB")
    print(f"memory beyond the buffer: {found - buffer:.0f} MiB")
    fitted = clone(estimator).set_params(max_iter=1).fit(drawn[:1000].compute())
    with CountTasks() as tasks:
        fitted.transform(drawn)
        fitted.score_samples(drawn)
        fitted.set_output(transform="pandas").transform(drawn)
    print(f"tasks run by lazy calls: {tasks.number}")
    print(describe_machine(("scikit-learn", "torch", "numpy", "dask")))


if __name__ == "__main__":
    main()
