"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._blocks import Blocks
from ._convolutional import ConvAutoencoderTransformer
from ._patches import PatchAutoencoderTransformer
from ._saving import TRUSTED_TYPES, load
from ._tabular import TabularAutoencoderTransformer
from ._together import train_together
from ._transformer import AutoencoderTransformer

__all__ = [
    "TRUSTED_TYPES",
    "AutoencoderTransformer",
    "Blocks",
    "ConvAutoencoderTransformer",
    "PatchAutoencoderTransformer",
    "TabularAutoencoderTransformer",
    "load",
    "train_together",
]
__version__ = "0.1.0"
