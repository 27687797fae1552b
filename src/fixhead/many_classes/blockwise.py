"""What is computed in walks over tiles of classes, and never as N × K numbers.

With z the logits and, where a label is given, its own class left out:
    R_i = log Σ_{k ≠ y_i} e^{z_ik}            the log-sum-exp of the negatives
    G_i = Σ_{k ≠ y_i} softmax_k w_k            its gradient in the projected feature

``online`` walks keep a running maximum, as online softmax does, unless a bound says that no logit
needs one; sums over classes are kept in float64 per row, whatever the logits are.

``no_max`` walks need such a bound, and are laid out as a GPU likes them: rows of features first,
e^z in place of z, and whether the bound holds is asked without waiting for the device. Where the
products are bfloat16, z and e^z are too: as precise as logits are under autocast, and bfloat16
reaches as far as float32. Their totals over the classes are those of the rounded weights, in
float32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TypeGuard

import torch
from torch import Tensor

from .tiles import ChunkTiles, Tile, Tiles, column_maxima, matmul

SAFE = {torch.float32: 85.0, torch.float64: 700.0}
"""e^85 < 3.4e38 and e^−85 > 1.2e−38: no such logit over- or underflows, nor does a sum."""

NO_MAX_CELLS = 1 << 25
"""Logits in a tile of a ``no_max`` walk: 64 MiB of bfloat16."""

NO_MAX_CLASSES = (1024, 1 << 22)
NO_MAX_NUMBERS = 1 << 25
"""The fewest and the most classes of such a tile; numbers of its vectors where they are made."""

NO_MAX_STEP = 128
"""Such tiles are whole multiples of so many classes, which the products like."""

EDGE = 8
"""Columns before and after a tile, at least 16 bytes: there labels of other tiles do no harm."""

NEAR = 60.0
"""With |R| ≤ 60 both e^z and e^−R are far from the ends of the range."""


# Online: with a running maximum, or without one where the logits are known to be safe.


def needs_no_max(
    projected: Tensor,
    bias: Tensor | None,
    classes: int,
    *,
    norm: float | None,
    max_logit: float | None,
) -> bool:
    """Whether max|b| + max|w·x| + ln K ≤ 85: then no maximum need be sought.

    max_logit: a bound of |w·x|; where it is None, max‖w‖·‖x‖ is taken.
    norm: max‖w‖; where it is None too, nothing is known.
    """
    if max_logit is None:
        if norm is None:
            return False
        max_logit = 0.0
        if len(projected):
            max_logit = norm * float(torch.linalg.vector_norm(projected, dim=1).amax())
    if bias is not None:
        max_logit += float(bias.abs().amax())
    return max_logit + math.log(classes) <= SAFE[projected.dtype]


def online_lse(
    tiles: Tiles,
    projected: Tensor,
    labels: Tensor | None,
    bias: Tensor | None,
    *,
    safe: bool,
    feature_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """R (N,) in float64 and, where asked for, G (N, d); a label below 0 leaves no class out.

    safe: that ``needs_no_max`` holds.
    """
    sums = projected.new_zeros(len(projected), dtype=torch.float64)
    lowest = torch.finfo(projected.dtype).min / 4  # not −∞: −∞ − (−∞) is NaN
    maxima = None if safe else projected.new_full((len(projected),), lowest)
    targets = target_cells(tiles, labels)
    for tile in _walk(tiles, projected):
        rows = slice(tile.start, tile.stop)
        _add_bias_and_blank(tile, bias, targets)
        if maxima is not None:
            sums[rows].mul_(_raise_maxima(tiles, tile, maxima[rows], feature_grad))
        if feature_grad:
            sums[rows].add_(tiles.accumulate_exponentials(tile))
        else:
            sums[rows].add_(tile.logits.exp_().sum(dim=0))
    lse = sums.log()
    if maxima is not None:
        lse = lse + maxima
    if not feature_grad:
        return lse, None
    total = tiles.accumulated() if len(projected) else torch.zeros_like(projected)
    return lse, total / sums.unsqueeze(1).to(projected.dtype)


def _raise_maxima(tiles: Tiles, tile: Tile, maxima: Tensor, feature_grad: bool) -> Tensor:
    """Subtract the running maximum from the tile; returns by what older sums shrink."""
    raised = torch.maximum(maxima, column_maxima(tile.logits))
    factors = (maxima - raised).exp_()
    if feature_grad:
        tiles.scale_accumulated(tile, factors)
    maxima.copy_(raised)
    tile.logits.sub_(raised)
    return factors


def online_class_gradients(
    tiles: Tiles,
    projected: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    upstream: Tensor,
    *,
    vector_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """A second walk: Σ_i g_i softmax_ik (K,), the bias's gradient, and with x_i the vectors'."""
    totals = projected.new_zeros(tiles.classes + 1)  # lines past the last class end up in the last
    rows = projected.new_zeros(tiles.classes, projected.shape[1]) if vector_grad else None
    # e^{z − R} with R rounded, and what the rounding took from it: z − R itself loses nothing.
    near = lse.to(projected.dtype)
    upstream = upstream * (near - lse).exp().to(projected.dtype)
    targets = target_cells(tiles, labels)
    bf16 = isinstance(tiles, ChunkTiles) and tiles.bf16_matmul
    factors = projected.to(torch.bfloat16) if bf16 else projected
    for tile in _walk(tiles, projected):
        _add_bias_and_blank(tile, bias, targets)
        part = slice(tile.start, tile.stop)
        weights = tile.logits.sub_(near[part]).exp_().mul_(upstream[part])
        if tile.span is None:
            names = tile.names().clamp(max=tiles.classes)
            totals.index_add_(0, names, weights.sum(dim=1))
        else:
            start, stop = tile.span
            torch.sum(weights, dim=1, out=totals[start:stop])
        if rows is not None:
            assert isinstance(tiles, ChunkTiles)
            assert tile.span is not None
            matmul(weights.to(factors.dtype), factors, out=rows[slice(*tile.span)])
    return totals[:-1], rows


def weighted_sum(tiles: Tiles, like: Tensor, weights: Tensor | None) -> Tensor:
    """Σ_k a_k w_k (d,), with a_k = 1 where weights is None; ``like`` (1, d) sets type and place."""
    for tile in tiles.walk(torch.zeros_like(like)):
        names = tile.names()
        inside = names < tiles.classes
        chosen = inside if weights is None else weights[names.clamp(max=tiles.classes - 1)] * inside
        tile.logits.copy_(chosen.unsqueeze(1))
        tiles.accumulate(tile, total=False)
    return tiles.accumulated()[0]


def all_logits(tiles: Tiles, projected: Tensor) -> Tensor:
    """All of them, (N, K)."""
    out = projected.new_empty(len(projected), tiles.classes)
    for tile in _walk(tiles, projected):
        if tile.span is not None:
            out[tile.start : tile.stop, slice(*tile.span)] = tile.logits.t()
            continue
        names = tile.names()
        inside = names < tiles.classes
        out[tile.start : tile.stop, names[inside]] = tile.logits[inside].t()
    return out


def logits_backward(tiles: Tiles, projected: Tensor, upstream: Tensor) -> Tensor:
    """g W (N, d) for g (N, K)."""
    for tile in _walk(tiles, projected):
        names = tile.names()
        inside = names < tiles.classes
        part = upstream[tile.start : tile.stop, names.clamp(max=tiles.classes - 1)]
        tile.logits.copy_((part * inside).t())
        tiles.accumulate(tile, total=False)
    return tiles.accumulated() if len(projected) else torch.zeros_like(projected)


def _walk(tiles: Tiles, projected: Tensor) -> Iterator[Tile]:
    """The tiles of at least one row."""
    return tiles.walk(projected) if len(projected) else iter(())


def _add_bias_and_blank(tile: Tile, bias: Tensor | None, targets: dict[int, Tensor]) -> None:
    """Add the bias, and take the targets out."""
    if bias is not None:
        names = tile.names().clamp(max=len(bias) - 1)
        tile.logits.add_(bias[names].unsqueeze(1))
    cells = targets.get(tile.key)
    if cells is not None:
        tile.logits.view(-1).index_fill_(0, cells, -torch.inf)


def target_cells(tiles: Tiles, labels: Tensor | None) -> dict[int, Tensor]:
    """By tile, the places of the rows' target classes in its flat logits.

    They are sorted on the CPU: a device is waited for once, and not for each of the steps.
    """
    if labels is None or not len(labels):
        return {}
    here = labels.cpu()
    keys, cells = tiles.locate(here, len(here))
    keys = (keys + 1).clamp_(min=0)  # 0: of no tile
    counts = torch.bincount(keys).tolist()
    cells = cells[keys.argsort()].to(labels.device)
    begins = itertools.accumulate(counts, initial=0)
    parts = list(zip(begins, counts, strict=False))[1:]
    return {key: cells[begin : begin + n] for key, (begin, n) in enumerate(parts) if n}


# The largest logits.


def topk(tiles: Tiles, projected: Tensor, bias: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """The k largest logits of every row and their classes, (N, k) each, largest first."""
    if k == 1 and isinstance(tiles, ChunkTiles) and waits(projected):
        return top1(tiles, projected, bias)
    largest = _Largest(projected, k)
    for tile in _walk(tiles, projected):
        _add_bias_and_blank(tile, bias, {})
        largest.update(tile)
    return largest.values, largest.classes


def waits(projected: Tensor) -> bool:
    """Whether to look at a number is to wait for a device."""
    return projected.device.type != "cpu" and len(projected) > 0


class _Largest:
    """The k largest so far: a tile is only looked into for rows whose largest logit in it beats
    their k-th so far.
    """

    def __init__(self, projected: Tensor, k: int) -> None:
        rows, device = len(projected), projected.device
        self.k = k
        self.values = projected.new_full((rows, k), -torch.inf)
        self.classes = torch.zeros(rows, k, dtype=torch.int64, device=device)

    def update(self, tile: Tile) -> None:
        if self.k == 1 and tile.logits.device.type != "cpu":
            self._update_one(tile)
            return
        better = column_maxima(tile.logits) > self.values[tile.start : tile.stop, -1]
        moved = better.nonzero().squeeze(1)
        if len(moved):
            top = tile.logits[:, moved].t().topk(min(self.k, len(tile.logits)), dim=1)
            self._merge(moved + tile.start, top.values, tile.names()[top.indices])

    def _update_one(self, tile: Tile) -> None:
        """Without asking which rows moved: to know that is to wait for the device."""
        rows = slice(tile.start, tile.stop)
        values, lines = tile.logits.max(dim=0)
        better = values > self.values[rows, 0]
        self.classes[rows, 0] = torch.where(better, tile.names()[lines], self.classes[rows, 0])
        self.values[rows, 0] = torch.where(better, values, self.values[rows, 0])

    def _merge(self, rows: Tensor, values: Tensor, names: Tensor) -> None:
        both = torch.cat([self.values[rows], values], dim=1)
        order = both.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self.values[rows] = both.gather(1, order)
        self.classes[rows] = torch.cat([self.classes[rows], names], dim=1).gather(1, order)


def top1(tiles: ChunkTiles, projected: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The largest logits and their classes, (N, 1) each, in rows of features first and no wait.

    Every tile leaves its own largest behind; which of them is the largest is asked once, at the
    end.
    """
    count, classes, device = len(projected), tiles.classes, projected.device
    kind = _kind(tiles, projected)
    height = no_max_height(tiles, projected, kind)
    starts = range(0, classes, height)
    buffer = projected.new_empty(count * height)
    best = projected.new_empty(len(starts), count)
    lines = torch.empty(len(starts), count, dtype=torch.int64, device=device)
    narrow = projected.to(kind)
    for number, start in enumerate(starts):
        rows = tiles.make(start, min(start + height, classes)).to(device, kind)
        logits = buffer[: count * len(rows)].view(count, -1)
        matmul(narrow, rows.t(), out=logits)
        if bias is not None:
            logits.add_(bias[start : start + len(rows)])
        torch.max(logits, dim=1, out=(best[number], lines[number]))
    values, tile = best.max(dim=0, keepdim=True)
    return values.t(), (lines.gather(0, tile) + tile * height).t()


