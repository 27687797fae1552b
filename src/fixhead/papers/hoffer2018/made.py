"""Many made classes, and a short training on them: for a question that ten classes cannot ask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...heads import ClassificationHead
from ...runs.records import Record

SIZE, EACH, NOISE = 32, 30, 1.0
BATCH, RATE = 100, 0.1


@dataclass(frozen=True)
class Made:
    """Points (N, size) and labels (N,), for training and for the test."""

    train: Tensor
    test: Tensor
    labels: Tensor
    size: int = SIZE


def made_classes(draws: torch.Generator, classes: int) -> Made:
    """Gaussians around centres c_k ~ N(0, I): x = c_k + ``NOISE`` · N(0, I)."""
    centres = torch.randn(classes, SIZE, generator=draws)
    labels = torch.arange(classes).repeat_interleave(EACH)

    def points() -> Tensor:
        return centres[labels] + NOISE * torch.randn(len(labels), SIZE, generator=draws)

    return Made(points(), points(), labels)


def train_and_test(
    body: nn.Module, head: ClassificationHead, data: Made, *, epochs: int, order: torch.Generator
) -> Record:
    """SGD with momentum 0.9, cosine schedule; accuracy on the training and on the test points."""
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, RATE, momentum=0.9, weight_decay=1e-4)
    body.train(), head.train()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * epoch / epochs))
        shuffled = torch.randperm(len(data.labels), generator=order)
        for batch in torch.split(shuffled, BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(head.loss(body(data.train[batch]), data.labels[batch]))
            optimizer.step()
    body.eval(), head.eval()
    with torch.no_grad():
        right = {
            name: float((head(body(points)).argmax(dim=1) == data.labels).double().mean())
            for name, points in (("train", data.train), ("test", data.test))
        }
    return {f"{name}_accuracy": value for name, value in right.items()}
