"""nn.Linear's own initialisation, drawn from an explicit generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_rows(
    rows: int, fan_in: int, columns: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in) in shape (rows, columns).

    What nn.Linear draws for its weight (kaiming_uniform with a = √5 gives this bound) and bias.
    """
    bound = 1 / math.sqrt(fan_in)
    draws = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return ((2 * draws - 1) * bound).to(dtype)
