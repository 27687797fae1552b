"""The classes piece by piece: logits of one tile at a time, classes first.

A tile holds z (C, n) = logits of C classes for n rows, in a buffer that every tile uses again.
Between two steps of a walk z may be overwritten and then accumulated: Σ_c z_ci w_c is added to a
sum per row.
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
    """Class vectors (K, d) as something that makes tiles of logits of rows (N, d)."""

    classes: int

    @abstractmethod
    def walk(self, projected: Tensor) -> Iterator[Tile]:
        """All tiles, each before the next overwrites it."""

    @abstractmethod
    def accumulate(self, tile: Tile, *, total: bool) -> Tensor | None:
        """Add Σ_c z_ci w_c of this tile to its rows' sums; with ``total``, return Σ_c z_ci (n,).

        Works in the tile's own buffers: its z is gone after.
        """

    def accumulate_exponentials(self, tile: Tile) -> Tensor:
        """``accumulate`` of e^z in place of z, with its total Σ_c e^{z_ci} (n,)."""
        tile.logits.exp_()
        total = self.accumulate(tile, total=True)
        assert total is not None
        return total

    @abstractmethod
    def accumulated(self) -> Tensor:
        """The sums (N, d) since ``walk`` began."""

    @abstractmethod
    def scale_accumulated(self, tile: Tile, factors: Tensor) -> None:
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
    bf16_matmul: products of bfloat16 numbers, summed in float32; logits are float32 all the same.
    stored: the type of stored rows, which need not be made.
    """

    def __init__(
        self,
        make: Callable[[int, int], Tensor],
        pick: Callable[[Tensor], Tensor],
        classes: int,
        *,
        width: int,
        device: torch.device,
        bf16_matmul: bool = False,
        stored: torch.dtype | None = None,
    ) -> None:
        self.make = make
        self._pick = pick
        self.classes = classes
        self.bf16_matmul = bf16_matmul
        self.stored = stored
        self._bounds = bounds(width, device)
        self._sum: Tensor | None = None
        self._rows: Tensor | None = None

    def height(self, rows: int) -> int:
        cells, low, high = self._bounds
        return min(max(cells // max(rows, 1), low), high, self.classes)

    def walk(self, projected: Tensor) -> Iterator[Tile]:
        count = projected.shape[0]
        height = self.height(count)
        kind = torch.bfloat16 if self.bf16_matmul else projected.dtype
        columns = projected.to(kind).t()
        buffer = projected.new_empty(height * count)
        self._weights = projected.new_empty(height * count if self.bf16_matmul else 0, dtype=kind)
        self._sum = torch.zeros_like(projected, memory_format=torch.contiguous_format)
        for key, start in enumerate(range(0, self.classes, height)):
            stop = min(start + height, self.classes)
            self._rows = self.make(start, stop).to(projected.device, kind)
            logits = buffer[: (stop - start) * count].view(stop - start, count)
            if self.bf16_matmul:
                matmul(self._rows, columns, out=logits)
            else:
                torch.mm(self._rows, columns, out=logits)
            names = _span(start, stop, projected.device)
            yield Tile(key, logits, 0, count, names, (start, stop))

    def accumulate(self, tile: Tile, *, total: bool) -> Tensor | None:
        assert self._sum is not None
        assert self._rows is not None
        if self.bf16_matmul:
            self._accumulate(self._bf16(tile).copy_(tile.logits))
        else:
            self._sum.addmm_(tile.logits.t(), self._rows)
        return tile.logits.sum(dim=0) if total else None

    def accumulate_exponentials(self, tile: Tile) -> Tensor:
        if not self.bf16_matmul:
            return super().accumulate_exponentials(tile)
        # The total is that of the rounded weights: the folded vectors stay a weighted mean.
        weights = torch.exp(tile.logits, out=self._bf16(tile))
        self._accumulate(weights)
        return weights.sum(dim=0, dtype=torch.float32)

    def _bf16(self, tile: Tile) -> Tensor:
        return self._weights[: tile.logits.numel()].view(tile.logits.shape)

    def _accumulate(self, weights: Tensor) -> None:
        assert self._sum is not None
        assert self._rows is not None
        self._sum += matmul(weights.t(), self._rows)

    def accumulated(self) -> Tensor:
        assert self._sum is not None
        return self._sum

    def scale_accumulated(self, tile: Tile, factors: Tensor) -> None:
        assert self._sum is not None
        self._sum[tile.start : tile.stop] *= factors.unsqueeze(1)

    def locate(self, labels: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        height = self.height(rows)
        key = torch.div(labels, height, rounding_mode="floor")
        place = labels.remainder(height) * rows + torch.arange(rows, device=labels.device)
        return key, place

    def rows(self, labels: Tensor) -> Tensor:
        return self._pick(labels)


def dense_tiles(vectors: Tensor, *, bf16_matmul: bool = False) -> ChunkTiles:
    """Tiles of stored class vectors (K, d)."""
    return ChunkTiles(
        lambda start, stop: vectors[start:stop],
        lambda labels: vectors[labels],
        len(vectors),
        width=vectors.shape[1],
        device=vectors.device,
        bf16_matmul=bf16_matmul,
        stored=vectors.dtype,
    )


def bounds(width: int, device: torch.device) -> tuple[int, int, int]:
    """Logits in a tile of dense vectors, and its fewest and most classes."""
    if device.type == "cpu":
        return CELLS, *CLASSES
    low, high = CLASSES_ELSEWHERE
    return CELLS_ELSEWHERE, low, min(max(NUMBERS_ELSEWHERE // width, low), high)


def matmul(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
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
