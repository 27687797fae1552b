"""Class counts as a prior: added to the logits in training, or taken off them afterwards."""

from __future__ import annotations

from torch import Tensor

from ._reduce import Reduction, wide
from ._request import require_counts, require_matrix, require_number
from .checks import IGNORE_INDEX
from .entropy import cross_entropy

__all__ = ["adjust_logits", "balanced_softmax", "logit_adjustment"]


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
