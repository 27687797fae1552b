"""What cross-entropy can reach on given class vectors, and the scale that it takes.

For unit features x and cosine logits z_j = S cos(w_j, x). Write c_yj = cos(w_y, w_j).
A feature on its own class vector, x = w_y, has the probability

    p_y(S) = 1 / (1 + Σ_{j≠y} exp(S (c_yj − 1))),

which grows with S from 1/K to one over the number of vectors that share w_y's direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .._errors import RequestError
from ..vectors.rows import RowSource, Vectors, sample_labels

ALL_CLASSES = 10_000
"""Up to so many classes every class counts; above it, ``SAMPLE`` seeded ones."""

SAMPLE = 4_096
_FIRST_LOOK = 256
_TILE = 2_048
_NEVER = -1e30
_STEPS = 200
_FLOAT64_WORK = 2e10
"""Products up to which cosines are computed in float64."""


def ce_floor(vectors: Vectors, scale: float) -> float:
    """No unit features reach a mean cross-entropy below this (nats), one class as often as another:

        mean_y log(1 + (K−1) exp(−S · K/(K−1) · ‖w_y − w̄‖)),  unit rows w, their mean w̄.

    Exact for simplex and orthonormal vectors. By Jensen: Σ_{j≠y} exp(S⟨w_j − w_y, x⟩) is at least
    (K−1) exp of the mean exponent, −S · K/(K−1) · ⟨w_y − w̄, x⟩.
    """
    _check_scale("ce_floor", scale)
    return floors(RowSource(vectors, "ce_floor"), [scale])[0]


def probability_bound(classes: int, scale: float = 1.0) -> float:
    """No cosine logits give the own class of K a higher probability than this, whatever vectors:

        P ≤ e^S / (e^S + (K−1) e^−S) = 1 / (1 + (K−1) e^−2S).

    It takes the cosine 1 with the own vector and −1 with every other one, which K > 2 vectors
    cannot have together: for given vectors ``exp(−ce_floor)`` bounds the geometric mean more
    closely.

    Source: Shalev et al. 2020, eq. 4 (S = 1) and eq. 5.

    Raises:
        RequestError: fewer than two classes, or no finite scale above 0.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise RequestError(f"probability_bound() needs classes >= 2, got {classes!r}")
    _check_scale("probability_bound", scale)
    return 1 / (1 + (classes - 1) * math.exp(-2 * scale))


def ce_at_vectors(vectors: Vectors, scale: float) -> float:
    """Mean over classes of the cross-entropy at x = w_y, −log p_y(S), in nats.

    Above 10,000 classes the mean over 4,096 seeded ones.
    """
    _check_scale("ce_at_vectors", scale)
    source = RowSource(vectors, "ce_at_vectors")
    return Anchors(source, anchor_labels(source)).at(scale)[0].cross_entropy


def scale_auto(vectors: Vectors, probability: float = 0.99) -> float:
    """The smallest scale S at which mean_y p_y(S) reaches ``probability``.

    For a simplex log((K−1) p/(1−p)) · (K−1)/K, for orthonormal vectors log((K−1) p/(1−p))
    (``equiangular_scale``). Above 10,000 classes the mean runs over 4,096 seeded ones.

    Raises:
        RequestError: so many rows coincide that no scale reaches it, or it is no probability.
    """
    if isinstance(probability, bool) or not 0 < probability < 1:
        raise RequestError(f"scale_auto() needs 0 < probability < 1, got {probability!r}")
    source = RowSource(vectors, "scale_auto")
    scale = solve_scale(source, probability)
    if scale is None:
        raise RequestError(
            f"scale_auto() needs vectors that some scale can tell apart with probability "
            f"{probability:g}, got {source.classes} rows of which too many coincide; "
            "use distinct vectors, or give the scale as a number"
        )
    return scale


def equiangular_scale(classes: int, cosine: float, probability: float = 0.99) -> float:
    """``scale_auto`` of K vectors any two of which have the cosine c: log((K−1) p/(1−p)) / (1−c).

    At least 0, as ``scale_auto``.
    """
    odds = (classes - 1) * probability / (1 - probability)
    return max(math.log(odds), 0.0) / (1 - cosine)


@dataclass(frozen=True)
class Anchored:
    """Means over classes at x = w_y and one scale; ``slope`` is d probability / dS."""

    probability: float
    slope: float
    cross_entropy: float


