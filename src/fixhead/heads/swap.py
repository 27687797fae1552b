"""Another classification layer for a whole model, and the old one back.

timm, torchvision and Hugging Face image classifiers, and any other module whose last layer can be
told for certain. None of these libraries is imported: models are recognised by their structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._errors import RequestError
from .head import ClassificationHead
from .swapping.affine import Place
from .swapping.build import build_all, device_and_dtype, number_of
from .swapping.convolutional import ConvolutionalHead
from .swapping.locate import Found, locate
from .swapping.record import (
    RECORD,
    Exchange,
    SwapRecord,
    put,
    record_of,
    restate_classes,
    restore,
    share_hooks,
)
from .swapping.report import SwapReport, report_of


def swap_head(
    model: nn.Module,
    head: str | Tensor | ClassificationHead = "auto",
    *,
    classes: int | None = None,
    where: str | Sequence[str] | None = None,
    example: Any = None,
    auxiliary: Literal["swap", "keep"] = "swap",
    keep_old: bool = True,
    class_counts: Sequence[int] | Tensor | None = None,
    nonnegative_features: bool = False,
    generator: torch.Generator | None = None,
) -> SwapReport:
    """Replace the last layer x ↦ W x + b (K, d) of ``model``, in place, by a ClassificationHead.

    The new head has the old one's device, dtype, mode and hooks, and ``num_classes`` (or
    ``config.num_labels``) follows. Heads that share their features' size (DeiT's two) start from
    the same vectors. ``unswap`` undoes it. Make the optimiser, and wrap the model for distributed
    training, after the swap.

    Args:
        model: timm, torchvision, Hugging Face, or any module that ends in one Linear.
        head: a preset or sentence (``"simplex"``, ``"random-cosine@20"``); class vectors (K, d),
            frozen under cosine logits with an automatic scale; or a ClassificationHead.
        classes: K; as many as before (or as the given head has) where it is left out.
        where: dotted name(s) of the layer(s), where the model cannot be understood.
        example: an input (tensor, tuple of arguments, mapping of keywords): then the head is the
            layer whose output the model returns for it.
        auxiliary: heads that only training uses (Inception, GoogLeNet, VOLO) are swapped as well,
            or kept as they are (only without a change of K).
        keep_old: whether the old layer is kept for ``unswap``; without, its memory is free.
        class_counts, nonnegative_features, generator: for ClassificationHead.

    Raises:
        RequestError: the head cannot be told for certain (the message lists the candidates), the
            new one does not fit it, or the model was swapped before. The model is then unchanged.
    """
    model = _inner(model)
    _check_first_swap(model)
    found = locate(model, where=where, example=example)
    found = _without_auxiliary(found, number_of(head, classes), auxiliary)
    arguments = {
        "class_counts": class_counts,
        "nonnegative_features": nonnegative_features,
        "generator": generator,
    }
    heads = build_all(found.places, head, classes, arguments)
    before = [parameter for parameter in model.parameters() if parameter.requires_grad]
    report = report_of(model, found, heads, sum(parameter.numel() for parameter in before))
    _install(model, found.places, heads, keep_old)
    return report


def unswap(model: nn.Module) -> None:
    """Give back the layer(s) that ``swap_head`` replaced, with their weights as they were.

    They come to the device and dtype that the model has now. Hooks stay, also later ones.

    Raises:
        RequestError: the model was not swapped, the old layer was not kept, or somebody else has
            replaced the head since (``reset_classifier``).
    """
    model = _inner(model)
    record = record_of(model)
    if record is None:
        raise RequestError(
            f"unswap() needs a model that swap_head() changed, got {type(model).__name__}, which "
            "it did not"
        )
    for item in record.exchanges:
        _check_undoable(model, item)
    for item in record.exchanges:
        assert item.old is not None
        now = device_and_dtype(item.new)
        if now != item.device_and_dtype:
            item.old.to(device=now[0], dtype=now[1])
        share_hooks(item.new, item.old)
        put(model, item.name, item.old.train(item.new.training))
    restore(record.statements)
    del model.__dict__[RECORD]


def swapped_heads(model: nn.Module) -> list[ClassificationHead]:
    """Every ClassificationHead of ``model``, the auxiliary ones too: what ``loss`` is called on."""
    return [module for module in model.modules() if isinstance(module, ClassificationHead)]


def _inner(model: nn.Module) -> nn.Module:
    """The model inside torch.compile's wrapper; refuses those that hold on to its parameters."""
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise RequestError(
            f"model must not be wrapped yet, got {type(model).__name__}; swap the head of the "
            "inner model, and wrap it after"
        )
    inner = model.__dict__.get("_modules", {}).get("_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def _without_auxiliary(found: Found, classes: int | None, auxiliary: str) -> Found:
    if auxiliary not in ("swap", "keep"):
        raise RequestError(f"auxiliary must be 'swap' or 'keep', got {auxiliary!r}")
    if auxiliary == "swap":
        return found
    kept = [place for place in found.places if place.auxiliary]
    if kept and classes is not None and classes != kept[0].classes:
        raise RequestError(
            f"auxiliary='keep' needs as many classes as {kept[0]} has, got classes={classes}; "
            "use auxiliary='swap'"
        )
    return Found(tuple(place for place in found.places if not place.auxiliary), found.how)


def _install(
    model: nn.Module, places: tuple[Place, ...], heads: list[ClassificationHead], keep_old: bool
) -> None:
    before, after = places[0].classes, heads[0].classes
    statements = restate_classes(model, [place.name for place in places], before, after)
    record = SwapRecord([], statements)
    for place, head in zip(places, heads, strict=True):
        new = ConvolutionalHead(head) if isinstance(place.layer, nn.Conv2d) else head
        new.train(place.layer.training)
        share_hooks(place.layer, new)
        put(model, place.name, new)
        old = place.layer if keep_old else None
        record.exchanges.append(Exchange(place.name, old, new, device_and_dtype(place.layer)))
    setattr(model, RECORD, record)


def _check_first_swap(model: nn.Module) -> None:
    earlier = record_of(model)
    if earlier is not None and all(_in_place(model, item) for item in earlier.exchanges):
        raise RequestError(
            f"this {type(model).__name__} was swapped before; call unswap(model) first"
        )


def _in_place(model: nn.Module, item: Exchange) -> bool:
    return dict(model.named_modules()).get(item.name) is item.new


def _check_undoable(model: nn.Module, item: Exchange) -> None:
    if item.old is None:
        raise RequestError(
            "unswap() needs the old head, and swap_head(keep_old=False) did not keep it"
        )
    if not _in_place(model, item):
        raise RequestError(
            f"unswap() needs the head that swap_head() put at {item.name}, and another one has "
            "been put there since"
        )
