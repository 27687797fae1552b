"""Learned vectors of very many classes, trained chunk by chunk: their gradient is never whole.

With z = S·W x + b (or S·cos(w, x) + b) of N rows and the mean cross-entropy over them,

    first walk     R_i = log Σ_k e^{z_ik}
    second walk    for a few thousand classes C at a time, with p_ik = e^{z_ik − R_i}:
                   g_ik = (p_ik − [k = y_i]) / N
                   ∂ℓ/∂x_i += Σ_{k∈C} g_ik S w_k,    ∂ℓ/∂b_k = Σ_i g_ik
                   ∂ℓ/∂w_k = Σ_i g_ik S x_i (through the normalisation where z is a cosine),
                   and the optimiser's step on the rows of C

A plain step holds W, its gradient, the optimiser's state and three times the N·K logits; this one
holds W, the state, a chunk, and of the first walk's e^z as much as ``held`` allows (the second walk
makes the others again). Loss, gradients and rows are those of the plain step, but for rounding.

    trainer = ChunkwiseTrainer(head.vectors, torch.optim.SGD, lr=0.1, momentum=0.9)
    for images, labels in batches:
        optimizer.zero_grad(), trainer.zero_grad()
        loss = trainer.loss(backbone(images), labels)
        loss.backward()            # the gradient of the features; the rows take their step
        optimizer.step()           # of everything else
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from .._errors import RequestError
from ..logits import NORM_FLOOR
from ..losses.checks import IGNORE_INDEX, require_per_class
from .loss import safe_labels
from .ops import once
from .vectors import as_class_vectors

NUMBERS = 1 << 21
"""Numbers of W in a chunk: 8 MiB of float32."""

ROW_BY_ROW = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
)
"""Optimisers that move every number by itself, so that a chunk's step is the whole one's part."""


class ChunkwiseTrainer:
    """The optimiser of class vectors W (K, d), and the loss whose backward pass steps it.

    Args:
        vectors: W, float32 or float64; moved in place, its ``grad`` stays None.
        optimizer: one of ``ROW_BY_ROW``; ``options`` are its own (lr, momentum, weight_decay, …).
            It is ``trainer.optimizer``, for learning rates and ``state_dict``.
        held: memory for numbers of the first walk, in shares of W's own.

    Raises:
        RequestError: another optimiser, vectors or type; several processes.
    """

    def __init__(
        self,
        vectors: Tensor,
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
        *,
        held: float = 0.25,
        **options: Any,
    ) -> None:
        if optimizer not in ROW_BY_ROW:
            raise RequestError(
                "chunk-wise training needs an optimiser that moves every number by itself "
                f"({', '.join(kind.__name__ for kind in ROW_BY_ROW)}), got {optimizer!r}"
            )
        if vectors.ndim != 2 or vectors.dtype not in (torch.float32, torch.float64):
            raise RequestError(
                "chunk-wise training needs vectors (K, d) in float32 or float64, got "
                f"{tuple(vectors.shape)} in {vectors.dtype}"
            )
        if isinstance(held, bool) or not held >= 0:
            raise RequestError(f"held must be a number of at least 0, got {held!r}")
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            raise RequestError(
                "chunk-wise training needs one process, got "
                f"{distributed.get_world_size()}: each would move the rows by its own gradient; "
                "divide the classes with group= (many_classes.sharded)"
            )
        self.vectors = vectors
        self.height = max(NUMBERS // vectors.shape[1], 1)
        self.held = held
        self.chunks = [nn.Parameter(part) for part in torch.split(vectors.detach(), self.height)]
        self.optimizer = optimizer(self.chunks, **options)
        self._steps = 0
        self._ready = True

    def zero_grad(self) -> None:
        """Before every step: there is no gradient to clear, but the next backward pass may move."""
        self._ready = True

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        logits: str = "dot",
        scale: float | Tensor = 1.0,
        bias: Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> Tensor:
        """The mean cross-entropy of features (N, d) and labels (N,); arguments as
        ``linear_cross_entropy``. Its backward pass also moves W; without gradients nothing moves.

        Raises:
            RequestError: as ``linear_cross_entropy``; in the backward pass, gradients that are
                accumulated or scaled.
        """
        W = as_class_vectors(self.vectors, "dot")
        if logits not in ("dot", "cosine", "unit-features"):
            as_class_vectors(self.vectors, logits)
        projected = W.project(features, logits, scale).to(self.vectors.dtype)
        safe, counted = safe_labels(labels, projected, W.classes, ignore_index)
        if bias is not None:
            require_per_class("bias", bias, W.classes, projected.device)
        # Learned rows alone have to be reached by the backward pass as well.
        reach = torch.zeros((), device=projected.device, requires_grad=torch.is_grad_enabled())
        made: Tensor = _StepwiseLoss.apply(  # type: ignore[no-untyped-call]
            projected, bias, reach, safe, counted, self, logits == "cosine"
        )
        return made

    def clip_grad_norm_(self, *_: object, **__: object) -> None:
        """Refused.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            "chunk-wise training cannot clip: the length of a gradient is known only after every "
            "chunk has moved; clip the other weights, or hold the whole gradient (head.loss)"
        )

    def _claim(self, steps: int, upstream: float) -> None:
        if upstream != 1.0:
            raise RequestError(
                "chunk-wise training takes the gradient of the loss as it is, got it scaled by "
                f"{upstream:g}: rows would move by that much more; call loss.backward() without a "
                "GradScaler or a factor"
            )
        if steps != self._steps or not self._ready:
            raise RequestError(
                "chunk-wise training cannot accumulate gradients: the rows have moved by the loss "
                "before this one; call trainer.zero_grad() and trainer.loss() for every step"
            )
        self._steps += 1
        self._ready = False

    def _walk(self) -> Iterator[tuple[int, nn.Parameter]]:
        for number, chunk in enumerate(self.chunks):
            yield number * self.height, chunk

    def _step(self, chunk: nn.Parameter, gradient: Tensor) -> None:
        chunk.grad = gradient
        self.optimizer.step()  # of all chunks the one that has a gradient
        chunk.grad = None

    def __repr__(self) -> str:
        classes, width = self.vectors.shape
        return f"ChunkwiseTrainer({classes} x {width}, {type(self.optimizer).__name__})"


