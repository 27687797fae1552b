"""The finite field GF(2^m): numbers below 2^m whose bits are polynomial coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

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
