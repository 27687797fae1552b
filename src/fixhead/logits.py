"""From features (N, d) and class vectors (K, d) to logits (N, K).

``dot``     z = S · W x + b                      what nn.Linear computes, times S
``cosine``  z = S · ⟨w, x⟩ / (‖w‖ ‖x‖) + b       Wang et al. 2017 (NormFace)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear

from ._unit import unit

__all__ = ["cosine", "dot", "unit"]


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

    Source: Shalev et al. 2020, eq. 3; Wang et al. 2017 (NormFace).
    """
    directions = unit(features, length=scale)
    rows = vectors if unit_vectors else unit(vectors)
    return linear(directions.to(rows.dtype), rows, bias)
