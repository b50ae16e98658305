"""Cross-entropies of many categorical variables, with their derivatives. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

# Variables share a block if their numbers of logits differ by at most this factor.
_ALIKE = 4
# Logarithms of shares, at least. Far smaller shares do not change a gradient, but are
# denormal numbers, with which computations take several times as long.
_LEAST = -50.0


class Softmaxes:
    """Softmaxes of categorical variables, whose logits are side by side.

    Calls into torch take longer than the softmax of one variable. Variables with
    similar numbers of logits are therefore computed as one block, padded to the largest
    number of them.

    Parameters
    ----------
    counts : sequence of int
        Number of logits of each variable.
    device : torch.device
        Where the logits are.

    Attributes
    ----------
    order : Tensor of shape (n_variables,), int64
        The variables with logits, in the order in which they are computed.
    """

    def __init__(self, counts: Sequence[int], device: torch.device) -> None:
        blocks = _blocks(counts)
        starts = [0, *accumulate(counts)]
        self._sizes = [len(block) for block in blocks]
        self._widths = [counts[block[0]] for block in blocks]
        self._paddings = [
            _padding([counts[variable] for variable in block], device)
            for block in blocks
        ]
        # Indices of the logits in the blocks, and where each logit is among them.
        places: list[int] = []
        sources = [0] * starts[-1]
        for block, width in zip(blocks, self._widths, strict=True):
            for variable in block:
                start, count, first = starts[variable], counts[variable], len(places)
                sources[start : start + count] = range(first, first + count)
                places += [start + min(logit, count - 1) for logit in range(width)]
        whole = partial(torch.tensor, dtype=torch.int64, device=device)
        self.order = whole([variable for block in blocks for variable in block])
        self._places, self._sources = whole(places), whole(sources)

    def cost_and_slopes(
        self, logits: Tensor, codes: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of all cross-entropies, and its derivatives.

        Parameters
        ----------
        logits : Tensor of shape (n, sum(counts))
            The logits.
        codes : Tensor of shape (n, n_variables), int64
            The categories, by variable in `order`.
        weights : Tensor of shape (n, n_variables)
            Weights of the cross-entropies, in this order, too.

        Returns
        -------
        cost : Tensor
            A scalar.
        slopes : Tensor of shape (n, sum(counts))
            Its derivatives by the logits.
        """
        sizes, widths = self._sizes, self._widths
        n_padded = [size * width for size, width in zip(sizes, widths, strict=True)]
        of_blocks = zip(
            widths,
            self._paddings,
            torch.split(logits.index_select(1, self._places), n_padded, 1),
            torch.split(codes, sizes, 1),
            torch.split(weights, sizes, 1),
            strict=True,
        )
        cost, slopes = logits.new_zeros(()), []
        for width, padding, block, chosen, factors in of_blocks:
            padded = block.view(len(block), -1, width)  # (n, size, width)
            if padding is not None:
                padded = padded + padding
            chosen, factors = chosen.unsqueeze(2), factors.unsqueeze(2)  # (n, size, 1)
            shares = padded.log_softmax(2)
            cost -= shares.gather(2, chosen).mul_(factors).sum()
            slope = shares.clamp_(min=_LEAST).exp_().mul_(factors)
            slopes.append(slope.scatter_add_(2, chosen, -factors).flatten(1))
        if not slopes:
            return cost, torch.zeros_like(logits)
        # (n, sum(counts))
        return cost, torch.cat(slopes, dim=1).index_select(1, self._sources)


def _blocks(counts: Sequence[int]) -> list[list[int]]:
    """Group the variables with logits by their numbers, the largest ones first."""
    variables = [number for number, count in enumerate(counts) if count]
    blocks: list[list[int]] = []
    for variable in sorted(variables, key=lambda number: -counts[number]):
        if not blocks or counts[blocks[-1][0]] > _ALIKE * counts[variable]:
            blocks.append([])
        blocks[-1].append(variable)
    return blocks


def _padding(counts: Sequence[int], device: torch.device) -> Tensor | None:
    """Return minus infinity where variables of a block have no logit, and else zero."""
    if len({*counts}) == 1:
        return None
    real: dict[str, Any] = {"dtype": torch.float32, "device": device}
    padding = torch.zeros(len(counts), counts[0], **real)
    for variable, count in enumerate(counts):
        padding[variable, count:] = -torch.inf
    return padding
