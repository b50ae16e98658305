"""Networks: how a row becomes a code and a code a row. Torch only."""

from .autoencoder import Autoencoder
from .codes import PENALTIES, SPARSITIES
from .convolutional import ConvolutionalAutoencoder
from .custom import CustomAutoencoder
from .dense import DenseAutoencoder
from .gradients import write_out
from .layers import ACTIVATIONS, NORMALIZATIONS, bind_generator
from .tabular import TabularAutoencoder

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "PENALTIES",
    "SPARSITIES",
    "Autoencoder",
    "ConvolutionalAutoencoder",
    "CustomAutoencoder",
    "DenseAutoencoder",
    "TabularAutoencoder",
    "bind_generator",
    "write_out",
]
