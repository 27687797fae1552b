"""The walks as operators that autograd and ``torch.compile`` know; compiled, each is one node.

What is differentiated goes into an operator as tensors of its own. Everything else is one
``LogitsRequest``, which travels unchanged from the loss through operator and fake to the kernel.

With R the log-sum-exp of the negatives, G its gradient, z_y the target's logit and
p = σ(R − z_y) = 1 − softmax_y, the plain cross-entropy is
    ℓ = log(1 + e^{R − z_y}),    ∂ℓ/∂x = p (G − w_y),    ∂ℓ/∂w_k = (softmax_k − [k = y]) x.

The operators are registered with ``torch.library.Library``: a ``torch.library.custom_op`` took
35 µs more a call, 140 µs with its own autograd, and its first call imports torch's compiler, which
took 2.6 s (measured with torch 2.13 on one core of a busy machine).
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from . import blockwise
from .kronecker import FEW, MADE, KroneckerTiles, made_tiles
from .native import library as native
from .tiles import ChunkTiles, Tiles, dense_tiles

CERTAIN = 40.0
"""From here log(1 + e^t) is t."""


class LogitsRequest(NamedTuple):
    """Which class vectors the logits z = W x + b are of, and how products with them may be made.

    classes: K.
    packed: the sign diagonals (n, ⌈B/8⌉) uint8 of a code; None for other vectors.
    maker: the number (``register_maker``) of an object that makes rows; None where none does. Where
        both are None, the vectors are a tensor that the operator is given.
    norm: a length that no row exceeds; None where it is not known.
    max_logit: what no |w_k·x| of this batch exceeds; None where it is not known.
    bf16_matmul: whether products may be those of bfloat16 numbers, summed in float32.
    """

    classes: int
    packed: Tensor | None = None
    maker: int | None = None
    norm: float | None = None
    max_logit: float | None = None
    bf16_matmul: bool = False


_SCHEMA = "int classes, Tensor? packed, int? maker, float? norm, float? max_logit, bool bf16_matmul"

LIBRARY: Any = torch.library.Library("fixhead", "DEF")  # type: ignore[no-untyped-call]


def _operator(arguments: str, returns: str, fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function of these arguments and a request as ``torch.ops.fixhead.<its name>``.

    ``fake``: takes the same, and returns empty tensors of the results' shapes.
    """
    count = arguments.count(",") + 1

    def register(function: Callable[..., Any]) -> Any:
        def flat(call: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *given: call(*given[:count], LogitsRequest(*given[count:]))

        name = function.__name__.lstrip("_")
        LIBRARY.define(f"{name}({arguments}, {_SCHEMA}) -> ({returns})")
        LIBRARY.impl(name, flat(function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"fixhead::{name}", flat(fake), lib=LIBRARY)
        return getattr(torch.ops.fixhead, name)

    return register


def _float64(x: Tensor) -> Tensor:
    """For fakes: a number per row."""
    return x.new_empty(x.shape[0], dtype=torch.float64)


def _or_empty(result: Tensor | None, like: Tensor) -> Tensor:
    """Operators return tensors only: one of no elements where there is no result."""
    return like.new_empty(0) if result is None else result


# What a request means: tiles of classes.

_makers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


def register_maker(owner: object) -> int:
    """A number under which an operator finds ``owner.rows`` as long as its owner lives."""
    number = next(_numbers)
    _makers[number] = owner
    return number


def tiles_for(request: LogitsRequest, vectors: Tensor | None, like: Tensor) -> Tiles:
    """Tiles for features of the width and on the device of ``like`` (n, d)."""
    classes, packed, bf16_matmul = request.classes, request.packed, request.bf16_matmul
    if vectors is not None:
        return dense_tiles(vectors, bf16_matmul=bf16_matmul)
    if packed is not None:
        if bf16_matmul and packed.shape[0] <= min(MADE, FEW * len(like)):
            return made_tiles(packed, classes)
        return KroneckerTiles(packed, classes)
    assert request.maker is not None
    make: Callable[[Tensor], Tensor] = _makers[request.maker].rows  # which works on the CPU
    return ChunkTiles(
        lambda start, stop: make(torch.arange(start, stop)),
        lambda labels: make(labels.cpu()).to(labels.device),
        classes,
        width=like.shape[1],
        device=like.device,
        bf16_matmul=bf16_matmul,
    )


def longest(vectors: Tensor) -> Tensor:
    """max_k ‖w_k‖ () where the vectors are, not waited for; a few classes at a time."""
    step = 1 << (22 if vectors.device.type == "cpu" else 26)
    parts = torch.split(vectors, max(step // max(vectors.shape[1], 1), 1))
    norms = [torch.linalg.vector_norm(v.float(), dim=1).amax() for v in parts]
    return norms[0] if len(norms) == 1 else torch.stack(norms).amax()


# The log-sum-exp of the negatives.


def negatives_lse(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor]:
    """R = log Σ_{k ≠ y} e^{w_k·x + b_k} (N,) in float64, and the targets' vectors (N, d).

    No class is left out where a label is below 0. Differentiable once in projected, vectors, bias.
    """
    lse, targets = _NegativesLSE.apply(projected, vectors, bias, labels, request)  # type: ignore[no-untyped-call]
    return lse, targets


class _NegativesLSE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        vectors: Tensor | None,
        bias: Tensor | None,
        labels: Tensor,
        request: LogitsRequest,
    ) -> tuple[Tensor, Tensor]:
        lse, targets, feature_grad = _negatives_lse(
            projected, vectors, labels, bias, ctx.needs_input_grad[0], *request
        )
        ctx.request = request
        ctx.set_materialize_grads(False)
        again = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        saved = (projected, vectors, bias, lse) if again else ()
        ctx.save_for_backward(feature_grad, labels, *saved)
        if not ctx.needs_input_grad[1]:
            ctx.mark_non_differentiable(targets)
        return lse, targets

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, to_targets: Tensor | None) -> tuple[Any, ...]:
        feature_grad, labels, *saved = ctx.saved_tensors
        to_projected = to_vectors = to_bias = None
        if upstream is not None and ctx.needs_input_grad[0]:
            to_projected = once(upstream.unsqueeze(1).to(feature_grad.dtype) * feature_grad)
        if saved:
            projected, vectors, bias, lse = saved
            given = torch.zeros_like(lse) if upstream is None else upstream
            given = given.to(projected.dtype)
            bias_grad, vector_grad = _class_gradients(
                projected, vectors, labels, bias, lse, given, ctx.needs_input_grad[1], *ctx.request
            )
            to_bias = once(bias_grad.to(bias.dtype)) if ctx.needs_input_grad[2] else None
            if ctx.needs_input_grad[1]:
                if to_targets is not None:
                    part = (to_targets * (labels >= 0).unsqueeze(1)).to(vector_grad.dtype)
                    vector_grad.index_add_(0, labels.clamp(min=0), part)
                to_vectors = once(vector_grad.to(vectors.dtype))
        return to_projected, to_vectors, to_bias, None, None


@_operator(
    "Tensor projected, Tensor? vectors, Tensor labels, Tensor? bias, bool feature_grad",
    "Tensor, Tensor, Tensor",
    fake=lambda x, W, y, b, feature_grad, request: (
        _float64(x),
        x.new_empty(x.shape),
        x.new_empty(x.shape if feature_grad else (0,)),
    ),
)
def _negatives_lse(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    feature_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = labels.clamp(min=0)
    lse, targets, gradient = _walked(projected, vectors, labels, rows, bias, feature_grad, request)
    return lse, targets, _or_empty(gradient, projected)


def _walked(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    feature_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """R, the vectors (N, d) of the targets, and G, without a graph, by the path that fits."""
    with torch.autocast(projected.device.type, enabled=False):
        offset = None if bias is None else bias.to(projected.dtype)
        compiled = native.library_for(projected, request.packed)
        if compiled is not None:
            assert request.packed is not None
            lse, gradient = native.negatives_lse(
                compiled, request, projected, labels, offset, feature_grad=feature_grad
            )
            return lse, native.rows(compiled, request.packed, targets), gradient
        tiles = tiles_for(request, vectors, projected)
        lse, gradient = _blockwise_lse(
            tiles, projected, vectors, labels, offset, feature_grad, request
        )
        rows = tiles.rows(targets).to(projected.dtype).contiguous()
    return lse, rows, None if gradient is None else gradient.contiguous()


def _blockwise_lse(
    tiles: Tiles,
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    feature_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor | None]:
    """R and G without a maximum where that is fast and fits, or with a running one."""
    norm: Tensor | float | None = request.norm
    if vectors is not None and request.max_logit is None and norm is None:
        norm = longest(vectors)
    if bias is None and blockwise.suits_no_max(tiles, projected):
        fits = blockwise.within_reach(
            projected, tiles.classes, norm=norm, max_logit=request.max_logit
        )
        # On a device the answer comes while it works: if it is no, the work was for nothing.
        result = blockwise.no_max_lse(tiles, projected, labels, feature_grad=feature_grad)
        if fits():
            return result
    safe = blockwise.needs_no_max(
        projected,
        bias,
        tiles.classes,
        norm=None if norm is None else float(norm),
        max_logit=request.max_logit,
    )
    return blockwise.online_lse(
        tiles, projected, labels, bias, safe=safe, feature_grad=feature_grad
    )


@_operator(
    "Tensor projected, Tensor? vectors, Tensor labels, Tensor? bias, Tensor lse, Tensor upstream, "
    "bool vector_grad",
    "Tensor, Tensor",
    fake=lambda x, W, y, b, lse, g, vector_grad, request: (
        x.new_empty(0 if b is None else request.classes),
        x.new_empty((request.classes, x.shape[1]) if vector_grad else (0,)),
    ),
)
def _class_gradients(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    upstream: Tensor,
    vector_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor]:
    """Σ_i g_i softmax_ik (K,) over the negatives where there is a bias, and with x_i (K, d)."""
    with torch.autocast(projected.device.type, enabled=False):
        totals, rows = _softmax_totals(
            projected, vectors, labels, bias, lse, upstream, vector_grad, request
        )
    totals = None if bias is None else totals
    return _or_empty(totals, projected), _or_empty(rows, projected)


def _softmax_totals(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    upstream: Tensor,
    vector_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor | None, Tensor | None]:
    """Σ_i g_i softmax_ik (K,), and with x_i (K, d), by the path that fits."""
    offset = None if bias is None else bias.to(projected.dtype)
    compiled = native.library_for(projected, request.packed)
    if compiled is not None and not vector_grad:
        totals = native.bias_grad(compiled, request, projected, labels, offset, lse, upstream)
        return totals, None
    tiles = tiles_for(request, vectors, projected)
    if vector_grad and bias is None and blockwise.suits_no_max(tiles, projected):
        fits = blockwise.near_zero(lse)
        rows = blockwise.no_max_vector_grad(tiles, projected, labels, lse, upstream)
        if fits():
            return None, rows
    return blockwise.online_class_gradients(
        tiles, projected, labels, offset, lse, upstream, vector_grad=vector_grad
    )


# The plain cross-entropy: its value and its gradient from one walk.


def cross_entropy(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    request: LogitsRequest,
    *,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    """ℓ reduced as ``losses.cross_entropy`` does, differentiable once in projected and vectors."""
    loss: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        projected, vectors, labels, ignore_index, reduction, request
    )
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        vectors: Tensor | None,
        labels: Tensor,
        ignore_index: int,
        reduction: str,
        request: LogitsRequest,
    ) -> Tensor:
        loss: Tensor
        loss, feature_grad, share, lse = _cross_entropy(
            projected, vectors, labels, ignore_index, reduction, ctx.needs_input_grad[0], *request
        )
        ctx.request, ctx.ignore_index = request, ignore_index
        again = (projected, vectors, labels, share, lse) if ctx.needs_input_grad[1] else ()
        ctx.save_for_backward(feature_grad, *again)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        feature_grad, *saved = ctx.saved_tensors
        to_projected = to_vectors = None
        if ctx.needs_input_grad[0]:
            to_projected = once(
                feature_grad * (upstream.unsqueeze(1) if upstream.ndim else upstream)
            )
        if saved:
            projected, vectors, labels, share, lse = saved
            given = (upstream * share).to(projected.dtype)
            left_out = labels.masked_fill(labels == ctx.ignore_index, 0)
            _, rows = _class_gradients(
                projected, vectors, left_out, None, lse, given, True, *ctx.request
            )
            rows.index_add_(0, left_out, projected * given.unsqueeze(1), alpha=-1)
            to_vectors = once(rows.to(vectors.dtype))
        return to_projected, to_vectors, None, None, None, None


@_operator(
    "Tensor projected, Tensor? vectors, Tensor labels, int ignore_index, str reduction, "
    "bool feature_grad",
    "Tensor, Tensor, Tensor, Tensor",
    fake=lambda x, W, y, ignore_index, reduction, feature_grad, request: (
        x.new_empty(x.shape[0] if reduction == "none" else ()),
        x.new_empty(x.shape if feature_grad else (0,)),
        _float64(x),
        _float64(x),
    ),
)
def _cross_entropy(
    projected: Tensor,
    vectors: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    reduction: str,
    feature_grad: bool,
    request: LogitsRequest,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ℓ, ∂ℓ/∂x, each row's share of ∂ℓ/∂(R − z_y), and R."""
    ignored = labels == ignore_index
    left_out = labels.masked_fill(ignored, 0)
    with torch.autocast(projected.device.type, enabled=False):
        lse, targets, gradient = _walked(
            projected, vectors, left_out, left_out, None, feature_grad, request
        )
        # A row that does not count is one whose class is sure: ℓ = p = 0.
        gap = lse.sub(torch.linalg.vecdot(projected, targets)).masked_fill_(ignored, -torch.inf)
        loss, share = F.softplus(gap, threshold=CERTAIN), gap.sigmoid()
        if reduction != "none":
            loss = loss.sum()
        if reduction == "mean":
            count = (len(labels) - ignored.sum()).clamp_(min=1)
            loss, share = loss / count, share / count
        if gradient is not None:
            gradient = gradient.sub_(targets).mul_(share.to(gradient.dtype).unsqueeze(1))
    return loss.to(projected.dtype), _or_empty(gradient, projected), share, lse


# The largest logits, and all of them.


def topk(
    projected: Tensor, vectors: Tensor | None, bias: Tensor | None, k: int, request: LogitsRequest
) -> tuple[Tensor, Tensor]:
    """The k largest logits (N, k) and their classes; no gradient."""
    values, classes = _topk(projected, vectors, bias, k, *request)
    return values, classes


@_operator(
    "Tensor projected, Tensor? vectors, Tensor? bias, int k",
    "Tensor, Tensor",
    fake=lambda x, W, b, k, request: (
        x.new_empty(x.shape[0], k),
        x.new_empty(x.shape[0], k, dtype=torch.int64),
    ),
)
def _topk(
    projected: Tensor, vectors: Tensor | None, bias: Tensor | None, k: int, request: LogitsRequest
) -> tuple[Tensor, Tensor]:
    compiled = native.library_for(projected, request.packed)
    if compiled is not None and k <= native.max_k(compiled):
        return native.topk(compiled, request, projected, bias, k)
    with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
        return blockwise.topk(tiles_for(request, vectors, projected), projected, bias, k)


def all_logits(projected: Tensor, request: LogitsRequest) -> Tensor:
    """All logits (N, K) of vectors that are not stored, differentiable once: for few rows."""
    logits: Tensor = _AllLogits.apply(projected, request)  # type: ignore[no-untyped-call]
    return logits


class _AllLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, request: LogitsRequest) -> Tensor:
        ctx.request, ctx.width = request, projected.shape[1]
        logits: Tensor = _all_logits(projected, *request)
        return logits

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return once(_logits_backward(upstream, ctx.width, *ctx.request)), None


@_operator(
    "Tensor projected",
    "Tensor",
    fake=lambda x, request: x.new_empty(x.shape[0], request.classes),
)
def _all_logits(projected: Tensor, request: LogitsRequest) -> Tensor:
    with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
        return blockwise.all_logits(tiles_for(request, None, projected), projected)


@_operator(
    "Tensor upstream, int width",
    "Tensor",
    fake=lambda g, width, request: g.new_empty(g.shape[0], width),
)
def _logits_backward(upstream: Tensor, width: int, request: LogitsRequest) -> Tensor:
    """g W (N, d) for g (N, K)."""
    with torch.no_grad(), torch.autocast(upstream.device.type, enabled=False):
        like = upstream.new_zeros(len(upstream), width)
        tiles = tiles_for(request, None, like)
        return blockwise.logits_backward(tiles, like, upstream).contiguous()


def takes_bf16(features: Tensor) -> bool:
    """Whether products take bfloat16 numbers: on CUDA, where features or autocast ask for them."""
    if features.device.type != "cuda":
        return False
    if features.dtype == torch.bfloat16:
        return True
    asked = torch.is_autocast_enabled("cuda") and features.dtype == torch.float32
    return asked and torch.get_autocast_dtype("cuda") == torch.bfloat16


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
    guarded: Tensor = _Once.apply(gradient.requires_grad_())  # type: ignore[no-untyped-call]
    return guarded
