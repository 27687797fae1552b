"""Random numbers that belong to an image, whatever batch it comes in and whatever device it is on.

``u(key, i, j) = mix(mix(key + g·i) + g·(j + 1)) / 2⁶⁴`` for image i and its j-th number: SplitMix64
as a hash. Every arm sees the same corrupted pixels, in whatever order the images are read.

Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._seeds import derive


def _signed(value: int) -> int:
    """A 64-bit constant as torch's int64 holds it."""
    return value - (1 << 64) if value >> 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


@dataclass(frozen=True)
class Draws:
    """The random numbers of the images ``indices`` (N,) for one corruption."""

    seed: int
    purpose: str
    indices: Tensor

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(N, *shape) of float64, uniform in 0 ≤ u < 1; another ``name`` gives other numbers."""
        key = _signed(derive(self.seed, "corruption", self.purpose, name))
        device = self.indices.device
        starts = _mix(self.indices.long() * GOLDEN + key)
        counter = torch.arange(1, math.prod(shape) + 1, device=device) * GOLDEN
        bits = _logical_shift(_mix(starts[:, None] + counter[None]), 11)
        return (bits.double() * 2.0**-53).view(len(self.indices), *shape)

    def between(self, name: str, low: float, high: float, *shape: int) -> Tensor:
        """(N, *shape), uniform in low ≤ u < high."""
        return low + (high - low) * self.uniform(name, *shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """(N, *shape) of standard normal numbers: Box and Muller 1958."""
        first, second = (self.uniform(f"{name}/{part}", *shape) for part in ("radius", "angle"))
        return torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * math.pi * second)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _logical_shift(x, 30)) * FIRST
    x = (x ^ _logical_shift(x, 27)) * SECOND
    return x ^ _logical_shift(x, 31)


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)
