"""Calibration: is a model that says 0.8 right in 80 % of the cases?

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


def _grouped(sums: Tensor, groups: Tensor | None) -> Tensor:
    """(3, K, B) → (3, B), or (3, G, B)."""
    if groups is None:
        return sums.sum(dim=1)
    check_indices("calibration", groups, sums.shape[1], int(groups.max()) + 1)
    pooled = sums.new_zeros(3, int(groups.max()) + 1, sums.shape[2])
    return pooled.index_add_(1, groups.to(sums.device).long(), sums)
