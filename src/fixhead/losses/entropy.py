"""Cross-entropy, the loss that the other softmax losses are made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ._reduce import Reduction, reduce, require_reduction, wide
from ._request import require_matrix, require_number, require_targets, require_weight
from .checks import IGNORE_INDEX

__all__ = ["cross_entropy"]


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
