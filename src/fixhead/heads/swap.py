"""Another classification layer for a whole model, and the old one back.

timm, torchvision and Hugging Face image classifiers, and any other module whose last layer can be
told for certain. None of these libraries is imported: models are recognised by their structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._errors import RequestError
from .head import ClassificationHead
from .locate import Found, Place, locate
from .replace import (
    RECORD,
    ConvolutionalHead,
    Exchange,
    SwapRecord,
    build_all,
    device_and_dtype,
    number_of,
    put,
    record_of,
    restate_classes,
    restore,
    share_hooks,
)
from .spec import parse_head


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
        head: a preset or spec (``"simplex"``, ``"random-cosine@20"``); class vectors (K, d),
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
    config = getattr(model, "config", None)
    if hasattr(config, CONFIG_ENTRY):
        delattr(config, CONFIG_ENTRY)
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
    config = getattr(model, "config", None)
    if hasattr(config, "to_dict"):  # of Hugging Face: it is written beside the weights
        described = {
            place.name: describe_head(head) for place, head in zip(places, heads, strict=True)
        }
        setattr(config, CONFIG_ENTRY, described)


CONFIG_ENTRY = "fixhead"
"""Under what a Hugging Face config says which heads its model has (``fixhead.hub``)."""


def describe_head(head: ClassificationHead) -> dict[str, Any]:
    """What ``rebuilt_head`` makes an equal head of, beside its state_dict: plain JSON."""
    facts: dict[str, Any] = {"features": head.features, "classes": head.classes}
    if head.spec is not None:
        return {**facts, "spec": str(head.spec)}
    scale: float | str | None = 1.0 if head.scale is None else float(head.scale.detach())
    if isinstance(head.scale, nn.Parameter):
        scale = f"learned:{scale!r}"
    arguments = {
        "logits": head.logit_kind,
        "scale": scale,
        "bias": head.bias is not None,
        "learn_vectors": head.learn_vectors,
        "neck": head.neck_name,
        "loss": str(head.loss_name),
        "code_width": head.code_width,
    }
    return {**facts, "arguments": arguments}


def rebuilt_head(facts: dict[str, Any], vectors: Tensor | None) -> ClassificationHead:
    """The head that ``describe_head`` described, before its state is loaded; ``vectors`` (K, D) of
    its state are needed where they came as a tensor.

    Raises:
        RequestError: no such head can be built.
    """
    if "spec" in facts:
        spec = parse_head(facts["spec"])
        return ClassificationHead(facts["features"], facts["classes"], **spec.arguments())
    if vectors is None:
        raise RequestError("the head's class vectors came as a tensor, and its weights lack them")
    return ClassificationHead(
        facts["features"], facts["classes"], vectors=vectors, **facts["arguments"]
    )


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


@dataclass(frozen=True)
class SwappedPlace:
    """One head: where it sits, what was there, what is there now."""

    name: str
    kind: str
    features: int
    classes_before: int
    classes_after: int
    head: str
    auxiliary: bool

    @classmethod
    def of(cls, place: Place, classes: int, head: str) -> SwappedPlace:
        return cls(
            place.name, place.kind, place.features, place.classes, classes, head, place.auxiliary
        )

    def __str__(self) -> str:
        auxiliary = " (auxiliary)" if self.auxiliary else ""
        return (
            f"{self.name}{auxiliary}: {self.kind} {self.features} -> {self.classes_before} "
            f"became {self.head}"
        )


@dataclass(frozen=True)
class SwapReport:
    """What ``swap_head`` did; ``print`` it.

    Attributes:
        model: the model's class.
        found: by what its head was recognised.
        places: one entry per head.
        trainable_before, trainable_after: trained numbers in these heads.
        bytes_before, bytes_after: bytes of their gradients: what data parallel training reduces
            at every step, and what each of the optimiser's state tensors takes.
        model_trainable_before: trained numbers of the whole model.
        notes: what a person should know about this model.
    """

    model: str
    found: str
    places: tuple[SwappedPlace, ...]
    trainable_before: int
    trainable_after: int
    bytes_before: int
    bytes_after: int
    model_trainable_before: int
    notes: tuple[str, ...] = ()

    @property
    def parameters_saved(self) -> int:
        """Trained numbers that are no longer trained."""
        return self.trainable_before - self.trainable_after

    @property
    def gradient_bytes_saved(self) -> int:
        """Bytes of gradient per step that are neither stored nor reduced between devices."""
        return self.bytes_before - self.bytes_after

    def optimizer_bytes_saved(self, states: int = 2) -> int:
        """Bytes of optimiser state: ``states`` tensors per parameter (Adam 2, SGD momentum 1)."""
        return states * self.gradient_bytes_saved

    def __str__(self) -> str:
        share = self.parameters_saved / max(self.model_trainable_before, 1)
        lines = [f"{self.model}, head found by {self.found}"]
        lines += [f"  {place}" for place in self.places]
        lines.append(
            f"  trained parameters of the head {self.trainable_before:,} -> "
            f"{self.trainable_after:,} ({share:.1%} of the model's saved)"
        )
        lines.append(
            f"  saved: gradients {_size(self.gradient_bytes_saved)} per step, optimiser state "
            f"{_size(self.optimizer_bytes_saved(2))} (Adam) or "
            f"{_size(self.optimizer_bytes_saved(1))} (SGD with momentum)"
        )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def report_of(
    model: nn.Module, found: Found, heads: list[ClassificationHead], trained: int
) -> SwapReport:
    old = [own for place in found.places for own in place.layer.parameters() if own.requires_grad]
    new = [own for head in heads for own in head.parameters() if own.requires_grad]
    return SwapReport(
        model=type(model).__name__,
        found=found.how,
        places=tuple(
            SwappedPlace.of(place, head.classes, str(head.identity))
            for place, head in zip(found.places, heads, strict=True)
        ),
        trainable_before=sum(own.numel() for own in old),
        trainable_after=sum(own.numel() for own in new),
        bytes_before=sum(own.nbytes for own in old),
        bytes_after=sum(own.nbytes for own in new),
        model_trainable_before=trained,
        notes=tuple(note for place in found.places for note in _notes(model, place)),
    )


def _notes(model: nn.Module, place: Place) -> list[str]:
    parent = model.get_submodule(place.name.rpartition(".")[0])
    if not isinstance(parent, nn.Sequential):
        return []
    own = place.name.rpartition(".")[2]
    after = list(parent)[list(parent._modules).index(own) + 1 :]
    return [
        f"the model applies {type(module).__name__} to the logits of {place.name}, as before"
        for module in after
        if isinstance(module, nn.ReLU | nn.Softmax | nn.LogSoftmax | nn.Sigmoid | nn.Tanh)
    ]


def _size(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
