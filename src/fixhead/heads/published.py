"""Hoffer et al. 2018 as released: rows that are not unit vectors, and that may repeat.

``fix_your_classifier/fixed_proj.py`` (commit 1934b61): z = α ⟨q, x⟩/‖x‖ + b with one learned α.

``hoffer-projection``  Q from a QR factorisation; for K > d its *columns* are orthonormal, so row
                       norms lie below 1. α starts at 10, b at 0.
``hoffer-hadamard``    q = −H[:K, :d] of Sylvester's matrix of order 2^⌈log₂ max(d, K)⌉: entries ±1,
                       row norm √d, and the minus sign of the released code. Rows repeat with
                       period 2^⌈log₂ d⌉, so above that K classes share a row and only b tells them
                       apart. α starts at 1/√K, b from U(±1/√K).

They are here to be compared with; ``orthonormal`` and ``hadamard`` in ``fixhead.vectors`` are the
repaired ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .initial import linear_rows


def projection(
    classes: int, features: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Q (K, d): orthonormal rows for K ≤ d, orthonormal columns above."""
    tall = classes > features
    shape = (classes, features) if tall else (features, classes)
    q, r = torch.linalg.qr(torch.randn(*shape, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()  # Haar measure, as torch.nn.init.orthogonal_
    rows: Tensor = q if tall else q.T
    return rows.to(dtype).contiguous()


def hadamard(classes: int, features: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """−H[:K, :d], H[i, j] = (−1)^popcount(i & j); nothing is drawn."""
    rows = torch.arange(classes).unsqueeze(1)
    columns = torch.arange(features).unsqueeze(0)
    common = rows & columns
    parity = torch.zeros_like(common)
    for bit in range(max(classes, features).bit_length()):
        parity ^= (common >> bit) & 1
    return (2 * parity - 1).to(dtype)


def zero_bias(classes: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """b = 0 (K,)."""
    return torch.zeros(classes, dtype=dtype)


def uniform_bias(classes: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """b ~ U(−1/√K, 1/√K) (K,)."""
    return linear_rows(1, classes, classes, generator, dtype)[0]


Rows = Callable[[int, int, torch.Generator, torch.dtype], Tensor]
Bias = Callable[[int, torch.Generator, torch.dtype], Tensor]

PUBLISHED: dict[str, tuple[Rows, Bias, Callable[[int], float]]] = {
    "hoffer-projection": (projection, zero_bias, lambda classes: 10.0),
    "hoffer-hadamard": (hadamard, uniform_bias, lambda classes: 1 / math.sqrt(classes)),
}
"""Rows, bias, and where the learned scale starts."""
