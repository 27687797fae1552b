"""From features (N, d) and class vectors (K, d) to logits (N, K).

``dot``     z = S · W x + b                      what nn.Linear computes, times S
``cosine``  z = S · ⟨w, x⟩ / (‖w‖ ‖x‖) + b       Wang et al. 2017 (NormFace), eq. 6
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

__all__ = ["cosine", "dot", "unit"]

NORM_FLOOR = 1e-12
"""Rows shorter than this have no direction: they count as the zero vector."""


def unit(rows: Tensor, *, length: float | Tensor = 1.0) -> Tensor:
    """Rows (..., d) scaled to the given length: ``length · x / ‖x‖``, and 0 where ‖x‖ ≤ 1e-12.

    Computed in float32 (float64 for float64) whatever the input type. A row without a direction
    gets a zero gradient too: x / max(‖x‖, ε) would multiply it by 1/ε, which overflows float16.
    """
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    square = rows.square().sum(dim=-1, keepdim=True)
    directed = square > NORM_FLOOR**2
    # The masked square keeps 1/√0 out of the graph: inf · 0 would be NaN in the backward pass.
    inverse = torch.where(directed, square, 1.0).rsqrt() * directed
    return rows * (inverse * length)


def dot(
    features: Tensor, vectors: Tensor, *, scale: float | Tensor = 1.0, bias: Tensor | None = None
) -> Tensor:
    """Dot logits ``z = S · W x + b``: features (N, d), vectors (K, d), bias (K,) → (N, K).

    Source: Shalev et al. 2020, eq. 1; with S = 1 it is ``torch.nn.functional.linear`` itself.
    """
    if isinstance(scale, Tensor) or scale != 1.0:
        features = features * scale  # N·d products instead of N·K
    return linear(features, vectors, bias)


def cosine(
    features: Tensor,
    vectors: Tensor,
    *,
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    unit_vectors: bool = False,
) -> Tensor:
    """Cosine logits ``z = S · ⟨w, x⟩ / (‖w‖ ‖x‖) + b``: (N, d), (K, d), (K,) → (N, K).

    ``unit_vectors=True`` promises that ‖w‖ = 1, and skips that normalisation. Under autocast the
    normalisation stays in float32 and only the product runs in the lower precision.

    Source: Shalev et al. 2020, eq. 3; Wang et al. 2017 (NormFace), eq. 6.
    """
    directions = unit(features, length=scale)
    rows = vectors if unit_vectors else unit(vectors)
    return linear(directions.to(rows.dtype), rows, bias)
