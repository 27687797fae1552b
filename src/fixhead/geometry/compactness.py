"""Compact within a class, separate between classes: features against the class vectors.

Cosines and norms are averaged over images by true class and by outcome (right or wrong), in a
``ClassStatistics`` of their own: one pass, and mergeable as that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..logits import unit
from ._inputs import check_features, check_labels, check_vectors
from .merging import regroup
from .seen import SeenClasses, seen_classes
from .statistics import ClassStatistics, absorb_


@dataclass(frozen=True)
class Compactness:
    """Mean cosines of features to class vectors, scalars or one per group (G,).

    own: to the vector of the true class. predicted: to that of the predicted class, the same
    where the prediction is right. NaN where no image is right, wrong, or there at all.
    """

    own: Tensor
    own_right: Tensor
    own_wrong: Tensor
    predicted: Tensor
    predicted_wrong: Tensor


def empty_cosines(
    classes: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ClassStatistics:
    """Where ``absorb_cosines_`` adds: rows 2c (right) and 2c + 1 (wrong); own, predicted."""
    return ClassStatistics.empty(2 * classes, 2, pooled=False, device=device, dtype=dtype)


@torch.no_grad()
def absorb_cosines_(
    stats: ClassStatistics, features: Tensor, vectors: Tensor, labels: Tensor, predictions: Tensor
) -> ClassStatistics:
    """Add the cosines of features (N, d) to vectors (K, d) of their own and predicted classes.

    Labels and predictions are (N,). Source: Shalev et al. 2020, section 3 and Table 4.
    """
    classes = stats.classes // 2
    check_features("absorb_cosines_", features)
    check_vectors("absorb_cosines_", vectors, classes, features.shape[1])
    for given in (labels, predictions):
        check_labels("absorb_cosines_", given, features.shape[0], classes)
    labels, predictions = labels.long(), predictions.long()
    directions = unit(features)
    cosines = [
        (directions * unit(vectors[chosen])).sum(dim=1).clamp(-1.0, 1.0)
        for chosen in (labels, predictions)
    ]
    outcomes = 2 * labels + (labels != predictions)
    return absorb_(stats, torch.stack(cosines, dim=1), outcomes)


def compactness(stats: ClassStatistics, groups: Tensor | None = None) -> Compactness:
    """Means over all images, or over those of each group of classes: groups (K,) → (G,) each.

    Groups count from 0; ``torch.arange(K)`` gives every class its own.
    """
    own, number = _numbered(groups, stats.classes // 2, stats.packed.device)
    halves = torch.stack([2 * own, 2 * own + 1], dim=1).flatten()
    split = _present_means(regroup(stats, halves, 2 * number)).view(number, 2, 2)
    whole = _present_means(regroup(stats, halves // 2, number))
    values = [whole[:, 0], split[:, 0, 0], split[:, 1, 0], whole[:, 1], split[:, 1, 1]]
    return Compactness(*(value[0] if groups is None else value for value in values))


@dataclass(frozen=True)
class FeatureNorms:
    """Mean and standard deviation (over images, 1/n) of ‖x‖, scalars or one per group (G,)."""

    mean: Tensor
    std: Tensor


@torch.no_grad()
def absorb_norms_(stats: ClassStatistics, features: Tensor, labels: Tensor) -> ClassStatistics:
    """Add ‖x‖ of features (N, d) to ``ClassStatistics.empty(K, 1, pooled=False)``."""
    check_features("absorb_norms_", features)
    dtype = stats.packed.dtype
    norms = torch.linalg.vector_norm(features.to(dtype), dim=1, keepdim=True)
    return absorb_(stats, norms, labels)


def feature_norms(stats: ClassStatistics, groups: Tensor | None = None) -> FeatureNorms:
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
    seen, values = _separabilities(stats)
    return seen.spread(values)


def _separabilities(stats: ClassStatistics) -> tuple[SeenClasses, Tensor]:
    """The classes with features, and their mean of 1 − cos over the other ones (C,)."""
    seen = seen_classes(stats)
    rows = unit(seen.means)
    own = rows.square().sum(dim=1)  # 1, or 0 where a mean has no direction
    others = rows.shape[0] - 1
    if others < 1:
        return seen, seen.counts * torch.nan
    return seen, 1 - (rows @ rows.sum(dim=0) - own) / others


def _present_means(stats: ClassStatistics) -> Tensor:
    """Means (K, d), NaN where there is nothing to take the mean of."""
    return torch.where(stats.counts.unsqueeze(1) > 0, stats.means, torch.nan)


def _numbered(groups: Tensor | None, classes: int, device: torch.device) -> tuple[Tensor, int]:
    """Groups (K,) and how many there are; all classes in one where none are given."""
    if groups is None:
        return torch.zeros(classes, dtype=torch.int64, device=device), 1
    return groups.to(device), int(groups.max()) + 1 if groups.numel() else 1
