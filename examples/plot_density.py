"""Densities of handwritten digits, new digits, and unlikely ones.

The program fits a `VariationalAutoencoder` to 1,347 digits of 8 x 8 pixels. It compares
the log-likelihood of new digits with that of `PCA` and `GaussianMixture`, and tests a
classifier that learns from the codes of 100 labelled digits. It draws samples, the
decoded plane of a code of two numbers, and the new digits that the model finds least
likely::

    python -m pip install ".[examples]"
    python examples/plot_density.py --output density.png
"""

import argparse
from pathlib import Path

import matplotlib

# Works without a screen: the figure is only written to a file.
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skautoenc import VariationalAutoencoder

N_SIDE = 8
N_LABELS = 100


def tile(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Arrange images of 8 x 8 pixels in a square of `N_SIDE` rows."""
    images = np.asarray(rows).reshape(N_SIDE, N_SIDE, 8, 8)
    # A margin around each image.
    images = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    side = N_SIDE * images.shape[-1]
    tiled: NDArray[np.float32] = images.swapaxes(1, 2).reshape(side, side)
    return tiled


def draw(ax: Axes, rows: NDArray[np.float32], title: str) -> None:
    """Draw rows as images, arranged in a square."""
    ax.imshow(tile(rows), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=[])


def fitted(
    n_components: int, X: NDArray[np.float64], max_iter: int | None
) -> VariationalAutoencoder:
    """Fit a model, with the default number of epochs if `max_iter` is None."""
    model = VariationalAutoencoder(n_components, random_state=0)
    if max_iter is not None:
        model.set_params(max_iter=max_iter)
    model.fit(X)
    return model


def latent_plane(model: VariationalAutoencoder) -> NDArray[np.float32]:
    """Decode a grid of codes of two numbers, spaced by the quantiles of the prior."""
    quantiles = norm.ppf(np.linspace(0.05, 0.95, N_SIDE))
    grid = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2)
    rows: NDArray[np.float32] = model.inverse_transform(grid)
    return rows


def main() -> None:
    """Fit the models, print the comparison, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("density.png"))
    parser.add_argument("--max-iter", type=int)
    arguments = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = fitted(10, X_train, arguments.max_iter)
    mixture = GaussianMixture(10, covariance_type="diag", reg_covar=0.2, random_state=0)
    print("Mean log-likelihood of new digits, in nats:")
    print(f"  VariationalAutoencoder(10) {model.score(X_test):.1f}")
    print(f"  PCA(10)                    {PCA(10).fit(X_train).score(X_test):.1f}")
    print(f"  GaussianMixture(10)        {mixture.fit(X_train).score(X_test):.1f}")
    codes, labels = model.transform(X_train[:N_LABELS]), y_train[:N_LABELS]
    classifier = LogisticRegression(max_iter=1000).fit(codes, labels)
    accuracy = classifier.score(model.transform(X_test), y_test)
    print(f"Accuracy with {N_LABELS} labels: {accuracy:.1%}")
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
    new = model.sample(N_SIDE**2, random_state=0, add_noise=False)
    draw(axes[0], new, "Samples")
    plane = latent_plane(fitted(2, X_train, arguments.max_iter))
    draw(axes[1], plane, "Decoded plane of a code of two numbers")
    least = np.argsort(model.score_samples(X_test))[: N_SIDE**2]
    draw(axes[2], X_test[least], "Least likely of the new digits")
    figure.savefig(arguments.output, dpi=80)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
