"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._convolutional import ConvAutoencoderTransformer
from ._patches import PatchAutoencoderTransformer
from ._transformer import AutoencoderTransformer

__all__ = [
    "AutoencoderTransformer",
    "ConvAutoencoderTransformer",
    "PatchAutoencoderTransformer",
]
__version__ = "0.1.0"
