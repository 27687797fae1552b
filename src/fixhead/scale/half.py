"""The classes in bfloat16 all the way, as a GPU's matrix units like it: rows of points first.

A tile is z (n, C) in bfloat16, as precise as logits are under autocast, and e^z takes its place.
No maximum is subtracted: bfloat16 reaches as far as float32, and a bound tells whether z stays
within. The totals over the classes are those of the rounded weights, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .tiles import ChunkTiles, product

CELLS = 1 << 25
"""Logits in a tile: 64 MiB."""

CLASSES = (1024, 1 << 22)
NUMBERS = 1 << 25
"""The fewest and the most classes of a tile, and numbers of its vectors where they are made."""

STEP = 128
"""Tiles are whole multiples of so many classes, which the products like."""

EDGE = 8
"""Columns before and after a tile, 16 bytes: there labels of other tiles do no harm."""

REACH = 85.0
"""e^85 < 3.4e38: no logit overflows, nor does a sum."""

NEAR = 60.0
"""With |R| ≤ 60 both e^z and e^−R are far from the ends of the range."""


def height(tiles: ChunkTiles, points: Tensor, kind: torch.dtype) -> int:
    """Classes of a tile, so that tiles are about equal; vectors of that kind are needed."""
    low, high = CLASSES
    if tiles.stored != kind:
        high = min(high, max(NUMBERS // points.shape[1], low))
    most = min(max(CELLS // max(len(points), 1), low), high)
    even = -(-tiles.classes // -(-tiles.classes // most))
    return -(-even // STEP) * STEP


def rest(
    tiles: ChunkTiles, points: Tensor, labels: Tensor, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """R (n,) in float64 and G (n, d), as ``passes.rest``, of logits that ``within`` holds of."""
    totals, pull = [], None
    for _, rows, weights in _exponentials(tiles, points, labels):
        totals.append(weights.sum(dim=1, dtype=torch.float32))
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
    scaled = (points * factors.unsqueeze(1)).bfloat16()
    for start, rows, weights in _exponentials(tiles, points, labels):
        product(weights.t(), scaled, out=out[start : start + len(rows)])
    return out


def _exponentials(
    tiles: ChunkTiles, points: Tensor, labels: Tensor
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """By tile: its first class, its vectors (C, d), and e^z (n, C), which is 0 for labels."""
    count, classes, device = len(points), tiles.classes, points.device
    lines = height(tiles, points, torch.bfloat16)
    buffer = torch.empty(count, lines + 2 * EDGE, dtype=torch.bfloat16, device=device)
    narrow = points.bfloat16()
    before = torch.arange(-EDGE, classes - EDGE, lines, device=device).unsqueeze(1)
    own = (labels - before).clamp_(0, lines + EDGE).unsqueeze(2)
    for number, start in enumerate(range(0, classes, lines)):
        rows = tiles.make(start, min(start + lines, classes)).to(device, torch.bfloat16)
        weights = buffer[:, EDGE : EDGE + len(rows)]
        torch.mm(narrow, rows.t(), out=weights)
        buffer.scatter_(1, own[number], -torch.inf)
        buffer.exp_()  # the edges too: one piece of memory is faster, and nobody reads them
        yield start, rows, weights


def within(points: Tensor, norm: float | Tensor, bound: float, classes: int) -> Callable[[], bool]:
    """Whether max ‖w‖·‖x‖ + ln K ≤ 85, asked at once and answered later."""
    most = REACH - math.log(classes)
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
