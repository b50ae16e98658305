"""Costs of cells: columns that share calls into torch, and gradients of bins."""

import pytest
import torch

from skautoenc import TabularAutoencoderTransformer
from skautoenc._objectives.distributions import BinnedNumbers
from skautoenc._objectives.losses import SquaredError
from skautoenc._objectives.tabular import TabularObjective

# Levels of equal and of different numbers, in no order, one alone and none at all.
LEVELS = [3, 2, 1, 3, 0, 2, 5]


def make_objective():
    n = len(LEVELS)
    return TabularObjective(
        SquaredError(torch.zeros(0), 1.0),
        n_levels=LEVELS,
        deviances=torch.linspace(0.5, 2, n),
        cells=torch.arange(2 + n),
        rates=torch.full((2 + n,), 0.5),
        swaps=False,
        corruption_weight=1.0,
        rare_costs=torch.full((n,), torch.nan),
        unknown_costs=torch.full((n,), torch.nan),
    )


def make_batch(n_rows=40):
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(n_rows, 2 + sum(LEVELS), generator=generator)
    # One code more than there are levels: a rare category.
    codes = [
        torch.randint(n + 1, (n_rows, 1), generator=generator).float() for n in LEVELS
    ]
    target = torch.cat([torch.randn(n_rows, 2, generator=generator), *codes], dim=1)
    missing = torch.rand(target.shape, generator=generator) < 0.2
    return output, target.masked_fill(missing, torch.nan)


def test_each_category_costs_its_own_cross_entropy():
    objective, (output, target) = make_objective(), make_batch()
    costs, seen = objective.costs(output, target)
    logits = output[:, 2:].split(LEVELS, dim=1)
    for number, n_levels in enumerate(LEVELS):
        code, column = target[:, 2 + number], 2 + number
        known = ~code.isnan() & (code < n_levels) & (n_levels > 1)
        assert torch.equal(seen[:, column], known.float())
        if n_levels < 2:
            assert torch.equal(costs[:, column], torch.zeros(len(costs)))
            continue
        expected = torch.nn.functional.cross_entropy(
            logits[number][known], code[known].long(), reduction="none"
        )
        expected = expected / objective.deviances[number]
        torch.testing.assert_close(costs[known, column], expected)


@pytest.mark.parametrize("n_bins", [(4, 4), (3, 0, 5, 1)])
def test_bins_of_unequal_numbers_have_the_gradients_of_their_own_softmax(n_bins):
    edges = [torch.linspace(-1, 1, max(0, n - 1)).tolist() for n in n_bins]
    bins = BinnedNumbers(edges, [1.0] * len(n_bins), n_bins, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, sum(n_bins), generator=generator, dtype=torch.float64)
    numbers = torch.randn(30, len(n_bins), generator=generator)
    weights = torch.rand(30, len(n_bins), generator=generator, dtype=torch.float64)
    together, apart = (logits.clone().requires_grad_() for _ in range(2))
    (bins.surprise(together, numbers) * weights).sum().backward()
    codes, found = bins.codes(numbers), []
    for number, of_number in enumerate(apart.split(n_bins, dim=1)):
        if n_bins[number] > 1:
            shares = of_number.log_softmax(1).gather(1, codes[:, [number]])
            found.append(-(shares[:, 0] * weights[:, number]).sum())
    sum(found).backward()
    torch.testing.assert_close(together.grad, apart.grad)


@pytest.mark.parametrize(
    ("n_batches", "n_columns", "means", "distributions"),
    [
        (1, 5, 300, 300),
        (3, 5, 300, 150),
        (7, 5, 143, 65),
        (7, 20, 143, 115),
        (7, 80, 143, 143),
        (20, 5, 50, 30),
        (39, 5, 26, 26),
    ],
)
def test_distributions_of_small_tables_train_for_fewer_steps(
    n_batches, n_columns, means, distributions
):
    by_output = {"mean": means, "distribution": distributions}
    for number_output, expected in by_output.items():
        transformer = TabularAutoencoderTransformer(number_output=number_output)
        assert transformer._default_max_iter(n_batches, n_columns) == expected
        assert transformer._default_max_iter(10**4, n_columns) == 10
