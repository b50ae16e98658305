"""Files from strangers, and paths that cannot be written to."""

import datetime as dt
import math
import os
import stat
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from make_files import FILES, Straight
from sklearn.base import clone
from test_contract import ESTIMATORS, TwoLayers
from test_files import make_frame
from test_files_fuzz import bounded_memory, nodes

import skautoenc
from skautoenc import (
    AutoencoderImputer,
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvVariationalAutoencoder,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._networks.conv_variational import ConvVariationalNetwork
from skautoenc._networks.convolutional import ConvolutionalAutoencoder
from skautoenc._networks.dense import DenseAutoencoder
from skautoenc._persistence import files as _files
from skautoenc._persistence import safetensors as _safetensors
from skautoenc._persistence import schemas
from skautoenc._persistence.hashes import check_hashes, check_hashes_of_pandas
from skautoenc._persistence.plain import PLAIN_CODECS, CannotBeSaved, Reader, Writer
from skautoenc._persistence.plain_frames import FRAME_CODECS

posix = pytest.mark.skipif(sys.platform == "win32", reason="as POSIX has it")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices"
)


def quick():
    return AutoencoderTransformer(3, max_iter=1, random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "estimator.safetensors"


# Format


def some_arrays(rng):
    kinds = ["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]
    letters = [*'Aa._"\\\n\x01\x7f', "é", "中", "\u2028", "\U0001f600"]
    arrays = {}
    for _ in range(rng.integers(8)):
        shape = tuple(rng.integers(4, size=rng.integers(4)))
        array = np.asarray(100 * rng.random(shape)).astype(rng.choice(kinds))
        name = "".join(rng.choice(letters, size=rng.integers(1, 5)))
        arrays[name] = array.T if rng.random() < 0.3 else array
    return arrays, {"skautoenc": "".join(rng.choice(letters, size=9))}


@pytest.mark.parametrize("seed", range(100))
def test_files_are_those_of_the_safetensors_library(seed):
    arrays, metadata = some_arrays(np.random.default_rng(seed))
    data = _safetensors.encode(arrays, metadata)
    contiguous = {
        name: np.ascontiguousarray(array).reshape(array.shape)
        for name, array in arrays.items()
    }
    assert bytes(data) == safetensors.numpy.save(contiguous, metadata)
    length = int.from_bytes(data[:8], "little")
    header = _files._parse(data[8 : 8 + length].decode())
    assert header.pop("__metadata__") == metadata
    found = _safetensors.decode(header, memoryview(data)[8 + length :])
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
        assert array.flags.aligned
        assert array.flags.writeable


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "BF16"},
        {"dtype": ["F32"]},
        {"shape": [3]},
        {"shape": [True, 2]},
        {"shape": [-1, -2]},
        {"shape": [2.0]},
        {"shape": 2},
        {"shape": [2**70, 0], "data_offsets": [0, 0]},
        {"data_offsets": [0]},
        {"data_offsets": [4, 12]},
        {"data_offsets": [-8, 0]},
        {"data_offsets": [8, 0]},
        {"data_offsets": [False, 8]},
        {"more": 1},
    ],
    ids=str,
)
def test_headers_that_are_not_those_of_the_bytes_are_refused(change):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **change}
    with pytest.raises((ValueError, KeyError, TypeError)):
        _safetensors.decode({"a": entry}, memoryview(bytes(8)))


def test_arrays_share_no_bytes_and_leave_none_out():
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    later = {**entry, "data_offsets": [8, 16]}
    both = {"a": entry, "b": later}
    assert _safetensors.decode(both, memoryview(bytes(16))).keys() == {"a", "b"}
    for entries, size in (
        ({"a": entry, "b": entry}, 8),
        (both, 24),
        ({"b": later}, 16),
        ({"a": entry, "b": {**entry, "data_offsets": [4, 12]}}, 12),
        ({}, 8),
    ):
        with pytest.raises(ValueError, match="leave bytes out or share some"):
            _safetensors.decode(entries, memoryview(bytes(size)))


# Paths


@posix
@pytest.mark.parametrize("through_link", [False, True])
def test_a_pipe_is_not_replaced(through_link, path):
    os.mkfifo(path)
    given = path
    if through_link:
        given = path.with_name("link")
        given.symlink_to(path)
    with pytest.raises(OSError, match="a pipe, a socket or a device") as caught:
        quick().save(given)
    assert caught.value.filename == str(given)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert not [name for name in os.listdir(path.parent) if "part" in name]


