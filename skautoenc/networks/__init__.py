"""Networks: how a row becomes a code and a code a row. Torch only."""

from .autoencoder import Autoencoder
from .codes import SPARSITIES
from .dense import DenseAutoencoder
from .layers import ACTIVATIONS, NORMALIZATIONS, bind_generator

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "SPARSITIES",
    "Autoencoder",
    "DenseAutoencoder",
    "bind_generator",
]
