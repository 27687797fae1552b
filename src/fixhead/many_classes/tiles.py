"""The classes piece by piece: logits of one tile at a time, classes first.

A tile holds z (C, n) = logits of C classes for n rows, in a buffer that every tile uses again.
Whoever walks the tiles may overwrite z, then ``fold`` it: Σ_c z_ci w_c is added to a sum per row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CELLS = 1 << 20
"""Logits in a tile of dense vectors: 4 MiB of float32; larger and smaller were no faster."""

CLASSES = (256, 2048)
"""The fewest and the most classes in a tile of dense vectors."""

CELLS_ELSEWHERE = 1 << 23
CLASSES_ELSEWHERE = (1024, 1 << 16)
NUMBERS_ELSEWHERE = 1 << 25
"""The same on other devices, where a tile's vectors are so many numbers at most. 32 MiB of logits
are about a GPU's second-level cache."""


SAFE = {torch.float32: 85.0, torch.float64: 700.0}
"""e^85 < 3.4e38 and e^−85 > 1.2e−38: no such logit over- or underflows, nor does a sum."""


@dataclass
class Tile:
    """Logits (C, n) of ``names`` (C,) classes for the rows ``start`` … ``stop`` − 1.

    key: what ``Tiles.locate`` calls this tile.
    names: makes the class of each line, (C,); lines past the last class are named K or above,
        and their logits are −∞.
    span: the first class and the one after the last, where the classes are consecutive.
    """

    key: int
    logits: Tensor
    start: int
    stop: int
    names: Callable[[], Tensor]
    span: tuple[int, int] | None = None


