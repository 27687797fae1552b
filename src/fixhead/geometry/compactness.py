"""Compact within a class, separate between classes: features against the class vectors.

Cosines and norms are averaged over images by true class and by outcome (right or wrong), in a
``ClassStatistics`` of their own: one pass, and mergeable as that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..logits import unit
from .class_cosines import cosine_matrix
from .statistics import (
    ClassStatistics,
    PresentClasses,
    check_features,
    check_indices,
    check_sizes,
    check_vectors,
    present_classes,
    regroup,
    update_,
)


def own_cosines(features: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
    """cos(x_n, w_{y_n}) of features (N, d), vectors (K, d) and labels (N,) → (N,).

    Intra-class compactness is its mean. Source: Shalev et al. 2020, section 3 and Figure 4.
    """
    return (unit(features) * unit(vectors[labels])).sum(dim=-1).clamp(-1.0, 1.0)


def mean_cosines(class_means: Tensor) -> Tensor:
    """Cosines between the mean features of different classes: (K, d) → (K(K−1)/2,).

    Inter-class separability is the mean of 1 − cosine. Source: Shalev et al. 2020, section 2.
    """
    classes = class_means.shape[0]
    first, second = torch.triu_indices(classes, classes, offset=1)
    return cosine_matrix(class_means)[first, second]


@dataclass(frozen=True)
class Compactness:
    """Means over images, scalars or one per group (G,); NaN where there is no such image.

    own: cosine to the vector of the true class. predicted: to that of the predicted class, the
    same where the prediction is right. norm: ‖x‖, and its standard deviation (1/n).
    """

    own: Tensor
    own_right: Tensor
    own_wrong: Tensor
    predicted: Tensor
    predicted_wrong: Tensor
    norm: Tensor
    norm_right: Tensor
    norm_wrong: Tensor
    norm_std: Tensor


_QUANTITIES = 3  # own cosine, predicted cosine, norm


def empty_compactness(
    classes: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ClassStatistics:
    """Where ``update_compactness_`` adds: one-dimensional statistics of 3 · K · 2 sets of images.

    Quantity q (own cosine, predicted cosine, norm) of class c is in set 2 (q K + c) where the
    prediction is right, and in the next one where it is wrong.
    """
    check_sizes("empty_compactness", classes=classes)
    sets = _QUANTITIES * 2 * classes
    return ClassStatistics.empty(sets, 1, pooled=False, device=device, dtype=dtype)


@torch.no_grad()
def update_compactness_(
    stats: ClassStatistics, features: Tensor, vectors: Tensor, labels: Tensor, predictions: Tensor
) -> ClassStatistics:
    """Add the cosines of features (N, d) to vectors (K, d) of their own and predicted classes.

    Labels and predictions are (N,). A feature or vector of length 0 has cosine 0.

    Source: Shalev et al. 2020, section 3 and Table 4; norms as in their released code.
    """
    classes = stats.classes // (2 * _QUANTITIES)
    check_features("update_compactness_", features)
    check_vectors("update_compactness_", vectors, classes, features.shape[1])
    for given in (labels, predictions):
        check_indices("update_compactness_", given, features.shape[0], classes)
    labels, predictions = labels.long(), predictions.long()
    x = features.to(stats.packed.dtype)
    norms = torch.linalg.vector_norm(x, dim=1)
    chosen = vectors[torch.stack([labels, predictions])].to(x.dtype)  # (2, N, d)
    lengths = norms * torch.linalg.vector_norm(chosen, dim=2)
    cosines = (x * chosen).sum(dim=2) / lengths.where(lengths > 0, 1.0)
    values = torch.cat([cosines.clamp(-1.0, 1.0), norms.unsqueeze(0)]).view(-1, 1)
    sets = 2 * labels + (labels != predictions)
    sets = torch.cat([sets, sets + 2 * classes, sets + 4 * classes])
    return update_(stats, values, sets)


def compactness(stats: ClassStatistics, groups: Tensor | None = None) -> Compactness:
    """Means over all images, or over those of each group of classes: groups (K,) → (G,) each.

    Groups count from 0; ``torch.arange(K)`` gives every class its own.
    """
    classes = stats.classes // (2 * _QUANTITIES)
    own, number = _numbered(groups, classes, stats.packed.device)
    quantities = torch.arange(_QUANTITIES, device=own.device).unsqueeze(1)
    cells = (quantities * number + own).flatten().repeat_interleave(2)  # without the outcome
    outcomes = torch.arange(2, device=own.device).repeat(cells.numel() // 2)
    union = regroup(stats, cells, _QUANTITIES * number)
    whole = _present_means(union).view(_QUANTITIES, number)
    split = _present_means(regroup(stats, 2 * cells + outcomes, 2 * _QUANTITIES * number))
    right, wrong = split.view(_QUANTITIES, number, 2).unbind(dim=2)
    std = (union.scatters / union.counts).sqrt().view(_QUANTITIES, number)
    values = [whole[0], right[0], wrong[0], whole[1], wrong[1], whole[2], right[2], wrong[2]]
    return Compactness(*(value[0] if groups is None else value for value in [*values, std[2]]))


@dataclass(frozen=True)
class FeatureNorms:
    """Mean and standard deviation (over images, 1/n) of ‖x‖, scalars or one per group (G,)."""

    mean: Tensor
    std: Tensor


@torch.no_grad()
def update_norms_(stats: ClassStatistics, features: Tensor, labels: Tensor) -> ClassStatistics:
    """Add ‖x‖ of features (N, d) to ``ClassStatistics.empty(K, 1, pooled=False)``."""
    check_features("update_norms_", features)
    dtype = stats.packed.dtype
    norms = torch.linalg.vector_norm(features.to(dtype), dim=1, keepdim=True)
    return update_(stats, norms, labels)


def feature_norm(stats: ClassStatistics, groups: Tensor | None = None) -> FeatureNorms:
    """Over all images, or over those of each group of classes: groups (K,) → (G,) each."""
    union = regroup(stats, *_numbered(groups, stats.classes, stats.packed.device))
    mean = _present_means(union).squeeze(1)
    std = (union.scatters / union.counts).sqrt()
    return FeatureNorms(mean[0], std[0]) if groups is None else FeatureNorms(mean, std)


def separability(stats: ClassStatistics) -> Tensor:
    """Mean of 1 − cos(μ_i, μ_j) over pairs of different classes, a scalar in [0, 2].

    Inter-class separability. From Σ_j μ_j/‖μ_j‖ alone: nothing K × K is computed.

    Source: Shalev et al. 2020, section 2.
    """
    return _separabilities(stats)[1].mean()


def class_separabilities(stats: ClassStatistics) -> Tensor:
    """Mean over j ≠ i of 1 − cos(μ_i, μ_j) per class i (K,), NaN for classes without a feature."""
    present, values = _separabilities(stats)
    return present.spread(values)


def _separabilities(stats: ClassStatistics) -> tuple[PresentClasses, Tensor]:
    """The classes with features, and their mean of 1 − cos over the other ones (C,)."""
    present = present_classes(stats)
    rows = unit(present.means)
    own = rows.square().sum(dim=1)  # 1, or 0 where a mean has no direction
    others = rows.shape[0] - 1
    if others < 1:
        return present, present.counts * torch.nan
    return present, 1 - (rows @ rows.sum(dim=0) - own) / others


def _present_means(stats: ClassStatistics) -> Tensor:
    """Means (K, d), NaN where there is nothing to take the mean of."""
    return torch.where(stats.counts.unsqueeze(1) > 0, stats.means, torch.nan)


def _numbered(groups: Tensor | None, classes: int, device: torch.device) -> tuple[Tensor, int]:
    """Groups (K,) and how many there are; all classes in one where none are given."""
    if groups is None:
        return torch.zeros(classes, dtype=torch.int64, device=device), 1
    return groups.to(device), int(groups.max()) + 1 if groups.numel() else 1
