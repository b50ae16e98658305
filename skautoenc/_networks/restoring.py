"""Networks from descriptions that nobody vouches for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .autoencoder import Autoencoder
from .convolutional import ConvolutionalAutoencoder
from .custom import CustomAutoencoder
from .dense import DenseAutoencoder
from .tabular import TabularAutoencoder
from .weights import Arrays, from_arrays, own_array, to_arrays

# Not the registry, to which users may add.
_NETWORKS: dict[str, type[Autoencoder]] = {
    kind.__name__: kind
    for kind in (
        ConvolutionalAutoencoder,
        CustomAutoencoder,
        DenseAutoencoder,
        TabularAutoencoder,
    )
}
# Arguments that take a layer of Python objects for each of their entries.
_LISTS_OF_LAYERS = ("hidden_layer_sizes", "hidden_channels")
# Of Python objects, too, takes memory; a layer has a matrix and two biases at least.
MOST_LAYERS = 1000
_ARRAYS_OF_A_LAYER = 3
# Arguments that are sizes or lists of sizes, and how small these may be.
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
}


class _Nowhere(TorchFunctionMode):
    """Makes tensors of shape and type alone, also where a device is named.

    Constructors of networks should make tensors and do nothing with them: many another
    operation on such tensors imports hundreds of modules, and takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def learned_arrays(network: Autoencoder) -> Arrays:
    """Copy the weights, but not what the network's description tells already."""
    learned = network.state_dict()
    return {name: a for name, a in to_arrays(network).items() if name in learned}


def restore(name: str, config: dict[str, Any], arrays: Arrays) -> Autoencoder:
    """Build a network, if the description and the arrays fit each other.

    Parameters
    ----------
    name : str
        Name of the class.
    config : dict
        Its arguments.
    arrays : dict of ndarray
        What `learned_arrays` gave.

    Returns
    -------
    Autoencoder
        In evaluation mode.

    Raises
    ------
    ValueError
        If they do not fit. No more memory has been taken than the arrays take.
    Exception
        Of any kind, if the arguments are none of the class.
    """
    kind = _NETWORKS[name]
    _check_sizes(config, len(arrays))
    if kind is CustomAutoencoder:
        # What builds it is the user's own and not in question, but for how wide.
        size = sum(array.size for array in arrays.values())
        if not max(config["n_features"], config["n_components"]) <= size:
            raise ValueError("the network is wider than its weights")
    nowhere = _build_nowhere(kind, config)
    if nowhere is not None:
        _check_fit(nowhere, arrays)
    del nowhere
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


def _build_nowhere(kind: type[Autoencoder], config: dict[str, Any]) -> nn.Module | None:
    """Build a network whose tensors take no memory, if it can be built so."""
    try:
        with _Nowhere():
            return kind(**config)
    except Exception:
        if kind is not CustomAutoencoder:
            raise
        # Its builder may look at the weights that it has made.
        return None


def _check_fit(network: nn.Module, arrays: Arrays) -> None:
    learned = network.state_dict()
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    expected = {k: (t.dtype, t.shape) for k, t in named.items() if k in learned}
    found = {k: (torch.from_numpy(a).dtype, a.shape) for k, a in arrays.items()}
    if found != expected:
        raise ValueError("the weights are not those of the network")
