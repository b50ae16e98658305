"""Networks built from untrusted descriptions."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .autoencoder import Autoencoder
from .conv_variational import ConvVariationalNetwork
from .convolutional import ConvolutionalAutoencoder
from .custom import CustomAutoencoder
from .dense import DenseAutoencoder
from .tabular import TabularAutoencoder
from .variational import DenseVariationalAutoencoder
from .weights import Arrays, from_arrays, own_array, to_arrays

# The registry is not used: users can add classes to it.
_NETWORKS: dict[str, type[Autoencoder]] = {
    kind.__name__: kind
    for kind in (
        ConvVariationalNetwork,
        ConvolutionalAutoencoder,
        CustomAutoencoder,
        DenseAutoencoder,
        DenseVariationalAutoencoder,
        TabularAutoencoder,
    )
}
# Arguments for which Python objects, the layers, are made for each of their entries.
_LISTS_OF_LAYERS = ("hidden_layer_sizes", "hidden_channels")
# Python objects take memory, too. A layer has a matrix and two biases at least.
MOST_LAYERS = 1000
_ARRAYS_OF_A_LAYER = 3
# Minimum values of the arguments that are sizes or lists of sizes.
_SIZES = {
    "n_features": 1,
    "n_components": 1,
    "hidden_layer_sizes": 1,
    "image_shape": 1,
    "hidden_channels": 1,
    "kernel_size": 1,
    "n_numbers": 0,
    "n_extras": 0,
    "n_codes": 0,
    "n_levels": 0,
    "n_bins": 0,
    "n_dispersions": 0,
}


class _MetaTensors(TorchFunctionMode):
    """Makes tensors with shape and type but no memory, even if a device is named.

    Constructors of networks should only create tensors: many operations on tensors
    without memory import hundreds of modules, which takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def learned_arrays(network: Autoencoder) -> Arrays:
    """Copy the weights, except those that follow from the network's description."""
    learned = network.state_dict()
    return {name: a for name, a in to_arrays(network).items() if name in learned}


def restore(name: str, config: dict[str, Any], arrays: Arrays) -> Autoencoder:
    """Build a network if its description and the arrays fit each other.

    Parameters
    ----------
    name : str
        Name of the class.
    config : dict
        Arguments of the class.
    arrays : dict of ndarray
        Result of `learned_arrays`.

    Returns
    -------
    Autoencoder
        In evaluation mode.

    Raises
    ------
    ValueError
        If they do not fit. No more memory has been allocated than the arrays take.
    Exception
        Of any type, if the arguments are invalid.
    """
    kind = _NETWORKS[name]
    _check_sizes(config, len(arrays))
    if kind is CustomAutoencoder:
        # The user's own builder is trusted; only the widths that it gets are checked.
        size = sum(array.size for array in arrays.values())
        if not max(config["n_features"], config["n_components"]) <= size:
            raise ValueError("the network is wider than its weights")
    outline = _build_outline(kind, config)
    if outline is not None:
        _check_fit(outline, arrays)
    del outline
    network = kind(**config)
    _check_fit(network, arrays)
    learned = network.state_dict()
    computed = {k: own_array(t) for k, t in network.named_buffers() if k not in learned}
    from_arrays(network, {**computed, **arrays})
    return network.eval()


def _check_sizes(config: dict[str, Any], n_arrays: int) -> None:
    for name in config.keys() & _SIZES.keys():
        sizes = config[name] if isinstance(config[name], tuple) else (config[name],)
        if not all(type(size) is int and size >= _SIZES[name] for size in sizes):
            raise ValueError(f"the network's {name} is no size")
    n_layers = max((len(config.get(name, ())) for name in _LISTS_OF_LAYERS), default=0)
    if n_layers > min(n_arrays / _ARRAYS_OF_A_LAYER, MOST_LAYERS):
        raise ValueError("the network has more layers than weights")
    if config.get("kernel_size", 1) % 2 == 0:
        raise ValueError("the network's kernel_size is not odd")
    if not 0 < config.get("sparsity_rate", 0.5) < 1:
        raise ValueError("the network's sparsity_rate is no share")


def _build_outline(kind: type[Autoencoder], config: dict[str, Any]) -> nn.Module | None:
    """Build a network whose tensors take no memory, or return None if it cannot be."""
    try:
        with _MetaTensors():
            return kind(**config)
    except Exception:
        if kind is not CustomAutoencoder:
            raise
        # A user's builder may use the values of the weights that it has made.
        return None


def _check_fit(network: nn.Module, arrays: Arrays) -> None:
    learned = network.state_dict()
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    expected = {k: (t.dtype, t.shape) for k, t in named.items() if k in learned}
    actual = {k: (torch.from_numpy(a).dtype, a.shape) for k, a in arrays.items()}
    if actual != expected:
        raise ValueError("the weights are not those of the network")
