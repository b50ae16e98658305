"""Files with random damage, and randomly forged files.

A damaged file must be refused. One that was changed by somebody who then made its
digest right must be refused too, or be an estimator that works. Nothing else may
happen, and nothing may take more memory than a small file can justify.
"""

import copy
import resource
import sys
import warnings
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from make_files import FILES, Straight

import skautoenc
from skautoenc._persistence import files as _files

SEEDS = [path.read_bytes() for path in sorted(FILES.glob("*/*.safetensors"))]
_MOST_MEMORY = 100 * 1024 * 1024

# Damage: bytes to bytes


def flip(data, rng):
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def truncate(data, rng):
    return data[: rng.integers(len(data))]


def insert(data, rng):
    place = rng.integers(len(data) + 1)
    return data[:place] + rng.bytes(rng.integers(1, 20)) + data[place:]


def remove(data, rng):
    place = rng.integers(len(data))
    return data[:place] + data[place + rng.integers(1, 20) :]


def swap(data, rng):
    a, b, c = np.sort(rng.integers(len(data) + 1, size=3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def repeat(data, rng):
    a, b = np.sort(rng.integers(len(data) + 1, size=2))
    return data[:b] + data[a:b] + data[b:]


def blank(data, rng):
    a = rng.integers(len(data))
    b = min(len(data), a + rng.integers(1, 64))
    return data[:a] + bytes([rng.choice([0, 255])]) * (b - a) + data[b:]


def edit(data, rng):
    """Replace a character by another one that is possible in JSON there."""
    data = bytearray(data)
    letters = b'0123456789-.eE+"[]{},:abcdefxyz_ \\'
    for _ in range(rng.integers(1, 3)):
        data[rng.integers(len(data))] = letters[rng.integers(len(letters))]
    return bytes(data)


DAMAGE = [edit, flip, truncate, insert, remove, swap, repeat, blank]


def seal(data):
    """Correct the length of the header and the digest, if there is one."""
    place = _files._PLACE
    if data[8 : place.start] != _files._START or len(data) < place.stop:
        return data
    end = data.rfind(b"}}") + 2
    if end > place.stop:
        length = (end - 8 + 7) // 8 * 8
        data = length.to_bytes(8, "little") + data[8:]
    return data[: place.start] + _files._digest(data).encode() + data[place.stop :]


def damage_and_seal(data, rng):
    # The beginning is kept: otherwise nothing after it would be examined.
    kept = _files._PLACE.stop
    return seal(data[:kept] + DAMAGE[rng.integers(len(DAMAGE))](data[kept:], rng))


# Forgery: the content of the file is changed, not its encoding


def junk(rng):
    choices = [
        None,
        True,
        0,
        -1,
        1,
        7,
        2**31,
        10**18,
        10**30,
        0.5,
        -1e308,
        "",
        "code",
        "__class__",
        [],
        [[[[1]]]],
        {},
        {"float": "nan"},
        {"float": "inf"},
        {"tuple": []},
        {"tuple": [10**9] * 3},
        {"dict": []},
        {"device": "cuda:0"},
        {"device": "meta"},
        {"array": ["rows", "mean_"]},
        {"array": ["O", [3], ["a", "b", "c"]]},
        {"array": ["O", [10**9, 0], []]},
        {"scalar": ["<i8", 3]},
        {"scalar": ["O", 3]},
        {"scalar": ["V1000000", 3]},
        {"scalar": ["<M8[ns]", 2**62]},
        {"timestamp": [2**62, "ns", "UTC"]},
        {"index": [{"pandas_type": "object"}, ["a", "a"]]},
        {"pandas_type": "category"},
        {"polars_type": ["Enum", ["a"]]},
        {"polars_type": ["Datetime", "us", "UTC"]},
        {"generator": 0},
        {"builder": "os.system"},
        {"network": ["CustomAutoencoder", {"dict": []}, {"dict": []}]},
        {"record": ["Schema", {}]},
        {"record": ["NumberColumn", {}]},
        {"estimator": {"class": "AutoencoderTransformer", "params": {}, "fitted": {}}},
    ]
    return copy.deepcopy(choices[rng.integers(len(choices))])


def nodes(tree):
    """List every position of a tree, as its container and its key."""
    found, left = [], [tree]
    while left:
        node = left.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                left.append(node[key])
    return found


def forge_document(document, arrays, rng):
    places = nodes(document)
    node, key = places[rng.integers(len(places))]
    other, other_key = places[rng.integers(len(places))]
    kind = rng.integers(6)
    if kind == 0:
        del node[key]
    elif kind == 1:
        node[key] = copy.deepcopy(other[other_key])
    elif kind == 2 and isinstance(node, dict):
        node[f"{key}x" if rng.random() < 0.5 else str(other_key)] = node.pop(key)
    elif kind == 3 and type(node[key]) in (int, float):
        factor = [-1, 0, 2, 1e-3, 1e9][rng.integers(5)]
        node[key] = type(node[key])(node[key] * factor)
    elif kind == 4 and isinstance(node[key], list):
        node[key] = node[key] * int(rng.integers(0, 4))
    else:
        node[key] = junk(rng)


def forge_arrays(document, arrays, rng):
    names = sorted(arrays)
    name = names[rng.integers(len(names))]
    array = arrays[name]
    kind = rng.integers(7)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = arrays[names[rng.integers(len(names))]]
    elif kind == 2:
        arrays[f"{name}x"] = arrays.pop(name)
    elif kind == 3:
        kinds = [np.float16, np.float64, np.int8, np.uint64, bool]
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(kinds[rng.integers(len(kinds))])
    elif kind == 4:
        arrays[name] = array.reshape(-1, 1) if rng.random() < 0.5 else array[:0]
    elif kind == 5:
        arrays[name] = np.concatenate([array.ravel()] * 2)
    else:
        values = [np.nan, np.inf, -1e38, 0, 2**31, -1]
        changed = array.astype(np.float64)
        if changed.size:
            changed.flat[rng.integers(changed.size)] = values[rng.integers(6)]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays[name] = changed.astype(array.dtype)


def forge(data, rng):
    document, arrays = _files.unpack(data)
    for _ in range(rng.integers(1, 3)):
        change = forge_arrays if rng.random() < 0.3 else forge_document
        # The first change may have left nothing for the second.
        with suppress(TypeError, AttributeError, KeyError, IndexError, ValueError):
            change(document, arrays, rng)
    return _files.pack(document, arrays)


# Allowed results


def load(path, data):
    path.write_bytes(data)
    own = b"Straight" in data
    try:
        return skautoenc.load(path, network=Straight if own else None)
    except ValueError as error:
        text = str(error)
        assert text.startswith(f"{str(path)!r} cannot be loaded: "), text
        assert "alloc" not in text, text
        assert "MemoryError" not in text, text
        return None


def use(estimator):
    """Use an estimator, whatever numbers result."""
    if not estimator.__sklearn_is_fitted__():
        return
    estimator.set_output(transform="default")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Numbers that overflow, and names that were not passed.
        warnings.simplefilter("ignore")
        code = np.zeros((2, estimator._n_features_out), dtype=np.float32)
        rows = estimator.inverse_transform(code)
        assert len(rows) == 2
        if isinstance(rows, np.ndarray) and rows.dtype.kind == "f":
            rows = np.ones_like(rows)
        features = estimator.transform(rows)
    assert features.shape == code.shape
    assert features.dtype == np.float32


@contextmanager
def bounded_memory(most=_MOST_MEMORY):
    """Assert that not much more memory is allocated than was in use."""
    if sys.platform != "linux":
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def run(n_mutations, mutate, path, capsys, *, may_load):
    # Imports on first use are not memory that a file has requested.
    pytest.importorskip("polars")
    for data in SEEDS:
        use(load(path, data))
    rng = np.random.default_rng(n_mutations)
    n_tried = n_loaded = 0
    with bounded_memory():
        while n_tried < n_mutations:
            original = SEEDS[n_tried % len(SEEDS)]
            data = mutate(original, rng)
            if data == original:
                continue
            n_tried += 1
            loaded = load(path, data)
            if loaded is not None:
                assert may_load
                n_loaded += 1
                use(loaded)
    assert n_tried == n_mutations
    with capsys.disabled():
        print(f"\n{n_tried} mutations tried, {n_loaded} still an estimator", end=" ")


SIZES = [
    pytest.param(100, id="quick"),
    pytest.param(10_000, id="nightly", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize("n_mutations", SIZES)
def test_damaged_files_are_refused(n_mutations, tmp_path, capsys):
    def damage(data, rng):
        return DAMAGE[rng.integers(len(DAMAGE))](data, rng)

    run(n_mutations, damage, tmp_path / "file", capsys, may_load=False)


@pytest.mark.parametrize("n_mutations", SIZES)
def test_damage_with_a_right_digest_is_refused_or_harmless(
    n_mutations, tmp_path, capsys
):
    run(n_mutations, damage_and_seal, tmp_path / "file", capsys, may_load=True)


@pytest.mark.parametrize("n_mutations", SIZES)
def test_forged_files_are_refused_or_harmless(n_mutations, tmp_path, capsys):
    run(n_mutations, forge, tmp_path / "file", capsys, may_load=True)
