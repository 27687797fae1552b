"""Accuracies from three numbers per class, where a confusion matrix would take K²."""

from __future__ import annotations

import torch
from torch import Tensor

from ._inputs import check_labels, check_sizes, wide
from .groups import by_group


@torch.no_grad()
def tally(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """Images, predictions and right predictions per class, (3, K) int64: sums to be added up.

    Of labels and predictions (N,). Nothing waits for the device.
    """
    check_sizes("tally", classes=classes)
    check_labels("tally", labels, labels.shape[0] if labels.ndim else 0, classes)
    check_labels("tally", predictions, labels.shape[0], classes)
    labels, predictions = labels.long(), predictions.long()
    rows = torch.cat([labels, predictions + classes, labels + 2 * classes])
    ones = torch.ones_like(labels)
    amounts = torch.cat([ones, ones, (labels == predictions).long()])
    counts = torch.zeros(3 * classes, dtype=torch.int64, device=labels.device)
    return counts.index_add_(0, rows, amounts).view(3, classes)


def tally_of(confusion: Tensor) -> Tensor:
    """The same from a confusion matrix (K, K) with true classes in rows."""
    return torch.stack([confusion.sum(dim=1), confusion.sum(dim=0), confusion.diagonal()])


def accuracy(counts: Tensor) -> Tensor:
    """Right predictions over images, a scalar, from a tally (3, K)."""
    images, _, right = wide(counts).sum(dim=1).unbind()
    return right / images


def class_accuracies(counts: Tensor) -> Tensor:
    """Right predictions over images per class (K,), NaN for a class without an image."""
    images, _, right = wide(counts).unbind()
    return right / images


def balanced_accuracy(counts: Tensor) -> Tensor:
    """The mean of the class accuracies, over the classes that have an image; a scalar."""
    return class_accuracies(counts).nanmean()


def class_f1(counts: Tensor) -> Tensor:
    """F1 = 2 right / (images + predictions) per class (K,), NaN for a class that never occurs."""
    images, predicted, right = wide(counts).unbind()
    return 2 * right / (images + predicted)


def macro_f1(counts: Tensor) -> Tensor:
    """The mean of the classes' F1, over the classes that occur or are predicted; a scalar."""
    return class_f1(counts).nanmean()


def group_accuracies(counts: Tensor, groups: Tensor, number: int | None = None) -> Tensor:
    """The mean class accuracy of each group of classes: groups (K,) → (G,).

    With ``shot_groups`` many-, medium- and few-shot accuracy as published (Liu et al. 2019).
    """
    return by_group(class_accuracies(counts), groups, number)


def never_predicted(counts: Tensor) -> Tensor:
    """Classes that have images and are predicted for none at all: (3, K) → bool (K,).

    Source: de la Calle et al., Figure 3, classes left without a classification area.
    """
    return (counts[0] > 0) & (counts[1] == 0)
