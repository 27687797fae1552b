"""The compiled path for code vectors on the CPU: the library, the choice to take it, its calls.

FIXHEAD_SCALE_PATH says which path code vectors take on the CPU:
    auto                the fastest that is there (the default)
    torch               never the library
    native              the library, in the best form that this processor runs
    native-avx512, native-avx2, native-portable      that form of it
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..._errors import PerformanceWarning, RequestError

VARIABLE = "FIXHEAD_SCALE_PATH"
VERSION = 1
"""Of the functions below; a library that says another is not used."""

FORMS = {"native-avx512": 4, "native-avx2": 2, "native-portable": 1}
"""Best first, with the bit by which the library calls them."""

CHOICES = ("auto", "torch", "native", *FORMS)
FILE = Path(__file__).with_name("_kernel.so")
_HOME = os.getpid()


@dataclass(frozen=True)
class NativePath:
    """The path in use and why; ``library`` is None on the PyTorch path."""

    name: str
    why: str
    library: ctypes.CDLL | None = None

    @property
    def form(self) -> int:
        return FORMS[self.name]


_forced: ContextVar[str | None] = ContextVar("forced", default=None)


@contextmanager
def forced(choice: str) -> Iterator[None]:
    """Take this path within, whatever the environment says."""
    token = _forced.set(choice)
    try:
        yield
    finally:
        _forced.reset(token)


def chosen() -> NativePath:
    """The path for code vectors in float32 on the CPU.

    Raises:
        RequestError: an unknown path, or a forced one that is not there.
    """
    choice = _forced.get() or os.environ.get(VARIABLE) or "auto"
    return _choose(choice, FILE)


def available() -> bool:
    """Whether the compiled library is there."""
    return _open(FILE)[0] is not None


def paths() -> list[tuple[str, bool, str]]:
    """Every path: its name, whether it can be had here, and why not or what it is."""
    library, trouble = _open(FILE)
    able = 0 if library is None else library.fixhead_forms()
    rows = [
        (name, bool(able & bit), trouble or ("" if able & bit else "not on this processor"))
        for name, bit in FORMS.items()
    ]
    return [*rows, ("torch", True, "everywhere, other devices and float64 included")]


@lru_cache(maxsize=32)
def _choose(choice: str, file: Path) -> NativePath:
    if choice not in CHOICES:
        raise RequestError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "torch":
        return NativePath("torch", f"{VARIABLE}=torch")
    library, trouble = _open(file)
    if library is None:
        if choice != "auto":
            raise RequestError(
                f"{VARIABLE}={choice} needs the compiled library, but {trouble}; "
                "install fixhead where there is a C compiler, or use auto"
            )
        warnings.warn(
            f"code vectors take the PyTorch path, which is several times slower: {trouble}; "
            f"install fixhead where there is a C compiler, or set {VARIABLE}=torch",
            PerformanceWarning,
            stacklevel=2,
        )
        return NativePath("torch", trouble)
    able = [name for name, bit in FORMS.items() if library.fixhead_forms() & bit]
    if choice in FORMS and choice not in able:
        raise RequestError(
            f"{VARIABLE}={choice} needs a processor that has it, got one for {', '.join(able)}"
        )
    if choice in FORMS:
        return NativePath(choice, f"{VARIABLE}={choice}", library)
    return NativePath(able[0], "the best form that this processor runs", library)


@lru_cache(maxsize=4)
def _open(file: Path) -> tuple[ctypes.CDLL | None, str]:
    """The library, or what is wrong."""
    if not file.exists():
        return None, f"there is no {file.name} (it was not built)"
    try:
        library = ctypes.CDLL(str(file))
        version = int(library.fixhead_version())
    except (OSError, AttributeError) as error:
        return None, f"{file.name} cannot be loaded ({error})"
    if version != VERSION:
        return None, f"{file.name} has version {version} and {VERSION} is needed (install again)"
    _declare(library)
    _share(library)
    return library, ""


def _share(library: ctypes.CDLL) -> None:
    """Let the library use the threads that torch has, where they are an OpenMP runtime's.

    Not in a forked process: that runtime would wait there for threads that are gone.
    """
    if os.getpid() != _HOME:
        return
    there: bool = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
    pool = getattr(ctypes.CDLL(None), "GOMP_parallel", None) if there else None
    if pool is not None:
        library.fixhead_share.restype, library.fixhead_share.argtypes = None, [ctypes.c_void_p]
        library.fixhead_share(ctypes.cast(pool, ctypes.c_void_p))


def _declare(library: ctypes.CDLL) -> None:
    pointer, small, whole, real = (
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.c_double,
    )
    front = [small, small, pointer, whole, whole, pointer, whole]
    signatures = {
        "fixhead_forms": (small, []),
        "fixhead_most": (small, []),
        "fixhead_words": (whole, [whole, whole]),
        "fixhead_arrange": (None, [pointer, whole, whole, whole, pointer]),
        "fixhead_rows": (None, [pointer, whole, whole, pointer, whole, pointer]),
        "fixhead_rest": (small, [*front, pointer, pointer, real, pointer, pointer]),
        "fixhead_slope": (small, [*front, pointer, pointer, real, pointer, pointer, pointer]),
        "fixhead_top": (small, [*front, pointer, small, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


# Its functions on tensors: float32 features on the CPU, packed sign diagonals.

_ORDERS = range(16, (1 << 26) + 1)
_arranged: Any = WeakIdKeyDictionary()


def library_for(projected: Tensor, packed: Tensor | None) -> NativePath | None:
    """The compiled path, where it takes these; otherwise None."""
    if packed is None or projected.device.type != "cpu" or projected.dtype != torch.float32:
        return None
    if packed.device.type != "cpu" or packed.shape[0] not in _ORDERS:
        return None
    path = chosen()
    return None if path.library is None else path


class Code(Protocol):
    """What the library must know of a code: K, its packed signs and the length of its rows."""

    @property
    def classes(self) -> int: ...

    @property
    def packed(self) -> Tensor | None: ...

    @property
    def norm(self) -> float | None: ...


def negatives_lse(
    path: NativePath,
    code: Code,
    projected: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    *,
    feature_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """As ``blockwise.online_lse``."""
    projected, labels = _plain(projected), _plain(labels)
    lse = torch.empty(len(projected), dtype=torch.float64)
    gradient = torch.empty_like(projected) if feature_grad else None
    offset = None if bias is None else _plain(bias)
    front = _front(path, code, projected)
    status = _library(path).fixhead_rest(
        *front, _at(labels), _at(offset), code.norm, _at(lse), _at(gradient)
    )
    _check(status)
    return lse, gradient


def bias_grad(
    path: NativePath,
    code: Code,
    projected: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    upstream: Tensor,
) -> Tensor:
    """Σ_i g_i softmax_ik (K,) over the negatives, from the R of ``negatives_lse``."""
    projected, labels, lse, upstream = (_plain(t) for t in (projected, labels, lse, upstream))
    offset = None if bias is None else _plain(bias)
    out = projected.new_empty(code.classes)
    front = _front(path, code, projected)
    status = _library(path).fixhead_slope(
        *front, _at(labels), _at(offset), code.norm, _at(lse), _at(upstream), _at(out)
    )
    _check(status)
    return out


def topk(
    path: NativePath, code: Code, projected: Tensor, bias: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """The k largest logits (N, k) and their classes, largest first; k ≤ ``max_k``."""
    projected = _plain(projected)
    values = projected.new_empty(len(projected), k)
    names = torch.empty(len(projected), k, dtype=torch.int64)
    offset = None if bias is None else _plain(bias)
    front = _front(path, code, projected)
    _check(_library(path).fixhead_top(*front, _at(offset), k, _at(values), _at(names)))
    return values, names


def max_k(path: NativePath) -> int:
    """The largest k that ``topk`` takes."""
    return int(_library(path).fixhead_most())


def rows(path: NativePath, packed: Tensor, labels: Tensor) -> Tensor:
    """As ``KroneckerTiles.rows``; a label below 0 counts as 0."""
    labels, packed = _plain(labels), packed.contiguous()
    out = torch.empty(len(labels), packed.shape[0])
    _library(path).fixhead_rows(
        _at(packed), packed.shape[1], packed.shape[0], _at(labels), len(labels), _at(out)
    )
    return out


def _front(path: NativePath, code: Code, projected: Tensor) -> tuple[Any, ...]:
    assert code.packed is not None
    signs = _arrange(path, code.packed, code.classes)
    rows, width = projected.shape
    threads = torch.get_num_threads()
    return path.form, threads, _at(projected), rows, width, _at(signs), code.classes


def _arrange(path: NativePath, packed: Tensor, classes: int) -> Tensor:
    """The signs in the library's order; kept as long as ``packed`` lives unchanged."""
    version = 0 if packed.is_inference() else packed._version
    kept = _arranged.get(packed)
    if kept is not None and kept[0] == (version, classes):
        arranged: Tensor = kept[1]
        return arranged
    library, order = _library(path), packed.shape[0]
    blocks = -(-classes // order)
    signs = torch.empty(library.fixhead_words(order, blocks), dtype=torch.int32)
    bits = packed.contiguous()
    library.fixhead_arrange(_at(bits), bits.shape[1], order, blocks, _at(signs))
    _arranged[packed] = (version, classes), signs
    return signs


def _library(path: NativePath) -> ctypes.CDLL:
    assert path.library is not None
    return path.library


def _plain(values: Tensor) -> Tensor:
    """Contiguous, and beginning at a multiple of its elements' size."""
    values = values.detach().contiguous()
    return values if values.data_ptr() % values.element_size() == 0 else values.clone()


def _at(values: Tensor | None) -> int | None:
    return None if values is None else values.data_ptr()


def _check(status: int) -> None:
    if status == 1:
        raise MemoryError("the compiled path could not get memory for one tile of a thread")
    if status:
        raise RuntimeError(f"the compiled path refused its input with status {status}")
