"""Which classes are taken for which."""

from __future__ import annotations

import torch
from torch import Tensor

from ._inputs import check_labels, check_sizes


def confusion_matrix(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """M_ij = #{n : label i, predicted j}, (K, K) int64; rows are the true classes.

    Raises:
        RequestError: not integers (N,), or (on the CPU) one out of range.
    """
    check_sizes("confusion_matrix", classes=classes)
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=labels.device)
    return count_confusions_(confusion, labels, predictions)


@torch.no_grad()
def count_confusions_(confusion: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    """Add labels and predictions (N,) to M (K, K) in place, without waiting for the device."""
    classes = confusion.shape[0]
    for given in (labels, predictions):
        check_labels("confusion_matrix", given, labels.shape[0] if labels.ndim else 0, classes)
    cells = labels.long() * classes + predictions.long()
    confusion.view(-1).index_add_(0, cells, torch.ones_like(cells))
    return confusion


def accuracy(confusion: Tensor) -> float:
    """Σ_i M_ii / Σ_ij M_ij."""
    return float(confusion.diagonal().sum().double() / confusion.sum())


def class_accuracies(confusion: Tensor) -> Tensor:
    """M_ii / Σ_j M_ij per class (K,); NaN for a class without an image."""
    return confusion.diagonal().double() / confusion.sum(dim=1)


def balanced_accuracy(confusion: Tensor) -> float:
    """The mean of the class accuracies, over the classes that have an image."""
    return float(class_accuracies(confusion).nanmean())


def macro_f1(confusion: Tensor) -> float:
    """Mean over classes of 2 M_ii / (Σ_j M_ij + Σ_j M_ji); classes that never occur left out."""
    seen = (confusion.sum(dim=1) + confusion.sum(dim=0)).double()
    scores = 2 * confusion.diagonal().double() / seen
    return float(scores.nanmean())
