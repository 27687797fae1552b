"""From a trained model with a linear head to one with a fixed head: swap, turn, train briefly."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from .._errors import RequestError
from ..heads.align import aligned, check_turnable
from ..heads.head import ClassificationHead
from ..heads.locate import locate
from ..heads.swap import swap_head, swapped_heads, unswap
from .loop import Batches, MakeOptimizer, accuracy_of, predict, train
from .report import FinetuneReport


def finetune_head(
    model: nn.Module,
    batches: Batches,
    head: str = "simplex",
    *,
    validation: Batches | None = None,
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
        head: a preset or spec.
        validation: batches to measure on before, between and after; without, no accuracy is told.
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
    if align:
        _turn_or_unswap(model, new, trained)
    swapped = None if validation is None else predict(model, validation)
    start = time.perf_counter()
    history, after = train(model, new, batches, validation, epochs, optimizer)
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
