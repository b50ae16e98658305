"""Autoencoder features for scikit-learn, backed by PyTorch."""

from ._transformer import AutoencoderTransformer

__all__ = ["AutoencoderTransformer"]
__version__ = "0.1.0"
