"""Small data and models for the training tests."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fixhead._seeds import forked, stream
from fixhead.backbones import Backbone, build
from fixhead.heads import ClassificationHead
from fixhead.training import Classifier


class MemoryBatches:
    """The loop's Batches protocol over tensors in memory, shuffled by epoch where asked."""

    def __init__(
        self, images: Tensor, labels: Tensor, batch_size: int, *, shuffle: bool, seed: int = 0
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.shuffle, self.seed = shuffle, seed
        self.asked: list[int] = []

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.asked.append(number)
        order = torch.arange(len(self.labels))
        if self.shuffle:
            order = torch.randperm(len(order), generator=stream(self.seed, "order", number))
        for chosen in order.split(self.batch_size):
            yield self.images[chosen], self.labels[chosen]


def digits(
    seed: int = 0, batch_size: int = 64
) -> tuple[MemoryBatches, MemoryBatches, MemoryBatches]:
    """Training (1,294), validation (143) and test (360) digits, 8×8, normalised."""
    pixels, targets = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = (images - images.mean()) / images.std()
    labels = torch.tensor(targets)
    order = torch.randperm(len(labels), generator=stream(0, "split"))
    parts = [(images[chosen], labels[chosen]) for chosen in order.split([1294, 143, 360])]
    train, validation, test = (
        MemoryBatches(*part, batch_size, shuffle=number == 0, seed=seed)
        for number, part in enumerate(parts)
    )
    return train, validation, test


def blobs(images: int = 60, classes: int = 3, *, shuffle: bool = True) -> MemoryBatches:
    """Easy 4×4 pictures: a class is a bright place, plus noise."""
    draws = stream(7, "blobs")
    labels = torch.arange(images) % classes
    pictures = 0.5 * torch.randn(images, 1, 4, 4, generator=draws)
    pictures.view(images, -1)[torch.arange(images), labels] += 2.0
    return MemoryBatches(pictures, labels, 16, shuffle=shuffle)


def tiny(
    seed: int = 0, head: str = "learned-dot", classes: int = 3, dropout: float = 0.2
) -> Classifier:
    """A network with everything a state has: BatchNorm, dropout, a linear map; d = 8."""
    with forked(seed, "backbone"):
        body = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.ReLU()
        )
    backbone = Backbone("tiny", body, 8, nonnegative=True)
    layer = ClassificationHead.from_preset(head, 8, classes, generator=stream(seed, "vectors"))
    return Classifier(backbone, layer)


def small_cnn(head: str, seed: int = 0) -> Classifier:
    backbone = build("small-cnn", channels=1, image_size=8, seed=seed)
    layer = ClassificationHead.from_preset(head, 64, 10, generator=stream(seed, "vectors"))
    return Classifier(backbone, layer)
