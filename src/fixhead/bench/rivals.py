"""One training step over K classes, forward and gradient to the features, by rival paths.

Each path builds a head of given sizes and returns its training step. Data and vectors are the same
for all: the implicit code's; steps of the paths that store a matrix share it. The paths are timed
in turn, and each one's memory alone.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import forked, stream
from ..many_classes.codes import implicit
from ..many_classes.loss import linear_cross_entropy, sampled_cross_entropy
from ..many_classes.native import library as native
from ..many_classes.vectors import DenseVectors
from .timing import Step, alone_on_cpu, alone_on_cuda, check_device, free_bytes, interleaved

DTYPES = ("float32", "bfloat16", "float16")

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sizes:
    """K classes, d features, N rows, and where and in which type features and matrix are."""

    classes: int
    features: int
    rows: int
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def kind(self) -> torch.dtype:
        kind: torch.dtype = getattr(torch, self.dtype)
        return kind


class Shared:
    """Features, labels, the code, and its matrix from the moment somebody asks for it."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        generator = stream(0, "bench")
        x = torch.randn(sizes.rows, sizes.features, generator=generator)
        labels = torch.randint(sizes.classes, (sizes.rows,), generator=generator)
        self.features = x.to(sizes.device, sizes.kind)
        self.labels = labels.to(sizes.device)
        self.code = implicit(sizes.classes, sizes.features).to(self.labels.device)
        self._matrix: Tensor | None = None

    @property
    def matrix(self) -> Tensor:
        if self._matrix is None:
            self._matrix = self.code.dense(self.sizes.kind)
        return self._matrix

    def step(self, loss: Loss) -> Step:
        """Forward, and the gradient to the features."""
        x = self.features.detach().requires_grad_()

        def run() -> None:
            x.grad = None
            torch.autograd.backward(loss(x, self.labels))

        return run


def _by(path: str) -> Callable[[Shared], Step]:
    """The code's loss by a path of ``fixhead.many_classes.native``."""

    def made(shared: Shared) -> Step:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            with native.forced(path):
                return linear_cross_entropy(x, shared.code, y)

        return shared.step(loss)

    return made


def _stored(shared: Shared) -> Step:
    """As ``ClassificationHead.loss`` does with a fixed matrix: plain while that is small."""
    W = DenseVectors(shared.matrix, unit_rows=True)
    if not W.prefers_chunking(shared.sizes.rows):
        return _plain(shared)
    return shared.step(lambda x, y: linear_cross_entropy(x, W, y))


def _chunked(shared: Shared) -> Step:
    """The stored matrix, without the logits whatever their size."""
    W = DenseVectors(shared.matrix, unit_rows=True)
    return shared.step(lambda x, y: linear_cross_entropy(x, W, y))


def _plain(shared: Shared) -> Step:
    """As one trains: of half-precision features under autocast, with the loss in float32."""
    W = shared.matrix
    return shared.step(lambda x, y: _plain_loss(x, W, y))


def _plain_loss(x: Tensor, W: Tensor, y: Tensor) -> Tensor:
    if x.dtype == torch.float32:
        return F.cross_entropy(F.linear(x, W), y)
    with torch.autocast(x.device.type, dtype=x.dtype):
        return F.cross_entropy(F.linear(x, W), y)


def _plain_half(shared: Shared) -> Step:
    """Logits, softmax and loss in the features' own type, and no float32 anywhere."""
    W = shared.matrix
    return shared.step(lambda x, y: F.cross_entropy(F.linear(x, W), y))


LEARNED = {"learned": 1, "learned-chunked": 1, "learned-adam": 2}
"""Learned vectors in float32, and how many moments their optimizer keeps."""


