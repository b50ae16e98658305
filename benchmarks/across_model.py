"""How one model would scale over machines, by a model on paper.

Nothing is measured here. A step takes the time of its rows, the time of the update, and
that of a ring all-reduce of the gradients: 2 (n - 1) messages of 1 / n of the
gradients, one after the other::

    python -m benchmarks.across_model

The defaults are those of 784-512-32 on one core, from ``benchmarks.across``.
"""

import argparse

MACHINES = (2, 4, 16, 64, 256)
GIGABITS = (10, 25, 100)


def all_reduce(n: int, n_bytes: float, gigabits: float, latency: float) -> float:
    """Return the seconds of a ring all-reduce between `n` machines."""
    message = n_bytes / n / (gigabits * 1e9 / 8)
    return 2 * (n - 1) * (message + latency)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--row", type=float, default=35e-6, help="seconds per row")
    parser.add_argument("--update", type=float, default=1.4e-3, help="seconds")
    parser.add_argument("--parameters", type=int, default=862_512)
    parser.add_argument("--latency", type=float, default=25e-6, help="s per message")
    parser.add_argument("--batch", type=int, default=4096, help="rows of all machines")
    parser.add_argument("--rows", type=int, default=256, help="rows of each machine")
    options = parser.parse_args()
    n_bytes = 4 * options.parameters
    print("machines", *(f"{each} Gbit/s" for each in GIGABITS), sep="\t")
    for title, is_fixed in (
        (f"speed-up, {options.batch:,} rows a batch", True),
        (f"efficiency, {options.rows} rows a machine and batch", False),
    ):
        print(title)
        for n in MACHINES:
            rows = options.batch / n if is_fixed else options.rows
            work = options.row * rows + options.update
            alone = options.row * options.batch + options.update if is_fixed else work
            cells = (
                alone / (work + all_reduce(n, n_bytes, gigabits, options.latency))
                for gigabits in GIGABITS
            )
            shown = (f"{each:.1f}" if is_fixed else f"{each:.0%}" for each in cells)
            print(n, *shown, sep="\t")


if __name__ == "__main__":
    main()
