"""The compiled library: found, checked, or done without.

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

import torch

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
class Chosen:
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


def chosen() -> Chosen:
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
def _choose(choice: str, file: Path) -> Chosen:
    if choice not in CHOICES:
        raise RequestError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "torch":
        return Chosen("torch", f"{VARIABLE}=torch")
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
        return Chosen("torch", trouble)
    able = [name for name, bit in FORMS.items() if library.fixhead_forms() & bit]
    if choice in FORMS and choice not in able:
        raise RequestError(
            f"{VARIABLE}={choice} needs a processor that has it, got one for {', '.join(able)}"
        )
    if choice in FORMS:
        return Chosen(choice, f"{VARIABLE}={choice}", library)
    return Chosen(able[0], "the best form that this processor runs", library)


@lru_cache(maxsize=4)
def _open(file: Path) -> tuple[ctypes.CDLL | None, str]:
    """The library, or what is wrong."""
    if not file.exists():
        return None, f"there is no {file.name} (it was not built)"
    try:
        library = ctypes.CDLL(str(file))
        found = int(library.fixhead_version())
    except (OSError, AttributeError) as error:
        return None, f"{file.name} cannot be loaded ({error})"
    if found != VERSION:
        return None, f"{file.name} has version {found} and {VERSION} is needed (install again)"
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
    points = [small, small, pointer, whole, whole, pointer, whole]
    signatures = {
        "fixhead_forms": (small, []),
        "fixhead_most": (small, []),
        "fixhead_words": (whole, [whole, whole]),
        "fixhead_arrange": (None, [pointer, whole, whole, whole, pointer]),
        "fixhead_rows": (None, [pointer, whole, whole, pointer, whole, pointer]),
        "fixhead_rest": (small, [*points, pointer, pointer, real, pointer, pointer]),
        "fixhead_slope": (small, [*points, pointer, pointer, real, pointer, pointer, pointer]),
        "fixhead_top": (small, [*points, pointer, small, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
