"""Twins of the measures of features against class vectors: collapse, compactness, lengths.

Each is made from its entry of ``fixhead.measures``.

Formulae and sources are in ``fixhead.geometry``. All keep the same ``ClassStatistics``: in one
``torchmetrics.MetricCollection`` those with equal ``pooled`` and ``directions`` are updated once.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..geometry import collapse, compactness, nearest
from ..geometry.collapse import Centre
from ..geometry.nearest import decided
from ..geometry.statistics import ClassStatistics, Weights, present_classes, update_
from ..logits import unit
from ._states import (
    ClassStatisticsMetric,
    ExactMetric,
    KeptVectors,
    Per,
    TableMetric,
    Vectors,
    averaged,
    checked_per,
    keep_statistics,
    pooled_groups,
)


class StatisticsMeasure(ClassStatisticsMetric, TableMetric):
    """A measure that class statistics give."""

    def inputs(self) -> dict[str, Any]:
        return {"statistics": self.statistics}


class Weighted(StatisticsMeasure):
    """A measure with the choice ``weights`` of ``geometry``: by classes or by images."""

    def __init__(
        self, classes: int, features: int, *, weights: Weights = "classes", **options: Any
    ) -> None:
        super().__init__(classes, features, **options)
        self.weights: Weights = weights

    def options(self) -> dict[str, Any]:
        return {"weights": self.weights}


class NC1(Weighted):
    """tr(Σ_W Σ_B⁺)/K; see ``geometry.collapse.nc1``. Keeps the (d, d) scatter."""

    measure = "nc1"

    def __init__(self, classes: int, features: int, **options: Any) -> None:
        super().__init__(classes, features, **{**options, "pooled": True})


class TraceRatio(Weighted):
    """tr Σ_W / tr Σ_B, per class tr Σ_c / tr Σ_B; see ``geometry.collapse.trace_ratio``."""

    measure = "trace_ratio"


class CDNV(StatisticsMeasure):
    """Class-distance normalised variance over pairs; see ``geometry.collapse.cdnv``."""

    measure = "cdnv"


class Equinorm(StatisticsMeasure):
    """Std/mean of the norms of centred class means, per class norm/mean.

    See ``geometry.collapse.equinorm``.
    """

    measure, each = "equinorm", "relative_norm"


class Separability(StatisticsMeasure):
    """Mean of 1 − cosine between class means; see ``geometry.compactness.separability``."""

    measure = "separability"


class Equiangularity(ClassStatisticsMetric):
    """Cosines of centred class means against −1/(K−1); see ``geometry.collapse.equiangularity``.

    A dict of ``equiangularity_std`` and ``equiangularity_deviation``; per class or group the
    deviation alone.
    """

    higher_is_better = False

    def compute(self) -> Tensor | dict[str, Tensor]:
        angles = collapse.equiangularity(self.statistics)
        if isinstance(self.per, str) and self.per == "all":
            return {"equiangularity_std": angles.std, "equiangularity_deviation": angles.deviation}
        return averaged(lambda: angles.deviation, lambda: angles.per_class, self.per)


class AgainstVectors(StatisticsMeasure):
    """Class means held against class vectors (K, d).

    Args:
        vectors: (K, d), or a function that returns them as they are now.
        centre: as in ``geometry.collapse``; ``usual_centre`` by default.
    """

    usual_centre: ClassVar[Centre]

    def __init__(
        self,
        classes: int,
        features: int,
        vectors: Vectors,
        *,
        centre: Centre | None = None,
        **options: Any,
    ) -> None:
        super().__init__(classes, features, **options)
        self.vectors = KeptVectors(vectors)
        self.centre: Centre = self.usual_centre if centre is None else centre

    def inputs(self) -> dict[str, Any]:
        return super().inputs() | {"vectors": self.vectors()}

    def options(self) -> dict[str, Any]:
        return {"centre": self.centre}


class SelfDuality(AgainstVectors):
    """‖W/‖W‖ − M/‖M‖‖, per class its row; see ``geometry.collapse.self_duality``."""

    measure, usual_centre = "self_duality", "means"


class Alignment(AgainstVectors):
    """Mean cosine of own mean to own vector, whatever the vectors; ``geometry.collapse``."""

    measure, usual_centre = "alignment", "none"


class GramDistance(AgainstVectors):
    """‖M Mᵀ/‖·‖ − W Wᵀ/‖·‖‖, per class its row; see ``geometry.collapse.gram_distance``."""

    measure, usual_centre = "gram_distance", "none"


class NearestMeanAgreement(ExactMetric):
    """NC4, exactly: the head's decisions against the nearest of the *final* class means.

    The second of two passes. The first one takes the means:

        statistics = first.gathered()    # of any ClassStatisticsMetric; or class_statistics()
        metric = NearestMeanAgreement(statistics)
        metric.update(features, head(features), labels)    # batch by batch

    Args:
        statistics: of all features; of unit rows if ``directions``.
        directions: compare x/‖x‖, as a cosine head does.
        per: ``"all"``, ``"class"``, or each class's group (K,); by true class, images pooled.
    """

    higher_is_better = True

    counts: Tensor
    means: Tensor
    owners: Tensor

    def __init__(
        self,
        statistics: ClassStatistics,
        *,
        directions: bool = False,
        per: Per = "all",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        present = present_classes(statistics)
        self.classes = statistics.classes
        self.directions = directions
        self.per = checked_per("NearestMeanAgreement", per, self.classes)
        self.register_buffer("means", present.means.to(statistics.packed.dtype), persistent=False)
        self.register_buffer("owners", present.labels, persistent=False)
        counts = torch.zeros(2, self.classes, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Compare decisions by the head's own logits (N, K) with the nearest means of features."""
        rows = unit(features) if self.directions else features
        nearest_labels = self.owners[nearest.nearest_rows(rows, self.means, self.means.mean(dim=0))]
        self.counts += nearest.agreement_counts(logits, nearest_labels, labels, self.classes)

    def compute(self) -> Tensor:
        return agreement_per(self.counts, self.per)


