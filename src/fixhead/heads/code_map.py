"""A learned linear map in front of fixed class vectors: p = A f, A (D, d) with D ≥ d.

With far more classes than feature dimensions, fixed vectors in d dimensions ask the backbone to
carry every class to an arbitrary direction. With the code C in D dimensions, the class vectors that
the features meet are the rows of C A (K, d): D·d trained numbers in place of K·d.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError

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
