"""The classes that have features, centred: what the measures of collapse start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ._inputs import check_choice
from .statistics import ClassStatistics

Weights = Literal["classes", "images"]
"""Whether every class or every image counts the same in μ_G and Σ_B."""


@dataclass(frozen=True)
class SeenClasses:
    """The C classes that have at least one feature, in float64.

    labels (C,), counts n_c (C,), means μ_c (C, d), scatters s_c (C,), S (d, d) or None.
    """

    labels: Tensor
    counts: Tensor
    means: Tensor
    scatters: Tensor
    scatter: Tensor | None
    classes: int

    @property
    def variances(self) -> Tensor:
        """tr Σ_c = s_c / n_c per class (C,)."""
        return self.scatters / self.counts

    def shares(self, weights: Weights) -> Tensor:
        """What each class weighs (C,), together 1."""
        check_choice("shares", "weights", weights, get_args(Weights))
        share = torch.ones_like(self.counts) if weights == "classes" else self.counts
        return share / share.sum()

    def centred(self, weights: Weights = "classes") -> Tensor:
        """μ_c − μ_G (C, d), with μ_G = Σ_c share_c μ_c."""
        return self.means - self.shares(weights) @ self.means

    def spread(self, values: Tensor) -> Tensor:
        """Values (C,) → (K,) with NaN for the classes without a feature."""
        full = values.new_full((self.classes,), torch.nan)
        full[self.labels] = values
        return full

    def undefined(self) -> Tensor:
        """NaN, for what needs more classes than there are."""
        return self.means.new_full((), torch.nan)


def seen_classes(stats: ClassStatistics) -> SeenClasses:
    """The part of ``stats`` that belongs to classes with features."""
    stats = stats.wide()
    labels = stats.counts.nonzero().squeeze(1)
    return SeenClasses(
        labels,
        stats.counts[labels],
        stats.means[labels],
        stats.scatters[labels],
        stats.scatter,
        stats.classes,
    )
