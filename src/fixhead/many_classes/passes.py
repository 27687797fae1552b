"""What is computed in one walk over the tiles, and never as N × K numbers.

With z the logits and, where a label is given, its own class left out:
    R_i = log Σ_{k ≠ y_i} e^{z_ik}            the rest
    G_i = Σ_{k ≠ y_i} softmax_k w_k            its gradient in the point
Sums over classes are kept in float64 per row, whatever the logits are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .first import first
from .tiles import SAFE, ChunkTiles, Tile, Tiles, column_maxima, product


def is_safe(
    points: Tensor, norm: float, bias: Tensor | None, classes: int, bound: float = 0.0
) -> bool:
    """Whether max|b| + ‖w‖·‖x‖ + ln K ≤ 85 for every row: then no maximum need be sought.

    bound: of ‖w‖·‖x‖, where it is known.
    """
    if bound <= 0 and len(points):
        bound = norm * float(torch.linalg.vector_norm(points, dim=1).amax())
    if bias is not None:
        bound += float(bias.abs().amax())
    return bound + math.log(classes) <= SAFE[points.dtype]


def rest(
    tiles: Tiles,
    points: Tensor,
    labels: Tensor | None,
    bias: Tensor | None,
    *,
    safe: bool,
    gradient: bool,
    largest: Largest | None = None,
) -> tuple[Tensor, Tensor | None]:
    """R (N,) in float64 and, where asked for, G (N, d); a label below 0 leaves no class out.

    ``largest`` sees the logits on the way.
    """
    sums = points.new_zeros(len(points), dtype=torch.float64)
    lowest = torch.finfo(points.dtype).min / 4  # not −∞: −∞ − (−∞) is NaN
    peaks = None if safe else points.new_full((len(points),), lowest)
    own = _own_places(tiles, labels)
    for tile in _walk(tiles, points):
        rows = slice(tile.start, tile.stop)
        _prepare(tile, bias, own)
        if largest is not None:
            largest.see(tile)
        if peaks is not None:
            sums[rows].mul_(_raise_peaks(tiles, tile, peaks[rows], gradient))
        if gradient:
            sums[rows].add_(tiles.fold_exponentials(tile))
        else:
            sums[rows].add_(tile.logits.exp_().sum(dim=0))
    value = sums.log()
    if peaks is not None:
        value = value + peaks
    if not gradient:
        return value, None
    pull = tiles.folded() if len(points) else torch.zeros_like(points)
    return value, pull / sums.unsqueeze(1).to(points.dtype)


def _raise_peaks(tiles: Tiles, tile: Tile, peaks: Tensor, gradient: bool) -> Tensor:
    """Subtract the running maximum from the tile; returns by what older sums shrink."""
    raised = torch.maximum(peaks, column_maxima(tile.logits))
    factors = (peaks - raised).exp_()
    if gradient:
        tiles.scale_rows(tile, factors)
    peaks.copy_(raised)
    tile.logits.sub_(raised)
    return factors


def class_gradients(
    tiles: Tiles,
    points: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    rest: Tensor,
    upstream: Tensor,
    *,
    vectors: bool,
) -> tuple[Tensor, Tensor | None]:
    """A second walk: Σ_i g_i softmax_ik (K,), the bias's gradient, and with x_i the vectors'."""
    slope = points.new_zeros(tiles.classes + 1)  # lines past the last class end up in the last
    rows = points.new_zeros(tiles.classes, points.shape[1]) if vectors else None
    # e^{z − R} with R rounded, and what the rounding took from it: z − R itself loses nothing.
    near = rest.to(points.dtype)
    upstream = upstream * (near - rest).exp().to(points.dtype)
    own = _own_places(tiles, labels)
    half = isinstance(tiles, ChunkTiles) and tiles.half
    seen = points.to(torch.bfloat16) if half else points
    for tile in _walk(tiles, points):
        _prepare(tile, bias, own)
        part = slice(tile.start, tile.stop)
        weights = tile.logits.sub_(near[part]).exp_().mul_(upstream[part])
        if tile.span is None:
            names = tile.names().clamp(max=tiles.classes)
            slope.index_add_(0, names, weights.sum(dim=1))
        else:
            start, stop = tile.span
            torch.sum(weights, dim=1, out=slope[start:stop])
        if rows is not None:
            assert isinstance(tiles, ChunkTiles)
            assert tile.span is not None
            product(weights.to(seen.dtype), seen, out=rows[slice(*tile.span)])
    return slope[:-1], rows


def combine(tiles: Tiles, like: Tensor, weights: Tensor | None) -> Tensor:
    """Σ_k a_k w_k (d,), with a_k = 1 where weights is None; ``like`` (1, d) sets type and place."""
    for tile in tiles.walk(torch.zeros_like(like)):
        names = tile.names()
        inside = names < tiles.classes
        chosen = inside if weights is None else weights[names.clamp(max=tiles.classes - 1)] * inside
        tile.logits.copy_(chosen.unsqueeze(1))
        tiles.fold(tile, total=False)
    return tiles.folded()[0]


class Largest:
    """The k largest logits of every row and their classes, (N, k) each, largest first.

    A tile is only looked into for rows whose largest logit in it beats their k-th so far.
    """

    def __init__(self, points: Tensor, k: int) -> None:
        self.k = k
        self.values = points.new_full((len(points), k), -torch.inf)
        self.classes = torch.zeros(len(points), k, dtype=torch.int64, device=points.device)

    def see(self, tile: Tile) -> None:
        if self.k == 1 and tile.logits.device.type != "cpu":
            self._see_one(tile)
            return
        better = column_maxima(tile.logits) > self.values[tile.start : tile.stop, -1]
        moved = better.nonzero().squeeze(1)
        if len(moved):
            top = tile.logits[:, moved].t().topk(min(self.k, len(tile.logits)), dim=1)
            self._merge(moved + tile.start, top.values, tile.names()[top.indices])

    def _see_one(self, tile: Tile) -> None:
        """Without asking which rows moved: to know that is to wait for the device."""
        rows = slice(tile.start, tile.stop)
        found, places = tile.logits.max(dim=0)
        better = found > self.values[rows, 0]
        self.classes[rows, 0] = torch.where(better, tile.names()[places], self.classes[rows, 0])
        self.values[rows, 0] = torch.where(better, found, self.values[rows, 0])

    def _merge(self, rows: Tensor, found: Tensor, names: Tensor) -> None:
        both = torch.cat([self.values[rows], found], dim=1)
        order = both.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self.values[rows] = both.gather(1, order)
        self.classes[rows] = torch.cat([self.classes[rows], names], dim=1).gather(1, order)


def scan(tiles: Tiles, points: Tensor, bias: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """The k largest logits of every row and their classes, (N, k) each."""
    if k == 1 and isinstance(tiles, ChunkTiles) and waits(points):
        return first(tiles, points, bias)
    largest = Largest(points, k)
    for tile in _walk(tiles, points):
        _prepare(tile, bias, {})
        largest.see(tile)
    return largest.values, largest.classes


def waits(points: Tensor) -> bool:
    """Whether to look at a number is to wait for a device."""
    return points.device.type != "cpu" and len(points) > 0


def logits(tiles: Tiles, points: Tensor) -> Tensor:
    """All of them, (N, K)."""
    out = points.new_empty(len(points), tiles.classes)
    for tile in _walk(tiles, points):
        if tile.span is not None:
            out[tile.start : tile.stop, slice(*tile.span)] = tile.logits.t()
            continue
        names = tile.names()
        inside = names < tiles.classes
        out[tile.start : tile.stop, names[inside]] = tile.logits[inside].t()
    return out


def pull_back(tiles: Tiles, points: Tensor, upstream: Tensor) -> Tensor:
    """g W (N, d) for g (N, K)."""
    for tile in _walk(tiles, points):
        names = tile.names()
        inside = names < tiles.classes
        part = upstream[tile.start : tile.stop, names.clamp(max=tiles.classes - 1)]
        tile.logits.copy_((part * inside).t())
        tiles.fold(tile, total=False)
    return tiles.folded() if len(points) else torch.zeros_like(points)


def _walk(tiles: Tiles, points: Tensor) -> Iterator[Tile]:
    """The tiles of at least one row."""
    return tiles.walk(points) if len(points) else iter(())


def _prepare(tile: Tile, bias: Tensor | None, own: dict[int, Tensor]) -> None:
    """Add the bias, and take the own classes out."""
    if bias is not None:
        names = tile.names().clamp(max=len(bias) - 1)
        tile.logits.add_(bias[names].unsqueeze(1))
    places = own.get(tile.key)
    if places is not None:
        tile.logits.view(-1).index_fill_(0, places, -torch.inf)


def _own_places(tiles: Tiles, labels: Tensor | None) -> dict[int, Tensor]:
    """By tile, the places of the rows' own classes in its flat logits.

    They are sorted on the CPU: a device is waited for once, and not for each of the steps.
    """
    if labels is None or not len(labels):
        return {}
    here = labels.cpu()
    keys, places = tiles.locate(here, len(here))
    keys = (keys + 1).clamp_(min=0)  # 0: of no tile
    counts = torch.bincount(keys).tolist()
    places = places[keys.argsort()].to(labels.device)
    begins = itertools.accumulate(counts, initial=0)
    parts = list(zip(begins, counts, strict=False))[1:]
    return {key: places[begin : begin + n] for key, (begin, n) in enumerate(parts) if n}
