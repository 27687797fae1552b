"""The plain cross-entropy as one operator: its value and its gradient from one walk.

With R the rest of ``passes``, z_y the own logit and p = σ(R − z_y) = 1 − softmax_y,
    ℓ = log(1 + e^{R − z_y}),    ∂ℓ/∂x = p (G − w_y),    ∂ℓ/∂w_k = (softmax_k − [k = y]) x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .operators import LIBRARY, Source, once, rest_of

LIBRARY.define(
    "cross_entropy(Tensor points, Tensor? vectors, Tensor? packed, Tensor labels, int classes, "
    "int handle, float norm, int ignored, str reduction, bool gradient, bool half, float bound) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)

CERTAIN = 40.0
"""From here log(1 + e^t) is t."""


def cross_entropy(
    source: Source,
    points: Tensor,
    labels: Tensor,
    *,
    ignore_index: int,
    reduction: str,
    half: bool = False,
    bound: float = 0.0,
) -> Tensor:
    """ℓ reduced as ``losses.cross_entropy`` does, differentiable once in points and vectors."""
    how = ignore_index, reduction, half, bound
    loss: Tensor = _CrossEntropy.apply(points, source.vectors, labels, source, how)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        vectors: Tensor | None,
        labels: Tensor,
        source: Source,
        how: tuple[int, str, bool, float],
    ) -> Tensor:
        ignored, reduction, half, bound = how
        loss, pull, share, rest = torch.ops.fixhead.cross_entropy(
            points,
            vectors,
            source.packed,
            labels,
            source.classes,
            source.handle,
            source.norm,
            ignored,
            reduction,
            ctx.needs_input_grad[0],
            half,
            bound,
        )
        ctx.source, ctx.how = source, how
        again = (points, vectors, labels, share, rest) if ctx.needs_input_grad[1] else ()
        ctx.save_for_backward(pull, *again)
        found: Tensor = loss
        return found

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        pull, *saved = ctx.saved_tensors
        to_points = to_vectors = None
        if ctx.needs_input_grad[0]:
            to_points = once(pull * (upstream.unsqueeze(1) if upstream.ndim else upstream))
        if saved:
            to_vectors = once(_to_vectors(ctx, upstream, *saved))
        return to_points, to_vectors, None, None, None


def _to_vectors(
    ctx: Any,
    upstream: Tensor,
    points: Tensor,
    vectors: Tensor,
    labels: Tensor,
    share: Tensor,
    rest: Tensor,
) -> Tensor:
    ignored, _, half, _ = ctx.how
    source, given = ctx.source, (upstream * share).to(points.dtype)
    left_out = labels.masked_fill(labels == ignored, 0)
    _, rows = torch.ops.fixhead.class_gradients(
        points,
        vectors,
        source.packed,
        left_out,
        None,
        rest,
        given,
        source.classes,
        source.handle,
        source.norm,
        True,
        half,
    )
    rows.index_add_(0, left_out, points * given.unsqueeze(1), alpha=-1)
    found: Tensor = rows.to(vectors.dtype)
    return found


def _cross_entropy(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    classes: int,
    handle: int,
    norm: float,
    ignored: int,
    reduction: str,
    gradient: bool,
    half: bool,
    bound: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ignores = labels == ignored
    left_out = labels.masked_fill(ignores, 0)
    source = Source(classes, vectors, packed, handle, norm)
    with torch.autocast(points.device.type, enabled=False):
        rest, own, pull = rest_of(
            source, points, left_out, left_out, None, gradient=gradient, half=half, bound=bound
        )
        # A row that does not count is one whose class is sure: ℓ = p = 0.
        gap = rest.sub(torch.linalg.vecdot(points, own)).masked_fill_(ignores, -torch.inf)
        loss, share = F.softplus(gap, threshold=CERTAIN), gap.sigmoid()
        if reduction != "none":
            loss = loss.sum()
        if reduction == "mean":
            count = (len(labels) - ignores.sum()).clamp_(min=1)
            loss, share = loss / count, share / count
        if pull is not None:
            pull = pull.sub_(own).mul_(share.to(pull.dtype).unsqueeze(1))
    none = points.new_empty(0)
    return loss.to(points.dtype), none if pull is None else pull, share, rest


def _cross_entropy_fake(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    classes: int,
    handle: int,
    norm: float,
    ignored: int,
    reduction: str,
    gradient: bool,
    half: bool,
    bound: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = points.shape[0]
    share, rest = (points.new_empty(rows, dtype=torch.float64) for _ in range(2))
    loss = points.new_empty(rows if reduction == "none" else ())
    pull = points.new_empty(points.shape if gradient else (0,))
    return loss, pull, share, rest


LIBRARY.impl("cross_entropy", _cross_entropy, "CompositeExplicitAutograd")
torch.library.register_fake("fixhead::cross_entropy", _cross_entropy_fake, lib=LIBRARY)
