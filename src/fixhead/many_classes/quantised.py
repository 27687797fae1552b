"""Class vectors in a few bytes a class: product tables, learned; a byte of each class per table.

    w_k = [T_1[c_k1], …, T_M[c_kM]],    T_m (R, d/M) a table of R ≤ 256 rows, c_km a byte

With t_mj = T_m[j]·x_m, x_m the m-th part of a feature x (d,), the logits are sums of M numbers that
are looked up,
    z_k = w_k·x = Σ_m t_m,c_km,    ‖w_k‖² = Σ_m ‖T_m[c_km]‖²,
and with p_k = ∂ℓ/∂z_k and G_mj = Σ_{k: c_km = j} p_k the gradients are those of M·R numbers,
    ∂ℓ/∂x_m = Σ_j G_mj T_m[j],    ∂ℓ/∂T_m[j] = Σ_i G_mj x_im.
A logit costs M additions in place of d products; K bytes times M are held, and R·d trained numbers.
Source: Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", section 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import default_generator_or
from ..geometry.certificate import Certificate
from ..logits import unit
from . import blockwise, ops
from .ops import LogitsRequest
from .tiles import Tile, Tiles
from .vectors import ClassVectors, prefers_chunking, with_bias

ROWS = 256
"""Rows of a table: what a byte tells apart."""

STRIP = 256
"""Features at once: M·R·256 numbers that are looked up, 2 MiB of float32 for eight tables."""

CELLS = 1 << 20
"""Logits of a tile: 4 MiB of float32."""

DECODED = 1 << 22
"""Numbers K·d up to which all rows are decoded for all logits: 16 MiB of float32."""

SAMPLE = 1 << 16
"""Rows from which tables are found by k-means; more of them are only assigned."""

ROUNDS = 25
TINY = 1e-30


class QuantisedVectors(ClassVectors):
    """K vectors of M bytes each over tables (M, R, d/M), which may be learned.

    choices: the bytes c (K, M) uint8.
    unit_rows: whether rows are brought to length 1 when they are decoded.
    """

    fused = False

    def __init__(self, tables: Tensor, choices: Tensor, *, unit_rows: bool = False) -> None:
        check_choices(tables, choices)
        self.tables = tables
        self.choices = choices
        self.unit_rows = unit_rows
        self.construction = f"quantised:{len(tables)}"
        self.shape = len(choices), tables.shape[0] * tables.shape[2]

    @property
    def norm(self) -> float | None:
        """√(Σ_m max_j ‖T_m[j]‖²), whether some class has all these rows or none."""
        if self.unit_rows or torch.compiler.is_compiling():
            return super().norm
        longest = self.tables.detach().double().square().sum(dim=2).amax(dim=1)
        return float(longest.sum().sqrt())

    @property
    def request(self) -> LogitsRequest:
        return LogitsRequest(self.classes, maker=ops.register_maker(self), norm=self.norm)

    @property
    def device(self) -> torch.device:
        return self.tables.device

    def to(self, device: torch.device | str) -> QuantisedVectors:
        if self.device == torch.device(device):
            return self
        return QuantisedVectors(
            self.tables.to(device), self.choices.to(device), unit_rows=self.unit_rows
        )

    def unit(self) -> QuantisedVectors:
        """The same directions with rows of length 1, through which a gradient flows back."""
        return QuantisedVectors(self.tables, self.choices, unit_rows=True)

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        places = self.places(labels.to(self.device))
        rows = self.tables.flatten(0, 1)[places].flatten(1).to(dtype)
        return unit(rows) if self.unit_rows else rows

    def places(self, labels: Tensor | slice) -> Tensor:
        """m·R + c_km (n, M): where the parts of those classes stand among all rows."""
        offsets = self.tables.shape[1] * torch.arange(len(self.tables), device=self.device)
        return self.choices[labels].long() + offsets

    @torch.no_grad()
    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return super().dense(dtype)

    def prefers_chunking(self, rows: int, *, learned: bool = False) -> bool:
        # All logits are made of all rows, which of few features are the larger matrix.
        return prefers_chunking(max(rows, self.features), self.classes, self.device)

    def matmul(self, projected: Tensor) -> Tensor:
        """x Wᵀ (N, K), differentiable in the tables too: of all rows, decoded, where those are few;
        else looked up."""
        if self.classes * self.features < DECODED:
            rows = self.rows(torch.arange(self.classes, device=self.device), projected.dtype)
            return F.linear(projected, rows)
        with torch.autocast(projected.device.type, enabled=False):
            tables, places = self.tables.to(projected.dtype), self.places(slice(None))
            logits = F.embedding_bag(places, looked_up(tables, projected), mode="sum")
            if self.unit_rows:
                logits = logits * self._lengths(tables.flatten(0, 1), places).unsqueeze(1)
        return logits.t()

    def negatives_lse(
        self,
        projected: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        *,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        lse = _NegativesLSE.apply(projected, self.tables, bias, labels, self, max_logit)  # type: ignore[no-untyped-call]
        with torch.autocast(projected.device.type, enabled=False):
            target = (projected * self.rows(labels.clamp(min=0), projected.dtype)).sum(dim=1)
        return lse, with_bias(target, labels, bias)

    @torch.no_grad()
    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        return blockwise.topk(TableTiles(self, projected.dtype), projected, bias, k)

    @torch.no_grad()
    def _summed(self, weights: Tensor | None, width: int) -> Tensor:
        kind = torch.float32 if weights is None else weights.dtype
        like = torch.zeros(1, width, dtype=kind, device=self.device)
        return blockwise.weighted_sum(TableTiles(self, kind), like, weights)

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        """Σ_k a_k w_k (d,), differentiable in the tables."""
        places = self.places(slice(None))
        ones = self.tables.new_ones(self.classes) if weights is None else weights
        rows = self.tables.flatten(0, 1).to(ones.dtype)
        shares = (ones * self._lengths(rows, places)).unsqueeze(1).expand_as(places)
        totals = rows.new_zeros(len(rows)).index_add(0, places.flatten(), shares.flatten())
        return (
            (totals.unsqueeze(1) * rows).view(len(self.tables), -1, rows.shape[1]).sum(1).flatten()
        )

    def _lengths(self, rows: Tensor, places: Tensor) -> Tensor:
        """What a decoded row is multiplied by (n,)."""
        if not self.unit_rows:
            return rows.new_ones(len(places))
        return rows.square().sum(dim=1)[places].sum(dim=1).clamp(min=TINY).rsqrt()

    @torch.no_grad()
    def certificate(self, sample: int | None = None) -> Certificate:
        return super().certificate(sample)

    def digest(self) -> str:
        """SHA-256 of the tables and the bytes."""
        code = hashlib.sha256(f"{self.shape} {self.unit_rows}".encode())
        for part in (self.tables, self.choices):
            code.update(bytes(part.detach().cpu().contiguous().view(torch.uint8).untyped_storage()))
        return code.hexdigest()

    def grow(self, classes: int, generator: torch.Generator) -> QuantisedVectors:
        """The same vectors and further ones, of bytes that no class has, drawn at random.

        Raises:
            RequestError: no more classes than there are, or more than the bytes tell apart.
        """
        if classes <= self.classes:
            raise RequestError(
                f"grow() needs more classes than the {self.classes} there are, got {classes}"
            )
        drawn = distinct_choices(
            classes, len(self.tables), self.tables.shape[1], generator, self.choices.cpu()
        )
        return QuantisedVectors(
            self.tables, drawn.to(self.choices.device), unit_rows=self.unit_rows
        )


class Places(Protocol):
    """Class vectors whose logits are sums of numbers that are looked up."""

    @property
    def classes(self) -> int: ...

    def places(self, labels: Tensor | slice) -> Tensor: ...

    def rows(self, labels: Tensor, dtype: torch.dtype = ...) -> Tensor: ...


class TableTiles(Tiles):
    """Tiles of logits by looking up: a strip of features, then a few thousand classes at a time."""

    vectors: Places

    def __init__(self, vectors: QuantisedVectors, dtype: torch.dtype) -> None:
        self.vectors = vectors
        self.classes = vectors.classes
        self.tables = vectors.tables.detach().to(dtype)
        self._sums: list[Tensor] = []
        self.places = self.tables.new_empty(0, dtype=torch.int64)
        self.lengths: Tensor | None = None

    def height(self, rows: int) -> int:
        return min(max(CELLS // max(min(rows, STRIP), 1), 256), self.classes)

    def walk(self, projected: Tensor) -> Iterator[Tile]:
        height = self.height(len(projected))
        chunks = -(-self.classes // height)
        self._sums = []
        for number, strip in enumerate(torch.split(projected, STRIP)):
            begin = number * STRIP
            seen = self.looked_up(strip, begin)
            self._sums.append(torch.zeros_like(seen))
            for chunk in range(chunks):
                start = chunk * height
                stop = min(start + height, self.classes)
                self.places = self.vectors.places(slice(start, stop))
                self.lengths = self.inverse_lengths(start, stop)
                logits = F.embedding_bag(self.places, seen, mode="sum")
                if self.lengths is not None:
                    logits.mul_(self.lengths.unsqueeze(1))
                span = (start, stop)
                yield Tile(
                    number * chunks + chunk, logits, begin, begin + len(strip),
                    _names(*span, projected.device), span,
                )  # fmt: skip

    def looked_up(self, strip: Tensor, begin: int) -> Tensor:
        """t of the features (n, d) from row ``begin`` on, a line per place."""
        return looked_up(self.tables, strip)

    def inverse_lengths(self, start: int, stop: int) -> Tensor | None:
        """What the logits of these classes are multiplied by; None where by nothing."""
        assert isinstance(self.vectors, QuantisedVectors)
        if not self.vectors.unit_rows:
            return None
        return self.vectors._lengths(self.tables.flatten(0, 1), self.places)

    def accumulate(self, tile: Tile, *, total: bool) -> Tensor | None:
        sums = tile.logits.sum(dim=0) if total else None
        if self.lengths is not None:
            tile.logits.mul_(self.lengths.unsqueeze(1))
        scatter_(self._sums[-1], self.places, tile.logits)
        return sums

    def accumulated(self) -> Tensor:
        return torch.cat([self.back(sums) for sums in self._sums])

    def back(self, sums: Tensor) -> Tensor:
        """Σ_j G_mj T_m[j] (n, d) of G (M·R, n)."""
        count, rows, size = self.tables.shape
        parts = torch.bmm(sums.view(count, rows, -1).movedim(2, 1), self.tables)  # (M, n, d/M)
        return parts.movedim(0, 1).reshape(-1, count * size)

    def scale_accumulated(self, tile: Tile, factors: Tensor) -> None:
        self._sums[-1] *= factors

    def locate(self, labels: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        height = self.height(rows)
        row = torch.arange(rows, device=labels.device)
        strip, column = row // STRIP, row % STRIP
        widths = (rows - strip * STRIP).clamp(max=STRIP)
        key = strip * -(-self.classes // height) + labels // height
        key = torch.where(labels < 0, -1, key)
        return key, labels.clamp(min=0) % height * widths + column

    def rows(self, labels: Tensor) -> Tensor:
        return self.vectors.rows(labels, self.tables.dtype)


def looked_up(tables: Tensor, strip: Tensor) -> Tensor:
    """t (M·R, n) of features (n, d)."""
    count, _, size = tables.shape
    parts = strip.reshape(len(strip), count, size).movedim(0, 2)  # (M, d/M, n)
    return torch.bmm(tables, parts).flatten(0, 1)


def scatter_(sums: Tensor, places: Tensor, values: Tensor) -> None:
    """G (M·R, n) += the values (C, n) of each class at its M places (C, M).

    As sums over the classes of a place, which are sorted first: a third of ``index_add_``'s time.
    """
    flat = places.t().reshape(-1)
    counts = torch.bincount(flat, minlength=len(sums))
    owners = flat.argsort(stable=True) % len(values)
    sums.add_(F.embedding_bag(owners, values, counts.cumsum(0) - counts, mode="sum"))


def _names(start: int, stop: int, device: torch.device) -> Any:
    return lambda: torch.arange(start, stop, device=device)


class _NegativesLSE(torch.autograd.Function):
    """R (N,) in float64, as ``ops.negatives_lse``; a second walk for the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        tables: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        vectors: QuantisedVectors,
        max_logit: float | None,
    ) -> Tensor:
        with torch.autocast(projected.device.type, enabled=False):
            offset = None if bias is None else bias.to(projected.dtype)
            tiles = TableTiles(vectors, projected.dtype)
            safe = blockwise.needs_no_max(
                projected, offset, tiles.classes, norm=vectors.norm, max_logit=max_logit
            )
            lse, _ = blockwise.online_lse(
                tiles, projected, labels, offset, safe=safe, feature_grad=False
            )
        ctx.vectors = vectors
        ctx.save_for_backward(projected, tables, bias, labels, lse)
        return lse

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        projected, tables, bias, labels, lse = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
            offset = None if bias is None else bias.to(projected.dtype)
            found = _gradients(ctx.vectors, projected, offset, labels, lse, upstream)
        given = (projected, tables, bias)
        grads = [
            ops.once(gradient.to(one.dtype)) if needed and one is not None else None
            for one, gradient, needed in zip(given, found, ctx.needs_input_grad, strict=False)
        ]
        return (*grads, None, None, None)


