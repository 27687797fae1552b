"""Families of quadratic forms over GF(2)^m whose differences have a high rank.

Block b of a family is a form q_b; its class vectors are w_{b,r}(x) = (−1)^(q_b(x) + ⟨r, x⟩)/√d for
r, x in GF(2)^m, d = 2^m: row r of H D_b/√d with D_b = diag (−1)^q_b. Two vectors of one block are
orthogonal; of two blocks, |cosine| is 0 or 2^(−rank/2), the rank being that of the alternating
form of q_b + q_b'. Any block's diagonal can be made without the others: ``family.bits(blocks)``.

Sources: Gold 1968; Kerdock 1972; Delsarte and Goethals 1975; MacWilliams and Sloane 1977, ch. 15;
Hammons, Kumar, Calderbank, Sloane, Solé 1994 for the even Delsarte–Goethals codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .._seeds import stream
from .gf2 import Field, field


@dataclass(frozen=True)
class Family:
    """Sign diagonals for d = 2^m: ``blocks`` of them (None: without end), d vectors each.

    coherence: the largest |cosine| of any two vectors, proved; None where chance decides.
    identity: whether the d one-hot vectors fit in besides, at 1/√d from everything.
    make: block numbers (B,) → bits (B, d) uint8, 1 for −1.
    """

    name: str
    m: int
    blocks: int | None
    coherence: float | None
    make: Callable[[Tensor], Tensor]
    identity: bool = False

    @property
    def features(self) -> int:
        return 1 << self.m

    @property
    def largest(self) -> int | None:
        """How many vectors there are; None where there is no end."""
        if self.blocks is None:
            return None
        return (self.blocks + self.identity) * self.features

    def bits(self, blocks: Tensor | int) -> Tensor:
        """The diagonals (−1)^bit of these blocks: (B,) → (B, d) uint8; one number → (d,)."""
        if isinstance(blocks, int):
            return self.make(torch.tensor([blocks]))[0]
        return self.make(blocks)


def hadamard_block(m: int) -> Family:
    """The form 0 alone: d orthogonal vectors."""
    return Family("hadamard", m, 1, 0.0, lambda b: torch.zeros(len(b), 1 << m, dtype=torch.uint8))


def gold(m: int) -> Family:
    """q_a(x) = Tr(a x³), a in GF(2^m), m ≥ 3 odd: rank m − 1, d² vectors at √2/√d."""
    assert m >= 3
    assert m % 2 == 1
    F = field(m)
    cubes = F.power(torch.arange(F.size), 3)

    def bits(blocks: Tensor) -> Tensor:
        return F.trace[F.times(blocks.unsqueeze(1), cubes)]

    return Family("gold", m, F.size, math.sqrt(2 / F.size), bits)


def kerdock(m: int) -> Family:
    """q_a(x, y) = Σ_{j=1}^{(m−2)/2} Tr((ax)^(1+2^j)) + y Tr(ax); a, x in GF(2^(m−1)), y in GF(2).

    m ≥ 2 even: rank m, d²/2 vectors at 1/√d and the d one-hot vectors, which is as many as
    Levenshtein's bound allows.
    """
    assert m >= 2
    assert m % 2 == 0
    F = field(m - 1)

    def bits(blocks: Tensor) -> Tensor:
        return _kerdock_bits(F, blocks)

    return Family("kerdock", m, F.size, 1 / math.sqrt(2 * F.size), bits, identity=True)


def delsarte_goethals(m: int) -> Family:
    """Two terms in place of one; block a + 2^n b, so that the family above comes first.

    m ≥ 5 odd (n = m): q_ab(x) = Tr(a x³ + b x⁵), rank ≥ m − 3, d³ vectors at √8/√d.
    m ≥ 4 even (n = m−1): q_ab(x, y) = Kerdock's q_a(x, y) + Tr(b x³), rank ≥ m − 2, d³/4 vectors
    at 2/√d.
    """
    assert m >= 4
    n = m if m % 2 else m - 1
    F = field(n)
    elements = torch.arange(F.size)
    cubes, fifths = F.power(elements, 3), F.power(elements, 5)

    def odd(blocks: Tensor) -> Tensor:
        a, b = _pair(blocks, n)
        return F.trace[F.times(a, cubes) ^ F.times(b, fifths)]

    def even(blocks: Tensor) -> Tensor:
        a, b = _pair(blocks, n)
        return _kerdock_bits(F, a.squeeze(1)) ^ F.trace[F.times(b, cubes)].repeat(1, 2)

    coherence = math.sqrt((8 if m % 2 else 4) / (1 << m))
    return Family("delsarte-goethals", m, F.size**2, coherence, odd if m % 2 else even)


def random_signs(m: int, seed: int) -> Family:
    """Independent fair signs in place of a form, from a stream of their own for every block."""

    def bits(blocks: Tensor) -> Tensor:
        draws = [
            torch.randint(2, (1 << m,), generator=stream(seed, "signs", block), dtype=torch.uint8)
            for block in blocks.tolist()
        ]
        return torch.stack(draws)

    return Family("random", m, None, None, bits)


def algebraic(m: int) -> list[Family]:
    """The families that exist for d = 2^m, the least coherent (and smallest) first."""
    families = [hadamard_block(m)]
    if m % 2 and m >= 3:
        families.append(gold(m))
    if m % 2 == 0 and m >= 2:
        families.append(kerdock(m))
    if m >= 4:
        families.append(delsarte_goethals(m))
    return families


def _kerdock_bits(F: Field, blocks: Tensor) -> Tensor:
    """Index x + 2^(m−1) y: the half y = 0 holds the sum, the half y = 1 adds Tr(ax)."""
    scaled = F.times(blocks.unsqueeze(1), torch.arange(F.size))
    total = torch.zeros_like(scaled)
    for j in range(1, (F.m - 1) // 2 + 1):
        total = total ^ F.power(scaled, 1 + (1 << j))
    even = F.trace[total]
    return torch.cat([even, even ^ F.trace[scaled]], dim=1)


def _pair(blocks: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Block a + 2^n b → a and b, as columns."""
    column = blocks.unsqueeze(1)
    return column & ((1 << n) - 1), column >> n
