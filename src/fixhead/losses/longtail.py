"""Label-distribution-aware margins, and class weights that set in late (LDAM-DRW)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from ._reduce import Reduction, wide
from ._request import require_counts, require_matrix, require_number
from .checks import IGNORE_INDEX
from .entropy import cross_entropy
from .margins import with_own

__all__ = ["deferred_weights", "effective_number_weights", "ldam", "ldam_margins"]


def ldam(
    cosines: Tensor,
    labels: Tensor,
    counts: Tensor,
    *,
    max_margin: float = 0.5,
    scale: float | Tensor = 30.0,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of ``z_k = S · (cos θ_k − m_y·[k = y])``: cosines (N, K), labels (N,) → loss.

    m (K,) are ``ldam_margins(counts)``: CosFace with a larger margin for rarer classes. For the
    deferred re-weighting (DRW) give ``weight=deferred_weights(counts, epoch)``.

        loss = ldam(cosine(features, vectors), labels, counts,
                    weight=deferred_weights(counts, epoch))

    Source: Cao et al. 2019, eqs. 12 and 13, with the constants of the released code: max margin
    0.5, S = 30, unit features and vectors.

    Raises:
        RequestError: as ``cosface``; counts that are not (K,), or (on the CPU) not above 0.
    """
    require_matrix("cosines", cosines, "(N, K)")
    require_counts(counts, cosines.shape[1], cosines.device)
    margins = ldam_margins(counts, max_margin=max_margin)
    logits = with_own(
        cosines,
        labels,
        lambda own, index: own - margins[index].to(own.dtype),
        scale,
        ignore_index,
    )
    return cross_entropy(
        logits,
        labels,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def ldam_margins(counts: Tensor, *, max_margin: float = 0.5) -> Tensor:
    """``m_j = C / n_j^{1/4}``, C such that the rarest class gets ``max_margin``: (K,) → (K,).

        margins = ldam_margins(torch.tensor([10_000, 625, 16]))         # 0.1, 0.2, 0.5

    Source: Cao et al. 2019, eq. 13; C as in the released code.

    Raises:
        RequestError: counts that are not (K,), or (on the CPU) not above 0; a margin outside
            [0, 2].
    """
    require_number("max_margin", max_margin, 0, 2)
    counts = _real_counts(counts)
    return max_margin * (counts.min() / counts).pow(0.25)


def effective_number_weights(counts: Tensor, *, beta: float = 0.9999) -> Tensor:
    """``a_k ∝ (1 − β) / (1 − β^{n_k})``, Σ a = K: counts (K,) → class weights (K,).

    1 / a_k is the effective number of images: 1 for β = 0 (all weights 1), and n_k for β → 1.

    Source: Cui et al. 2019, proposition 1; Σ a = K as in the released code of Cao et al. 2019.

    Raises:
        RequestError: counts that are not (K,), or (on the CPU) not above 0; beta outside [0, 1).
    """
    require_number("beta", beta, 0, 1)
    if beta == 1:
        raise RequestError("beta must be below 1, got 1; for weights 1/n try beta=1 - 1e-6")
    counts = _real_counts(counts)
    if beta == 0:
        return torch.ones_like(counts)
    # 1 − β^n = −expm1(n log β) keeps its digits where β^n is near 1.
    weights = -1 / torch.expm1(counts * math.log(beta))
    return weights * (counts.shape[0] / weights.sum())


def deferred_weights(
    counts: Tensor, epoch: int, *, start: int = 160, beta: float = 0.9999
) -> Tensor:
    """Class weights 1 before epoch ``start``, and ``effective_number_weights`` from it on: (K,).

    Epochs count from 0. Source: Cao et al. 2019, algorithm 1 (DRW); start 160 of 200 epochs and β
    as in the released code.

    Raises:
        RequestError: as ``effective_number_weights``; a negative epoch or start.
    """
    require_number("epoch", epoch, 0)
    require_number("start", start, 0)
    return effective_number_weights(counts, beta=beta if epoch >= start else 0.0)


def _real_counts(counts: Tensor) -> Tensor:
    """Counts (K,) as float32 (float64 stays)."""
    if not isinstance(counts, Tensor) or counts.ndim != 1:
        raise RequestError(f"counts must be a tensor of numbers (K,), got {counts!r}")
    require_counts(counts, counts.shape[0], counts.device)
    return wide(counts) if counts.is_floating_point() else counts.to(torch.float32)
