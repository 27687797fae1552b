"""Class vectors block by block: a (K, d) tensor, or an object that makes rows when asked.

The extremes of their cosines are found without the cosine matrix, in tiles of its upper half; how
many rows differ, bit by bit, without comparing every pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream


@runtime_checkable
class ImplicitVectors(Protocol):
    """Class vectors that are not stored: ``shape`` is (K, d), ``rows(labels)`` is (n, d)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, labels: Tensor) -> Tensor: ...


_BLOCK = 1 << 22

Vectors = Tensor | ImplicitVectors


class RowSource:
    """Rows of class vectors, raw or as unit rows in a chosen precision, a block at a time."""

    def __init__(self, vectors: Vectors, caller: str) -> None:
        if not isinstance(vectors, Tensor | ImplicitVectors):
            raise RequestError(
                f"{caller}() needs a (K, d) tensor or an object with shape and rows(labels), "
                f"got {type(vectors).__name__}"
            )
        shape = tuple(vectors.shape)
        if len(shape) != 2 or shape[0] < 2 or shape[1] < 1:
            raise RequestError(
                f"{caller}() needs vectors of shape (K, d) with K >= 2 and d >= 1, got {shape}"
            )
        if isinstance(vectors, Tensor) and not vectors.is_floating_point():
            raise RequestError(f"{caller}() needs floating vectors, got {vectors.dtype}")
        self.classes, self.features = shape
        self.vectors = vectors.detach() if isinstance(vectors, Tensor) else vectors
        self.device = (
            vectors.device if isinstance(vectors, Tensor) else self.raw(torch.tensor([0])).device
        )
        self.caller = caller

    @property
    def widest(self) -> torch.dtype:
        """Float64, where the device has it."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def raw(self, labels: Tensor) -> Tensor:
        """The rows as they are stored or made."""
        if isinstance(self.vectors, Tensor):
            return self.vectors[labels]
        return self.vectors.rows(labels)

    def labels(self, start: int, stop: int) -> Tensor:
        """The classes start … stop − 1, as far as there are any."""
        return torch.arange(start, min(stop, self.classes), device=self.device)

    def slice(self, start: int, stop: int) -> Tensor:
        """Rows start … stop − 1 as they are stored or made, as far as there are any."""
        if isinstance(self.vectors, Tensor):
            return self.vectors[start:stop]
        return self.vectors.rows(self.labels(start, stop))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Bounds of consecutive blocks that cover all rows, about 32 MiB of float64 each."""
        height = max(1, _BLOCK // self.features)
        for start in range(0, self.classes, height):
            yield start, min(start + height, self.classes)

    def unit_blocks(self) -> Iterator[Tensor]:
        """All unit rows in the widest type, block by block."""
        for start, stop in self.blocks():
            yield self.unit(self.slice(start, stop), self.widest)

    def unit(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """w / ‖w‖ in ``dtype``, with the norm from float64.

        Raises:
            RequestError: a row is zero or not finite, and so has no direction.
        """
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=self.widest)
        directed = torch.isfinite(norms) & (norms > 0)
        if not bool(directed.all()):
            bad = int((~directed).nonzero()[0, 0])
            raise RequestError(
                f"{self.caller}() needs rows that are finite and not zero, got row "
                f"{rows[bad, :4].tolist()}{' …' if self.features > 4 else ''}; "
                "mend the vectors first"
            )
        return rows.to(dtype) / norms.to(dtype)


def sample_labels(source: RowSource, most: int) -> Tensor:
    """So many classes, seeded and in ascending order; all where there are no more."""
    if most >= source.classes:
        return source.labels(0, source.classes)
    generator = stream(0, "classes", source.classes)
    chosen = torch.randperm(source.classes, generator=generator)[:most]
    return chosen.sort().values.to(source.device)


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


_HASHED_ENTRIES = 1 << 22
"""Entries hashed at a time: 32 MiB of int64."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}

MakeRows = Callable[[Tensor], Tensor]
"""Row numbers (n,) → rows (n, d)."""


def count_distinct(rows: Tensor) -> int:
    """The number of bitwise distinct rows of a (K, d) tensor (−0 counts as 0)."""
    return int((first_equal(rows) == torch.arange(rows.shape[0], device=rows.device)).sum())


def first_equal(rows: Tensor) -> Tensor:
    """For each row the number of the first row equal to it: (K, d) → (K,) int64."""
    return first_equal_of(lambda labels: rows[labels], *rows.shape, device=rows.device)


def first_equal_of(
    rows: MakeRows, classes: int, features: int, *, device: torch.device | str = "cpu"
) -> Tensor:
    """``first_equal`` for rows that are made when asked for; exact, K·d work, one block in memory.

    Each row is hashed to h = Σ_j mix(word_j + r_j) mod 2⁶⁴ with random r. Rows of unequal hash
    differ; rows of equal hash are compared, and should a hash have lied (about 1 in 2⁶⁴ for a
    pair) all is done again with other r.
    """
    attempt = 0
    while True:
        first = _by_hash(rows, classes, features, device, attempt)
        if _confirmed(rows, first, features):
            return first
        attempt += 1


def _by_hash(
    rows: MakeRows, classes: int, features: int, device: torch.device | str, attempt: int
) -> Tensor:
    generator = stream(0, "distinct", attempt)
    limits = torch.iinfo(torch.int64)
    offsets = torch.randint(limits.min, limits.max, (features,), generator=generator).to(device)
    hashes = torch.empty(classes, dtype=torch.int64, device=device)
    for labels in _blocks(torch.arange(classes, device=device), features):
        words = _words(rows(labels))
        hashes[labels] = _mix(words.add_(offsets[: words.shape[1]])).sum(dim=1)
    _, group = torch.unique(hashes, return_inverse=True)
    numbers = torch.arange(classes, device=device)
    first = torch.full((int(group.max()) + 1,), classes, dtype=torch.int64, device=device)
    first.scatter_reduce_(0, group, numbers, reduce="amin")
    return first[group]


def _confirmed(rows: MakeRows, first: Tensor, features: int) -> bool:
    repeats = (first != torch.arange(first.numel(), device=first.device)).nonzero().squeeze(1)
    return all(
        bool((_words(rows(labels)) == _words(rows(first[labels]))).all())
        for labels in _blocks(repeats, features)
    )


def _mix(words: Tensor) -> Tensor:
    """Spread every bit over the word. Signs and round numbers differ in their top bits alone,
    and a sum of their products with odd numbers would cancel in pairs."""
    words.mul_(-7046029254386353131)  # 2⁶⁴ / golden ratio
    words.bitwise_xor_(words >> 32)
    words.mul_(-4658895280553007687)  # from the finaliser of SplitMix64
    return words.bitwise_xor_(words >> 29)


def _words(rows: Tensor) -> Tensor:
    """The rows' bits in a fresh (n, w) int64: eight bytes a word where that comes out even."""
    plain = (rows + 0.0).contiguous()
    size = plain.element_size()
    if size == 8 or plain.shape[1] * size % 8 == 0:
        return plain.view(torch.int64)
    return plain.view(_BITS[size]).long()


def _blocks(labels: Tensor, features: int) -> tuple[Tensor, ...]:
    step = max(1, _HASHED_ENTRIES // features)
    return tuple(labels[start : start + step] for start in range(0, labels.numel(), step))
