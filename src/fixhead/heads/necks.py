"""What may stand between the backbone's features and the class vectors: a neck, and a code map.

A code map is a learned linear map in front of fixed class vectors: p = A f, A (D, d) with D ≥ d.
With far more classes than feature dimensions, fixed vectors in d dimensions ask the backbone to
carry every class to an arbitrary direction. With the code C in D dimensions, the class vectors that
the features meet are the rows of C A (K, d): D·d trained numbers in place of K·d.

``vectors="auto"`` and ``code_width="auto"`` are settled here for given K and d: up to 2d classes
the vectors are as wide as the features, and no map is learned; above, the width is
``automatic_width``, and codes are not stored where the loss needs no logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._errors import RequestError
from ..many_classes.codes import MIN_WIDTH
from .as_released import linear_rows
from .init import IMPLICIT

NECKS = ("none", "linear", "batchnorm", "mlp")


def parse_neck(text: str, features: int) -> tuple[str, int]:
    """``"linear:1024"`` → ("linear", 1024); without a width the features keep theirs.

    Raises:
        RequestError: an unknown neck, or a width that it cannot have.
    """
    name, colon, size = text.partition(":")
    if name not in NECKS:
        raise RequestError(f"neck must be one of {', '.join(NECKS)}, got {text!r}")
    if not colon:
        return name, features
    if name in ("none", "batchnorm"):
        raise RequestError(f"neck={name!r} keeps the size of the features, got {text!r}")
    if not size.isdecimal() or int(size) < 1:
        raise RequestError(f"neck needs a width of 1 or more after the colon, got {text!r}")
    return name, int(size)


def build_neck(
    name: str, features: int, width: int, generator: torch.Generator, dtype: torch.dtype
) -> nn.Module:
    """The map x (N, features) → (N, width).

    none       x
    linear     A x + a; ``width`` may exceed ``features``
    batchnorm  BatchNorm1d, affine: ``BN_H`` of Yang et al. 2022
    mlp        A₂ ReLU(A₁ x + a₁) + a₂, ``width`` hidden units

    Weights as nn.Linear's own initialisation, drawn from ``generator``.
    """
    if name == "none":
        return nn.Identity()
    if name == "batchnorm":
        return nn.BatchNorm1d(features, dtype=dtype)
    if name == "linear":
        return _linear(features, width, generator, dtype)
    hidden = _linear(features, width, generator, dtype)
    return nn.Sequential(hidden, nn.ReLU(), _linear(width, width, generator, dtype))


def _linear(features: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Linear:
    # On the meta device nn.Linear draws nothing from the global generator.
    layer = nn.Linear(features, width, device="meta", dtype=dtype)
    layer.weight = nn.Parameter(linear_rows(width, features, features, generator, dtype))
    layer.bias = nn.Parameter(linear_rows(1, features, width, generator, dtype)[0])
    return layer


WIDEST = 4_096
"""The largest D that is chosen by itself."""

STORED = 1 << 26
"""Numbers in the class vectors (K, D) that are stored by themselves: 256 MiB of float32."""

CodeWidth = int | str | None
"""D as a number; "auto"; or None, for class vectors as wide as the features."""


def check_code_width(width: CodeWidth) -> None:
    """Refuse a width that is none.

    Raises:
        RequestError: neither None, nor "auto", nor a whole number above 0.
    """
    number = isinstance(width, int) and not isinstance(width, bool) and width > 0
    if width is not None and width != "auto" and not number:
        raise RequestError(
            f"code_width must be a whole number above 0, 'auto' or None, got {width!r}"
        )


def automatic_width(classes: int, features: int, *, stored: bool = True) -> int | None:
    """The smallest power of two at or above K, as far as ``WIDEST`` and, where the (K, D) vectors
    are stored, ``STORED`` numbers allow; None where no map is needed or none would be wider.

    Up to 2d classes, and in the plane, there are good vectors in d dimensions.
    """
    if classes <= 2 * features or features <= 2:
        return None
    width = min(1 << (classes - 1).bit_length(), WIDEST)
    while stored and classes * width > STORED:
        width //= 2
    return width if width > features else None


def initial_code_map(width: int, features: int, dtype: torch.dtype) -> Tensor:
    """√(D/d) times the first d axes: A (D, d) = √(D/d)·[I; 0], with AᵀA = (D/d)·I.

    Angles between features stay what they are, and the effective vectors C A are the first d
    columns of C. Those of a code, entries ±1/√D, have length 1 then; of other unit rows the squares
    are 1 on average. The first dot logits are spread as those of a learned head with unit rows.
    Under the cosine the length of A cancels, and logits S·cos(c, A f) are spread as those of a
    learned cosine head at the scale S·√(d/D). Classes that agree in those columns begin as one, and
    part in the first steps; a random frame in their place, which has none such, learned less well
    in a study of 1,000 characters and of Tiny ImageNet (docs/many_classes.md).
    """
    first = torch.zeros(width, features, dtype=dtype)
    return first.fill_diagonal_(math.sqrt(width / features))


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
