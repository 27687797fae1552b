"""Logits of code vectors by two small matrix products: H_n = H_a ⊗ H_b, n = a·b.

Class (block, row) has the vector w = H_row D_block / √d, so the logits of a block are H D_block x.
With x laid out as (a, b, M), M = blocks × rows of a tile, H x is H_a on the first axis and H_b on
the second: 2 n (a + b) operations a block instead of 2 n², and both products have M columns. The
way back is the same, as H is symmetric; its line 0 is the sum over the classes of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..vectors.sylvester import walsh_rows
from .tiles import ChunkTiles, Tile, Tiles

CELLS = 1 << 19
"""Logits in a tile: 2 MiB of float32, of which two cores have about what their caches hold."""

ROWS = (16, 128)
"""The fewest and the most rows of a tile, where there are as many; fewer of longer vectors."""

CELLS_ELSEWHERE = 1 << 22
ROWS_ELSEWHERE = (16, 1024)
"""The same on other devices: 16 MiB, in two buffers."""

MADE = 4096
"""The longest vectors whose rows are made for a GPU's half-precision products."""

FEW = 8
"""With fewer than n/8 rows the transform's own logits are less to write than such rows."""

SIGN = -(1 << 15)
"""The sign bit of a bfloat16 number, as a 16-bit integer."""

PACK = 8
"""Signs in a byte; tiles begin at whole bytes."""


@dataclass
class _Current:
    """What belongs to the tile that is being walked."""

    blocks: int
    signs: Tensor
    strip: int


