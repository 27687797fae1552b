"""Families of quadratic forms over GF(2)^m whose differences have a high rank, and the field.

Block b of a family is a form q_b; its class vectors are w_{b,r}(x) = (−1)^(q_b(x) + ⟨r, x⟩)/√d for
r, x in GF(2)^m, d = 2^m: row r of H D_b/√d with D_b = diag (−1)^q_b. Two vectors of one block are
orthogonal; of two blocks, |cosine| is 0 or 2^(−rank/2), the rank being that of the alternating
form of q_b + q_b'. Any block's diagonal can be made without the others: ``family.bits(blocks)``.
Elements of the finite field GF(2^m) are numbers below 2^m whose bits are polynomial coefficients.

Sources: Gold 1968; Kerdock 1972; Delsarte and Goethals 1975; MacWilliams and Sloane 1977, ch. 15;
Hammons, Kumar, Calderbank, Sloane, Solé 1994 for the even Delsarte–Goethals codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from .._seeds import stream

LARGEST = 20
"""Tables of the field have 2^m entries; 2^20 features is beyond any backbone."""

# The smallest primitive polynomial of every degree, as bits: x^3 + x + 1 is 0b1011.
PRIMITIVE = {
    1: 0x3,
    2: 0x7,
    3: 0xB,
    4: 0x13,
    5: 0x25,
    6: 0x43,
    7: 0x83,
    8: 0x11D,
    9: 0x211,
    10: 0x409,
    11: 0x805,
    12: 0x1053,
    13: 0x201B,
    14: 0x402B,
    15: 0x8003,
    16: 0x1002D,
    17: 0x20009,
    18: 0x40027,
    19: 0x80027,
    20: 0x100009,
}


@dataclass(frozen=True)
class Field:
    """Tables of GF(2^m): ``exp[i]`` = α^i for i < 2(2^m − 1), ``log`` its inverse, and traces.

    ``trace[z]`` = z + z² + z⁴ + … + z^(2^(m−1)), which is 0 or 1.
    """

    m: int
    exp: Tensor
    log: Tensor
    trace: Tensor

    @property
    def size(self) -> int:
        return 1 << self.m

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """a · b entrywise, broadcast."""
        product = self.exp[self.log[a] + self.log[b]]
        return torch.where((a == 0) | (b == 0), 0, product)

    def power(self, a: Tensor, exponent: int) -> Tensor:
        """a^exponent entrywise, exponent ≥ 1."""
        raised = self.exp[self.log[a] * exponent % (self.size - 1)]
        return torch.where(a == 0, 0, raised)


@lru_cache(maxsize=LARGEST)
def field(m: int) -> Field:
    """The tables of GF(2^m), 1 ≤ m ≤ 20."""
    size = 1 << m
    powers, value = [], 1
    for _ in range(size - 1):
        powers.append(value)
        value <<= 1
        if value & size:
            value ^= PRIMITIVE[m]
    exp = torch.tensor(powers + powers)
    log = torch.zeros(size, dtype=torch.int64)
    log[exp[: size - 1]] = torch.arange(size - 1)
    bare = Field(m, exp, log, torch.zeros(0))
    element = torch.arange(size)
    total, conjugate = torch.zeros_like(element), element
    for _ in range(m):
        total = total ^ conjugate
        conjugate = bare.power(conjugate, 2)
    return Field(m, exp, log, total.to(torch.uint8))


@dataclass(frozen=True)
class Family:
    """Sign diagonals for d = 2^m: ``blocks`` of them (None: without end), d vectors each.

    coherence: the largest |cosine| of any two vectors, proved; None where chance decides.
    identity: whether the d one-hot vectors fit in besides, at 1/√d from everything.
    make: block numbers (B,) → bits (B, d) uint8, 1 for −1.
    seed: of drawn signs; None for forms.
    """

    name: str
    m: int
    blocks: int | None
    coherence: float | None
    make: Callable[[Tensor], Tensor]
    identity: bool = False
    seed: int | None = None

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
    return Family("hadamard", m, 1, 0.0, partial(_zero_bits, m))


def gold(m: int) -> Family:
    """q_a(x) = Tr(a x³), a in GF(2^m), m ≥ 3 odd: rank m − 1, d² vectors at √2/√d."""
    assert m >= 3
    assert m % 2 == 1
    return Family("gold", m, 1 << m, math.sqrt(2 / (1 << m)), partial(_gold_bits, m))


def kerdock(m: int) -> Family:
    """q_a(x, y) = Σ_{j=1}^{(m−2)/2} Tr((ax)^(1+2^j)) + y Tr(ax); a, x in GF(2^(m−1)), y in GF(2).

    m ≥ 2 even: rank m, d²/2 vectors at 1/√d and the d one-hot vectors, which is as many as
    Levenshtein's bound allows.
    """
    assert m >= 2
    assert m % 2 == 0
    coherence = 1 / math.sqrt(1 << m)
    return Family("kerdock", m, 1 << (m - 1), coherence, partial(_kerdock_bits, m), identity=True)


def delsarte_goethals(m: int) -> Family:
    """Two terms in place of one; block a + 2^n b, so that the family above comes first.

    m ≥ 5 odd (n = m): q_ab(x) = Tr(a x³ + b x⁵), rank ≥ m − 3, d³ vectors at √8/√d.
    m ≥ 4 even (n = m−1): q_ab(x, y) = Kerdock's q_a(x, y) + Tr(b x³), rank ≥ m − 2, d³/4 vectors
    at 2/√d.
    """
    assert m >= 4
    n, ratio, bits = (m, 8, _odd_bits) if m % 2 else (m - 1, 4, _even_bits)
    coherence = math.sqrt(ratio / (1 << m))
    return Family("delsarte-goethals", m, 1 << (2 * n), coherence, partial(bits, m))


def random_signs(m: int, seed: int) -> Family:
    """Independent fair signs in place of a form, from a stream of their own for every block."""
    return Family("random", m, None, None, partial(_random_bits, m, seed), seed=seed)


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


# Every family's bits are a function of (m, blocks), at the top level so that they can be pickled.


def _zero_bits(m: int, blocks: Tensor) -> Tensor:
    return torch.zeros(blocks.numel(), 1 << m, dtype=torch.uint8)


def _gold_bits(m: int, blocks: Tensor) -> Tensor:
    F = field(m)
    return F.trace[F.times(blocks.unsqueeze(1), _power(F, 3))]


def _kerdock_bits(m: int, blocks: Tensor) -> Tensor:
    """Index x + 2^(m−1) y: the half y = 0 holds the sum, the half y = 1 adds Tr(ax)."""
    F = field(m - 1)
    scaled = F.times(blocks.unsqueeze(1), torch.arange(F.size))
    total = torch.zeros_like(scaled)
    for j in range(1, (F.m - 1) // 2 + 1):
        total = total ^ F.power(scaled, 1 + (1 << j))
    even = F.trace[total]
    return torch.cat([even, even ^ F.trace[scaled]], dim=1)


def _odd_bits(m: int, blocks: Tensor) -> Tensor:
    F = field(m)
    a, b = _pair(blocks, m)
    cube, fifth = F.times(a.unsqueeze(1), _power(F, 3)), F.times(b.unsqueeze(1), _power(F, 5))
    return F.trace[cube ^ fifth]


def _even_bits(m: int, blocks: Tensor) -> Tensor:
    F = field(m - 1)
    a, b = _pair(blocks, m - 1)
    return _kerdock_bits(m, a) ^ F.trace[F.times(b.unsqueeze(1), _power(F, 3))].repeat(1, 2)


def _random_bits(m: int, seed: int, blocks: Tensor) -> Tensor:
    return torch.stack(
        [
            torch.randint(2, (1 << m,), generator=stream(seed, "signs", b), dtype=torch.uint8)
            for b in blocks.tolist()
        ]
    )


def _power(F: Field, exponent: int) -> Tensor:
    """x^exponent for every x of the field, in order."""
    return F.power(torch.arange(F.size), exponent)


def _pair(blocks: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Block a + 2^n b → a and b."""
    return blocks & ((1 << n) - 1), blocks >> n
