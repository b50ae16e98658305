"""
Compress images
===============

How much of an image do eight numbers preserve? PCA, a dense autoencoder and a
convolutional autoencoder learn from the same images. They then compress and reconstruct
images that they have not seen.
"""

# %%
# `PCA` and `AutoencoderTransformer` take each image as a row of 64 pixels.
# `ConvAutoencoderTransformer` also takes rows: it knows that 64 pixels are 8 x 8.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skautoenc import AutoencoderTransformer, ConvAutoencoderTransformer
from skautoenc.inspection import ReconstructionDisplay

images = load_digits().images / 16
rows = images.reshape(len(images), -1)
train, shown = slice(12, None), slice(0, 12)

# %%
# Each code has eight numbers for the 64 pixels of an image.
estimators = {
    "PCA": PCA(8, random_state=0),
    "dense": AutoencoderTransformer(8, random_state=0),
    "convolutional": ConvAutoencoderTransformer(8, random_state=0),
}
figure, axes = plt.subplots(3, 1, figsize=(9, 6.6), layout="constrained")
for ax, (name, estimator) in zip(axes, estimators.items(), strict=True):
    estimator.fit(rows[train])
    again = estimator.inverse_transform(estimator.transform(rows[shown]))
    error = np.mean((again - rows[shown]) ** 2)
    ReconstructionDisplay(rows[shown], again).plot(ax)
    ax.set_title(f"{name}: mean squared error {error:.4f}")
plt.show()

# %%
# The autoencoders start close to PCA, and learn what PCA cannot represent. On such
# small images, the dense and the convolutional network are about equal. On images of
# 28 x 28 pixels, the convolutional network is better: see :doc:`/benchmarks`.
