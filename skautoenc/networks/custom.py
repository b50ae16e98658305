"""A network of the user's own."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .autoencoder import Autoencoder

# A user's layers draw their first weights from the global generator: only one network
# at a time may be built from it.
_building = threading.Lock()


class CustomAutoencoder(Autoencoder):
    """Give a user's module with `encode` and `decode` the interface of the package.

    Parameters
    ----------
    builder : callable
        Class or module-level function; takes `n_features` and `n_components` and
        returns a `torch.nn.Module` with `encode` and `decode`.
    n_features : int
        Width of a row.
    n_components : int
        Width of the code.
    """

    def __init__(
        self, *, builder: Callable[..., nn.Module], n_features: int, n_components: int
    ) -> None:
        super().__init__()
        self.config = {
            "builder": builder,
            "n_features": n_features,
            "n_components": n_components,
        }
        self.widths = [n_features, n_components]
        self.module = self._build(seed=0)
        if any(isinstance(m, _BatchNorm) for m in self.module.modules()):
            self.smallest_batch = 2
            self.weighs_rows = False

    def _build(self, seed: int) -> nn.Module:
        config: dict[str, Any] = dict(self.config)
        builder = config.pop("builder")
        generator = torch.default_generator
        with _building, torch.device("cpu"):
            before = generator.get_state()
            generator.manual_seed(seed)
            try:
                module: nn.Module = builder(**config)
            finally:
                generator.set_state(before)
        return module.float()

    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Build the module anew, with a seed drawn from `generator`."""
        seed = torch.randint(2**31, (), generator=generator, device="cpu")
        self.module = self._build(int(seed))
        code = self.encode(rows[:2])
        reconstruction = self.decode(code)
        expected = (2, self.widths[1]), (2, self.widths[0])
        if (code.shape, reconstruction.shape) != expected:
            raise ValueError(
                f"network must encode two rows to {expected[0]} and decode them to "
                f"{expected[1]} values, got {tuple(code.shape)} and "
                f"{tuple(reconstruction.shape)}."
            )

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""
        code: Tensor = self.module.encode(x)  # type: ignore[operator]
        return code

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features)."""
        reconstruction: Tensor = self.module.decode(code)  # type: ignore[operator]
        return reconstruction
