"""The engine: torch and numpy only, it knows no estimator."""

from .batches import Batches, number_of_batches
from .budget import Budget
from .checkpoint import Checkpoint, open_checkpoint
from .compression import Compression, learn_compression
from .fitting import Fit, train, train_alone, trainer
from .joint import kind_of, most_together
from .optimizers import SCHEDULES, make_optimizer
from .ordering import explained_by_each
from .preparation import Preparation
from .reading import Block, read
from .resources import compute, is_out_of_memory, resolve_device, step_work
from .revival import dead_units
from .row_normalization import RowNormalization, learn_row_normalization
from .rows import RowMap, Rows, blocks, spread, take
from .run import N_SAMPLE, Run
from .seeds import Streams, spawn_streams
from .step import Step
from .stopping import Stopping
from .streamed import StreamedMatrix
from .whitening import Whitening, learn_code_whitening, learn_whitening, moments

__all__ = [
    "N_SAMPLE",
    "SCHEDULES",
    "Batches",
    "Block",
    "Budget",
    "Checkpoint",
    "Compression",
    "Fit",
    "Preparation",
    "RowMap",
    "RowNormalization",
    "Rows",
    "Run",
    "Step",
    "Stopping",
    "StreamedMatrix",
    "Streams",
    "Whitening",
    "blocks",
    "compute",
    "dead_units",
    "explained_by_each",
    "is_out_of_memory",
    "kind_of",
    "learn_code_whitening",
    "learn_compression",
    "learn_row_normalization",
    "learn_whitening",
    "make_optimizer",
    "moments",
    "most_together",
    "number_of_batches",
    "open_checkpoint",
    "read",
    "resolve_device",
    "spawn_streams",
    "spread",
    "step_work",
    "take",
    "train",
    "train_alone",
    "trainer",
]
