"""Losses over any number of classes, without the logits (N, K): exact, or over drawn classes.

Cross-entropy. With R = log Σ_{k ≠ y} e^{z_k} from one walk over the classes and the target's
logit z_y,
    ℓ = −log softmax_y = log(1 + e^{R − z_y}),
which loses no digits where a class is sure, and lets a margin change z_y alone. Everything but R
costs O(N·d).

Squared error against one-hot targets, at a cost that does not depend on K:
    Σ_k (S w_k·x − t_k)² = S² xᵀ(WᵀW)x − 2 S w_y·x + 1
The Gram matrix WᵀW (d, d) of fixed vectors is computed once. Whole blocks of a code are tight
frames, WᵀW = (n/d)·B·I, so that the first term is a norm; a last block that is cut costs one
transform. Source: Vincent, de Brébisson and Bouthillier 2015 (the factorisation, for learned
vectors).

Softmax over a drawn part of very many learned classes (Partial FC), to compare with exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import default_generator_or
from ..losses._reduce import reduce
from ..losses.checks import (
    IGNORE_INDEX,
    Reduction,
    check_labels,
    readable,
    require_counts,
    require_number,
    require_per_class,
    require_reduction,
    require_weight,
)
from ..losses.margins import arcface_margin, cosface_margin
from .ops import takes_bf16
from .sharded import ShardedVectors
from .vectors import ClassVectors, as_class_vectors

Change = Callable[[Tensor, Tensor], Tensor]
"""From the targets' cosines (N,) and labels (N,) to what takes their place."""


@dataclass(frozen=True)
class Terms:
    """Per row (N,): the nats ℓ, the log-sum-exp, and which rows count; labels safe to index."""

    nats: Tensor
    lse: Tensor
    labels: Tensor
    counted: Tensor


def linear_cross_entropy(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    labels: Tensor,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    cosface: float | None = None,
    arcface: float | None = None,
    weight: Tensor | None = None,
    prior: Tensor | None = None,
    tau: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
    unit_vectors: bool = False,
    group: Any = None,
) -> Tensor:
    """Cross-entropy in nats of features (N, d), class vectors (K, d) and labels (N,).

    The value and the first derivatives of ``losses.cross_entropy`` on the logits

        dot            z = S · W x + b
        cosine         z = S · cos(w, x) + b
        unit-features  z = S · W x/‖x‖ + b

    with at most a few thousand classes' logits in memory. float16 and bfloat16 features are
    computed in float32 (under autocast too), and the loss is float32 then. On CUDA the products
    of bfloat16 features, and of others under its autocast, are those of bfloat16 numbers, and so
    are logits and their exponentials, as far as no bias and no length forbids it: for logits about
    1 in size R is off by some 1e-4 nats. Targets' logits, and sums over classes, stay in float32.

    Args:
        vectors: a tensor (K, d), fixed or learned, or an object of this room (``implicit``).
        scale: S, a number or a tensor of one number, which may be learned.
        cosface, arcface: the margin of ``losses.cosface`` or ``losses.arcface`` (cosine only).
        weight: class weights (K,) as ``losses.cross_entropy`` takes them.
        prior, tau: class counts n (K,): logits z + τ log(n/Σn), as ``losses.logit_adjustment``.
        label_smoothing: ε, in closed form: Σ_k z_k is one product with Σ_k w_k.
        z_loss: adds ``z_loss · (log Σ_k e^{z_k})²`` to every row.
        unit_vectors: promises that ‖w_k‖ = 1 for all k, and skips that normalisation.
        group: a torch.distributed process group whose processes share the classes, each with its
            own vectors, bias, weight and prior, and all with the same features and labels; see
            ``many_classes.sharded``.

    Raises:
        RequestError: a shape, type or option that does not fit; on the CPU also labels out of
            range and features that are not finite (the row is named); a second derivative.
    """
    if group is not None:
        vectors = ShardedVectors(vectors, group, unit_rows=unit_vectors)
    require_reduction(reduction)
    require_number("z_loss", z_loss, 0)
    require_number("label_smoothing", label_smoothing, 0, 1)
    change = _margin(cosface, arcface, logits)
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    require_weight(weight, W.held, features.device)
    shift = _shift(bias, prior, tau, W, features.device)
    bare = shift is None and change is None and weight is None and not (label_smoothing or z_loss)
    if bare and W.fused:
        return _plain(features, W, labels, logits, scale, ignore_index, reduction)
    terms = softmax_terms(
        features,
        W,
        labels,
        logits=logits,
        scale=scale,
        bias=shift,
        change=change,
        ignore_index=ignore_index,
        smoothing=label_smoothing,
        weight=weight,
    )
    losses = terms.nats + z_loss * terms.lse.square() if z_loss else terms.nats
    shares = None if weight is None else W.of(weight.to(losses.dtype), terms.labels)
    return reduce(losses, reduction, counted=terms.counted, weights=shares)


