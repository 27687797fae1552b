"""What ``vectors="auto"`` and ``code_width="auto"`` come to for given K and d.

Up to 2d classes the vectors are as wide as the features, and no map is learned. Above, the width is
``code_map.automatic_width``, and codes are not stored where the loss needs no logits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .._errors import RequestError
from ..many_classes.codes import MIN_WIDTH
from .code_map import CodeWidth, automatic_width, check_code_width
from .init import IMPLICIT

LEARNED_BYTES = 1 << 34
"""Learned vectors with gradient and two moments up to so many bytes are recommended instead."""


@dataclass(frozen=True)
class AutoChoice:
    """The vectors, D where a map is learned in front of them, and why, where there was a choice."""

    vectors: str | Tensor
    width: int | None
    reason: str | None = None


def resolve_auto(
    vectors: str | Tensor,
    width: CodeWidth,
    classes: int,
    features: int,
    *,
    learned: bool,
    without_logits: bool,
) -> AutoChoice:
    """``without_logits``: whether the loss can do without them, as implicit vectors need.

    Raises:
        RequestError: D < d, or a map in front of learned class vectors.
    """
    check_code_width(width)
    if width is None:
        return AutoChoice(vectors, None)
    if learned:
        raise RequestError(
            "code_width needs fixed class vectors (learn_vectors=False): learned ones move to the "
            "features by themselves; leave it out"
        )
    if isinstance(width, int):
        if width < features:
            raise RequestError(
                f"code_width must be at least the size of the features, {features}, got {width}; "
                "for fewer dimensions use neck='linear:WIDTH'"
            )
        return AutoChoice(vectors, width)
    if isinstance(vectors, Tensor):
        return AutoChoice(vectors, vectors.shape[1] if vectors.shape[1] > features else None)
    if vectors not in ("auto", "codes"):
        return AutoChoice(
            vectors, automatic_width(classes, features, stored=vectors not in IMPLICIT)
        )
    wide = automatic_width(classes, features, stored=not without_logits)
    if wide is None:
        return AutoChoice(vectors, None)
    # The same vectors, at a cost of log D in place of D a logit.
    word = "implicit" if without_logits and wide >= MIN_WIDTH else "codes"
    return AutoChoice(word, wide, _reason(classes, features, wide) if vectors == "auto" else None)


def _reason(classes: int, features: int, width: int) -> str:
    reason = (
        f"K > 2d: a code in {width} dimensions behind a learned map, which learned far more than a "
        "code in d dimensions where it was tried (docs/many_classes.md)"
    )
    size = 16 * classes * features
    if size <= LEARNED_BYTES:
        reason += (
            "; on 1,000 and 16,000 classes learned vectors learned more still, each with its best "
            "scale and course of it, and on 200 less: take learned-cosine@10, "
            f"which fits in memory ({size / 2**20:,.1f} MiB with gradient and Adam's moments)"
        )
    return reason
