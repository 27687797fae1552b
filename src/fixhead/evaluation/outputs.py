"""One pass over a set: sums, hits or probabilities of what a model says of its images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..geometry.accuracy import confusion_matrix
from ..geometry.compactness import own_cosines
from ..training.step import EpochBatches

COSINE_BINS = 40
"""Bins of width 0.05 over [−1, 1]."""


class HeadLike(Protocol):
    """Class vectors (K, D); features (N, d) → what the vectors see (N, D) → logits (N, K)."""

    @property
    def vectors(self) -> Tensor: ...

    @property
    def logit_kind(self) -> str: ...

    bias: Any

    def project(self, features: Tensor) -> Tensor: ...

    def classify(self, points: Tensor) -> Tensor: ...


class ModelLike(Protocol):
    """A backbone and a head, as ``fixhead.training.Classifier`` holds them."""

    training: bool

    @property
    def head(self) -> HeadLike: ...

    def features(self, images: Tensor) -> Tensor: ...

    def train(self, mode: bool = True) -> Any: ...


@dataclass
class Evaluation:
    """RunningSums over the N images of a set, from which every figure follows.

    confusion (K, K) int64; cosine_counts (40,) of cos(x, w_y); feature_sums (K, d) float64;
    predictions (N,) int64, in the order of the batches.
    """

    classes: int
    confusion: Tensor
    cosine_counts: Tensor
    loss_sum: float = 0.0
    cosine_sum_right: float = 0.0
    cosine_sum_wrong: float = 0.0
    norm_sum: float = 0.0
    norm_square_sum: float = 0.0
    feature_sums: Tensor = field(default_factory=lambda: torch.zeros(0))
    predictions: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        return int(self.confusion.diagonal().sum())

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the head's logits, in nats."""
        return self.loss_sum / self.images


@torch.no_grad()
def evaluate_model(model: ModelLike, batches: EpochBatches, *, classes: int) -> Evaluation:
    """Run ``model`` in evaluation mode over ``batches`` once; its mode is put back after.

    The sums stay on the device until the end: nothing waits for it batch by batch.
    """
    with eval_mode(model):
        sums = RunningSums(classes, model.head.vectors)
        for images, labels in batches.epoch(0):
            points = model.head.project(model.features(images))
            sums.add(points, model.head.classify(points), model.head.vectors, labels)
    return sums.finish()


@torch.no_grad()
def hits(model: ModelLike, batches: EpochBatches) -> Tensor:
    """Which images are put into their own class: bool (N,), in the order of the batches."""
    with eval_mode(model):
        parts = [
            model.head.classify(model.head.project(model.features(images))).argmax(dim=-1) == labels
            for images, labels in batches.epoch(0)
        ]
    return torch.cat(parts).cpu()


@torch.no_grad()
def probabilities(model: ModelLike, batches: EpochBatches) -> Tensor:
    """softmax of the head's logits, (N, K) float32, in the order of the batches."""
    with eval_mode(model):
        parts = [
            model.head.classify(model.head.project(model.features(images))).float().softmax(dim=-1)
            for images, _ in batches.epoch(0)
        ]
    return torch.cat(parts).cpu()


@contextmanager
def eval_mode(model: ModelLike) -> Iterator[None]:
    """Evaluation mode inside; the model's own mode is put back after."""
    training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(training)


class RunningSums:
    """Running sums on the device, in float64 (float32 where a device has no float64)."""

    def __init__(self, classes: int, vectors: Tensor) -> None:
        wide = torch.float32 if vectors.device.type == "mps" else torch.float64
        zeros = torch.zeros(classes, vectors.shape[-1], dtype=wide, device=vectors.device)
        self.classes = classes
        self.confusion = zeros.new_zeros(classes, classes, dtype=torch.int64)
        self.counts = zeros.new_zeros(COSINE_BINS)
        self.scalars = zeros.new_zeros(5)
        self.features = zeros
        self.predictions: list[Tensor] = []

    def add(self, features: Tensor, logits: Tensor, vectors: Tensor, labels: Tensor) -> None:
        wide = self.scalars.dtype
        predictions = logits.argmax(dim=-1)
        self.predictions.append(predictions)
        right = predictions == labels
        cosines = own_cosines(features, vectors, labels)
        norms = features.to(wide).norm(dim=-1)
        self.confusion += confusion_matrix(labels, predictions, self.classes)
        self.counts += torch.histc(cosines.float(), bins=COSINE_BINS, min=-1.0, max=1.0)
        loss = cross_entropy(logits.float(), labels, reduction="none")
        self.scalars += torch.stack(
            [
                loss.to(wide).sum(),
                (cosines.to(wide) * right).sum(),
                (cosines.to(wide) * ~right).sum(),
                norms.sum(),
                norms.square().sum(),
            ]
        )
        self.features.index_add_(0, labels, features.to(wide))

    def finish(self) -> Evaluation:
        loss, right, wrong, norm, norm_square = self.scalars.tolist()
        return Evaluation(
            self.classes,
            self.confusion.cpu(),
            self.counts.round().long().cpu(),
            loss,
            right,
            wrong,
            norm,
            norm_square,
            self.features.cpu(),
            torch.cat(self.predictions).cpu(),
        )


def plain(value: Tensor | float) -> Any:
    """A number, or nested lists of numbers; None where it is not finite."""
    return _finite(value.tolist() if isinstance(value, Tensor) else value)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value if math.isfinite(value) else None