class Tiles(ABC):
    """Class vectors (K, d) as something that makes tiles of logits from points (N, d)."""

    classes: int

    @abstractmethod
    def walk(self, points: Tensor) -> Iterator[Tile]:
        """All tiles, each before the next overwrites it."""

    @abstractmethod
    def fold(self, tile: Tile, *, total: bool) -> Tensor | None:
        """Add Σ_c z_ci w_c of this tile to its rows' sums; with ``total``, return Σ_c z_ci (n,).

        Works in the tile's own buffers: its z is gone after.
        """

    def fold_exponentials(self, tile: Tile) -> Tensor:
        """``fold`` of e^z in place of z, with its total Σ_c e^{z_ci} (n,)."""
        tile.logits.exp_()
        total = self.fold(tile, total=True)
        assert total is not None
        return total

    @abstractmethod
    def folded(self) -> Tensor:
        """The sums (N, d) since ``walk`` began."""

    @abstractmethod
    def scale_rows(self, tile: Tile, factors: Tensor) -> None:
        """Multiply the sums of the tile's rows by factors (n,)."""

    @abstractmethod
    def locate(self, labels: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """For labels (N,) of N rows: the tile's key and the place in its flat logits, each (N,)."""

    @abstractmethod
    def rows(self, labels: Tensor) -> Tensor:
        """The vectors (n, d) of labels (n,)."""


class ChunkTiles(Tiles):
    """Consecutive classes: ``make(start, stop)`` hands out rows, stored or made just now.

    pick: labels (n,) → their rows (n, d).
    half: products of bfloat16 numbers, summed in float32; logits are float32 all the same.
    stored: the type of stored rows, which nobody has to make.
    """

    def __init__(
        self,
        make: Callable[[int, int], Tensor],
        pick: Callable[[Tensor], Tensor],
        classes: int,
        *,
        width: int,
        device: torch.device,
        half: bool = False,
        stored: torch.dtype | None = None,
    ) -> None:
        self.make = make
        self._pick = pick
        self.classes = classes
        self.half = half
        self.stored = stored
        self._bounds = bounds(width, device)
        self._sum: Tensor | None = None
        self._rows: Tensor | None = None

    def height(self, rows: int) -> int:
        cells, low, high = self._bounds
        return min(max(cells // max(rows, 1), low), high, self.classes)

    def walk(self, points: Tensor) -> Iterator[Tile]:
        count = points.shape[0]
        height = self.height(count)
        kind = torch.bfloat16 if self.half else points.dtype
        columns = points.to(kind).t()
        buffer = points.new_empty(height * count)
        self._weights = points.new_empty(height * count if self.half else 0, dtype=kind)
        self._sum = torch.zeros_like(points, memory_format=torch.contiguous_format)
        for key, start in enumerate(range(0, self.classes, height)):
            stop = min(start + height, self.classes)
            self._rows = self.make(start, stop).to(points.device, kind)
            logits = buffer[: (stop - start) * count].view(stop - start, count)
            if self.half:
                product(self._rows, columns, out=logits)
            else:
                torch.mm(self._rows, columns, out=logits)
            names = _span(start, stop, points.device)
            yield Tile(key, logits, 0, count, names, (start, stop))

    def fold(self, tile: Tile, *, total: bool) -> Tensor | None:
        assert self._sum is not None
        assert self._rows is not None
        if self.half:
            self._fold(self._halved(tile).copy_(tile.logits))
        else:
            self._sum.addmm_(tile.logits.t(), self._rows)
        return tile.logits.sum(dim=0) if total else None

    def fold_exponentials(self, tile: Tile) -> Tensor:
        if not self.half:
            return super().fold_exponentials(tile)
        # The total is that of the rounded weights: the folded vectors stay a weighted mean.
        weights = torch.exp(tile.logits, out=self._halved(tile))
        self._fold(weights)
        return weights.sum(dim=0, dtype=torch.float32)

    def _halved(self, tile: Tile) -> Tensor:
        return self._weights[: tile.logits.numel()].view(tile.logits.shape)

    def _fold(self, weights: Tensor) -> None:
        assert self._sum is not None
        assert self._rows is not None
        self._sum += product(weights.t(), self._rows)

    def folded(self) -> Tensor:
        assert self._sum is not None
        return self._sum

    def scale_rows(self, tile: Tile, factors: Tensor) -> None:
        assert self._sum is not None
        self._sum[tile.start : tile.stop] *= factors.unsqueeze(1)

    def locate(self, labels: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        height = self.height(rows)
        key = torch.div(labels, height, rounding_mode="floor")
        place = labels.remainder(height) * rows + torch.arange(rows, device=labels.device)
        return key, place

    def rows(self, labels: Tensor) -> Tensor:
        return self._pick(labels)


def dense_tiles(vectors: Tensor, *, half: bool = False) -> ChunkTiles:
    """Tiles of stored class vectors (K, d)."""
    return ChunkTiles(
        lambda start, stop: vectors[start:stop],
        lambda labels: vectors[labels],
        len(vectors),
        width=vectors.shape[1],
        device=vectors.device,
        half=half,
        stored=vectors.dtype,
    )


def bounds(width: int, device: torch.device) -> tuple[int, int, int]:
    """Logits in a tile of dense vectors, and its fewest and most classes."""
    if device.type == "cpu":
        return CELLS, *CLASSES
    low, high = CLASSES_ELSEWHERE
    return CELLS_ELSEWHERE, low, min(max(NUMBERS_ELSEWHERE // width, low), high)


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """The matrix product; of bfloat16 numbers in float32, in which their products are summed."""
    if left.dtype != torch.bfloat16:
        return torch.mm(left, right, out=out)
    if not left.is_cuda:  # only CUDA's product has another type than its factors
        return torch.mm(left.float(), right.float(), out=out)
    return torch.mm(left, right, out_dtype=torch.float32, out=out)


def column_maxima(values: Tensor) -> Tensor:
    """max_c z_ci of (C, n), contiguous.

    amax over the first axis is fifty times slower where n is 2 … 31; wider lines come first there.
    """
    lines, width = values.shape
    if 1 < width < 32:
        parts = min(lines & -lines, 64)
        values = values.view(parts, -1).amax(dim=0).view(-1, width)
    return values.amax(dim=0)


def _span(start: int, stop: int, device: torch.device) -> Callable[[], Tensor]:
    return lambda: torch.arange(start, stop, device=device)
