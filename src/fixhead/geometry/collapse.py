"""Neural collapse 1 to 3: features fall into their class means, the means take one length and equal
angles, and class means and class vectors become one.

Notation, over the C classes that have features (N together), with centred means μ̃_c = μ_c − μ_G:

    Σ_W = (1/N) Σ_c Σ_{x in c} (x − μ_c)(x − μ_c)ᵀ
    Σ_B = Σ_c share_c μ̃_c μ̃_cᵀ,   μ_G = Σ_c share_c μ_c

with share_c = 1/C (``weights="classes"``, Papyan et al. 2020) or n_c/N (``weights="images"``);
the two agree where classes are of equal size. Values without meaning are NaN: with fewer than two
classes, and for classes without a feature.

For NC3, M holds the class means, W (K, d) the class vectors; rows of classes without a feature are
left out of both. ``centre`` says from what the mean row is taken away before anything else: from M
(``"means"``), from M and W (``"both"``), or neither. The published measure centres M alone: right
for learned vectors, whose mean vanishes under collapse, and for a simplex. Fixed vectors of another
form (random, orthonormal, codes) have a mean; features that lie on them exactly have distance 0
with ``"both"`` or ``"none"`` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from .._errors import RequestError
from ..logits import unit
from .statistics import (
    ClassStatistics,
    PresentClasses,
    Weights,
    check_choice,
    check_vectors,
    present_classes,
    wide,
)

Centre = Literal["means", "both", "none"]

_TILE = 1_024


def nc1(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr(Σ_W Σ_B⁺) / C, a scalar; 0 for collapsed features.

    Σ_B⁺ is the pseudo-inverse over the at most C − 1 directions that the class means span;
    singular values below max(C, d) · 2⁻⁵² of the largest count as 0. NaN where all means coincide.

    Source: Papyan, Han & Donoho 2020, NC1, with the 1/C of their released code.

    Raises:
        RequestError: the statistics were taken with ``pooled=False``.
    """
    present = present_classes(stats)
    if present.scatter is None:
        raise RequestError(
            "nc1() needs statistics with the pooled scatter (d, d), got pooled=False; "
            "take them with pooled=True, or use trace_ratio() or cdnv()"
        )
    count = present.labels.numel()
    if count < 2 or not bool(torch.isfinite(present.means).all()):
        return present.undefined()
    rooted = present.centred(weights) * present.shares(weights).sqrt().unsqueeze(1)
    _, singular, axes = torch.linalg.svd(rooted, full_matrices=False)
    floor = singular[0] * max(rooted.shape) * torch.finfo(singular.dtype).eps
    kept = (singular > floor) & (torch.arange(singular.numel(), device=axes.device) < count - 1)
    within = ((axes @ present.scatter) * axes).sum(dim=1) / present.counts.sum()
    total = (within[kept] / singular[kept].square()).sum() / count
    return total if bool(kept.any()) else present.undefined()