def _learned(name: str) -> Callable[[Shared], Step]:
    """Learned vectors with their gradient and a step of SGD with momentum, or of Adam."""

    def made(shared: Shared) -> Step:
        W = torch.nn.Parameter(shared.matrix.float().clone())
        optimizer: torch.optim.Optimizer = torch.optim.SGD([W], lr=1e-3, momentum=0.9)
        if LEARNED[name] == 2:
            optimizer = torch.optim.Adam([W], lr=1e-3)
        loss: Callable[[Tensor, Tensor, Tensor], Tensor] = _plain_loss
        if name == "learned-chunked":
            loss = linear_cross_entropy
        step = shared.step(lambda x, y: loss(x, W, y))

        def run() -> None:
            optimizer.zero_grad()
            step()
            optimizer.step()

        return run

    return made


def _linear_cross_entropy(shared: Shared) -> Step:
    theirs = getattr(F, "linear_cross_entropy", None)
    options = getattr(torch.nn, "LinearCrossEntropyOptions", None)
    if theirs is None:
        raise RequestError(
            "--against linear_cross_entropy needs a torch that has "
            f"torch.nn.functional.linear_cross_entropy, got torch {torch.__version__}"
        )
    W = shared.matrix
    given = {} if options is None else {"options": options()}
    return shared.step(lambda x, y: theirs(x, W, y, **given))


def _partial_fc(shared: Shared) -> Step:
    W, generator = shared.matrix, stream(0, "bench", "sample", device=shared.sizes.device)
    return shared.step(lambda x, y: sampled_cross_entropy(x, W, y, rate=0.1, generator=generator))


