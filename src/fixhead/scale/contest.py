"""One training step over K classes, forward and gradient to the features, by rival paths.

Each path is a function of the sizes that builds its head and returns the step; steps of the paths
that store a matrix share it. Data and vectors are the same for all: the implicit code's.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import forked, stream
from . import native
from .codes import implicit
from .entropy import cross_entropy, worth_it
from .sampled import sampled_cross_entropy
from .vectors import Stored

SAMPLE_S = 0.02
"""Seconds that a sample takes at least; a step that is shorter is repeated and averaged."""

Step = Callable[[], None]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sizes:
    """K classes, d features, N rows."""

    classes: int
    features: int
    rows: int


@dataclass(frozen=True)
class Timing:
    """Of one path; ``ratio_to_plain`` is plain's median over this one's, so greater is faster.

    peak_bytes: the growth of the resident memory over an idle process, head included, in a process
    of its own; first_ms: its first step there, with whatever has to be imported.
    """

    path: str
    classes: int
    features: int
    rows: int
    median_ms: float
    min_ms: float
    max_ms: float
    first_ms: float
    peak_bytes: int | None
    ratio_to_plain: float | None


def contest(
    sizes: Sizes, against: Sequence[str], *, rounds: int = 7, only: bool = False
) -> list[Timing]:
    """Time ``code``, ``native`` (the same, compiled), ``stored`` (where a matrix is stored anyway)
    and the rivals, in turn; with ``only``, nothing but ``against``.

    Raises:
        RequestError: an unknown path, a package that is missing, or not enough memory.
    """
    names = list(against) if only else paths(against)
    check_memory(sizes, names)
    alone = {name: measure_alone(name, sizes) for name in names}
    shared = _Shared(sizes)
    steps = {name: PATHS[name](shared) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    calls = {name: _calls(step) for name, step in steps.items()}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                step()
            samples[name].append((time.perf_counter() - start) / calls[name])
    plain = statistics.median(samples["plain"]) if "plain" in samples else None
    return [_timing(name, sizes, samples[name], alone[name], plain) for name in names]


def _calls(step: Step) -> int:
    """How many steps make a sample that a clock can tell; the first step is nobody's."""
    step()
    start = time.perf_counter()
    step()
    return max(1, round(SAMPLE_S / max(time.perf_counter() - start, 1e-7)))


def paths(against: Sequence[str]) -> list[str]:
    """The paths of a contest: our own, then the rivals in the order asked for."""
    for name in against:
        if name not in PATHS:
            raise RequestError(f"--against must name {', '.join(PATHS)}, got {name!r}")
        if name in _RIVALS:
            _rival(_RIVALS[name])
    own = ["code", "native"] if native.available() else ["code"]
    own += ["stored"] if against else []
    return own + [name for name in dict.fromkeys(against) if name not in own]


def check_memory(sizes: Sizes, names: Sequence[str]) -> None:
    """Refuse what would not fit beside each other: better than being killed."""
    matrix = 4 * sizes.classes * sizes.features
    logits = 4 * sizes.classes * sizes.rows
    need = 0
    if any(name not in _CODES for name in names):
        need = matrix + (3 * logits if "plain" in names else 0)
        need += matrix if "adaptive-softmax" in names else 0
        need += 3 * matrix if "learned" in names else 0
    free = _free_bytes()
    if free is not None and need > free:
        raise RequestError(
            f"--against {','.join(names)} needs about {need / 2**30:.1f} GiB at these sizes, got "
            f"{free / 2**30:.1f} GiB free; use fewer classes, or --against '' for the code alone"
        )


def measure_alone(name: str, sizes: Sizes) -> tuple[int | None, float]:
    """Peak growth of resident memory, and the first step's milliseconds, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_alone, args=(name, sizes, torch.get_num_threads(), theirs))
    process.start()
    theirs.close()
    try:
        found: tuple[int | None, float] = ours.recv()
    except EOFError:
        raise RequestError(
            f"--against {name} did not finish a step at these sizes in a process of its own, "
            "perhaps for want of memory; use fewer classes or rows"
        ) from None
    finally:
        process.join()
    return found


class _Shared:
    """Features, labels, the code, and its matrix from the moment somebody asks for it."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        generator = stream(0, "bench")
        self.features = torch.randn(sizes.rows, sizes.features, generator=generator)
        self.labels = torch.randint(sizes.classes, (sizes.rows,), generator=generator)
        self.code = implicit(sizes.classes, sizes.features)
        self._matrix: Tensor | None = None

    @property
    def matrix(self) -> Tensor:
        if self._matrix is None:
            self._matrix = self.code.dense()
        return self._matrix

    def step(self, loss: Loss) -> Step:
        """Forward, and the gradient to the features."""
        x = self.features.detach().requires_grad_()

        def run() -> None:
            x.grad = None
            torch.autograd.backward(loss(x, self.labels))

        return run


def _by(path: str) -> Callable[[_Shared], Step]:
    """The code's loss by a path of ``fixhead.scale.native``."""

    def made(shared: _Shared) -> Step:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            with native.forced(path):
                return cross_entropy(x, shared.code, y)

        return shared.step(loss)

    return made


