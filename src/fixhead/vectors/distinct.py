"""How many rows differ, bit by bit, without comparing every pair."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._seeds import stream

_BLOCK = 1 << 22
"""Entries hashed at a time: 32 MiB of int64."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}

Rows = Callable[[Tensor], Tensor]
"""Row numbers (n,) → rows (n, d)."""


def count_distinct(rows: Tensor) -> int:
    """The number of bitwise distinct rows of a (K, d) tensor (−0 counts as 0)."""
    return int((first_equal(rows) == torch.arange(rows.shape[0], device=rows.device)).sum())


def first_equal(rows: Tensor) -> Tensor:
    """For each row the number of the first row equal to it: (K, d) → (K,) int64."""
    return first_equal_of(lambda labels: rows[labels], *rows.shape, device=rows.device)


def first_equal_of(
    rows: Rows, classes: int, features: int, *, device: torch.device | str = "cpu"
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
    rows: Rows, classes: int, features: int, device: torch.device | str, attempt: int
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


def _confirmed(rows: Rows, first: Tensor, features: int) -> bool:
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
    step = max(1, _BLOCK // features)
    return tuple(labels[start : start + step] for start in range(0, labels.numel(), step))
