"""Neural collapse 3: class means and class vectors become one, also for vectors that are fixed.

M holds the class means, W (K, d) the class vectors; rows of classes without a feature are left
out of both, and are NaN in what is given per class. ``centre`` says from what the mean row is
taken away before anything else: from M (``"means"``), from M and W (``"both"``), or neither.

The published measure centres M alone: right for learned vectors, whose mean vanishes under
collapse, and for a simplex. Fixed vectors of another form (random, orthonormal, codes) have a
mean; features that lie on them exactly have distance 0 with ``"both"`` or ``"none"`` only.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..logits import unit
from ._inputs import check_choice, check_vectors, wide
from .seen import SeenClasses, Weights, seen_classes
from .statistics import ClassStatistics

Centre = Literal["means", "both", "none"]

_TILE = 1_024


def class_self_duality(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "means",
    weights: Weights = "classes",
) -> Tensor:
    """‖w_c/‖W‖_F − m_c/‖M‖_F‖ per class (K,); their squares sum to ``self_duality``²."""
    seen, M, W = _rows("self_duality", stats, vectors, centre, weights)
    return seen.spread(torch.linalg.vector_norm(_normed(W) - _normed(M), dim=1))


def self_duality(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "means",
    weights: Weights = "classes",
) -> Tensor:
    """‖W/‖W‖_F − M/‖M‖_F‖_F, a scalar in [0, 2]; 0 where M is a positive multiple of W.

    Source: Papyan et al. 2020, NC3.

    Raises:
        RequestError: vectors are not (K, d) of the statistics.
    """
    parts = class_self_duality(stats, vectors, centre=centre, weights=weights)
    return _root_of_squares(parts)


def alignments(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "none",
    weights: Weights = "classes",
) -> Tensor:
    """cos(m_c, w_c) per class (K,): how far class c's features arrived at its own vector.

    A mean or a vector of length 0 has cosine 0.
    """
    seen, M, W = _rows("alignment", stats, vectors, centre, weights)
    return seen.spread(_cosines(M, W))


def alignment(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "none",
    weights: Weights = "classes",
) -> Tensor:
    """Mean over classes of cos(m_c, w_c), a scalar in [−1, 1]; 1 for features on their vectors.

    Made for vectors that are fixed and no simplex: each mean is held against its own vector, not
    against an ideal of angles.
    """
    _, M, W = _rows("alignment", stats, vectors, centre, weights)
    return _cosines(M, W).mean()


def class_gram_distances(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "none",
    weights: Weights = "classes",
) -> Tensor:
    """Length of row c of G_M/‖G_M‖_F − G_W/‖G_W‖_F (K,); squares sum to ``gram_distance``²."""
    seen, M, W = _rows("gram_distance", stats, vectors, centre, weights)
    # ‖M Mᵀ‖_F = ‖Mᵀ M‖_F: the smaller of the two is computed.
    M, W = (rows / _gram_norm(rows).sqrt() for rows in (M, W))
    lengths = [
        torch.linalg.vector_norm(left @ M.T - right @ W.T, dim=1)
        for left, right in zip(torch.split(M, _TILE), torch.split(W, _TILE), strict=True)
    ]
    return seen.spread(torch.cat(lengths) if lengths else seen.counts)


def gram_distance(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "none",
    weights: Weights = "classes",
) -> Tensor:
    """‖M Mᵀ/‖M Mᵀ‖_F − W Wᵀ/‖W Wᵀ‖_F‖_F, a scalar in [0, √2].

    0 where the means have the vectors' lengths and angles up to one scale, wherever they point:
    unlike ``self_duality`` a rotation does not count. In tiles: nothing K × K is held.
    """
    parts = class_gram_distances(stats, vectors, centre=centre, weights=weights)
    return _root_of_squares(parts)


def _rows(
    caller: str, stats: ClassStatistics, vectors: Tensor, centre: Centre, weights: Weights
) -> tuple[SeenClasses, Tensor, Tensor]:
    check_vectors(caller, vectors, stats.classes, stats.features)
    check_choice(caller, "centre", centre, get_args(Centre))
    seen = seen_classes(stats)
    W = wide(vectors).to(seen.means.device)[seen.labels]
    M = seen.means if centre == "none" else seen.centred(weights)
    if centre == "both":
        W = W - seen.shares(weights) @ W
    return seen, M, W


def _cosines(M: Tensor, W: Tensor) -> Tensor:
    return (unit(M) * unit(W)).sum(dim=1).clamp(-1.0, 1.0)


def _normed(rows: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.matrix_norm(rows)
    return rows / norm


def _gram_norm(rows: Tensor) -> Tensor:
    tall = rows.shape[0] > rows.shape[1]
    norm: Tensor = torch.linalg.matrix_norm(rows.T @ rows if tall else rows @ rows.T)
    return norm


def _root_of_squares(parts: Tensor) -> Tensor:
    """√Σ over the classes with features; NaN where there is none."""
    return parts.square().nanmean().mul((~parts.isnan()).sum()).sqrt()
