"""What cross-entropy can reach on given class vectors, and the scale that it takes.

For unit features x and cosine logits z_j = S cos(w_j, x). Write c_yj = cos(w_y, w_j).
A feature on its own class vector, x = w_y, has the probability

    p_y(S) = 1 / (1 + Σ_{j≠y} exp(S (c_yj − 1))),

which grows with S from 1/K to one over the number of vectors that share w_y's direction.

Means over classes y run over all of them up to 10,000, and over a seeded sample above, each of its
classes against all the others: a sample of the others would miss a class's few near neighbours,
which decide about it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .._errors import RequestError
from ..vectors.rows import ImplicitVectors, RowSource, Vectors, sample_labels

ALL_CLASSES = 10_000
"""Up to so many classes every class counts; above it, ``SAMPLE`` seeded ones at most."""

ALL_SUMMED = 2_048
"""The same for vectors that make the sums themselves, from rows that are much alike."""

SAMPLE = 4_096
STANDARD_ERROR = 1e-3
"""A sample for ``scale_auto`` grows to ``SAMPLE`` classes, or until S is known so well: s / S."""

_LOOK = 256
"""Classes that a search over many begins with; and the fewest that a sample has."""

_SUMMED_LOOK = 16
"""The same for vectors that make the sums themselves, where ``_SUMMED_WORK`` logits are fewer."""

_SUMMED_WORK = 1 << 22

_KEPT = 1 << 24
"""Cosines that are kept between two scales: 128 MiB of float64."""

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
    return RowAnchors(source, anchor_labels(source)).at(scale)[0].cross_entropy


def scale_auto(vectors: Vectors, probability: float = 0.99) -> float:
    """The smallest scale S at which mean_y p_y(S) reaches ``probability``.

    For a simplex log((K−1) p/(1−p)) · (K−1)/K, for orthonormal vectors log((K−1) p/(1−p))
    (``equiangular_scale``). Above 10,000 classes the mean runs over a seeded sample of 256 to
    4,096: so many that the standard error of S is at most 0.1 %, where 4,096 are enough for that.
    Of codes that are not stored it runs over a sample above 2,048 classes, of 16 and more.

    Raises:
        RequestError: so many rows coincide that no scale reaches it, or it is no probability.
    """
    if isinstance(probability, bool) or not 0 < probability < 1:
        raise RequestError(f"scale_auto() needs 0 < probability < 1, got {probability!r}")
    source = RowSource(vectors, "scale_auto")
    found = solve_scale(source, probability)
    if found is None:
        raise RequestError(
            f"scale_auto() needs vectors that some scale can tell apart with probability "
            f"{probability:g}, got {source.classes} rows of which too many coincide; "
            "use distinct vectors, or give the scale as a number"
        )
    return found.scale


def equiangular_scale(classes: int, cosine: float, probability: float = 0.99) -> float:
    """``scale_auto`` of K vectors any two of which have the cosine c: log((K−1) p/(1−p)) / (1−c).

    At least 0, as ``scale_auto``.
    """
    odds = (classes - 1) * probability / (1 - probability)
    return max(math.log(odds), 0.0) / (1 - cosine)


@runtime_checkable
class SummingVectors(ImplicitVectors, Protocol):
    """Vectors that make the sums over all other classes themselves, without a product with W."""

    def log_negatives(self, labels: Tensor, scale: Tensor) -> Tensor:
        """log Σ_{j≠y} exp(S (c_yj − 1)) for labels y (n,), differentiable in S."""
        ...


@dataclass(frozen=True)
class AutoScale:
    """S, and its standard error from drawing ``drawn`` classes; 0 where every class counts."""

    scale: float
    standard_error: float
    drawn: int


@dataclass(frozen=True)
class Anchored:
    """Means over classes at x = w_y and one scale.

    ``slope`` is d probability / dS, ``deviation`` the standard deviation of p_y over the classes.
    """

    probability: float
    slope: float
    cross_entropy: float
    deviation: float


class Anchors(ABC):
    """p_y(S) of some classes y among all K."""

    def __init__(self, source: RowSource, labels: Tensor) -> None:
        self._source = source
        self._labels = labels
        self.classes = source.classes
        self.drawn = labels.numel()

    @property
    @abstractmethod
    def precision(self) -> float:
        """The rounding unit of the cosines."""

    @abstractmethod
    def at(self, *scales: float) -> list[Anchored]:
        """Means over the classes at each of the scales."""


class SummedAnchors(Anchors):
    """Of vectors that make the sums themselves."""

    def __init__(self, source: RowSource, labels: Tensor, vectors: SummingVectors) -> None:
        super().__init__(source, labels)
        self._vectors = vectors

    @property
    def precision(self) -> float:
        return 1e-12  # of a walk over float64 logits

    def at(self, *scales: float) -> list[Anchored]:
        return [self._at(scale) for scale in scales]

    def _at(self, value: float) -> Anchored:
        with torch.enable_grad():
            scale = torch.tensor(value, dtype=torch.float64, device=self._labels.device)
            scale.requires_grad_()
            logs = self._vectors.log_negatives(self._labels, scale)
            own = (-logs).sigmoid()
            (slope,) = torch.autograd.grad(own.mean(), scale)
        deviation = float(own.detach().std(correction=0))
        mean = float(own.detach().mean())
        return Anchored(mean, float(slope), float(softplus(logs.detach()).mean()), deviation)


class RowAnchors(Anchors):
    """From cosines with all K rows, tile by tile: few ones are kept, others made again."""

    def __init__(self, source: RowSource, labels: Tensor) -> None:
        super().__init__(source, labels)
        drawn = self.drawn if source.classes <= ALL_CLASSES else SAMPLE
        work = drawn * source.classes * source.features
        # In few dimensions neighbours are so close that 1 − c drowns in float32.
        wide = source.features <= 64 or work <= _FLOAT64_WORK
        self._dtype = source.widest if wide else torch.float32
        self._kept: dict[int, list[Tensor]] = {}

    @property
    def precision(self) -> float:
        return torch.finfo(self._dtype).eps

    def at(self, *scales: float) -> list[Anchored]:
        """One pass for all of the scales together."""
        sums = torch.zeros(len(scales), 4, dtype=torch.float64)
        for start in range(0, self.drawn, _TILE):
            rest = torch.zeros(len(scales), len(self._labels[start : start + _TILE]))
            rest = rest.to(self._source.device, self._source.widest)
            pull = torch.zeros_like(rest)
            for gaps in self._gaps(start):
                for index, scale in enumerate(scales):
                    weights = (gaps * scale).exp_()
                    rest[index] += weights.sum(dim=1)
                    pull[index] += weights.mul_(gaps).sum(dim=1)
            own = 1 / (1 + rest)
            terms = [own, -own.square() * pull, torch.log1p(rest), own.square()]
            sums += torch.stack(terms, dim=-1).sum(dim=1).cpu()
        return [
            Anchored(p, slope, nats, math.sqrt(max(square - p**2, 0.0)))
            for p, slope, nats, square in (sums / self.drawn).tolist()
        ]

    def _gaps(self, first: int) -> Iterator[Tensor]:
        """c_yj − 1 ≤ 0 in tiles (n, k), and −1e30 on the own class, whose weight thereby is 0."""
        if first in self._kept:
            yield from self._kept[first]
            return
        source, labels = self._source, self._labels[first : first + _TILE]
        anchors = source.unit(source.raw(labels), self._dtype)
        keeping = self.drawn * source.classes <= _KEPT
        tiles = []
        for start in range(0, source.classes, _TILE):
            stop = start + _TILE
            gaps = anchors @ source.unit(source.slice(start, stop), self._dtype).T
            gaps.sub_(1.0).clamp_(max=0.0)
            inside = ((labels >= start) & (labels < stop)).nonzero().squeeze(1)
            gaps[inside, labels[inside] - start] = _NEVER
            if keeping:
                tiles.append(gaps)
            yield gaps
        if keeping:
            self._kept[first] = tiles


def anchor_labels(source: RowSource) -> Tensor:
    """The classes that means run over."""
    return sample_labels(source, source.classes if source.classes <= ALL_CLASSES else SAMPLE)


def solve_scale(source: RowSource, probability: float) -> AutoScale | None:
    """The root of mean_y p_y(S) = probability, or None where no S reaches it.

    A few classes give the neighbourhood, further ones the root: on many classes a pass is dear.
    """
    start = math.log((source.classes - 1) * probability / (1 - probability))
    start = max(start * (source.classes - 1) / source.classes, 1e-3)
    summing = isinstance(source.vectors, SummingVectors)
    if source.classes <= (ALL_SUMMED if summing else ALL_CLASSES):
        if source.classes > 4 * _LOOK:
            look = _root(_anchors(source, sample_labels(source, _LOOK)), probability, start)
            start = start if look is None else look.scale
        return _root(_anchors(source, anchor_labels(source)), probability, start)
    if not summing:
        start = _start_from_few(source, probability) or start
    drawn = min(max(_SUMMED_WORK // source.classes, _SUMMED_LOOK), _LOOK) if summing else _LOOK
    while True:
        found = _root(_anchors(source, sample_labels(source, drawn)), probability, start)
        if found is not None and found.standard_error <= STANDARD_ERROR * found.scale:
            return found
        if drawn >= SAMPLE:
            return found
        start = start if found is None else found.scale
        drawn = min(4 * drawn, SAMPLE)


def _start_from_few(source: RowSource, probability: float) -> float | None:
    """The root of a sample of m classes among themselves, at the odds o (K−1)/(m−1): a class's
    sum over m − 1 others is about (m−1)/(K−1) of its sum over K − 1.
    """
    few = RowSource(source.raw(sample_labels(source, SAMPLE)), source.caller)
    odds = probability / (1 - probability) * (source.classes - 1) / (few.classes - 1)
    look = _root(RowAnchors(few, sample_labels(few, _LOOK)), odds / (1 + odds), 1.0)
    return None if look is None else look.scale


def _anchors(source: RowSource, labels: Tensor) -> Anchors:
    if isinstance(source.vectors, SummingVectors):
        return SummedAnchors(source, labels, source.vectors)
    return RowAnchors(source, labels)


def _root(anchors: Anchors, probability: float, start: float) -> AutoScale | None:
    """Newton's method on the log-odds, which are almost straight in S, inside a bracket."""
    if anchors.classes * probability <= 1:
        return AutoScale(0.0, 0.0, anchors.drawn)
    largest = 1e-3 / anchors.precision  # beyond it, S times the rounding of a cosine counts
    exact = anchors.classes <= ALL_CLASSES
    # What a step of Newton's leaves is its square: far below the standard error of a sample.
    tolerance = 1e5 * anchors.precision if exact else STANDARD_ERROR
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
            scale = step
            break
        scale = step
    error = 0.0
    if anchors.drawn < anchors.classes and here.slope > 0:
        error = here.deviation / math.sqrt(anchors.drawn) / here.slope
    return AutoScale(scale, error, anchors.drawn)


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