@posix
def test_the_null_device_is_not_replaced():
    before = os.stat(os.devnull)
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        quick().save(os.devnull)
    assert os.stat(os.devnull).st_rdev == before.st_rdev
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@root
def test_a_device_in_a_folder_of_ones_own_is_not_replaced(path):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        pytest.skip("devices cannot be made here")
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        quick().save(path)
    assert stat.S_ISCHR(path.stat().st_mode)


def test_a_folder_is_not_replaced(path):
    path.mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)) as caught:
        quick().save(path)
    assert caught.value.filename == str(path)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("length", [240, 241, 250, 255])
def test_names_may_be_as_long_as_the_system_allows(length, tmp_path):
    for letter in ("a", "é"):
        path = tmp_path / (letter * (length // len(letter.encode())))
        quick().save(path)
        quick().save(path)
        assert skautoenc.load(path).n_components == 3
    assert len(os.listdir(tmp_path)) == 2


@posix
def test_a_name_that_is_too_long_is_an_error_that_names_it(tmp_path):
    path = tmp_path / ("a" * 256)
    with pytest.raises(OSError, match="name too long") as caught:
        quick().save(path)
    assert caught.value.filename == str(path)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o400, 0o660])
@pytest.mark.parametrize("mask", [0o022, 0o077, 0])
def test_a_file_never_has_more_permissions(mode, mask, path, monkeypatch):
    path.write_text("before")
    path.chmod(mode)
    seen = []

    def looking(real):
        def look(*args, **options):
            found = real(*args, **options)
            seen.extend(part.stat().st_mode for part in path.parent.glob(".*.part"))
            return found

        return look

    for name in ("open", "fsync", "chmod", "replace"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    before = os.umask(mask)
    try:
        quick().save(path)
    finally:
        os.umask(before)
    assert len(seen) >= 3
    assert not any(stat.S_IMODE(found) & ~mode for found in seen)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_a_new_file_is_as_the_mask_has_it(path):
    before = os.umask(0o027)
    try:
        quick().save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


class PathOf:
    """A path object of another library, as str or as bytes."""

    def __init__(self, inner):
        self.inner = inner

    def __fspath__(self):
        return self.inner


@pytest.mark.parametrize("kind", [str, os.fsencode, PathOf, os.path.abspath])
def test_paths_are_taken_alike_by_save_and_load(kind, path):
    given = kind(str(path))
    quick().save(given)
    assert skautoenc.load(given).n_components == 3
    assert AutoencoderTransformer.load(given).n_components == 3
    assert os.listdir(path.parent) == [path.name]
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a file of skautoenc") as caught:
        skautoenc.load(given)
    assert str(caught.value).startswith(f"{str(path)!r} cannot be loaded: ")
    quick().save(PathOf(os.fsencode(path)))
    assert skautoenc.load(PathOf(os.fsencode(path))).n_components == 3


@pytest.mark.parametrize("given", [0, 3, None, 1.5])
def test_what_is_no_path_is_refused_alike(given):
    # A number would be an open file: 0 is standard input.
    for take in (quick().save, skautoenc.load, AutoencoderTransformer.load):
        with pytest.raises(TypeError, match="PathLike"):
            take(given)


def test_errors_name_the_path_that_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("none/estimator", tmp_path / "none" / "estimator"):
        with pytest.raises(FileNotFoundError) as caught:
            quick().save(given)
        assert caught.value.filename == str(given)
        assert ".part" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises((NotADirectoryError, FileNotFoundError)) as caught:
        quick().save("file/estimator")
    assert caught.value.filename == "file/estimator"


def test_the_path_is_named_when_the_disk_is_full(path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        quick().save(path)
    assert caught.value.filename == str(path)
    assert os.listdir(path.parent) == []


@posix
def test_a_pipe_is_no_file_to_load(path):
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.open("wb").close())
    writer.start()
    with pytest.raises((ValueError, OSError)):
        skautoenc.load(path)
    writer.join()


# Time zones

ZONES = ["UTC", "Europe/Berlin", "Etc/GMT-3", "America/Argentina/Buenos_Aires"]
OFFSETS = ["UTC+01:00", "UTC-05:30"]
NO_ZONES = [
    "dateutil//etc/passwd",
    "dateutil/Europe/Berlin",
    "dateutil/:/etc/passwd",
    "tzfile('/etc/passwd')",
    "tzlocal()",
    "localtime",
    "/etc/passwd",
    "../../etc/passwd",
    "Europe/../../../../etc/passwd",
    "Europe/Berlin\0",
    "posix/Europe/Berlin",
    "posixrules",
    "zone.tab",
    "",
    "UTC+1",
    1,
    ["UTC"],
]


@contextmanager
def opened():
    """List the files that are opened."""
    names, is_on = [], [True]

    def note(event, arguments):
        if event in ("open", "os.open", "os.scandir", "os.listdir") and is_on[0]:
            names.append(str(arguments[0]))

    sys.addaudithook(note)
    yield names
    # A hook cannot be removed.
    is_on[0] = False


def of_zone(zone, kind):
    """Describe something with a time zone as files do."""
    if kind == "timestamp":
        return {"timestamp": [0, "ns", zone]}
    if kind == "pandas_type":
        return {"pandas_type": f"datetime64[ns, {zone}]"}
    if kind == "index":
        return {"index": [of_zone(zone, "pandas_type"), [of_zone(zone, "timestamp")]]}
    return {"polars_type": ["Datetime", "us", zone]}


KINDS = ["timestamp", "pandas_type", "index", "polars_type"]


def reader():
    return Reader([*PLAIN_CODECS, *FRAME_CODECS], {}, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", [*ZONES, *OFFSETS])
def test_zones_of_the_database_and_offsets_are_read(zone, kind):
    if kind == "polars_type":
        pytest.importorskip("polars")
    found = reader().read(of_zone(zone, kind))
    tz = getattr(found, "tz", None) or getattr(found, "time_zone", None)
    assert str(tz) == zone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", NO_ZONES, ids=str)
def test_invalid_zones_are_refused_and_nothing_is_opened(zone, kind):
    pytest.importorskip("polars")
    # The list of zones is read once, from a fixed folder.
    reader().read(of_zone("Europe/Berlin", "index"))
    with opened() as names, pytest.raises((ValueError, TypeError)):
        reader().read(of_zone(zone, kind))
    assert not names


def test_points_in_time_are_not_parsed():
    text = {"index": [{"pandas_type": "datetime64[ns]"}, ["2020-01-01"]]}
    with pytest.raises(ValueError, match="point in time"):
        reader().read(text)


@pytest.mark.parametrize("zone", [*ZONES, dt.timezone(dt.timedelta(hours=5.5))])
def test_zones_come_back(zone):
    times = pd.date_range("2020-03-28", periods=9, freq="h", tz=zone)
    writer = Writer([*PLAIN_CODECS, *FRAME_CODECS])
    for value in (times[0], times.dtype, times):
        found = reader().read(writer.write(value, "here"))
        assert type(found) is type(value)
        assert np.all(found == value)


def test_a_zone_that_is_a_file_is_not_saved():
    zone = pytest.importorskip("dateutil.tz").gettz("Europe/Berlin")
    times = pd.date_range("2020-03-28", periods=9, freq="h", tz=zone)
    writer = Writer([*PLAIN_CODECS, *FRAME_CODECS])
    for value in (times[0], times.dtype):
        with pytest.raises(CannotBeSaved, match="here holds"):
            writer.write(value, "here")


# Memory and time that a file may request

MIB = 2**20
EXTREMES = [-1, 0, 1, 2, 3, 5, 17, 100, 1000, 4000, 10**5, 10**6, 5 * 10**8]
EXTREMES += [2**31, 2**40, 2**62, 2**63, 10**18, 10**30, 10**400]
STRINGS = ["", "x" * 10_000, "Europe/Berlin", "dateutil//etc/passwd", "\ud800"]
STRINGS += ["__class__", "category", "object", "str", "int8", "string[pyarrow]"]
STRINGS += ["datetime64[s]"]


@cache
def originals():
    """Save one of each estimator, as small as possible."""
    rows = np.random.default_rng(0).poisson(3, size=(24, 16)).astype(np.float64)
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for number, estimator in enumerate(ESTIMATORS):
            small = clone(estimator)
            if isinstance(small, AutoencoderImputer):
                small.set_params(autoencoder=TabularAutoencoderTransformer(max_iter=1))
            elif "autoencoder" in small.get_params():
                small.set_params(autoencoder=AutoencoderTransformer(5, max_iter=1))
            else:
                small.set_params(max_iter=1)
            if small.get_params().get("n_components") == "auto":
                small.set_params(n_components=20)
            small.set_params(random_state=0).fit(rows).save(path)
            files[f"{type(small).__name__}-{number}"] = path.read_bytes()
    for path in sorted(FILES.glob("*/*.safetensors")):
        files[path.stem] = path.read_bytes()
    return files


def scalars(tree, kind):
    return [(node, key) for node, key in nodes(tree) if type(node[key]) is kind]


def resize(array, old, new):
    """Resize an array whose size is `old`, if it stays small."""
    shape = tuple(new if length == old else length for length in array.shape)
    size = math.prod(shape)
    if shape == array.shape or size * array.itemsize > 256 * 1024:
        return array
    return np.resize(array, shape)


def forge(data, rng):
    """Change numbers, strings and lists, one at a time or everywhere."""
    document, arrays = _files.unpack(data)
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(6)
        if kind == 5:
            node, key = choose(rng, scalars(document, str))
            node[key] = choose(rng, STRINGS)
        elif kind == 4:
            node, key = choose(rng, scalars(document, list))
            node[key] = node[key] * int(choose(rng, [0, 2, 3, 100]))
        else:
            places = scalars(document, int)
            node, key = choose(rng, places)
            old, new = node[key], choose(rng, EXTREMES)
            node[key] = new
            if kind >= 2:
                # An attacker would change all related values.
                for node, key in places:
                    if node[key] == old:
                        node[key] = new
            if kind == 3 and 0 <= new <= 4000:
                for name, array in arrays.items():
                    arrays[name] = resize(array, old, new)
    return bytes(_files.pack(document, arrays))


def choose(rng, values):
    return values[rng.integers(len(values))]


def load_within_bounds(path, data):
    """Load a file within the memory and time that its size justifies."""
    path.write_bytes(data)
    own = {"network": TwoLayers} if b"TwoLayers" in data else {}
    own = {"network": Straight} if b"Straight" in data else own
    before = time.process_time()
    try:
        with bounded_memory(10 * len(data) + 64 * MIB):
            return skautoenc.load(path, **own)
    except ValueError as error:
        text = str(error)
        assert text.startswith(f"{str(path)!r} cannot be loaded: "), text
        assert "alloc" not in text, text
        assert "MemoryError" not in text, text
    finally:
        seconds = time.process_time() - before
        # A second is allowed for imports on first use.
        assert seconds < 1 + 2 * len(data) / MIB, seconds
    return None


def use(estimator):
    """Call each public method that applies the estimator, on one row."""
    if not estimator.__sklearn_is_fitted__():
        return
    if isinstance(estimator, AutoencoderImputer):
        use(estimator.autoencoder_)
        return
    if not hasattr(estimator, "transform"):
        use_detector(estimator)
        return
    estimator.set_output(transform="default")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Numbers that overflow, and names that were not passed.
        warnings.simplefilter("ignore")
        names = estimator.get_feature_names_out()
        row = estimator.inverse_transform(np.zeros((1, len(names)), np.float32))
        assert len(row) == 1
        if isinstance(row, np.ndarray) and row.dtype.kind == "f":
            # Other values would be refused as not finite.
            row = np.nan_to_num(row, posinf=0, neginf=0)
        assert estimator.transform(row).shape == (1, len(names))
        for name in ("score_samples", "reconstruction_error", "impute"):
            if hasattr(estimator, name):
                assert len(getattr(estimator, name)(row)) == 1
        if hasattr(estimator, "impute"):
            estimator.reconstruction_error(row, per_column=True)


def use_detector(estimator):
    """Call each public method of a detector of outliers, on one row."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = np.zeros((1, estimator.n_features_in_))
        for name in ("score_samples", "decision_function", "predict", "p_values"):
            assert getattr(estimator, name)(row).shape == (1,)
        assert len(estimator.explain(row).surprise) == 1


ROUNDS = [
    *(pytest.param(seed, 150, id=f"quick-{seed}") for seed in (0, 1)),
    *(
        pytest.param(seed, 5000, id=f"nightly-{seed}", marks=pytest.mark.nightly)
        for seed in range(2, 6)
    ),
]


@pytest.mark.parametrize(("seed", "n_files"), ROUNDS)
def test_forged_sizes_take_no_more_than_a_file_can_justify(seed, n_files, path, capsys):
    pytest.importorskip("polars")
    files = list(originals().values())
    for data in files:
        use(load_within_bounds(path, data))
    rng = np.random.default_rng(seed)
    n_loaded = 0
    for number in range(n_files):
        data = forge(files[number % len(files)], rng)
        loaded = load_within_bounds(path, data)
        if loaded is not None:
            n_loaded += 1
            use(loaded)
    with capsys.disabled():
        print(f"\n{n_files} files forged, {n_loaded} still an estimator", end=" ")


# Sizes that fit the arrays, but need more memory or time


def zeros(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network.eval()


def of_maps(image_shape, channels, kernel_size=1, **others):
    """Make an estimator whose maps are larger than its weights."""
    config = {
        "n_components": 1,
        "hidden_channels": channels,
        "kernel_size": kernel_size,
        "normalization": None,
        "linear_skip": False,
        **others,
    }
    made = ConvAutoencoderTransformer(2, max_iter=1).fit(np.eye(16))
    made.set_params(image_shape=image_shape, **config)
    made.network_ = zeros(
        ConvolutionalAutoencoder(image_shape=image_shape, activation="silu", **config)
    )
    made.n_features_in_ = math.prod(image_shape)
    made.mean_ = np.zeros(made.n_features_in_)
    made.image_shape_, made.n_components_ = image_shape, config["n_components"]
    return made


def of_densities(image_shape, channels):
    """Make an estimator of densities whose maps are larger than its weights."""
    made = ConvVariationalAutoencoder(
        1, image_shape=image_shape, hidden_channels=channels, linear_skip=False
    )
    fitted = ConvVariationalAutoencoder(1, linear_skip=False, max_iter=1)
    vars(made).update(
        {k: v for k, v in vars(fitted.fit(np.eye(16))).items() if k.endswith("_")}
    )
    config = {"image_shape": image_shape, "hidden_channels": channels}
    made.network_ = zeros(
        ConvVariationalNetwork(**{**fitted.network_.config, **config})
    )
    made.n_features_in_ = math.prod(image_shape)
    made.mean_ = np.full(made.n_features_in_, 0.5)
    made.image_shape_ = image_shape
    return made


def of_patches(image_shape, size, padding, n_units, grid=(1, 1)):
    """Make an estimator whose images have more or larger patches than values."""
    width = math.prod(image_shape)
    made = PatchAutoencoderTransformer(
        AutoencoderTransformer(3, max_iter=1), patch_size=2, pooling=1, n_components=1
    ).fit(np.eye(16))
    inner = made.autoencoder_
    inner.n_features_in_ = math.prod(size) * image_shape[2]
    sizes = {"n_features": inner.n_features_in_, "n_components": n_units}
    config = {**inner.network_.config, **sizes, "linear_skip": False}
    inner.network_ = zeros(DenseAutoencoder(**config))
    inner.n_components_ = n_units
    inner.mean_ = np.zeros(inner.n_features_in_)
    made.image_shape_, made.n_features_in_ = image_shape, width
    made.patch_size_, made.padding_, made.grid_ = size, padding, grid
    n_pooled = n_units * math.prod(grid)
    made.code_map_ = np.zeros((n_pooled, 1), np.float32)
    made.code_mean_ = np.zeros(n_pooled, np.float32)
    made.decoder_map_ = np.zeros((1, width), np.float32)
    made.decoder_mean_ = np.zeros(width, np.float32)
    return made


def of_layers(n_features, widths, **others):
    made = AutoencoderTransformer(2, hidden_layer_sizes=(2,), max_iter=1)
    made.fit(np.eye(4))
    config = {"n_features": n_features, "hidden_layer_sizes": widths, **others}
    made.network_ = zeros(DenseAutoencoder(**{**made.network_.config, **config}))
    made.n_features_in_, made.mean_ = n_features, np.zeros(n_features)
    made.hidden_layer_sizes_ = widths
    return made


LARGE = {
    "channels": lambda: of_maps((100, 100, 1), (4000, 4)),
    "normalised channels": lambda: of_maps(
        (128, 128, 1), (4000, 2), normalization="layer"
    ),
    "channels of a density": lambda: of_densities((100, 100, 1), (4000, 4)),
    "many to many": lambda: of_maps((256, 256, 1), (200, 200, 2)),
    "kernel": lambda: of_maps((256, 256, 1), (1,), 301),
    "kernel on a small image": lambda: of_maps((4, 4, 1), (1,), 501),
    "many maps": lambda: of_maps((2, 2, 1), (2,) * 300),
    "large image": lambda: of_maps((512, 512, 3), (16, 32, 64), 3),
    "patches": lambda: of_patches((100, 100, 1), (50, 50), (50, 50), 1),
    "units": lambda: of_patches((100, 100, 1), (2, 2), (100, 100), 2000),
    "line": lambda: of_patches((1, 10_000, 1), (1, 5000), (1, 5000), 2),
    "grid": lambda: of_patches((1, 4000, 1), (1, 1), (0, 0), 1, (1, 4000)),
    "many layers": lambda: of_layers(1, (1,) * 400, tied_weights=True),
    "normalised layers": lambda: of_layers(1, (1,) * 300, normalization="batch"),
    "wide layer": lambda: of_layers(1, (300_000,), linear_skip=False),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
def test_large_models_are_loaded_without_being_applied(make, path):
    use(load_within_bounds(path, originals()["convolutional"]))
    estimator = make()
    estimator.save(path)
    data = path.read_bytes()
    loaded = load_within_bounds(path, data)
    assert type(loaded) is type(estimator)
    loaded.save(path)
    assert path.read_bytes() == data


MAPS = [
    "channels",
    "channels of a density",
    "normalised channels",
    "many to many",
    "large image",
]


@pytest.mark.parametrize("name", MAPS)
def test_an_image_takes_memory_in_proportion_to_what_may_be_loaded(name, path):
    estimator = LARGE[name]()
    estimator.save(path)
    loaded = load_within_bounds(path, path.read_bytes())
    use(load_within_bounds(path, originals()["convolutional"]))
    with bounded_memory(4 * (10 * path.stat().st_size + 64 * MIB)):
        use(loaded)


@pytest.mark.parametrize(
    ("image_shape", "channels"),
    [((256, 256, 1), (1200, 2)), ((500, 500, 1), (500, 2)), ((2, 8000, 1), (5000, 1))],
)
def test_maps_that_no_file_justifies_are_refused(
    image_shape, channels, path, monkeypatch
):
    estimator = of_maps(image_shape, channels, linear_skip=False)
    with pytest.raises(ValueError, match=r"cannot be saved.*a feature map of one"):
        estimator.save(path)
    with monkeypatch.context() as patch:
        patch.setattr(schemas, "_MOST_BYTES", 2**40)
        estimator.save(path)
    with pytest.raises(ValueError, match=r"cannot be loaded: .*a feature map of one"):
        skautoenc.load(path)
    assert load_within_bounds(path, path.read_bytes()) is None


def set_params(**changes):
    def change(document, arrays):
        document["estimator"]["estimator"]["params"].update(changes)

    return change


N = 40_000
PRIME = 2**61 - 1
AMPLIFIED = {
    "lists": [[] for _ in range(20 * N)],
    "short lists": [[0] for _ in range(10 * N)],
    "dictionaries": [{} for _ in range(10 * N)],
    "kinds": [{"tuple": []} for _ in range(N)],
    "names": {"dict": [[k * PRIME, 0] for k in range(N)]},
    "names of parts": {"dict": [[{"tuple": [k * PRIME]}, 0] for k in range(N)]},
    "indexes": [{"index": [{"pandas_type": "object"}, []]} for _ in range(N // 4)],
    "points in time": [{"timestamp": [0, "s", "Europe/Berlin"]} for _ in range(N)],
    "wide strings": [
        {"array": ["U", [1000], ["a" * 1000, *[""] * 999]]} for _ in range(200)
    ],
    "estimators": [
        {"estimator": {"class": "AutoencoderTransformer", "params": {}, "fitted": {}}}
        for _ in range(N // 4)
    ],
    "requests": [{"requests": {}} for _ in range(N)],
    "types": [{"pandas_type": "datetime64[s, UTC]"} for _ in range(N)],
    "type of many parts": {"scalar": [",".join(["f4"] * N), 0]},
    "digits": [10**4000] * 100,
}


@pytest.mark.parametrize("value", AMPLIFIED.values(), ids=AMPLIFIED.keys())
def test_values_take_no_more_than_a_file_can_justify(value, path):
    document, arrays = _files.unpack(originals()["sparse"])
    set_params(hidden_layer_sizes=value)(document, arrays)
    load_within_bounds(path, bytes(_files.pack(document, arrays)))


def test_arrays_without_bytes_take_no_more_than_a_file_can_justify(path):
    document, arrays = _files.unpack(originals()["sparse"])
    arrays.update((str(n), np.zeros(0, np.float32)) for n in range(N))
    assert load_within_bounds(path, bytes(_files.pack(document, arrays))) is None


def folded(k):
    """Make a number whose halves cancel in the hash function of pandas."""
    return k * 2**32 + k


def hashed_alike(n):
    """Find floats with one hash in pandas."""
    multiplier, mask = 0x5BD1E995, 2**32 - 1
    inverse = pow(multiplier, -1, 2**32)
    first = (0xC70F6907 ^ 4) * multiplier & mask
    found = []
    for k in range(n):
        upper = 0x3FF00000 + k
        half = upper * multiplier & mask
        half = (half ^ half >> 24) * multiplier & mask
        lower = ((12345 ^ half) * inverse & mask ^ first) * inverse & mask
        lower = (lower ^ lower >> 24) * inverse & mask
        found.append(upper << 32 | lower)
    return np.array(found, dtype=np.uint64).view(np.float64)


def bits_alike(n):
    """Find integers with one hash in pandas."""
    lower = np.arange(n, dtype=np.uint64)
    for _ in range(4):
        lower = (np.arange(n, dtype=np.uint64) ^ (lower << 11)) & np.uint64(2**32 - 1)
    return ((np.arange(n, dtype=np.uint64) << 33) | lower).astype(np.int64)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (check_hashes, [k * PRIME for k in range(N)]),
        (check_hashes_of_pandas, [k * PRIME for k in range(N)]),
        (check_hashes_of_pandas, [folded(k) for k in range(N)]),
        (check_hashes_of_pandas, [float(folded(k)) for k in range(N)]),
        (check_hashes_of_pandas, [(folded(k), folded(1)) for k in range(N)]),
        (check_hashes_of_pandas, bits_alike(N)),
        (check_hashes_of_pandas, hashed_alike(N)),
    ],
)
def test_values_of_one_hash_are_refused(check, values):
    with pytest.raises(ValueError, match="the same hash"):
        check(values)
    # A few of them take no noticeable time.
    check(values[:1000])


@pytest.mark.parametrize(
    "values",
    [
        np.arange(N),
        np.arange(N) << 20,
        np.arange(N) * 86_400 * 10**9,
        np.arange(N) / 1000,
        np.arange(N, dtype=np.float64),
        np.random.default_rng(0).normal(size=N),
        list(range(N)),
        [k / 7 for k in range(N)],
        [float(k) for k in range(N)],
        [str(k) for k in range(N)],
        [(k, "a") for k in range(N)],
        [a << 32 | b for a in range(200) for b in range(200)],
        list(pd.date_range("2020", periods=N)),
        list(pd.date_range("2020", periods=N, freq="D")),
    ],
)
def test_values_that_happen_are_taken(values):
    check_hashes_of_pandas(values)
    if isinstance(values, list):
        check_hashes(values)


def in_a_type(values):
    dtype = {"i": "int64", "f": "float64"}[values.dtype.kind]
    index = {"index": [{"pandas_type": dtype}, values.tolist()]}
    return {"pandas_type": [index, False]}


@pytest.mark.parametrize(
    "values", [bits_alike(N), hashed_alike(N)], ids=["int", "float"]
)
def test_types_of_one_hash_are_refused(values):
    with pytest.raises(ValueError, match="the same hash"):
        reader().read(in_a_type(values))


# Tables


@cache
def tables():
    """Save tables of each library and scaling."""
    frame = make_frame()
    polars = pytest.importorskip("polars")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        files = {}
        for scaling in ("standard", "quantile"):
            for name, X in {
                "pandas": frame,
                "polars": polars.DataFrame(
                    {"n": [1.0, 2.0, None] * 9, "c": [*"aab"] * 9}
                ),
                "array": np.random.default_rng(0).normal(size=(20, 3)),
            }.items():
                made = TabularAutoencoderTransformer(
                    2, max_iter=1, scaling=scaling, hidden_layer_sizes=(3,)
                )
                made.set_params(min_frequency=0.1, random_state=0)
                with warnings.catch_warnings(action="ignore"):
                    # A column of objects that are numbers is a category.
                    made.fit(X).save(path)
                files[f"{name}-{scaling}"] = path.read_bytes()
    return files


def fitted_of(document):
    return document["estimator"]["estimator"]["fitted"]


def table_of(document):
    return fitted_of(document)["_table"]["record"][1]


def columns_of(document, kind):
    return [
        column["record"][1]
        for column in table_of(document)["columns"]
        if column["record"][0] == kind
    ]


def set_column(kind, **changes):
    return lambda document: columns_of(document, kind)[0].update(changes)


def many_levels(document):
    column = columns_of(document, "CategoryColumn")[0]
    column["levels"]["index"][1] = [str(number) for number in range(100_000)]


def many_levels_and_a_layout(document):
    many_levels(document)
    layout = table_of(document)["layout"]["record"][1]
    layout["n_levels"]["tuple"][0] = layout["n_codes"]["tuple"][0] = 100_000


def set_layout(**changes):
    return lambda document: table_of(document)["layout"]["record"][1].update(changes)


TABLES = {
    "levels": many_levels,
    "levels and layout": many_levels_and_a_layout,
    "no scale": set_column("NumberColumn", scale=0.0),
    "negative scale": set_column("NumberColumn", scale=-1.0),
    "scale": set_column("NumberColumn", scale=1),
    "mean": set_column("NumberColumn", mean={"float": "nan"}),
    "scaling": set_column("NumberColumn", scaling="none"),
    "empty": set_column("NumberColumn", is_empty=0),
    "quantiles": set_column("NumberColumn", quantiles={"tuple": []}),
    "one bound": set_column("NumberColumn", lowest=None),
    "bounds": set_column("NumberColumn", lowest=2.0, highest=1.0),
    "bound": set_column("NumberColumn", highest=10**30),
    "cost": set_column("CategoryColumn", rare_cost=-1.0),
    "no cost": set_column("CategoryColumn", unknown_cost=None),
    "unknown": set_column("CategoryColumn", handle_unknown="x"),
    "no levels": set_column("CategoryColumn", levels=[]),
    "infrequent": set_column("CategoryColumn", has_infrequent=2),
    "text": set_column("DateColumn", is_text=1),
    "time": set_column("DateColumn", _time=None),
    "times": set_column("DateColumn", has_times=True),
    "form": set_column("DateColumn", form="x"),
    "long form": set_column("DateColumn", form="%Y" * 10_000),
    "zoned": set_column("DateColumn", is_zoned="x"),
    "numbers": set_layout(n_numbers=5 * 10**8),
    "extras": set_layout(n_extras=5 * 10**8),
    "cells": set_layout(cells={"tuple": [0] * 1000}),
    "codes": set_layout(n_codes={"tuple": [10**9]}),
    "places": lambda document: table_of(document)["places"].reverse(),
    "columns": lambda document: table_of(document)["columns"].pop(),
    "order": lambda document: table_of(document)["columns"].reverse(),
    "width": lambda document: fitted_of(document).update(n_features_in_=12),
    "kinds": lambda document: fitted_of(document)["column_kinds_"]["dict"].pop(),
    "kind": lambda document: fitted_of(document)["column_kinds_"]["dict"][1].reverse(),
    "types": lambda document: fitted_of(document)["_schema"]["record"][1]["types"][
        "dict"
    ].pop(),
    "library": lambda document: fitted_of(document)["_schema"]["record"][1].update(
        library="numpy"
    ),
    "deviances": lambda document: fitted_of(document)["_deviances"].pop(),
    "deviance": lambda document: fitted_of(document)["_deviances"].__setitem__(0, 0.0),
    "constants": lambda document: fitted_of(document)["_loss_constants"]["dict"].append(
        ["null", 0.0]
    ),
}


@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES.keys())
def test_tables_that_do_not_fit_are_refused(change, path):
    document, arrays = _files.unpack(tables()["pandas-standard"])
    change(document)
    assert load_within_bounds(path, bytes(_files.pack(document, arrays))) is None


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("library", ["pandas", "polars", "array"])
def test_what_loads_of_a_table_works(scaling, library, path):
    original = tables()[f"{library}-{scaling}"]
    use(load_within_bounds(path, original))
    rng = np.random.default_rng(0)
    for _ in range(30):
        document, arrays = _files.unpack(original)
        inside = [
            fitted_of(document)[name] for name in ("_table", "_schema", "column_kinds_")
        ]
        node, key = choose(rng, nodes([part for part in inside if part is not None]))
        kind = type(node[key])
        if kind is list:
            node[key] = node[key] * int(choose(rng, [0, 2, 1000]))
        elif kind in (int, float, bool):
            node[key] = choose(rng, [*EXTREMES, 0.0, -1.0, 1e300, 1e-300, True, False])
        else:
            node[key] = choose(
                rng, [*STRINGS, None, 0, [], {}, *map(of_zone, ZONES, KINDS)]
            )
        loaded = load_within_bounds(path, bytes(_files.pack(document, arrays)))
        if loaded is not None:
            use(loaded)


def test_a_wide_table_loads_fast(path):
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=20), rng.choice([*"abc"], 20), rng.integers(9, size=20)]
    columns += [
        pd.date_range("2020", periods=20),
        pd.Categorical(rng.integers(3, size=20)),
    ]
    frame = pd.DataFrame({str(n): columns[n % 5] for n in range(400)})
    made = TabularAutoencoderTransformer(2, hidden_layer_sizes=(), max_iter=1)
    made.fit(frame).save(path)
    loaded = load_within_bounds(path, path.read_bytes())
    pd.testing.assert_frame_equal(loaded.impute(frame), made.impute(frame))
    # The one that differs from the others is tested.
    document, arrays = _files.unpack(path.read_bytes())
    types = fitted_of(document)["_schema"]["record"][1]["types"]["dict"]
    types[396][1] = {"pandas_type": "int8"}
    assert load_within_bounds(path, bytes(_files.pack(document, arrays))) is None
