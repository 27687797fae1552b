"""Every measure class by class, and over groups of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..geometry import calibration, compactness, duality, equiangular, nearest, tallies, variability
from ..geometry.correlation import group_correlation
from ..geometry.features import cosine_matrix
from ..geometry.groups import by_group
from .detail import Detail
from .plain import plain


def class_measures(detail: Detail) -> dict[str, Tensor]:
    """(K,) each; NaN where a class has no image, or the measure no value."""
    stats, W = detail.statistics, detail.vectors
    every = torch.arange(detail.evaluation.classes)
    counts = tallies.tally_of(detail.evaluation.confusion)
    close = compactness.compactness(detail.compact, every)
    return {
        "accuracy": tallies.class_accuracies(counts),
        "f1": tallies.class_f1(counts),
        "calibration_error": calibration.expected_calibration_error(detail.confidences, every),
        "trace_ratio": variability.class_trace_ratios(stats),
        "cdnv": variability.class_cdnv(stats),
        "relative_norm": equiangular.relative_norms(stats),
        "equiangularity_deviation": equiangular.equiangularity(stats).per_class,
        "self_duality": duality.class_self_duality(stats, W),
        "alignment": duality.alignments(stats, W),
        "gram_distance": duality.class_gram_distances(stats, W),
        "nearest_mean_agreement": nearest.class_agreements(detail.agreements),
        "own": close.own,
        "own_right": close.own_right,
        "own_wrong": close.own_wrong,
        "predicted": close.predicted,
        "separability": compactness.class_separabilities(stats),
        "norm": close.norm,
    }


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
