"""Twins of the measures of collapse, each made from its entry of ``fixhead.measures``.

Formulae and sources are in ``fixhead.geometry``. All keep the same ``ClassStatistics``: in one
``torchmetrics.MetricCollection`` those with equal ``pooled`` and ``directions`` are updated once.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..geometry import equiangular
from ..geometry.duality import Centre
from ..geometry.seen import Weights
from ..measures import MEASURES
from ._states import ClassStatisticsMetric, KeptVectors, Vectors, averaged


class StatisticsMeasure(ClassStatisticsMetric):
    """A measure that class statistics give; subclasses name its entry of the table.

    ``each`` names the entry of the values by class, where that is another one.
    """

    measure: ClassVar[str]
    each: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if hasattr(cls, "measure"):
            cls.higher_is_better = MEASURES[cls.measure].higher_is_better

    def compute(self) -> Any:
        inputs = self.inputs()
        options = self.options()
        whole, each = MEASURES[self.measure].whole, MEASURES[self.each or self.measure].each
        assert whole is not None
        if each is None:
            return whole(inputs, **options)
        return averaged(lambda: whole(inputs, **options), lambda: each(inputs, **options), self.per)

    def inputs(self) -> dict[str, Any]:
        """What the measure is computed from, by the names of the table."""
        return {"statistics": self.statistics}

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the function."""
        return {}


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
    """tr(Σ_W Σ_B⁺)/K; see ``geometry.variability.nc1``. Keeps the (d, d) scatter."""

    measure = "nc1"

    def __init__(self, classes: int, features: int, **options: Any) -> None:
        super().__init__(classes, features, **{**options, "pooled": True})


class TraceRatio(Weighted):
    """tr Σ_W / tr Σ_B, per class tr Σ_c / tr Σ_B; see ``geometry.variability.trace_ratio``."""

    measure = "trace_ratio"


class CDNV(StatisticsMeasure):
    """Class-distance normalised variance over pairs; see ``geometry.variability.cdnv``."""

    measure = "cdnv"


class Equinorm(StatisticsMeasure):
    """Std/mean of the norms of centred class means, per class norm/mean.

    See ``geometry.equiangular.equinorm``.
    """

    measure, each = "equinorm", "relative_norm"


class Separability(StatisticsMeasure):
    """Mean of 1 − cosine between class means; see ``geometry.compactness.separability``."""

    measure = "separability"


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


class AgainstVectors(StatisticsMeasure):
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

    def inputs(self) -> dict[str, Any]:
        return super().inputs() | {"vectors": self.vectors()}

    def options(self) -> dict[str, Any]:
        return {"centre": self.centre}


class SelfDuality(AgainstVectors):
    """‖W/‖W‖ − M/‖M‖‖, per class its row; see ``geometry.duality.self_duality``."""

    measure, usual_centre = "self_duality", "means"


class Alignment(AgainstVectors):
    """Mean cosine of own mean to own vector, whatever the vectors; ``geometry.duality``."""

    measure, usual_centre = "alignment", "none"


class GramDistance(AgainstVectors):
    """‖M Mᵀ/‖·‖ − W Wᵀ/‖·‖‖, per class its row; see ``geometry.duality.gram_distance``."""

    measure, usual_centre = "gram_distance", "none"
