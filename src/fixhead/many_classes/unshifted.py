"""Sums over the classes without a maximum, as a GPU likes them: rows of points first.

A tile is z (n, C), and e^z takes its place; a bound tells whether z stays within what numbers
reach, and is asked for without waiting. Where the products are bfloat16, z and e^z are too: as
precise as logits are under autocast, and bfloat16 reaches as far as float32. The totals over the
classes are those of the rounded weights, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeGuard

import torch
from torch import Tensor

from .tiles import SAFE, ChunkTiles, Tiles, product

CELLS = 1 << 25
"""Logits in a tile: 64 MiB of bfloat16."""

CLASSES = (1024, 1 << 22)
NUMBERS = 1 << 25
"""The fewest and the most classes of a tile, and numbers of its vectors where they are made."""

STEP = 128
"""Tiles are whole multiples of so many classes, which the products like."""

EDGE = 8
"""Columns before and after a tile, at least 16 bytes: there labels of other tiles do no harm."""

NEAR = 60.0
"""With |R| ≤ 60 both e^z and e^−R are far from the ends of the range."""


def suits(tiles: Tiles, points: Tensor) -> TypeGuard[ChunkTiles]:
    """Whether these tiles are walked over so: half-precision ones, and those of a device."""
    if not isinstance(tiles, ChunkTiles) or not len(points):
        return False
    return tiles.half or points.device.type != "cpu"


def height(tiles: ChunkTiles, points: Tensor, kind: torch.dtype) -> int:
    """Classes of a tile, so that tiles are about equal; vectors of that kind are needed."""
    low, high = CLASSES
    if tiles.stored != kind:
        high = min(high, max(NUMBERS // points.shape[1], low))
    most = min(max(2 * CELLS // kind.itemsize // max(len(points), 1), low), high)
    even = -(-tiles.classes // -(-tiles.classes // most))
    return -(-even // STEP) * STEP


def rest(
    tiles: ChunkTiles, points: Tensor, labels: Tensor, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """R (n,) in float64 and G (n, d), as ``passes.rest``, of logits that ``within`` holds of."""
    totals, pull = [], None
    for _, rows, weights in _exponentials(tiles, points, labels):
        totals.append(weights.sum(dim=1, dtype=points.dtype))
        if gradient:
            part = product(weights, rows)
            pull = part if pull is None else pull.add_(part)
    sums = torch.stack(totals).sum(dim=0, dtype=torch.float64)
    if pull is not None:
        pull = pull.div_(sums.to(pull.dtype).unsqueeze(1)).to(points.dtype)
    return sums.log(), pull


def vector_gradients(
    tiles: ChunkTiles, points: Tensor, labels: Tensor, rest: Tensor, upstream: Tensor
) -> Tensor:
    """Σ_i g_i e^{z_ik − R_i} x_i (K, d): e^−R goes with the points, where it costs N·d."""
    out = points.new_empty(tiles.classes, points.shape[1])
    factors = (-rest).exp().mul_(upstream).to(points.dtype)
    scaled = (points * factors.unsqueeze(1)).to(_kind(tiles, points))
    for start, rows, weights in _exponentials(tiles, points, labels):
        product(weights.t(), scaled, out=out[start : start + len(rows)])
    return out


def _exponentials(
    tiles: ChunkTiles, points: Tensor, labels: Tensor
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """By tile: its first class, its vectors (C, d), and e^z (n, C), which is 0 for labels."""
    count, classes, device = len(points), tiles.classes, points.device
    kind = _kind(tiles, points)
    lines = height(tiles, points, kind)
    buffer = torch.empty(count, lines + 2 * EDGE, dtype=kind, device=device)
    narrow = points.to(kind)
    before = torch.arange(-EDGE, classes - EDGE, lines, device=device).unsqueeze(1)
    own = (labels - before).clamp_(0, lines + EDGE).unsqueeze(2)
    for number, start in enumerate(range(0, classes, lines)):
        rows = tiles.make(start, min(start + lines, classes)).to(device, kind)
        weights = buffer[:, EDGE : EDGE + len(rows)]
        torch.mm(narrow, rows.t(), out=weights)
        buffer.scatter_(1, own[number], -torch.inf)
        buffer.exp_()  # the edges too: one piece of memory is faster, and nobody reads them
        yield start, rows, weights


def _kind(tiles: ChunkTiles, points: Tensor) -> torch.dtype:
    return torch.bfloat16 if tiles.half else points.dtype


def within(points: Tensor, norm: float | Tensor, bound: float, classes: int) -> Callable[[], bool]:
    """Whether max ‖w‖·‖x‖ + ln K is within reach, asked at once and answered later."""
    most = SAFE[points.dtype] - math.log(classes)
    if bound > 0:
        return lambda: bound <= most
    longest = torch.linalg.vector_norm(points, dim=1).amax()
    if isinstance(norm, Tensor):
        longest, norm = longest * norm, 1.0
    reach, factor = later(longest), norm
    return lambda: reach() * factor <= most


def near(rest: Tensor) -> Callable[[], bool]:
    """Whether |R| ≤ 60 for all rows; no logit is above its R."""
    most = later(rest.abs().amax())
    return lambda: most() <= NEAR


def later(value: Tensor) -> Callable[[], float]:
    """A number on a device, sent at once and waited for when it is asked.

    Work that was given to the device meanwhile goes on.
    """
    if not value.is_cuda:
        return lambda: float(value)
    kept = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    kept.copy_(value, non_blocking=True)
    sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
    sent.record(torch.cuda.current_stream(value.device))

    def ask() -> float:
        sent.synchronize()
        return float(kept)

    return ask
