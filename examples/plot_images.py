"""Draw what autoencoders of images learn: filters of patches, and reconstructions.

The left panel shows the 36 filters that contribute most to the features of
`PatchAutoencoderTransformer`. The right panels show new images and their
reconstructions: from a code of 16 numbers by PCA, by a dense and by a convolutional
autoencoder, and from the features of patches. All are fitted to 10,000 images of a
folder of IDX files, or to the digits of scikit-learn without one::

    python examples/plot_images.py --data-dir ~/data/fashion-mnist --output images.png
"""

import argparse
from pathlib import Path

import matplotlib

# Works without a screen: the figure is only written to a file.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
)
from skautoenc.datasets import load_idx_dataset
from skautoenc.inspection import FilterDisplay, ReconstructionDisplay

N_TRAIN = 10_000
N_SHOWN = 8
N_COMPONENTS = 16
N_FILTERS = 36

Rows = NDArray[np.float32]


def load(data_dir: Path | None) -> tuple[Rows, Rows]:
    """Return training images and images to show, in [0, 1], as rows."""
    if data_dir is None:
        rows = np.asarray(load_digits().data / 16, dtype=np.float32)
        return rows[N_SHOWN:], rows[:N_SHOWN]
    images = load_idx_dataset(data_dir)
    train, test = images.data_train[:N_TRAIN], images.data_test[:N_SHOWN]
    return train.astype(np.float32) / 255, test.astype(np.float32) / 255


def draw(X: Rows, shown: Rows) -> Figure:
    """Fit each kind of autoencoder to `X`, and draw what it learns."""
    figure = plt.figure(figsize=(13, 8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(4, 5), squeeze=False)[0]
    patches = PatchAutoencoderTransformer(random_state=0).fit(X)
    filters = FilterDisplay.from_estimator(
        patches, X, n_filters=N_FILTERS, ax=left.subplots()
    )
    filters.ax_.set_title("Filters of patches")
    narrow = {
        "PCA": PCA(N_COMPONENTS, random_state=0),
        "AutoencoderTransformer": AutoencoderTransformer(N_COMPONENTS, random_state=0),
        "ConvAutoencoderTransformer": ConvAutoencoderTransformer(
            N_COMPONENTS, random_state=0
        ),
    }
    kinds = {name: estimator.fit(X) for name, estimator in narrow.items()}
    kinds["PatchAutoencoderTransformer"] = patches
    for ax, (name, estimator) in zip(right.subplots(4, 1), kinds.items(), strict=True):
        code = estimator.transform(shown)
        images = estimator.inverse_transform(code)
        error = np.mean((images - shown) ** 2)
        display = ReconstructionDisplay(shown, images).plot(ax)
        display.ax_.set_title(f"{name}: {code.shape[1]} numbers, error {error:.4f}")
        print(f"{name}: {error:.4f}", flush=True)
    return figure


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("images.png"))
    arguments = parser.parse_args()
    draw(*load(arguments.data_dir)).savefig(arguments.output, dpi=80)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
