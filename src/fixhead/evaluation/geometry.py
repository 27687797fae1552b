"""The geometry of a trained last layer, in the form that the records keep."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..geometry import certify
from ..geometry.class_cosines import cosine_matrix
from ..geometry.compactness import mean_cosines
from ..geometry.correlation import correlate
from .evaluate import COSINE_BINS, Evaluation

MATRIX_LIMIT = 500
"""Above so many classes a record leaves the K × K matrices out, and says so."""


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
        "spearman": None if cosines is None else asdict(correlate(cosines, evaluation.confusion)),
        "own_cosine": _own_cosine(evaluation),
        "other_cosine": _other_cosine(evaluation) if small else None,
        "feature_norm": _feature_norm(evaluation),
        "scale": scale,
    }


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
