"""Are classes with close vectors the ones that are taken for each other?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._errors import RequestError
from .statistics import wide

_SAME = 1e-6
"""Cosines closer than this differ by rounding only: ranking them would rank noise."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ with its 95 % interval over n ordered pairs.

    ``rho`` is None, with a ``reason``, where one side does not vary; ``low`` and ``high`` are None
    as well where |ρ| = 1 or n ≤ 3.
    """

    rho: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None


def cosine_confusion(cosines: Tensor, confusion: Tensor) -> Correlation:
    """Spearman's ρ between cos(w_i, w_j) and #(i taken for j) over ordered pairs i ≠ j.

    Both (K, K), true classes in rows. The interval is Fisher's in the form of Bonett & Wright
    2000; it takes the pairs as independent, which pairs that share a class are not quite.

    Source: Shalev et al. 2020, section 2 and Figure 2.
    """
    _check(cosines, confusion)
    apart = ~torch.eye(cosines.shape[0], dtype=torch.bool, device=cosines.device)
    similar, mistaken = wide(cosines[apart]), wide(confusion.to(cosines.device)[apart])
    n = similar.numel()
    if not bool(_varies(similar)):
        return _undefined(n, "all pairs of class vectors have the same cosine")
    if not bool(_varies(mistaken)):
        return _undefined(n, "all pairs of classes are confused equally often")
    rho = float(spearman(_without_noise(similar), mistaken))
    low, high = spearman_interval(rho, n) or (None, None)
    return Correlation(rho, low, high, n, None)


def class_cosine_confusion(cosines: Tensor, confusion: Tensor) -> Tensor:
    """ρ over the K − 1 pairs (i, j), j ≠ i, of each true class i: (K,).

    NaN where the cosines of a class are all the same, or its confusions are.
    """
    _check(cosines, confusion)
    classes = cosines.shape[0]
    apart = ~torch.eye(classes, dtype=torch.bool, device=cosines.device)
    similar = wide(cosines[apart]).view(classes, classes - 1)
    mistaken = wide(confusion.to(cosines.device)[apart]).view(classes, classes - 1)
    rho = spearman(_without_noise(similar), mistaken)
    return rho.where(_varies(similar), torch.nan)


def group_cosine_confusion(cosines: Tensor, confusion: Tensor, members: Tensor) -> Correlation:
    """``cosine_confusion`` over ordered pairs inside one group of classes: members bool (K,)."""
    _check(cosines, confusion)
    chosen = members.to(cosines.device).nonzero().squeeze(1)
    rows = chosen.unsqueeze(1)
    return cosine_confusion(cosines[rows, chosen], confusion.to(cosines.device)[rows, chosen])


def _without_noise(cosines: Tensor) -> Tensor:
    """Cosines rounded, so that pairs that differ by rounding only are ties."""
    return cosines.round(decimals=6)


def _varies(values: Tensor) -> Tensor:
    """Whether values (…, n) differ by more than rounding, (…)."""
    if values.shape[-1] == 0:
        return torch.zeros(values.shape[:-1], dtype=torch.bool)
    low, high = torch.aminmax(values, dim=-1)
    return high - low >= _SAME


def _undefined(n: int, reason: str) -> Correlation:
    return Correlation(None, None, None, n, reason)


def _check(cosines: Tensor, confusion: Tensor) -> None:
    shape = tuple(cosines.shape)
    if len(shape) != 2 or shape[0] != shape[1] or tuple(confusion.shape) != shape:
        raise RequestError(
            f"cosine_confusion() needs cosines and confusion of one shape (K, K), "
            f"got {shape} and {tuple(confusion.shape)}"
        )


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
