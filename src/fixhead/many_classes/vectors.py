"""Class vectors (K, d) as objects: stored as a tensor, or made when they are asked for.

    W = DenseVectors(tensor)                                     # fixed or learned
    W = fixhead.many_classes.implicit(1_000_000, 512)            # a code: 125 KiB of signs

    loss = fixhead.many_classes.linear_cross_entropy(features, W, labels, scale=20.0)
    logits = W.logits(features, "cosine", 20.0)                  # (N, K), if you must

Everything that needs all classes runs over a few thousand of them at a time.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .. import logits as formulae
from .._errors import RequestError
from ..geometry.certificate import Certificate, certify
from ..logits import being_traced, unit
from ..losses.checks import readable, require_matrix, require_scale
from ..vectors.rows import ImplicitVectors
from . import blockwise, ops
from .ops import LogitsRequest

torch.fx.wrap("unit")

KINDS = ("dot", "cosine", "unit-features")
"""The kinds of logits: S·W x, S·cos(w, x) and S·W x/‖x‖."""

MANY_LOGITS = {"cpu": 1 << 22}
"""N·K from which chunks of classes are faster than holding the logits (16 MiB of float32)."""

MANY_LOGITS_ELSEWHERE = 1 << 28
"""On other devices: 1 GiB of logits, where memory decides."""

LEARNED_SHARE = 64
"""Learned vectors need a second walk over the classes: so many more logits are held for them."""

SLACK = 1e-3
"""How much longer than 1 rounding may make a unit vector, in bfloat16 or not."""

_CERTIFIED_ENTIRELY = 200_000
_CERTIFIED_SAMPLE = 1_024


class ClassVectors(ABC):
    """K class vectors w_k in d dimensions, and what softmax needs of their logits z = W x.

    construction: the name that a certificate shows.
    unit_rows: whether every row has length 1.
    shape: (K, d).
    stored: whether the rows lie in memory.
    tensor: the stored rows, which the operators take beside the request.
    fused: whether ``cross_entropy`` is to be had: the plain loss and its gradient from one walk.
    """

    construction: str
    unit_rows: bool
    shape: tuple[int, int]
    stored = False
    tensor: Tensor | None = None
    fused = True

    @abstractmethod
    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The vectors (n, d) of labels (n,)."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what determines the vectors, to tell whether two sets are the same."""

    @property
    @abstractmethod
    def request(self) -> LogitsRequest:
        """The vectors as the operators take them."""

    @property
    def norm(self) -> float | None:
        """A length that no row exceeds; None where it is not known."""
        return 1.0 if self.unit_rows else None

    @property
    def classes(self) -> int:
        return self.shape[0]

    @property
    def held(self) -> int:
        """How many of the classes this process has, where several share them (``sharded``)."""
        return self.classes

    @property
    def features(self) -> int:
        return self.shape[1]

    @property
    def device(self) -> torch.device:
        """Where rows are stored or made."""
        return torch.device("cpu")

    def to(self, device: torch.device | str) -> ClassVectors:
        """The same vectors on another device; rows that are made on the CPU stay there."""
        return self

    def unit(self) -> ClassVectors:
        """The same directions with rows of length 1: stored ones, unless the rows have it."""
        if self.unit_rows:
            return self
        return DenseVectors(unit(self.dense()), unit_rows=True, construction=self.construction)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """All rows (K, d), without a gradient: the matrix that the other methods never hold."""
        out = torch.empty(*self.shape, dtype=dtype, device=self.device)
        step = max((1 << 22) // self.features, 1)
        for start in range(0, self.classes, step):
            labels = torch.arange(start, min(start + step, self.classes), device=self.device)
            out[start : start + step] = self.rows(labels, dtype)
        return out

    def of(self, values: Tensor, labels: Tensor) -> Tensor:
        """What values (held,) say of labels (n,)."""
        return values[labels]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all classes of values (held,)."""
        return values.sum()

    def prefers_chunking(self, rows: int, *, learned: bool = False) -> bool:
        """Whether the logits (N, K) of so many rows are better not held.

        ``learned``: whether a gradient in the vectors is wanted as well.
        """
        return True

    def project(self, features: Tensor, logits: str, scale: float | Tensor = 1.0) -> Tensor:
        """The rows whose products with W are the logits: S·x or S·x/‖x‖, at least in float32."""
        require_matrix("features", features, "(N, d)")
        require_scale(scale)
        if features.shape[1] != self.features:
            raise RequestError(
                f"features must be (N, {self.features}) like the class vectors, "
                f"got {tuple(features.shape)}"
            )
        wide = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
        _require_finite(wide)
        if logits == "dot":
            return wide * scale if isinstance(scale, Tensor) or scale != 1.0 else wide
        return unit(wide, length=scale)

    def max_logit(self, logits: str, scale: float | Tensor) -> float | None:
        """S·max‖w‖, which no |S w·x| exceeds; None where that is not known without a look."""
        if logits == "dot" or isinstance(scale, Tensor) or self.norm is None:
            return None
        return float(scale) * self.norm * (1 + SLACK)

    def logits(
        self,
        features: Tensor,
        kind: str,
        scale: float | Tensor = 1.0,
        bias: Tensor | None = None,
    ) -> Tensor:
        """All logits (N, K) of features (N, d), bias (K,) included; differentiable."""
        vectors = self.unit() if kind == "cosine" else self
        logits = vectors.matmul(vectors.project(features, kind, scale))
        return logits if bias is None else logits + bias

    def matmul(self, projected: Tensor) -> Tensor:
        """x Wᵀ (N, K) of rows (N, d), differentiable in them."""
        return ops.all_logits(projected, self.request)

    def negatives_lse(
        self,
        projected: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        *,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """log Σ_{k ≠ y} e^{z_k} in float64 and z_y, (N,) each; differentiable once.

        A label below 0 leaves no class out, and has z_y = 0.

        Args:
            projected: (N, d) in float32 or float64.
            bf16_matmul: the products may be those of bfloat16 numbers, summed in float32.
            max_logit: what no |w_k·x| exceeds; None where it is not known.
        """
        request = self.request._replace(bf16_matmul=bf16_matmul, max_logit=max_logit)
        lse, rows = ops.negatives_lse(projected, self.tensor, labels, bias, request)
        target = (projected * rows).sum(dim=1)
        return lse, with_bias(target, labels, bias)

    def cross_entropy(
        self,
        projected: Tensor,
        labels: Tensor,
        *,
        ignore_index: int,
        reduction: str,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> Tensor:
        """The plain loss of logits W x with its gradient, in one walk; see ``negatives_lse``."""
        request = self.request._replace(bf16_matmul=bf16_matmul, max_logit=max_logit)
        return ops.cross_entropy(
            projected,
            self.tensor,
            labels,
            request,
            ignore_index=ignore_index,
            reduction=reduction,
        )

    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The k largest logits (N, k) and their classes; no gradient."""
        request = self.request._replace(bf16_matmul=bf16_matmul)
        return ops.topk(projected, self.tensor, bias, k, request)

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        """Σ_k a_k w_k (d,); a = 1 where weights is None."""
        return self._summed(weights, self.features)

    def _summed(self, weights: Tensor | None, width: int) -> Tensor:
        kind = torch.float32 if weights is None else weights.dtype
        device = self.device if weights is None else weights.device
        like = torch.zeros(1, width, dtype=kind, device=device)
        with torch.autocast(device.type, enabled=False):
            return blockwise.weighted_sum(
                ops.tiles_for(self.request, self.tensor, like), like, weights
            )

    def gram_product(self, projected: Tensor) -> Tensor | None:
        """WᵀW x (N, d) where it needs no Gram matrix; otherwise None. No gradient."""
        return None

    def certificate(self, sample: int | None = None) -> Certificate:
        """``fixhead.certify`` of these vectors; the extreme cosines over ``sample`` classes' pairs
        with all others (1,024 by itself above 200,000 classes that are not stored).
        """
        if sample is None and self.classes > _CERTIFIED_ENTIRELY:
            sample = _CERTIFIED_SAMPLE
        return certify(self, construction=self.construction, sample=sample)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.construction}, {self.classes} x {self.features})"


