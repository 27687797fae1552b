"""The Sylvester–Hadamard matrix and its fast transform.

H_ij = (−1)^⟨i, j⟩ with ⟨i, j⟩ the number of ones that the binary numbers i and j share, mod 2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bits(numbers: Tensor, m: int) -> Tensor:
    """The m lowest binary digits, lowest first: (n,) → (n, m) of the numbers' type."""
    return (numbers.unsqueeze(-1) >> torch.arange(m, device=numbers.device)) & 1


def walsh_rows(rows: Tensor, columns: Tensor, m: int) -> Tensor:
    """H_ij for i in rows (K,) and j in columns (d,), both below 2^m: (K, d) float32 of ±1.

    Counts ⟨i, j⟩ by one product of the digits, exact because m < 2²⁴.
    """
    shared = bits(rows, m).float() @ bits(columns, m).float().T
    return 1.0 - 2.0 * shared.remainder_(2.0)


def transform(values: Tensor) -> Tensor:
    """x H over the last dimension, a power of two: n log₂ n additions."""
    n = values.shape[-1]
    out = values
    half = 1
    while half < n:
        pair = out.reshape(*values.shape[:-1], n // (2 * half), 2, half)
        a, b = pair.unbind(dim=-2)
        out = torch.stack([a + b, a - b], dim=-2)
        half *= 2
    return out.reshape(values.shape)
