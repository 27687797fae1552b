"""Two-dimensional views of more dimensions: the plane of the class vectors, and PCA;
and decision areas there: which class owns which part of the circle of directions.

Without a bias, scaling a feature scales all its logits alike, so a decision depends on the
feature's direction only, and each class owns one sector of the circle (or nothing).

cosine   class k owns the directions that are nearer to w_k than to any other vector: from the
         middle of the angle to its neighbour on one side to the middle on the other side.
dot      logits ‖w_k‖ cos(θ − φ_k). The largest one over k is the support function of the convex
         hull of the vectors, so class k owns the outward directions of its corner of the hull,
         an angle of π minus the inner angle; vectors inside the hull or on one of its sides own
         nothing. For vectors of one length both rules agree.

With a bias b_k the logits are not scaled alike, and areas depend on the length of the feature:
heads with a bias have no sectors.

Source: de la Calle et al., Figures 3 and 4 (the "classification areas" of the classes).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .._errors import RequestError
from .statistics import ClassStatistics, check_choice, check_features, regroup, wide


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


SectorLogits = Literal["dot", "cosine"]

_TURN = 2 * math.pi

NEGLIGIBLE = 1e-9
"""A share of the circle below this is rounding: the class counts as vanished."""


@dataclass(frozen=True)
class Sector:
    """The directions that class ``label`` owns, counter-clockwise from start to stop (radians).

    start is in [0, 2π), stop in (start, start + 2π].
    """

    label: int
    start: float
    stop: float

    @property
    def share(self) -> float:
        """The fraction of the circle."""
        return (self.stop - self.start) / _TURN


def sectors(vectors: Tensor, *, logits: SectorLogits = "cosine") -> list[Sector]:
    """The circle cut into the sectors of vectors (K, 2), in the order of their starts.

    Of equal vectors (cosine: equal directions) the lowest label owns all, as argmax decides; the
    others have no sector.

    Raises:
        RequestError: vectors are not (K, 2) and finite, or a cosine head's vector is zero.
    """
    check_choice("sectors", "logits", logits, get_args(SectorLogits))
    if vectors.ndim != 2 or vectors.shape[1] != 2 or vectors.shape[0] < 1:
        raise RequestError(
            f"sectors() needs vectors (K, 2) in the plane, got {tuple(vectors.shape)}; "
            "project them first, which does not keep the decisions"
        )
    points = wide(vectors)
    if not bool(torch.isfinite(points).all()):
        raise RequestError("sectors() needs finite vectors, got NaN or infinity")
    if logits == "cosine" and not bool(points.any(dim=1).all()):
        raise RequestError("sectors() needs vectors with a direction for cosine logits, got a zero")
    found = _between_angles(points) if logits == "cosine" else _corners(points)
    return sorted(found, key=lambda sector: sector.start)


def decision_areas(vectors: Tensor, *, logits: SectorLogits = "cosine") -> Tensor:
    """The fraction of the circle that each class owns: vectors (K, 2) → (K,), together 1.

    Raises:
        RequestError: as ``sectors``.
    """
    areas = torch.zeros(vectors.shape[0] if vectors.ndim else 0, dtype=torch.float64)
    for sector in sectors(vectors, logits=logits):
        areas[sector.label] += sector.share
    return areas


def vanished(areas: Tensor) -> Tensor:
    """Classes without an area (a share below 1e-9): (K,) → bool (K,)."""
    return areas < NEGLIGIBLE


def _between_angles(points: Tensor) -> list[Sector]:
    angles = torch.atan2(points[:, 1], points[:, 0]).tolist()
    first: dict[float, int] = {}
    for label, angle in enumerate(angles):
        first.setdefault(angle, label)
    if -math.pi in first and math.pi in first:  # one direction, written twice
        first[math.pi] = min(first[math.pi], first.pop(-math.pi))
    order = sorted(first)
    if len(order) == 1:
        return [_sector(first[order[0]], order[0] - math.pi, _TURN)]
    gaps = [(after - own) for own, after in itertools.pairwise(order)]
    gaps.append(order[0] + _TURN - order[-1])
    return [
        _sector(first[angle], angle - gaps[index - 1] / 2, (gaps[index - 1] + gaps[index]) / 2)
        for index, angle in enumerate(order)
    ]


def _corners(points: Tensor) -> list[Sector]:
    hull = _hull([(x, y, label) for label, (x, y) in enumerate(points.tolist())])
    if len(hull) == 1:
        return [_sector(hull[0][2], 0.0, _TURN)]
    sides = zip(hull, hull[1:] + hull[:1], strict=True)
    # Outward normal of each side of the counter-clockwise hull: where its two ends tie.
    normals = [math.atan2(a[0] - b[0], b[1] - a[1]) for a, b in sides]
    return [
        _sector(corner[2], normals[index - 1], _angle(normals[index - 1], normals[index]))
        for index, corner in enumerate(hull)
    ]


def _angle(start: float, stop: float) -> float:
    """From one side's normal to the next: at most π, so that almost 2π is 0 less rounding."""
    width = (stop - start) % _TURN
    return width if width < 1.5 * math.pi else 0.0


Point = tuple[float, float, int]


def _hull(points: list[Point]) -> list[Point]:
    """Corners of the convex hull, counter-clockwise (Andrew's monotone chain)."""
    lowest: dict[tuple[float, float], Point] = {}
    for point in points:
        lowest.setdefault(point[:2], point)
    ordered = sorted(lowest.values())
    if len(ordered) < 3:
        return ordered
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return lower[:-1] + upper[:-1]


def _chain(points: list[Point]) -> list[Point]:
    chain: list[Point] = []
    for point in points:
        while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: Point, b: Point, c: Point) -> float:
    """Twice the signed area of a, b, c: positive for a turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _sector(label: int, start: float, width: float) -> Sector:
    start %= _TURN
    start = 0.0 if start >= _TURN else start  # −1e-17 % 2π is 2π itself
    return Sector(label, start, start + width)
