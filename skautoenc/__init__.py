"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._data.blocks import Blocks
from ._estimators.convolutional import ConvAutoencoderTransformer
from ._estimators.dense import AutoencoderTransformer
from ._estimators.patches import PatchAutoencoderTransformer
from ._estimators.tabular import TabularAutoencoderTransformer
from ._parallel.together import train_together
from ._persistence.saving import TRUSTED_TYPES, load
from ._version import __version__ as __version__

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