def _stored(shared: _Shared) -> Step:
    """As ``ClassificationHead.loss`` does with a fixed matrix: plain while that is small."""
    sizes, held = shared.sizes, Stored(shared.matrix, norm=1.0)
    if not worth_it(sizes.rows, sizes.classes, held.vectors.device):
        return _plain(shared)
    return shared.step(lambda x, y: cross_entropy(x, held, y))


def _plain(shared: _Shared) -> Step:
    W = shared.matrix
    return shared.step(lambda x, y: F.cross_entropy(F.linear(x, W), y))


def _learned(shared: _Shared) -> Step:
    """Learned vectors with their gradient and a step of SGD with momentum."""
    W = torch.nn.Parameter(shared.matrix.clone())
    optimizer = torch.optim.SGD([W], lr=1e-3, momentum=0.9)
    step = shared.step(lambda x, y: F.cross_entropy(F.linear(x, W), y))

    def run() -> None:
        optimizer.zero_grad()
        step()
        optimizer.step()

    return run


def _linear_cross_entropy(shared: _Shared) -> Step:
    found = getattr(F, "linear_cross_entropy", None)
    options = getattr(torch.nn, "LinearCrossEntropyOptions", None)
    if found is None:
        raise RequestError(
            "--against linear_cross_entropy needs a torch that has "
            f"torch.nn.functional.linear_cross_entropy, got torch {torch.__version__}"
        )
    W = shared.matrix
    given = {} if options is None else {"options": options()}
    return shared.step(lambda x, y: found(x, W, y, **given))


def _partial_fc(shared: _Shared) -> Step:
    W, generator = shared.matrix, stream(0, "bench", "sample")
    return shared.step(lambda x, y: sampled_cross_entropy(x, W, y, rate=0.1, generator=generator))


def _adaptive_softmax(shared: _Shared) -> Step:
    classes = shared.sizes.classes
    cuts = [classes // 100, classes // 10] if classes >= 1000 else [classes // 2]
    with forked(0, "bench"):
        head = torch.nn.AdaptiveLogSoftmaxWithLoss(shared.sizes.features, classes, cuts)
    head.requires_grad_(False)
    return shared.step(lambda x, y: head(x, y).loss)


_RIVALS = {"liger": "liger_kernel.transformers", "cce": "cut_cross_entropy"}


def _rival(module: str) -> ModuleType:
    """A rival's package, which fixhead does not depend on."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"--against needs the module {error.name} for that path, and it is not installed; "
            "install it as its authors say, or leave the path out"
        ) from error


def _liger(shared: _Shared) -> Step:
    module = _rival(_RIVALS["liger"])
    loss, W = module.LigerFusedLinearCrossEntropyLoss(), shared.matrix
    return shared.step(lambda x, y: loss(W, x, y))


def _cce(shared: _Shared) -> Step:
    module = _rival(_RIVALS["cce"])
    W = shared.matrix
    return shared.step(lambda x, y: module.linear_cross_entropy(x, W, y))


_CODES = ("code", "native", "native-avx512", "native-avx2", "native-portable")

PATHS: dict[str, Callable[[_Shared], Step]] = {
    "code": _by("torch"),
    **{name: _by(name) for name in _CODES[1:]},
    "stored": _stored,
    "plain": _plain,
    "learned": _learned,
    "linear_cross_entropy": _linear_cross_entropy,
    "partial-fc": _partial_fc,
    "adaptive-softmax": _adaptive_softmax,
    "liger": _liger,
    "cce": _cce,
}
"""What ``--against`` may name. ``code`` is the PyTorch path, ``native`` the compiled one; those
after them store a (K, d) matrix; partial-fc samples 10 %."""


def _alone(name: str, sizes: Sizes, threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)
    _by("torch")(_Shared(Sizes(256, 32, 4)))()  # torch's own start is nobody's
    gc.collect()
    _trim()
    before = _resident("VmRSS")
    _reset_peak()
    shared = _Shared(sizes)
    step = PATHS[name](shared)
    start = time.perf_counter()
    step()
    first = 1e3 * (time.perf_counter() - start)
    step()
    peak = _resident("VmHWM")
    answer.send((None if before is None or peak is None else max(peak - before, 0), first))
    answer.close()


def _timing(
    name: str,
    sizes: Sizes,
    samples: list[float],
    alone: tuple[int | None, float],
    plain: float | None,
) -> Timing:
    median = statistics.median(samples)
    return Timing(
        path=name,
        classes=sizes.classes,
        features=sizes.features,
        rows=sizes.rows,
        median_ms=round(1e3 * median, 4),
        min_ms=round(1e3 * min(samples), 4),
        max_ms=round(1e3 * max(samples), 4),
        first_ms=round(alone[1], 3),
        peak_bytes=alone[0],
        ratio_to_plain=None if plain is None else round(plain / median, 4),
    )


def _resident(field: str) -> int | None:
    """VmRSS or VmHWM of this process in bytes, where Linux tells."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(s.split()[1]) for s in lines if s.startswith(field + ":")), None)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # then VmHWM is that of the whole process: an upper bound


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _free_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(s.split()[1]) for s in lines if s.startswith("MemAvailable:")), None)
