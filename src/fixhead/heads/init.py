"""Where a head's tensors start: vectors, scale and bias, before anything is learned.

The words that mean them are checked here, too, before K and d are known; and a class that
non-negative features cannot reach is warned of.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from ..geometry.anchors import equiangular_scale, scale_auto
from ..logits import unit
from ..many_classes.codes import MIN_WIDTH, Codes, implicit
from ..many_classes.quantised import QuantisedVectors, drawn_vectors, tables_of
from ..many_classes.staged import StagedVectors, drawn_stages, stages_of
from ..many_classes.vectors import ClassVectors, DenseVectors
from ..vectors import registry as constructions
from .as_released import HOFFER_SCALE, RELEASED

IMPLICIT: dict[str, dict[str, Any]] = {
    "implicit": {},
    "implicit:gold": {"family": "gold"},
    "implicit:kerdock": {"family": "kerdock"},
    "implicit:delsarte-goethals": {"family": "delsarte-goethals"},
    "implicit:random": {"family": "random"},
}
"""Words for the code that holds K vectors in D dimensions with the least coherence, or for one
family: ``fixhead.many_classes.implicit``, of which only the bits are held, K/8 bytes."""

VARIANTS: dict[str, dict[str, Any]] = {
    "simplex:canonical": {"rotate": False},
    "random:released": {"released": True},
    "guided:circular": {"order": "circular"},
    "guided:valley": {"order": "valley"},
    "guided:shuffled": {"order": "shuffled"},
    "codes:random": {"family": "random"},
    **{f"block_codes:{blocks}": {"blocks": blocks} for blocks in (2, 4, 8)},
    **{name: options for name, options in IMPLICIT.items() if options},
}
"""Options of constructions that a head's spec can name."""

SPECIAL = (*RELEASED, "auto", "implicit", "quantised:BYTES", "stages:STAGES")
"""Vectors that are no construction of ``fixhead.vectors``."""

MAPPED = 3.0
"""Behind a learned map "auto" is so many times the scale at which the codes themselves reach
probability 0.99: features of d dimensions do not come as near to codes in D. In the study
(docs/many_classes.md) S = 40 learned most among 10, 20, 40 and 80, where that scale is 12.
"""


def check_vectors(text: str) -> None:
    """Refuse vectors that no construction, variant or special word names."""
    if tables_of(text) is not None or stages_of(text) is not None:
        return
    name = text.partition(":")[0]
    if name in SPECIAL or (name in constructions.CONSTRUCTIONS and name != "from_tensor"):
        if ":" not in text or text in VARIANTS:
            return
        raise RequestError(
            f"vectors={name} has the variants "
            f"{', '.join(key for key in VARIANTS if key.startswith(name)) or 'none'}, got {text!r}"
        )
    known = [key for key in constructions.CONSTRUCTIONS if key != "from_tensor"]
    raise RequestError(f"vectors must be one of {', '.join([*known, *SPECIAL])}, got {text!r}")


RISES_FROM = 0.25
"""A rising scale begins at this share of its value: the course that did best in the study
(docs/many_classes.md)."""

_SCALE = "scale must be a number above 0, 'auto' or 'learned', the first two also with ':rising'"


def check_scale(scale: float | str, logits: str) -> None:
    """Refuse a scale that is none, or that these logits cannot have."""
    given = scale
    scale, _ = split_rising(scale)
    if isinstance(scale, str):
        if scale != "auto" and (split_learned(scale) is None or scale != given):
            raise RequestError(f"{_SCALE}, got {given!r}")
    elif isinstance(scale, bool) or not isinstance(scale, int | float):
        raise RequestError(f"{_SCALE}, got {given!r}")
    elif not (math.isfinite(scale) and scale > 0):
        raise RequestError(f"scale must be a finite number above 0, got {scale}")
    if scale == "auto" and logits != "cosine":
        raise RequestError(
            f"scale='auto' needs cosine logits, got logits={logits!r}: there the vectors' and "
            "features' own lengths already scale; give a number, or use logits='cosine'"
        )


