"""Everything about a trained last layer on one set: two passes, keeping sums only.

The first pass takes class means and scatter, cosines, confidences and confusions; the second holds
every decision against the nearest of those means (neural collapse 4, exactly). What is computed
from the sums is listed in ``fixhead.measures``; ``describe_…`` give it in the form of the records.
``CollapseMonitor`` follows collapse epoch by epoch, on the features of the validation pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..geometry import calibration, compactness, nearest
from ..geometry.accuracy import by_group, class_accuracies, class_counts_of, vanished_classes
from ..geometry.certificate import certify
from ..geometry.class_cosines import cosine_matrix
from ..geometry.compactness import mean_cosines
from ..geometry.correlation import cosine_confusion, group_cosine_confusion
from ..geometry.statistics import ClassStatistics, update_
from ..logits import unit
from ..training.step import EpochBatches
from .outputs import COSINE_BINS, Evaluation, HeadLike, ModelLike, RunningSums, eval_mode, plain
from .projections import sector_bounds


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
def examine(model: ModelLike, batches: EpochBatches, *, classes: int) -> Detail:
    """Run ``model`` in evaluation mode over ``batches`` twice; its mode is put back after."""
    directions = model.head.logit_kind != "dot"
    with eval_mode(model):
        first = _FirstPass(model, classes, directions)
        for images, labels in batches.epoch(0):
            first.add(model.head.project(model.features(images)), labels)
        agreements = torch.zeros(2, classes, dtype=torch.int64, device=first.right[0].device)
        for images, labels in batches.epoch(0):
            points = model.head.project(model.features(images))
            rows = unit(points) if directions else points
            nearest_labels = nearest.nearest_means(rows, first.statistics)
            logits = model.head.classify(points)
            agreements += nearest.agreement_counts(logits, nearest_labels, labels, classes)
    return first.finish(agreements.cpu())


class _FirstPass:
    """The running sums of the first pass."""

    def __init__(self, model: ModelLike, classes: int, directions: bool) -> None:
        self.head, self.classes, self.directions = model.head, classes, directions
        vectors = model.head.vectors
        device = vectors.device
        self.plain = RunningSums(classes, vectors)
        self.statistics = ClassStatistics.empty(classes, vectors.shape[1], device=device)
        self.compact = compactness.empty_compactness(classes, device=device)
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


def accuracies(evaluation: Evaluation) -> dict[str, Any]:
    """Accuracy, loss (nats), balanced accuracy, macro-F1 and accuracy by class."""
    counts = class_counts_of(evaluation.confusion)
    values = measures.computed(measures.of_part("accuracy"), {"class_counts": counts})
    return {
        "images": evaluation.images,
        "loss": evaluation.loss,
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
    return [names[index] for index in gone.nonzero().flatten().tolist()]


def class_measures(detail: Detail) -> dict[str, Tensor]:
    """(K,) each; NaN where a class has no image, or the measure no value."""
    return measures.computed(measures.per_class(), detail.inputs, "class")


def describe_classes(detail: Detail) -> dict[str, Any]:
    """``class_measures`` with the images of each class."""
    images = detail.evaluation.confusion.sum(dim=1)
    return {"images": images.tolist()} | {
        name: plain(values) for name, values in class_measures(detail).items()
    }


def describe_groups(detail: Detail, groups: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The same over groups of classes, by name: the mean over the classes that have a value.

    ``spearman`` is the correlation of cosine and confusion inside the group. Classes in no group
    count nowhere.
    """
    classes, names = detail.evaluation.classes, list(groups)
    number = torch.full((classes,), len(names))
    for index, name in enumerate(names):
        number[list(groups[name])] = index
    described: dict[str, dict[str, Any]] = {name: {} for name in names}
    for measure, values in class_measures(detail).items():
        means = by_group(values.cpu(), number, len(names) + 1)
        for index, name in enumerate(names):
            described[name][measure] = plain(means[index])
    cosines = cosine_matrix(detail.vectors.cpu().double())
    for index, name in enumerate(names):
        correlation = group_cosine_confusion(cosines, detail.evaluation.confusion, number == index)
        described[name] |= {"classes": len(groups[name]), "spearman": asdict(correlation)}
    return described


MATRIX_LIMIT = 500
"""Above so many classes a record leaves the K × K matrices out, and says so."""


