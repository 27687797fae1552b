"""Features (N, d) against the vectors of their own classes, for labels or for probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from ._request import require_matrix, require_targets

LENGTH_FLOOR = 1e-8
"""Lengths count as at least this (the released code's clamp): a zero feature still gets a pull."""


def members_of(
    labels: Tensor, soft: bool, dtype: torch.dtype, ignore_index: int
) -> tuple[Tensor, Tensor | None]:
    """Classes (N,) that are safe to index with and the counted rows; or targets (N, K)."""
    if soft:
        return labels.to(dtype), None
    classes = labels.to(torch.int64)
    counted = classes != ignore_index
    return torch.where(counted, classes, 0), counted


def looked_at(vectors: Tensor, members: Tensor, dtype: torch.dtype) -> Tensor:
    """The vectors that are looked at: own ones (N, d) for labels, all (K, d) for targets."""
    rows = vectors if members.is_floating_point() else F.embedding(members, vectors)
    return rows.to(dtype)


def held_lengths(rows: Tensor) -> Tensor:
    """|x| of each row, a constant for the gradient, and never 0."""
    lengths: Tensor = torch.linalg.vector_norm(rows.detach(), dim=1)
    return lengths.clamp(min=LENGTH_FLOOR)


def dots(features: Tensor, rows: Tensor, soft: bool) -> Tensor:
    """Products (N,) with the own vectors, or (N, K) with all."""
    if not soft:
        return (features * rows).sum(dim=1)
    if not torch.amp.is_autocast_available(features.device.type):
        return features @ rows.T
    with torch.autocast(features.device.type, enabled=False):  # 1 − cos needs its digits
        return features @ rows.T


def require_pair(features: Tensor, vectors: Tensor, labels: Tensor, ignore_index: int) -> bool:
    """Features (N, d), vectors (K, d) and labels that fit: whether those are probabilities."""
    require_matrix("features", features, "(N, d)")
    require_matrix("vectors", vectors, "(K, d)")
    rows, size = features.shape
    classes, width = vectors.shape
    if width != size:
        raise RequestError(
            f"vectors must be (K, d) = (K, {size}) like features ({rows}, {size}), "
            f"got {tuple(vectors.shape)}"
        )
    if vectors.device != features.device:
        raise RequestError(
            f"vectors must be on {features.device} like features, got {vectors.device}"
        )
    return require_targets(labels, rows, classes, features.device, ignore_index)
