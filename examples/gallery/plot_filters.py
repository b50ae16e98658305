"""
What the units of a code stand for
==================================

A filter is what one unit of the code adds to a reconstruction. Filters show at a glance
what kind of code an autoencoder has learnt.
"""

# %%
# A code that is wider than the image could copy it, so the network needs a rule that
# prevents copying. The example compares three such rules, and two variations of the
# default rule. These networks have no hidden layers, so their weights are the filters.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skautoenc import AutoencoderTransformer
from skautoenc.inspection import FilterDisplay

X = load_digits().data / 16
kinds = {
    "few rows for each unit (lifetime)": {"sparsity": "lifetime"},
    "few units for each row (topk)": {"sparsity": "topk"},
    "penalty (l1)": {"sparsity": "l1"},
    "lifetime, rows of equal contrast": {"normalize_rows": 0.5},
    "lifetime, denoising": {"corruption_rate": 0.5},
}

# %%
# The components of PCA extend over the whole image, and cancel each other. The filters
# of sparse codes are more local: strokes and parts of strokes, most clearly with
# denoising. A digit is a sum of a few of them. The number above a filter is its unit.
figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
FilterDisplay(PCA(36).fit(X).components_).plot(axes[0, 0])
axes[0, 0].set_title("PCA", fontsize=10)
for ax, (name, parameters) in zip(axes.flat[1:], kinds.items(), strict=True):
    autoencoder = AutoencoderTransformer(256, random_state=0, **parameters).fit(X)
    FilterDisplay.from_estimator(autoencoder, X, n_filters=36, ax=ax)
    ax.set_title(name, fontsize=10)
plt.show()

# %%
# "Lifetime" is the default. See :doc:`/codes` for when another rule is better.