def split_rising(scale: float | str) -> tuple[float | str, bool]:
    """``"20:rising"`` → (20.0, True): the scale, and whether it rises to that over the run."""
    if not isinstance(scale, str) or not scale.endswith(":rising"):
        return scale, False
    value = scale.removesuffix(":rising")
    try:
        return float(value), True
    except ValueError:
        return value, True


def split_learned(scale: str) -> tuple[str, float | None] | None:
    """``"learned:3"`` → ("learned", 3.0); None where the text means no learned scale."""
    word, colon, start = scale.partition(":")
    if word != "learned":
        return None
    if not colon:
        return word, None
    try:
        value = float(start)
    except ValueError:
        return None
    return (word, value) if math.isfinite(value) and value > 0 else None


@dataclass(frozen=True)
class InitialVectors:
    """Initial class vectors, what they are called, and why they were chosen."""

    vectors: DenseVectors | Codes | QuantisedVectors | StagedVectors
    construction: str
    reason: str | None = None


def initial_vectors(
    vectors: str | Tensor,
    classes: int,
    features: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype,
    counts: Tensor | None,
    nonnegative: bool,
) -> InitialVectors:
    """The vectors that a word or a tensor means."""
    if isinstance(vectors, Tensor):
        rows = _given(vectors, classes, features, dtype)
        return InitialVectors(DenseVectors(rows), "tensor")
    tables = tables_of(vectors)
    if tables is not None:
        made = drawn_vectors(classes, features, tables, generator=generator, dtype=dtype)
        return InitialVectors(made, vectors)
    stages = stages_of(vectors)
    if stages is not None:
        sums = drawn_stages(classes, features, stages, generator=generator, dtype=dtype)
        return InitialVectors(sums, vectors)
    if vectors in IMPLICIT:
        return InitialVectors(_code(vectors, classes, features, generator), vectors)
    if vectors in RELEASED:
        rows = RELEASED[vectors].rows(classes, features, generator, dtype)
        return InitialVectors(DenseVectors(rows), vectors)
    if vectors == "auto":
        best = constructions.best(classes, features, nonnegative=nonnegative, counts=counts)
        rows = best.build(generator=generator, dtype=dtype)
        return InitialVectors(DenseVectors(rows, unit_rows=True), best.name, best.reason)
    name = vectors.partition(":")[0]
    options: dict[str, Any] = dict(VARIANTS.get(vectors, {}))
    if name == "guided":
        options["counts"] = _needed(counts, classes)
    rows = constructions.build(name, classes, features, generator=generator, dtype=dtype, **options)
    return InitialVectors(DenseVectors(rows, unit_rows=True), vectors)


def _code(word: str, classes: int, width: int, generator: torch.Generator) -> Codes:
    if width < MIN_WIDTH:
        raise RequestError(
            f"vectors={word!r} needs at least {MIN_WIDTH} dimensions, got {width}; use "
            f"code_width={MIN_WIDTH} or more, or vectors='codes', which are stored"
        )
    code = implicit(classes, width, generator=generator, **IMPLICIT[word])
    assert isinstance(code, Codes)
    return code


def initial_scale(
    scale: float | str, start: InitialVectors, logits: str, *, mapped: bool
) -> tuple[float | None, bool]:
    """The scale's value, and whether it is learned; None for a plain 1 on dot logits.

    ``mapped``: whether the vectors lie behind a learned map. Of a rising scale, its last value.
    """
    scale, rises = split_rising(scale)
    if scale == "auto":
        return (MAPPED if mapped else 1.0) * _auto_scale(start), False
    learned = split_learned(scale) if isinstance(scale, str) else None
    if learned is not None:
        return learned[1] or _hoffer_scale(start), True
    assert not isinstance(scale, str)
    plain = logits != "cosine" and scale == 1 and not rises
    return (None if plain else float(scale)), False


