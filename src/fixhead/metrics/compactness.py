"""Twins of compactness and feature norms; formulae are in ``fixhead.geometry.compactness``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..geometry import compactness
from ..geometry.nearest import decided
from ..geometry.statistics import ClassStatistics
from ._states import (
    ExactMetric,
    KeptVectors,
    Per,
    Vectors,
    checked_per,
    keep_statistics,
    pooled_groups,
)


class Compactness(ExactMetric):
    """Mean cosines of features to their own and to their predicted class vector, and norms.

    A dict of ``own_cosine``, ``own_cosine_right``, ``own_cosine_wrong``, ``predicted_cosine``,
    ``predicted_cosine_wrong``, ``feature_norm_mean``, ``feature_norm_right``,
    ``feature_norm_wrong`` and ``feature_norm_std``: scalars, (K,) per class or (G,) per group, by
    true class.

    Args:
        classes: K.
        vectors: (K, d), or a function that returns them as they are now.
        per: ``"all"``, ``"class"``, or each class's group (K,); by true class, images pooled.
    """

    higher_is_better = True

    packed: Tensor

    def __init__(
        self,
        classes: int,
        vectors: Vectors,
        *,
        per: Per = "all",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per("Compactness", per, classes)
        self.vectors = KeptVectors(vectors)
        self._form = keep_statistics(self, compactness.empty_compactness(classes, dtype=dtype))

    def update(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add features (N, d); the prediction is the argmax of logits (N, K), or given (N,)."""
        predictions = decided("Compactness", logits, self.classes)
        stats = self._form.like(self.packed)
        compactness.update_compactness_(stats, features, self.vectors(), labels, predictions)

    def compute(self) -> dict[str, Tensor]:
        groups = pooled_groups(self.per, self.classes)
        means = compactness.compactness(self._form.like(self.packed), groups)
        return {
            "own_cosine": means.own,
            "own_cosine_right": means.own_right,
            "own_cosine_wrong": means.own_wrong,
            "predicted_cosine": means.predicted,
            "predicted_cosine_wrong": means.predicted_wrong,
            "feature_norm_mean": means.norm,
            "feature_norm_right": means.norm_right,
            "feature_norm_wrong": means.norm_wrong,
            "feature_norm_std": means.norm_std,
        }


class FeatureNorm(ExactMetric):
    """``feature_norm_mean`` and ``feature_norm_std`` of ‖x‖ over images, in a dict.

    Needs no class vectors; ``Compactness`` has the same values among others.

    Args:
        classes: K.
        per: ``"all"``, ``"class"``, or each class's group (K,); by true class, images pooled.
    """

    higher_is_better = None

    packed: Tensor

    def __init__(
        self, classes: int, *, per: Per = "all", dtype: torch.dtype = torch.float64, **options: Any
    ) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per("FeatureNorm", per, classes)
        empty = ClassStatistics.empty(classes, 1, pooled=False, dtype=dtype)
        self._form = keep_statistics(self, empty)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add the norms of features (N, d) with labels (N,)."""
        compactness.update_norms_(self._form.like(self.packed), features, labels)

    def compute(self) -> dict[str, Tensor]:
        groups = pooled_groups(self.per, self.classes)
        means = compactness.feature_norm(self._form.like(self.packed), groups)
        return {"feature_norm_mean": means.mean, "feature_norm_std": means.std}