class _Kept(NamedTuple):
    """e^{z − m} (C, N) of a chunk, and m (N,)."""

    exponentials: Tensor
    maxima: Tensor


class _Targets:
    """Where labels stand, chunk by chunk: cells of logits (C, N), and their rows."""

    def __init__(self, labels: Tensor, height: int) -> None:
        self.labels, self.height = labels, height
        self.order = labels.argsort(stable=True)
        edges = torch.bincount(labels // height).cumsum(0).tolist() if len(labels) else []
        self.edges = [0, *edges]

    def of(self, start: int) -> tuple[Tensor, Tensor]:
        """Lines within the chunk that begins at class ``start``, and rows (n,)."""
        number = start // self.height
        if number + 1 >= len(self.edges):
            none = self.order[:0]
            return none, none
        rows = self.order[self.edges[number] : self.edges[number + 1]]
        return self.labels[rows] - start, rows


class _StepwiseLoss(torch.autograd.Function):
    """Both walks; the second one moves the rows."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        bias: Tensor | None,
        reach: Tensor,
        labels: Tensor,
        counted: Tensor,
        trainer: ChunkwiseTrainer,
        cosine: bool,
    ) -> Tensor:
        targets = _Targets(labels, trainer.height)
        learning = reach.requires_grad
        with torch.autocast(projected.device.type, enabled=False):
            kept: list[_Kept] = []
            room = trainer.held * trainer.vectors.numel() if learning else 0.0
            count = len(projected)
            maxima = projected.new_full((count,), torch.finfo(projected.dtype).min / 4)
            sums = projected.new_zeros(count, dtype=torch.float64)
            target = torch.zeros_like(maxima)
            buffer = projected.new_empty(0)
            columns = projected.t()
            for start, chunk in trainer._walk() if count else ():
                room -= len(chunk) * count
                if room >= 0:
                    logits = projected.new_empty(len(chunk), count)
                else:
                    buffer = buffer if len(buffer) else projected.new_empty(trainer.height * count)
                    logits = buffer[: len(chunk) * count].view(len(chunk), count)
                _logits(chunk, columns, bias, start, cosine, out=logits)
                lines, rows = targets.of(start)
                target[rows] = logits[lines, rows]
                logits[lines, rows] = -torch.inf
                raised = torch.maximum(maxima, logits.amax(dim=0))
                sums.mul_((maxima - raised).exp_())
                maxima = raised
                sums.add_(logits.sub_(maxima).exp_().sum(dim=0))
                if room >= 0:
                    kept.append(_Kept(logits, maxima))
            lse = sums.log() + maxima
            nats = F.softplus(lse - target, threshold=40.0)
            share = counted.double() / counted.sum().clamp(min=1)
        ctx.save_for_backward(projected, bias, lse, target, share)
        ctx.facts = trainer, targets, kept, cosine, trainer._steps
        return torch.where(counted, nats * share, 0.0).sum().to(projected.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        projected, bias, lse, target, share = ctx.saved_tensors
        trainer, targets, kept, cosine, steps = ctx.facts
        trainer._claim(steps, float(upstream))
        ctx.facts = None  # what was kept goes with the walk
        with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
            found = _second_walk(
                trainer, projected, bias, (lse, target, share), targets, kept, cosine
            )
        to_features, to_bias = (
            once(gradient) if gradient is not None and needed else None
            for gradient, needed in zip(found, ctx.needs_input_grad, strict=False)
        )
        return to_features, to_bias, torch.zeros_like(upstream), None, None, None, None


def _second_walk(
    trainer: ChunkwiseTrainer,
    projected: Tensor,
    bias: Tensor | None,
    sums: tuple[Tensor, Tensor, Tensor],
    targets: _Targets,
    kept: list[_Kept],
    cosine: bool,
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the features (N, d) and the bias (K,), while the rows move."""
    others, target, share = sums  # R without the target; z_y; 1/N, or 0 of ignored rows
    kind, count = projected.dtype, len(projected)
    lse = torch.logaddexp(others, target.double())
    pulled = (-(others - lse).exp() * share).to(kind)  # p_y − 1 loses nothing this way
    near = lse.to(kind)
    rounded = ((near - lse).exp() * share).to(kind)
    to_features = torch.zeros_like(projected)
    to_bias = None if bias is None else projected.new_zeros(len(bias))
    columns = projected.t()
    gradient = projected.new_empty(trainer.height, projected.shape[1])
    buffer = projected.new_empty(0)
    for number, (start, chunk) in enumerate(trainer._walk()):
        made = gradient[: len(chunk)]
        if not count:
            trainer._step(chunk, made.zero_())
            continue
        inverse, rows = _unit(chunk) if cosine else (None, chunk.detach())
        if number < len(kept):
            weights = kept[number].exponentials
            weights.mul_(((kept[number].maxima - lse).exp() * share).to(kind))
            kept[number] = _Kept(buffer, buffer)  # freed
        else:
            buffer = buffer if len(buffer) else projected.new_empty(trainer.height * count)
            weights = buffer[: len(chunk) * count].view(len(chunk), count)
            torch.mm(rows, columns, out=weights)
            if bias is not None:
                weights.add_(bias[start : start + len(chunk)].to(kind).unsqueeze(1))
            weights.sub_(near).exp_().mul_(rounded)
        lines, own = targets.of(start)
        weights[lines, own] = pulled[own]
        to_features.addmm_(weights.t(), rows)
        if to_bias is not None:
            torch.sum(weights, dim=1, out=to_bias[start : start + len(chunk)])
        torch.mm(weights, projected, out=made)
        if inverse is not None:
            along = torch.linalg.vecdot(made, rows).unsqueeze(1)
            made.addcmul_(along, rows, value=-1.0).mul_(inverse)
        trainer._step(chunk, made)
    return to_features, to_bias if bias is None or to_bias is None else to_bias.to(bias.dtype)


def _unit(chunk: Tensor) -> tuple[Tensor, Tensor]:
    """1/‖w‖ (C, 1) and unit rows (C, d), both 0 where a row has no direction: ``logits.unit``."""
    rows = chunk.detach()
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    inverse = torch.where(lengths > NORM_FLOOR, lengths, torch.inf).reciprocal_()
    return inverse, rows * inverse


def _logits(
    chunk: Tensor, columns: Tensor, bias: Tensor | None, start: int, cosine: bool, *, out: Tensor
) -> None:
    """z (C, N) of a chunk's classes."""
    torch.mm(_unit(chunk)[1] if cosine else chunk.detach(), columns, out=out)
    if bias is not None:
        out.add_(bias[start : start + len(chunk)].to(out.dtype).unsqueeze(1))
