"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._patches import PatchAutoencoderTransformer
from ._transformer import AutoencoderTransformer

__all__ = ["AutoencoderTransformer", "PatchAutoencoderTransformer"]
__version__ = "0.1.0"
