"""Calibration: is a model that says 0.8 right in 80 % of the cases? And the temperature that helps.

Sums per bin of confidence and true class are kept, so one pass and any grouping will do. Bin b of
B holds confidences in (b/B, (b+1)/B], the first one 0 as well (Guo et al. 2017, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softmax

from .._errors import RequestError
from .statistics import check_indices, check_sizes, wide

BINS = 15
"""As in Guo et al. 2017."""

COLDEST, HOTTEST = 0.01, 100.0
"""A temperature lies between these."""
_NEWTON_STEPS = 100
_CLOSE_ENOUGH = 1e-10


@torch.no_grad()
def calibration_sums(logits: Tensor, labels: Tensor, *, bins: int = BINS) -> Tensor:
    """Images, summed confidences and right predictions, (3, K, B): sums to be added up.

    From logits (N, K) and labels (N,): confidence is the largest softmax probability, computed in
    float32 or better; sums are float64 (float32 where the device has none). Nothing waits for the
    device.
    """
    check_sizes("calibration_sums", bins=bins)
    if logits.ndim != 2 or not logits.is_floating_point():
        raise RequestError(
            f"calibration_sums() needs floating logits (N, K), "
            f"got {logits.dtype} {tuple(logits.shape)}"
        )
    rows, classes = logits.shape
    check_indices("calibration_sums", labels, rows, classes)
    kind = torch.float64 if logits.dtype == torch.float64 else torch.float32
    confidence, predictions = softmax(logits, dim=1, dtype=kind).max(dim=1)
    return _sums(confidence, predictions == labels, labels.long(), classes, bins)


def _sums(confidence: Tensor, right: Tensor, labels: Tensor, classes: int, bins: int) -> Tensor:
    kind = torch.float32 if confidence.device.type == "mps" else torch.float64
    confidence = confidence.to(kind)
    cells = labels * bins + ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    amounts = torch.stack([torch.ones_like(confidence), confidence, right.to(kind)])
    sums = torch.zeros(3, classes * bins, dtype=kind, device=confidence.device)
    return sums.index_add_(1, cells, amounts).view(3, classes, bins)


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence (…, B): share of the images, mean confidence, accuracy.

    The last two are NaN in an empty bin; the share is NaN where there is no image at all.
    """

    share: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(sums: Tensor, groups: Tensor | None = None) -> Reliability:
    """The reliability diagram of all images (B,), or of each group of true classes (G, B)."""
    images, confidence, right = _grouped(wide(sums), groups).unbind()
    total = images.sum(dim=-1, keepdim=True)
    return Reliability(images / total, confidence / images, right / images)


def expected_calibration_error(sums: Tensor, groups: Tensor | None = None) -> Tensor:
    """ECE = Σ_b share_b |accuracy_b − confidence_b|: a scalar, or one per group (G,).

    Groups (K,) pool the images of their true classes; ``torch.arange(K)`` gives one per class.

    Source: Guo et al. 2017, eq. 3; Naeini et al. 2015.
    """
    images, confidence, right = _grouped(wide(sums), groups).unbind()
    return (right - confidence).abs().sum(dim=-1) / images.sum(dim=-1)


def maximum_calibration_error(sums: Tensor, groups: Tensor | None = None) -> Tensor:
    """MCE = max_b |accuracy_b − confidence_b| over bins with images: a scalar, or (G,).

    Source: Guo et al. 2017, eq. 5.
    """
    images, confidence, right = _grouped(wide(sums), groups).unbind()
    gaps = ((right - confidence) / images).abs().nan_to_num(nan=-1.0).amax(dim=-1)
    return gaps.where(gaps >= 0, torch.nan)


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 that minimises the mean cross-entropy of softmax(z / T) on held-out images.

        f(β) = mean_n [ log Σ_j exp(β z_nj) − β Σ_j q_nj z_nj ],   β = 1/T,

    convex in β, by Newton's steps in float64. From logits z (N, K) and labels (N,). The targets q
    keep 1/(N + 2) of each image's mass for the other classes, evenly: otherwise T would be 0 where
    every held-out image is right. T lies in [0.01, 100]; it is 100 where the logits say less than
    chance.

    Sources: Guo et al. 2017, section 4.2; the targets: Platt 1999, section 2.2.

    Raises:
        RequestError: logits that are no finite floating (N, K), or labels that do not fit.
    """
    if logits.ndim != 2 or not logits.is_floating_point() or not bool(logits.isfinite().all()):
        raise RequestError(
            f"fit_temperature() needs finite floating logits (N, K), got {logits.dtype} "
            f"{tuple(logits.shape)}"
        )
    rows, classes = logits.shape
    check_sizes("fit_temperature", images=rows, classes=classes)
    check_indices("fit_temperature", labels, rows, classes)
    z = wide(logits) - wide(logits).mean(dim=1, keepdim=True)
    others = 1 / (rows + 2)
    own = z.gather(1, labels.to(z.device).long()[:, None]).squeeze(1)
    # Rows add up to 0, so the other classes' mean is −own / (K − 1).
    target = (1 - others) * own - others * own / max(classes - 1, 1)
    low, high, beta = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(_NEWTON_STEPS):
        probabilities = softmax(beta * z, dim=1)
        mean = (probabilities * z).sum(dim=1)
        slope = float((mean - target).mean())
        curvature = float(((probabilities * z.square()).sum(dim=1) - mean.square()).mean())
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 else -1.0
        new = step if low < step < high else (low * high) ** 0.5  # never out of the bracket
        if abs(new - beta) <= _CLOSE_ENOUGH * beta:
            break
        beta = new
    return 1 / new


def _grouped(sums: Tensor, groups: Tensor | None) -> Tensor:
    """(3, K, B) → (3, B), or (3, G, B)."""
    if groups is None:
        return sums.sum(dim=1)
    check_indices("calibration", groups, sums.shape[1], int(groups.max()) + 1)
    pooled = sums.new_zeros(3, int(groups.max()) + 1, sums.shape[2])
    return pooled.index_add_(1, groups.to(sums.device).long(), sums)
