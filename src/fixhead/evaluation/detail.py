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

from ..geometry import (
    calibration,
    compactness,
    confusion,
    duality,
    equiangular,
    nearest,
    tallies,
    variability,
)
from ..geometry.statistics import ClassStatistics, absorb_
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
        absorb_(self.statistics, unit(points) if self.directions else points, labels)
        compactness.absorb_compactness_(self.compact, points, vectors, labels, predictions)
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
    M = found.confusion
    return {
        "images": found.images,
        "accuracy": confusion.accuracy(M),
        "loss": found.loss,
        "balanced_accuracy": confusion.balanced_accuracy(M),
        "macro_f1": plain(confusion.macro_f1(M)),
        "per_class_accuracy": plain(confusion.class_accuracies(M)),
    }


def describe_calibration(detail: Detail) -> dict[str, Any]:
    """ECE and MCE over 15 bins of equal width, and the reliability diagram (B,)."""
    sums = detail.confidences
    diagram = calibration.reliability(sums)
    return {
        "bins": sums.shape[2],
        "expected_error": plain(calibration.expected_calibration_error(sums)),
        "maximum_error": plain(calibration.maximum_calibration_error(sums)),
        "share": plain(diagram.share),
        "confidence": plain(diagram.confidence),
        "accuracy": plain(diagram.accuracy),
    }


def describe_collapse(detail: Detail) -> dict[str, Any]:
    """Neural collapse 1 to 4, against the head's own vectors; ``of`` says of what.

    Formulae in ``geometry.variability``, ``.equiangular``, ``.duality`` and ``.nearest``.
    """
    stats, W = detail.statistics, detail.vectors
    angles = equiangular.equiangularity(stats)
    values = {
        "nc1": variability.nc1(stats),
        "trace_ratio": variability.trace_ratio(stats),
        "cdnv": variability.cdnv(stats),
        "equinorm": equiangular.equinorm(stats),
        "equiangularity_std": angles.std,
        "equiangularity_deviation": angles.deviation,
        "self_duality": duality.self_duality(stats, W),
        "alignment": duality.alignment(stats, W),
        "gram_distance": duality.gram_distance(stats, W),
        "nearest_mean_agreement": nearest.agreement(detail.agreements),
    }
    of = "directions" if detail.directions else "features"
    return {"of": of} | {name: plain(value) for name, value in values.items()}


def describe_compactness(detail: Detail) -> dict[str, Any]:
    """Mean cosines to the own and to the predicted vector, norms, and separability of means."""
    found = compactness.compactness(detail.compact)
    told = {name: plain(value) for name, value in vars(found).items()}
    return told | {"separability": plain(compactness.separability(detail.statistics))}


def never_predicted(detail: Detail, names: Sequence[str]) -> list[str]:
    """The classes that have images and are predicted for none of the set."""
    gone = tallies.never_predicted(tallies.tally_of(detail.evaluation.confusion))
    return [names[place] for place in gone.nonzero().flatten().tolist()]
