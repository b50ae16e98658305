"""Autoencoders for scikit-learn, for arrays, images and tables, built on PyTorch."""

from ._about import __version__ as __version__
from ._data.blocks import Blocks
from ._estimators.conv_variational import ConvVariationalAutoencoder
from ._estimators.convolutional import ConvAutoencoderTransformer
from ._estimators.dense import AutoencoderTransformer
from ._estimators.imputer import AutoencoderImputer
from ._estimators.outliers import AutoencoderOutlierDetector
from ._estimators.patches import PatchAutoencoderTransformer
from ._estimators.semi_supervised import SemiSupervisedAutoencoder
from ._estimators.tabular import TabularAutoencoderTransformer
from ._estimators.variational import VariationalAutoencoder
from ._parallel.across import train_across
from ._parallel.together import train_together
from ._persistence.leftovers import clear_checkpoints
from ._persistence.saving import load, trusted_types

# What `skops.io.load` needs to be told to trust, for estimators of the package.
TRUSTED_TYPES = trusted_types()

__all__ = [
    "TRUSTED_TYPES",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "AutoencoderTransformer",
    "Blocks",
    "ConvAutoencoderTransformer",
    "ConvVariationalAutoencoder",
    "PatchAutoencoderTransformer",
    "SemiSupervisedAutoencoder",
    "TabularAutoencoderTransformer",
    "VariationalAutoencoder",
    "clear_checkpoints",
    "load",
    "train_across",
    "train_together",
]
