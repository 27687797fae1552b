"""Telling images of the known classes from images of others, by one score per image.

Scores are larger for images that look known. Known images count as positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .._errors import RequestError
from ..logits import unit
from .statistics import check_features, check_sizes, check_vectors, full_precision, wide

Score = Literal["energy", "largest-cosine", "k-nearest", "vim"]

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


@torch.no_grad()
def nearest_features(features: Tensor, known: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k rows of known features (M, d) with the largest cosines to features (N, d), the nearest
    first: cosines (N, k) and places (N, k). With fewer rows than k, all of them."""
    check_sizes("nearest_features", k=k)
    check_features("nearest_features", known)
    check_features("nearest_features", features, known.shape[1])
    check_sizes("nearest_features", known=known.shape[0])
    with full_precision(features.device):
        columns = unit(known).T
        parts = [
            (unit(rows).to(columns.dtype) @ columns).topk(min(k, len(known)), dim=1)
            for rows in torch.split(features, _ROWS)
        ]
    cosines, places = (torch.cat([part[side] for part in parts]) for side in (0, 1))
    return cosines.clamp(-1.0, 1.0), places


def k_nearest(features: Tensor, known: Tensor, *, k: int = 10) -> Tensor:
    """−‖x̂_n − x̂_(k)‖ of features (N, d) → (N,): minus the distance to the k-th nearest of the
    known features (M, d), all of length 1. It is −√(2 − 2 cos).

    Source: Sun et al. 2022 (out-of-distribution detection with deep nearest neighbours), section 3;
    there mostly among all training images, with a larger k.
    """
    cosines, _ = nearest_features(features, known, k)
    return -(2 - 2 * cosines[:, -1]).clamp(min=0.0).sqrt()


@dataclass(frozen=True)
class Residual:
    """What ViM keeps of the training features: origin o (d,), the d − D directions R (d, d − D)
    in which they vary least about o, orthonormal, and α."""

    origin: Tensor
    directions: Tensor
    alpha: float

    def length(self, features: Tensor) -> Tensor:
        """‖Rᵀ(x_n − o)‖ of features (N, d) → (N,)."""
        check_features("Residual", features, len(self.origin))
        with full_precision(features.device):
            rows = features.to(self.origin.dtype) - self.origin
            length: Tensor = (rows @ self.directions).norm(dim=1)
        return length


@torch.no_grad()
def fit_residual(
    features: Tensor, logits: Tensor, vectors: Tensor | None = None, bias: Tensor | None = None
) -> Residual:
    """The residual of ViM from training features (N, d) and their logits (N, K).

    o = −W⁺b is where all logits are equal to 0 as nearly as can be, 0 without ``vectors`` W (K, d)
    or ``bias`` b (K,). R holds the eigenvectors of Σ_n (x_n − o)(x_n − o)ᵀ beyond the D largest
    eigenvalues, with D = 1000 for d > 1500, 512 for d ≥ 768, else ⌈d/2⌉; and

        α = mean_n max_j z_nj / mean_n ‖Rᵀ(x_n − o)‖,

    0 where nothing is left over. Computed in float64, kept in float32.

    Source: Wang et al. 2022 (virtual-logit matching), sections 3 and 4; the paper's networks have
    d ≥ 768, and half of a smaller d is our choice.
    """
    check_features("fit_residual", features)
    count, size = features.shape
    check_sizes("fit_residual", images=count)
    x = wide(features)
    origin = x.new_zeros(size)
    if vectors is not None and bias is not None:
        check_vectors("fit_residual", vectors, len(bias), size)
        origin = -(torch.linalg.pinv(wide(vectors)) @ wide(bias))
    apart = x - origin
    principal = 1000 if size > 1500 else 512 if size >= 768 else -(-size // 2)
    # Eigenvalues ascend: what varies least comes first.
    directions = torch.linalg.eigh(apart.T @ apart).eigenvectors[:, : size - principal]
    left = float((apart @ directions).norm(dim=1).mean())
    largest = float(wide(logits).amax(dim=1).mean())
    scale = float(apart.norm(dim=1).mean())
    alpha = largest / left if left > 1e-9 * scale else 0.0
    return Residual(origin.float(), directions.float().contiguous(), alpha)


@torch.no_grad()
def vim(features: Tensor, logits: Tensor, residual: Residual) -> Tensor:
    """log Σ_j exp(z_nj) − α ‖Rᵀ(x_n − o)‖ of features (N, d) and logits (N, K) → (N,).

    The virtual logit α‖·‖ stands for a class of all that is unlike the training features.

    Source: Wang et al. 2022 (virtual-logit matching), section 3, with the sign turned.
    """
    return energy(logits) - residual.alpha * residual.length(features)


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
