"""The geometry of a trained last layer, in the form that the records keep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ..geometry import certify
from ..geometry.features import cosine_matrix, mean_cosines
from .evaluate import COSINE_BINS, Evaluation

MATRIX_LIMIT = 500
"""Above so many classes a record leaves the K × K matrices out, and says so."""

_SAME = 1e-6
"""Cosines closer than this differ by rounding only: ranking them would rank noise."""


def describe_geometry(
    evaluation: Evaluation, vectors: Tensor, *, construction: str, scale: float
) -> dict[str, Any]:
    """Certificate, class cosines, confusion, their correlation, compactness and separability.

    Keys as in the field ``geometry`` of a run's record; unknown values are None.
    """
    vectors = vectors.detach().cpu().double()
    small = evaluation.classes <= MATRIX_LIMIT
    cosines = cosine_matrix(vectors) if small else None
    return {
        "certificate": certify(vectors, construction=construction).to_dict(),
        "class_cosines": None if cosines is None else _rounded(cosines),
        "confusion": evaluation.confusion.tolist() if small else None,
        "left_out": None if small else f"matrices are kept up to {MATRIX_LIMIT} classes",
        "spearman": None if cosines is None else correlate(cosines, evaluation.confusion),
        "own_cosine": _own_cosine(evaluation),
        "other_cosine": _other_cosine(evaluation) if small else None,
        "feature_norm": _feature_norm(evaluation),
        "scale": scale,
    }


def correlate(cosines: Tensor, confusion: Tensor) -> dict[str, Any]:
    """Spearman's ρ between cos(w_i, w_j) and #(i taken for j) over ordered pairs i ≠ j.

    The 95 % interval is Fisher's, z ± 1.96 √((1 + ρ²/2) / (n − 3)) (Bonett & Wright 2000); it
    takes the pairs as independent, which pairs that share a class are not quite.
    ``rho`` is None, with a ``reason``, where one side does not vary.

    Source: Shalev et al. 2020, section 2 and Figure 2.
    """
    apart = ~torch.eye(cosines.shape[0], dtype=torch.bool)
    similar, mistaken = cosines[apart].numpy(), confusion[apart].numpy()
    n = similar.size
    if np.ptp(similar) < _SAME:
        return _undefined(n, "all pairs of class vectors have the same cosine")
    if np.ptp(mistaken) == 0:
        return _undefined(n, "all pairs of classes are confused equally often")
    # Rounded so that pairs that differ by rounding only are ties.
    rho = float(stats.spearmanr(similar.round(6), mistaken).statistic)
    low, high = _spearman_interval(rho, n)
    return {"rho": rho, "low": low, "high": high, "n": n, "reason": None}


def _spearman_interval(rho: float, n: int) -> tuple[float | None, float | None]:
    if n <= 3 or abs(rho) >= 1:
        return None, None
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = math.atanh(rho)
    return math.tanh(centre - half), math.tanh(centre + half)


def _undefined(n: int, reason: str) -> dict[str, Any]:
    return {"rho": None, "low": None, "high": None, "n": n, "reason": reason}


def _own_cosine(evaluation: Evaluation) -> dict[str, Any]:
    right, total = evaluation.right, evaluation.images
    return {
        "edges": _edges(),
        "counts": evaluation.cosine_counts.tolist(),
        "mean": (evaluation.cosine_sum_right + evaluation.cosine_sum_wrong) / total,
        "mean_correct": evaluation.cosine_sum_right / right if right else None,
        "mean_wrong": evaluation.cosine_sum_wrong / (total - right) if right < total else None,
    }


def _other_cosine(evaluation: Evaluation) -> dict[str, Any] | None:
    counts = evaluation.confusion.sum(dim=1)
    seen = counts > 0
    if int(seen.sum()) < 2:
        return None
    means = evaluation.feature_sums[seen] / counts[seen].unsqueeze(1)
    cosines = mean_cosines(means)
    histogram = torch.histc(cosines.float(), bins=COSINE_BINS, min=-1.0, max=1.0)
    return {
        "edges": _edges(),
        "counts": histogram.long().tolist(),
        "mean": float(cosines.mean()),
    }


def _feature_norm(evaluation: Evaluation) -> dict[str, float]:
    mean = evaluation.norm_sum / evaluation.images
    variance = evaluation.norm_square_sum / evaluation.images - mean**2
    return {"mean": mean, "std": math.sqrt(max(variance, 0.0))}


def _edges() -> list[float]:
    return [round(-1 + 2 * step / COSINE_BINS, 4) for step in range(COSINE_BINS + 1)]


def _rounded(matrix: Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.tolist()]
