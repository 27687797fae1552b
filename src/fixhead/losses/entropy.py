"""Cross-entropy, the loss that the other softmax losses are made of, and the focal loss, in which
rows that are already right count less.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ._reduce import reduce, wide
from .checks import (
    IGNORE_INDEX,
    Reduction,
    require_matrix,
    require_number,
    require_reduction,
    require_targets,
    require_weight,
)


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy in nats, ``ℓ_i = −Σ_k a_k t_ik log softmax(z_i)_k``: logits (N, K) → loss.

    The targets t are one-hot for labels (N,), or given as probabilities (N, K) (mixup, cutmix,
    distillation); label smoothing ε makes them ``(1 − ε) t + ε/K``. a (K,) are class weights.

    The mean is torch's: Σ ℓ_i / Σ a_{y_i} over the rows that are not ignored for labels, and
    Σ ℓ_i / N for probabilities. Ignored rows give 0 under ``reduction="none"``. A batch with
    nothing to count gives 0 with a zero gradient (torch: NaN). Half-precision logits are computed
    in float32; the loss is float32 then.

        logits, labels = torch.randn(32, 10), torch.randint(10, (32,))
        loss = cross_entropy(logits, labels, label_smoothing=0.1)

    Source: ``torch.nn.functional.cross_entropy``; label smoothing: Szegedy et al. 2016,
    section 7; mixup targets: Zhang et al. 2018.

    Raises:
        RequestError: a shape, type, device or option that does not fit; on the CPU, outside of
            compilation, also labels out of range (named, with their place) and probabilities
            that do not sum to 1.
    """
    require_reduction(reduction)
    require_matrix("logits", logits, "(N, K)")
    require_number("label_smoothing", label_smoothing, 0, 1)
    rows, classes = logits.shape
    require_weight(weight, classes, logits.device)
    soft = require_targets(labels, rows, classes, logits.device, ignore_index)
    scores = wide(logits)
    weight = None if weight is None else weight.to(scores.dtype)
    targets = labels.to(scores.dtype if soft else torch.int64)
    losses = F.cross_entropy(
        scores,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    if soft:
        return reduce(losses, reduction)
    counted = targets != ignore_index
    return reduce(losses, reduction, counted=counted, weights=weights_of(weight, targets, counted))


def weights_of(weight: Tensor | None, labels: Tensor, counted: Tensor) -> Tensor | None:
    """The class weight (N,) of each row; an ignored row takes class 0's and is not counted."""
    return None if weight is None else weight[torch.where(counted, labels, 0)]


def focal(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    alpha: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal loss ``ℓ_i = −α_y (1 − p_y)^γ log p_y``, p = softmax(z_i): logits (N, K) → loss.

    γ = 0 is ``cross_entropy(weight=alpha)``, also in its mean, which divides by Σ α_{y_i} (the
    detectors that the loss was made for divide by their count of boxes instead). Probabilities
    (N, K) mix the losses of the classes: Σ_k t_ik ℓ_i(k), as mixup does, and divide by N.
    1 − p is computed as −expm1(log p), so that it keeps its digits where p is near 1.

        loss = focal(torch.randn(32, 10), torch.randint(10, (32,)), gamma=2.0)

    Source: Lin et al. 2017, eqs. 4 and 5, with the softmax in place of their sigmoid.

    Raises:
        RequestError: as ``cross_entropy``; a negative gamma.
    """
    require_reduction(reduction)
    require_matrix("logits", logits, "(N, K)")
    require_number("gamma", gamma, 0)
    rows, classes = logits.shape
    require_weight(alpha, classes, logits.device)
    soft = require_targets(labels, rows, classes, logits.device, ignore_index)
    log_p = F.log_softmax(wide(logits), dim=1)
    weight = None if alpha is None else alpha.to(log_p.dtype)
    if soft:
        losses = _focal(log_p, gamma) if weight is None else weight * _focal(log_p, gamma)
        return reduce((labels.to(log_p.dtype) * losses).sum(dim=1), reduction)
    labels = labels.to(torch.int64)
    counted = labels != ignore_index
    own = log_p.gather(1, torch.where(counted, labels, 0).unsqueeze(1)).squeeze(1)
    weights = weights_of(weight, labels, counted)
    losses = _focal(own, gamma) if weights is None else weights * _focal(own, gamma)
    return reduce(losses, reduction, counted=counted, weights=weights)


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    rest = -torch.expm1(log_p)
    # (1 − p)^γ has an infinite slope at p = 1 when γ < 1, where the loss and its gradient are 0.
    unsure = rest > 0
    return -torch.where(unsure, rest, 1.0).pow(gamma) * unsure * log_p