def describe_geometry(
    evaluation: Evaluation, vectors: Tensor, *, construction: str, scale: float
) -> dict[str, Any]:
    """Certificate, class cosines, confusion, their correlation, compactness and separability.

    Keys as in the field ``geometry`` of a run's record; unknown values are None.
    """
    vectors = vectors.detach().cpu().double()
    small = evaluation.classes <= MATRIX_LIMIT
    cosines = cosine_matrix(vectors) if small else None
    return {
        "certificate": certify(vectors, construction=construction).to_dict(),
        "class_cosines": None if cosines is None else _rounded(cosines),
        "confusion": evaluation.confusion.tolist() if small else None,
        "left_out": None if small else f"matrices are kept up to {MATRIX_LIMIT} classes",
        "spearman": None
        if cosines is None
        else asdict(cosine_confusion(cosines, evaluation.confusion)),
        "own_cosine": _own_cosine(evaluation),
        "other_cosine": _other_cosine(evaluation) if small else None,
        "feature_norm": _feature_norm(evaluation),
        "scale": scale,
    }


def _own_cosine(evaluation: Evaluation) -> dict[str, Any]:
    right, total = evaluation.right, evaluation.images
    return {
        "edges": _edges(),
        "counts": evaluation.cosine_counts.tolist(),
        "mean": (evaluation.cosine_sum_right + evaluation.cosine_sum_wrong) / total,
        "mean_correct": evaluation.cosine_sum_right / right if right else None,
        "mean_wrong": evaluation.cosine_sum_wrong / (total - right) if right < total else None,
    }


def _other_cosine(evaluation: Evaluation) -> dict[str, Any] | None:
    counts = evaluation.confusion.sum(dim=1)
    present = counts > 0
    if int(present.sum()) < 2:
        return None
    means = evaluation.feature_sums[present] / counts[present].unsqueeze(1)
    cosines = mean_cosines(means)
    histogram = torch.histc(cosines.float(), bins=COSINE_BINS, min=-1.0, max=1.0)
    return {
        "edges": _edges(),
        "counts": histogram.long().tolist(),
        "mean": float(cosines.mean()),
    }


def _feature_norm(evaluation: Evaluation) -> dict[str, float]:
    mean = evaluation.norm_sum / evaluation.images
    variance = evaluation.norm_square_sum / evaluation.images - mean**2
    return {"mean": mean, "std": math.sqrt(max(variance, 0.0))}


def _edges() -> list[float]:
    return [round(-1 + 2 * step / COSINE_BINS, 4) for step in range(COSINE_BINS + 1)]


def _rounded(matrix: Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.tolist()]


MAX_CLASSES = 2_000
"""Above so many classes the pairs of class means would cost more than an epoch's end may."""


MAX_POINTS = 400
"""So many features of two dimensions are kept of an epoch."""


class CollapseMonitor:
    """NC1 to NC3 against the head's own vectors as they are now; and where D = 2 the pictures.

    ``of`` says whether of features or, for heads that see no length, of their directions. For
    D = 2: the vectors, their sectors, and some of the features with their labels, the same images
    after every epoch where the pass keeps its order.
    """

    def __init__(self, head: HeadLike, classes: int) -> None:
        vectors = head.vectors
        self._head = head
        self._directions = head.logit_kind != "dot"
        self._seen = False
        self._statistics = ClassStatistics.empty(classes, vectors.shape[1], device=vectors.device)
        self._plane: list[tuple[Tensor, Tensor]] | None = [] if vectors.shape[1] == 2 else None

    @torch.no_grad()
    def add(self, points: Tensor, labels: Tensor) -> None:
        self._seen = True
        update_(self._statistics, unit(points) if self._directions else points, labels)
        if self._plane is not None:
            self._plane.append((points, labels))

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        stats, W = self._statistics, self._head.vectors.detach()
        row: dict[str, Any] = {"of": "directions" if self._directions else "features"}
        if self._seen:
            inputs = {"statistics": stats, "vectors": W}
            values = measures.computed(measures.by_epoch(), inputs)
            row |= {name: plain(value) for name, value in values.items()}
        if self._plane is not None:
            row["vectors"] = plain(W.double().cpu())
            row["sectors"] = sector_bounds(
                W, self._head.logit_kind, bias=self._head.bias is not None
            )
            row |= sample(self._plane)
        return row


def sample(parts: Sequence[tuple[Tensor, Tensor]], most: int = MAX_POINTS) -> dict[str, Any]:
    """``points`` and ``labels`` of at most ``most`` images, evenly spaced over a pass in parts."""
    if not parts:
        return {}
    points, labels = (torch.cat(side).cpu() for side in zip(*parts, strict=True))
    step = -(-len(labels) // most)
    rows = points[::step].tolist()
    return {
        "points": [[float(f"{value:.4g}") for value in row] for row in rows],
        "labels": labels[::step].tolist(),
    }
