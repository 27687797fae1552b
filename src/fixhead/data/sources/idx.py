"""The idx format of MNIST and its kin, read and checked byte for byte.

``0 0 type ndim  size_1 … size_ndim  data``: big-endian 32-bit sizes, type 8 is uint8. Files may be
gzipped, whatever their name says.

Source: LeCun, Cortes, Burges 1998, "The MNIST database", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import Entry
from .arrays import Arrays, open_arrays
from .request import Request

UINT8 = 8
GZIP_MAGIC = b"\x1f\x8b"
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
LIMIT_BYTES = 1 << 32
"""More than this is refused before anything is unpacked (a gzip file can swell a thousandfold)."""


FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load_mnist(request: Request) -> Entry:
    """MNIST: the four idx files, in the data folder or in its ``MNIST/raw``."""
    return _load(request, "MNIST/raw", tuple("0123456789"))


def load_fashion(request: Request) -> Entry:
    """Fashion-MNIST: the same four files, in the data folder or in its ``FashionMNIST/raw``."""
    return _load(request, "FashionMNIST/raw", FASHION)


def _load(request: Request, inside: str, classes: tuple[str, ...]) -> Entry:
    found = {
        part: [request.find((name, f"{name}.gz"), (inside,)) for name in names]
        for part, names in FILES.items()
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
    content = _content(path)
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


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            content: bytes = file.read(LIMIT_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RequestError(
            f"{path} is not a whole gzip file ({error}); download it again"
        ) from error
    if len(content) > LIMIT_BYTES:
        raise RequestError(f"{path} needs at most 4 GiB unpacked, and holds more")
    return content
