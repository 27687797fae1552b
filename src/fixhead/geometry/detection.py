"""Telling images of the known classes from images of others, by one score per image.

Scores are larger for images that look known. Known images count as positive.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .._errors import RequestError
from ..logits import unit
from .statistics import check_features, check_vectors, full_precision, wide

Score = Literal["energy", "largest-cosine"]

_ROWS = 4_096


@torch.no_grad()
def largest_cosine(features: Tensor, vectors: Tensor) -> Tensor:
    """max_j cos(x_n, w_j) of features (N, d) and vectors (K, d) → (N,), in float32 or better."""
    check_features("largest_cosine", features)
    check_vectors("largest_cosine", vectors, vectors.shape[0], features.shape[1])
    with full_precision(features.device):
        columns = unit(vectors).T
        parts = [
            (unit(rows).to(columns.dtype) @ columns).amax(dim=1)
            for rows in torch.split(features, _ROWS)
        ]
    return torch.cat(parts).clamp(-1.0, 1.0)


@torch.no_grad()
def energy(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T · log Σ_j exp(z_j / T), the negative free energy, of logits (N, K) → (N,).

    Source: Liu et al. 2020 (energy-based out-of-distribution detection), eq. 4 with its sign
    turned, so that known images score high.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise RequestError(f"energy() needs a finite temperature above 0, got {temperature!r}")
    wide_logits = logits if logits.dtype == torch.float64 else logits.float()
    return temperature * torch.logsumexp(wide_logits / temperature, dim=-1)


def auroc(known: Tensor, other: Tensor) -> Tensor:
    """P(known > other) + P(known = other)/2 over all pairs of scores (N,), (M,): a scalar.

    The area under the ROC curve (Mann & Whitney 1947), exact with ties: no thresholds are chosen.
    """
    known, other = _scores("auroc", known, other)
    ordered = other.sort().values
    below = torch.searchsorted(ordered, known, right=False)
    not_above = torch.searchsorted(ordered, known, right=True)
    return (below + not_above).double().mean() / (2 * other.numel())


def fpr_at(known: Tensor, other: Tensor, *, recall: float = 0.95) -> Tensor:
    """The share of others accepted when the threshold accepts ``recall`` of the known: a scalar.

    The threshold t is the largest score with #{known ≥ t} / N ≥ recall; result #{other ≥ t} / M.
    "FPR at 95 % TPR" (Liang, Li & Srikant 2018), exact with ties.
    """
    if not 0 < recall <= 1:
        raise RequestError(f"fpr_at() needs 0 < recall <= 1, got {recall!r}")
    known, other = _scores("fpr_at", known, other)
    # 0.95 · 100 is 95.0 and 0.07 · 100 is 7.000000000000001: a count is not lost to rounding.
    accepted = max(1, math.ceil(recall * known.numel() - 1e-9))
    threshold = known.sort(descending=True).values[accepted - 1]
    return (other >= threshold).double().mean()


def _scores(caller: str, known: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    for name, values in (("known", known), ("other", other)):
        if values.ndim != 1 or values.numel() == 0:
            raise RequestError(
                f"{caller}() needs at least one score in {name}, as a tensor (N,), "
                f"got shape {tuple(values.shape)}"
            )
        if bool(values.isnan().any()):
            raise RequestError(f"{caller}() needs scores that can be compared, got NaN in {name}")
    return wide(known), wide(other)
