"""What may stand between the backbone's features and the class vectors."""

from __future__ import annotations

import torch
from torch import nn

from .._errors import RequestError
from .as_released import linear_rows

NECKS = ("none", "linear", "batchnorm", "mlp")


def parse_neck(text: str, features: int) -> tuple[str, int]:
    """``"linear:1024"`` → ("linear", 1024); without a width the features keep theirs.

    Raises:
        RequestError: an unknown neck, or a width that it cannot have.
    """
    name, colon, size = text.partition(":")
    if name not in NECKS:
        raise RequestError(f"neck must be one of {', '.join(NECKS)}, got {text!r}")
    if not colon:
        return name, features
    if name in ("none", "batchnorm"):
        raise RequestError(f"neck={name!r} keeps the size of the features, got {text!r}")
    if not size.isdecimal() or int(size) < 1:
        raise RequestError(f"neck needs a width of 1 or more after the colon, got {text!r}")
    return name, int(size)


def build_neck(
    name: str, features: int, width: int, generator: torch.Generator, dtype: torch.dtype
) -> nn.Module:
    """The map x (N, features) → (N, width).

    none       x
    linear     A x + a; ``width`` may exceed ``features``
    batchnorm  BatchNorm1d, affine: ``BN_H`` of Yang et al. 2022
    mlp        A₂ ReLU(A₁ x + a₁) + a₂, ``width`` hidden units

    Weights as nn.Linear's own initialisation, drawn from ``generator``.
    """
    if name == "none":
        return nn.Identity()
    if name == "batchnorm":
        return nn.BatchNorm1d(features, dtype=dtype)
    if name == "linear":
        return _linear(features, width, generator, dtype)
    hidden = _linear(features, width, generator, dtype)
    return nn.Sequential(hidden, nn.ReLU(), _linear(width, width, generator, dtype))


def _linear(features: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Linear:
    # On the meta device nn.Linear draws nothing from the global generator.
    layer = nn.Linear(features, width, device="meta", dtype=dtype)
    layer.weight = nn.Parameter(linear_rows(width, features, features, generator, dtype))
    layer.bias = nn.Parameter(linear_rows(1, features, width, generator, dtype)[0])
    return layer
