"""From a trained model with a linear head to one with a fixed head: swap, turn, train briefly.

The new vectors are turned as a whole towards the trained layer's, so that the trained model fits
them at once. Needs torch alone: ``pip install fixhead`` without the lab extra.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._errors import RequestError
from ..heads.head import ClassificationHead
from ..heads.locate import locate
from ..heads.swap import SwapReport, swap_head, swapped_heads, unswap
from ..logits import unit
from .imprint import imprint_head
from .step import PlainRunner, take_step

LabelledInputs = Iterable[tuple[Any, Tensor]]
"""(inputs, labels (N,)) per batch; inputs are whatever the model takes, with ``.to(device)``."""
MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Predictions = tuple[Tensor, Tensor]
"""Predicted and true classes, (N,) and (N,)."""


@dataclass(frozen=True)
class FinetuneEpoch:
    """One epoch: the mean training loss, and the accuracy on validation (None without)."""

    epoch: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class FinetuneReport:
    """What changed when a trained linear head gave way to a fixed one; ``print`` it.

    Attributes:
        swap: what ``swap_head`` did.
        aligned_cosine: mean cosine of the new class vectors with the old, centred ones.
        accuracy_before: with the trained linear head (None without validation batches).
        accuracy_swapped: with the new head, before any training.
        epochs: loss and accuracy of each epoch.
        agreement: the share of validation images that are predicted as before the swap.
        seconds: of the training epochs.
    """

    swap: SwapReport
    aligned_cosine: float
    accuracy_before: float | None
    accuracy_swapped: float | None
    epochs: tuple[FinetuneEpoch, ...]
    agreement: float | None
    seconds: float

    @property
    def accuracy_after(self) -> float | None:
        """The accuracy after the last epoch."""
        return self.epochs[-1].accuracy if self.epochs else self.accuracy_swapped

    def __str__(self) -> str:
        lines = [str(self.swap)]
        lines.append(f"  mean cosine with the trained vectors: {self.aligned_cosine:.3f}")
        if self.accuracy_before is not None and self.accuracy_after is not None:
            lines.append(
                f"  accuracy {self.accuracy_before:.2%} before, {self.accuracy_swapped:.2%} right "
                f"after the swap, {self.accuracy_after:.2%} after {len(self.epochs)} epoch(s)"
            )
        if self.agreement is not None:
            lines.append(f"  predicted as before: {self.agreement:.2%}")
        return "\n".join(lines)


def finetune_head(
    model: nn.Module,
    batches: LabelledInputs,
    head: str = "simplex",
    *,
    validation: LabelledInputs | None = None,
    epochs: int = 3,
    align: bool = True,
    optimizer: MakeOptimizer | None = None,
    where: str | None = None,
    generator: torch.Generator | None = None,
) -> FinetuneReport:
    """Give a trained ``model`` a fixed head for the same classes, and train it on for some epochs.

    1. ``swap_head(model, head)``; 2. with ``align``, the new vectors are turned as a whole towards
    the trained ones, which changes no cosine between them; 3. ``epochs`` of the head's own loss.

    Args:
        model: trained, with one linear head (not convolutional, none auxiliary).
        batches: (inputs, labels (N,)) per batch, iterated anew every epoch; its order and
            augmentation are the caller's. Both are moved to the model's device.
        head: a preset or spec. A learned one may begin from the class means of ``batches`` in
            place of a turn (``learned-cosine:imprint@20``: weight imprinting, Qi et al. 2018); the
            trained layers before it stay.
        validation: batches to measure on before, between and after; None reports no accuracy.
        epochs: 0 or more.
        optimizer: made from the trained parameters; default SGD(lr=0.01, momentum=0.9).
        where, generator: as in ``swap_head``.

    The whole model trains, in training mode; modes are as before at the end. ``unswap`` gives the
    old head back (the backbone has moved on by then).

    Raises:
        RequestError: as ``swap_head``; several or convolutional heads; vectors that must not be
            turned; a loss that is not finite.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise RequestError(f"epochs must be a whole number of at least 0, got {epochs!r}")
    trained = _trained_weight(model, where)
    before = None if validation is None else predict(model, validation)
    modes = [(module, module.training) for module in model.modules()]
    swap = swap_head(model, head, where=where, generator=generator)
    [new] = swapped_heads(model)
    if new.awaits_imprint:
        _imprint_or_unswap(model, new, batches)
    elif align:
        _turn_or_unswap(model, new, trained)
    swapped = None if validation is None else predict(model, validation)
    start = time.perf_counter()
    history, after = _train(model, new, batches, validation, epochs, optimizer)
    seconds = time.perf_counter() - start
    for module, training in modes:
        module.training = training
    new.train(model.training)
    last = swapped if after is None else after
    return FinetuneReport(
        swap=swap,
        aligned_cosine=_mean_cosine(new, trained),
        accuracy_before=accuracy_of(before),
        accuracy_swapped=accuracy_of(swapped),
        epochs=tuple(history),
        agreement=None
        if before is None or last is None
        else float((before[0] == last[0]).double().mean()),
        seconds=seconds,
    )


