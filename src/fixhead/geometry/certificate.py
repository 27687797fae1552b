"""A certificate: what can be said of class vectors by looking at them alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from .._errors import RequestError
from ..vectors.bounds import cosine_bound, welch_bound
from ..vectors.rows import RowSource, Vectors, cosine_extremes, first_equal_of, sample_labels
from .anchors import ALL_CLASSES, SAMPLE, RowAnchors, anchor_labels, floors, solve_scale

_AT_ONE, _AT_AUTO = "scale_1", "scale_auto"
_ALL_PAIRS_WORK = 1e13


@dataclass(frozen=True)
class Certificate:
    """Facts about K class vectors in d dimensions; cosines are over pairs of different classes.

    distinct: how many rows differ bit by bit; K is what one wants.
    welch_bound: no K vectors have a smaller ``abs_cosine_max``; 0 for K ≤ d.
    signed_bound: no K vectors have a smaller ``cosine_max``.
    reachable_nonnegative_min: min over classes of max(‖w⁺‖, max_i w_i), the largest cosine that a
        feature without negative entries (after a ReLU) can have with the worst class.
    scale_auto: the scale at which features on their class vectors reach a mean probability of
        0.99; None where rows coincide so much that no scale does.
    ce_floor, ce_at_vectors: cross-entropy in nats, under ``"scale_1"`` and ``"scale_auto"``: the
        least that unit features can reach (a lower bound), and the mean at x = w_y.
    sampled_classes: None where least and largest cosine are over all pairs; else over the pairs of
        so many seeded classes with all others.
    """

    construction: str
    classes: int
    features: int
    distinct: int
    norm_min: float
    norm_max: float
    cosine_min: float
    cosine_mean: float
    cosine_max: float
    abs_cosine_max: float
    welch_bound: float
    signed_bound: float | None
    reachable_nonnegative_min: float
    scale_auto: float | None
    ce_floor: dict[str, float | None]
    ce_at_vectors: dict[str, float | None]
    sampled_classes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON."""
        return dataclasses.asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """What it says and the value, both as text for people."""
        return describe(self)

    def __str__(self) -> str:
        lines = self.table()
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


@torch.no_grad()
def certify(
    vectors: Vectors, *, construction: str = "tensor", sample: int | None = None
) -> Certificate:
    """Measure class vectors (K, d), dense or implicit; nothing K × K is held in memory.

    Norms and ``distinct`` are those of the rows as they are stored; everything else is about
    their directions, so learned vectors of any length can be certified too.
    Above 10,000 classes ``ce_at_vectors`` is a mean over 4,096 seeded classes, and ``scale_auto``
    is found as ``fixhead.geometry.scale_auto`` finds it.

    Args:
        sample: look for the extreme cosines only among pairs of so many seeded classes with all
            others. By default all pairs are compared up to K² d = 10¹³ (K = 100,000 at d = 512 and
            more), and those of 4,096 classes with all above it.

    Raises:
        RequestError: fewer than two rows, not floating, or a row that is zero or not finite.
    """
    source = RowSource(vectors, "certify")
    sampled = _sampled(source, sample)
    low, high, mean, reachable = _rows_alone(source)
    labels = None if sampled is None else sample_labels(source, sampled)
    extremes = cosine_extremes(source, labels)
    solved = solve_scale(source, 0.99)
    scale = None if solved is None else solved.scale
    scales = [1.0] if scale is None else [1.0, max(scale, 1e-9)]
    floor = floors(source, scales)
    at_vectors = [a.cross_entropy for a in RowAnchors(source, anchor_labels(source)).at(*scales)]
    return Certificate(
        construction=construction,
        classes=source.classes,
        features=source.features,
        distinct=_distinct(source),
        norm_min=low,
        norm_max=high,
        cosine_min=extremes.smallest,
        cosine_mean=mean,
        cosine_max=extremes.largest,
        abs_cosine_max=extremes.largest_absolute,
        welch_bound=welch_bound(source.classes, source.features),
        signed_bound=cosine_bound(source.classes, source.features),
        reachable_nonnegative_min=reachable,
        scale_auto=scale,
        ce_floor=_by_scale(floor),
        ce_at_vectors=_by_scale(at_vectors),
        sampled_classes=sampled,
    )


