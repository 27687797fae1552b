"""CIFAR-10 and CIFAR-100 as their authors publish them: pickled batches of rows (N, 3072).

A row holds 1,024 red, then green, then blue values of a 32 × 32 picture. The unpacked folder or the
archive (``cifar-10-python.tar.gz``) is read.

A pickle is a program that may call whatever it can import. Here it can import four names, and gets
harmless stand-ins for them: numpy's array constructor, ``ndarray``, ``dtype``, and the ``encode``
with which Python 3 writes bytes in old protocols. Everything else is refused by name. Only arrays
of uint8 come out, as Python's own ints, strings, lists and dicts do.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import LoadedData
from .arrays import Arrays, open_arrays
from .files import as_text, find_members, member_files, read_members
from .request import DataRequest


@dataclass(frozen=True)
class Layout:
    """Names inside one of the two archives."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.meta)


CIFAR10 = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
CIFAR100 = Layout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)


def load_cifar10(request: DataRequest) -> LoadedData:
    """CIFAR-10 from ``cifar-10-batches-py`` or its archive."""
    return _load(request, CIFAR10)


def load_cifar100(request: DataRequest) -> LoadedData:
    """CIFAR-100 (the 100 fine classes) from ``cifar-100-python`` or its archive."""
    return _load(request, CIFAR100)


def _load(request: DataRequest, layout: Layout) -> LoadedData:
    place = find_members(request, layout.folder, layout.archive)
    read: dict[str, dict[str, Any]] = {}

    def batches() -> dict[str, dict[str, Any]]:
        if not read:  # one pass through the archive serves both parts
            for name, content in read_members(place, layout.folder, layout.files):
                read[name] = read_pickle(content, f"{name} of {place}")
        return read

    def part(which: str) -> Arrays:
        names = layout.train if which == "train" else layout.test
        return _joined([_batch(batches()[name], layout.labels, name) for name in names])

    def classes() -> Iterable[str]:
        names = _field(batches()[layout.meta], layout.names, layout.meta)
        if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names):
            raise RequestError(f"{layout.meta} needs a list of class names in {layout.names}")
        return [n if isinstance(n, str) else as_text(n, layout.meta) for n in names]

    return open_arrays(request, member_files(place, layout.files), classes, part)


def _batch(batch: dict[str, Any], labels: str, name: str) -> Arrays:
    rows = _field(batch, "data", name)
    if getattr(rows, "ndim", 0) != 2 or rows.shape[1] != 3072:
        raise RequestError(f"{name} needs images as rows of 3072 numbers; download it again")
    return Arrays(rows.reshape(-1, 3, 32, 32), np.asarray(_field(batch, labels, name)))


def _field(batch: dict[str, Any], key: str, name: str) -> Any:
    if key not in batch:
        raise RequestError(f"{name} needs an entry {key!r}, got {', '.join(map(str, batch))}")
    return batch[key]


def _joined(parts: list[Arrays]) -> Arrays:
    return Arrays(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


def read_pickle(content: bytes, name: str) -> dict[str, Any]:
    """The dict in a pickle of plain containers and uint8 arrays; byte strings stay bytes.

    Raises:
        RequestError: the pickle asks for anything else (named), is cut off or broken, or holds no
            dict.
    """
    try:
        loaded = _Reader(io.BytesIO(content), name).load()
    except RequestError:
        raise
    except Exception as error:  # a broken pickle can raise whatever its opcodes stumble over
        raise RequestError(
            f"{name} is not a whole pickle of arrays ({type(error).__name__}: {error}); download "
            "it again"
        ) from error
    if not isinstance(loaded, dict):
        raise RequestError(f"{name} needs a pickled dict, got {type(loaded).__name__}")
    return {_text(key): getattr(value, "array", value) for key, value in loaded.items()}


class _Reader(pickle._Unpickler):
    """The reader written in Python: the one in C takes 16 bytes for every number up to that of a
    memo, so that ten bytes of a broken or malicious file can take all the memory."""

    # The one opcode that sets aside as much as it is told to, before it looks for the bytes.
    dispatch: ClassVar[dict[int, Any]] = {
        code: work
        for code, work in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file, encoding="bytes")
        self._name = name
        # Made anew for every file: a pickle could set attributes on what it is handed.
        self._known = _stand_ins(name)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise RequestError(
                f"{self._name} is a pickle that asks for {module}.{name}; only plain arrays are "
                "read, and nothing was run"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise RequestError(f"{self._name} is a pickle with outside references; none are followed")


def _stand_ins(name: str) -> dict[tuple[str, str], Any]:
    class Kind:
        """numpy.dtype, of which only uint8 is known."""

        def __init__(self, code: Any, *_: Any) -> None:
            if _text(code) not in ("u1", "|u1", "uint8"):
                raise RequestError(f"{name} needs arrays of uint8, got type {_text(code)!r}")

        def __setstate__(self, state: Any) -> None:
            """Byte order and field names, of which uint8 has none."""

    class Array:
        """numpy.ndarray: takes its shape and bytes from numpy's state, after checking both."""

        array: NDArray[np.uint8]

        def __setstate__(self, state: Any) -> None:
            _, shape, kind, fortran, raw = state
            if not isinstance(kind, Kind) or not isinstance(raw, bytes):
                raise RequestError(f"{name} needs arrays of uint8, got other contents")
            flat = np.frombuffer(raw, dtype=np.uint8)
            self.array = flat.reshape(shape, order="F" if fortran else "C")

    def reconstruct(*_: Any) -> Array:
        return Array()

    def encode(text: str, codec: Any) -> bytes:
        if _text(codec) not in ("latin1", "latin-1"):
            raise RequestError(f"{name} encodes bytes as {codec!r}; only latin1 is known")
        return text.encode("latin1")

    known: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Kind,
        ("_codecs", "encode"): encode,
    }
    return known | {(module, "_reconstruct"): reconstruct for module in ARRAY_MODULES}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
