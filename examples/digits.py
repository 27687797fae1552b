"""What the examples share: real handwritten digits (8×8, from scikit-learn) and a small model."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

CLASSES = 10


class SmallNet(nn.Module):
    """Two convolutions and an MLP; its last layer is ``fc``."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.hidden = nn.Sequential(nn.Linear(128, 64), nn.ReLU())
        self.fc = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.hidden(self.body(images)))


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images (N, 1, 8, 8), labels (N,)) for training (1,500) and for testing (297)."""
    images, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.as_tensor(labels)
    return (x[:1500], y[:1500]), (x[1500:], y[1500:])


def batches(data: tuple[Tensor, Tensor], size: int, generator: torch.Generator):
    """Batches in an order drawn anew each time."""
    for chosen in torch.randperm(len(data[0]), generator=generator).split(size):
        yield data[0][chosen], data[1][chosen]


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """The share of images whose largest logit is that of their class."""
    return float((model.eval()(data[0]).argmax(1) == data[1]).double().mean())
