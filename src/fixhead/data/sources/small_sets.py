"""Small published sets of arrays: scikit-learn's digits, MNIST, Fashion-MNIST, STL-10 and SVHN.

idx (MNIST and its kin): ``0 0 type ndim  size_1 … size_ndim  data``, with big-endian 32-bit sizes;
type 8 is uint8; gzipped or not, whatever the name says (LeCun, Cortes, Burges 1998).
STL-10, the labelled part: ``train_X.bin`` and ``test_X.bin`` of (N, 3, 96, 96), column by column,
and labels 1..10 in ``*_y.bin`` (Coates, Lee, Ng 2011).
SVHN, cropped digits: MATLAB files with X (32, 32, 3, N) of uint8 and y (N, 1) in 1..10, where 10 is
the digit 0 (Netzer et al. 2011). ``svhn`` trains on the 73,257 training images, ``svhn-extra`` on
those and the 531,131 easier ones of ``extra_32x32.mat``, as Yang et al. 2022 do.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError, require
from ..cache import LoadedData
from ..dataset import Split, moments
from ..splits import holdout_split
from .arrays import Arrays, open_arrays
from .files import as_text, find_members, member_files, read_members
from .request import NO_TEST, DataRequest


def load_digits(request: DataRequest) -> LoadedData:
    """Read from the installed package, levels stretched to 0..255; nothing is cached."""
    digits = require("sklearn.datasets", extra="lab").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train, test = (Split(images[part], labels[part]) for part in holdout_split(labels))
    return LoadedData(tuple("0123456789"), train, test, (NO_TEST,), moments(train.images))


UINT8 = 8
GZIP_MAGIC = b"\x1f\x8b"
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
IDX_LIMIT_BYTES = 1 << 32
"""More than this is refused before anything is unpacked (a gzip file can swell a thousandfold)."""


IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load_mnist(request: DataRequest) -> LoadedData:
    """MNIST: the four idx files, in the data folder or in its ``MNIST/raw``."""
    return _load_idx(request, "MNIST/raw", tuple("0123456789"))


def load_fashion(request: DataRequest) -> LoadedData:
    """Fashion-MNIST: the same four files, in the data folder or in its ``FashionMNIST/raw``."""
    return _load_idx(request, "FashionMNIST/raw", FASHION)


def _load_idx(request: DataRequest, inside: str, classes: tuple[str, ...]) -> LoadedData:
    found = {
        part: [request.find((name, f"{name}.gz"), (inside,)) for name in names]
        for part, names in IDX_FILES.items()
    }

    def read(part: str) -> Arrays:
        images, labels = (read_idx(found[part][i], ndim=ndim) for i, ndim in enumerate((3, 1)))
        return Arrays(images[:, None], labels.astype(np.int64))

    return open_arrays(request, found["train"] + found["test"], lambda: classes, read)


def read_idx(path: Path, *, ndim: int) -> NDArray[np.uint8]:
    """The uint8 array of ``ndim`` dimensions in an idx file.

    Raises:
        RequestError: not an idx file, another type or number of dimensions, or another number of
            bytes than its header promises (cut off, or with something behind).
    """
    content = _unzipped(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise RequestError(f"{path} needs to be an idx file, got other content; download it again")
    if content[2] != UINT8 or content[3] != ndim:
        raise RequestError(
            f"{path} needs uint8 (type 8) in {ndim} dimensions, got type {content[2]} in "
            f"{content[3]} dimensions"
        )
    start = 4 + 4 * ndim
    if len(content) < start:
        raise RequestError(f"{path} is cut off within its header; download it again")
    shape = struct.unpack(f">{ndim}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise RequestError(
            f"{path} needs {math.prod(shape)} bytes for its shape {shape}, got "
            f"{len(content) - start}; download it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _unzipped(path: Path) -> bytes:
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            content: bytes = file.read(IDX_LIMIT_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RequestError(
            f"{path} is not a whole gzip file ({error}); download it again"
        ) from error
    if len(content) > IDX_LIMIT_BYTES:
        raise RequestError(f"{path} needs at most 4 GiB unpacked, and holds more")
    return content


STL10_FOLDER = "stl10_binary"
STL10_ARCHIVE = "stl10_binary.tar.gz"
STL10_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
STL10_BYTES = 3 * 96 * 96


def load_stl10(request: DataRequest) -> LoadedData:
    """The 5,000 labelled training and 8,000 test images of 96 × 96."""
    place = find_members(request, STL10_FOLDER, STL10_ARCHIVE)

    @cache
    def members() -> dict[str, bytes]:
        return dict(read_members(place, STL10_FOLDER, STL10_FILES))

    def read(part: str) -> Arrays:
        return _stl10_arrays(members()[f"{part}_X.bin"], members()[f"{part}_y.bin"], part)

    def classes() -> list[str]:
        return as_text(members()["class_names.txt"], "class_names.txt").split()

    return open_arrays(request, member_files(place, STL10_FILES), classes, read)


def _stl10_arrays(images: bytes, labels: bytes, part: str) -> Arrays:
    if len(images) % STL10_BYTES:
        raise RequestError(
            f"{part}_X.bin needs whole images of {STL10_BYTES} bytes, got {len(images)} bytes in "
            "all; download it again"
        )
    columns = np.frombuffer(images, dtype=np.uint8).reshape(-1, 3, 96, 96)
    # Stored column by column: the last two axes are (x, y).
    return Arrays(columns.transpose(0, 1, 3, 2), np.frombuffer(labels, np.uint8).astype(int) - 1)


def load_svhn(request: DataRequest) -> LoadedData:
    """SVHN with its own training part."""
    return _load_svhn(request, ("train",))


def load_svhn_extra(request: DataRequest) -> LoadedData:
    """SVHN with the training and the extra part together."""
    return _load_svhn(request, ("train", "extra"))


def _load_svhn(request: DataRequest, training: tuple[str, ...]) -> LoadedData:
    files = {
        part: request.find((f"{part}_32x32.mat",), ("svhn", "SVHN")) for part in (*training, "test")
    }

    def read(part: str) -> Arrays:
        chosen = training if part == "train" else ("test",)
        arrays = [read_mat(files[name]) for name in chosen]
        return Arrays(*(np.concatenate(both) for both in zip(*arrays, strict=True)))

    return open_arrays(request, files.values(), lambda: "0123456789", read)


def read_mat(path: Path) -> Arrays:
    """Images (N, 3, 32, 32) and labels 0..9 of one file.

    Raises:
        RequestError: cut off, no MATLAB file, or without the arrays X and y of those shapes.
    """
    loadmat = require("scipy.io", extra="lab").loadmat
    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # scipy raises many kinds on broken files
        raise RequestError(
            f"{path} is not a whole MATLAB file ({type(error).__name__}: {error}); download it "
            "again"
        ) from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None:
        raise RequestError(f"{path} needs the arrays X and y, and lacks one")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise RequestError(f"{path} needs X of uint8 (32, 32, 3, N), got {images.shape}")
    digits = labels.reshape(-1).astype(np.int64)
    if len(digits) and (digits.min() < 1 or digits.max() > 10):
        raise RequestError(f"{path} needs labels 1 to 10, got {digits.min()} to {digits.max()}")
    return Arrays(images.transpose(3, 2, 0, 1), digits % 10)
