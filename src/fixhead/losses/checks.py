"""What every loss asks of its arguments before it computes.

Shapes, types and devices are always checked: they are known without looking at a value. Values
(which label, which row, which class is wrong) are looked at by the losses themselves where looking
is free: on the CPU, outside ``torch.compile``, ``torch.export`` and ``torch.func.vmap``. On another
device a look would make the host wait for it at every step, so there ``check_labels``,
``check_probabilities`` and ``check_counts`` are left to be called once, on the data.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from .._errors import RequestError

Reduction = Literal["none", "mean", "sum"]
"""What becomes of losses (N,): themselves, their mean over the rows that count, or their sum."""

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


COSINE_SLACK = 1e-2
"""How far past ±1 rounding may carry a cosine (bfloat16 resolves 0.008 there)."""


def readable(values: Tensor) -> bool:
    """Whether values can be read here and now without waiting for a device."""
    if torch.compiler.is_compiling() or values.device.type != "cpu" or not values.numel():
        return False
    try:
        values[(0,) * values.ndim].item()
    except RuntimeError:  # under vmap, and of a fake tensor, there is no value to read
        return False
    return True


def require_matrix(name: str, matrix: Tensor, shape: str) -> None:
    if not isinstance(matrix, Tensor) or matrix.ndim != 2 or not matrix.is_floating_point():
        raise RequestError(
            f"{name} must be a floating-point tensor {shape}, got {_describe(matrix)}"
        )


def require_cosines(cosines: Tensor) -> None:
    """Cosines (N, K): on other logits a margin would mean nothing."""
    require_matrix("cosines", cosines, "(N, K)")
    if readable(cosines):
        low, high = torch.aminmax(cosines.detach())
        size = max(float(high), -float(low))
        if size > 1 + COSINE_SLACK:
            raise RequestError(
                f"cosines must lie in [-1, 1], got one of size {size:.6g}; a margin needs cosine "
                "logits before their scale: neither dot logits nor S * cosines"
            )


def require_tensor(labels: Tensor) -> None:
    """Refuse a list of labels, and whatever else has no shape."""
    if not isinstance(labels, Tensor):
        raise RequestError(
            "labels must be a tensor of integers (N,), or of probabilities (N, K), got "
            f"{type(labels).__name__}; torch.tensor(labels) makes one of a list"
        )


def require_targets(
    labels: Tensor, rows: int, classes: int, device: torch.device, ignore_index: int
) -> bool:
    """Labels (N,) of any integer type, or probabilities (N, K): whether it is the latter."""
    need = f"labels must be integers (N,) = ({rows},) or probabilities (N, K) = ({rows}, {classes})"
    if not isinstance(labels, Tensor) or not labels.is_floating_point():
        _require_whole(need, labels, rows, classes, device, ignore_index)
        return False
    _require_like(need, labels, (rows, classes), device)
    if ignore_index != IGNORE_INDEX:
        raise RequestError(
            f"ignore_index={ignore_index} needs labels (N,), got probabilities "
            f"{tuple(labels.shape)}; leave the ignored rows out of the batch"
        )
    if readable(labels):
        check_probabilities(labels)
    return True


def require_labels(
    labels: Tensor, rows: int, classes: int, device: torch.device, ignore_index: int
) -> None:
    """Labels (N,) only, for losses whose margin belongs to one class."""
    need = f"labels must be integers (N,) = ({rows},)"
    if isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2:
        raise RequestError(
            f"{need} because a margin belongs to one class, got {_describe(labels)}; with mixup, "
            "mix the losses: lam * loss(labels_a) + (1 - lam) * loss(labels_b)"
        )
    _require_whole(need, labels, rows, classes, device, ignore_index)


def _require_whole(
    need: str, labels: Tensor, rows: int, classes: int, device: torch.device, ignore_index: int
) -> None:
    whole = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    )
    if not whole:
        raise RequestError(f"{need}, got {_describe(labels)}")
    _require_like(need, labels, (rows,), device)
    if readable(labels):
        check_labels(labels, classes, ignore_index=ignore_index)


def _require_like(need: str, values: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    if tuple(values.shape) != shape:
        raise RequestError(f"{need}, got {_describe(values)}")
    if values.device != device:
        raise RequestError(f"{need} on {device}, got them on {values.device}; move them there")


def require_per_class(
    name: str, values: Tensor, classes: int, device: torch.device, *, whole: bool = False
) -> None:
    """One real number per class: (K,); integers too where ``whole``."""
    kind = "numbers" if whole else "floating-point numbers"
    need = f"{name} must be a tensor of {kind} (K,) = ({classes},)"
    real = isinstance(values, Tensor) and (
        values.is_floating_point()
        or (whole and not values.is_complex() and values.dtype != torch.bool)
    )
    if not real:
        raise RequestError(f"{need}, got {_describe(values)}")
    _require_like(need, values, (classes,), device)


def require_weight(weight: Tensor | None, classes: int, device: torch.device) -> None:
    """Class weights (K,), finite and ≥ 0, or none."""
    if weight is None:
        return
    require_per_class("weight", weight, classes, device)
    if readable(weight):
        wrong = ~((weight >= 0) & torch.isfinite(weight))
        if bool(wrong.any()):
            label = int(wrong.nonzero()[0])
            raise RequestError(
                "weight must be finite and >= 0 for every class, "
                f"got {float(weight[label]):g} for class {label}"
            )


def require_counts(counts: Tensor, classes: int, device: torch.device) -> None:
    """Counts (K,) of training images, every one above 0."""
    require_per_class("counts", counts, classes, device, whole=True)
    if readable(counts):
        check_counts(counts)


def require_number(name: str, value: float, low: float, high: float = math.inf) -> None:
    """A finite number, ``low ≤ value ≤ high``."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and low <= value <= high and value < math.inf):
        bounds = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise RequestError(f"{name} must be a finite number {bounds}, got {value!r}")


def require_positive(name: str, value: float) -> None:
    """A finite number above 0."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and 0 < value < math.inf):
        raise RequestError(f"{name} must be a finite number above 0, got {_describe(value)}")


def require_scale(scale: float | Tensor) -> None:
    """A finite number above 0, or a tensor of one such number (a learned scale)."""
    if not isinstance(scale, Tensor):
        return require_positive("scale", scale)
    if tuple(scale.shape) not in ((), (1,)) or not scale.is_floating_point():
        raise RequestError(f"scale must be one number above 0, got {_describe(scale)}")
    if readable(scale):
        require_positive("scale", scale.detach().item())
    return None


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} of {value.dtype}"
    return f"{value!r}"


def require_reduction(reduction: str) -> None:
    if reduction not in get_args(Reduction):
        raise RequestError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
