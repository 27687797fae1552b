"""Checks that look at values: which label, which row, which class is wrong.

The losses run them by themselves where looking is free: on the CPU, outside ``torch.compile``,
``torch.export`` and ``torch.func.vmap``. On another device a look would make the host wait for
it at every step, so there they are left to be called once, on the data, before training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError

__all__ = ["IGNORE_INDEX", "check_counts", "check_labels", "check_probabilities"]

IGNORE_INDEX = -100
"""The label of a row that takes no part in a loss (torch's own default)."""


def check_labels(labels: Tensor, classes: int, *, ignore_index: int = IGNORE_INDEX) -> None:
    """Every label (N,) is in 0 … K − 1, or is ``ignore_index``.

    Raises:
        RequestError: naming the first label that is not, and its place.
    """
    labels = labels.to(torch.int64)  # uint8 would take -100 for 156
    if labels.numel():
        low, high = torch.aminmax(labels)
        if int(low) >= 0 and int(high) < classes:
            return
    wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if bool(wrong.any()):
        place = int(wrong.nonzero()[0])
        raise RequestError(
            f"labels must lie in 0 ... {classes - 1} (or be ignore_index={ignore_index}), "
            f"got label {int(labels[place])} at position {place}; "
            f"number the classes from 0, or build the head for more classes"
        )


def check_probabilities(targets: Tensor) -> None:
    """Every row of targets (N, K) is ≥ 0 and sums to 1, to 1e-4 (or to the resolution of halves).

    Raises:
        RequestError: naming the first row (and class) that is not.
    """
    targets = targets.detach()
    wrong = ~(targets >= 0)  # NaN counts as wrong
    if bool(wrong.any()):
        row, column = wrong.nonzero()[0].tolist()
        raise RequestError(
            f"targets (N, K) must be probabilities >= 0, got {float(targets[row, column]):g} "
            f"for class {column} in row {row}"
        )
    sums = targets.sum(dim=1, dtype=torch.float64)
    off = (sums - 1).abs() > max(1e-4, torch.finfo(targets.dtype).eps)
    if bool(off.any()):
        row = int(off.nonzero()[0])
        raise RequestError(
            "targets (N, K) must be probabilities that sum to 1 in every row, got a sum of "
            f"{float(sums[row]):.6g} in row {row}; divide each row by its sum"
        )


def check_counts(counts: Tensor) -> None:
    """Every class has a count (K,) that is finite and above 0.

    Raises:
        RequestError: naming the first class that has not.
    """
    wrong = ~((counts > 0) & torch.isfinite(counts))
    if bool(wrong.any()):
        label = int(wrong.nonzero()[0])
        raise RequestError(
            f"counts must be finite and above 0 for every class, got {float(counts[label]):g} "
            f"for class {label}; a class without training images has no prior: leave it out"
        )
