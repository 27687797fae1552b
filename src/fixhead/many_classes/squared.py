"""Squared error against one-hot targets, at a cost that does not depend on K.

    Σ_k (S w_k·x − t_k)² = S² xᵀ(WᵀW)x − 2 S w_y·x + 1

The Gram matrix WᵀW (d, d) of fixed vectors is computed once. Whole blocks of a code are tight
frames, WᵀW = (n/d)·B·I, so that the first term is a norm; a last block that is cut costs one
transform.

Source: Vincent, de Brébisson and Bouthillier 2015 (the factorisation, for learned vectors).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._errors import RequestError
from ..losses import IGNORE_INDEX
from ..losses._reduce import Reduction, reduce, require_reduction
from .loss import safe_labels
from .vectors import ClassVectors, as_class_vectors


def squared_error(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    labels: Tensor,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    gram: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
    unit_vectors: bool = False,
) -> Tensor:
    """``ℓ_i = Σ_k (z_ik − [k = y_i])²``, z = S·W x or S·cos(w, x): features (N, d) → loss.

    In O(N·d) for implicit codes; O(N·d²) with ``gram`` = ``gram_matrix(vectors)`` for others, which
    is computed here at O(K·d²) where it is not given.

        gram = gram_matrix(vectors)                                   # once, for fixed vectors
        loss = squared_error(features, vectors, labels, gram=gram)

    Raises:
        RequestError: as ``linear_cross_entropy``; a Gram matrix that is not (d, d).
    """
    require_reduction(reduction)
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    projected = W.project(features, logits, scale)
    safe, counted = safe_labels(labels, projected, W.classes, ignore_index)
    rows = W.rows(safe, projected.dtype)
    with torch.autocast(projected.device.type, enabled=False):
        product = _gram_product(projected, W, gram)
        if rows.requires_grad or product.requires_grad:  # learned vectors
            losses = (projected * (product - 2 * rows)).sum(dim=1) + 1
        else:
            losses = _Squares.apply(projected, product, rows)  # type: ignore[no-untyped-call]
    return reduce(losses, reduction, counted=counted)


class _Squares(torch.autograd.Function):
    """``x·(G x) − 2 w·x + 1`` of a given G x, G symmetric; its gradient is 2 (G x − w)."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, product: Tensor, rows: Tensor) -> Tensor:
        half = product - rows
        ctx.save_for_backward(half)
        losses: Tensor = torch.linalg.vecdot(half - rows, projected)
        return losses + 1

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (half,) = ctx.saved_tensors
        return (2 * upstream).unsqueeze(1) * half, None, None


def _gram_product(projected: Tensor, vectors: ClassVectors, gram: Tensor | None) -> Tensor:
    """``WᵀW x`` (N, d); the gradient in x is left to ``_Squares`` for fixed vectors."""
    if gram is None:
        with torch.no_grad():
            product = vectors.gram_product(projected)
        if product is not None:
            return product
        gram = gram_matrix(vectors)
    width = vectors.features
    if tuple(gram.shape) != (width, width):
        raise RequestError(f"gram must be (d, d) = ({width}, {width}), got {tuple(gram.shape)}")
    if gram.requires_grad:
        return projected @ gram.to(projected)
    with torch.no_grad():
        return projected @ gram.to(projected)


def gram_matrix(vectors: Tensor | ClassVectors) -> Tensor:
    """``WᵀW`` (d, d) in float64, a few thousand classes at a time; differentiable in a tensor."""
    W = as_class_vectors(vectors, "dot")
    device = W.device
    total = torch.zeros(W.features, W.features, dtype=torch.float64, device=device)
    step = max((1 << 22) // W.features, 1)
    for start in range(0, W.classes, step):
        labels = torch.arange(start, min(start + step, W.classes), device=device)
        rows = W.rows(labels, torch.float64)
        total = total + rows.t() @ rows
    return total
