"""Draw what each kind of code learns: the filters of one-layer autoencoders.

A filter is what one unit of the code adds to a reconstruction. There is a panel for
each kind of code. It shows the filters of the 36 units that contribute most to the
reconstructions. The images are 10,000 of MNIST, or the digits of scikit-learn without
a folder of IDX files::

    python examples/plot_filters.py --data-dir ~/data/mnist --output filters.png
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

# Works without a screen: the figure is only written to a file.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skautoenc import AutoencoderTransformer
from skautoenc.datasets import load_idx_dataset
from skautoenc.inspection import FilterDisplay

N_IMAGES = 10_000
N_FILTERS = 36

KINDS: dict[str, dict[str, Any]] = {
    "lifetime (the default)": {},
    "topk": {"sparsity": "topk"},
    "batch_topk": {"sparsity": "batch_topk"},
    "l1": {"sparsity": "l1"},
    "kl": {"sparsity": "kl", "sparsity_penalty": 1.0},
    "lifetime, rate 0.02": {"sparsity_rate": 0.02},
    "lifetime, masking noise 0.5": {"corruption_rate": 0.5},
    "lifetime, contractive": {"contractive_penalty": 0.03},
    "lifetime, normalised rows": {"normalize_rows": 0.5},
    "lifetime, whitened input": {"whiten": "zca"},
    "dense, ordered": {"sparsity": None, "ordered": True, "n_components": N_FILTERS},
}


def load(data_dir: Path | None) -> NDArray[np.float32]:
    """Return images in [0, 1] as rows."""
    if data_dir is None:
        rows = load_digits().data / 16
    else:
        rows = load_idx_dataset(data_dir).data_train[:N_IMAGES] / 255
    return np.asarray(rows, dtype=np.float32)


def draw(X: NDArray[np.float32]) -> Figure:
    """Draw the components of PCA, then the filters of an autoencoder of each kind."""
    figure, axes = plt.subplots(3, 4, figsize=(14, 11.5), layout="constrained")
    panels = iter(axes.ravel())
    components = PCA(N_FILTERS, random_state=0).fit(X).components_
    display = FilterDisplay(components).plot(next(panels))
    display.ax_.set_title("PCA")
    for name, parameters in KINDS.items():
        autoencoder = AutoencoderTransformer(
            **{
                "n_components": 4 * X.shape[1] if X.shape[1] < 100 else 400,
                "hidden_layer_sizes": (),
                "sparsity": "lifetime",
                "tied_weights": True,
                "random_state": 0,
                **parameters,
            }
        ).fit(X)
        display = FilterDisplay.from_estimator(
            autoencoder, X, n_filters=N_FILTERS, ax=next(panels)
        )
        display.ax_.set_title(f"{name}: R² = {1 - autoencoder.loss_:.2f}")
        print(f"{name}: {autoencoder.n_iter_} epochs", flush=True)
    return figure


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("filters.png"))
    arguments = parser.parse_args()
    draw(load(arguments.data_dir)).savefig(arguments.output, dpi=70)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
