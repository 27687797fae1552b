"""Neural collapse 1: features of a class fall into their mean.

Notation, over the C classes that have features (N together):

    Σ_W = (1/N) Σ_c Σ_{x in c} (x − μ_c)(x − μ_c)ᵀ
    Σ_B = Σ_c share_c (μ_c − μ_G)(μ_c − μ_G)ᵀ,   μ_G = Σ_c share_c μ_c

with share_c = 1/C (``weights="classes"``, Papyan et al. 2020) or n_c/N (``weights="images"``);
the two agree where classes are of equal size. Values without meaning are NaN: with fewer than two
classes, and for classes without a feature.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .._errors import RequestError
from .seen import SeenClasses, Weights, seen_classes
from .statistics import ClassStatistics

_TILE = 1_024


def nc1(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr(Σ_W Σ_B⁺) / C, a scalar; 0 for collapsed features.

    Σ_B⁺ is the pseudo-inverse over the at most C − 1 directions that the class means span;
    singular values below max(C, d) · 2⁻⁵² of the largest count as 0. NaN where all means coincide.

    Source: Papyan, Han & Donoho 2020, NC1, with the 1/C of their released code.

    Raises:
        RequestError: the statistics were taken with ``pooled=False``.
    """
    seen = seen_classes(stats)
    if seen.scatter is None:
        raise RequestError(
            "nc1() needs statistics with the pooled scatter (d, d), got pooled=False; "
            "take them with pooled=True, or use trace_ratio() or cdnv()"
        )
    count = seen.labels.numel()
    if count < 2 or not bool(torch.isfinite(seen.means).all()):
        return seen.undefined()
    rooted = seen.centred(weights) * seen.shares(weights).sqrt().unsqueeze(1)
    _, singular, axes = torch.linalg.svd(rooted, full_matrices=False)
    floor = singular[0] * max(rooted.shape) * torch.finfo(singular.dtype).eps
    kept = (singular > floor) & (torch.arange(singular.numel(), device=axes.device) < count - 1)
    within = ((axes @ seen.scatter) * axes).sum(dim=1) / seen.counts.sum()
    total = (within[kept] / singular[kept].square()).sum() / count
    return total if bool(kept.any()) else seen.undefined()


def trace_ratio(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr Σ_W / tr Σ_B, a scalar: NC1 without a matrix (Hui, Belkin & Nakkiran 2022; Tirer 2023)."""
    seen = seen_classes(stats)
    between = _between(seen, weights)
    return seen.scatters.sum() / seen.counts.sum() / between


def class_trace_ratios(stats: ClassStatistics, *, weights: Weights = "classes") -> Tensor:
    """tr Σ_c / tr Σ_B per class (K,), tr Σ_c the variance of class c about its mean."""
    seen = seen_classes(stats)
    return seen.spread(seen.variances / _between(seen, weights))


def cdnv(stats: ClassStatistics) -> Tensor:
    """Mean of V_ij = (tr Σ_i + tr Σ_j) / (2 ‖μ_i − μ_j‖²) over pairs i ≠ j, a scalar.

    Class-distance normalised variance; exact in one pass, since pairs of classes need no pairs of
    images. Source: Galanti, György & Hutter 2022.
    """
    return _cdnv_rows(seen_classes(stats)).mean()


def class_cdnv(stats: ClassStatistics) -> Tensor:
    """Mean over j ≠ i of V_ij per class i (K,), in tiles: nothing K × K is held."""
    seen = seen_classes(stats)
    return seen.spread(_cdnv_rows(seen))


def cdnv_matrix(stats: ClassStatistics) -> Tensor:
    """V_ij for all pairs (K, K), NaN on the diagonal and for classes without a feature."""
    seen = seen_classes(stats)
    full = seen.means.new_full((seen.classes, seen.classes), torch.nan)
    if seen.labels.numel():
        values = torch.cat(list(_cdnv_tiles(seen, diagonal=torch.nan)))
        full[seen.labels.unsqueeze(1), seen.labels] = values
    return full


def _between(seen: SeenClasses, weights: Weights) -> Tensor:
    """tr Σ_B, NaN with fewer than two classes or where the means coincide."""
    squares = seen.centred(weights).square().sum(dim=1)
    between = seen.shares(weights) @ squares
    return torch.where(between > 0, between, torch.nan)


def _cdnv_rows(seen: SeenClasses) -> Tensor:
    """Mean over j ≠ i of V_ij (C,), NaN for a class that is alone."""
    others = seen.labels.numel() - 1
    sums = [tile.sum(dim=1) for tile in _cdnv_tiles(seen, diagonal=0.0)]
    return torch.cat(sums) / others if others > 0 else seen.counts * torch.nan


def _cdnv_tiles(seen: SeenClasses, *, diagonal: float) -> Iterator[Tensor]:
    """V_ij for blocks of rows i and all j, and ``diagonal`` at i = j."""
    means = seen.centred()  # short vectors: little is lost in ‖μ_i‖² + ‖μ_j‖² − 2⟨μ_i, μ_j⟩
    squares = means.square().sum(dim=1)
    for start in range(0, means.shape[0], _TILE):
        rows = slice(start, start + _TILE)
        apart = squares[rows].unsqueeze(1) + squares - 2 * means[rows] @ means.T
        values = (seen.variances[rows].unsqueeze(1) + seen.variances) / (2 * apart.clamp(min=0))
        values.diagonal(offset=start).fill_(diagonal)
        yield values
