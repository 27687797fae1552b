"""What the measures ask of their arguments, and the precision they compute in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .._errors import RequestError

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_sizes(caller: str, **sizes: int) -> None:
    """Every size is a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise RequestError(f"{caller}() needs {name} >= 1, got {size!r}")


def check_features(caller: str, features: Tensor, size: int | None = None) -> None:
    """Floating features (N, d), with d = ``size`` where that is given."""
    shape = tuple(features.shape)
    if len(shape) != 2 or not features.is_floating_point():
        raise RequestError(
            f"{caller}() needs floating features (N, d), got {features.dtype} {shape}; "
            "flatten each image's feature to one row first"
        )
    if size is not None and shape[1] != size:
        raise RequestError(f"{caller}() needs features (N, {size}), got {shape}")


def check_indices(caller: str, labels: Tensor, rows: int, classes: int) -> None:
    """Integer labels (N,) in 0 … K − 1.

    The values are looked at on the CPU only. Elsewhere that would make every batch wait for the
    device; there the kernels' own bounds check stops a label that is out of range.
    """
    if labels.dtype not in _INTEGERS or tuple(labels.shape) != (rows,):
        raise RequestError(
            f"{caller}() needs integer labels ({rows},), one for each row, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if labels.device.type == "cpu" and rows:
        low, high = (int(value) for value in torch.aminmax(labels))
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise RequestError(
                f"{caller}() needs labels in 0 … {classes - 1} for classes={classes}, got {wrong}"
            )


def check_vectors(caller: str, vectors: Tensor, classes: int, size: int) -> None:
    """Floating class vectors (K, d)."""
    if tuple(vectors.shape) != (classes, size) or not vectors.is_floating_point():
        raise RequestError(
            f"{caller}() needs floating vectors (K, d) = ({classes}, {size}), "
            f"got {vectors.dtype} {tuple(vectors.shape)}"
        )


def check_choice(caller: str, name: str, value: str, choices: tuple[str, ...]) -> None:
    """``value`` is one of the words that ``name`` may be."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise RequestError(f"{caller}() needs {name} to be one of {known}, got {value!r}")


def widest(device: torch.device) -> torch.dtype:
    """Float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def wide(values: Tensor) -> Tensor:
    """``values`` without gradient in float64, on the CPU where their device has no float64."""
    values = values.detach()
    return (values.cpu() if values.device.type == "mps" else values).double()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products inside keep the type of their factors, whatever autocast is on outside."""
    if torch.amp.is_autocast_available(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield
