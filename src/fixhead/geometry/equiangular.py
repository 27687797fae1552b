"""Neural collapse 2: centred class means of one length and at equal angles, a simplex.

Over the C classes that have features, μ̃_c = μ_c − μ_G (``weights`` as in ``variability``);
NaN with fewer than two of them, and for classes without a feature.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..logits import unit
from .seen import Weights, seen_classes
from .statistics import ClassStatistics

_TILE = 1_024


class Equiangularity(NamedTuple):
    """Over pairs c ≠ c' of the cosines between μ̃_c and μ̃_c', all 0 for a simplex.

    std: their standard deviation. deviation: the mean of |cos + 1/(C−1)|.
    per_class: the same mean over c' ≠ c only (K,).
    """

    std: Tensor
    deviation: Tensor
    per_class: Tensor


def relative_norms(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """‖μ̃_c‖ / mean_c ‖μ̃_c‖ per class (K,); 1 each for means of one length."""
    seen = seen_classes(stats)
    norms = torch.linalg.vector_norm(seen.centred(weights), dim=1)
    return seen.spread(norms / norms.mean())


def equinorm(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """Std_c ‖μ̃_c‖ / mean_c ‖μ̃_c‖, a scalar. Source: Papyan et al. 2020, Figure 2."""
    ratios = relative_norms(stats, weights=weights)
    return (ratios - 1).square().nanmean().sqrt()


def equiangularity(stats: ClassStatistics, *, weights: Weights = "classes") -> Equiangularity:
    """Std of the cosines between centred class means, and their mean distance from −1/(C−1).

    In tiles: nothing K × K is held. Source: Papyan et al. 2020, Figures 3 and 4.
    """
    seen = seen_classes(stats)
    count = seen.labels.numel()
    if count < 2:
        nothing = seen.undefined()
        return Equiangularity(nothing, nothing, seen.spread(nothing.expand(count)))
    rows, simplex = unit(seen.centred(weights)), 1 / (count - 1)
    away: list[Tensor] = []
    sums = rows.new_zeros(2)
    for start in range(0, count, _TILE):
        # cos + 1/(C−1), and 0 on the diagonal, where it adds to none of the sums.
        gaps = rows[start : start + _TILE] @ rows.T + simplex
        gaps.diagonal(offset=start).fill_(0.0)
        away.append(gaps.abs().sum(dim=1) * simplex)
        sums += torch.stack([gaps.sum(), gaps.square().sum()])
    deviations = torch.cat(away)
    mean, square = sums / (count * (count - 1))
    std = (square - mean.square()).clamp(min=0).sqrt()
    return Equiangularity(std, deviations.mean(), seen.spread(deviations))
