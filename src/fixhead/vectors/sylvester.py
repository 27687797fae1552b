"""The Sylvester–Hadamard matrix, its fast transform, and its rows as class vectors.

H_ij = (−1)^⟨i, j⟩ with ⟨i, j⟩ the number of ones that the binary numbers i and j share, mod 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_size, stored


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


_SUBSETS = 32
_SIGNS = 64


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is at least ``number``."""
    return 1 << (number - 1).bit_length()


def hadamard(
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k = s ∘ H_{r_k, C} / √d: K rows r_k and d columns C of the Sylvester–Hadamard matrix of
    order n = 2^⌈log₂ d⌉, column signs s = ±1; all three drawn. Shape (K, d), K ≤ n.

    d a power of two: the rows are orthonormal. Otherwise the cosine of rows i and j is
    Σ_{c∈C} (−1)^⟨i⊕j, c⟩ / d, and of 32 drawn column sets (without column 0, in which all rows
    agree) the one with the smallest largest |cosine| is kept, for one fast transform each. More
    than half of the columns stay, and no two rows of H agree on more than half, so rows are always
    distinct. For d ≥ 4 no row is ±(1, …, 1).

    Source: Hoffer et al. 2018, section 3; there rows repeat with period n once K > n.

    Raises:
        RequestError: K > n, or arguments that make no sense.
    """
    check_size("hadamard", classes, features)
    check_dtype("hadamard", dtype)
    order = next_power_of_two(features)
    if classes > order:
        raise RequestError(
            f"hadamard() needs classes <= {order}, the power of two at or above features="
            f"{features}, got classes={classes}: further rows would repeat; use codes()"
        )
    generator = default_generator_or(generator)
    columns = _columns(features, order, generator)
    chosen = torch.randperm(order, generator=generator)[:classes]
    rows = walsh_rows(chosen, columns, order.bit_length() - 1)
    rows *= _signs(rows, generator)
    # ±1 times one number is rounded once, as from float64.
    return stored("hadamard", rows.to(dtype) * (1 / math.sqrt(features)), dtype)


def _columns(features: int, order: int, generator: torch.Generator) -> Tensor:
    """The d columns that keep rows furthest apart, of 32 draws; all of them where d = n."""
    if features == order:
        return torch.arange(order)
    best: tuple[float, Tensor] | None = None
    for _ in range(_SUBSETS):
        columns = random_columns(features, order, generator)
        indicator = torch.zeros(order, dtype=torch.float64).index_fill_(0, columns, 1.0)
        worst = float(transform(indicator)[1:].abs().max())
        if best is None or worst < best[0]:
            best = (worst, columns)
    assert best is not None
    return best[1]


def random_columns(features: int, order: int, generator: torch.Generator) -> Tensor:
    """d < n columns in ascending order, without column 0, which is all ones in H and in codes."""
    return torch.randperm(order - 1, generator=generator)[:features].sort().values + 1


def _signs(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Column signs under which no row is constant; for d < 4 there may be none."""
    features = rows.shape[1]
    signs = torch.ones(features)
    for _ in range(_SIGNS):
        signs = 1.0 - 2.0 * torch.randint(2, (features,), generator=generator).float()
        if float((rows @ signs).abs().max()) < features:
            break
    return signs
