"""The default learning rate against the best of four fixed ones.

``learning_rate_init="auto"`` should suit any network. The benchmark combines all
activations, networks with and without a linear skip, one and two hidden layers of 32 to
2048 units, batches of 32 to 512 rows, and fits with and without normalisation. The data
are images, a table, and a table with more columns than rows::

    python -m benchmarks.rates --pairs --rows 300

`AutoencoderTransformer(10, random_state=0)` is fitted with each combination, once with
"auto" and once with each of `RATES`. The ratio compares the last training loss with
"auto" to the lowest of the others. No rows are held out, because only training losses
are compared. Losses below a thousandth of the variance count as a thousandth.

All combinations take days: a fit with layers of 2048 units takes a minute. `--pairs`
fits a covering array of about 33 combinations, in which each pair of values of two
factors occurs at least once. Another `--seed` gives another array. `--sample` draws
combinations at random. `--rows` uses fewer rows of the data.

The table has a line for each value of each factor, over all combinations with this
value. `--output` receives a line for each fit as CSV. Fits that it holds are not
repeated.
"""

import argparse
import itertools
import random
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer

from .machine import describe_machine, pinned

RATES = (0.01, 0.005, 0.002, 0.001)
LOWEST = 1e-3
BAR = 1.2


class Combination(NamedTuple):
    """One network, and what it is trained on."""

    data: str
    activation: str
    linear_skip: bool
    n_layers: int
    width: int
    normalization: str | None
    batch_size: int


FACTORS: dict[str, tuple[Any, ...]] = {
    "data": ("digits", "cancer", "wide"),
    "activation": (
        "logistic",
        "tanh",
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "selu",
    ),
    "linear_skip": (True, False),
    "n_layers": (1, 2),
    "width": (32, 128, 512, 2048),
    "normalization": (None, "batch", "layer"),
    "batch_size": (32, 128, 512),
}


def load(name: str, n_rows: int | None = None) -> NDArray[np.float64]:
    """Return the first rows of one of the data sets."""
    rows: NDArray[np.float64]
    if name == "digits":
        rows = load_digits().data / 16
    elif name == "cancer":
        rows = StandardScaler().fit_transform(load_breast_cancer().data)
    else:
        rows = make_wide(100, 400)
    return rows[:n_rows]


def make_wide(
    n_rows: int, n_columns: int, rank: int = 8, noise: float = 0.5
) -> NDArray[np.float64]:
    """Draw rows near a curved surface of few dimensions."""
    draw = np.random.RandomState(0).normal
    surface = np.tanh(draw(size=(n_rows, rank)) @ draw(size=(rank, n_columns)))
    rows: NDArray[np.float64] = surface + noise * draw(size=(n_rows, n_columns))
    return rows


def combinations(sample: int | None = None, **chosen: Any) -> list[Combination]:
    """List all combinations of all or of chosen values, or a random sample of them."""
    found = [
        Combination(*each) for each in itertools.product(*(FACTORS | chosen).values())
    ]
    return found if sample is None else random.Random(0).sample(found, sample)


def pairwise(seed: int = 0, **chosen: Any) -> list[Combination]:
    """Choose combinations in which each pair of values of two factors occurs.

    Greedy: the next combination is, of 50 random ones that hold an uncovered pair, the
    one that covers the most.

    References
    ----------
    .. [1] Cohen, Dalal, Fredman and Patton, "The AETG system: an approach to testing
       based on combinatorial design", IEEE Trans. Software Engineering 23, 1997.
    """
    factors = list((FACTORS | chosen).values())
    draw = random.Random(seed)

    def pairs(values: tuple[Any, ...]) -> set[Any]:
        return set(itertools.combinations(enumerate(values), 2))

    uncovered = {
        pair for values in itertools.product(*factors) for pair in pairs(values)
    }
    found = []
    while uncovered:
        wanted = draw.choice(sorted(uncovered, key=repr))
        drawn = [
            tuple(dict(wanted).get(i, draw.choice(f)) for i, f in enumerate(factors))
            for _ in range(50)
        ]
        best = max(drawn, key=lambda values: len(pairs(values) & uncovered))
        uncovered -= pairs(best)
        found.append(Combination(*best))
    return found


def fit(
    combination: Combination,
    learning_rate_init: float | str,
    n_rows: int | None = None,
    **parameters: Any,
) -> float:
    """Return the last training loss, or infinity if training failed."""
    estimator = AutoencoderTransformer(
        10,
        hidden_layer_sizes=(combination.width,) * combination.n_layers,
        activation=combination.activation,
        linear_skip=combination.linear_skip,
        normalization=combination.normalization,  # type: ignore[arg-type]
        batch_size=combination.batch_size,
        learning_rate_init=learning_rate_init,  # type: ignore[arg-type]
        random_state=0,
        **parameters,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(estimator.fit(load(combination.data, n_rows)).loss_)
    except ValueError:
        return float("inf")


def ratio(losses: dict[str, float]) -> float:
    """Divide the loss at "auto" by the lowest of the fixed rates."""
    best = min(loss for name, loss in losses.items() if name != "auto")
    return max(losses["auto"], LOWEST) / max(best, LOWEST)


def compare(combination: Combination, **parameters: Any) -> dict[str, float]:
    """Return the losses with "auto" and with each fixed rate."""
    return {
        str(rate): fit(combination, rate, **parameters) for rate in ("auto", *RATES)
    }


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the ratios for each value of each factor."""
    lines = []
    for factor in FACTORS:
        for value, part in frame.groupby(factor, dropna=False):
            ratios = part["ratio"]
            lines.append(
                {
                    "factor": factor,
                    "value": value,
                    "combinations": len(part),
                    "geometric mean": np.exp(np.log(ratios).mean()),
                    "highest": ratios.max(),
                    f"above {BAR}": int((ratios > BAR).sum()),
                }
            )
    return pd.DataFrame(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--sample", type=int, help="fit so many combinations")
    chosen.add_argument("--pairs", action="store_true", help="fit a covering array")
    parser.add_argument("--seed", type=int, default=0, help="of the covering array")
    parser.add_argument("--rows", type=int, help="use so many rows of each data set")
    parser.add_argument("--widths", type=int, nargs="+", default=FACTORS["width"])
    parser.add_argument("--output", type=Path, default=Path("rates.csv"))
    arguments = parser.parse_args()

    table: list[dict[Any, Any]] = []
    if arguments.output.exists():
        read = pd.read_csv(arguments.output, keep_default_na=False)
        table += read.to_dict("records")
    names = list(FACTORS)
    done = {tuple(str(line[name]) for name in names) for line in table}
    widths = tuple(arguments.widths)
    if arguments.pairs:
        each_combination = pairwise(arguments.seed, width=widths)
    else:
        each_combination = combinations(arguments.sample, width=widths)
    with pinned(1):
        for each in each_combination:
            if tuple(map(str, each)) in done:
                continue
            losses = compare(each, n_rows=arguments.rows)
            line = {name: str(value) for name, value in each._asdict().items()}
            table.append({**line, **losses, "ratio": ratio(losses)})
            print(*each, *(f"{loss:.4f}" for loss in losses.values()), flush=True)
            pd.DataFrame(table).to_csv(arguments.output, index=False)
        print(f"\n{summarise(pd.DataFrame(table)).round(2).to_string(index=False)}\n")
        print(describe_machine(("scikit-learn", "torch", "numpy")))


if __name__ == "__main__":
    main()
