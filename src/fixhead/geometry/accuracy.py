"""Accuracies from three numbers per class, the confusion matrix, and groups of classes.

Class counts (3, K) hold images, predictions and right predictions of every class: sums that can be
added up, where a confusion matrix would take K².
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .statistics import check_indices, check_sizes, wide


@torch.no_grad()
def class_counts(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """Images, predictions and right predictions per class, (3, K) int64: sums to be added up.

    Of labels and predictions (N,). Nothing waits for the device.
    """
    check_sizes("class_counts", classes=classes)
    check_indices("class_counts", labels, labels.shape[0] if labels.ndim else 0, classes)
    check_indices("class_counts", predictions, labels.shape[0], classes)
    labels, predictions = labels.long(), predictions.long()
    rows = torch.cat([labels, predictions + classes, labels + 2 * classes])
    ones = torch.ones_like(labels)
    amounts = torch.cat([ones, ones, (labels == predictions).long()])
    counts = torch.zeros(3 * classes, dtype=torch.int64, device=labels.device)
    return counts.index_add_(0, rows, amounts).view(3, classes)


def class_counts_of(confusion: Tensor) -> Tensor:
    """The same from a confusion matrix (K, K) with true classes in rows."""
    return torch.stack([confusion.sum(dim=1), confusion.sum(dim=0), confusion.diagonal()])


def accuracy(counts: Tensor) -> Tensor:
    """Right predictions over images, a scalar, from class counts (3, K)."""
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


def vanished_classes(counts: Tensor) -> Tensor:
    """Classes that have images and are predicted for none at all: (3, K) → bool (K,).

    Source: de la Calle et al., Figure 3, classes left without a classification area.
    """
    return (counts[0] > 0) & (counts[1] == 0)


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
        check_indices("confusion_matrix", given, labels.shape[0] if labels.ndim else 0, classes)
    cells = labels.long() * classes + predictions.long()
    confusion.view(-1).index_add_(0, cells, torch.ones_like(cells))
    return confusion


SHOT_NAMES = ("many", "medium", "few")

YANG_RANGES = {10: (3, 7), 100: (36, 71), 1_000: (390, 835)}
"""K → where the medium and the tail classes begin, classes by falling training count.

Source: configurations of Yang et al. 2022 (CIFAR-10-LT, CIFAR-100-LT, ImageNet-LT).
"""


def shot_groups(training_counts: Tensor, *, many: int = 100, few: int = 20) -> Tensor:
    """0 for more than ``many`` training images, 2 for fewer than ``few``, 1 between: (K,) → (K,).

    Source: Liu et al. 2019 (large-scale long-tailed recognition): > 100, 20 … 100, < 20. Some
    released code counts exactly 100 among the many and exactly 20 among the few.
    """
    if few > many + 1:
        raise RequestError(
            f"shot_groups() needs few <= many + 1, got many={many}, few={few}; "
            "otherwise a count belongs to two groups"
        )
    if training_counts.ndim != 1 or training_counts.is_floating_point():
        raise RequestError(
            f"shot_groups() needs integer training counts (K,), "
            f"got {training_counts.dtype} {tuple(training_counts.shape)}"
        )
    return 1 - (training_counts > many).long() + (training_counts < few).long()


def range_groups(classes: int, *, medium: int | None = None, tail: int | None = None) -> Tensor:
    """0 for classes below ``medium``, 1 from there, 2 from ``tail`` on: (K,).

    For classes in the order of falling training counts. Without borders those of Yang et al.
    2022 for 10, 100 and 1,000 classes: 3 and 7, 36 and 71, 390 and 835.

    Raises:
        RequestError: no published borders for so many classes, or borders out of order.
    """
    if medium is None and tail is None and classes in YANG_RANGES:
        medium, tail = YANG_RANGES[classes]
    if medium is None or tail is None:
        known = ", ".join(str(count) for count in YANG_RANGES)
        raise RequestError(
            f"range_groups() knows published borders for {known} classes, got classes={classes}; "
            "give medium= and tail=, the first class of each"
        )
    if not 0 <= medium <= tail <= classes:
        raise RequestError(
            f"range_groups() needs 0 <= medium <= tail <= classes={classes}, "
            f"got medium={medium}, tail={tail}"
        )
    labels = torch.arange(classes)
    return (labels >= medium).long() + (labels >= tail).long()


def by_group(values: Tensor, groups: Tensor, number: int | None = None) -> Tensor:
    """Mean of values (K,) over each group's classes: groups (K,) → (G,).

    Classes whose value is NaN (no image, no feature) are left out, as the published group
    accuracies leave them out; NaN for a group without a class.
    """
    number = int(groups.max()) + 1 if number is None else number
    check_indices("by_group", groups, values.shape[0], number)
    groups = groups.to(values.device).long()
    known = ~values.isnan()
    sums = values.new_zeros(number).index_add_(0, groups, values.where(known, 0.0))
    return sums / values.new_zeros(number).index_add_(0, groups, known.to(values.dtype))