class PreviousEpochAgreement(ExactMetric):
    """NC4 in one pass, against the class means of the epoch *before*; NaN in the first epoch.

    Not the exact value: means and features move between the two epochs. At an epoch's end call

        value = metric.compute()
        metric.next_epoch()          # its means become the reference, its counts are cleared

    ``reset`` clears the epoch at hand and keeps the reference. The arguments are those of
    ``ClassStatisticsMetric``.
    """

    higher_is_better = True

    packed: Tensor
    counts: Tensor
    reference: Tensor
    origin: Tensor

    def __init__(
        self,
        classes: int,
        features: int,
        *,
        directions: bool = False,
        per: Per = "all",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.classes = classes
        self.directions = directions
        self.per = checked_per("PreviousEpochAgreement", per, classes)
        empty = ClassStatistics.empty(classes, features, pooled=False, dtype=dtype)
        self._form = keep_statistics(self, empty)
        counts = torch.zeros(2, classes, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")
        unknown = torch.full((classes, features), torch.nan, dtype=dtype)
        self.register_buffer("reference", unknown)
        self.register_buffer("origin", unknown[0].clone())

    def update(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Compare with the reference, and absorb features (N, d) for the next one."""
        rows = unit(features) if self.directions else features
        update_(self._form.like(self.packed), rows, labels)
        nearest_labels = nearest.nearest_rows(rows, self.reference, self.origin)
        counts = nearest.agreement_counts(logits, nearest_labels, labels, self.classes)
        self.counts += counts * ~self.origin.isnan().any()

    def compute(self) -> Tensor:
        return agreement_per(self.counts, self.per)

    def next_epoch(self) -> None:
        """Make the means of the epoch at hand, of all processes, the reference, and reset.

        A class without a feature in this epoch has no reference in the next.
        """
        with self.sync_context(should_sync=self.sync_on_compute):
            stats = self._form.like(self.packed).wide()
            present = (stats.counts > 0).unsqueeze(1)
            reference = torch.where(present, stats.means, torch.nan)
        self.reference = reference.to(self.reference)
        self.origin = self.reference.nanmean(dim=0)
        self.reset()


def agreement_per(counts: Tensor, per: Per) -> Tensor:
    """The share of images that agree: of all, of each class, or of each group's images."""
    if isinstance(per, Tensor):
        groups = per.to(counts.device).long()
        pooled = counts.new_zeros(2, int(groups.max()) + 1).index_add_(1, groups, counts)
        return nearest.class_nearest_mean_agreement(pooled)
    return (
        nearest.nearest_mean_agreement(counts)
        if per == "all"
        else nearest.class_nearest_mean_agreement(counts)
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
