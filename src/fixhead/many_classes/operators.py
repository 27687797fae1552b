"""The rest of the softmax as an operator that autograd and ``torch.compile`` know.

In eager mode nothing of torch.compile is imported; compiled, the operator is one opaque node.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from . import native, passes, unshifted
from .kronecker import FEW, MADE, KroneckerTiles, made_tiles
from .tiles import ChunkTiles, Tiles, dense_tiles

LIBRARY: Any = torch.library.Library("fixhead", "DEF")  # type: ignore[no-untyped-call]
LIBRARY.define(
    "rest(Tensor points, Tensor? vectors, Tensor? packed, Tensor labels, Tensor? bias, "
    "int classes, int handle, float norm, bool gradient, bool half=False, float bound=0.0) "
    "-> (Tensor, Tensor, Tensor)"
)
LIBRARY.define(
    "class_gradients(Tensor points, Tensor? vectors, Tensor? packed, Tensor labels, Tensor? bias, "
    "Tensor rest, Tensor upstream, int classes, int handle, float norm, bool rows, "
    "bool half=False) -> (Tensor, Tensor)"
)
LIBRARY.define(
    "largest(Tensor points, Tensor packed, Tensor? bias, int classes, int k, bool half=False) "
    "-> (Tensor, Tensor)"
)

Maker = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Source:
    """Class vectors as the operator takes them: one of dense, packed signs, or rows on demand.

    norm: what no row is longer than; 0 where it has to be measured.
    handle: of a maker of rows kept by ``keep``; 0 for none.
    """

    classes: int
    vectors: Tensor | None = None
    packed: Tensor | None = None
    handle: int = 0
    norm: float = 0.0

    def tiles(self, like: Tensor | None = None, *, half: bool = False) -> Tiles:
        """For points of the width and on the device of ``like`` (n, d)."""
        if like is None:
            like = torch.empty(0, 1) if self.packed is None else self.packed.t()
        return tiles_of(self.vectors, self.packed, self.classes, self.handle, like, half=half)


_makers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


def keep(owner: object) -> int:
    """A number under which an operator finds ``owner.rows`` as long as its owner lives."""
    number = next(_numbers)
    _makers[number] = owner
    return number


def rest(
    source: Source,
    points: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    half: bool = False,
    bound: float = 0.0,
) -> Rest:
    """log Σ_{k ≠ y} e^{w_k·x + b_k} (N,) in float64, and the own vectors (N, d) that were left out.

    Nothing is left out where a label is below 0. Differentiable once in points, vectors, bias.
    half: by products of bfloat16 numbers, summed in float32.
    bound: what no |w_k·x| exceeds; 0 where that is to be measured.
    """
    value, own = _Rest.apply(points, source.vectors, bias, labels, source, half, bound)  # type: ignore[no-untyped-call]
    return Rest(value, own)


@dataclass(frozen=True)
class Rest:
    value: Tensor
    own: Tensor


class _Rest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        vectors: Tensor | None,
        bias: Tensor | None,
        labels: Tensor,
        source: Source,
        half: bool,
        bound: float,
    ) -> tuple[Tensor, Tensor]:
        value, own, pull = torch.ops.fixhead.rest(
            points,
            vectors,
            source.packed,
            labels,
            bias,
            source.classes,
            source.handle,
            source.norm,
            ctx.needs_input_grad[0],
            half,
            bound,
        )
        ctx.source, ctx.half = source, half
        ctx.set_materialize_grads(False)
        again = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ctx.save_for_backward(pull, labels, *((points, vectors, bias, value) if again else ()))
        if not ctx.needs_input_grad[1]:
            ctx.mark_non_differentiable(own)
        return value, own

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, to_own: Tensor | None) -> tuple[Any, ...]:
        pull, labels, *saved = ctx.saved_tensors
        to_points = to_vectors = to_bias = None
        if upstream is not None and ctx.needs_input_grad[0]:
            to_points = once(upstream.unsqueeze(1).to(pull.dtype) * pull)
        if saved:
            points, vectors, bias, value = saved
            given = torch.zeros_like(value) if upstream is None else upstream
            slope, rows = torch.ops.fixhead.class_gradients(
                points,
                vectors,
                ctx.source.packed,
                labels,
                bias,
                value,
                given.to(points.dtype),
                ctx.source.classes,
                ctx.source.handle,
                ctx.source.norm,
                ctx.needs_input_grad[1],
                ctx.half,
            )
            to_bias = once(slope.to(bias.dtype)) if ctx.needs_input_grad[2] else None
            if ctx.needs_input_grad[1]:
                if to_own is not None:
                    told = (labels >= 0).unsqueeze(1)
                    rows.index_add_(0, labels.clamp(min=0), (to_own * told).to(rows.dtype))
                to_vectors = once(rows.to(vectors.dtype))
        return to_points, to_vectors, to_bias, None, None, None, None


class _Once(torch.autograd.Function):
    """The identity, which says so when it is asked for a derivative of the derivative."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        raise RequestError(
            "a loss without logits has a first derivative only, got a request for the second; "
            "use fixhead.losses on the logits head(features) for that"
        )


