"""
Train on data larger than memory
================================

`fit` usually takes an array. If the data do not fit into memory, pass `Blocks` instead:
a function that yields one block of rows after another. This example reads blocks from a
file. In the same way, you can read them from Parquet files or from a database.
"""

# %%
# First, the example writes a file of 60,000 rows: noisy copies of scikit-learn's
# digits. This file would fit into memory. A larger file changes nothing in the code
# below.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import IncrementalPCA

from skautoenc import AutoencoderTransformer, Blocks

rng = np.random.default_rng(0)
digits = load_digits().data.astype(np.float32)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "rows.npy"
n_rows, n_columns = 60_000, digits.shape[1]
file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
for start in range(0, n_rows, 5_000):
    rows = digits[rng.integers(len(digits), size=5_000)]
    file[start : start + 5_000] = rows + rng.normal(0, 2, rows.shape)
file.flush()


# %%
# The function starts a new pass over the data each time it is called. Only one block
# and the buffer are in memory at a time. Rows are shuffled within the buffer, which has
# 10,000 rows here.
def read_blocks():
    rows = np.load(path, mmap_mode="r")
    for start in range(0, len(rows), 5_000):
        yield np.array(rows[start : start + 5_000])


blocks = Blocks(read_blocks, buffer_size=10_000)
autoencoder = AutoencoderTransformer(16, max_iter=5, random_state=0).fit(blocks)
print(f"{autoencoder.n_iter_} epochs, loss {autoencoder.loss_:.3f}")

# %%
# `transform` takes one block at a time. The codes are small, so they can be joined.
codes = np.concatenate([autoencoder.transform(block) for block in blocks])
print(codes.shape)

# %%
# How good is the code? `IncrementalPCA` also reads one block at a time. Both
# reconstruct the digits with new noise, and the error is the difference to the clean
# digits: how well does each remove the noise?
pca = IncrementalPCA(16)
for block in blocks:
    pca.partial_fit(block)
noisy = digits + rng.normal(0, 2, digits.shape).astype(np.float32)
results = {"noisy": noisy}
for name, estimator in {"IncrementalPCA": pca, "autoencoder": autoencoder}.items():
    results[name] = estimator.inverse_transform(estimator.transform(noisy))

figure, axes = plt.subplots(3, 8, figsize=(8, 3.6), layout="constrained")
for row, (name, images) in zip(axes, results.items(), strict=True):
    error = np.mean((images - digits) ** 2)
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
    row[0].set_title(f"{name}: squared error {error:.2f}", fontsize=9, loc="left")
plt.show()

# %%
# The page :doc:`/saving` describes the buffer, the number of passes over the data, and
# the memory of a fit: 195 MiB and the buffer for 20 GB of data.
folder.cleanup()
