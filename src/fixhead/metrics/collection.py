"""The metrics of a last layer in one collection that shares what it can, updated less often."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ..geometry.statistics import check_sizes
from ._states import Vectors
from .collapse import (
    CDNV,
    NC1,
    Alignment,
    Compactness,
    Equiangularity,
    Equinorm,
    GramDistance,
    SelfDuality,
    Separability,
    TraceRatio,
)
from .decisions import BalancedAccuracy, CalibrationError, MacroF1, VanishedClasses


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


class Buffered:
    """Holds batches back until they have ``rows`` rows, and updates a metric with all at once.

        metrics = Buffered(last_layer_metrics(K, d, head.vectors).to(device))
        metrics.update(features=x, logits=z, labels=y)     # most calls only keep the tensors
        values = metrics.compute(); metrics.reset()        # after the epoch; nothing is lost

    Values are those of the metric without it: its sums do not see where batches end. The one
    exception are vectors that are learned, which ``Compactness`` reads when held batches are
    passed on, not at each of them. Tensors that are held must not be changed in place.

    Raises:
        RequestError: rows below 1.
    """

    def __init__(self, metric: Metric | MetricCollection, rows: int = 2_048) -> None:
        check_sizes("Buffered", rows=rows)
        self.metric = metric
        self.rows = rows
        self._held: list[dict[str, Tensor]] = []
        self._count = 0

    def update(self, **inputs: Tensor) -> None:
        """Keep a batch, given by name as the metric's own ``update`` takes it."""
        batch = {name: values.detach() for name, values in inputs.items()}
        if self._held and self._held[0].keys() != batch.keys():
            self.flush()
        self._held.append(batch)
        self._count += len(next(iter(batch.values())))
        if self._count >= self.rows:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held."""
        held, self._held, self._count = self._held, [], 0
        if held:
            self.metric.update(**{n: torch.cat([batch[n] for batch in held]) for n in held[0]})

    def compute(self) -> Any:
        """The metric's value over every batch so far."""
        self.flush()
        return self.metric.compute()

    def reset(self) -> None:
        """Forget what is held, and reset the metric."""
        self._held, self._count = [], 0
        self.metric.reset()
