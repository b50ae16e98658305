"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._blocks import Blocks
from ._convolutional import ConvAutoencoderTransformer
from ._patches import PatchAutoencoderTransformer
from ._saving import TRUSTED_TYPES, load
from ._tabular import TabularAutoencoderTransformer
from ._together import train_together
from ._transformer import AutoencoderTransformer
from ._version import __version__ as __version__
from .training import clear_checkpoints

__all__ = [
    "TRUSTED_TYPES",
    "AutoencoderTransformer",
    "Blocks",
    "ConvAutoencoderTransformer",
    "PatchAutoencoderTransformer",
    "TabularAutoencoderTransformer",
    "clear_checkpoints",
    "load",
    "train_together",
]