def trace_ratio(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr Σ_W / tr Σ_B, a scalar: NC1 without a matrix (Hui, Belkin & Nakkiran 2022; Tirer 2023)."""
    present = present_classes(stats)
    between = _between(present, weights)
    return present.scatters.sum() / present.counts.sum() / between


def class_trace_ratios(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr Σ_c / tr Σ_B per class (K,), tr Σ_c the variance of class c about its mean."""
    present = present_classes(stats)
    return present.spread(present.variances / _between(present, weights))


def cdnv(stats: ClassStatistics) -> Tensor:
    """Mean of V_ij = (tr Σ_i + tr Σ_j) / (2 ‖μ_i − μ_j‖²) over pairs i ≠ j, a scalar.

    Class-distance normalised variance; exact in one pass, since pairs of classes need no pairs of
    images. Source: Galanti, György & Hutter 2022.
    """
    return _cdnv_rows(present_classes(stats)).mean()


def class_cdnv(stats: ClassStatistics) -> Tensor:
    """Mean over j ≠ i of V_ij per class i (K,), in tiles: nothing K × K is held."""
    present = present_classes(stats)
    return present.spread(_cdnv_rows(present))


def cdnv_matrix(stats: ClassStatistics) -> Tensor:
    """V_ij for all pairs (K, K), NaN on the diagonal and for classes without a feature."""
    present = present_classes(stats)
    full = present.means.new_full((present.classes, present.classes), torch.nan)
    if present.labels.numel():
        values = torch.cat(list(_cdnv_tiles(present, diagonal=torch.nan)))
        full[present.labels.unsqueeze(1), present.labels] = values
    return full


def _between(present: PresentClasses, weights: Weights) -> Tensor:
    """tr Σ_B, NaN with fewer than two classes or where the means coincide."""
    squares = present.centred(weights).square().sum(dim=1)
    between = present.shares(weights) @ squares
    return torch.where(between > 0, between, torch.nan)


def _cdnv_rows(present: PresentClasses) -> Tensor:
    """Mean over j ≠ i of V_ij (C,), NaN for a class that is alone."""
    others = present.labels.numel() - 1
    sums = [tile.sum(dim=1) for tile in _cdnv_tiles(present, diagonal=0.0)]
    return torch.cat(sums) / others if others > 0 else present.counts * torch.nan


def _cdnv_tiles(present: PresentClasses, *, diagonal: float) -> Iterator[Tensor]:
    """V_ij for blocks of rows i and all j, and ``diagonal`` at i = j."""
    means = present.centred()  # short vectors: little is lost in ‖μ_i‖² + ‖μ_j‖² − 2⟨μ_i, μ_j⟩
    squares = means.square().sum(dim=1)
    for start in range(0, means.shape[0], _TILE):
        rows = slice(start, start + _TILE)
        apart = squares[rows].unsqueeze(1) + squares - 2 * means[rows] @ means.T
        values = (present.variances[rows].unsqueeze(1) + present.variances) / (
            2 * apart.clamp(min=0)
        )
        values.diagonal(offset=start).fill_(diagonal)
        yield values


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
    present = present_classes(stats)
    norms = torch.linalg.vector_norm(present.centred(weights), dim=1)
    return present.spread(norms / norms.mean())


def equinorm(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """Std_c ‖μ̃_c‖ / mean_c ‖μ̃_c‖, a scalar. Source: Papyan et al. 2020, Figure 2."""
    ratios = relative_norms(stats, weights=weights)
    return (ratios - 1).square().nanmean().sqrt()


def equiangularity(stats: ClassStatistics, *, weights: Weights = "classes") -> Equiangularity:
    """Std of the cosines between centred class means, and their mean distance from −1/(C−1).

    In tiles: nothing K × K is held. Source: Papyan et al. 2020, Figures 3 and 4.
    """
    present = present_classes(stats)
    count = present.labels.numel()
    if count < 2:
        nothing = present.undefined()
        return Equiangularity(nothing, nothing, present.spread(nothing.expand(count)))
    rows, simplex = unit(present.centred(weights)), 1 / (count - 1)
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
    return Equiangularity(std, deviations.mean(), present.spread(deviations))


def class_self_duality(
    stats: ClassStatistics,
    vectors: Tensor,
    *,
    centre: Centre = "means",
    weights: Weights = "classes",
) -> Tensor:
    """‖w_c/‖W‖_F − m_c/‖M‖_F‖ per class (K,); their squares sum to ``self_duality``²."""
    present, M, W = _rows("self_duality", stats, vectors, centre, weights)
    return present.spread(torch.linalg.vector_norm(_normed(W) - _normed(M), dim=1))


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
    present, M, W = _rows("alignment", stats, vectors, centre, weights)
    return present.spread(_cosines(M, W))


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
    present, M, W = _rows("gram_distance", stats, vectors, centre, weights)
    # ‖M Mᵀ‖_F = ‖Mᵀ M‖_F: the smaller of the two is computed.
    M, W = (rows / _gram_norm(rows).sqrt() for rows in (M, W))
    lengths = [
        torch.linalg.vector_norm(left @ M.T - right @ W.T, dim=1)
        for left, right in zip(torch.split(M, _TILE), torch.split(W, _TILE), strict=True)
    ]
    return present.spread(torch.cat(lengths) if lengths else present.counts)


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
) -> tuple[PresentClasses, Tensor, Tensor]:
    check_vectors(caller, vectors, stats.classes, stats.features)
    check_choice(caller, "centre", centre, get_args(Centre))
    present = present_classes(stats)
    W = wide(vectors).to(present.means.device)[present.labels]
    M = present.means if centre == "none" else present.centred(weights)
    if centre == "both":
        W = W - present.shares(weights) @ W
    return present, M, W


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
