"""Class vectors that answer as a (K, d) tensor would, stored or not.

vectors = fixhead.many_classes.implicit(classes=1_000_000, features=512)     # 125 KiB of signs
logits = vectors.matmul(features)                                     # (N, K), if you must
loss = fixhead.many_classes.cross_entropy(features, vectors, labels, scale=20.0)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import geometry
from .._errors import RequestError
from ..geometry import Certificate
from ..vectors.implicit import CodeVectors
from ..vectors.rows import ImplicitVectors
from . import native, nats, operators, passes, product
from .kronecker import PACK, pack, transform
from .operators import Source

SMALLEST = 16
"""Below so many columns a code's rows are made one by one: a transform would not be faster."""

_SAMPLED = 200_000


class ClassVectors(ABC):
    """K class vectors in d dimensions; logits z = W x without W where it is not stored.

    construction: the name that a certificate shows.
    norm: no row is longer; 0 where that has to be measured at every call (learned vectors).
    """

    construction: str
    norm: float

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(K, d)."""

    @abstractmethod
    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The vectors of labels (n,), (n, d)."""

    @abstractmethod
    def rest(
        self,
        points: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        half: bool = False,
        bound: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """log Σ_{k ≠ y} e^{z_k} in float64 and z_y, (N,) each.

        A label below 0 leaves no class out, and has z_y = 0.
        points (N, d) are float32 or float64. Differentiable once.
        half: the products may be those of bfloat16 numbers, summed in float32.
        bound: what no |w_k·x| exceeds; 0 where that is to be measured.
        """

    @abstractmethod
    def scan(
        self, points: Tensor, bias: Tensor | None, k: int, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The k largest logits (N, k) and their classes; no gradient."""

    @abstractmethod
    def matmul(self, features: Tensor) -> Tensor:
        """All logits x Wᵀ (N, K) of features (N, d), differentiable in x: for few rows."""

    @abstractmethod
    def combine(self, weights: Tensor | None = None) -> Tensor:
        """Σ_k a_k w_k (d,); a = 1 where weights is None."""

    def gram_product(self, points: Tensor) -> Tensor | None:
        """WᵀW x (N, d) where it needs no Gram matrix; otherwise None. No gradient."""
        return None

    @property
    def device(self) -> torch.device:
        """Where rows are stored or made."""
        return torch.device("cpu")

    def on(self, device: torch.device) -> ClassVectors:
        """The same vectors, ready for points there."""
        return self

    @property
    def classes(self) -> int:
        return self.shape[0]

    @property
    def features(self) -> int:
        return self.shape[1]

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """All rows (K, d): the matrix that the other methods never hold."""
        out = torch.empty(*self.shape, dtype=dtype, device=self.device)
        step = max((1 << 22) // self.features, 1)
        for start in range(0, self.classes, step):
            labels = torch.arange(start, min(start + step, self.classes), device=self.device)
            out[start : start + step] = self.rows(labels, dtype)
        return out

    def certificate(self, sample: int | None = None) -> Certificate:
        """``fixhead.certify`` of these vectors; the extreme cosines over ``sample`` classes' pairs
        with all others (1,024 by itself above 200,000 classes).
        """
        if sample is None and self.classes > _SAMPLED:
            sample = 1_024
        return geometry.certify(self, construction=self.construction, sample=sample)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.construction}, {self.classes} x {self.features})"


class Tiled(ClassVectors):
    """What follows from a ``Source`` alone, for points as they are."""

    source: Source
    at_once = True
    """Whether ``cross_entropy`` makes the plain loss."""

    def rest(
        self,
        points: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        half: bool = False,
        bound: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        found = operators.rest(self.source, points, labels, bias, half, bound)
        own = (points * found.own).sum(dim=1)
        return found.value, with_bias(own, labels, bias)

    def cross_entropy(
        self,
        points: Tensor,
        labels: Tensor,
        *,
        ignore_index: int,
        reduction: str,
        half: bool = False,
        bound: float = 0.0,
    ) -> Tensor:
        """The plain loss of logits W x with its gradient, in one walk; arguments as ``rest``."""
        return nats.cross_entropy(
            self.source,
            points,
            labels,
            ignore_index=ignore_index,
            reduction=reduction,
            half=half,
            bound=bound,
        )

    @torch.no_grad()
    def scan(
        self, points: Tensor, bias: Tensor | None, k: int, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(points.device.type, enabled=False):
            return passes.scan(self.source.tiles(points, half=half), points, bias, k)

    def matmul(self, features: Tensor) -> Tensor:
        return product.logits(self.source, features)

    def combine(self, weights: Tensor | None = None) -> Tensor:
        kind = torch.float32 if weights is None else weights.dtype
        device = self.device if weights is None else weights.device
        like = torch.zeros(1, self.source_width, dtype=kind, device=device)
        with torch.autocast(device.type, enabled=False):
            return passes.combine(self.source.tiles(like), like, weights)

    @property
    def source_width(self) -> int:
        return self.features


class Stored(Tiled):
    """A (K, d) tensor: fixed or learned; ``norm`` where a bound of its rows' lengths is known."""

    def __init__(self, vectors: Tensor, *, norm: float = 0.0, construction: str = "tensor") -> None:
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) < 2:
            raise RequestError(f"vectors must be (K, d) with K >= 2, got {_shape(vectors)}")
        self.vectors = vectors
        self.norm = norm
        self.construction = construction
        self.source = Source(vectors.shape[0], vectors=vectors, norm=norm)

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape[0], self.vectors.shape[1]

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.vectors[labels].to(dtype)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.vectors.detach().to(dtype)

    def matmul(self, features: Tensor) -> Tensor:
        return torch.nn.functional.linear(features, self.vectors.to(features.dtype))

    def combine(self, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return self.vectors.sum(dim=0, dtype=_wider(self.vectors.dtype))
        with torch.autocast(weights.device.type, enabled=False):
            return weights @ self.vectors.to(weights.dtype)


class Generated(Tiled):
    """Any object with ``shape`` and ``rows(labels)``: a few thousand rows are made at a time."""

    def __init__(self, maker: ImplicitVectors, *, norm: float, construction: str) -> None:
        self.maker = maker
        self.norm = norm
        self.construction = construction
        self.source = Source(maker.shape[0], handle=operators.keep(maker), norm=norm)

    @property
    def shape(self) -> tuple[int, int]:
        return self.maker.shape[0], self.maker.shape[1]

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.maker.rows(labels.cpu()).to(labels.device, dtype)


class Codes(Tiled):
    """Codes w_{b,r} = rows of H D_b s/√d by their transform; only D's bits are held, K/8 bytes.

    Of n = 2^m columns d may be used. Classes past the last block of a family that has an identity
    block are the one-hot vectors.
    """

    norm = 1.0

    def __init__(self, code: CodeVectors, *, construction: str) -> None:
        family = code.family
        self.code = code
        self.construction = construction
        self.order = family.features
        blocks = -(-code.classes // self.order)
        if family.blocks is not None:
            blocks = min(blocks, family.blocks)
        self.coded = min(code.classes, blocks * self.order)
        self._flips, self._columns = code.signs, code.columns
        self._factors = code.signs / math.sqrt(code.signs.numel())
        self._elsewhere: dict[torch.device, Codes] = {}
        # In the space of ``place`` rows are ±1 at d columns.
        longest = math.sqrt(code.signs.numel())
        self.source = Source(self.coded, packed=_packed(code, blocks), norm=longest)

    @property
    def shape(self) -> tuple[int, int]:
        return self.code.shape

    @property
    def source_width(self) -> int:
        return self.order

    @property
    def device(self) -> torch.device:
        return self.bits.device

    @property
    def bits(self) -> Tensor:
        """The diagonals, packed: (n, ⌈B/8⌉) uint8."""
        assert self.source.packed is not None
        return self.source.packed

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """As the code's own, from the packed diagonals: none is made again."""
        labels = labels.to(self.device)
        signs = self._signs(torch.where(labels < self.coded, labels, 0))
        columns = self._columns
        signs = signs if columns is None else signs[:, columns]
        out = signs.mul_(self._flips).to(dtype)
        out = out.mul_(1 / math.sqrt(self.features))
        if self.coded < self.classes:
            tail = labels >= self.coded
            out[tail] = F.one_hot(labels[tail] - self.coded, self.features).to(dtype)
        return out

    @property
    def at_once(self) -> bool:  # type: ignore[override]
        return self.coded == self.classes

    def cross_entropy(self, points: Tensor, labels: Tensor, **options: Any) -> Tensor:
        return super().cross_entropy(self.place(points), labels, **options)

    def rest(
        self,
        points: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        half: bool = False,
        bound: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        coded = torch.where(labels < self.coded, labels, -1)
        front = None if bias is None else bias[: self.coded]
        placed = self.place(points)
        found = operators.rest(self.source, placed, coded, front, half, bound)
        own = (placed * found.own).sum(dim=1)
        if self.coded == self.classes:
            return found.value, with_bias(own, labels, bias)
        tail = self._tail(points, bias)
        place = labels - self.coded
        mine = place.unsqueeze(1) == torch.arange(tail.shape[1], device=labels.device)
        others = tail.masked_fill(mine, -torch.inf)
        value = torch.logsumexp(torch.cat([found.value.unsqueeze(1), others], dim=1), dim=1)
        of_tail = tail.gather(1, place.clamp(min=0).unsqueeze(1)).squeeze(1)
        return value, torch.where(place >= 0, of_tail, with_bias(own, coded, front))

    @torch.no_grad()
    def scan(
        self, points: Tensor, bias: Tensor | None, k: int, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        front = None if bias is None else bias[: self.coded]
        values, classes = torch.ops.fixhead.largest(
            self.place(points), self.bits, front, self.coded, k, half
        )
        if self.coded < self.classes:
            tail = self._tail(points, bias)
            behind = torch.arange(self.coded, self.classes, device=points.device)
            values = torch.cat([values, tail], dim=1)
            classes = torch.cat([classes, behind.expand_as(tail)], dim=1)
            values, order = values.topk(k, dim=1)
            classes = classes.gather(1, order)
        return values, classes

    def matmul(self, features: Tensor) -> Tensor:
        front = super().matmul(self.place(features))
        return torch.cat([front, features[:, : self.classes - self.coded]], dim=1)

    def combine(self, weights: Tensor | None = None) -> Tensor:
        front = super().combine(None if weights is None else weights[: self.coded])
        factors = self._factors.to(front)
        columns = self._columns
        total = factors * (front if columns is None else front[columns.to(front.device)])
        left = self.classes - self.coded
        total[:left] += 1.0 if weights is None else weights[self.coded :]
        return total

    def gram_product(self, points: Tensor) -> Tensor:
        """A block of n rows is an orthogonal matrix √(n/d) times; a cut block is transformed, and
        what it has left transformed back.
        """
        whole, left = divmod(self.coded, self.order)
        total = points * (whole * self.order / self.features)
        if self.coded < self.classes:
            tail = self.classes - self.coded
            total[:, :tail] += points[:, :tail]
        if left:
            byte, bit = divmod(whole, PACK)
            signs = 1 - 2 * ((self.bits[:, byte] >> bit) & 1).to(points.dtype)
            with torch.autocast(points.device.type, enabled=False):
                cut = transform(self.place(points).mul_(signs))
                cut[:, left:] = 0
                back = transform(cut).mul_(signs)
            columns = self._columns
            back = back if columns is None else back[:, columns.to(back.device)]
            total.addcmul_(back, self._factors.to(points))
        return total

    def place(self, points: Tensor) -> Tensor:
        """D_s x/√d, at its columns of n: (N, d) → (N, n)."""
        scaled = points * self._factors.to(points)
        if self._columns is None:
            return scaled
        wide = scaled.new_zeros(len(points), self.order)
        return wide.index_copy(1, self._columns.to(points.device), scaled)

    def to(self, device: torch.device | str) -> Codes:
        """The same codes with their bits on another device."""
        moved = object.__new__(Codes)
        moved.__dict__.update(self.__dict__)
        moved.source = replace(self.source, packed=self.bits.to(device))
        for name in ("_factors", "_flips", "_columns"):
            value = getattr(self, name)
            setattr(moved, name, None if value is None else value.to(device))
        return moved

    def on(self, device: torch.device) -> Codes:
        """With bits there, which are moved once and kept."""
        if device == self.device:
            return self
        if device not in self._elsewhere:
            self._elsewhere[device] = self.to(device)
        return self._elsewhere[device]

    def _signs(self, labels: Tensor) -> Tensor:
        """±1 (n, order) of labels, by the compiled path where there is one."""
        compiled = None
        if not torch.compiler.is_compiling():
            compiled = native.library_for(self._factors, self.bits)
        if compiled is None or labels.device.type != "cpu":
            return self.source.tiles().rows(labels)
        return native.rows(compiled, self.bits, labels)

    def _tail(self, points: Tensor, bias: Tensor | None) -> Tensor:
        """The logits of the one-hot vectors."""
        tail = points[:, : self.classes - self.coded]
        return tail if bias is None else tail + bias[self.coded :]


def with_bias(own: Tensor, labels: Tensor, bias: Tensor | None) -> Tensor:
    """z_y = w_y·x + b_y, and 0 where there is no label."""
    told = labels >= 0
    if bias is not None:
        own = own + bias[labels.clamp(min=0)].to(own.dtype)
    return torch.where(told, own, 0.0)


def _packed(code: CodeVectors, blocks: int) -> Tensor:
    """Bits of all diagonals, made and packed a few at a time."""
    step = max((1 << 14) // code.family.features // 8, 1) * 8
    pieces = []
    for start in range(0, blocks, step):
        numbers = torch.arange(start, min(start + step, blocks))
        pieces.append(pack(code.family.bits(numbers)))
    return torch.cat(pieces, dim=1)


def _wider(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
