"""Twins of the accuracies; formulae are in ``fixhead.geometry.tallies`` and ``.correlation``.

All tallies keep the same three numbers per class: in one ``torchmetrics.MetricCollection`` they
are updated once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..geometry import tallies
from ..geometry.confusion import count_confusions_
from ..geometry.correlation import class_correlations, correlate
from ..geometry.features import cosine_matrix
from ..geometry.nearest import decided
from ._states import ExactMetric, KeptVectors, Per, Vectors, averaged, checked_per


class TallyMetric(ExactMetric):
    """Images, predictions and right predictions per class (3, K).

    Args:
        classes: K.
        per: ``"all"``, ``"class"``, or each class's group (K,) counted from 0; a group's value is
            the mean over its classes, as published for many, medium and few shots.
    """

    higher_is_better = True

    tally: Tensor

    def __init__(self, classes: int, *, per: Per = "all", **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per(type(self).__name__, per, classes)
        counts = torch.zeros(3, classes, dtype=torch.int64)
        self.add_state("tally", counts, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, K), or predictions (N,), with labels (N,)."""
        predictions = decided(type(self).__name__, logits, self.classes)
        self.tally += tallies.tally(labels, predictions, self.classes)


class BalancedAccuracy(TallyMetric):
    """The mean class accuracy; with groups many-, medium- and few-shot accuracy.

    ``per=geometry.groups.shot_groups(training_counts)`` or ``range_groups(K)`` for the rules of
    Liu et al. 2019 and Yang et al. 2022.
    """

    def compute(self) -> Tensor:
        return averaged(
            lambda: tallies.balanced_accuracy(self.tally),
            lambda: tallies.class_accuracies(self.tally),
            self.per,
        )


class MacroF1(TallyMetric):
    """The mean of the classes' F1."""

    def compute(self) -> Tensor:
        return averaged(
            lambda: tallies.macro_f1(self.tally), lambda: tallies.class_f1(self.tally), self.per
        )


class VanishedClasses(TallyMetric):
    """How many classes with images are predicted for none; per class 1 or 0, per group a share."""

    higher_is_better = False

    def compute(self) -> Tensor:
        gone = tallies.never_predicted(self.tally)
        return averaged(gone.sum, gone.double, self.per)


class CosineConfusion(ExactMetric):
    """Spearman's ρ between cos(w_i, w_j) and #(i taken for j), over ordered pairs.

    A dict of ``cosine_confusion``, ``cosine_confusion_low`` and ``cosine_confusion_high`` (95 %),
    NaN where undefined; per class ρ alone (K,). Keeps a (K, K) count, so it is meant for up to
    some thousand classes. See ``geometry.correlation.correlate``.
    """

    higher_is_better = None

    confusion: Tensor

    def __init__(self, classes: int, vectors: Vectors, *, per: Per = "all", **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per("CosineConfusion", per, classes)
        self.vectors = KeptVectors(vectors)
        counts = torch.zeros(classes, classes, dtype=torch.int64)
        self.add_state("confusion", counts, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, K), or predictions (N,), with labels (N,)."""
        count_confusions_(self.confusion, labels, decided("CosineConfusion", logits, self.classes))

    def compute(self) -> Tensor | dict[str, Tensor]:
        cosines = cosine_matrix(self.vectors())
        if isinstance(self.per, Tensor) or self.per == "class":
            each = class_correlations(cosines, self.confusion)
            return averaged(lambda: each, lambda: each, self.per)
        found = correlate(cosines, self.confusion)
        values = {"": found.rho, "_low": found.low, "_high": found.high}
        return {
            f"cosine_confusion{name}": cosines.new_tensor(torch.nan if value is None else value)
            for name, value in values.items()
        }
