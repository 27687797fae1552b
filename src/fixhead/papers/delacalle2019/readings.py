"""What the figures and section 3 say of a run, read from its record."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ...runs.records import Record
from ..cells import LoadSetting
from .recipe import Recipe2019


def test_accuracy(row: Record) -> float:
    """Of the last epoch."""
    return float(row["last_epoch_accuracy"])


def train_accuracy(row: Record) -> float:
    """Of the last epoch, while it was trained."""
    return float(row["history"][-1]["train_accuracy"])


def without_area(row: Record) -> float:
    """Classes that no direction of a feature is given to."""
    return float(len(row["geometry"]["areas"]["vanished"]))


def turned_deg(row: Record) -> float:
    """Mean angle between a class vector after the first and after the last epoch, in degrees."""
    first, last = (
        torch.tensor(row["history"][at]["collapse"]["vectors"], dtype=torch.float64)
        for at in (0, -1)
    )
    cosines = torch.nn.functional.cosine_similarity(first, last, dim=1).clamp(-1, 1)
    return float(cosines.arccos().mean()) * 180 / math.pi


def class_counts(load: LoadSetting, seed: int) -> Record:
    """Training and test images per class, before and after thinning."""
    whole = replace(Recipe2019(), imbalance=None).comparison("guided", 0)
    parts = load(whole).dataset, load(Recipe2019().comparison("guided", 0)).dataset
    K = len(parts[0].classes)
    return {
        "classes": list(parts[0].classes),
        "balanced": parts[0].train.counts(K).tolist(),
        "thinned": parts[1].train.counts(K).tolist(),
        "test": parts[0].test.counts(K).tolist(),
    }
