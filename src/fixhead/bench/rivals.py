"""The paths of a contest: each builds a head of given sizes and returns its training step.

Steps of the paths that store a matrix share it. Data and vectors are the same for all: the implicit
code's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
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
from .timing import Step

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
