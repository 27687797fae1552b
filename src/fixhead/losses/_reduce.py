"""One reduction for every loss, and the number type that losses are computed in."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import Reduction


def wide(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def reduce(
    losses: Tensor,
    reduction: Reduction,
    *,
    counted: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Losses (N,) → themselves, their sum, or Σ losses / Σ weights over the counted rows.

    Rows with ``counted`` (N,) false give 0. ``weights`` (N,) are the class weights already inside
    the losses; without them each row weighs 1. Where nothing is counted (an all-ignored or empty
    batch, or weights that are all 0) the mean is 0 with a zero gradient, where torch gives NaN.
    """
    if counted is not None:
        losses = torch.where(counted, losses, 0.0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if weights is None:
        if counted is None:
            return losses.sum() / max(losses.shape[0], 1)
        weights = torch.ones_like(losses)
    shares = weights if counted is None else torch.where(counted, weights, 0.0)
    total = shares.detach().sum()
    return losses.sum() / torch.where(total > 0, total, 1.0)