def _gradients(
    vectors: QuantisedVectors,
    projected: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    lse: Tensor,
    upstream: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Those of Σ_i g_i R_i in the features (N, d), the tables (M, R, d/M) and the bias (K,).

    With a_k = 1/‖w_k‖ in front of a logit z_k = a_k u_k, ∂/∂‖w_k‖² = −½ a_k² Σ_i p_ik z_ik.
    """
    tiles = TableTiles(vectors, projected.dtype)
    near = lse.to(projected.dtype)
    # What the rounding of R took from e^{z − R} goes with the rows: z − R itself loses nothing.
    factors = upstream.to(projected.dtype) * (near - lse).exp().to(projected.dtype)
    totals = projected.new_zeros(vectors.classes)
    squares = projected.new_zeros(tiles.tables[..., 0].numel())
    cells = blockwise.target_cells(tiles, labels)
    for tile in tiles.walk(projected) if len(projected) else ():
        part = slice(tile.start, tile.stop)
        assert tile.span is not None
        weights = tile.logits - near[part]
        if bias is not None:
            weights.add_(bias[slice(*tile.span)].unsqueeze(1))
        weights.exp_().mul_(factors[part])
        blank = cells.get(tile.key)
        if blank is not None:
            weights.view(-1).index_fill_(0, blank, 0.0)
        totals[slice(*tile.span)] += weights.sum(dim=1)
        if tiles.lengths is not None:
            pull = torch.linalg.vecdot(weights, tile.logits) * tiles.lengths.square() / -2
            squares.index_add_(0, tiles.places.flatten(), pull.repeat_interleave(len(tiles.tables)))
        tile.logits = weights
        tiles.accumulate(tile, total=False)
    if not len(projected):
        return torch.zeros_like(projected), torch.zeros_like(tiles.tables), totals
    to_tables = 2 * squares.view(*tiles.tables.shape[:2], 1) * tiles.tables
    for sums, strip in zip(tiles._sums, torch.split(projected, STRIP), strict=True):
        count, rows, size = tiles.tables.shape
        parts = strip.view(len(strip), count, size).movedim(1, 0)  # (M, n, d/M)
        to_tables.baddbmm_(sums.view(count, rows, -1), parts)
    return tiles.accumulated(), to_tables, totals


# Tables and bytes: drawn, found from rows, chosen anew.


def check_quantised(classes: int, features: int, tables: int) -> None:
    """Refuse tables that do not divide d, or bytes that do not tell K classes apart.

    Raises:
        RequestError: naming what would do.
    """
    if tables < 1 or features % tables:
        fitting = [m for m in (2, 4, 8, 16, 32, 64) if features % m == 0]
        raise RequestError(
            f"vectors=quantised:{tables} needs features as a multiple of {tables}, got {features}; "
            f"use {', '.join(f'quantised:{m}' for m in fitting) or 'other features'}"
        )
    if classes > min(ROWS, classes) ** tables:
        raise RequestError(
            f"vectors=quantised:{tables} tells at most {ROWS**tables:,} classes apart, got "
            f"{classes:,}; use quantised:{tables + 1} or more bytes"
        )


def tables_of(word: str) -> int | None:
    """``"quantised:8"`` → 8; None where the word means no quantised vectors.

    Raises:
        RequestError: no number of bytes follows the colon.
    """
    name, _, number = word.partition(":")
    if name != "quantised":
        return None
    if not number.isdecimal() or int(number) < 1:
        raise RequestError(
            f"vectors=quantised needs the bytes of a class after a colon, as quantised:8, got "
            f"{word!r}"
        )
    return int(number)


def check_choices(tables: Tensor, choices: Tensor) -> None:
    """Refuse bytes that do not fit the tables."""
    fits = tables.ndim == 3 and choices.ndim == 2 and choices.shape[1] == len(tables)
    if not fits or choices.dtype != torch.uint8 or len(choices) < 2:
        raise RequestError(
            "quantised vectors need tables (M, R, d/M) and bytes (K, M) of uint8 with K >= 2, got "
            f"{tuple(tables.shape)} and {tuple(choices.shape)} of {choices.dtype}"
        )


def distinct_choices(
    classes: int,
    tables: int,
    rows: int,
    generator: torch.Generator,
    old: Tensor | None = None,
) -> Tensor:
    """Bytes (K, M) no two of which are the same, drawn at random; after those of ``old`` (n, M)."""
    if classes > rows**tables:
        raise RequestError(
            f"{tables} tables of {rows} rows tell at most {rows**tables:,} classes apart, got "
            f"{classes:,}; use more bytes a class"
        )
    kept = torch.empty(0, tables, dtype=torch.uint8) if old is None else old
    while len(kept) < classes:
        number = classes - len(kept)
        drawn = torch.randint(rows, (number, tables), generator=generator, dtype=torch.uint8)
        both = torch.cat([kept, drawn])
        words = _words(both)
        order = words.argsort(stable=True)  # of equal words the earliest comes first
        again = torch.zeros(len(both), dtype=torch.bool)
        again[order[1:]] = words[order].diff() == 0
        again[: len(kept)] = False  # those that are there stay, whatever they are
        kept = both[~again]
    return kept


def _words(choices: Tensor) -> Tensor:
    """Bytes (n, M) as whole numbers (n,): of more than eight the last eight."""
    words = torch.zeros(len(choices), dtype=torch.int64)
    for column in choices.unbind(dim=1):
        words = words * ROWS + column
    return words


def drawn_vectors(
    classes: int, features: int, tables: int, *, generator: torch.Generator, dtype: torch.dtype
) -> QuantisedVectors:
    """Tables of N(0, 1/d) and bytes at random: a start that knows no data."""
    check_quantised(classes, features, tables)
    rows = min(ROWS, classes)
    shape = (tables, rows, features // tables)
    made = torch.randn(shape, generator=generator, dtype=dtype) / features**0.5
    return QuantisedVectors(made, distinct_choices(classes, tables, rows, generator))


@torch.no_grad()
def quantise(
    vectors: Tensor, tables: int, *, generator: torch.Generator | None = None
) -> QuantisedVectors:
    """The tables and bytes nearest to given rows (K, d): k-means in each part of the dimensions.

    Lloyd's rounds on at most 65,536 drawn rows; a centre that no row is nearest to becomes the row
    that is farthest from its own.
    """
    classes, features = vectors.shape
    check_quantised(classes, features, tables)
    generator = default_generator_or(generator)
    rows = min(ROWS, classes)
    order = torch.randperm(classes, generator=generator)[:SAMPLE].to(vectors.device)
    parts = vectors.detach().float().view(classes, tables, -1)
    found = torch.stack([_centres(parts[order, m], rows) for m in range(tables)])
    made = found.to(vectors.dtype)
    return QuantisedVectors(made, nearest_choices(vectors, found))


@torch.no_grad()
def nearest_choices(vectors: Tensor, tables: Tensor) -> Tensor:
    """The bytes (n, M) of the rows (n, d) by the nearest row of each table."""
    count, _, size = tables.shape
    wide = tables.detach().float()
    half = wide.square().sum(dim=2) / 2
    pieces = []
    for part in torch.split(vectors.detach().float(), max(CELLS // wide.shape[1], 1)):
        split = part.view(len(part), count, size).movedim(1, 0)
        gains = torch.baddbmm(-half.unsqueeze(1), split, wide.movedim(2, 1))
        pieces.append(gains.argmax(dim=2).t().to(torch.uint8))
    return torch.cat(pieces)


def _centres(points: Tensor, rows: int) -> Tensor:
    """R centres (R, s) of points (n, s); the first ones are the first points."""
    centres = points[:rows].clone()
    for _ in range(ROUNDS):
        gains = points @ centres.T - centres.square().sum(dim=1) / 2
        best, own = gains.max(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, own, points)
        counts = torch.bincount(own, minlength=rows)
        empty = (counts == 0).nonzero().squeeze(1)
        moved = sums / counts.clamp(min=1).unsqueeze(1)
        if len(empty):
            far = (points.square().sum(dim=1) / 2 - best).argsort(descending=True)[: len(empty)]
            moved[empty] = points[far]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres
