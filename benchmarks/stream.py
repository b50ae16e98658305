"""Memory that a fit needs for data far larger than memory.

A sparse file stands for 20 GB of float32: 5,000,000 rows of 1,000 columns. A few
thousand of the rows hold numbers, and the others take no space on the disk. The fit
trains for one epoch on `Blocks`, which map one block at a time::

    python -m benchmarks.stream

The benchmark prints the maximum of anonymous memory (RssAnon) and of mapped files
(RssFile), minus their values before the fit and minus the buffer. The process needs the
anonymous memory. Pages of mapped files are in the system's cache, which can be freed at
any time. The benchmark reads /proc, so it needs Linux.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skautoenc import AutoencoderTransformer, Blocks

from .machine import describe_machine

N_ROWS, N_COLUMNS = 5_000_000, 1_000
BLOCK_ROWS, BUFFER_ROWS = 10_000, 50_000
_MIB = 2**20


class Peak(threading.Thread):
    """Records the maximum memory of this process, by type, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = held()
        self.highest = dict(self.before)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Measure every few milliseconds."""
        while not self._stopped.wait(0.005):
            for kind, size in held().items():
                self.highest[kind] = max(self.highest[kind], size)

    def stop(self) -> dict[str, float]:
        """Return the MiB above the initial amount."""
        self._stopped.set()
        self.join()
        return {kind: self.highest[kind] - self.before[kind] for kind in self.before}


def held() -> dict[str, float]:
    """Return the MiB of anonymous memory and of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {k: float(values[k].split()[0]) / 1024 for k in ("RssAnon", "RssFile")}


def make_file(path: Path, n_rows: int) -> None:
    """Make a mostly empty sparse file, with a block of numbers at intervals."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(10, N_COLUMNS))
    with path.open("wb") as file:
        file.truncate(4 * n_rows * N_COLUMNS)
        for start in range(0, n_rows, max(1, n_rows // 20)):
            file.seek(4 * start * N_COLUMNS)
            rows = rng.normal(size=(min(200, n_rows - start), 10)) @ factors
            file.write(rows.astype(np.float32).tobytes())


def mapped(path: Path, n_rows: int) -> Iterator[NDArray[np.float32]]:
    """Map one block after the other."""
    for start in range(0, n_rows, BLOCK_ROWS):
        shape = min(BLOCK_ROWS, n_rows - start), N_COLUMNS
        yield np.memmap(path, np.float32, "r", 4 * start * N_COLUMNS, shape)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    n_rows = int(N_ROWS * parser.parse_args().scale)
    autoencoder = AutoencoderTransformer(
        8,
        hidden_layer_sizes=(),
        loss="squared_error",
        batch_size=4096,
        max_iter=1,
        random_state=0,
    )
    autoencoder.fit(np.random.default_rng(0).normal(size=(64, 8)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        make_file(path, n_rows)
        on_disk = path.stat().st_blocks * 512 / _MIB
        blocks = Blocks(lambda: mapped(path, n_rows), buffer_size=BUFFER_ROWS)
        peak = Peak()
        peak.start()
        began = time.perf_counter()
        autoencoder.fit(blocks)
        took = time.perf_counter() - began
        found = peak.stop()
    size, buffer = (4 * n * N_COLUMNS / _MIB for n in (n_rows, BUFFER_ROWS))
    print(f"{n_rows:,} x {N_COLUMNS:,}: {size:,.0f} MiB, {on_disk:.0f} on the disk")
    print(f"one epoch of batches of 4096: {took:.0f} s")
    print(f"buffer: {buffer:.0f} MiB")
    print(f"anonymous memory beyond it: {found['RssAnon'] - buffer:.0f} MiB")
    print(f"with mapped files: {found['RssAnon'] + found['RssFile'] - buffer:.0f} MiB")
    print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
