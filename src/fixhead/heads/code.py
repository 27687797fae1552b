"""Class vectors that a head does not store: the bits of a code, K/8 bytes.

``vectors="implicit"`` takes the least coherent family that holds K vectors in D dimensions;
``implicit:gold``, ``:kerdock``, ``:delsarte-goethals`` and ``:random`` name one. The vectors are
those of ``fixhead.many_classes.implicit``, and their description (not their bits) is what is saved.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from .. import many_classes as large
from .._errors import PerformanceWarning, RequestError
from ..many_classes.codes import MIN_WIDTH

IMPLICIT: dict[str, dict[str, Any]] = {
    "implicit": {},
    "implicit:gold": {"family": "gold"},
    "implicit:kerdock": {"family": "kerdock"},
    "implicit:delsarte-goethals": {"family": "delsarte-goethals"},
    "implicit:random": {"family": "random"},
}

LARGE = 1 << 22
"""Numbers from which a dense matrix is announced: 16 MiB of float32."""


class Code(nn.Module):
    """A code whose bits follow the module from device to device; nothing of it is a parameter."""

    bits: Tensor
    like: Tensor

    def __init__(self, vectors: large.Codes, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.vectors = vectors
        self.register_buffer("bits", vectors.bits, persistent=False)
        # Remembers the type that the head was brought to: the bits have none.
        self.register_buffer("like", torch.empty(0, dtype=dtype), persistent=False)

    def dense(self) -> Tensor:
        """All rows (K, D), announced by a ``PerformanceWarning`` where they are many."""
        classes, width = self.vectors.shape
        if classes * width > LARGE:
            warnings.warn(
                f"all {classes:,} x {width} class vectors of a head that stores none are being "
                f"made, {4 * classes * width / 2**20:,.0f} MiB; head.loss, head.topk and "
                "head.certificate need none of them",
                PerformanceWarning,
                stacklevel=4,
            )
        return self.vectors.dense().to(self.like)

    def logits(self, points: Tensor) -> Tensor:
        """All logits (N, K) of the rows that ``ClassVectors.project`` gave, announced as above."""
        rows, classes = len(points), self.vectors.classes
        if large.prefers_chunking(rows, classes, points.device):
            warnings.warn(
                f"all {rows:,} x {classes:,} logits are being made, "
                f"{4 * rows * classes / 2**20:,.0f} MiB; head.loss, head.topk and "
                "head.predict_proba need none of them",
                PerformanceWarning,
                stacklevel=4,
            )
        return self.vectors.matmul(points)

    def adopt(self, vectors: large.Codes) -> None:
        """Take these vectors in place of the own ones, on the own device."""
        self.vectors = vectors.to(self.bits.device)
        self.bits = self.vectors.bits

    def _apply(self, fn: Any, recurse: bool = True) -> Code:
        moved: Code = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved.vectors = moved.vectors.to(moved.bits.device)
        return moved

    def extra_repr(self) -> str:
        return f"{self.vectors.construction}, {self.bits.numel():,} bytes of signs"


def implicit_code(
    word: str, classes: int, width: int, generator: torch.Generator, dtype: torch.dtype
) -> Code:
    """The code that a word of ``IMPLICIT`` means.

    Raises:
        RequestError: fewer than 16 dimensions, or a family that does not hold K there.
    """
    if width < MIN_WIDTH:
        raise RequestError(
            f"vectors={word!r} needs at least {MIN_WIDTH} dimensions, got {width}; use "
            f"code_width={MIN_WIDTH} or more, or vectors='codes', which are stored"
        )
    vectors = large.implicit(classes, width, generator=generator, **IMPLICIT[word])
    assert isinstance(vectors, large.Codes)
    return Code(vectors, dtype)
