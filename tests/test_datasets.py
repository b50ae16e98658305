"""The IDX readers, on files that the tests write themselves."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from skautoenc.datasets import load_idx, load_idx_dataset

TYPE_CODES = {
    "uint8": 0x08,
    "int8": 0x09,
    "int16": 0x0B,
    "int32": 0x0C,
    "float32": 0x0D,
    "float64": 0x0E,
}
STANDARD_NAMES = {
    "data_train": "train-images-idx3-ubyte",
    "target_train": "train-labels-idx1-ubyte",
    "data_test": "t10k-images-idx3-ubyte",
    "target_test": "t10k-labels-idx1-ubyte",
}
DOTTED_NAMES = {
    part: name.replace("-idx", ".idx") for part, name in STANDARD_NAMES.items()
}


def idx_bytes(array: NDArray[Any]) -> bytes:
    header = bytes([0, 0, TYPE_CODES[array.dtype.name], array.ndim])
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def make_dataset() -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return {
        "data_train": rng.integers(0, 256, size=(6, 4, 3), dtype=np.uint8),
        "target_train": rng.integers(0, 10, size=6, dtype=np.uint8),
        "data_test": rng.integers(0, 256, size=(5, 4, 3), dtype=np.uint8),
        "target_test": rng.integers(0, 10, size=5, dtype=np.uint8),
    }


def write_dataset(
    folder: Path, dataset: dict[str, NDArray[Any]], names: dict[str, str]
) -> None:
    for part, array in dataset.items():
        content = idx_bytes(array)
        is_compressed = names[part].endswith(".gz")
        path = folder / names[part]
        path.write_bytes(gzip.compress(content) if is_compressed else content)


@pytest.mark.parametrize("dtype", TYPE_CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
def test_load_idx_round_trip(tmp_path: Path, dtype: str, shape: tuple[int]) -> None:
    # The values need every byte of the wider types, so that a wrong byte
    # order cannot pass.
    values = np.random.default_rng(0).uniform(-1, 1, size=shape)
    if dtype.startswith("float"):
        array = values.astype(dtype)
    else:
        limit = np.iinfo(dtype).max
        array = (np.abs(values) * limit).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(idx_bytes(array))

    loaded = load_idx(path)

    assert_array_equal(loaded, array, strict=True)
    assert loaded.dtype.isnative
    assert loaded.flags.writeable


@pytest.mark.parametrize("name", ["array.gz", "name-without-suffix"])
def test_load_idx_reads_gzip_whatever_the_name(tmp_path: Path, name: str) -> None:
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    path = tmp_path / name
    path.write_bytes(gzip.compress(idx_bytes(array)))

    assert_array_equal(load_idx(path), array, strict=True)


def test_load_idx_accepts_a_string(tmp_path: Path) -> None:
    path = tmp_path / "array"
    path.write_bytes(idx_bytes(np.arange(3, dtype=np.uint8)))

    assert_array_equal(load_idx(str(path)), [0, 1, 2])


def test_load_idx_reads_more_than_one_block(tmp_path: Path) -> None:
    array = np.arange(3_000_000, dtype=np.int32)
    path = tmp_path / "array"
    path.write_bytes(idx_bytes(array))

    assert_array_equal(load_idx(path), array)


VALID = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
DAMAGED = {
    "empty": (b"", "not an IDX file: it starts with nothing"),
    "short magic number": (VALID[:3], "not an IDX file: it starts with 00 00 08"),
    "other file type": (b"<!DOCTYPE html>", "it starts with 3c 21 44 4f"),
    "unknown type": (b"\0\0\x0a\1" + VALID[4:], "unknown type code 0x0a"),
    "no dimension": (b"\0\0\x08\0", "declares 0 dimensions"),
    "too many dimensions": (b"\0\0\x08\xff" + VALID[4:], "declares 255 dimensions"),
    "truncated header": (VALID[:9], "ends inside its header, after 9 bytes"),
    "no values": (
        idx_bytes(np.empty((0, 3), dtype=np.uint8)),
        r"declares the shape \(0, 3\), which holds no values",
    ),
    "no data": (VALID[:12], "declares 6 bytes of data .* holds only 0 bytes"),
    "truncated data": (VALID[:-1], "declares 6 bytes of data .* holds only 5 bytes"),
    "trailing data": (VALID + b"\0", "declares 6 bytes of data .* holds more"),
    "little-endian sizes": (
        b"\0\0\x08\1" + np.array([6], dtype="<u4").tobytes() + bytes(6),
        "declares 100663296 bytes of data .* holds only 6 bytes",
    ),
}


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_load_idx_rejects_damaged_content(
    tmp_path: Path, content: bytes, message: str, is_compressed: bool
) -> None:
    path = tmp_path / "damaged-file"
    path.write_bytes(gzip.compress(content) if is_compressed else content)

    with pytest.raises(ValueError, match=f"damaged-file.*{message}"):
        load_idx(path)


GZIP = gzip.compress(idx_bytes(np.random.default_rng(0).random(1000)))
DAMAGED_GZIP = {
    "truncated": GZIP[: len(GZIP) // 2],
    "cut before the checksum": GZIP[:-8],
    "wrong checksum": GZIP[:-8] + bytes(8),
    "wrong bytes inside": GZIP[:10] + b"\xff" + GZIP[11:],
    "trailing bytes": GZIP + b"more",
    "magic number only": GZIP[:2],
}


@pytest.mark.parametrize("content", DAMAGED_GZIP.values(), ids=DAMAGED_GZIP.keys())
def test_load_idx_rejects_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged-file.gz"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"damaged-file\.gz is a damaged gzip file"):
        load_idx(path)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_load_idx_does_not_allocate_the_declared_size(
    tmp_path: Path, is_compressed: bool
) -> None:
    content = b"\0\0\x0e\3" + b"\xff\xff\xff\xff" * 3 + bytes(100)
    path = tmp_path / "huge"
    path.write_bytes(gzip.compress(content) if is_compressed else content)

    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="holds only 100 bytes"):
            load_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 * 2**20


def test_load_idx_stops_where_compressed_content_exceeds_the_header(
    tmp_path: Path,
) -> None:
    path = tmp_path / "expanding.gz"
    path.write_bytes(gzip.compress(VALID + bytes(200 * 2**20)))

    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="holds more"):
            load_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 * 2**20


def test_load_idx_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        load_idx(tmp_path / "absent")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("names", [STANDARD_NAMES, DOTTED_NAMES])
def test_load_idx_dataset(tmp_path: Path, names: dict[str, str], suffix: str) -> None:
    dataset = make_dataset()
    write_dataset(
        tmp_path, dataset, {part: name + suffix for part, name in names.items()}
    )

    loaded = load_idx_dataset(tmp_path)

    assert loaded.image_shape == (4, 3)
    for part in ("data_train", "data_test"):
        flat = dataset[part].reshape(len(dataset[part]), 12)
        assert_array_equal(loaded[part], flat, strict=True)
    for part in ("target_train", "target_test"):
        assert_array_equal(loaded[part], dataset[part], strict=True)


def test_load_idx_dataset_mixed_spellings(tmp_path: Path) -> None:
    dataset = make_dataset()
    names = STANDARD_NAMES | {
        "target_train": "train-labels.idx1-ubyte.gz",
        "data_test": "t10k-images-idx3-ubyte.gz",
    }
    write_dataset(tmp_path, dataset, names)

    loaded = load_idx_dataset(str(tmp_path))

    assert_array_equal(loaded.target_train, dataset["target_train"])
    assert loaded.data_test.shape == (5, 12)


def test_load_idx_dataset_names_the_missing_files(tmp_path: Path) -> None:
    write_dataset(tmp_path, make_dataset(), STANDARD_NAMES)
    (tmp_path / STANDARD_NAMES["target_train"]).unlink()
    (tmp_path / STANDARD_NAMES["data_test"]).unlink()

    with pytest.raises(FileNotFoundError) as error:
        load_idx_dataset(tmp_path)

    message = str(error.value)
    assert message.startswith(f"2 of the 4 IDX files are missing from {tmp_path}: ")
    assert STANDARD_NAMES["target_train"] in message
    assert STANDARD_NAMES["data_test"] in message
    assert STANDARD_NAMES["data_train"] not in message
    assert STANDARD_NAMES["target_test"] not in message
    assert "--data-dir" in message
    assert "fetch_openml" in message


def test_load_idx_dataset_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent.*--data-dir"):
        load_idx_dataset(tmp_path / "absent")


@pytest.mark.parametrize("part", ["train", "test"])
def test_load_idx_dataset_rejects_unequal_counts(tmp_path: Path, part: str) -> None:
    dataset = make_dataset()
    dataset[f"target_{part}"] = dataset[f"target_{part}"][:4]
    write_dataset(tmp_path, dataset, STANDARD_NAMES)

    n_images = len(dataset[f"data_{part}"])
    with pytest.raises(ValueError, match=f"holds {n_images} images .* holds 4 labels"):
        load_idx_dataset(tmp_path)


def test_load_idx_dataset_rejects_unequal_image_shapes(tmp_path: Path) -> None:
    dataset = make_dataset()
    dataset["data_test"] = dataset["data_test"].reshape(5, 3, 4)
    write_dataset(tmp_path, dataset, STANDARD_NAMES)

    with pytest.raises(ValueError, match=r"t10k.*\(3, 4\) .*train.*\(4, 3\)"):
        load_idx_dataset(tmp_path)


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        ("data_train", np.zeros(6, dtype=np.uint8), "holds 1-dimensional uint8"),
        ("data_test", np.zeros((5, 4, 3), dtype=np.float32), "3-dimensional float32"),
        ("target_train", np.zeros((6, 4, 3), dtype=np.uint8), "3-dimensional uint8"),
        ("target_test", np.zeros(5, dtype=np.float64), "1-dimensional float64"),
    ],
)
def test_load_idx_dataset_rejects_files_in_the_wrong_place(
    tmp_path: Path, part: str, array: NDArray[Any], message: str
) -> None:
    dataset: dict[str, NDArray[Any]] = {**make_dataset(), part: array}
    write_dataset(tmp_path, dataset, STANDARD_NAMES)

    with pytest.raises(ValueError, match=f"{STANDARD_NAMES[part]} .*{message}"):
        load_idx_dataset(tmp_path)
