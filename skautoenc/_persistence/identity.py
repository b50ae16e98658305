"""Identities of values: short texts that are the same in every process.

Code is identified by what it does: bytecode, constants, defaults, the values of its
closure and the globals that it uses. Addresses, line numbers and file names are left
out, so code may be moved. Objects are identified by their class and by the state that a
pickle would hold. Code of installed packages is identified by its name, the version of
the package and the source of its module.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any, NoReturn

import numpy as np
import torch

_N_DIGITS = 16
_OF_PYTHON = sysconfig.get_path("stdlib")
_ATOMS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(...),
    type(NotImplemented),
)
# They determine when code runs, not what it computes.
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_BUILTINS = (types.BuiltinFunctionType, types.MethodWrapperType)
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
# Code that calls these may find anything in a module, or in the one that it is of.
_LOOKS_UP = {"__dict__", "getattr", "vars"}
_LOOKS_UP_HERE = {"eval", "exec", "globals"}
# Names of a class or module that tell where it stands, or that Python derives.
_NO_CONTENT = {
    "__abstractmethods__",
    "__annotate__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__builtins__",
    "__cached__",
    "__dict__",
    "__doc__",
    "__file__",
    "__firstlineno__",
    "__loader__",
    "__module__",
    "__name__",
    "__package__",
    "__path__",
    "__qualname__",
    "__slotnames__",
    "__spec__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}


def identify(value: Any) -> str:
    """Return the identity of a parameter of an estimator.

    Parameters
    ----------
    value : object
        Equal numbers have the same identity, whatever their types, but booleans are not
        numbers. The same holds for sequences and mappings of equal values.

    Returns
    -------
    str
        Plain values as text; other values as a name and a digest.

    Raises
    ------
    ValueError
        If the value holds something that has no identity, such as an open file. The
        message is to be put after the name of the parameter.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufUO":
        value = value.tolist()
    elif isinstance(value, torch.device):
        value = str(value)
    if value is None:
        return "None"
    if isinstance(value, str):
        return repr(str(value))
    if isinstance(value, bool | np.bool_):
        return repr(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(identify, value))})"
    if isinstance(value, Mapping):
        pairs = sorted(f"{identify(k)}: {identify(v)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    if not isinstance(value, type) and hasattr(value, "__array__"):
        array = np.asarray(value)
        return identify(array) if array.dtype.kind in "biufUO" else digest(array)
    # When a class is sent to another process, its qualified name may be lost.
    is_code = hasattr(value, "__qualname__") and not isinstance(value, type)
    name = value.__qualname__ if is_code else _name_of(value)
    return f"{name} ({digest(value)})"


def _name_of(value: Any) -> str:
    return (value if isinstance(value, type) else type(value)).__name__


def digest(value: Any) -> str:
    """Return hexadecimal digits that are the same for equal values only.

    Raises
    ------
    ValueError
        See `identify`.
    """
    walk = _Walk()
    try:
        walk.add(value)
    except RecursionError:
        walk.refuse("something that is nested too deeply")
    return walk.digest()


class _ValueWalk:
    """A traversal of a value made of plain values, which computes its digest."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        # By address: an object can occur twice, and can contain itself.
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []
        self._path: list[str] = []

    def digest(self) -> str:
        """Return the digest, in hexadecimal digits."""
        return self._hash.hexdigest()[:_N_DIGITS]

    def refuse(self, what: str) -> NoReturn:
        """Raise the ValueError that says where a value has no identity."""
        where = f" ({' of '.join(reversed(self._path[-3:]))})" if self._path else ""
        raise ValueError(
            f"holds {what}{where}, which a checkpoint cannot tell from others. Leave "
            "it out, or make it where it is used, or set checkpoint=None."
        )

    def add(self, value: Any) -> None:
        """Add a value and all values that it contains."""
        kind = type(value)
        if kind in _ATOMS:
            self._token(kind.__name__, value if kind is bytes else repr(value))
        elif kind is tuple:
            self._add_all("tuple", value)
        elif kind in (np.ndarray, np.memmap):
            self._add_array(value)
        elif id(value) in self._seen:
            self._token("again", str(self._seen[id(value)]))
        else:
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
            self._handler(value)(value)

    def _handler(self, value: Any) -> Callable[[Any], None]:
        name = _OF_TYPE.get(type(value))
        for kinds, of_kind in _OF_KIND.items() if name is None else ():
            if isinstance(value, kinds):
                name = of_kind
                break
        handler: Callable[[Any], None] = getattr(self, name or "_add_object")
        return handler

    @contextmanager
    def _within(self, place: str) -> Iterator[None]:
        self._path.append(place)
        try:
            yield
        finally:
            self._path.pop()

    def _token(self, *parts: str | bytes) -> None:
        for part in parts:
            data = (
                part.encode(errors="surrogatepass") if isinstance(part, str) else part
            )
            self._hash.update(b"%d:" % len(data) + data)

    def _add_all(self, tag: str, values: Iterable[Any]) -> None:
        values = list(values)
        self._token(tag, str(len(values)))
        for value in values:
            self.add(value)

    def _add_named(self, tag: str, values: Mapping[Any, Any], what: str) -> None:
        """Add values by name, in an order that does not depend on their insertion."""
        self._token(tag, str(len(values)))
        for name in sorted(values, key=str):
            with self._within(what.format(name)):
                self.add(name)
                self.add(values[name])

    # Collections and arrays

    def _add_list(self, value: list[Any]) -> None:
        self._add_all("list", value)

    def _add_dict(self, value: Mapping[Any, Any]) -> None:
        # The order matters: it may be that of a network's layers.
        self._add_all("dict", [pair for item in value.items() for pair in item])

    def _add_set(self, value: set[Any] | frozenset[Any]) -> None:
        digests = []
        for element in value:
            walk = _Walk()
            walk._seen, walk._path = dict(self._seen), list(self._path)
            walk.add(element)
            digests.append(walk.digest())
        self._token("set", *sorted(digests))
        self.add(type(value))

    def _add_array(self, array: np.ndarray) -> None:
        self._token("array", str(array.dtype), str(array.shape))
        if array.dtype.hasobject:
            self.add(array.tolist())
        else:
            self._token(np.asarray(array).tobytes())

    def _add_dtype(self, value: np.dtype[Any]) -> None:
        self._token("dtype", str(value))

    def _add_scalar(self, value: np.generic) -> None:
        self._token("scalar", str(value.dtype), value.tobytes())

    def _add_tensor(self, tensor: torch.Tensor) -> None:
        self.add(type(tensor))
        self._token(str(tensor.dtype), str(tensor.layout), str(tuple(tensor.shape)))
        self._token(str(tensor.requires_grad))
        try:
            dense = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
            flat = dense.contiguous().reshape(-1).view(torch.uint8)
            self._token(flat.numpy().tobytes())
        except (RuntimeError, TypeError, NotImplementedError):
            self.refuse(f"a tensor of type {tensor.dtype} on {tensor.device}")

    def _add_random_state(self, value: np.random.RandomState) -> None:
        self.add(type(value))
        self._add_dict(value.get_state(legacy=False))

    def _add_random_generator(self, value: np.random.Generator) -> None:
        self.add(type(value))
        self._add_dict(value.bit_generator.state)

    def _add_torch_generator(self, value: torch.Generator) -> None:
        self._token("generator", str(value.device), value.get_state().numpy().tobytes())

    # Code


class _Walk(_ValueWalk):
    """A traversal of code and objects, too: functions, classes, modules, wrappers."""

    def _add_code(self, code: types.CodeType) -> None:
        self._token("code", code.co_code, code.co_exceptiontable)
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
        self._token(str((*counts, code.co_flags)))
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        self._token(repr(names))
        self._add_all("constants", code.co_consts)

    def _add_function(self, function: types.FunctionType) -> None:
        if self._add_installed(function):
            return
        code = function.__code__
        with self._within(repr(function.__qualname__)):
            self._token("function", function.__qualname__)
            self.add(code)
            with self._within("the defaults"):
                self.add(function.__defaults__)
                self.add(function.__kwdefaults__)
            cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
            self._add_named("closure", cells, "variable {!r}")
            self._add_named("attributes", vars(function), "attribute {!r}")
            self._add_globals(code, function.__globals__)
            for cell in cells.values():
                self._add_of_modules(code, _content(cell))

    def _add_globals(self, code: types.CodeType, names: dict[str, Any]) -> None:
        """Add the globals that code uses, and what it may use of modules."""
        home = names.get("__name__")
        if isinstance(home, str) and _is_installed(home):
            self._token("installed", home, _version(home), _source(home))
            return
        if _LOOKS_UP_HERE & _all_names(code) and isinstance(home, str):
            self._token("source", _source(home))
        found, imports = _names_of(code)
        for name in sorted(found & names.keys() - _NO_CONTENT):
            with self._within(f"global {name!r}"):
                self._token("global", name)
                self._add_of_modules(code, names[name])
                if not isinstance(names[name], types.ModuleType):
                    self.add(names[name])
        for level, name, parts in sorted(imports):
            with self._within(f"module {name!r}"):
                module = _imported(level, name, parts, names.get("__package__"))
                self._add_of_modules(code, module)

    def _add_of_modules(self, code: types.CodeType, module: Any) -> None:
        """Add what code may use of a module; other values are ignored."""
        if not isinstance(module, types.ModuleType):
            return
        if _is_installed(module.__name__):
            self._token("module", module.__name__, _version(module.__name__))
            return
        if _LOOKS_UP & _all_names(code):
            self._token("source", _source(module.__name__))
        for name in sorted(_all_names(code) & vars(module).keys() - _NO_CONTENT):
            value = vars(module)[name]
            self._token("global", name)
            if not isinstance(value, types.ModuleType):
                with self._within(f"global {name!r}"):
                    self.add(value)
            elif value is not module and id(value) not in self._seen:
                self._seen[id(value)] = len(self._seen)
                self._add_of_modules(code, value)

    def _add_class(self, kind: type) -> None:
        if self._add_installed(kind):
            return
        with self._within(repr(kind.__name__)):
            self._token("class", kind.__name__)
            self.add(type(kind))
            self._add_all("bases", kind.__bases__)
            # The names of the slots identify the slot descriptors.
            content = {
                name: value
                for name, value in vars(kind).items()
                if name not in _NO_CONTENT
                and not isinstance(value, types.MemberDescriptorType)
            }
            self._add_named("attributes", content, "attribute {!r}")

    def _add_installed(self, value: Any) -> bool:
        """Add code of an installed package by name; return whether it is such code."""
        module, name = getattr(value, "__module__", None), value.__qualname__
        if not isinstance(module, str) or _resolve(module, name) is not value:
            return False
        if not _is_installed(module):
            return False
        self._token("installed", module, name, _version(module), _source(module))
        return True

    def _add_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        path = getattr(module, "__file__", None)
        if path is None and not _is_installed(name):
            self.refuse(f"the module {name!r}, which has no file")
        self._token("module", name if _is_installed(name) else "", _version(name))
        self._token(_source(name))

    def _add_partial(self, value: functools.partial[Any]) -> None:
        self.add(type(value))
        with self._within("a partial"):
            self._add_all("partial", [value.func, value.args])
            # The order matters: a builder may take layers as keywords.
            self._add_dict(value.keywords)
            self._add_state(vars(value))

    def _add_method(self, method: types.MethodType) -> None:
        self._add_all("method", [method.__func__, method.__self__])

    def _add_builtin(self, function: Any) -> None:
        """Add a function written in C, by its name and the object it is bound to."""
        owner = function.__self__
        if isinstance(owner, types.ModuleType) or owner is None:
            module = function.__module__ or getattr(owner, "__name__", "")
            self._token("builtin", module, function.__qualname__, _version(module))
        else:
            self._token("bound", function.__name__)
            self.add(owner)

    def _add_descriptor(self, descriptor: Any) -> None:
        self._token("descriptor", descriptor.__name__)
        self.add(descriptor.__objclass__)

    def _add_wrapper(self, wrapper: Any) -> None:
        self._token(type(wrapper).__name__)
        self.add(wrapper.__wrapped__)

    def _add_property(self, value: property) -> None:
        self._add_all("property", [type(value), value.fget, value.fset, value.fdel])

    def _add_cell(self, cell: types.CellType) -> None:
        self._token("cell")
        self.add(_content(cell))

    # Everything else

    def _add_nothing(self, value: Any) -> None:
        self._token("lock")

    def _add_reference(self, value: weakref.ref[Any]) -> None:
        self._token("reference")
        self.add(value())

    def _add_path(self, value: PurePath) -> None:
        self._token("path", str(value))

    def _add_object(self, value: Any) -> None:
        """Add an object by its class and the content of its pickle."""
        kind = type(value)
        reduce = copyreg.dispatch_table.get(kind)
        try:
            found = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception:
            self.refuse(f"a {kind.__module__}.{kind.__qualname__}")
        self._token("object")
        with self._within(f"a {kind.__qualname__}"):
            self.add(kind)
            if isinstance(found, str):
                # An object with a name, such as a type of torch.
                self._token(str(getattr(value, "__module__", None)), found)
                return
            self._alive.append(found)
            whole: tuple[Any, ...] = (*found, None, None, None)
            function, arguments, state, items, pairs = whole[:5]
            self.add(function)
            self.add(arguments)
            self._add_state(state)
            self._add_all("items", items or ())
            self._add_all("pairs", [each for pair in pairs or () for each in pair])

    def _add_state(self, state: Any) -> None:
        # The state of a class with slots is a pair of dictionaries.
        kinds = [type(each) for each in state] if type(state) is tuple else []
        if kinds in ([type(None), dict], [dict, dict]):
            state = {**(state[0] or {}), **state[1]}
        if type(state) is dict:
            self._add_named("attributes", state, "attribute {!r}")
        else:
            self.add(state)


_OF_TYPE: dict[Any, str] = {
    dict: "_add_dict",
    list: "_add_list",
    functools.partial: "_add_partial",
    functools._lru_cache_wrapper: "_add_wrapper",
    np.random.Generator: "_add_random_generator",
    np.random.RandomState: "_add_random_state",
    staticmethod: "_add_wrapper",
    classmethod: "_add_wrapper",
    torch.Generator: "_add_torch_generator",
    types.CellType: "_add_cell",
    types.CodeType: "_add_code",
    types.FunctionType: "_add_function",
    types.MappingProxyType: "_add_dict",
    types.MethodType: "_add_method",
    **dict.fromkeys(_BUILTINS, "_add_builtin"),
    **dict.fromkeys(_DESCRIPTORS, "_add_descriptor"),
    **dict.fromkeys(_LOCKS, "_add_nothing"),
}
_OF_KIND: dict[Any, str] = {
    type: "_add_class",
    types.ModuleType: "_add_module",
    torch.Tensor: "_add_tensor",
    np.dtype: "_add_dtype",
    np.generic: "_add_scalar",
    property: "_add_property",
    PurePath: "_add_path",
    weakref.ref: "_add_reference",
    (set, frozenset): "_add_set",
}


# What code names


@functools.lru_cache(maxsize=4096)
def _names_of(code: types.CodeType) -> tuple[frozenset[str], frozenset[Any]]:
    """Return the globals that code may use, and its imports.

    An import is the level of a relative import, a name, and the names imported from it.
    """
    found, imports, stored = set(), set(), set()
    before: list[Any] = [0, 0]
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            level, parts = before[-2:]
            imports.add((level or 0, step.argval, tuple(parts or ())))
        elif step.opname == "STORE_NAME":
            stored.add(step.argval)
        elif step.opname in _LOADS:
            found.add(step.argval)
        before.append(step.argval)
    # The body of a class looks up its own names first.
    found -= stored
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more, others = _names_of(inner)
            found |= more
            imports |= others
    return frozenset(found), frozenset(imports)


_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}


@functools.lru_cache(maxsize=4096)
def _all_names(code: types.CodeType) -> frozenset[str]:
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return frozenset(code.co_names).union(*map(_all_names, inner))


def _imported(level: int, name: str, parts: tuple[str, ...], package: Any) -> Any:
    """Return a module that code imports, or None if it is missing or installed."""
    # A missing module is the concern of the code itself.
    with suppress(ImportError):
        if level:
            name = importlib.util.resolve_name("." * level + name, package)
        if _is_installed(name):
            return None
        module = importlib.import_module(name)
        for part in parts:
            if part != "*" and not hasattr(module, part):
                importlib.import_module(f"{name}.{part}")
        return module
    return None


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not assigned yet.
        return NotImplemented


def _resolve(module: str, qualname: str) -> Any:
    """Return the value with a qualified name in a module, or None."""
    found = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


# Installed packages


def _is_installed(module: str) -> bool:
    """Whether a module belongs to Python or an installed package, not to the user."""
    package = module.partition(".")[0]
    if package in ("__main__", "__mp_main__"):
        return False
    if package in (__name__.partition(".")[0], "torch", "numpy"):
        return True
    path = _path_of(package)
    if path is None:
        return package in sys.stdlib_module_names
    if path.is_relative_to(_OF_PYTHON):
        return True
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def _path_of(module: str) -> Path | None:
    """Return the path of a module's source, or None; the module need not be loaded."""
    if module in sys.modules:
        path = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        path = spec.origin if spec is not None and spec.has_location else None
    return None if path is None else Path(path)


def _version(module: str) -> str:
    package = sys.modules.get(module.partition(".")[0])
    return str(getattr(package, "__version__", ""))


def _source(module: str) -> str:
    """Return a digest of a module's source, or an empty string if it has none."""
    path = _path_of(module)
    if path is None or path.suffix != ".py":
        return ""
    return _digest_of_file(path)


@functools.lru_cache(maxsize=4096)
def _digest_of_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:_N_DIGITS]
    except OSError:
        return ""
