"""Classes in groups: many, medium and few training images, by the rules that were published."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from ._inputs import check_labels

SHOT_NAMES = ("many", "medium", "few")
RANGE_NAMES = ("head", "medium", "tail")

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
    check_labels("by_group", groups, values.shape[0], number)
    groups = groups.to(values.device).long()
    known = ~values.isnan()
    sums = values.new_zeros(number).index_add_(0, groups, values.where(known, 0.0))
    return sums / values.new_zeros(number).index_add_(0, groups, known.to(values.dtype))
