"""The most probable classes, exactly, without the logits (N, K)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._errors import RequestError
from .ops import takes_bf16
from .sharded import ShardedVectors
from .vectors import ClassVectors, as_class_vectors


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
    group: Any = None,
) -> Top:
    """The k largest logits of features (N, d), and their classes; no gradient.

    Arguments as ``linear_cross_entropy``. Of equal logits any may come first. With a ``group`` of
    processes that share the classes, each is given its own, and gets the largest of all.

    Raises:
        RequestError: k outside 1 … K, and as ``linear_cross_entropy``.
    """
    if group is not None:
        vectors = ShardedVectors(vectors, group, unit_rows=unit_vectors)
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    _require_k(k, W.classes)
    projected = W.project(features, logits, scale)
    offset = _like(bias, projected)
    return Top(*W.topk(projected, offset, k, bf16_matmul=takes_bf16(features)))


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
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    _require_k(k, W.classes)
    projected = W.project(features, logits, scale)
    offset, bf16 = _like(bias, projected), takes_bf16(features)
    values, classes = W.topk(projected, offset, k, bf16_matmul=bf16)
    none = torch.full((len(projected),), -1, device=projected.device)
    lse, _ = W.negatives_lse(projected, none, offset, bf16_matmul=bf16)
    return Top((values - lse.unsqueeze(1)).exp().to(projected.dtype), classes)


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


def _like(bias: Tensor | None, projected: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(projected.dtype)
