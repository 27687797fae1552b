"""The most probable classes, exactly, without the logits (N, K)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._errors import RequestError
from .entropy import as_vectors, in_half, to_points
from .vectors import ClassVectors


class Top(NamedTuple):
    """The k largest of every row, largest first: values (N, k) and their classes (N, k)."""

    values: Tensor
    classes: Tensor


@torch.no_grad()
def topk(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    k: int = 1,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    unit_vectors: bool = False,
) -> Top:
    """The k largest logits of features (N, d), and their classes; no gradient.

    Arguments as ``cross_entropy``. Of equal logits any may come first.

    Raises:
        RequestError: k outside 1 … K, and as ``cross_entropy``.
    """
    held = as_vectors(vectors, logits, unit_vectors, features)
    _require_k(k, held.classes)
    points = to_points(features, held, logits, scale)
    return Top(*held.scan(points, _wide(bias, points), k, in_half(features)))


@torch.no_grad()
def predict_proba(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    k: int = 1,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    unit_vectors: bool = False,
) -> Top:
    """The k largest probabilities softmax(z) and their classes: those among all K classes.

    Two walks over the classes: the largest logits, and log Σ_k e^{z_k}.
    """
    held = as_vectors(vectors, logits, unit_vectors, features)
    _require_k(k, held.classes)
    points = to_points(features, held, logits, scale)
    offset = _wide(bias, points)
    half = in_half(features)
    found, classes = held.scan(points, offset, k, half)
    nobody = torch.full((len(points),), -1, device=points.device)
    total, _ = held.rest(points, nobody, offset, half)
    return Top((found - total.unsqueeze(1)).exp().to(points.dtype), classes)


def margins(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    unit_vectors: bool = False,
) -> Tensor:
    """The largest logit less the second largest (N,): how far a decision is from a tie."""
    top = topk(
        features,
        vectors,
        2,
        logits=logits,
        scale=scale,
        bias=bias,
        unit_vectors=unit_vectors,
    )
    return top.values[:, 0] - top.values[:, 1]


def _require_k(k: int, classes: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= classes:
        raise RequestError(f"k must be a whole number from 1 to K = {classes}, got {k!r}")


def _wide(bias: Tensor | None, points: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(points.dtype)
