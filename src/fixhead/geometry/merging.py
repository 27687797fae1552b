"""Statistics of sets of features made one: of batches, of processes, of classes in a group."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from ._inputs import check_labels, full_precision
from .statistics import ClassStatistics, add_scatter, sums_of


@torch.no_grad()
def merge(first: ClassStatistics, second: ClassStatistics) -> ClassStatistics:
    """The statistics of both sets of features together, by the formulae of ``absorb_``.

    Raises:
        RequestError: the two are of different classes, features or types.
    """
    if _form(first) != _form(second):
        raise RequestError(
            f"merge() needs statistics of one form (classes, features, pooled, dtype), "
            f"got {_form(first)} and {_form(second)}"
        )
    merged = first.like(first.packed.clone())
    n, m = first.counts, second.counts
    total = (n + m).clamp(min=1)
    shift = second.means - first.means
    if first.rests is not None and second.rests is not None:
        shift += second.like(second.rests).means - first.like(first.rests).means
    labels = torch.arange(first.classes, device=shift.device)
    with full_precision(shift.device), sums_of(merged) as sums:
        sums.counts.add_(m)
        sums.means.add_(shift * (m / total).unsqueeze(1))
        sums.scattered.add_(second.scattered)
        add_scatter(sums, shift * (n * m / total).sqrt().unsqueeze(1), labels)
    if merged.rests is not None and second.rests is not None:
        second_rest = second.like(second.rests)
        merged.like(merged.rests).scattered.add_(second_rest.scattered)
    return merged


@torch.no_grad()
def regroup(stats: ClassStatistics, groups: Tensor, number: int) -> ClassStatistics:
    """The statistics of unions of classes, in float64: class c becomes part of ``groups[c]``.

    n_g = Σ n_c,  μ_g = Σ n_c μ_c / n_g,  S_g = Σ S_c + Σ n_c (μ_c − μ_g)(μ_c − μ_g)ᵀ.
    Groups (K,) in 0 … number − 1. With one group S/N is the covariance of all features.
    """
    check_labels("regroup", groups, stats.classes, number)
    stats, groups = stats.wide(), groups.long()
    groups = groups.to(stats.packed.device)
    union = ClassStatistics.empty(
        number, stats.features, pooled=stats.pooled, device=stats.packed.device
    )
    union.counts.index_add_(0, groups, stats.counts)
    union.means.index_add_(0, groups, stats.means * stats.counts.unsqueeze(1))
    union.means.div_(union.counts.clamp(min=1).unsqueeze(1))
    union.scatters.index_add_(0, groups, stats.scatters)
    if union.scatter is not None and stats.scatter is not None:
        union.scatter.add_(stats.scatter)
    apart = (stats.means - union.means[groups]) * stats.counts.sqrt().unsqueeze(1)
    add_scatter(union, apart, groups)
    return union


def _form(stats: ClassStatistics) -> tuple[int, int, bool, torch.dtype]:
    return stats.classes, stats.features, stats.pooled, stats.packed.dtype
