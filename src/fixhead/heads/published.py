"""Class vectors as two papers' released code makes them, with what is wrong with them.

Hoffer et al. 2018, ``fix_your_classifier/fixed_proj.py`` (commit 1934b61): z = α ⟨q, x⟩/‖x‖ + b
with one learned α; rows that are not unit vectors, and that may repeat.

``hoffer-projection``  Q from a QR factorisation; for K > d its *columns* are orthonormal, so row
                       norms lie below 1. α starts at 10, b at 0.
``hoffer-hadamard``    q = −H[:K, :d] of Sylvester's matrix of order 2^⌈log₂ max(d, K)⌉: entries ±1,
                       row norm √d, and the minus sign of the released code. Rows repeat with
                       period 2^⌈log₂ d⌉, so above that K classes share a row and only b tells them
                       apart. α starts at 1/√K, b from U(±1/√K).

Yang et al. 2022, ``NeuralCollapseApplications/ImbalancedLearning`` (commit 2ebb309):

``yang-kaiming``  rows of N(0, 2/d), the "learnable" baseline's, which that code freezes.
``yang-simplex``  √(K/(K−1)) (I − 11ᵀ/K) Pᵀ, P (d, K) from a QR factorisation of *uniform* numbers
                  in [0, 1): not a random rotation. As all entries are positive, class 0 points near
                  −(1, …, 1), where features after a ReLU cannot go.

They are here to be compared with; ``orthonormal``, ``hadamard`` and ``simplex`` in
``fixhead.vectors`` are the repaired ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._errors import RequestError
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


def kaiming(classes: int, features: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """N(0, 2/d) (K, d), as torch.nn.init.kaiming_normal_."""
    draws = torch.randn(classes, features, generator=generator, dtype=torch.float64)
    return (draws * math.sqrt(2 / features)).to(dtype)


def uniform_simplex(
    classes: int, features: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """√(K/(K−1)) (I − 11ᵀ/K) Pᵀ (K, d), with P's signs as the QR factorisation leaves them.

    Raises:
        RequestError: K > d (a simplex needs d ≥ K − 1 only; the released code asks for d ≥ K).
    """
    if classes > features:
        raise RequestError(
            f"vectors='yang-simplex' needs features >= classes = {classes}, got {features}; "
            "try simplex, which takes classes - 1"
        )
    draws = torch.rand(features, classes, generator=generator, dtype=torch.float64)
    frame = torch.linalg.qr(draws)[0]
    rows: Tensor = (frame - frame.mean(dim=1, keepdim=True)).T * math.sqrt(classes / (classes - 1))
    return rows.to(dtype).contiguous()


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
    "yang-kaiming": (kaiming, zero_bias, lambda classes: 1.0),
    "yang-simplex": (uniform_simplex, zero_bias, lambda classes: 1.0),
}
"""Rows, bias, and where the learned scale starts."""