def _is_matrix(vectors: Tensor) -> bool:
    return isinstance(vectors, Tensor) and vectors.ndim == 2 and len(vectors) >= 2


class DenseVectors(ClassVectors):
    """A tensor (K, d), fixed or learned.

    unit_rows: promises that every row has length 1.
    fixed: that the rows do not change from step to step, so that their greatest length is worth
        measuring: once, and again after every change.
    """

    stored = True
    tensor: Tensor

    def __init__(
        self,
        vectors: Tensor,
        *,
        unit_rows: bool = False,
        fixed: bool = False,
        construction: str = "tensor",
    ) -> None:
        if not being_traced() and not _is_matrix(vectors):
            raise RequestError(f"vectors must be (K, d) with K >= 2, got {_shape(vectors)}")
        self.tensor = vectors
        self.shape = vectors.shape[0], vectors.shape[1]
        self.unit_rows = unit_rows
        self.fixed = fixed
        self.construction = construction

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @property
    def norm(self) -> float | None:
        if self.unit_rows:
            return 1.0
        if not self.fixed or torch.compiler.is_compiling():
            return None
        return longest(self.tensor)

    @property
    def request(self) -> LogitsRequest:
        return LogitsRequest(self.classes, norm=self.norm)

    def to(self, device: torch.device | str) -> DenseVectors:
        if self.tensor.device == torch.device(device):
            return self
        return DenseVectors(
            self.tensor.to(device),
            unit_rows=self.unit_rows,
            fixed=self.fixed,
            construction=self.construction,
        )

    def unit(self) -> ClassVectors:
        """The same directions with rows of length 1, through which a gradient flows back."""
        if self.unit_rows:
            return self
        return DenseVectors(unit(self.tensor), unit_rows=True, construction=self.construction)

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.tensor[labels].to(dtype)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.tensor.detach().to(dtype)

    def prefers_chunking(self, rows: int, *, learned: bool = False) -> bool:
        if self.tensor.dtype not in (torch.float32, torch.float64):
            return False
        return prefers_chunking(
            rows, self.classes // (LEARNED_SHARE if learned else 1), self.device
        )

    def logits(
        self,
        features: Tensor,
        kind: str,
        scale: float | Tensor = 1.0,
        bias: Tensor | None = None,
    ) -> Tensor:
        """As ``fixhead.logits`` computes them: under autocast in its type."""
        if kind == "cosine":
            return formulae.cosine(
                features, self.tensor, scale=scale, bias=bias, unit_vectors=self.unit_rows
            )
        if kind == "unit-features":
            features, scale = unit(features, length=scale).to(self.tensor.dtype), 1.0
        return formulae.dot(features, self.tensor, scale=scale, bias=bias)

    def matmul(self, projected: Tensor) -> Tensor:
        return torch.nn.functional.linear(projected, self.tensor.to(projected.dtype))

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return self.tensor.sum(dim=0, dtype=_wider(self.tensor.dtype))
        with torch.autocast(weights.device.type, enabled=False):
            return weights @ self.tensor.to(weights.dtype)

    def certificate(self, sample: int | None = None) -> Certificate:
        return certify(self.tensor.detach(), construction=self.construction, sample=sample)

    def digest(self) -> str:
        """SHA-256 of the tensor's type, shape and bytes (row-major, little-endian)."""
        plain = self.tensor.detach().cpu().contiguous()
        code = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
        size = plain.numel() * plain.element_size()
        # The tensor's own memory, without a copy and without NumPy, which the core does not need.
        code.update((ctypes.c_ubyte * size).from_address(plain.data_ptr()) if size else b"")
        return code.hexdigest()


