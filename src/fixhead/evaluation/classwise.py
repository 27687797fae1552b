"""Every measure class by class, and over groups of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..geometry.accuracy import by_group
from ..geometry.class_cosines import cosine_matrix
from ..geometry.correlation import group_correlation
from .detail import Detail
from .plain import plain


def class_measures(detail: Detail) -> dict[str, Tensor]:
    """(K,) each; NaN where a class has no image, or the measure no value."""
    return measures.computed(measures.per_class(), detail.inputs, "class")


def describe_classes(detail: Detail) -> dict[str, Any]:
    """``class_measures`` with the images of each class."""
    images = detail.evaluation.confusion.sum(dim=1)
    return {"images": images.tolist()} | {
        name: plain(values) for name, values in class_measures(detail).items()
    }


def describe_groups(detail: Detail, groups: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The same over groups of classes, by name: the mean over the classes that have a value.

    ``spearman`` is the correlation of cosine and confusion inside the group. Classes in no group
    count nowhere.
    """
    classes, names = detail.evaluation.classes, list(groups)
    number = torch.full((classes,), len(names))
    for place, name in enumerate(names):
        number[list(groups[name])] = place
    told: dict[str, dict[str, Any]] = {name: {} for name in names}
    for measure, values in class_measures(detail).items():
        means = by_group(values.cpu(), number, len(names) + 1)
        for place, name in enumerate(names):
            told[name][measure] = plain(means[place])
    cosines = cosine_matrix(detail.vectors.cpu().double())
    for place, name in enumerate(names):
        found = group_correlation(cosines, detail.evaluation.confusion, number == place)
        told[name] |= {"classes": len(groups[name]), "spearman": asdict(found)}
    return told
