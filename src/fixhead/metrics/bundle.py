"""The metrics of a last layer in one collection that shares what it can."""

from __future__ import annotations

from typing import Any

from torchmetrics import Metric, MetricCollection

from ._states import Vectors
from .accuracies import BalancedAccuracy, MacroF1, VanishedClasses
from .collapse import (
    CDNV,
    NC1,
    Alignment,
    Equiangularity,
    Equinorm,
    GramDistance,
    SelfDuality,
    Separability,
    TraceRatio,
)
from .confidences import CalibrationError
from .lengths import Compactness


def last_layer_metrics(
    classes: int, features: int, vectors: Vectors, *, directions: bool = False
) -> MetricCollection:
    """Collapse, compactness, norms, accuracies and calibration, to be updated once a batch:

        metrics = last_layer_metrics(K, d, lambda: head.vectors).to(device)
        metrics.update(features=x, logits=head(x), labels=y)      # nothing waits for the device
        values = metrics.compute(); metrics.reset()               # after the epoch

    Args:
        classes: K.
        features: d. The (d, d) scatter of NC1 costs N·d² products an epoch.
        vectors: (K, d), or a function that returns them as they are now.
        directions: collapse of x/‖x‖, which is what a cosine head sees, in place of x.
    """
    options: dict[str, Any] = {"pooled": True, "directions": directions}
    of_features: dict[str, Metric] = {
        twin.measure: twin(classes, features, **options)
        for twin in (NC1, TraceRatio, CDNV, Equinorm, Separability)
    } | {
        twin.measure: twin(classes, features, vectors, **options)
        for twin in (SelfDuality, Alignment, GramDistance)
    }
    of_features["equiangularity"] = Equiangularity(classes, features, **options)
    of_decisions: dict[str, Metric] = {
        "balanced_accuracy": BalancedAccuracy(classes),
        "macro_f1": MacroF1(classes),
        "vanished_classes": VanishedClasses(classes),
    }
    of_confidence: dict[str, Metric] = {
        "calibration_error": CalibrationError(classes),
        "maximum_calibration_error": CalibrationError(classes, norm="maximum"),
    }
    of_vectors: dict[str, Metric] = {"compactness": Compactness(classes, vectors)}
    kinds = (of_features, of_decisions, of_confidence, of_vectors)
    every: dict[str, Metric | MetricCollection] = {}
    for kind in kinds:
        every.update(kind)
    return MetricCollection(every, compute_groups=[[*kind] for kind in kinds])