# No maximum: for logits that a bound keeps within what numbers reach.


def suits_no_max(tiles: Tiles, projected: Tensor) -> TypeGuard[ChunkTiles]:
    """Whether these tiles are walked over so: bfloat16 ones, and those of a device."""
    if not isinstance(tiles, ChunkTiles) or not len(projected):
        return False
    return tiles.bf16_matmul or projected.device.type != "cpu"


def no_max_height(tiles: ChunkTiles, projected: Tensor, kind: torch.dtype) -> int:
    """Classes of a tile, so that tiles are about equal; vectors of that kind are needed."""
    low, high = NO_MAX_CLASSES
    if tiles.stored != kind:
        high = min(high, max(NO_MAX_NUMBERS // projected.shape[1], low))
    most = min(max(2 * NO_MAX_CELLS // kind.itemsize // max(len(projected), 1), low), high)
    even = -(-tiles.classes // -(-tiles.classes // most))
    return -(-even // NO_MAX_STEP) * NO_MAX_STEP


def no_max_lse(
    tiles: ChunkTiles, projected: Tensor, labels: Tensor, *, feature_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """R (N,) in float64 and G (N, d), as ``online_lse``, of logits that ``within_reach`` says."""
    totals, weighted = [], None
    for _, rows, weights in _exponentials(tiles, projected, labels):
        totals.append(weights.sum(dim=1, dtype=projected.dtype))
        if feature_grad:
            part = matmul(weights, rows)
            weighted = part if weighted is None else weighted.add_(part)
    sums = torch.stack(totals).sum(dim=0, dtype=torch.float64)
    if weighted is not None:
        weighted = weighted.div_(sums.to(weighted.dtype).unsqueeze(1)).to(projected.dtype)
    return sums.log(), weighted


def no_max_vector_grad(
    tiles: ChunkTiles, projected: Tensor, labels: Tensor, lse: Tensor, upstream: Tensor
) -> Tensor:
    """Σ_i g_i e^{z_ik − R_i} x_i (K, d): e^−R goes with the features, where it costs N·d."""
    out = projected.new_empty(tiles.classes, projected.shape[1])
    factors = (-lse).exp().mul_(upstream).to(projected.dtype)
    scaled = (projected * factors.unsqueeze(1)).to(_kind(tiles, projected))
    for start, rows, weights in _exponentials(tiles, projected, labels):
        matmul(weights.t(), scaled, out=out[start : start + len(rows)])
    return out


def _exponentials(
    tiles: ChunkTiles, projected: Tensor, labels: Tensor
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """By tile: its first class, its vectors (C, d), and e^z (N, C), which is 0 for labels."""
    count, classes, device = len(projected), tiles.classes, projected.device
    kind = _kind(tiles, projected)
    height = no_max_height(tiles, projected, kind)
    buffer = torch.empty(count, height + 2 * EDGE, dtype=kind, device=device)
    narrow = projected.to(kind)
    before = torch.arange(-EDGE, classes - EDGE, height, device=device).unsqueeze(1)
    targets = (labels - before).clamp_(0, height + EDGE).unsqueeze(2)
    for number, start in enumerate(range(0, classes, height)):
        rows = tiles.make(start, min(start + height, classes)).to(device, kind)
        weights = buffer[:, EDGE : EDGE + len(rows)]
        torch.mm(narrow, rows.t(), out=weights)
        buffer.scatter_(1, targets[number], -torch.inf)
        buffer.exp_()  # the edges too: one piece of memory is faster, and nothing reads them
        yield start, rows, weights


def _kind(tiles: ChunkTiles, projected: Tensor) -> torch.dtype:
    return torch.bfloat16 if tiles.bf16_matmul else projected.dtype


def within_reach(
    projected: Tensor, classes: int, *, norm: float | Tensor | None, max_logit: float | None
) -> Callable[[], bool]:
    """Whether max|w·x| + ln K is within what e^z reaches, asked at once and answered later.

    max_logit, norm: as ``needs_no_max`` takes them; norm may still be on its way to the CPU.
    """
    most = SAFE[projected.dtype] - math.log(classes)
    if max_logit is not None:
        return lambda: max_logit <= most
    if norm is None:
        return lambda: False
    longest = torch.linalg.vector_norm(projected, dim=1).amax() * norm
    bound = _later(longest)
    return lambda: bound() <= most


def near_zero(lse: Tensor) -> Callable[[], bool]:
    """Whether |R| ≤ 60 for all rows; no logit is above its R."""
    most = _later(lse.abs().amax())
    return lambda: most() <= NEAR


def _later(value: Tensor) -> Callable[[], float]:
    """A number on a device, sent at once and waited for when it is asked.

    Work that was given to the device meanwhile goes on.
    """
    if not value.is_cuda:
        return lambda: float(value)
    pinned = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    pinned.copy_(value, non_blocking=True)
    sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
    sent.record(torch.cuda.current_stream(value.device))

    def ask() -> float:
        sent.synchronize()
        return float(pinned)

    return ask
