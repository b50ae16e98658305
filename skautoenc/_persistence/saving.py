"""Estimators as safe files: `save` and `load`.

`files` defines the container, `plain` the values in it, and `schemas` the content of a
fitted estimator. A file is refused before anything that it describes takes memory.
Nothing in it can name code to be run: classes are looked up among those of the package.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Self

import numpy as np
import sklearn
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metadata_routing import MetadataRequest

from .._about import __version__
from .._data.bins import Bins
from .._data.columns import CategoryColumn, DateColumn, Layout, NumberColumn, Table
from .._data.frames import Schema
from .._networks.autoencoder import Autoencoder
from .._networks.restoring import learned_arrays, restore
from . import schemas
from .files import pack, read, unpack, write
from .plain import PLAIN_CODECS, CannotBeSaved, Codec, Reader, Writer, is_a
from .plain_frames import FRAME_CODECS
from .safetensors import Arrays
from .schemas import MOST_MEMBERS, OPTIONAL, UNFITTED, check_fitted

Document = dict[str, Any]
Builder = Callable[..., torch.nn.Module]

# Incremented when `load` could no longer read what `save` writes.
FORMAT_VERSION = 1
# Longest description of a builder.
_MOST_TOLD = 200
# Functions that convert a file of format n, the key, to format n + 1.
MIGRATIONS: dict[int, Callable[[Document, Arrays], tuple[Document, Arrays]]] = {}

# Classes whose instances are fully described by their attributes.
_RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Bins, CategoryColumn, DateColumn, Layout, NumberColumn, Schema, Table)
}


class Savable:
    """An estimator that can be saved to a file.

    `load` finds subclasses within the package. They declare, in `_fitted_schema`, the
    attributes of a fitted estimator and a check for each.
    """

    _registry: ClassVar[dict[str, type[Savable]]] = {}
    _fitted_schema: ClassVar[schemas.Schema]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == "skautoenc" and "_fitted_schema" in vars(cls):
            Savable._registry[cls.__name__] = cls

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Save the estimator, fitted or not, to a file.

        The file is in the safetensors format: weights and other arrays are its tensors,
        everything else is JSON in its metadata. Loading it runs no code, it does not
        depend on a device, and a checksum detects any changed byte. It replaces an
        existing file completely or not at all, even if the process is killed.

        Parameters
        ----------
        path : str, bytes or path-like
            The file to write. A leading ``~`` is your home folder.

        Raises
        ------
        ValueError
            If a parameter is invalid, or if the estimator holds an object that is not
            plain data, such as a callback. Nothing is written then.
        OSError
            If the file cannot be written. An existing file is unchanged. Paths that are
            not files, such as a folder, a pipe or a device, are never replaced.

        See Also
        --------
        skautoenc.load : Load the estimator.

        Notes
        -----
        The file holds the weights of a `network` of your own, not its code: pass the
        class or function to :func:`~skautoenc.load`. The parameter `checkpoint` is not
        restored.
        """
        write(os.path.expanduser(path), _dump(self))

    @classmethod
    def load(
        cls, path: str | bytes | os.PathLike[Any], *, network: Builder | None = None
    ) -> Self:
        """Load an estimator of this class from a file.

        Parameters
        ----------
        path : str, bytes or path-like
            File that :meth:`save` has written.

        network : callable, default=None
            Class or function that builds the network, if it is one of your own.

        Returns
        -------
        estimator
            Estimator that gives exactly the results of the saved one.

        Raises
        ------
        ValueError
            If the file holds an estimator of another class, or for one of the reasons
            listed in :func:`~skautoenc.load`.
        OSError
            If the file does not exist or cannot be read.
        """
        loaded: Self = _load(path, cls, network)
        return loaded


def load(
    path: str | bytes | os.PathLike[Any], *, network: Builder | None = None
) -> Any:
    """Load an estimator from a file that its method `save` has written.

    No code in the file is run, so files from strangers are safe to load. At worst they
    hold an estimator with other weights than promised.

    Parameters
    ----------
    path : str, bytes or path-like
        The file to read. A leading ``~`` is your home folder.

    network : callable, default=None
        Class or function that builds the network, if the estimator has one of your
        own: the value of its parameter `network`. Files do not hold code.

    Returns
    -------
    estimator
        Estimator that gives exactly the results of the saved one, on the CPU. Its
        parameter `checkpoint` is None, so that no file decides where a later `fit`
        writes.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, in another format or from a newer version of
        skautoenc, if its parts do not fit together, or if `network` is missing or not
        needed.
    OSError
        If the file does not exist (`FileNotFoundError`) or cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import skautoenc
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> autoencoder = skautoenc.AutoencoderTransformer(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "autoencoder.safetensors")
    ...     autoencoder.save(path)
    ...     again = skautoenc.load(path)
    >>> bool((again.transform(X) == autoencoder.transform(X)).all())
    True
    """
    return _load(path, Savable, network)


def public_estimators() -> list[type[Savable]]:
    """List the estimators that files may hold, which are all public ones."""
    return [Savable._registry[name] for name in sorted(Savable._registry)]


def trusted_types() -> list[str]:
    """List the types that `skops.io.load` has to be told to trust."""
    return [f"{kind.__module__}.{kind.__name__}" for kind in public_estimators()]


def _dump(estimator: Savable) -> bytearray:
    writer = Writer(_codecs(None))
    plain = writer.write(estimator, "")
    document = {
        "format_version": FORMAT_VERSION,
        "versions": {
            "skautoenc": __version__,
            "sklearn": sklearn.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "generators": writer.generators,
        "estimator": plain,
    }
    return pack(document, writer.arrays)


def _load(
    path: str | bytes | os.PathLike[Any], kind: type[Savable], network: Builder | None
) -> Any:
    try:
        return _restore(*unpack(read(os.path.expanduser(path))), kind, network)
    except ValueError as error:
        name = os.fsdecode(path)
        raise ValueError(f"{name!r} cannot be loaded: {error}.") from error


def _migrate(document: Document, arrays: Arrays) -> tuple[Document, Arrays]:
    """Convert a document and arrays to the present format."""
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise _Refusal("it names no format")
    if version > FORMAT_VERSION:
        raise _Refusal(
            f"it is of format {version}, which takes a newer version of skautoenc: "
            f"this one reads formats up to {FORMAT_VERSION}"
        )
    for older in range(version, FORMAT_VERSION):
        document, arrays = MIGRATIONS[older](document, arrays)
    return document, arrays


def _restore(
    document: Document, arrays: Arrays, kind: type[Savable], network: Builder | None
) -> Savable:
    if isinstance(network, torch.nn.Module):
        raise ValueError("network must be a class or a function, never an instance")
    builder = _Builder(network)
    try:
        document, arrays = _migrate(document, arrays)
        _check_class(document["estimator"]["estimator"]["class"], kind)
        reader = Reader(_codecs(builder), arrays, document["generators"])
        estimator: Savable = reader.read(document["estimator"])
    except _Refusal:
        raise
    except Exception as error:
        # Classes may raise any error for arguments that `save` would not have written.
        reason, *_ = f"{type(error).__name__}: {error}".splitlines()
        raise ValueError(
            f"its parts do not make an estimator ({reason:.200}){builder.told}"
        ) from error
    if reader.arrays:
        raise ValueError(f"it holds an array of no use, {min(reader.arrays)!r:.80}")
    if network is not None and not builder.is_needed:
        raise ValueError("it holds no network of your own, leave out network")
    return estimator


class _Refusal(ValueError):
    """A ValueError whose message is final: it is re-raised unchanged."""


def _check_class(name: str, kind: type[Savable]) -> None:
    if name not in Savable._registry:
        raise _Refusal(f"it holds a {name!r:.80}, which is no class of skautoenc")
    if not issubclass(Savable._registry[name], kind):
        raise _Refusal(
            f"it holds a {name}, which is no {kind.__name__}; skautoenc.load loads any"
        )


# Estimators


def _write_estimator(estimator: Savable, writer: Writer, place: str) -> Document:
    name = type(estimator).__name__
    if Savable._registry.get(name) is not type(estimator):
        raise ValueError(
            f"{name} is a class of your own, and files hold those of skautoenc alone. "
            "Use pickle or skops.io."
        )
    estimator._validate_params()  # type: ignore[attr-defined]
    params = estimator.get_params(deep=False)  # type: ignore[attr-defined]
    fitted = {
        k: v for k, v in vars(estimator).items() if k not in params and k != "_model"
    }
    if "_skl_callbacks" in fitted:
        raise CannotBeSaved("The estimator", "callbacks")
    unknown = sorted(fitted.keys() - estimator._fitted_schema.keys())
    if unknown:
        raise CannotBeSaved("The estimator", f"attributes of your own, {unknown}")
    if estimator.__sklearn_is_fitted__():  # type: ignore[attr-defined]
        _check_works(estimator)
    else:
        # A fit that failed may have left other attributes.
        fitted = {k: v for k, v in fitted.items() if k in UNFITTED}
    prefix = f"{place}." if place else ""
    return {
        "class": name,
        "params": {k: writer.write(v, prefix + k) for k, v in params.items()},
        "fitted": {k: writer.write(v, prefix + k) for k, v in fitted.items()},
    }


def _check_works(estimator: Savable) -> None:
    try:
        check_fitted(estimator)
    except Exception as error:
        name = type(estimator).__name__
        raise ValueError(
            f"{name} cannot be saved, since it could not be loaded: {error}"
        ) from error


def _read_estimator(plain: Document, reader: Reader) -> Savable:
    name = plain["class"]
    _check_class(name, Savable)
    params = {key: reader.read(value) for key, value in plain["params"].items()}
    # A file from a stranger must not determine where a later `fit` writes.
    params.pop("checkpoint", None)
    fitted = {key: reader.read(value) for key, value in plain["fitted"].items()}
    kind = Savable._registry[name]
    if not fitted.keys() <= kind._fitted_schema.keys():
        raise ValueError("it has attributes that are not known")
    estimator = kind(**params)
    estimator._validate_params()  # type: ignore[attr-defined]
    vars(estimator).update(fitted)
    if not fitted.keys() <= UNFITTED.keys():
        if not kind._fitted_schema.keys() - OPTIONAL <= fitted.keys():
            raise ValueError("it lacks attributes")
        estimator._model = check_fitted(estimator)  # type: ignore[attr-defined]
    return estimator


def _write_frozen(value: FrozenEstimator, writer: Writer, place: str) -> Document:
    plain: Document = writer.write(value.estimator, place)
    return plain


def _read_frozen(plain: Document, reader: Reader) -> FrozenEstimator:
    estimator = reader.read(plain)
    if not isinstance(estimator, Savable):
        raise ValueError("it has frozen what is no estimator")
    return FrozenEstimator(estimator)


def _write_requests(value: MetadataRequest, writer: Writer, place: str) -> Document:
    """Convert the metadata requests of the methods."""
    methods = {k: v for k, v in vars(value).items() if hasattr(v, "requests")}
    return {name: dict(method.requests) for name, method in methods.items()}


def _read_requests(plain: Document, reader: Reader) -> MetadataRequest:
    found = MetadataRequest(owner="the estimator")
    for method, requests in plain.items():
        for param, alias in requests.items():
            getattr(found, method).add_request(param=param, alias=alias)
    return found


# Networks, and builders of users' networks


class _Builder:
    """The user's builder of the network, and whether it was needed."""

    def __init__(self, network: Builder | None) -> None:
        self.network = network
        self.is_needed = False
        # What follows in a message about a network that does not fit.
        self.told = ""

    def read(self, name: str, reader: Reader) -> Builder:
        self.is_needed = True
        self.told = f". It was saved with network={name:.200}"
        if self.network is None:
            raise _Refusal(
                "it holds the weights of a network of your own, which "
                f"{name!r:.200} builds; pass that as network"
            )
        return self.network


def _write_builder(value: Any, writer: Writer, place: str) -> str:
    """Describe a builder, for the message of a `load` that lacks it."""
    if isinstance(value, functools.partial):
        function = _write_builder(value.func, writer, place)
        bound = [f"{name}={given!r}" for name, given in value.keywords.items()]
        told = ", ".join([function, *map(repr, value.args), *bound])
        return f"functools.partial({told})"[:_MOST_TOLD]
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _write_network(network: Autoencoder, writer: Writer, place: str) -> Any:
    name = type(network).__name__
    weights = writer.write(learned_arrays(network), place)
    return [name, writer.write(network.config, place), weights]


def _read_network(plain: Any, reader: Reader) -> Autoencoder:
    name, *others = plain
    config, arrays = map(reader.read, others)
    return restore(name, config, arrays)


# Tables

# Attributes that are plain values in pickles, too.
_TABLES = ("_schema", "_table")


def describe_tables(state: dict[str, Any]) -> dict[str, Any]:
    """Replace tables in the state of an estimator by plain values and arrays.

    These do not depend on the version of pandas, and skops.io accepts them. Tables with
    categories that are not plain values are kept.
    """
    found = dict(state)
    for name in state.keys() & _TABLES:
        writer = Writer(_codecs(None))
        with suppress(ValueError):
            plain = writer.write(state[name], "")
            found[name] = {"plain": plain, "arrays": writer.arrays}
    return found


def restore_tables(state: dict[str, Any]) -> dict[str, Any]:
    """Undo `describe_tables`."""
    found = dict(state)
    for name in state.keys() & _TABLES:
        if isinstance(state[name], dict):
            reader = Reader(_codecs(None), state[name]["arrays"], [])
            found[name] = reader.read(state[name]["plain"])
    return found


def _write_record(value: Any, writer: Writer, place: str) -> Any:
    try:
        fields = {k: writer.write(v, f"{place}.{k}") for k, v in vars(value).items()}
    except CannotBeSaved as error:
        if not hasattr(value, "name"):
            raise
        raise ValueError(f"Column {value.name!r} cannot be saved: {error}") from error
    return [type(value).__name__, fields]


def _read_record(plain: Any, reader: Reader) -> Any:
    name, fields = plain
    record: Any = object.__new__(_RECORDS[name])
    vars(record).update({key: reader.read(value) for key, value in fields.items()})
    return record


def _codecs(builder: _Builder | None) -> list[Codec]:
    """List all that a file can hold."""
    # A bag, what its members are clones of, and these.
    n = MOST_MEMBERS + 2
    return [
        *PLAIN_CODECS,
        *FRAME_CODECS,
        Codec("requests", is_a(MetadataRequest), _write_requests, _read_requests, n),
        Codec("estimator", is_a(Savable), _write_estimator, _read_estimator, n),
        Codec("frozen", is_a(FrozenEstimator), _write_frozen, _read_frozen, n),
        Codec("network", is_a(Autoencoder), _write_network, _read_network, n),
        Codec("record", is_a(*_RECORDS.values()), _write_record, _read_record),
        Codec("builder", callable, _write_builder, (builder or _Builder(None)).read),
    ]
