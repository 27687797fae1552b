"""Two-dimensional views of more dimensions: the plane of the class vectors, and PCA."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._errors import RequestError
from ._inputs import check_features, wide
from .statistics import ClassStatistics, regroup


@dataclass(frozen=True)
class Plane:
    """Points x (N, d) → (x − origin) axesᵀ (N, 2): origin (d,), orthonormal axes (2, d), float64.

    kept: the share of the squared lengths (class plane) or of the variance (PCA) that the plane
    shows, 1 where nothing is lost. One plane for all epochs makes their pictures comparable.
    """

    origin: Tensor
    axes: Tensor
    kept: float

    def project(self, points: Tensor) -> Tensor:
        """Coordinates in the plane: (N, d) → (N, 2), float64.

        Raises:
            RequestError: points are not (N, d).
        """
        check_features("Plane.project", points, self.axes.shape[1])
        return (wide(points).to(self.axes.device) - self.origin) @ self.axes.T


def class_plane(vectors: Tensor) -> Plane:
    """The plane through 0 that keeps most of Σ ‖w_c‖² of vectors (K, d): their best rank-2 view.

    Spanned by the first two right singular vectors of W (Eckart & Young 1936), each with its
    largest entry positive; angles at the origin are those of the projected vectors. For d = 2 it
    is the plane itself, unturned: nothing is projected and decisions keep their sectors.

    Raises:
        RequestError: vectors are not (K, d) with d >= 2, or not finite.
    """
    _check_dimensions("class_plane", vectors)
    rows = wide(vectors)
    size = rows.shape[1]
    if size == 2:
        axes = torch.eye(2, dtype=torch.float64, device=rows.device)
        return Plane(torch.zeros(2, dtype=torch.float64, device=rows.device), axes, 1.0)
    _, singular, axes = torch.linalg.svd(_at_least_two(rows), full_matrices=False)
    return Plane(rows.new_zeros(size), _signed(axes[:2]), _kept(singular.square()))


def principal_plane(features: Tensor | ClassStatistics) -> Plane:
    """PCA: the plane through the mean that keeps most of the variance of features (N, d).

    Given pooled ``ClassStatistics``, from one pass over features that were never held at once:
    the covariance of all is S/N of their classes made one.

    Raises:
        RequestError: fewer than two features, d < 2, or statistics taken with ``pooled=False``.
    """
    if isinstance(features, Tensor):
        _check_dimensions("principal_plane", features)
        rows = wide(features)
        mean, count = rows.mean(dim=0), rows.shape[0]
        scatter = (rows - mean).T @ (rows - mean)
    else:
        mean, scatter, count = _all_in_one(features)
    if count < 2:
        raise RequestError(f"principal_plane() needs at least two features, got {count}")
    values, axes = torch.linalg.eigh(scatter)
    return Plane(mean, _signed(axes.T.flip(0)[:2]), _kept(values.flip(0).clamp(min=0)))


def _all_in_one(stats: ClassStatistics) -> tuple[Tensor, Tensor, int]:
    if stats.features < 2:
        raise RequestError("principal_plane() needs features (N, d) with d >= 2, got d = 1")
    union = regroup(stats, torch.zeros(stats.classes, dtype=torch.int64), 1)
    if union.scatter is None:
        raise RequestError(
            "principal_plane() needs statistics with the pooled scatter (d, d), got pooled=False; "
            "take them with pooled=True"
        )
    return union.means[0], union.scatter, int(union.counts[0])


def _check_dimensions(caller: str, points: Tensor) -> None:
    check_features(caller, points)
    if points.shape[0] < 1 or points.shape[1] < 2:
        raise RequestError(f"{caller}() needs rows (N, d) with d >= 2, got {tuple(points.shape)}")
    if not bool(torch.isfinite(points).all()):
        raise RequestError(f"{caller}() needs finite values, got NaN or infinity")


def _at_least_two(rows: Tensor) -> Tensor:
    """One vector spans no plane: a row of zeros lets the second axis be any other direction."""
    return torch.cat([rows, torch.zeros_like(rows)]) if rows.shape[0] == 1 else rows


def _signed(axes: Tensor) -> Tensor:
    """Axes with their largest entry positive: a singular vector's sign is an accident."""
    largest = axes.abs().argmax(dim=1, keepdim=True)
    return axes * torch.where(axes.gather(1, largest) < 0, -1.0, 1.0)


def _kept(parts: Tensor) -> float:
    total = float(parts.sum())
    return float(parts[:2].sum()) / total if total > 0 else 1.0