def initial_bias(start: InitialVectors, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """As released for released rows, else zero."""
    classes, features = start.vectors.shape
    if start.construction in RELEASED:
        return RELEASED[start.construction].bias(classes, features, generator, dtype)
    return torch.zeros(classes, dtype=dtype)


EQUIANGULAR = {
    **dict.fromkeys(("simplex", "simplex:canonical", "max_separation"), True),
    **dict.fromkeys(("orthonormal", "one_hot", "nonnegative_orthogonal"), False),
}
"""Constructions in which all pairs have one cosine: −1/(K−1), or 0 where False."""


def _auto_scale(start: InitialVectors) -> float:
    """``geometry.scale_auto``, without a look at all pairs where their cosine is known."""
    vectors = start.vectors
    if start.construction not in EQUIANGULAR:
        return scale_auto(vectors.tensor if isinstance(vectors, DenseVectors) else vectors)
    classes = vectors.classes
    cosine = -1 / (classes - 1) if EQUIANGULAR[start.construction] else 0.0
    return equiangular_scale(classes, cosine)


def _hoffer_scale(start: InitialVectors) -> float:
    """10, and √(d/K) for Hadamard rows: the released 1/√K on ±1 rows, on unit rows."""
    classes, features = start.vectors.shape
    if start.construction in RELEASED:
        return RELEASED[start.construction].scale(classes)
    return math.sqrt(features / classes) if start.construction == "hadamard" else HOFFER_SCALE


def check_sizes(features: int, classes: int) -> None:
    """Refuse sizes that are none."""
    for name, value, least in (("features", features, 1), ("classes", classes, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RequestError(f"{name} must be a whole number of at least {least}, got {value!r}")


def checked_counts(counts: Sequence[int] | Tensor | None, classes: int) -> Tensor | None:
    """Counts as a tensor (K,)."""
    if counts is None:
        return None
    checked = torch.as_tensor(counts)
    if checked.shape != (classes,):
        raise RequestError(
            f"class_counts must hold a number per class, ({classes},), got {tuple(checked.shape)}"
        )
    return checked


def _given(vectors: Tensor, classes: int, features: int, dtype: torch.dtype) -> Tensor:
    if tuple(vectors.shape) != (classes, features):
        raise RequestError(
            f"vectors must have shape (classes, features) = ({classes}, {features}), "
            f"got {tuple(vectors.shape)}"
        )
    if not bool(torch.isfinite(vectors.sum())):  # a sum may overflow: then look at every row
        bad = (~torch.isfinite(vectors).all(dim=1)).nonzero()
        if len(bad):
            raise RequestError(f"vectors must be finite, got NaN or infinity in row {int(bad[0])}")
    return vectors.detach().clone().to(dtype)


def _needed(counts: Tensor | None, classes: int) -> Tensor:
    if counts is None:
        raise RequestError(
            f"vectors='guided' needs class_counts ({classes},), the training images of each "
            "class, got none"
        )
    return counts


REACH_WARNING = 0.3
"""Below this largest cosine with the worst class, a head on non-negative features warns.

Random directions reach about 0.7, the canonical simplex and the orthoplex 0.
"""


_LOOKED_AT = 64


class ReachabilityWarning(UserWarning):
    """Some class lies where these features cannot go."""


def reachable_nonnegative(vectors: Tensor) -> Tensor:
    """max(‖w_k⁺‖, max_i w_ki) per class (K,): the largest cosine of any x ≥ 0 with unit w_k."""
    rows = unit(vectors.detach().double())
    positive = torch.linalg.vector_norm(rows.clamp(min=0), dim=1)
    return torch.maximum(positive, rows.amax(dim=1))


def warn_if_out_of_reach(vectors: ClassVectors, construction: str) -> None:
    """Warn by name, with the remedy, where non-negative features cannot come near some class.

    Of vectors that are not stored the first and the last are looked at: those of a code are all
    ±1/√d, but for the last.
    """
    classes = torch.arange(vectors.classes)
    if not vectors.stored:
        classes = torch.cat([classes[:1], classes[1:][-_LOOKED_AT:]])
    reach = reachable_nonnegative(vectors.rows(classes, torch.float64))
    worst = int(reach.argmin())
    if float(reach[worst]) >= REACH_WARNING:
        return
    fits = vectors.classes <= vectors.features
    warnings.warn(
        f"features without negative entries (after a ReLU) can have a cosine of at most "
        f"{float(reach[worst]):.2f} with class {worst} of these {construction} vectors; put a neck "
        "between (neck='linear' or 'batchnorm'), rotate the vectors, or take "
        f"vectors='{'nonnegative_orthogonal' if fits else 'block_codes'}'",
        ReachabilityWarning,
        stacklevel=3,
    )
