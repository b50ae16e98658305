"""Readers for image sets stored as IDX files, the format of MNIST."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

__all__ = ["load_idx", "load_idx_dataset"]

GZIP_MAGIC = b"\x1f\x8b"
READ_SIZE = 2**20
# NumPy 1 stops at 32 dimensions, NumPy 2 at 64.
MAX_DIMENSIONS = 32

# IDX stores every value most significant byte first.
IDX_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

# Some archives spell the same file with a dot before "idx".
IDX_DATASET_FILES = {
    "data_train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "target_train": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "data_test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "target_test": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}


def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or compressed with gzip.

    Compression is recognised by the content of the file, so that the name
    does not matter. The file is checked in full: an array is returned only
    when the content has exactly the size that the header declares.

    Parameters
    ----------
    path : str or path-like
        The file to read.

    Returns
    -------
    array : ndarray
        The values, with the shape that the file declares, in the native byte
        order. The dtype is one of uint8, int8, int16, int32, float32 and
        float64.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not an IDX file, declares an unknown type of value or
        no values at all, holds less or more data than it declares, or is a
        damaged gzip file.

    See Also
    --------
    load_idx_dataset : Read the four files of MNIST or of a set like it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skautoenc.datasets import load_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     load_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as raw_file:
        is_compressed = raw_file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw_file.seek(0)
        if not is_compressed:
            return _read_idx(raw_file, path)
        try:
            with gzip.GzipFile(fileobj=raw_file) as idx_file:
                return _read_idx(idx_file, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is a damaged gzip file ({error}). Download it again."
            ) from error


def load_idx_dataset(folder: str | os.PathLike[str]) -> Bunch:
    """Read the four IDX files of MNIST, or of a set with the same file names.

    Fashion-MNIST, KMNIST and others are published under the same names:
    ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``. Each file may be
    plain or end in ``.gz``; where both are there the plain one is read. The
    spelling ``train-images.idx3-ubyte`` is accepted too.

    Parameters
    ----------
    folder : str or path-like
        The folder that holds the files.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the following attributes.

        data_train : ndarray of shape (n_train, n_pixels), dtype uint8
            The training images, one per row.
        target_train : ndarray of shape (n_train,)
            The classes of the training images.
        data_test : ndarray of shape (n_test, n_pixels), dtype uint8
            The test images, one per row.
        target_test : ndarray of shape (n_test,)
            The classes of the test images.
        image_shape : tuple of (int, int)
            The height and the width of an image, for
            ``data_train[0].reshape(image_shape)``.

    Raises
    ------
    FileNotFoundError
        If the folder or any of the four files is missing. The message lists
        the missing files.
    ValueError
        If a file is damaged, does not hold what its name says, or does not
        fit the others: as many labels as images are needed in each part, and
        images of one size in both.

    See Also
    --------
    load_idx : Read one IDX file.
    sklearn.datasets.fetch_openml : Download MNIST and many other data sets.
    """
    paths = _find_dataset_files(Path(folder))
    data_train, target_train = _load_part(paths["data_train"], paths["target_train"])
    data_test, target_test = _load_part(paths["data_test"], paths["target_test"])
    image_shape = data_train.shape[1:]
    if data_test.shape[1:] != image_shape:
        raise ValueError(
            f"{paths['data_test']} holds images of shape {data_test.shape[1:]} but "
            f"{paths['data_train']} holds images of shape {image_shape}. Put the "
            "files of one data set in the folder."
        )
    return Bunch(
        data_train=data_train.reshape(len(data_train), -1),
        target_train=target_train,
        data_test=data_test.reshape(len(data_test), -1),
        target_test=target_test,
        image_shape=image_shape,
    )


def _read_idx(idx_file: BinaryIO | gzip.GzipFile, path: Path) -> NDArray[Any]:
    """Read an uncompressed IDX stream; `path` is for the messages."""
    dtype, shape = _read_header(idx_file, path)
    n_bytes = math.prod(shape) * dtype.itemsize
    # One byte more than declared tells whether anything follows the data. It
    # also makes gzip reach the end of the file, where it checks the checksum.
    content = _read_at_most(idx_file, n_bytes + 1)
    if len(content) != n_bytes:
        found = "more" if len(content) > n_bytes else f"only {len(content)} bytes"
        raise ValueError(
            f"{path} declares {n_bytes} bytes of data (shape {shape}, type "
            f"{dtype.name}) but holds {found}. Download it again."
        )
    array = np.frombuffer(content, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    idx_file: BinaryIO | gzip.GzipFile, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read and check the type of the values and the shape of the array."""
    magic = _read_at_most(idx_file, 4)
    if len(magic) < 4 or magic[:2] != b"\x00\x00":
        found = magic.hex(" ") or "nothing"
        raise ValueError(
            f"{path} is not an IDX file: it starts with {found} (hexadecimal) "
            "where 00 00, a type code and a number of dimensions are needed. "
            "Check that it is the right file."
        )
    type_code, n_dimensions = magic[2], magic[3]
    if type_code not in IDX_DTYPES:
        raise ValueError(
            f"{path} has the unknown type code 0x{type_code:02x}; the known ones "
            f"are {', '.join(f'0x{code:02x}' for code in IDX_DTYPES)}. Check that "
            "it is an IDX file."
        )
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise ValueError(
            f"{path} declares {n_dimensions} dimensions; 1 to {MAX_DIMENSIONS} can "
            "be read. Check that it is an IDX file."
        )
    sizes = _read_at_most(idx_file, 4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise ValueError(
            f"{path} ends inside its header, after {4 + len(sizes)} bytes. Download "
            "it again."
        )
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    if 0 in shape:
        raise ValueError(
            f"{path} declares the shape {shape}, which holds no values. Check that "
            "it is the right file."
        )
    return IDX_DTYPES[type_code], shape


def _read_at_most(idx_file: BinaryIO | gzip.GzipFile, n_bytes: int) -> bytearray:
    """Read `n_bytes` bytes, or fewer where the file ends before."""
    # A single read of `n_bytes` would allocate all of it first, and a damaged
    # header can declare more than the machine has.
    content = bytearray()
    while len(content) < n_bytes:
        block = idx_file.read(min(READ_SIZE, n_bytes - len(content)))
        if not block:
            break
        content += block
    return content


def _find_dataset_files(folder: Path) -> dict[str, Path]:
    """Map each part of the data set to its file, or say what is missing."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. {_how_to_get_files()}")
    paths = {}
    missing = []
    for part, spellings in IDX_DATASET_FILES.items():
        names = [name + suffix for name in spellings for suffix in ("", ".gz")]
        found = [folder / name for name in names if (folder / name).is_file()]
        if found:
            paths[part] = found[0]
        else:
            missing.append(f"{spellings[0]}[.gz]")
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the 4 IDX files are missing from {folder}: "
            f"{', '.join(missing)}. {_how_to_get_files()}"
        )
    return paths


def _how_to_get_files() -> str:
    return (
        "Download the four files under their usual names and pass their folder "
        "(--data-dir in the examples), or load the images with "
        "sklearn.datasets.fetch_openml, as 'mnist_784' or 'Fashion-MNIST'."
    )


def _load_part(
    images_path: Path, labels_path: Path
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Read the images and labels of the training or the test part."""
    images = load_idx(images_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"{images_path} holds {images.ndim}-dimensional {images.dtype} values; "
            "images need 3 dimensions (image, row, column) of uint8. Check that it "
            "is the right file."
        )
    labels = load_idx(labels_path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{labels_path} holds {labels.ndim}-dimensional {labels.dtype} values; "
            "labels need 1 dimension of integers. Check that it is the right file."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images but {labels_path} holds "
            f"{len(labels)} labels. Put the files of one data set in the folder."
        )
    return images, labels
