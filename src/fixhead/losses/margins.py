"""Softmax losses on cosines (N, K), with or without a margin on the own class.

    CosFace   z_y = S · (cos θ_y − m)
    ArcFace   z_y = S · cos(θ_y + m)          and z_k = S · cos θ_k for every other class

The margin alone is a function of the own class's cosine (``cosface_margin``,
``arcface_margin``), so that a path that never holds all logits can apply it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ._reduce import wide
from .checks import (
    IGNORE_INDEX,
    Reduction,
    require_cosines,
    require_labels,
    require_number,
    require_scale,
)
from .entropy import cross_entropy


def cosface_logits(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 64.0,
    margin: float = 0.35,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """``z_k = S · (cos θ_k − m·[k = y])``: cosines (N, K), labels (N,) → logits (N, K).

    Only the own class's entry changes; a row that is ignored keeps them all.

    Source: Wang et al. 2018 (CosFace), eq. 4.

    Raises:
        RequestError: as ``cosface``.
    """
    require_number("margin", margin, 0, 2)
    return with_own(
        cosines, labels, lambda own, _: cosface_margin(own, margin), scale, ignore_index
    )


def arcface_logits(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 64.0,
    margin: float = 0.5,
    easy_margin: bool = False,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """``z_k = S · cos(θ_k + m·[k = y])``: cosines (N, K), labels (N,) → logits (N, K).

    Only the own class's entry changes; a row that is ignored keeps them all.

    Source: Deng et al. 2019 (ArcFace), eq. 3.

    Raises:
        RequestError: as ``arcface``.
    """
    require_number("margin", margin, 0, math.pi / 2)
    return with_own(
        cosines,
        labels,
        lambda own, _: arcface_margin(own, margin, easy_margin=easy_margin),
        scale,
        ignore_index,
    )


def cosface_margin(own: Tensor, margin: float) -> Tensor:
    """``cos θ − m``, for the own class's cosines of any shape."""
    return own - margin


def arcface_margin(own: Tensor, margin: float, *, easy_margin: bool = False) -> Tensor:
    """``cos(θ + m) = c cos m − √(1 − c²) sin m``, for the own class's cosines c of any shape.

    Beyond θ = π − m that would rise again. There the loss goes on as ``c − m sin m``, which falls
    with θ everywhere for m ≤ π/2 (the released code of ArcFace). ``easy_margin`` instead leaves c
    alone beyond θ = π/2, as that code's option of this name does: simpler, and with a jump.

    The slope in c is cos m + c sin m / √(1 − c²), which is infinite at c = ±1; there, and where
    rounding carries c beyond, the root counts as the constant 0 and the slope is cos m. (In the
    slope in the feature, sin θ = 0 multiplies it.)
    """
    square = (1 - own) * (1 + own)
    inside = square > 0
    sine = torch.where(inside, square, 1.0).sqrt() * inside
    shifted = own * math.cos(margin) - sine * math.sin(margin)
    if easy_margin:
        return torch.where(own > 0, shifted, own)
    return torch.where(own >= -math.cos(margin), shifted, own - margin * math.sin(margin))


def with_own(
    cosines: Tensor,
    labels: Tensor,
    change: Callable[[Tensor, Tensor], Tensor],
    scale: float | Tensor,
    ignore_index: int,
) -> Tensor:
    """S · cosines (N, K), after ``change(own cosines (N,), labels (N,))`` of the own entries."""
    require_cosines(cosines)
    require_scale(scale)
    rows, classes = cosines.shape
    require_labels(labels, rows, classes, cosines.device, ignore_index)
    cosines, labels = wide(cosines), labels.to(torch.int64)
    counted = labels != ignore_index
    index = torch.where(counted, labels, 0)
    own = cosines.gather(1, index.unsqueeze(1)).squeeze(1)
    changed = torch.where(counted, change(own, index), own)
    return cosines.scatter(1, index.unsqueeze(1), changed.unsqueeze(1)) * scale


def normface(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 20.0,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of ``z = S · cos θ``: cosines (N, K), labels (N,) or (N, K) → loss.

        loss = normface(cosine(features, vectors), labels, scale=20.0)

    Source: Wang et al. 2017 (NormFace). The default S is pytorch-metric-learning's
    (temperature 0.05).

    Raises:
        RequestError: as ``cross_entropy``; a scale that is not above 0; cosines beyond ±1.
    """
    require_cosines(cosines)
    require_scale(scale)
    return cross_entropy(
        wide(cosines) * scale,
        labels,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def cosface(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 64.0,
    margin: float = 0.35,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of ``cosface_logits``: cosines (N, K), labels (N,) → loss.

    ``ℓ_i = −log [ e^{S(cos θ_y − m)} / (e^{S(cos θ_y − m)} + Σ_{k≠y} e^{S cos θ_k}) ]``

        loss = cosface(cosine(features, vectors), labels, scale=64.0, margin=0.35)

    Source: Wang et al. 2018 (CosFace), eq. 4.

    Raises:
        RequestError: as ``cross_entropy``; a scale that is not above 0; a margin outside [0, 2];
            cosines beyond ±1; targets (N, K).
    """
    return cross_entropy(
        cosface_logits(cosines, labels, scale=scale, margin=margin, ignore_index=ignore_index),
        labels,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def arcface(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 64.0,
    margin: float = 0.5,
    easy_margin: bool = False,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of ``arcface_logits``: cosines (N, K), labels (N,) → loss.

    ``ℓ_i = −log [ e^{S cos(θ_y + m)} / (e^{S cos(θ_y + m)} + Σ_{k≠y} e^{S cos θ_k}) ]``

    The margin m is in radians (0.5 rad = 28.6°); see ``arcface_margin`` for θ_y + m > π.

        loss = arcface(cosine(features, vectors), labels, scale=64.0, margin=0.5)

    Source: Deng et al. 2019 (ArcFace), eq. 3.

    Raises:
        RequestError: as ``cross_entropy``; a scale that is not above 0; a margin outside
            [0, π/2]; cosines beyond ±1; targets (N, K).
    """
    return cross_entropy(
        arcface_logits(
            cosines,
            labels,
            scale=scale,
            margin=margin,
            easy_margin=easy_margin,
            ignore_index=ignore_index,
        ),
        labels,
        weight=weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )
