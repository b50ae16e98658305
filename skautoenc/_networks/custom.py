"""Networks that users define."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from .autoencoder import Autoencoder
from .layers import Dropout

# Layers of users draw their initial weights from the global generator, so only one
# network is built at a time. The lock is reentrant: a builder may itself build other
# networks.
_building = threading.RLock()


def _after_fork() -> None:
    """Replace the lock: a thread of the parent process may have held it at the fork."""
    global _building
    _building = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class CustomAutoencoder(Autoencoder):
    """Give a user's module with `encode` and `decode` the interface of the package.

    Parameters
    ----------
    builder : callable
        Class or function, called as ``builder(n_features=..., n_components=...)``; it
        returns a `torch.nn.Module` with `encode` and `decode`. It is called twice for
        a fit, and once for each copy.
    n_features : int
        Width of a row.
    n_components : int
        Width of the code.

    Raises
    ------
    ValueError
        If the module cannot be trained as an autoencoder.
    """

    # The module may have tied weights by sharing memory, or hold a view of them.
    is_movable = False
    # The module may store what it computes.
    runs_in_threads = False

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
        with _building, torch.device("cpu"), _float32():
            before = generator.get_state()
            generator.manual_seed(seed)
            try:
                module = builder(**config)
            finally:
                generator.set_state(before)
        _check_module(module)
        _take_over_dropout(module)
        built: nn.Module = module.float()
        return built

    def initialise(
        self, generator: torch.Generator, rows: Tensor, sample_weight: Tensor | None
    ) -> None:
        """Build the module again, with a seed drawn from `generator`."""
        seed = torch.randint(2**31, (), generator=generator, device="cpu")
        self.module = self._build(int(seed))
        self.eval()
        with torch.no_grad():
            code = self.encode(rows[:2])
            _check_shape("encode", code, (len(rows[:2]), self.widths[1]))
            reconstruction = self.decode(code)
            _check_shape("decode", reconstruction, (len(rows[:2]), self.widths[0]))

    def rectifiers(self) -> list[nn.Module]:
        """Return none: it is not known which dimension of an output holds the units."""
        return []

    def encode(self, x: Tensor) -> Tensor:
        """Map standardised rows, (n, n_features), to codes, (n, n_components)."""
        with self._normalising(len(x)):
            code: Tensor = self.module.encode(x)  # type: ignore[operator]
        return code

    def decode(self, code: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map codes, (n, n_components), to standardised rows, (n, n_features)."""
        with self._normalising(len(code)):
            reconstruction: Tensor = self.module.decode(code)  # type: ignore[operator]
        return reconstruction

    @contextmanager
    def _normalising(self, n_rows: int) -> Iterator[None]:
        """Normalise a batch of one row by the running moments: it has none itself."""
        if not self.training or n_rows > 1:
            yield
            return
        layers = [
            m for m in self.module.modules() if isinstance(m, _BatchNorm) and m.training
        ]
        for layer in layers:
            layer.eval()
        try:
            yield
        finally:
            for layer in layers:
                layer.train()


@contextmanager
def _float32() -> Iterator[None]:
    """Make float32 torch's default type: other types would draw other weights."""
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _check_module(module: Any) -> None:
    """Raise a ValueError if a built module cannot be trained."""
    if not isinstance(module, nn.Module):
        fault = f"it returned {type(module).__name__}, not a torch.nn.Module"
    elif not (callable(getattr(module, "encode", None)) and hasattr(module, "decode")):
        fault = f"{type(module).__name__} has no encode and decode"
    elif any(is_lazy(p) for p in module.parameters()):
        fault = f"{type(module).__name__} has lazy layers: give them their widths"
    elif any(p.is_complex() for p in module.parameters()):
        fault = f"{type(module).__name__} has complex parameters"
    elif not any(p.requires_grad for p in module.parameters()):
        fault = f"{type(module).__name__} has no parameters to train"
    else:
        return
    raise ValueError(f"The network cannot be trained: {fault}.")


def _check_shape(method: str, result: Any, shape: tuple[int, int]) -> None:
    got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
    if got != shape:
        raise ValueError(
            f"The network's {method} must give a tensor of shape {shape} for "
            f"{shape[0]} rows, got {got}."
        )


def _take_over_dropout(module: nn.Module) -> None:
    """Make dropout draw from the generator of the fit, not from the global one."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