class LazyVectors(ClassVectors):
    """Any object with ``shape`` and ``rows(labels)``: a few thousand rows are made at a time.

    norm: a length that no row exceeds; None where it is not known.
    unit_rows: promises that every row has length 1.
    """

    def __init__(
        self,
        maker: ImplicitVectors,
        *,
        norm: float | None = None,
        unit_rows: bool = False,
        construction: str = "lazy",
    ) -> None:
        norm = 1.0 if unit_rows else norm
        self.maker = maker
        self.shape = maker.shape[0], maker.shape[1]
        self.unit_rows = unit_rows
        self.construction = construction
        self._norm = norm
        number = ops.register_maker(maker)
        self._request = LogitsRequest(maker.shape[0], maker=number, norm=norm)

    @property
    def norm(self) -> float | None:
        return self._norm

    @property
    def request(self) -> LogitsRequest:
        return self._request

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.maker.rows(labels.cpu()).to(labels.device, dtype)

    def digest(self) -> str:
        """SHA-256 of the rows themselves, in float32."""
        return DenseVectors(self.dense()).digest()


def prefers_chunking(rows: int, classes: int, device: torch.device) -> bool:
    """Whether logits (N, K) are so many that they are better not held."""
    return rows * classes >= MANY_LOGITS.get(device.type, MANY_LOGITS_ELSEWHERE)


def as_class_vectors(
    vectors: Tensor | ClassVectors,
    logits: str,
    unit_vectors: bool = False,
    features: Tensor | None = None,
) -> ClassVectors:
    """Class vectors as an object, ready for these features; of unit length for cosine logits."""
    if logits not in KINDS:
        raise RequestError(f"logits must be one of {', '.join(KINDS)}, got {logits!r}")
    if isinstance(vectors, Tensor):
        vectors = DenseVectors(vectors, unit_rows=unit_vectors)
    elif isinstance(features, Tensor) and not vectors.stored:
        vectors = vectors.to(features.device)
    return vectors.unit() if logits == "cosine" else vectors


_lengths: Any = WeakIdKeyDictionary()


def longest(rows: Tensor) -> float:
    """max_k ‖w_k‖ of a tensor (K, d), measured once and after every change."""
    if rows.is_inference():
        return float(ops.longest(rows))
    key = (rows.data_ptr(), rows.dtype, rows.shape, rows._version)
    known = _lengths.get(rows)
    if known is None or known[0] != key:
        known = _lengths[rows] = (key, float(ops.longest(rows)))
    length: float = known[1]
    return length


def with_bias(target: Tensor, labels: Tensor, bias: Tensor | None) -> Tensor:
    """z_y = w_y·x + b_y, and 0 where there is no label."""
    if bias is not None:
        target = target + bias[labels.clamp(min=0)].to(target.dtype)
    return torch.where(labels >= 0, target, 0.0)


def _require_finite(features: Tensor) -> None:
    if not readable(features) or math.isfinite(float(features.detach().sum())):
        return
    bad = ~torch.isfinite(features.detach()).all(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise RequestError(f"features must be finite, got row {row} with NaN or infinity in it")


def _wider(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
