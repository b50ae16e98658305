"""Train one autoencoder on several processes, each of which has some of the rows.

On one machine, with two processes::

    torchrun --nproc-per-node=2 examples/train_across.py

Each process takes every second row of the digits of scikit-learn. In a real program, it
would read its own file. All processes end with the same model, which the first one
compares with PCA and saves.
"""

import argparse
import hashlib
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skautoenc import AutoencoderTransformer, train_across


def digest(autoencoder: AutoencoderTransformer) -> str:
    """Return a digest of the weights."""
    weights = autoencoder.network_.state()["weights"].values()
    return hashlib.sha256(b"".join(each.tobytes() for each in weights)).hexdigest()[:16]


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="file for the fitted autoencoder")
    parser.add_argument("--interface", help="network interface between the machines")
    parser.add_argument("--max-iter", type=int, default=50)
    options = parser.parse_args()
    X, _ = load_digits(return_X_y=True)
    X_train, X_test = train_test_split(X, random_state=0)
    autoencoder = AutoencoderTransformer(8, max_iter=options.max_iter, random_state=0)
    with train_across(interface=options.interface) as processes:
        rows = X_train[processes.rank :: processes.size]
        autoencoder.fit(rows)
    print(f"process {processes.rank}, {len(rows)} rows: weights {digest(autoencoder)}")
    if processes.rank == 0:
        pca = PCA(8).fit(X_train)
        restored = pca.inverse_transform(pca.transform(X_test))
        print(f"squared error of PCA: {((restored - X_test) ** 2).mean():.2f}")
        print(f"squared error of the autoencoder: {-autoencoder.score(X_test):.2f}")
        if options.output is not None:
            autoencoder.save(options.output)


if __name__ == "__main__":
    main()