def _plain(
    features: Tensor,
    vectors: ClassVectors,
    labels: Tensor,
    logits: str,
    scale: float | Tensor,
    ignore_index: int,
    reduction: Reduction,
) -> Tensor:
    """The loss that most heads train with, in a third of the operations."""
    projected = vectors.project(features, logits, scale)
    return vectors.cross_entropy(
        projected,
        checked_labels(labels, projected, vectors.classes, ignore_index),
        ignore_index=ignore_index,
        reduction=reduction,
        bf16_matmul=takes_bf16(features),
        max_logit=vectors.max_logit(logits, scale),
    )


def log_sum_exp(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    unit_vectors: bool = False,
) -> Tensor:
    """``log Σ_k e^{z_k}`` (N,), differentiable once; arguments as ``linear_cross_entropy``."""
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    projected = W.project(features, logits, scale)
    none = torch.full((len(projected),), -1, device=projected.device)
    lse, _ = W.negatives_lse(projected, none, bias, bf16_matmul=takes_bf16(features))
    return lse.to(projected.dtype)


def softmax_terms(
    features: Tensor,
    vectors: ClassVectors,
    labels: Tensor,
    *,
    logits: str,
    scale: float | Tensor,
    bias: Tensor | None,
    change: Change | None = None,
    ignore_index: int = IGNORE_INDEX,
    smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> Terms:
    """What a softmax loss is made of, before its reduction."""
    projected = vectors.project(features, logits, scale)
    safe, counted = safe_labels(labels, projected, vectors.classes, ignore_index)
    negatives, plain = vectors.negatives_lse(
        projected,
        safe,
        bias,
        bf16_matmul=takes_bf16(features),
        max_logit=vectors.max_logit(logits, scale),
    )
    target = plain if change is None else change(plain / scale, safe) * scale
    # R is float64: one rounding less
    nats = F.softplus(negatives - target, threshold=40.0).to(projected.dtype)
    lse = torch.logaddexp(negatives, target.to(negatives.dtype)).to(projected.dtype)
    weight = None if weight is None else weight.to(projected.dtype)
    shares = nats if weight is None else vectors.of(weight, safe) * nats
    if smoothing:
        spread = _spread(projected, vectors, bias, weight, lse, target - plain, safe)
        shares = (1 - smoothing) * shares + smoothing * spread
    return Terms(shares, lse, safe, counted)


def _spread(
    projected: Tensor,
    vectors: ClassVectors,
    bias: Tensor | None,
    weight: Tensor | None,
    lse: Tensor,
    moved: Tensor,
    labels: Tensor,
) -> Tensor:
    """(1/K) Σ_k a_k (lse − z_k), by Σ_k a_k z_k = x · Σ_k a_k w_k + Σ_k a_k b_k."""
    centre = vectors.weighted_sum(weight).to(projected)
    # Sums of products in place of products of matrices: autocast leaves them as they are.
    share = 1.0 if weight is None else vectors.of(weight, labels)
    total = (projected * centre).sum(dim=1) + moved * share
    if bias is not None:
        total = total + vectors.total(bias if weight is None else weight * bias)
    mass = vectors.classes if weight is None else vectors.total(weight)
    return (mass * lse - total) / vectors.classes


def _margin(cosface: float | None, arcface: float | None, logits: str) -> Change | None:
    if cosface is None and arcface is None:
        return None
    if logits != "cosine" or (cosface is not None and arcface is not None):
        raise RequestError(
            "a margin needs logits='cosine' and is either cosface=m or arcface=m, "
            f"got logits={logits!r}, cosface={cosface}, arcface={arcface}"
        )
    if cosface is not None:
        require_number("cosface", cosface, 0, 2)
        margin = cosface
        return lambda cosines, _: cosface_margin(cosines, margin)
    assert arcface is not None
    angle = arcface
    require_number("arcface", angle, 0, torch.pi / 2)
    return lambda cosines, _: arcface_margin(cosines, angle)


def _shift(
    bias: Tensor | None,
    prior: Tensor | None,
    tau: float,
    vectors: ClassVectors,
    device: torch.device,
) -> Tensor | None:
    """What is added to the logits of every class (K,)."""
    if bias is not None:
        require_per_class("bias", bias, vectors.held, device)
    if prior is None:
        return bias
    require_number("tau", tau, 0)
    require_counts(prior, vectors.held, device)
    counts = prior.to(torch.float32 if bias is None else bias.dtype)
    shift = tau * (counts / vectors.total(counts)).log()
    return shift if bias is None else bias + shift


def safe_labels(
    labels: Tensor, projected: Tensor, classes: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Labels (N,) with class 0 for ignored rows, and which rows count."""
    labels = checked_labels(labels, projected, classes, ignore_index)
    counted = labels != ignore_index
    return torch.where(counted, labels, 0), counted


def checked_labels(labels: Tensor, projected: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Labels (N,) in int64, looked at where that costs no wait."""
    rows = len(projected)
    whole = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex())
    if not whole or tuple(labels.shape) != (rows,) or labels.dtype == torch.bool:
        got = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else labels
        raise RequestError(
            f"labels must be integers (N,) = ({rows},), got {got}; probabilities (N, K) need the "
            "logits: use fixhead.losses"
        )
    if readable(labels):
        check_labels(labels, classes, ignore_index=ignore_index)
    return labels.to(torch.int64)


def squared_error(
    features: Tensor,
    vectors: Tensor | ClassVectors,
    labels: Tensor,
    *,
    logits: str = "dot",
    scale: float | Tensor = 1.0,
    gram: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
    unit_vectors: bool = False,
) -> Tensor:
    """``ℓ_i = Σ_k (z_ik − [k = y_i])²``, z = S·W x or S·cos(w, x): features (N, d) → loss.

    In O(N·d) for implicit codes; O(N·d²) with ``gram`` = ``gram_matrix(vectors)`` for others, which
    is computed here at O(K·d²) where it is not given.

        gram = gram_matrix(vectors)                                   # once, for fixed vectors
        loss = squared_error(features, vectors, labels, gram=gram)

    Raises:
        RequestError: as ``linear_cross_entropy``; a Gram matrix that is not (d, d).
    """
    require_reduction(reduction)
    W = as_class_vectors(vectors, logits, unit_vectors, features)
    projected = W.project(features, logits, scale)
    safe, counted = safe_labels(labels, projected, W.classes, ignore_index)
    rows = W.rows(safe, projected.dtype)
    with torch.autocast(projected.device.type, enabled=False):
        product = _gram_product(projected, W, gram)
        if rows.requires_grad or product.requires_grad:  # learned vectors
            losses = (projected * (product - 2 * rows)).sum(dim=1) + 1
        else:
            losses = _Squares.apply(projected, product, rows)  # type: ignore[no-untyped-call]
    return reduce(losses, reduction, counted=counted)


class _Squares(torch.autograd.Function):
    """``x·(G x) − 2 w·x + 1`` of a given G x, G symmetric; its gradient is 2 (G x − w)."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, product: Tensor, rows: Tensor) -> Tensor:
        half = product - rows
        ctx.save_for_backward(half)
        losses: Tensor = torch.linalg.vecdot(half - rows, projected)
        return losses + 1

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (half,) = ctx.saved_tensors
        return (2 * upstream).unsqueeze(1) * half, None, None


def _gram_product(projected: Tensor, vectors: ClassVectors, gram: Tensor | None) -> Tensor:
    """``WᵀW x`` (N, d); the gradient in x is left to ``_Squares`` for fixed vectors."""
    if gram is None:
        with torch.no_grad():
            product = vectors.gram_product(projected)
        if product is not None:
            return product
        gram = gram_matrix(vectors)
    width = vectors.features
    if tuple(gram.shape) != (width, width):
        raise RequestError(f"gram must be (d, d) = ({width}, {width}), got {tuple(gram.shape)}")
    if gram.requires_grad:
        return projected @ gram.to(projected)
    with torch.no_grad():
        return projected @ gram.to(projected)


def gram_matrix(vectors: Tensor | ClassVectors) -> Tensor:
    """``WᵀW`` (d, d) in float64, a few thousand classes at a time; differentiable in a tensor."""
    W = as_class_vectors(vectors, "dot")
    device = W.device
    total = torch.zeros(W.features, W.features, dtype=torch.float64, device=device)
    step = max((1 << 22) // W.features, 1)
    for start in range(0, W.classes, step):
        labels = torch.arange(start, min(start + step, W.classes), device=device)
        rows = W.rows(labels, torch.float64)
        total = total + rows.t() @ rows
    return total


class Sample(NamedTuple):
    """Drawn classes in ascending order (n,), and the labels as places among them (N,)."""

    classes: Tensor
    labels: Tensor


def sample_classes(
    labels: Tensor,
    classes: int,
    *,
    rate: float = 0.1,
    ignore_index: int = IGNORE_INDEX,
    generator: torch.Generator | None = None,
) -> Sample:
    """All classes of the batch, filled up to rate·K by others at random, without replacement.

    Ignored labels stay ``ignore_index``. Where the batch holds more than rate·K classes, those.

    Source: An et al. 2022 (Partial FC), section 3.

    Raises:
        RequestError: a rate outside (0, 1], or (on the CPU) a label out of range.
    """
    if isinstance(rate, bool) or not 0 < rate <= 1:
        raise RequestError(f"rate must be above 0 and at most 1, got {rate!r}")
    if readable(labels):
        check_labels(labels, classes, ignore_index=ignore_index)
    labels = labels.to(torch.int64)
    counted = labels != ignore_index
    generator = default_generator_or(generator)
    order = torch.rand(classes, generator=generator, device=generator.device).to(labels.device)
    positives = torch.unique(labels[counted])
    order[positives] = 2.0  # above every other: the batch's own classes always take part
    size = max(round(rate * classes), len(positives), 2)
    drawn = order.topk(min(size, classes), sorted=False).indices.sort().values
    places = torch.searchsorted(drawn, torch.where(counted, labels, 0))
    return Sample(drawn, torch.where(counted, places, ignore_index))


def sampled_cross_entropy(
    features: Tensor,
    vectors: Tensor,
    labels: Tensor,
    *,
    rate: float = 0.1,
    generator: torch.Generator | None = None,
    bias: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    **options: object,
) -> Tensor:
    """``linear_cross_entropy`` over the classes that ``sample_classes`` draws: not the exact loss.

    The gradient of undrawn rows of ``vectors`` (K, d) is zero; of W only drawn rows are read.
    Give a generator that goes on from step to step; without one every call draws the same.

    Source: An et al. 2022 (Partial FC), section 3: the loss has no correction for sampling.

    Raises:
        RequestError: as ``linear_cross_entropy`` and ``sample_classes``; options per class.
    """
    for name in ("weight", "prior"):
        if options.get(name) is not None:
            raise RequestError(
                f"sampled_cross_entropy() takes no {name}: use linear_cross_entropy()"
            )
    drawn = sample_classes(
        labels, vectors.shape[0], rate=rate, ignore_index=ignore_index, generator=generator
    )
    part = None if bias is None else bias[drawn.classes]
    return linear_cross_entropy(
        features,
        vectors[drawn.classes],
        drawn.labels,
        bias=part,
        ignore_index=ignore_index,
        **options,  # type: ignore[arg-type]
    )
