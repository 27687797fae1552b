"""The extremes of the cosine matrix without the matrix: tiles of its upper half."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import RowSource

_TILE = 2_048
_FLOAT64_WORK = 1e11
"""Products up to which the tiles are float64."""


@dataclass(frozen=True)
class Extremes:
    """The least and the largest cosine over pairs i < j, and the pairs they lie at."""

    smallest: float
    largest: float
    farthest: tuple[int, int]
    closest: tuple[int, int]

    @property
    def largest_absolute(self) -> float:
        return max(abs(self.smallest), abs(self.largest))


def cosine_extremes(source: RowSource, labels: Tensor | None = None) -> Extremes:
    """min and max of cos(w_i, w_j) over i < j; K²d products, half of them saved by symmetry.

    With ``labels`` (n,), over pairs with one class in labels: nKd products, and the true extremes
    may lie at pairs not looked at.
    Large problems are searched in float32; the two pairs found are then computed in float64.
    """
    count = source.classes / 2 if labels is None else labels.numel()
    wide = source.features <= 64 or count * source.classes * source.features <= _FLOAT64_WORK
    dtype = source.widest if wide else torch.float32
    low, high = (math.inf, 0, 1), (-math.inf, 0, 1)
    tiles = _upper_tiles(source, dtype) if labels is None else _stripes(source, labels, dtype)
    for rows, columns, tile in tiles:
        smallest, largest = (float(value) for value in torch.aminmax(tile))
        if smallest < low[0]:
            low = (smallest, *_locate(tile, smallest, rows, columns))
        if largest > high[0]:
            high = (largest, *_locate(tile, largest, rows, columns))
    farthest, closest = low[1:], high[1:]
    return Extremes(_cosine(source, farthest), _cosine(source, closest), farthest, closest)


Tile = tuple[Tensor, Tensor, Tensor]
"""Classes of the rows, classes of the columns, cosines with no class beside itself."""


def _upper_tiles(source: RowSource, dtype: torch.dtype) -> Iterator[Tile]:
    """The tiles on and above the diagonal."""
    for row in range(0, source.classes, _TILE):
        rows = source.labels(row, row + _TILE)
        anchors = source.unit(source.slice(row, row + _TILE), dtype)
        for column in range(row, source.classes, _TILE):
            columns = source.labels(column, column + _TILE)
            others = anchors
            if column > row:
                others = source.unit(source.slice(column, column + _TILE), dtype)
            if columns.numel() > 1 or column > row:
                yield rows, columns, _without_self(anchors @ others.T, rows, columns)


def _stripes(source: RowSource, labels: Tensor, dtype: torch.dtype) -> Iterator[Tile]:
    """The given classes against all."""
    for start in range(0, labels.numel(), _TILE):
        rows = labels[start : start + _TILE]
        anchors = source.unit(source.raw(rows), dtype)
        for column in range(0, source.classes, _TILE):
            columns = source.labels(column, column + _TILE)
            others = source.unit(source.slice(column, column + _TILE), dtype)
            tile = anchors @ others.T
            if tile.numel() > 1 or int(rows[0]) != column:
                yield rows, columns, _without_self(tile, rows, columns)


def _without_self(tile: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each class's cosine with itself replaced by one with another class of the same tile."""
    inside, own = _selves(rows, columns)
    if columns.numel() > 1:
        tile[inside, own] = tile[inside, (own + 1) % columns.numel()]
    else:
        tile[inside, own] = tile[(inside + 1) % rows.numel(), own]
    return tile


def _selves(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Where in a tile a class meets itself; the columns are consecutive classes."""
    start = int(columns[0])
    inside = ((rows >= start) & (rows < start + columns.numel())).nonzero().squeeze(1)
    return inside, rows[inside] - start


def _locate(tile: Tensor, value: float, rows: Tensor, columns: Tensor) -> tuple[int, int]:
    """The classes of the first pair with this cosine."""
    there = tile == value
    there[_selves(rows, columns)] = False
    i, j = divmod(int(there.flatten().to(torch.uint8).argmax()), columns.numel())
    first, second = sorted((int(rows[i]), int(columns[j])))
    return first, second


def _cosine(source: RowSource, pair: tuple[int, int]) -> float:
    rows = source.unit(source.raw(torch.tensor(pair, device=source.device)), source.widest)
    return min(1.0, max(-1.0, float(rows[0] @ rows[1])))
