"""From features (N, d) and class vectors (K, d) to logits (N, K).

``dot``     z = S · W x + b                      what nn.Linear computes, times S
``cosine``  z = S · ⟨w, x⟩ / (‖w‖ ‖x‖) + b       Wang et al. 2017 (NormFace)

``unit`` makes rows of a given length, in two passes forward and three backward.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.nn.functional import linear

NORM_FLOOR = 1e-12
"""Rows no longer than this have no direction: they count as the zero vector."""


def unit(rows: Tensor, *, length: float | Tensor = 1.0) -> Tensor:
    """Rows (..., d) scaled to the given length: ``length · x / ‖x‖``, and 0 where ‖x‖ ≤ 1e-12.

    Computed in float32 (float64 for float64) whatever the input type. A row without a direction
    gets a zero gradient too: x / max(‖x‖, ε) would multiply it by 1/ε, which overflows float16.
    """
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    if torch.compiler.is_compiling() or being_traced():
        return rows * _factor(rows, length)[0]  # the compiler fuses the passes by itself
    if not isinstance(length, Tensor):
        length = rows.new_full((), length)  # made on the device: nothing is copied
    scaled: Tensor = _Unit.apply(rows, length)  # type: ignore[no-untyped-call]
    return scaled


def being_traced() -> bool:
    """Whether ``torch.jit.trace`` runs: sizes are tensors then, which no ``if`` may look at."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _factor(rows: Tensor, length: float | Tensor) -> tuple[Tensor, Tensor]:
    """(length / ‖x‖, 1 / ‖x‖), (..., 1) each, and 0 for rows without a direction."""
    square = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).square()
    directed = square > NORM_FLOOR**2
    # The masked square keeps 1/√0 out of the graph: inf · 0 would be NaN in the backward pass.
    inverse = torch.where(directed, square, 1.0).rsqrt() * directed
    return inverse * length, inverse


class _Unit(torch.autograd.Function):
    """y = a x with a = S/‖x‖. With u = x/‖x‖: dx = a (g − u ⟨u, g⟩), dS = Σ ⟨u, g⟩.

    Autograd's own chain of a norm, a quotient and a product reads the rows twice as often.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, length: Tensor) -> Tensor:
        return rows * _factor(rows, length)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, length = ctx.saved_tensors
        factor, inverse = _factor(rows, length)
        along = torch.linalg.vecdot(rows, gradient).unsqueeze(-1)  # ⟨x, g⟩
        own = scale = None
        if ctx.needs_input_grad[0]:
            own = torch.addcmul(gradient, rows, -inverse.square() * along).mul_(factor)
        if ctx.needs_input_grad[1]:
            scale = (inverse * along).sum().reshape(length.shape)
        return own, scale

    @staticmethod
    def jvp(ctx: Any, rows_tangent: Tensor | None, length_tangent: Tensor | None) -> Tensor:
        rows, length = ctx.saved_tensors
        factor, inverse = _factor(rows, length)
        tangent = torch.zeros_like(rows)
        if rows_tangent is not None:
            along = torch.linalg.vecdot(rows, rows_tangent).unsqueeze(-1)
            tangent = tangent + factor * (rows_tangent - rows * inverse.square() * along)
        if length_tangent is not None:
            tangent = tangent + rows * inverse * length_tangent
        return tangent


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


@torch.fx.wrap  # one step of a traced graph: what is made of the vectors is no constant there
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
