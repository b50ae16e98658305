"""Time of `PatchAutoencoderTransformer.transform` against its matrix products alone.

`transform` also cuts patches out of images, normalises, rectifies and pools. Its matrix
products are those of patches and dictionary, and of features and whitening. They are
measured on existing operands of the same shapes::

    python -m benchmarks.patches --threads 1

The images are noise of the shape of MNIST: no step depends on the values. `transform`
and the products take turns, and the times are medians of `--repeats` runs. Compare the
ratio, because the seconds depend on the machine.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skautoenc import PatchAutoencoderTransformer

from .machine import describe_machine, pinned

BLOCK, CHUNK = 16, 256


def products_of(
    features: PatchAutoencoderTransformer, n_images: int
) -> Callable[[], None]:
    """Return a function with the same matrix products as `transform` of `n_images`."""
    height, width, n_channels = features.image_shape_
    (down, across), size = features.padding_, features.patch_size_
    n_places = (height + 2 * down - size[0] + 1) * (width + 2 * across - size[1] + 1)
    n_values, n_units = (
        size[0] * size[1] * n_channels,
        features.autoencoder_.n_components_,
    )
    patches = torch.rand(BLOCK * n_places, n_values)
    weight = torch.rand(n_values, n_units)
    codes = torch.empty(BLOCK * n_places, n_units)
    assert features.code_map_ is not None
    whitening = torch.rand(features.code_map_.shape)
    pooled = torch.rand(CHUNK, len(whitening))
    mapped = torch.empty(CHUNK, whitening.shape[1])

    def run() -> None:
        for start in range(0, n_images, CHUNK):
            for _ in range(start, min(start + CHUNK, n_images), BLOCK):
                torch.mm(patches, weight, out=codes)
            torch.mm(pooled, whitening, out=mapped)

    return run


def seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    images = np.random.default_rng(0).random((arguments.images, 784), dtype=np.float32)
    with pinned(arguments.threads):
        features = PatchAutoencoderTransformer(n_patches=20_000, random_state=0)
        features.fit(images[:1000])
        products = products_of(features, arguments.images)
        times = np.array(
            [
                (seconds(lambda: features.transform(images)), seconds(products))
                for _ in range(arguments.repeats)
            ]
        )
        whole, alone = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(f"transform of {arguments.images} images: {whole:.2f} s")
        print(f"matrix products alone: {alone:.2f} s")
        print(f"ratio: {ratio:.2f}")
        print(describe_machine(("torch", "numpy")))


if __name__ == "__main__":
    main()
