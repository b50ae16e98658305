"""
Do autoencoder features beat raw pixels and PCA?
================================================

A linear classifier can only separate classes that are linearly separable in its
features. This example trains the same classifier on raw pixels, on principal
components, and on the features of two autoencoders. The autoencoders learn from the
images without labels.
"""

# %%
# There are 1,000 digits to learn from, and 797 others to test with.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, train_size=1000, stratify=y, random_state=0
)

# %%
# `AutoencoderTransformer` is used like `PCA`. By default, it learns a sparse code that
# is eight times as wide as the image. `PatchAutoencoderTransformer` learns such a code
# of small patches, and pools it over the image.
candidates = {
    "raw pixels": LogisticRegression(C=1, max_iter=2000),
    "PCA, 32 components": make_pipeline(
        PCA(32, random_state=0), LogisticRegression(C=1, max_iter=2000)
    ),
    "autoencoder": make_pipeline(
        AutoencoderTransformer(random_state=0), LogisticRegression(C=1, max_iter=2000)
    ),
    "autoencoder of patches": make_pipeline(
        PatchAutoencoderTransformer(random_state=0), LogisticRegression(C=0.01)
    ),
}
accuracy = {
    name: candidate.fit(X_train, y_train).score(X_test, y_test)
    for name, candidate in candidates.items()
}
for name, value in accuracy.items():
    print(f"{name:25} {value:.3f}")

# %%
# Are these differences real? With 797 test images, the standard error of an accuracy of
# 0.97 is 0.006. A difference of a few images therefore means nothing. The program
# ``examples/compare_features.py`` makes a longer comparison: it chooses all parameters
# by cross-validation, and tests the differences.
error = [np.sqrt(value * (1 - value) / len(y_test)) for value in accuracy.values()]
figure, ax = plt.subplots(figsize=(7, 2.5), layout="constrained")
ax.errorbar(list(accuracy.values()), list(accuracy), xerr=error, fmt="o", capsize=3)
ax.invert_yaxis()
ax.set_xlabel("accuracy on test images, and its standard error")
ax.grid(axis="x", alpha=0.3)
plt.show()