class KroneckerTiles(Tiles):
    """Classes k = (block k // n, row k % n) from packed sign diagonals (n, ⌈B/8⌉) uint8.

    Projected features are those behind the column signs and the factor 1/√d: (N, n).
    """

    def __init__(self, packed: Tensor, classes: int) -> None:
        self.packed = packed
        self.classes = classes
        self.order = packed.shape[0]
        self.blocks = -(-classes // self.order)
        self._current: _Current | None = None
        self._sums: list[Tensor] = []

    def shape(self, rows: int) -> tuple[int, int]:
        """Blocks and rows of a tile."""
        cells, (low, high) = CELLS, ROWS
        if self.packed.device.type != "cpu":
            cells, (low, high) = CELLS_ELSEWHERE, ROWS_ELSEWHERE
        width = max(min(rows, high, max(cells // 4 // self.order, low)), 1)
        blocks = max(cells // (self.order * width) // PACK, 1) * PACK
        return min(blocks, -(-self.blocks // PACK) * PACK), width

    def walk(self, projected: Tensor) -> Iterator[Tile]:
        height, width = self.shape(projected.shape[0])
        strips = [strip.t().contiguous() for strip in torch.split(projected, width)]
        self._sums = [torch.zeros_like(strip).unsqueeze(1) for strip in strips]
        self._buffers = tuple(projected.new_empty(self.order * height * width) for _ in range(2))
        for first in range(0, self.blocks, height):
            count = min(height, self.blocks - first)
            signs = unpack(self.packed, first, count, projected.dtype)
            for number, strip in enumerate(strips):
                self._current = _Current(count, signs, number)
                logits = self._logits(strip, signs, count)
                self._blank(logits, first, count)
                key = first // height * len(strips) + number
                begin = number * width
                names = _Names(first, count, self.order, projected.device)
                yield Tile(key, logits, begin, begin + strip.shape[1], names)

    def _logits(self, strip: Tensor, signs: Tensor, count: int) -> Tensor:
        width = strip.shape[1]
        first, second = (b[: self.order * count * width] for b in self._buffers)
        torch.mul(strip.unsqueeze(1), signs.unsqueeze(2), out=first.view(-1, count, width))
        self._transform(first, second)
        return first.view(self.order * count, width)

    def _transform(self, values: Tensor, other: Tensor) -> None:
        """H on the first axis of values (n, M), flat; ``other`` is as large."""
        left, right = _factors(self.order, values.dtype, values.device)
        a, b = left.shape[0], right.shape[0]
        torch.mm(left, values.view(a, -1), out=other.view(a, -1))
        torch.bmm(right.expand(a, b, b), other.view(a, b, -1), out=values.view(a, b, -1))

    def _blank(self, logits: Tensor, first: int, count: int) -> None:
        """−∞ for the lines past the last class: of the last block only."""
        left = self.classes - (first + count - 1) * self.order
        if left < self.order:
            logits.view(self.order, count, -1)[left:, -1] = -torch.inf

    def accumulate(self, tile: Tile, *, total: bool) -> Tensor | None:
        current = self._current
        assert current is not None
        width = tile.logits.shape[1]
        flat = tile.logits.view(-1)
        self._transform(flat, self._buffers[1][: flat.numel()])
        back = tile.logits.view(self.order, current.blocks, width)
        acc = self._sums[current.strip]
        torch.baddbmm(acc, current.signs.unsqueeze(1), back, out=acc)
        return back[0].sum(dim=0) if total else None

    def accumulated(self) -> Tensor:
        return torch.cat([acc.squeeze(1).t() for acc in self._sums])

    def scale_accumulated(self, tile: Tile, factors: Tensor) -> None:
        assert self._current is not None
        self._sums[self._current.strip] *= factors

    def locate(self, labels: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        height, width = self.shape(rows)
        row = torch.arange(rows, device=labels.device)
        strip, column = row // width, row % width
        widths = (rows - strip * width).clamp(max=width)
        block, line = labels // self.order, labels % self.order
        group = block // height
        counts = (self.blocks - group * height).clamp(max=height)
        place = (line * counts + (block - group * height)) * widths + column
        return group * -(-rows // width) + strip, place

    def rows(self, labels: Tensor) -> Tensor:
        """(−1)^⟨row, x⟩ times the block's sign at x: ±1, (n, order) float32."""
        block, line = labels // self.order, labels % self.order
        left, right = _factors(self.order, torch.float32, labels.device)
        wide = right.shape[0]
        walsh = left[line // wide].unsqueeze(2) * right[line % wide].unsqueeze(1)
        packed = self.packed.t().contiguous().index_select(0, block // PACK)
        bits = (packed >> (block % PACK).to(torch.uint8).unsqueeze(1)) & 1
        return walsh.flatten(start_dim=1).mul_(bits.float().mul_(-2).add_(1))


def made_tiles(packed: Tensor, classes: int) -> ChunkTiles:
    """The same logits by bfloat16 products with rows ±1, made just before.

    Exact in bfloat16, and for matrix units less work than the transform is for memory.
    """
    order = packed.shape[0]
    kronecker = KroneckerTiles(packed, classes)

    def make(start: int, stop: int) -> Tensor:
        first, last = start // order, -(-stop // order)
        begin = first // PACK * PACK
        bits = unpack(packed, begin, last - begin, torch.int16)[:, first - begin :]
        # H D_b by turning sign bits, four numbers at a time: only the writing takes time.
        turned = bits.t().contiguous().view(torch.int64)
        rows = torch.bitwise_xor(turned.unsqueeze(1), _walsh(order, packed.device))
        rows = rows.view(torch.bfloat16).view(-1, order)
        return rows[start - first * order : stop - first * order]

    pick, device = kronecker.rows, packed.device
    return ChunkTiles(make, pick, classes, width=order, device=device, bf16_matmul=True)


@lru_cache(maxsize=2)
def _walsh(order: int, device: torch.device) -> Tensor:
    """H_n as ±1 in bfloat16, four numbers (n, n/4) as one integer."""
    return _hadamard(order.bit_length() - 1, torch.bfloat16, device).view(torch.int64)


@dataclass(frozen=True)
class _Names:
    """The classes of a tile's lines: line r·T + t is row r of block first + t."""

    first: int
    count: int
    order: int
    device: torch.device

    def __call__(self) -> Tensor:
        blocks = torch.arange(self.first, self.first + self.count, device=self.device)
        rows = torch.arange(self.order, device=self.device)
        return (blocks * self.order + rows.unsqueeze(1)).reshape(-1)


def transform(values: Tensor) -> Tensor:
    """x H over the last axis of (N, n), by H_a ⊗ H_b; differentiable."""
    left, right = _factors(values.shape[1], values.dtype, values.device)
    grid = values.view(len(values), left.shape[0], right.shape[0])
    return (left @ (grid @ right)).flatten(start_dim=1)


def pack(bits: Tensor) -> Tensor:
    """Bits (B, n) of 0 and 1 → bytes (n, ⌈B/8⌉), block b in bit b % 8 of byte b // 8."""
    blocks, order = bits.shape
    whole = torch.zeros(-(-blocks // PACK) * PACK, order, dtype=torch.uint8, device=bits.device)
    whole[:blocks] = bits
    powers = (1 << torch.arange(PACK, device=bits.device)).view(1, PACK, 1)
    return (whole.view(-1, PACK, order) * powers).sum(1).to(torch.uint8).t().contiguous()


def unpack(packed: Tensor, first: int, count: int, dtype: torch.dtype) -> Tensor:
    """Signs (n, count) of blocks first … first + count − 1; ``first`` begins a byte."""
    table = _sign_table(dtype, packed.device)
    piece = packed[:, first // PACK : -(-(first + count) // PACK)].int()
    signs = torch.nn.functional.embedding(piece, table).view(packed.shape[0], -1)
    return signs if signs.shape[1] == count else signs[:, :count].contiguous()


@lru_cache(maxsize=8)
def _sign_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(256, 8): the eight signs of every byte; as int16, the sign bits of bfloat16 numbers."""
    shifts = torch.arange(PACK, device=device)
    bits = (torch.arange(1 << PACK, device=device).unsqueeze(1) >> shifts) & 1
    return (bits * SIGN if dtype == torch.int16 else 1 - 2 * bits).to(dtype)


@lru_cache(maxsize=16)
def _factors(order: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """H_a and H_b with a·b = n and a ≤ b ≤ 2a."""
    m = order.bit_length() - 1
    return _hadamard(m // 2, dtype, device), _hadamard(m - m // 2, dtype, device)


def _hadamard(m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    numbers = torch.arange(1 << m, device=device)
    return walsh_rows(numbers, numbers, m).to(dtype)
