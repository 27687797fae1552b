"""What the records say of unequal classes: their counts, and accuracy by many, medium and few."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..data.splits import groups, is_imbalanced
from ..geometry.accuracy import class_accuracies, class_counts_of


def describe_tail(imbalance: str | None, dataset: Dataset) -> dict[str, Any]:
    """What the records say of unequal classes; empty where no class has twice another's images.

    ``imbalance`` is the rule as it was given (None where the data are unequal by themselves),
    ``class_counts`` (K,) the training images per class before the validation split, ``groups``
    the classes by name of their group. Rules as in ``fixhead.data.groups``.
    """
    counts = dataset.train.counts(len(dataset.classes))
    if not is_imbalanced(counts):
        return {}
    return {
        "imbalance": imbalance,
        "class_counts": counts.tolist(),
        "groups": {name: part.tolist() for name, part in groups(counts).items()},
    }


def group_accuracies(confusion: Tensor, members: dict[str, list[int]]) -> dict[str, float | None]:
    """``(1/|G|) Σ_{c ∈ G} acc_c`` for each group G, over its classes that have test images.

    From the confusion (K, K), true classes in rows; None for a group without a test image.
    """
    rates = class_accuracies(class_counts_of(confusion))
    accuracies = {}
    for name, classes in members.items():
        own = rates[torch.tensor(classes)]
        known = own[~own.isnan()]
        accuracies[name] = float(known.mean()) if len(known) else None
    return accuracies