def _adaptive_softmax(shared: Shared) -> Step:
    classes = shared.sizes.classes
    cuts = [classes // 100, classes // 10] if classes >= 1000 else [classes // 2]
    with forked(0, "bench"):
        head = torch.nn.AdaptiveLogSoftmaxWithLoss(shared.sizes.features, classes, cuts)
    head.requires_grad_(False).to(shared.sizes.device, shared.sizes.kind)
    return shared.step(lambda x, y: head(x, y).loss)


RIVALS = {"liger": "liger_kernel.transformers", "cce": "cut_cross_entropy"}


def rival(module: str) -> ModuleType:
    """A rival's package, which fixhead does not depend on."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"--against needs the module {error.name} for that path, and it is not installed; "
            "install it as its authors say, or leave the path out"
        ) from error


def _liger(shared: Shared) -> Step:
    module = rival(RIVALS["liger"])
    loss, W = module.LigerFusedLinearCrossEntropyLoss(), shared.matrix
    return shared.step(lambda x, y: loss(W, x, y))


def _cce(shared: Shared) -> Step:
    module = rival(RIVALS["cce"])
    W = shared.matrix
    return shared.step(lambda x, y: module.linear_cross_entropy(x, W, y))


CODES = ("code", "native", "native-avx512", "native-avx2", "native-portable")

PATHS: dict[str, Callable[[Shared], Step]] = {
    "code": _by("torch"),
    **{name: _by(name) for name in CODES[1:]},
    "stored": _stored,
    "chunked": _chunked,
    "plain": _plain,
    "plain-half": _plain_half,
    **{name: _learned(name) for name in LEARNED},
    "linear_cross_entropy": _linear_cross_entropy,
    "partial-fc": _partial_fc,
    "adaptive-softmax": _adaptive_softmax,
    "liger": _liger,
    "cce": _cce,
}
"""What ``--against`` may name. ``code`` is the PyTorch path, ``native`` the compiled one; those
after them store a (K, d) matrix; partial-fc samples 10 %."""


SAMPLE_S = 0.02
"""Seconds that a sample takes at least; a step that is shorter is repeated and averaged."""


@dataclass(frozen=True)
class Timing:
    """Of one path; ``ratio_to_plain`` is plain's median over this one's, so greater is faster.

    peak_bytes: the growth of the resident memory over an idle process, head included, in a process
    of its own; first_ms: its first step there, with whatever has to be imported. On CUDA both are
    taken in this process: the growth of allocated memory, and a step that nothing was built for.
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
    device: str = "cpu"
    dtype: str = "float32"


def contest(
    sizes: Sizes, against: Sequence[str], *, rounds: int = 7, only: bool = False
) -> list[Timing]:
    """Time ``code``, ``native`` (the same, compiled), ``stored`` (where a matrix is stored anyway)
    and the rivals, in turn; with ``only``, nothing but ``against``.

    Raises:
        RequestError: an unknown path, a package that is missing, or not enough memory.
    """
    check_place(sizes)
    names = list(against) if only else paths(against, sizes.device)
    check_memory(sizes, names)
    alone = {name: measure_alone(name, sizes) for name in names}
    shared = Shared(sizes)
    steps = {name: PATHS[name](shared) for name in names}
    samples = interleaved(steps, rounds=rounds, sample_s=SAMPLE_S, device=sizes.device)
    plain = statistics.median(samples["plain"]) if "plain" in samples else None
    return [_timing(name, sizes, samples[name], alone[name], plain) for name in names]


def check_place(sizes: Sizes) -> None:
    """Refuse a device or type that cannot be timed here."""
    check_device(sizes.device)
    if sizes.dtype not in DTYPES:
        raise RequestError(f"--dtype must be one of {', '.join(DTYPES)}, got {sizes.dtype!r}")
    if sizes.device == "cpu" and sizes.dtype != "float32":
        raise RequestError(
            f"--dtype {sizes.dtype} needs --device cuda: on the CPU heads compute in float32"
        )


def paths(against: Sequence[str], device: str = "cpu") -> list[str]:
    """The paths of a contest: our own, then the rivals in the order asked for."""
    for name in against:
        if name not in PATHS:
            raise RequestError(f"--against must name {', '.join(PATHS)}, got {name!r}")
        if name in RIVALS:
            rival(RIVALS[name])
    own = ["code", "native"] if native.available() and device == "cpu" else ["code"]
    own += ["stored"] if against else []
    return own + [name for name in dict.fromkeys(against) if name not in own]


def check_memory(sizes: Sizes, names: Sequence[str]) -> None:
    """Refuse what would not fit beside each other: better than being killed."""
    matrix = sizes.kind.itemsize * sizes.classes * sizes.features
    logits = 4 * sizes.classes * sizes.rows
    need = 0
    if any(name not in CODES for name in names):
        need = matrix + (3 * logits if "plain" in names else 0)
        need += matrix if "adaptive-softmax" in names else 0
        moments = max((2 + LEARNED[name] for name in names if name in LEARNED), default=0)
        need += moments * 4 * sizes.classes * sizes.features
    free = free_bytes(sizes.device)
    if free is not None and need > free:
        raise RequestError(
            f"--against {','.join(names)} needs about {need / 2**30:.1f} GiB at these sizes, got "
            f"{free / 2**30:.1f} GiB free; use fewer classes, or --against '' for the code alone"
        )


def measure_alone(name: str, sizes: Sizes) -> tuple[int | None, float]:
    """Peak growth of memory, and the first step's milliseconds; on the CPU in a fresh process."""
    if sizes.device != "cpu":
        return alone_on_cuda(lambda: PATHS[name](Shared(sizes)), sizes.device)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_alone, args=(name, sizes, torch.get_num_threads(), theirs))
    process.start()
    theirs.close()
    try:
        memory_and_first: tuple[int | None, float] = ours.recv()
    except EOFError:
        raise RequestError(
            f"--against {name} did not finish a step at these sizes in a process of its own, "
            "perhaps for want of memory; use fewer classes or rows"
        ) from None
    finally:
        process.join()
    return memory_and_first


def _alone(name: str, sizes: Sizes, threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)
    PATHS["code"](Shared(Sizes(256, 32, 4)))()  # torch's own start counts for no path
    answer.send(alone_on_cpu(lambda: PATHS[name](Shared(sizes))))
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
        median_ms=_digits(1e3 * median),
        min_ms=_digits(1e3 * min(samples)),
        max_ms=_digits(1e3 * max(samples)),
        first_ms=round(alone[1], 3),
        peak_bytes=alone[0],
        ratio_to_plain=None if plain is None else _digits(plain / median),
        device=sizes.device,
        dtype=sizes.dtype,
    )


def _digits(value: float) -> float:
    """Five digits, however small the number."""
    return float(f"{value:.5g}")
