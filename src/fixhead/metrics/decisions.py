"""Twins of accuracies, confusions, calibration and out-of-class detection.

Formulae are in ``fixhead.geometry``: ``accuracy``, ``correlation``, ``calibration`` and
``detection``. All tallies keep the same three numbers per class: in one
``torchmetrics.MetricCollection`` they are updated once.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat

from .._errors import RequestError
from ..geometry import calibration
from ..geometry.accuracy import class_counts, count_confusions_, vanished_classes
from ..geometry.class_cosines import cosine_matrix
from ..geometry.correlation import class_cosine_confusion, cosine_confusion
from ..geometry.detection import auroc, fpr_at
from ..geometry.nearest import decided
from ..geometry.statistics import check_choice, check_sizes
from ._states import (
    ExactMetric,
    KeptVectors,
    Per,
    TableMetric,
    Vectors,
    averaged,
    checked_per,
    pooled_groups,
)


class TallyMetric(TableMetric):
    """Images, predictions and right predictions per class (3, K).

    Args:
        classes: K.
        per: ``"all"``, ``"class"``, or each class's group (K,) counted from 0; a group's value is
            the mean over its classes, as published for many, medium and few shots.
    """

    higher_is_better = True

    class_counts: Tensor

    def __init__(self, classes: int, *, per: Per = "all", **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per(type(self).__name__, per, classes)
        counts = torch.zeros(3, classes, dtype=torch.int64)
        self.add_state("class_counts", counts, dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, K), or predictions (N,), with labels (N,)."""
        predictions = decided(type(self).__name__, logits, self.classes)
        self.class_counts += class_counts(labels, predictions, self.classes)

    def inputs(self) -> dict[str, Any]:
        return {"class_counts": self.class_counts}


class BalancedAccuracy(TallyMetric):
    """The mean class accuracy; with groups many-, medium- and few-shot accuracy.

    ``per=geometry.accuracy.shot_groups(training_counts)`` or ``range_groups(K)`` for the rules of
    Liu et al. 2019 and Yang et al. 2022.
    """

    measure, each = "balanced_accuracy", "accuracy"


class MacroF1(TallyMetric):
    """The mean of the classes' F1."""

    measure, each = "macro_f1", "f1"


class VanishedClasses(TallyMetric):
    """How many classes with images are predicted for none; per class 1 or 0, per group a share."""

    higher_is_better = False

    def compute(self) -> Tensor:
        gone = vanished_classes(self.class_counts)
        return averaged(gone.sum, gone.double, self.per)


class CosineConfusion(ExactMetric):
    """Spearman's ρ between cos(w_i, w_j) and #(i taken for j), over ordered pairs.

    A dict of ``cosine_confusion``, ``cosine_confusion_low`` and ``cosine_confusion_high`` (95 %),
    NaN where undefined; per class ρ alone (K,). Keeps a (K, K) count, so it is meant for up to
    some thousand classes. See ``geometry.correlation.cosine_confusion``.
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
            each = class_cosine_confusion(cosines, self.confusion)
            return averaged(lambda: each, lambda: each, self.per)
        correlation = cosine_confusion(cosines, self.confusion)
        values = {"": correlation.rho, "_low": correlation.low, "_high": correlation.high}
        return {
            f"cosine_confusion{name}": cosines.new_tensor(torch.nan if value is None else value)
            for name, value in values.items()
        }


Norm = Literal["expected", "maximum"]


class CalibrationError(ExactMetric):
    """Expected (ECE) or maximum calibration error; formulae in ``fixhead.geometry.calibration``.

    Args:
        classes: K.
        bins: of equal width over [0, 1].
        norm: ``"expected"`` or ``"maximum"``; both share their sums in a MetricCollection.
        per: ``"all"``, ``"class"``, or each class's group (K,); by true class, images pooled.
    """

    higher_is_better = False

    sums: Tensor

    def __init__(
        self,
        classes: int,
        *,
        bins: int = calibration.BINS,
        norm: Norm = "expected",
        per: Per = "all",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_sizes("CalibrationError", classes=classes, bins=bins)
        check_choice("CalibrationError", "norm", norm, get_args(Norm))
        self.classes, self.bins, self.norm = classes, bins, norm
        self.per = checked_per("CalibrationError", per, classes)
        self.add_state("sums", torch.zeros(3, classes, bins, dtype=dtype), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (N, K) with labels (N,)."""
        if logits.shape[-1] != self.classes:
            raise RequestError(
                f"CalibrationError needs logits (N, {self.classes}), got {tuple(logits.shape)}"
            )
        self.sums += calibration.calibration_sums(logits, labels, bins=self.bins)

    def compute(self) -> Tensor:
        groups = pooled_groups(self.per, self.classes)
        if self.norm == "expected":
            return calibration.expected_calibration_error(self.sums, groups)
        return calibration.maximum_calibration_error(self.sums, groups)


class OutOfClassDetection(ExactMetric):
    """AUROC and FPR at 95 % recall of a score that tells known classes from others.

    A dict of ``ood_auroc`` and ``ood_fpr95``: scalars, (K,) per class or (G,) per group, where
    the known images are those of the class or group, and the others always all of them.
    Scores come from ``geometry.detection.largest_cosine`` or ``energy``; one number per image is
    kept, which makes both values exact.
    """

    higher_is_better = True

    scores: list[Tensor]
    owners: list[Tensor]

    def __init__(self, classes: int, *, per: Per = "all", **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.per = checked_per("OutOfClassDetection", per, classes)
        self.set_dtype(torch.float64)  # what a process without an image sends
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("owners", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add scores (N,) with labels (N,); a label below 0 says that the class is none of K."""
        if scores.ndim != 1 or scores.shape != labels.shape or labels.is_floating_point():
            raise RequestError(
                "OutOfClassDetection needs scores (N,) and integer labels (N,), got "
                f"{tuple(scores.shape)} and {labels.dtype} {tuple(labels.shape)}"
            )
        self.scores.append(scores.detach().to(self.dtype))
        self.owners.append(labels.to(self.dtype))

    def compute(self) -> dict[str, Tensor]:
        scores, owners = dim_zero_cat(self.scores), dim_zero_cat(self.owners).long()
        other = scores[owners < 0]
        groups = pooled_groups(self.per, self.classes)
        if groups is None:
            known = [scores[owners >= 0]]
        else:
            own = torch.where(owners >= 0, groups.to(owners.device)[owners.clamp(min=0)], -1)
            known = [scores[own == g] for g in range(int(groups.max()) + 1)]
        detections = [_detection(part, other) for part in known]
        values = torch.stack(detections, dim=1)
        first, second = values[:, 0] if groups is None else values
        return {"ood_auroc": first, "ood_fpr95": second}


def _detection(known: Tensor, other: Tensor) -> Tensor:
    """(AUROC, FPR at 95 %), NaN where there is nothing to compare."""
    if known.numel() == 0 or other.numel() == 0:
        return known.new_full((2,), torch.nan)
    return torch.stack([auroc(known, other), fpr_at(known, other)])