class Anchors:
    """The chosen classes' cosines with all K, made tile by tile whenever they are needed."""

    def __init__(self, source: RowSource, labels: Tensor) -> None:
        self._source = source
        self._labels = labels
        self.classes = source.classes
        work = labels.numel() * source.classes * source.features
        # In few dimensions neighbours are so close that 1 − c drowns in float32.
        wide = source.features <= 64 or work <= _FLOAT64_WORK
        self._dtype = source.widest if wide else torch.float32
        self._only_tile: Tensor | None = None

    @property
    def precision(self) -> float:
        """The rounding unit of the cosines."""
        return torch.finfo(self._dtype).eps

    def at(self, *scales: float) -> list[Anchored]:
        """One pass for all of the scales together."""
        sums = torch.zeros(len(scales), 3, dtype=torch.float64)
        for start in range(0, self._labels.numel(), _TILE):
            labels = self._labels[start : start + _TILE]
            rest = torch.zeros(len(scales), labels.numel(), dtype=self._source.widest)
            rest = rest.to(self._source.device)
            pull = torch.zeros_like(rest)
            for gaps in self._gaps(labels):
                for index, scale in enumerate(scales):
                    weights = (gaps * scale).exp_()
                    rest[index] += weights.sum(dim=1)
                    pull[index] += weights.mul_(gaps).sum(dim=1)
            own = 1 / (1 + rest)
            terms = torch.stack([own, -own.square() * pull, torch.log1p(rest)], dim=-1)
            sums += terms.sum(dim=1).cpu()
        return [Anchored(*row) for row in (sums / self._labels.numel()).tolist()]

    def _gaps(self, labels: Tensor) -> Iterator[Tensor]:
        """c_yj − 1 ≤ 0 in tiles (n, k), and −1e30 on the own class, whose weight thereby is 0."""
        if self._only_tile is not None:
            yield self._only_tile
            return
        source = self._source
        anchors = source.unit(source.raw(labels), self._dtype)
        for start in range(0, source.classes, _TILE):
            stop = start + _TILE
            gaps = anchors @ source.unit(source.slice(start, stop), self._dtype).T
            gaps.sub_(1.0).clamp_(max=0.0)
            inside = ((labels >= start) & (labels < stop)).nonzero().squeeze(1)
            gaps[inside, labels[inside] - start] = _NEVER
            if max(self._labels.numel(), source.classes) <= _TILE:
                self._only_tile = gaps
            yield gaps


def anchor_labels(source: RowSource) -> Tensor:
    """The classes that means run over."""
    return sample_labels(source, source.classes if source.classes <= ALL_CLASSES else SAMPLE)


def solve_scale(source: RowSource, probability: float) -> float | None:
    """The root of mean_y p_y(S) = probability, or None where no S reaches it.

    A few classes give the neighbourhood, all of them the root: on many classes a pass is dear.
    """
    start = math.log((source.classes - 1) * probability / (1 - probability))
    start = max(start * (source.classes - 1) / source.classes, 1e-3)
    if source.classes > 4 * _FIRST_LOOK:
        few = Anchors(source, sample_labels(source, _FIRST_LOOK))
        start = _root(few, probability, start) or start
    return _root(Anchors(source, anchor_labels(source)), probability, start)


def _root(anchors: Anchors, probability: float, start: float) -> float | None:
    """Newton's method on the log-odds, which are almost straight in S, inside a bracket."""
    if anchors.classes * probability <= 1:
        return 0.0
    largest = 1e-3 / anchors.precision  # beyond it, S times the rounding of a cosine counts
    tolerance = 1e5 * anchors.precision
    low, high, scale = 0.0, math.inf, start
    for _ in range(_STEPS):
        here = anchors.at(scale)[0]
        if here.probability >= probability:
            high = scale
        elif scale >= largest:
            return None
        else:
            low = scale
        step = _newton(here, scale, probability)
        if not low < step < high:
            step = 2 * scale if math.isinf(high) else math.sqrt(low * high) or high / 2
        step = min(step, largest)
        if abs(step - scale) <= tolerance * scale:
            return step
        scale = step
    return scale


def _newton(here: Anchored, scale: float, probability: float) -> float:
    p = here.probability
    if not 0 < p < 1 or here.slope <= 0:
        return math.inf
    missing = math.log(probability / (1 - probability)) - math.log(p / (1 - p))
    return scale + missing * p * (1 - p) / here.slope


def floors(source: RowSource, scales: list[float]) -> list[float]:
    """``ce_floor`` at several scales: two passes over the rows."""
    total = torch.zeros(source.features, dtype=source.widest, device=source.device)
    for rows in source.unit_blocks():
        total += rows.sum(dim=0)
    mean, ratio = total / source.classes, source.classes / (source.classes - 1)
    sums = [0.0] * len(scales)
    for rows in source.unit_blocks():
        reach = torch.linalg.vector_norm(rows - mean, dim=1) * ratio
        for index, scale in enumerate(scales):
            sums[index] += float(softplus(math.log(source.classes - 1) - scale * reach).sum())
    return [value / source.classes for value in sums]


def _check_scale(caller: str, scale: float) -> None:
    if isinstance(scale, bool) or not (math.isfinite(scale) and scale > 0):
        raise RequestError(f"{caller}() needs a finite scale above 0, got {scale!r}")