def once(gradient: Tensor) -> Tensor:
    """A gradient that refuses to be differentiated."""
    if not torch.is_grad_enabled():
        return gradient
    # Backward runs with gradients enabled only under create_graph=True.
    once: Tensor = _Once.apply(gradient.requires_grad_())  # type: ignore[no-untyped-call]
    return once


def _rest(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    classes: int,
    handle: int,
    norm: float,
    gradient: bool,
    half: bool = False,
    bound: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    source = Source(classes, vectors, packed, handle, norm)
    value, own, pull = rest_of(
        source,
        points,
        labels,
        labels.clamp(min=0),
        bias,
        gradient=gradient,
        half=half,
        bound=bound,
    )
    return value, own, points.new_empty(0) if pull is None else pull


def rest_of(
    source: Source,
    points: Tensor,
    labels: Tensor,
    chosen: Tensor,
    bias: Tensor | None,
    *,
    gradient: bool,
    half: bool,
    bound: float,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """R, the vectors (N, d) of the chosen classes, and G, without a graph."""
    packed, classes = source.packed, source.classes
    with torch.autocast(points.device.type, enabled=False):
        offset = None if bias is None else bias.to(points.dtype)
        compiled = native.library_for(points, packed)
        if compiled is not None:
            assert packed is not None
            value, pull = native.rest(
                compiled,
                packed,
                classes,
                points,
                labels,
                offset,
                norm=source.norm,
                gradient=gradient,
            )
            return value, native.rows(compiled, packed, chosen), pull
        tiles = source.tiles(points, half=half)
        value, pull = _walked(tiles, points, source, labels, offset, bound, gradient)
        own = tiles.rows(chosen).to(points.dtype).contiguous()
    return value, own, None if pull is None else pull.contiguous()


def _walked(
    tiles: Tiles,
    points: Tensor,
    source: Source,
    labels: Tensor,
    bias: Tensor | None,
    bound: float,
    gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """R and G without a maximum where that is fast and fits, or with a running one."""
    learned = source.vectors if bound <= 0 and source.norm <= 0 else None
    if bias is None and unshifted.suits(tiles, points):
        length = source.norm if learned is None else _longest(learned)
        fits = unshifted.within(points, length, bound, tiles.classes)
        # On a device the answer comes while it works: if it is no, the work was for nothing.
        found = unshifted.rest(tiles, points, labels, gradient=gradient)
        if fits():
            return found
    norm = source.norm if learned is None else longest(learned)
    safe = passes.is_safe(points, norm, bias, tiles.classes, bound)
    return passes.rest(tiles, points, labels, bias, safe=safe, gradient=gradient)


def _rest_fake(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    classes: int,
    handle: int,
    norm: float,
    gradient: bool,
    half: bool = False,
    bound: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    pull = points.new_empty(points.shape if gradient else (0,))
    value = points.new_empty(points.shape[0], dtype=torch.float64)
    return value, points.new_empty(points.shape), pull


def _class_gradients(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    rest: Tensor,
    upstream: Tensor,
    classes: int,
    handle: int,
    norm: float,
    rows: bool,
    half: bool = False,
) -> tuple[Tensor, Tensor]:
    with torch.autocast(points.device.type, enabled=False):
        offset = None if bias is None else bias.to(points.dtype)
        compiled = native.library_for(points, packed)
        if compiled is not None and not rows:
            assert packed is not None
            slope = native.slope(
                compiled, packed, classes, points, labels, offset, rest, upstream, norm=norm
            )
            return points.new_empty(0) if bias is None else slope, points.new_empty(0)
        tiles = tiles_of(vectors, packed, classes, handle, points, half=half)
        if rows and bias is None and unshifted.suits(tiles, points):
            fits = unshifted.near(rest)
            found = unshifted.vector_gradients(tiles, points, labels, rest, upstream)
            if fits():
                return points.new_empty(0), found
        slope, matrix = passes.class_gradients(
            tiles, points, labels, offset, rest, upstream, vectors=rows
        )
    slope = points.new_empty(0) if bias is None else slope
    return slope, points.new_empty(0) if matrix is None else matrix


def _class_gradients_fake(
    points: Tensor,
    vectors: Tensor | None,
    packed: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    rest: Tensor,
    upstream: Tensor,
    classes: int,
    handle: int,
    norm: float,
    rows: bool,
    half: bool = False,
) -> tuple[Tensor, Tensor]:
    slope = points.new_empty(0 if bias is None else classes)
    return slope, points.new_empty((classes, points.shape[1]) if rows else (0,))


def tiles_of(
    vectors: Tensor | None,
    packed: Tensor | None,
    classes: int,
    handle: int,
    like: Tensor,
    *,
    half: bool = False,
) -> Tiles:
    """Tiles for points of the width and on the device of ``like`` (n, d)."""
    if vectors is not None:
        return dense_tiles(vectors, half=half)
    if packed is not None:
        if half and packed.shape[0] <= min(MADE, FEW * len(like)):
            return made_tiles(packed, classes)
        return KroneckerTiles(packed, classes)
    make: Maker = _makers[handle].rows  # which works on the CPU
    return ChunkTiles(
        lambda start, stop: make(torch.arange(start, stop)),
        lambda labels: make(labels.cpu()).to(labels.device),
        classes,
        width=like.shape[1],
        device=like.device,
        half=half,
    )


def longest(vectors: Tensor) -> float:
    """The largest row norm max_k ‖w_k‖."""
    return float(_longest(vectors))


def _longest(vectors: Tensor) -> Tensor:
    """The same where the vectors are, not waited for; a few classes at a time."""
    step = 1 << (22 if vectors.device.type == "cpu" else 26)
    parts = torch.split(vectors, max(step // max(vectors.shape[1], 1), 1))
    norms = [torch.linalg.vector_norm(v.float(), dim=1).amax() for v in parts]
    return norms[0] if len(norms) == 1 else torch.stack(norms).amax()


def _largest(
    points: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    classes: int,
    k: int,
    half: bool = False,
) -> tuple[Tensor, Tensor]:
    """The k largest logits of code vectors (N, k) and their classes."""
    compiled = native.library_for(points, packed)
    if compiled is not None and k <= native.most(compiled):
        return native.top(compiled, packed, classes, points, bias, k)
    tiles = tiles_of(None, packed, classes, 0, points, half=half)
    return passes.scan(tiles, points, bias, k)


def _largest_fake(
    points: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    classes: int,
    k: int,
    half: bool = False,
) -> tuple[Tensor, Tensor]:
    values = points.new_empty(points.shape[0], k)
    return values, torch.empty_like(values, dtype=torch.int64)


LIBRARY.impl("rest", _rest, "CompositeExplicitAutograd")
LIBRARY.impl("class_gradients", _class_gradients, "CompositeExplicitAutograd")
LIBRARY.impl("largest", _largest, "CompositeExplicitAutograd")
torch.library.register_fake("fixhead::largest", _largest_fake, lib=LIBRARY)
torch.library.register_fake("fixhead::rest", _rest_fake, lib=LIBRARY)
torch.library.register_fake("fixhead::class_gradients", _class_gradients_fake, lib=LIBRARY)
