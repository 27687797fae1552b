"""The pickles of CIFAR, read without running anything that they ask for.

A pickle is a program that may call whatever it can import. Here it can import four names, and gets
harmless stand-ins for them: numpy's array constructor, ``ndarray``, ``dtype``, and the ``encode``
with which Python 3 writes bytes in old protocols. Everything else is refused by name. Only arrays
of uint8 come out, as Python's own ints, strings, lists and dicts do.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError

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
