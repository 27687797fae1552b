"""Softmax losses on cosines (N, K), with or without a margin on the own class."""

from __future__ import annotations

from torch import Tensor

from ._reduce import Reduction, wide
from ._request import require_cosines, require_scale
from .checks import IGNORE_INDEX
from .entropy import cross_entropy
from .margins import arcface_logits, cosface_logits

__all__ = ["arcface", "cosface", "normface"]


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
