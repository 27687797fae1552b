"""Rank correlation without leaving torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from ._inputs import wide


def average_ranks(values: Tensor) -> Tensor:
    """Ranks 1 … n along the last dimension (…, n) in float64; equal values share their mean rank.

    A value's rank is half of (how many are smaller) + (how many are not larger) + 1.
    """
    ordered = values.sort(dim=-1).values
    values = values.contiguous()
    smaller = torch.searchsorted(ordered, values, right=False)
    not_larger = torch.searchsorted(ordered, values, right=True)
    return (wide(smaller) + wide(not_larger) + 1) / 2


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """ρ: Pearson's correlation of the average ranks along the last dimension, (…, n) → (…).

    NaN where one side does not vary. Source: Spearman 1904; ties as in scipy.stats.spearmanr.

    Raises:
        RequestError: the shapes differ, or a value is NaN.
    """
    if first.shape != second.shape:
        raise RequestError(
            f"spearman() needs two tensors of one shape, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    if bool(first.isnan().any()) or bool(second.isnan().any()):
        raise RequestError("spearman() needs values that can be ranked, got NaN")
    ranks = [average_ranks(values) for values in (first, second)]
    a, b = (rank - rank.mean(dim=-1, keepdim=True) for rank in ranks)
    lengths = a.square().sum(dim=-1) * b.square().sum(dim=-1)
    return ((a * b).sum(dim=-1) / lengths.sqrt()).clamp(-1.0, 1.0)


def spearman_interval(rho: float, n: int) -> tuple[float, float] | None:
    """The 95 % interval tanh(artanh ρ ± 1.96 √((1 + ρ²/2) / (n − 3))) of n independent pairs.

    None for n ≤ 3 and for |ρ| = 1. Source: Bonett & Wright 2000.
    """
    if n <= 3 or not abs(rho) < 1:
        return None
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = math.atanh(rho)
    return math.tanh(centre - half), math.tanh(centre + half)
