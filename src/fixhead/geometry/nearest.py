"""Neural collapse 4: the head decides as the nearest class mean would.

Exact: a first pass takes the class means, a second compares every decision with them. The means
of the epoch before stand in where one pass must do; features and means move between the two, so
that value is named after it (``fixhead.metrics.PreviousEpochAgreement``).

A cosine head looks at x/‖x‖: give it features and statistics of unit rows to compare like with
like, and features as they are to compare with the plain nearest mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .statistics import (
    ClassStatistics,
    check_features,
    check_indices,
    full_precision,
    present_classes,
    wide,
)

_ROWS = 4_096


@torch.no_grad()
def nearest_means(features: Tensor, stats: ClassStatistics) -> Tensor:
    """argmin_c ‖x_n − μ_c‖ over classes that have a mean: features (N, d) → labels (N,).

    Equal distances go to the lower label. Computed in float32, in float64 for float64 features.

    Raises:
        RequestError: the features do not fit, or no class has a feature.
    """
    check_features("nearest_means", features, stats.features)
    present = present_classes(stats)
    if present.labels.numel() == 0:
        raise RequestError(
            "nearest_means() needs statistics of at least one feature, got none; "
            "take the class means in a first pass"
        )
    found = nearest_rows(features, present.means, present.means.mean(dim=0))
    return present.labels.to(features.device)[found]


@torch.no_grad()
def nearest_rows(features: Tensor, means: Tensor, origin: Tensor) -> Tensor:
    """The row of ``means`` (C, d) nearest to each feature, as indices (N,).

    ‖x − μ‖² orders rows as −⟨x − o, μ − o⟩ + ‖μ − o‖²/2 does, whatever the origin o (d,); one near
    the means leaves the most digits. A row of NaN is never nearest, unless all are.
    """
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    apart = means - origin  # as wide as they come, then as narrow as the features
    given = apart.square().sum(dim=1) / 2, apart, origin
    half, rows, origin = (values.to(dtype).to(features.device) for values in given)
    with full_precision(features.device):
        found = [
            (half - (part.to(dtype) - origin) @ rows.T).nan_to_num(nan=torch.inf).argmin(dim=1)
            for part in torch.split(features, _ROWS)
        ]
    return torch.cat(found)


@torch.no_grad()
def agreement_counts(logits: Tensor, nearest: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Images and agreements by true class (2, K) int64: sums of a pass, to be added up.

    An image agrees where argmax of the head's own logits (N, K), with their bias, scale and
    normalisation, is the nearest mean's class (N,).
    """
    decisions = decided("agreement_counts", logits, classes)
    check_indices("agreement_counts", nearest, decisions.shape[0], classes)
    check_indices("agreement_counts", labels, decisions.shape[0], classes)
    counts = torch.zeros(2, classes, dtype=torch.int64, device=labels.device)
    labels = labels.long()
    counts[0].index_add_(0, labels, torch.ones_like(labels))
    counts[1].index_add_(0, labels, (decisions == nearest).long())
    return counts


def nearest_mean_agreement(counts: Tensor) -> Tensor:
    """NC4: the share of images whose decision is the nearest mean's, a scalar; 1 under collapse.

    Counts (2, K) from ``agreement_counts``, or of some classes of it.

    Source: Papyan et al. 2020, NC4 (there as the share that disagrees).
    """
    images, agreed = wide(counts).sum(dim=1).unbind()
    return agreed / images


def class_nearest_mean_agreement(counts: Tensor) -> Tensor:
    """The same of the images of each true class (K,), NaN for a class without one."""
    images, agreed = wide(counts).unbind()
    return agreed / images


def decided(caller: str, logits: Tensor, classes: int) -> Tensor:
    """Predicted labels (N,): the argmax of logits (N, K), or integer labels as they are."""
    if logits.is_floating_point():
        if logits.ndim != 2 or logits.shape[1] != classes:
            raise RequestError(
                f"{caller}() needs logits (N, {classes}) for classes={classes}, "
                f"got {tuple(logits.shape)}"
            )
        return logits.argmax(dim=1)
    check_indices(caller, logits, logits.shape[0] if logits.ndim else 0, classes)
    return logits.long()
