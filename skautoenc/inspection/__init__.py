"""Displays that show what an autoencoder has learned, and a report on sparse codes.

Every display follows the visualization interface of scikit-learn: the constructor
stores the data, `plot` draws them, and `from_estimator` takes them from a fitted
autoencoder and draws them at once. What is drawn can be restyled through the
attributes of the display. matplotlib is imported only when something is drawn.
"""

from ._density import DensityDisplay
from ._filters import FilterDisplay
from ._latent import LatentDisplay
from ._loss_curve import LossCurveDisplay
from ._outliers import OutlierDisplay
from ._pairs import PairsDisplay
from ._reconstruction import ReconstructionDisplay
from ._sparsity import SparsityReport, sparsity_report

__all__ = [
    "DensityDisplay",
    "FilterDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "OutlierDisplay",
    "PairsDisplay",
    "ReconstructionDisplay",
    "SparsityReport",
    "sparsity_report",
]
