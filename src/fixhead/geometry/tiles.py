"""The extremes of the cosine matrix without the matrix: tiles of its upper half."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .source import RowSource

_TILE = 2_048
_FLOAT64_WORK = 1e11
"""Products up to which the tiles are float64 (a few seconds on two cores)."""


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


def cosine_extremes(source: RowSource) -> Extremes:
    """min and max of cos(w_i, w_j) over i < j; K²d products, half of them saved by symmetry.

    Large problems are searched in float32; the two pairs found are then computed in float64.
    """
    work = source.classes**2 * source.features
    wide = source.features <= 64 or work <= _FLOAT64_WORK
    low, high = (math.inf, 0, 1), (-math.inf, 0, 1)
    for row, column, tile in _upper_tiles(source, source.widest if wide else torch.float32):
        smallest, largest = (float(value) for value in torch.aminmax(tile))
        if smallest < low[0]:
            low = (smallest, *_locate(tile, smallest, row, column))
        if largest > high[0]:
            high = (largest, *_locate(tile, largest, row, column))
    farthest, closest = low[1:], high[1:]
    return Extremes(_cosine(source, farthest), _cosine(source, closest), farthest, closest)


def _upper_tiles(source: RowSource, dtype: torch.dtype) -> Iterator[tuple[int, int, Tensor]]:
    """(first row, first column, cosines) of the tiles on and above the diagonal."""
    for row in range(0, source.classes, _TILE):
        anchors = source.unit(source.slice(row, min(row + _TILE, source.classes)), dtype)
        if anchors.shape[0] > 1:
            tile = anchors @ anchors.T
            tile.fill_diagonal_(float(tile[0, 1]))  # a pair's cosine in place of the ones
            yield row, row, tile
        for column in range(row + _TILE, source.classes, _TILE):
            others = source.slice(column, min(column + _TILE, source.classes))
            yield row, column, anchors @ source.unit(others, dtype).T


def _locate(tile: Tensor, value: float, row: int, column: int) -> tuple[int, int]:
    i, j = (tile == value).nonzero()[0].tolist()
    if row == column and i == j:
        i, j = 0, 1
    first, second = sorted((row + i, column + j))
    return first, second


def _cosine(source: RowSource, pair: tuple[int, int]) -> float:
    rows = source.unit(source.raw(torch.tensor(pair, device=source.device)), source.widest)
    return min(1.0, max(-1.0, float(rows[0] @ rows[1])))
