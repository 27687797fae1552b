"""All logits of class vectors that are not stored, as operators that ``torch.compile`` knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import passes
from .operators import LIBRARY, Source, once, tiles_of

LIBRARY.define(
    "class_logits(Tensor points, Tensor? vectors, Tensor? packed, int classes, int handle) "
    "-> Tensor"
)
LIBRARY.define(
    "pull_back(Tensor upstream, Tensor? vectors, Tensor? packed, int classes, int handle, "
    "int width) -> Tensor"
)


def logits(source: Source, points: Tensor) -> Tensor:
    """All logits (N, K) of points (N, d), differentiable once in the points: for few rows."""
    found: Tensor = _Logits.apply(points, source)  # type: ignore[no-untyped-call]
    return found


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, source: Source) -> Tensor:
        ctx.source, ctx.width = source, points.shape[1]
        held = source.vectors, source.packed, source.classes, source.handle
        found: Tensor = torch.ops.fixhead.class_logits(points, *held)
        return found

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        source = ctx.source
        held = source.vectors, source.packed, source.classes, source.handle
        return once(torch.ops.fixhead.pull_back(upstream, *held, ctx.width)), None


def _class_logits(
    points: Tensor, vectors: Tensor | None, packed: Tensor | None, classes: int, handle: int
) -> Tensor:
    with torch.no_grad(), torch.autocast(points.device.type, enabled=False):
        return passes.logits(tiles_of(vectors, packed, classes, handle, points), points)


def _class_logits_fake(
    points: Tensor, vectors: Tensor | None, packed: Tensor | None, classes: int, handle: int
) -> Tensor:
    return points.new_empty(points.shape[0], classes)


def _pull_back(
    upstream: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    classes: int,
    handle: int,
    width: int,
) -> Tensor:
    with torch.no_grad(), torch.autocast(upstream.device.type, enabled=False):
        like = upstream.new_zeros(len(upstream), width)
        tiles = tiles_of(vectors, packed, classes, handle, like)
        return passes.pull_back(tiles, like, upstream).contiguous()


def _pull_back_fake(
    upstream: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    classes: int,
    handle: int,
    width: int,
) -> Tensor:
    return upstream.new_empty(upstream.shape[0], width)


LIBRARY.impl("class_logits", _class_logits, "CompositeExplicitAutograd")
LIBRARY.impl("pull_back", _pull_back, "CompositeExplicitAutograd")
torch.library.register_fake("fixhead::class_logits", _class_logits_fake, lib=LIBRARY)
torch.library.register_fake("fixhead::pull_back", _pull_back_fake, lib=LIBRARY)
