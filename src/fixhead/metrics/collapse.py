"""Twins of the neural-collapse functions; formulae and sources are in ``fixhead.geometry``.

All keep the same ``ClassStatistics``: in one ``torchmetrics.MetricCollection`` those with equal
``pooled`` and ``directions`` are updated once.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..geometry import compactness, duality, equiangular, variability
from ..geometry.duality import Centre
from ..geometry.seen import Weights
from ._states import ClassStatisticsMetric, KeptVectors, Vectors, averaged


class NC1(ClassStatisticsMetric):
    """tr(Σ_W Σ_B⁺)/K; see ``geometry.variability.nc1``. Keeps the (d, d) scatter."""

    higher_is_better = False

    def __init__(
        self, classes: int, features: int, *, weights: Weights = "classes", **options: Any
    ) -> None:
        super().__init__(classes, features, pooled=True, **options)
        self.weights: Weights = weights

    def compute(self) -> Tensor:
        return variability.nc1(self.statistics, weights=self.weights)


class TraceRatio(ClassStatisticsMetric):
    """tr Σ_W / tr Σ_B, per class tr Σ_c / tr Σ_B; see ``geometry.variability.trace_ratio``."""

    higher_is_better = False

    def __init__(
        self, classes: int, features: int, *, weights: Weights = "classes", **options: Any
    ) -> None:
        super().__init__(classes, features, **options)
        self.weights: Weights = weights

    def compute(self) -> Tensor:
        return averaged(
            lambda: variability.trace_ratio(self.statistics, weights=self.weights),
            lambda: variability.class_trace_ratios(self.statistics, weights=self.weights),
            self.per,
        )


class CDNV(ClassStatisticsMetric):
    """Class-distance normalised variance over pairs; see ``geometry.variability.cdnv``."""

    higher_is_better = False

    def compute(self) -> Tensor:
        return averaged(
            lambda: variability.cdnv(self.statistics),
            lambda: variability.class_cdnv(self.statistics),
            self.per,
        )


class Equinorm(ClassStatisticsMetric):
    """Std/mean of the norms of centred class means, per class norm/mean.

    See ``geometry.equiangular.equinorm``.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        return averaged(
            lambda: equiangular.equinorm(self.statistics),
            lambda: equiangular.relative_norms(self.statistics),
            self.per,
        )


class Equiangularity(ClassStatisticsMetric):
    """Cosines of centred class means against −1/(K−1); see ``geometry.equiangular``.

    A dict of ``equiangularity_std`` and ``equiangularity_deviation``; per class or group the
    deviation alone.
    """

    higher_is_better = False

    def compute(self) -> Tensor | dict[str, Tensor]:
        found = equiangular.equiangularity(self.statistics)
        if isinstance(self.per, str) and self.per == "all":
            return {"equiangularity_std": found.std, "equiangularity_deviation": found.deviation}
        return averaged(lambda: found.deviation, lambda: found.per_class, self.per)


class AgainstVectors(ClassStatisticsMetric):
    """Class means held against class vectors (K, d).

    Args:
        vectors: (K, d), or a function that returns them as they are now.
        centre: as in ``geometry.duality``; ``usual_centre`` by default.
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


class SelfDuality(AgainstVectors):
    """‖W/‖W‖ − M/‖M‖‖, per class its row; see ``geometry.duality.self_duality``."""

    higher_is_better = False
    usual_centre = "means"

    def compute(self) -> Tensor:
        given = self.statistics, self.vectors()
        return averaged(
            lambda: duality.self_duality(*given, centre=self.centre),
            lambda: duality.class_self_duality(*given, centre=self.centre),
            self.per,
        )


class Alignment(AgainstVectors):
    """Mean cosine of own mean to own vector, whatever the vectors; ``geometry.duality``."""

    higher_is_better = True
    usual_centre = "none"

    def compute(self) -> Tensor:
        given = self.statistics, self.vectors()
        return averaged(
            lambda: duality.alignment(*given, centre=self.centre),
            lambda: duality.alignments(*given, centre=self.centre),
            self.per,
        )


class GramDistance(AgainstVectors):
    """‖M Mᵀ/‖·‖ − W Wᵀ/‖·‖‖, per class its row; see ``geometry.duality.gram_distance``."""

    higher_is_better = False
    usual_centre = "none"

    def compute(self) -> Tensor:
        given = self.statistics, self.vectors()
        return averaged(
            lambda: duality.gram_distance(*given, centre=self.centre),
            lambda: duality.class_gram_distances(*given, centre=self.centre),
            self.per,
        )


class Separability(ClassStatisticsMetric):
    """Mean of 1 − cosine between class means; see ``geometry.compactness.separability``."""

    higher_is_better = True

    def compute(self) -> Tensor:
        return averaged(
            lambda: compactness.separability(self.statistics),
            lambda: compactness.class_separabilities(self.statistics),
            self.per,
        )
