"""The engine: torch and numpy only, it knows no estimator."""

from .batches import Batches, number_of_batches
from .budget import Budget
from .optimizers import (
    SCHEDULES,
    make_optimizer,
    optimizer_from_arrays,
    optimizer_to_arrays,
)
from .reading import read
from .resources import compute, resolve_device, step_work
from .rows import Rows, blocks, take
from .run import Run
from .seeds import Streams, spawn_streams
from .step import Step
from .stopping import Stopping
from .whitening import learn_whitening

__all__ = [
    "SCHEDULES",
    "Batches",
    "Budget",
    "Rows",
    "Run",
    "Step",
    "Stopping",
    "Streams",
    "blocks",
    "compute",
    "learn_whitening",
    "make_optimizer",
    "number_of_batches",
    "optimizer_from_arrays",
    "optimizer_to_arrays",
    "read",
    "resolve_device",
    "spawn_streams",
    "step_work",
    "take",
]