def _sampled(source: RowSource, sample: int | None) -> int | None:
    """How many classes are held against all; None where every pair is compared."""
    if sample is None:
        work = source.classes**2 * source.features
        sample = SAMPLE if work > _ALL_PAIRS_WORK else source.classes
    elif isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise RequestError(
            f"certify() needs sample as a whole number above 0, got {sample!r}; "
            f"sample={source.classes} compares all pairs"
        )
    return sample if sample < source.classes else None


def _rows_alone(source: RowSource) -> tuple[float, float, float, float]:
    """Smallest and largest norm, mean cosine, least reachable cosine: one pass over the rows.

    Σ_{i≠j} ⟨u_i, u_j⟩ = ‖Σ u‖² − K for unit rows u.
    """
    low, high, reachable = float("inf"), 0.0, 1.0
    total = torch.zeros(source.features, dtype=source.widest, device=source.device)
    for start, stop in source.blocks():
        raw = source.slice(start, stop)
        norms = torch.linalg.vector_norm(raw.to(source.widest), dim=1)
        rows = source.unit(raw, source.widest)
        low, high = min(low, float(norms.min())), max(high, float(norms.max()))
        total += rows.sum(dim=0)
        positive = torch.linalg.vector_norm(rows.clamp(min=0), dim=1)
        worst = torch.maximum(positive, rows.amax(dim=1)).min()
        reachable = min(reachable, float(worst))
    K = source.classes
    mean = (float(total @ total) - K) / (K * (K - 1))
    return low, high, mean, reachable


def _distinct(source: RowSource) -> int:
    first = first_equal_of(source.raw, source.classes, source.features, device=source.device)
    return int((first == torch.arange(source.classes, device=first.device)).sum())


def _by_scale(values: list[float]) -> dict[str, float | None]:
    return {_AT_ONE: values[0], _AT_AUTO: values[1] if len(values) > 1 else None}


def describe(certificate: Certificate) -> list[tuple[str, str]]:
    """A certificate line by line, for people."""
    c = certificate
    seen = "" if c.sampled_classes is None else f" (of {c.sampled_classes:,} classes with all)"
    drawn = " (over a sample of classes)" if c.classes > ALL_CLASSES else ""
    sampled = f" (over {SAMPLE:,} classes)" if c.classes > ALL_CLASSES else ""
    auto = "none: too many rows coincide" if c.scale_auto is None else f"{c.scale_auto:.4g}"
    return [
        ("construction", c.construction),
        ("classes K × features d", f"{c.classes:,} × {c.features:,}"),
        ("distinct rows", f"{c.distinct:,}" + ("" if c.distinct == c.classes else " (not all!)")),
        ("norms", f"{c.norm_min:.6f} … {c.norm_max:.6f}"),
        ("cosine, least", f"{c.cosine_min:+.6f}" + seen),
        ("cosine, mean", f"{c.cosine_mean:+.6f}"),
        ("cosine, largest", f"{c.cosine_max:+.6f}" + _bound(c.signed_bound, "+.6f") + seen),
        ("|cosine|, largest", f"{c.abs_cosine_max:.6f}" + _bound(c.welch_bound, ".6f", "Welch ")),
        ("reachable by features ≥ 0, worst class", f"{c.reachable_nonnegative_min:.4f}"),
        ("scale for probability 0.99", auto + drawn),
        ("cross-entropy floor at scale 1 / auto", _pair(c.ce_floor)),
        ("cross-entropy at the vectors, 1 / auto", _pair(c.ce_at_vectors) + sampled),
    ]


def _bound(value: float | None, form: str, name: str = "") -> str:
    return "" if value is None else f"  ({name}bound {value:{form}})"


def _pair(values: dict[str, float | None]) -> str:
    return " / ".join("–" if value is None else f"{value:.4g}" for value in values.values())
