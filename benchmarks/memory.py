"""Memory that `fit` and `transform` need beyond the data.

Each case runs in its own process. The process creates the data, records its memory, and
then its maximum memory during `fit` and during `transform`. The result and mapped files
do not count; the network does::

    python -m benchmarks.memory

The benchmark reads /proc, so it needs Linux.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from skautoenc import AutoencoderTransformer

from .machine import describe_machine


def dense(n_rows: int) -> Any:
    return np.random.default_rng(0).random((n_rows, 784), dtype=np.float32)


def memory_mapped(n_rows: int) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
        path = Path(file.name)
    np.save(path, dense(n_rows))
    rows = np.load(path, mmap_mode="r")
    # The file must exist as long as it is mapped.
    path.unlink()
    return rows


def thin(n_rows: int) -> Any:
    return sparse.random(
        n_rows, 5_000, density=0.01, format="csr", dtype=np.float32, random_state=0
    )


# The data, its number of rows, and the parameters of the estimator.
CASES: dict[str, tuple[Callable[[int], Any], int, dict[str, Any]]] = {
    "60,000 x 784, float32": (dense, 60_000, {"n_components": 32}),
    "200,000 x 784, memory-mapped": (memory_mapped, 200_000, {"n_components": 32}),
    "100,000 x 5,000, 1 % filled, CSR": (thin, 100_000, {"n_components": 32}),
}


def anonymous(peak: bool = False) -> float:
    """Return the MiB of anonymous memory, now or at most, of the process."""
    text = Path("/proc/self/status").read_text()
    values = dict(line.split(":", 1) for line in text.splitlines())
    held = float(values["VmHWM" if peak else "VmRSS"].split()[0])
    return (held - float(values["RssFile"].split()[0])) / 1024


def measure(case: str, n_rows: int, results: Any) -> None:
    """Put the MiB above the data into the queue: of `fit`, and of `transform`."""
    make, _, parameters = CASES[case]
    rows = make(n_rows)
    AutoencoderTransformer(2, max_iter=1).fit(dense(32))
    held = anonymous()
    reset_peak()
    autoencoder = AutoencoderTransformer(max_iter=2, random_state=0, **parameters)
    autoencoder.fit(rows)
    fitted = anonymous(peak=True) - held
    held = anonymous()
    reset_peak()
    code = autoencoder.transform(rows)
    transformed = anonymous(peak=True) - held - code.nbytes / 2**20
    # `transform` may have used memory that the fit had freed.
    results.put((fitted, max(0.0, transformed)))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for case, (_, n_rows, _) in CASES.items():
        results = context.Queue()
        process = context.Process(
            target=measure, args=(case, int(arguments.scale * n_rows), results)
        )
        process.start()
        fitted, transformed = results.get()
        process.join()
        print(f"{case}: fit {fitted:.0f} MiB, transform {transformed:.0f} MiB")
    print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
