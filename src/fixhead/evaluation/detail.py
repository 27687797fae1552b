"""Everything about a trained last layer on one set: two passes, keeping sums only.

The first pass takes class means and scatter, cosines, confidences and confusions; the second holds
every decision against the nearest of those means (neural collapse 4, exactly).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..geometry import calibration, compactness, nearest
from ..geometry.accuracy import class_accuracies, class_counts_of, vanished_classes
from ..geometry.statistics import ClassStatistics, update_
from ..logits import unit
from .evaluate import Batches, Evaluation, Model, Sums, undisturbed
from .plain import plain


@dataclass(frozen=True)
class Detail:
    """What two passes over N images came to.

    statistics, compact: as ``geometry`` keeps them; confidences (3, K, B); agreements (2, K);
    right bool (N,), in the order of the batches. ``directions`` says that collapse is that of
    x/‖x‖, which is all that a cosine head sees.
    """

    evaluation: Evaluation
    statistics: ClassStatistics
    compact: ClassStatistics
    confidences: Tensor
    agreements: Tensor
    right: Tensor
    vectors: Tensor
    directions: bool

    @property
    def inputs(self) -> dict[str, Any]:
        """What the table of measures computes from, by the names it uses."""
        return {
            "statistics": self.statistics,
            "compact": self.compact,
            "vectors": self.vectors,
            "class_counts": class_counts_of(self.evaluation.confusion),
            "confidences": self.confidences,
            "agreements": self.agreements,
            "each_class": torch.arange(self.evaluation.classes),
        }


@torch.no_grad()
def examine(model: Model, batches: Batches, *, classes: int) -> Detail:
    """Run ``model`` in evaluation mode over ``batches`` twice; its mode is put back after."""
    directions = model.head.logit_kind != "dot"
    with undisturbed(model):
        first = _First(model, classes, directions)
        for images, labels in batches.epoch(0):
            first.add(model.head.project(model.features(images)), labels)
        agreements = torch.zeros(2, classes, dtype=torch.int64, device=first.right[0].device)
        for images, labels in batches.epoch(0):
            points = model.head.project(model.features(images))
            rows = unit(points) if directions else points
            found = nearest.nearest_means(rows, first.statistics)
            logits = model.head.classify(points)
            agreements += nearest.agreement_counts(logits, found, labels, classes)
    return first.finish(agreements.cpu())


class _First:
    """The running sums of the first pass."""

    def __init__(self, model: Model, classes: int, directions: bool) -> None:
        self.head, self.classes, self.directions = model.head, classes, directions
        vectors = model.head.vectors
        place = vectors.device
        self.plain = Sums(classes, vectors)
        self.statistics = ClassStatistics.empty(classes, vectors.shape[1], device=place)
        self.compact = compactness.empty_compactness(classes, device=place)
        self.confidences: Tensor | float = 0.0
        self.right: list[Tensor] = []

    def add(self, points: Tensor, labels: Tensor) -> None:
        logits, vectors = self.head.classify(points), self.head.vectors
        predictions = logits.argmax(dim=-1)
        self.plain.add(points, logits, vectors, labels)
        update_(self.statistics, unit(points) if self.directions else points, labels)
        compactness.update_compactness_(self.compact, points, vectors, labels, predictions)
        self.confidences = self.confidences + calibration.calibration_sums(logits, labels)
        self.right.append(predictions == labels)

    def finish(self, agreements: Tensor) -> Detail:
        assert isinstance(self.confidences, Tensor)
        return Detail(
            self.plain.finish(),
            self.statistics,
            self.compact,
            self.confidences.cpu(),
            agreements,
            torch.cat(self.right).cpu(),
            self.head.vectors.detach(),
            self.directions,
        )


def accuracies(found: Evaluation) -> dict[str, Any]:
    """Accuracy, loss (nats), balanced accuracy, macro-F1 and accuracy by class."""
    counts = class_counts_of(found.confusion)
    values = measures.computed(measures.of_part("accuracy"), {"class_counts": counts})
    return {
        "images": found.images,
        "loss": found.loss,
        **{name: plain(value) for name, value in values.items()},
        "per_class_accuracy": plain(class_accuracies(counts)),
    }


def describe_calibration(detail: Detail) -> dict[str, Any]:
    """ECE and MCE over 15 bins of equal width, and the reliability diagram (B,)."""
    diagram = calibration.reliability(detail.confidences)
    return {
        "bins": detail.confidences.shape[2],
        **_whole("calibration", detail),
        "share": plain(diagram.share),
        "confidence": plain(diagram.confidence),
        "accuracy": plain(diagram.accuracy),
    }


def describe_collapse(detail: Detail) -> dict[str, Any]:
    """Neural collapse 1 to 4, against the head's own vectors; ``of`` says of what."""
    return {"of": "directions" if detail.directions else "features", **_whole("collapse", detail)}


def describe_compactness(detail: Detail) -> dict[str, Any]:
    """Mean cosines to the own and to the predicted vector, norms, and separability of means."""
    return _whole("compactness", detail)


def _whole(part: measures.Part, detail: Detail) -> dict[str, Any]:
    """The measures of a record's part, of all images together."""
    values = measures.computed(measures.of_part(part), detail.inputs)
    return {name: plain(value) for name, value in values.items()}


def never_predicted(detail: Detail, names: Sequence[str]) -> list[str]:
    """The classes that have images and are predicted for none of the set."""
    gone = vanished_classes(class_counts_of(detail.evaluation.confusion))
    return [names[place] for place in gone.nonzero().flatten().tolist()]
