"""Turn fixed class vectors towards a trained layer's, so that a trained model fits them at once."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from ..logits import unit

TURNABLE = ("simplex", "orthonormal", "random", "codes", "tensor")
"""Constructions that stay what they are when they are turned as a whole."""


def aligned(vectors: Tensor, trained: Tensor) -> Tensor:
    """W R (K, d) for the orthogonal R (d, d) that maximises Σ_k ⟨R^T w_k, a_k⟩.

    a_k are the unit rows of the centred trained weights A (K, d): a constant added to all logits
    changes no prediction. All cosines between class vectors stay as they are. With thin QR
    factors W^T = Q₁ R₁ and A^T = Q₂ R₂, R = Q₁ U V^T Q₂^T on the spans, from the singular vectors
    of R₁ R₂^T = U Σ V^T: nothing larger than (d, K) is factorised.

    Source: Schönemann 1966, orthogonal Procrustes.
    """
    if vectors.shape != trained.shape:
        raise RequestError(
            f"aligning needs as many rows and columns on both sides, got vectors "
            f"{tuple(vectors.shape)} and trained weights {tuple(trained.shape)}"
        )
    W = vectors.detach().double()
    A = unit(trained.detach().double() - trained.detach().double().mean(dim=0))
    _, r1 = torch.linalg.qr(W.T)
    q2, r2 = torch.linalg.qr(A.T)
    u, _, vt = torch.linalg.svd(r1 @ r2.T)
    turned: Tensor = (r1.T @ u) @ (vt @ q2.T)
    return turned.to(vectors)


def check_turnable(construction: str) -> None:
    """Refuse constructions whose coordinates mean something (Hadamard's signs, one-hot's axes)."""
    if construction.partition(":")[0] not in TURNABLE:
        raise RequestError(
            f"align=True turns the class vectors, which needs {', '.join(TURNABLE)}, got "
            f"{construction}, whose coordinates would lose their meaning; use align=False"
        )
