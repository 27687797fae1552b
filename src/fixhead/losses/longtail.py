"""Losses for unequal classes: counts as a prior on the logits, margins by count, and class weights
that set in late (LDAM-DRW).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from ._reduce import wide
from .checks import (
    IGNORE_INDEX,
    Reduction,
    require_counts,
    require_matrix,
    require_number,
)
from .entropy import cross_entropy
from .margins import with_own


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


def balanced_softmax(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """``ℓ_i = −log( n_y e^{z_y} / Σ_k n_k e^{z_k} )``: logits (N, K), counts n (K,) → loss.

    The cross-entropy of z + log n. It is ``logit_adjustment`` with τ = 1 (the prior's divisor
    Σ n shifts all logits alike), and ARB's −log( e^{z_y} / Σ_k (n_k / n_y) e^{z_k} ) with the
    counts of the training set. Test on the plain logits z. n are the counts (or shares) of
    the training images; targets (N, K) and the options are ``cross_entropy``'s.

        loss = balanced_softmax(head(features), labels, counts)

    Source: Ren et al. 2020, theorem 1; Xie et al. 2023 (ARB).

    Raises:
        RequestError: as ``cross_entropy``; counts that are not (K,), or (on the CPU) not above 0.
    """
    return logit_adjustment(
        logits,
        labels,
        counts,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def logit_adjustment(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    *,
    tau: float = 1.0,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of ``z + τ log π``, π_k = n_k / Σ n: logits (N, K), counts n (K,) → loss.

    Test on the plain logits z. Targets (N, K) and the options are ``cross_entropy``'s.

        loss = logit_adjustment(head(features), labels, counts, tau=1.0)

    Source: Menon et al. 2021 (the logit-adjusted softmax cross-entropy).

    Raises:
        RequestError: as ``balanced_softmax``; a negative tau.
    """
    return cross_entropy(
        _shifted(logits, counts, tau, 1.0),
        labels,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def adjust_logits(logits: Tensor, counts: Tensor, *, tau: float = 1.0) -> Tensor:
    """Post hoc: ``z − τ log π`` of a model trained with plain cross-entropy: (N, K) → (N, K).

    With τ = 1 and calibrated probabilities, softmax of it is the posterior under equal classes.

        predictions = adjust_logits(head(features), counts).argmax(dim=1)

    Source: Menon et al. 2021 (post-hoc logit adjustment).

    Raises:
        RequestError: as ``logit_adjustment``.
    """
    return _shifted(logits, counts, tau, -1.0)


def _shifted(logits: Tensor, counts: Tensor, tau: float, sign: float) -> Tensor:
    """z ± τ log π, in float32 for half-precision logits."""
    require_matrix("logits", logits, "(N, K)")
    require_number("tau", tau, 0)
    require_counts(counts, logits.shape[1], logits.device)
    scores = wide(logits)
    numbers = counts.to(scores.dtype)
    return scores + sign * tau * (numbers / numbers.sum()).log()
