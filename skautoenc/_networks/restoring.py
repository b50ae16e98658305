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
    if kind is CustomAutoencoder:
        # What builds it is the user's own and not in question, but for how wide.
        size = sum(array.size for array in arrays.values())
        if not max(config["n_features"], config["n_components"]) <= size:
            raise ValueError("the network is wider than its weights")
    else:
        if any(len(config.get(key, ())) > len(arrays) for key in _LISTS_OF_LAYERS):
            raise ValueError("the network has more layers than weights")
        with _Nowhere():
            _check_fit(kind(**config), arrays)
    network = kind(**config)
    _check_fit(network, arrays)
    learned = network.state_dict()
    computed = {k: own_array(t) for k, t in network.named_buffers() if k not in learned}
    from_arrays(network, {**computed, **arrays})
    return network.eval()


def _check_fit(network: nn.Module, arrays: Arrays) -> None:
    learned = network.state_dict()
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    expected = {k: (t.dtype, t.shape) for k, t in named.items() if k in learned}
    found = {k: (torch.from_numpy(a).dtype, a.shape) for k, a in arrays.items()}
    if found != expected:
        raise ValueError("the weights are not those of the network")
