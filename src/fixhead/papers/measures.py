"""What is measured of a trained model beyond a run's record, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..comparison.context import Context
from ..data import Split
from ..data.corruptions import PAPER, corrupted, table_for
from ..data.shifted_sets import load_shifted_set
from ..evaluation.details import describe_collapse, describe_compactness, examine
from ..evaluation.outputs import eval_mode, hits
from ..geometry.planes import principal_plane
from ..runs.records import Record
from ..training import Classifier

Measure = Callable[[Classifier, Context, int], Record]
"""A trained model, its context and its seed → plain JSON."""

POINTS_PER_CLASS = 30
CORRUPTED_IMAGES = 2_000
BATCH = 500


def compactness(model: Classifier, context: Context, seed: int) -> Record:
    """Cosines to the own and to the predicted vector, norms, separability; and neural collapse."""
    batches = _test(context, context.dataset.test, seed)
    detail = examine(model, batches, classes=len(context.dataset.classes))
    return describe_compactness(detail) | {"collapse": describe_collapse(detail)}


def training_collapse(model: Classifier, context: Context, seed: int) -> Record:
    """Neural collapse 1 to 4 of the training images, without augmentation."""
    batches = _test(context, context.dataset.train, seed)
    return describe_collapse(examine(model, batches, classes=len(context.dataset.classes)))


def embedding(model: Classifier, context: Context, seed: int) -> Record:
    """The first test images of each class as points of a plane (n, 2): their own where d = 2,
    else the principal plane of these features; with the class vectors there."""
    labels = context.dataset.test.labels
    chosen = [np.flatnonzero(labels == c)[:POINTS_PER_CLASS] for c in np.unique(labels)]
    split = context.dataset.test.take(np.concatenate(chosen))
    points = _features(model, _test(context, split, seed)).double()
    vectors = model.head.vectors.detach().cpu().double()
    kept = 1.0
    if points.shape[1] > 2:
        plane = principal_plane(points)
        points, vectors, kept = plane.project(points), vectors @ plane.axes.T, plane.kept
    return {
        "points": _rounded(points),
        "labels": split.labels.tolist(),
        "vectors": _rounded(vectors),
        "kept": kept,
    }


def corruptions(model: Classifier, context: Context, seed: int) -> Record:
    """Accuracy on the first test images under the paper's three corruptions, by severity 1 to 5."""
    test = context.dataset.test.take(range(min(CORRUPTED_IMAGES, len(context.dataset.test))))
    found: dict[str, list[float]] = {}
    for kind in PAPER:
        found[kind] = [
            _accuracy(model, context, _corrupted(test, kind, severity), seed)
            for severity in range(1, 6)
        ]
    return {"images": len(test), "table": table_for(context.dataset.image_size), "accuracy": found}


def cifar10_1(model: Classifier, context: Context, seed: int) -> Record:
    """Accuracy on CIFAR-10.1 (v6), a new test set for CIFAR-10 (Recht et al. 2018)."""
    given = context.comparison.data_dir
    folder = None if given is None else Path(given)
    extra = load_shifted_set("cifar10.1-v6", context.dataset, data_dir=folder)
    rate = _accuracy(model, context, extra.split, seed)
    return {"images": len(extra.split), "title": extra.title, "accuracy": rate}


MEASURES: dict[str, Measure] = {
    "compactness": compactness,
    "training-collapse": training_collapse,
    "embedding": embedding,
    "corruptions": corruptions,
    "cifar10.1": cifar10_1,
}


def _corrupted(test: Split, kind: str, severity: int) -> Split:
    made = corrupted(test, kind, severity)
    return Split(np.asarray(made.images), made.labels)


def _accuracy(model: Classifier, context: Context, split: Split, seed: int) -> float:
    return float(hits(model, _test(context, split, seed)).double().mean())


def _test(context: Context, split: Split, seed: int) -> Any:
    return context.batches(split, seed, BATCH, shuffle=False)


@torch.no_grad()
def _features(model: Classifier, batches: Any) -> Tensor:
    with eval_mode(model):
        found = [model.head.project(model.features(images)) for images, _ in batches.epoch(0)]
    return torch.cat(found).cpu()


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in points.tolist()]
