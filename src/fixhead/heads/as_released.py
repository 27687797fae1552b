"""Class vectors as released code makes them: torch's and two papers', with what is wrong there.

``linear``  what nn.Linear draws: W and b from U(−1/√d, 1/√d).

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

The papers' are here to be compared with; ``orthonormal``, ``hadamard`` and ``simplex`` in
``fixhead.vectors`` are the repaired ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .._errors import RequestError

HOFFER_SCALE = 10.0
"""Initial value of the learned scale on unit rows (Hoffer et al. 2018, released ``Proj``)."""


def linear_rows(
    rows: int, fan_in: int, columns: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in) in shape (rows, columns).

    What nn.Linear draws for its weight (kaiming_uniform with a = √5 gives this bound) and bias.
    """
    bound = 1 / math.sqrt(fan_in)
    draws = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return ((2 * draws - 1) * bound).to(dtype)


def linear(classes: int, features: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """U(−1/√d, 1/√d) (K, d), the weight of an nn.Linear."""
    return linear_rows(classes, features, features, generator, dtype)


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


def linear_bias(
    classes: int, features: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """b ~ U(−1/√d, 1/√d) (K,), the bias of an nn.Linear."""
    return linear_rows(1, features, classes, generator, dtype)[0]


def zero_bias(
    classes: int, features: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """b = 0 (K,)."""
    return torch.zeros(classes, dtype=dtype)


def uniform_bias(
    classes: int, features: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """b ~ U(−1/√K, 1/√K) (K,)."""
    return linear_rows(1, classes, classes, generator, dtype)[0]


Draw = Callable[[int, int, torch.Generator, torch.dtype], Tensor]


@dataclass(frozen=True)
class Released:
    """How released code starts: rows (K, d), bias (K,), and the learned scale given K."""

    rows: Draw
    bias: Draw = zero_bias
    scale: Callable[[int], float] = lambda classes: 1.0


RELEASED = {
    "linear": Released(linear, linear_bias, lambda classes: HOFFER_SCALE),
    "hoffer-projection": Released(projection, scale=lambda classes: HOFFER_SCALE),
    "hoffer-hadamard": Released(hadamard, uniform_bias, lambda classes: 1 / math.sqrt(classes)),
    "yang-kaiming": Released(kaiming),
    "yang-simplex": Released(uniform_simplex),
}
