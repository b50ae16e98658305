"""Random generators of one fit."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Streams:
    """Independent generators for the random draws of a fit.

    Parameters
    ----------
    weights : torch.Generator
        Initial weights; on the CPU, so that they do not depend on the device.
    order : torch.Generator
        Order of the rows; on the CPU.
    noise : torch.Generator
        Corruption and dropout; on the device of the batches.
    """

    weights: torch.Generator
    order: torch.Generator
    noise: torch.Generator


def draw_seed(random_state: np.random.RandomState) -> int:
    """Draw the seed of another generator."""
    return int(random_state.randint(np.iinfo(np.int32).max))


def spawn_streams(seed: int, device: torch.device) -> Streams:
    """Derive the generators of a fit from one integer."""
    weights, order, noise = (
        int(child.generate_state(1, np.uint64)[0]) >> 1
        for child in np.random.SeedSequence(seed).spawn(3)
    )
    return Streams(
        torch.Generator("cpu").manual_seed(weights),
        torch.Generator("cpu").manual_seed(order),
        torch.Generator(device).manual_seed(noise),
    )