def _trained_weight(model: nn.Module, where: str | None) -> Tensor:
    """The trained rows (K, d); refuses models whose head is not one Linear."""
    places = locate(model, where=where).places
    layers = [place.layer for place in places]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        raise RequestError(
            f"finetune_head() needs one linear head, got {', '.join(map(str, places))}; use "
            "swap_head() and a loop of your own"
        )
    return layers[0].weight.detach().clone()


def _turn_or_unswap(model: nn.Module, head: ClassificationHead, trained: Tensor) -> None:
    try:
        _turn(head, trained)
    except RequestError:
        unswap(model)
        raise


def _imprint_or_unswap(model: nn.Module, head: ClassificationHead, batches: LabelledInputs) -> None:
    try:
        imprint_head(model, head, lambda: batches, trained=True)
    except RequestError:
        unswap(model)
        raise


@torch.no_grad()
def _turn(head: ClassificationHead, trained: Tensor) -> None:
    check_turnable(head.construction)
    if head.width != head.features:
        raise RequestError(
            f"align=True needs vectors of the features' size {head.features}, got {head.width} "
            f"behind neck={head.neck_name!r}; use align=False"
        )
    head.vectors.copy_(aligned(head.vectors, trained))


@torch.no_grad()
def _mean_cosine(head: ClassificationHead, trained: Tensor) -> float:
    if head.width != trained.shape[1]:
        return float("nan")
    rows = trained.double() - trained.double().mean(dim=0)
    return float(torch.cosine_similarity(head.vectors.double(), rows, dim=1).mean())


def _train(
    model: nn.Module,
    head: ClassificationHead,
    batches: LabelledInputs,
    validation: LabelledInputs | None,
    epochs: int,
    make_optimizer: MakeOptimizer | None,
) -> tuple[list[FinetuneEpoch], Predictions | None]:
    """The epochs, and the predictions after the last one."""
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = (make_optimizer or _sgd)(parameters)
    history: list[FinetuneEpoch] = []
    predictions = None
    for epoch in range(1, epochs + 1):
        head.begin_epoch(epoch)
        head.set_progress(epoch / epochs)  # how many steps an epoch has is not known before
        loss = _one_epoch(model, head, batches, optimizer, epoch)
        predictions = None if validation is None else predict(model, validation)
        history.append(FinetuneEpoch(epoch, loss, accuracy_of(predictions)))
    return history, predictions


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def _one_epoch(
    model: nn.Module,
    head: ClassificationHead,
    batches: LabelledInputs,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> float:
    """The mean loss over the epoch's images."""
    model.train()
    device = head.class_vectors.device
    runner = PlainRunner()
    total, images = 0.0, 0

    def objective(inputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, right = _judge(model, head, inputs, labels)
        if not bool(torch.isfinite(loss)):  # before the step, which would spoil the weights
            raise RequestError(
                f"the loss of finetune_head() must stay finite, got {float(loss.detach())} in "
                f"epoch {epoch} after {images} images; try a lower learning rate"
            )
        return loss, right

    for inputs, labels in batches:
        loss, _ = take_step(objective, optimizer, inputs.to(device), labels.to(device), runner)
        total, images = total + float(loss) * len(labels), images + len(labels)
    if not images:
        raise RequestError("batches must give at least one batch in every epoch, got none")
    return total / images


def _judge(
    model: nn.Module, head: ClassificationHead, inputs: Any, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """The head's own loss on the features that the model gives it, and which predictions are
    right."""
    caught: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _head, args: caught.append(args[0]))
    try:
        logits = logits_of(model(inputs))
    finally:
        handle.remove()
    right = logits.detach().argmax(dim=-1) == labels
    if str(head.loss_name) == "cross-entropy" and head.class_weights is None:
        return cross_entropy(logits, labels), right
    if len(caught) != 1 or caught[0].dim() != 2:
        raise RequestError(
            f"loss={head.loss_name} needs features (N, {head.features}) at the head once per pass, "
            f"got {[tuple(features.shape) for features in caught]}; use a head with cross-entropy"
        )
    return head.loss(caught[0], labels), right


def logits_of(output: Any) -> Tensor:
    """The logits (N, K) in what a model returns: the tensor, or its ``.logits``.

    Raises:
        RequestError: the output is neither.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        raise RequestError(
            f"the model must return logits (N, K) or an object with .logits, got "
            f"{type(output).__name__}"
        )
    return logits


@torch.no_grad()
def predict(model: nn.Module, batches: LabelledInputs) -> Predictions:
    """Predicted and true classes (N,) and (N,), in evaluation mode; the mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    predicted, true = [], []
    try:
        model.eval()
        for inputs, labels in batches:
            predicted.append(logits_of(model(inputs.to(device))).argmax(dim=1).cpu())
            true.append(labels.cpu())
    finally:
        for module, training in modes:
            module.training = training
    if not predicted:
        raise RequestError("validation must give at least one batch, got none")
    return torch.cat(predicted), torch.cat(true)


def accuracy_of(predictions: Predictions | None) -> float | None:
    if predictions is None:
        return None
    return float((predictions[0] == predictions[1]).double().mean())


TURNABLE = ("simplex", "orthonormal", "random", "codes", "tensor")
"""Constructions that stay what they are when they are turned as a whole."""


def aligned(vectors: Tensor, trained: Tensor) -> Tensor:
    """W R (K, d) for the orthogonal R (d, d) that maximises Σ_k ⟨R^T w_k, a_k⟩.

    a_k are the unit rows of the centred trained weights A (K, d): a constant added to all logits
    changes no prediction. All cosines between class vectors stay as they are. With thin QR
    factors W^T = Q₁ R₁ and A^T = Q₂ R₂, R = Q₁ U V^T Q₂^T on the spans, from the singular vectors
    of R₁ R₂^T = U Σ V^T: nothing larger than (d, K) is factorised.

    Source: Schönemann 1966, orthogonal Procrustes.
    """
    if vectors.shape != trained.shape:
        raise RequestError(
            f"aligning needs as many rows and columns on both sides, got vectors "
            f"{tuple(vectors.shape)} and trained weights {tuple(trained.shape)}"
        )
    W = vectors.detach().double()
    A = unit(trained.detach().double() - trained.detach().double().mean(dim=0))
    _, r1 = torch.linalg.qr(W.T)
    q2, r2 = torch.linalg.qr(A.T)
    u, _, vt = torch.linalg.svd(r1 @ r2.T)
    turned: Tensor = (r1.T @ u) @ (vt @ q2.T)
    return turned.to(vectors)


def check_turnable(construction: str) -> None:
    """Refuse constructions whose coordinates mean something (Hadamard's signs, one-hot's axes)."""
    if construction.partition(":")[0] not in TURNABLE:
        raise RequestError(
            f"align=True turns the class vectors, which needs {', '.join(TURNABLE)}, got "
            f"{construction}, whose coordinates would lose their meaning; use align=False"
        )
