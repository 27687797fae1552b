"""Losses that pull a feature to its own class vector and push it from no other.

Per labelled row they cost d products, where a softmax costs K·d. Probabilities (N, K) in the
labels' place (mixup) look at all vectors.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from ..logits import unit
from ._reduce import reduce, wide
from .checks import (
    IGNORE_INDEX,
    Reduction,
    readable,
    require_matrix,
    require_number,
    require_per_class,
    require_positive,
    require_reduction,
    require_targets,
)

Form = Literal["code", "paper"]
Lengths = Literal["batch", "none"]


def dot_regression(
    features: Tensor,
    vectors: Tensor,
    labels: Tensor,
    *,
    form: Form = "code",
    lengths: Lengths | Tensor = "batch",
    E_W: float = 1.0,
    E_H: float | None = None,
    regularisation: float = 0.0,
    unit_vectors: bool = False,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """Dot regression: features h (N, d), vectors w (K, d), labels (N,) or (N, K) → loss.

    code:  ``ℓ_i = (h·m_y − |m_y| r)² / (2 r) + λ |h|``,  r = |h| detached, at least 1e-8
    paper: ``ℓ_i = (h·m_y − |m_y| √E_H)² / (2 |m_y| √E_H) + λ |h|``,  E_H = 1 unless given

    m_k = √E_W · ℓ_k · w_k is the target of class k, and ℓ_k its length:

    - ``lengths="batch"``, as published: ``class_lengths`` of this batch's labels (this process's,
      when several train together); under mixup, of the sums of its targets, which are the
      un-mixed counts where a batch is mixed with a permutation of itself;
    - ``lengths=class_lengths(counts)``, or any (K,): from the whole training set;
    - ``lengths="none"``: 1.

    |m_y| is a constant for the gradient. For |h| = |m_y| = E_H = 1 both forms are ½ (1 − cos θ)².
    They differ elsewhere: code's r follows the feature, so a feature of any length along m_y has
    loss 0, where paper's asks for a projection of √E_H on m_y; and code's carries one |m_y| more,
    which weighs rare classes. Probabilities (N, K) mix the losses of the classes,
    Σ_k t_ik ℓ_i(k), as the code does. The published networks put BatchNorm and x/|x| before this
    loss (for ImageNet BatchNorm alone, and λ = 0.01), and test on logits h·w_k, without lengths.

        loss = dot_regression(features, simplex, labels)                          # as published
        loss = dot_regression(features, simplex, labels, form="paper", lengths="none")

    ``unit_vectors=True`` promises that |w_k| = 1, and skips that norm.

    Source: Yang et al. 2022, section 4 (the dot-regression loss), and its released code
    (``dot_loss`` and ``produce_Ew``).

    Raises:
        RequestError: as ``cross_entropy``; a form or lengths that do not exist; E_W or E_H not
            above 0, or E_H with ``form="code"``; a negative regularisation.
    """
    require_reduction(reduction)
    _require_constants(form, E_W, E_H, regularisation)
    soft = require_pair(features, vectors, labels, ignore_index)
    _require_lengths(lengths, vectors)
    h = wide(features)
    members, counted = members_of(labels, soft, h.dtype, ignore_index)

    rows = looked_at(vectors, members, h.dtype)
    stretch = math.sqrt(E_W) * _stretch(lengths, members, counted, vectors.shape[0], h.dtype)
    products = stretch * dots(h, rows, soft)
    sizes = stretch if unit_vectors else stretch * held_lengths(rows)
    if form == "code":
        r = held_lengths(h).unsqueeze(1) if soft else held_lengths(h)
        losses = (products - sizes * r).square() / (2 * r)
    else:
        goal = sizes * math.sqrt(1.0 if E_H is None else E_H)
        losses = (products - goal).square() / (2 * goal)
    if soft:
        losses = (members * losses).sum(dim=1)
    if regularisation:
        losses = losses + regularisation * torch.linalg.vector_norm(h, dim=1)
    return reduce(losses, reduction, counted=counted)


def class_lengths(counts: Tensor) -> Tensor:
    """``ℓ_k = √( (Σ_j n_j / K') / n_k )``, K' the number of classes with n > 0: (K,) → (K,).

    Rare classes get longer targets; a class that is absent gets 1. The counts n are those of the
    training set, or of one batch, as ``dot_regression`` takes them under ``lengths="batch"``.

        lengths = class_lengths(torch.tensor([900, 90, 10]))            # 0.61, 1.92, 5.77

    Source: the released code of Yang et al. 2022 (``produce_global_Ew``, ``produce_Ew``).

    Raises:
        RequestError: counts that are no tensor of real numbers (K,), or (on the CPU) below 0.
    """
    if not isinstance(counts, Tensor) or counts.ndim != 1:
        raise RequestError(f"counts must be a tensor of numbers (K,), got {counts!r}")
    require_per_class("counts", counts, counts.shape[0], counts.device, whole=True)
    if readable(counts) and bool((counts < 0).any()):
        label = int((counts < 0).nonzero()[0])
        raise RequestError(f"counts must be >= 0, got {float(counts[label]):g} for class {label}")
    counts = wide(counts) if counts.is_floating_point() else counts.to(torch.float32)
    present = counts > 0
    share = counts.sum() / present.sum()
    return torch.where(present, share / torch.where(present, counts, 1.0), 1.0).sqrt()


def squared_cosine(
    features: Tensor,
    vectors: Tensor,
    labels: Tensor,
    *,
    unit_vectors: bool = False,
    ignore_index: int = IGNORE_INDEX,
    reduction: Reduction = "mean",
) -> Tensor:
    """``ℓ_i = (1 − cos θ_y)²``: features (N, d), vectors (K, d), labels (N,) or (N, K) → loss.

    Probabilities (N, K) mix the losses of the classes: Σ_k t_ik (1 − cos θ_k)². A feature without
    a direction (norm below 1e-12) has cosine 0 and a zero gradient. ``unit_vectors=True`` promises
    that |w_k| = 1, and skips that normalisation.

        loss = squared_cosine(features, vectors, labels)

    Source: Mettes et al. 2019 (hyperspherical prototypes), eq. 1, where it is a sum over rows.

    Raises:
        RequestError: as ``cross_entropy``.
    """
    require_reduction(reduction)
    soft = require_pair(features, vectors, labels, ignore_index)
    directions = unit(features)
    members, counted = members_of(labels, soft, directions.dtype, ignore_index)
    rows = looked_at(vectors, members, directions.dtype)
    losses = (1 - dots(directions, rows if unit_vectors else unit(rows), soft)).square()
    if soft:
        losses = (members * losses).sum(dim=1)
    return reduce(losses, reduction, counted=counted)


def _stretch(
    lengths: Lengths | Tensor,
    members: Tensor,
    counted: Tensor | None,
    count: int,
    dtype: torch.dtype,
) -> float | Tensor:
    """The lengths of the rows that ``looked_at`` gives: (N,) for labels, (K,) for targets."""
    if isinstance(lengths, Tensor):
        per_class = lengths.to(dtype)
    elif lengths == "none":
        return 1.0
    elif counted is None:
        per_class = class_lengths(members.detach().sum(dim=0))
    else:
        zeros = torch.zeros(count, dtype=dtype, device=members.device)
        per_class = class_lengths(zeros.scatter_add(0, members, counted.to(dtype)))
    return per_class if counted is None else per_class[members]


def _require_constants(form: str, E_W: float, E_H: float | None, regularisation: float) -> None:
    if form not in get_args(Form):
        raise RequestError(f"form must be 'code' or 'paper', got {form!r}")
    require_positive("E_W", E_W)
    if E_H is not None:
        require_positive("E_H", E_H)
        if form == "code":
            raise RequestError(
                f"E_H={E_H} needs form='paper': the code's form takes each feature's own length"
            )
    require_number("regularisation", regularisation, 0)


def _require_lengths(lengths: Lengths | Tensor, vectors: Tensor) -> None:
    if isinstance(lengths, Tensor):
        require_per_class("lengths", lengths, vectors.shape[0], vectors.device)
        if readable(lengths) and not bool(((lengths > 0) & torch.isfinite(lengths)).all()):
            raise RequestError("lengths must be finite and above 0 for every class")
    elif lengths not in get_args(Lengths):
        raise RequestError(
            f"lengths must be 'batch', 'none' or a tensor (K,), got {lengths!r}; for those of "
            "the training set: class_lengths(counts)"
        )


LENGTH_FLOOR = 1e-8
"""Lengths count as at least this (the released code's clamp): a zero feature still gets a pull."""


def members_of(
    labels: Tensor, soft: bool, dtype: torch.dtype, ignore_index: int
) -> tuple[Tensor, Tensor | None]:
    """Classes (N,) that are safe to index with and the counted rows; or targets (N, K)."""
    if soft:
        return labels.to(dtype), None
    classes = labels.to(torch.int64)
    counted = classes != ignore_index
    return torch.where(counted, classes, 0), counted


def looked_at(vectors: Tensor, members: Tensor, dtype: torch.dtype) -> Tensor:
    """The vectors that are looked at: own ones (N, d) for labels, all (K, d) for targets."""
    rows = vectors if members.is_floating_point() else F.embedding(members, vectors)
    return rows.to(dtype)


def held_lengths(rows: Tensor) -> Tensor:
    """|x| of each row, a constant for the gradient, and never 0."""
    lengths: Tensor = torch.linalg.vector_norm(rows.detach(), dim=1)
    return lengths.clamp(min=LENGTH_FLOOR)


def dots(features: Tensor, rows: Tensor, soft: bool) -> Tensor:
    """Products (N,) with the own vectors, or (N, K) with all."""
    if not soft:
        return (features * rows).sum(dim=1)
    if not torch.amp.is_autocast_available(features.device.type):
        return features @ rows.T
    with torch.autocast(features.device.type, enabled=False):  # 1 − cos needs its digits
        return features @ rows.T


def require_pair(features: Tensor, vectors: Tensor, labels: Tensor, ignore_index: int) -> bool:
    """Features (N, d), vectors (K, d) and labels that fit: whether those are probabilities."""
    require_matrix("features", features, "(N, d)")
    require_matrix("vectors", vectors, "(K, d)")
    rows, size = features.shape
    classes, width = vectors.shape
    if width != size:
        raise RequestError(
            f"vectors must be (K, d) = (K, {size}) like features ({rows}, {size}), "
            f"got {tuple(vectors.shape)}"
        )
    if vectors.device != features.device:
        raise RequestError(
            f"vectors must be on {features.device} like features, got {vectors.device}"
        )
    return require_targets(labels, rows, classes, features.device, ignore_index)
