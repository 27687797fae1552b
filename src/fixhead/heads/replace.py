"""New heads in the places of old layers, and what that changed, kept so that it can be undone."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import RequestError
from .head import ClassificationHead
from .locate import Place


class ConvolutionalHead(nn.Module):
    """Feature maps x (N, d, H, W) → logits (N, K, H, W): the head at each position.

    It takes the place of a 1×1 convolution. What the model does with the maps before (pooling to
    1×1) or after (a mean over positions) stays as it is.
    """

    def __init__(self, head: ClassificationHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K, H, W) of feature maps (N, d, H, W)."""
        positions = features.movedim(1, -1)
        rows = self.head(positions.reshape(-1, positions.shape[-1]))
        logits: Tensor = rows.reshape(*positions.shape[:-1], rows.shape[-1]).movedim(-1, 1)
        return logits


def build_all(
    places: tuple[Place, ...],
    head: str | Tensor | ClassificationHead,
    classes: int | None,
    arguments: dict[str, Any],
) -> list[ClassificationHead]:
    built: dict[tuple[int, int], ClassificationHead] = {}
    heads = []
    for place in places:
        _check_replaceable(place)
        key = (place.features, classes or number_of(head, None) or place.classes)
        if key in built:
            heads.append(copy.deepcopy(built[key]))
            continue
        built[key] = _build(place, head, key[1], arguments)
        heads.append(built[key])
    return heads


def _build(
    place: Place,
    head: str | Tensor | ClassificationHead,
    classes: int,
    arguments: dict[str, Any],
) -> ClassificationHead:
    device, dtype = device_and_dtype(place.layer)
    if isinstance(head, ClassificationHead):
        if (head.features, head.classes) != (place.features, classes):
            raise RequestError(
                f"head must have features={place.features} and classes={classes} for {place}, got "
                f"features={head.features} and classes={head.classes}"
            )
        return head.to(device=device, dtype=dtype).train(place.layer.training)
    options = {**arguments, "device": device, "dtype": dtype}
    try:
        if isinstance(head, Tensor):
            made = ClassificationHead(place.features, classes, vectors=head, **options)
        else:
            made = ClassificationHead.from_preset(head, place.features, classes, **options)
    except RequestError as error:
        if not place.auxiliary:
            raise
        raise RequestError(
            f"{error} (for the auxiliary head {place}; auxiliary='keep' leaves it as it is)"
        ) from None
    return made.train(place.layer.training)


def _check_replaceable(place: Place) -> None:
    if type(place.layer.weight).__name__ == "DTensor":
        raise RequestError(
            f"the head {place} is sharded already (fully_shard); swap it before sharding"
        )
    for hook in place.layer._forward_pre_hooks.values():
        if type(hook).__module__.startswith("torch.nn.utils"):
            raise RequestError(
                f"the head {place} carries {type(hook).__name__}, which rewrites its weight before "
                "every pass; remove it first (torch.nn.utils.remove_weight_norm and the like)"
            )


def number_of(head: str | Tensor | ClassificationHead, classes: int | None) -> int | None:
    if isinstance(head, str) or classes is not None:
        return classes
    return head.classes if isinstance(head, ClassificationHead) else head.shape[0]


def device_and_dtype(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Those of the layer's weight; float32 where the weight is stored in a quantised form."""
    if isinstance(module, ConvolutionalHead):
        module = module.head
    if isinstance(module, ClassificationHead):
        return module.class_vectors.device, module.dtype
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.device, weight.dtype if weight.dtype.is_floating_point else torch.float32


RECORD = "_fixhead_swap"

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
"""Where nn.Module keeps the hooks that see data; those of the state_dict belong to the layer."""


@dataclass
class Exchange:
    """One layer that was replaced; ``old`` is None where it was not to be kept."""

    name: str
    old: nn.Module | None
    new: nn.Module
    device_and_dtype: tuple[Any, Any]


@dataclass
class SwapRecord:
    """Replaced layers, and the statements about classes that changed: (object, name, before).

    It is a plain attribute, so nothing in it is in the state_dict, in ``parameters()``, or moved.
    """

    exchanges: list[Exchange]
    statements: list[tuple[Any, str, Any]] = field(default_factory=list)


def record_of(model: nn.Module) -> SwapRecord | None:
    """The record of the swap that ``model`` has behind it."""
    record = model.__dict__.get(RECORD)
    return record if isinstance(record, SwapRecord) else None


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Set the submodule ``name``, as an assignment to the attribute of its parent would."""
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def share_hooks(source: nn.Module, target: nn.Module) -> None:
    """Let both modules hold one and the same hooks, so that handles go on removing them."""
    for name in HOOKS:
        target.__dict__[name] = source.__dict__[name]


def restate_classes(
    model: nn.Module, names: list[str], before: int, after: int
) -> list[tuple[Any, str, Any]]:
    """Let the model and the modules round its heads state the new number of classes.

    ``num_classes`` and ``num_labels`` where they are ``before``, and a Hugging Face ``config``,
    whose label names follow from the number. Returns what to restore.
    """
    if before == after:
        return []
    changed: list[tuple[Any, str, Any]] = []
    config: Any = getattr(model, "config", None)
    if getattr(config, "num_labels", None) == before:
        labels = ("id2label", "label2id")
        changed += [(config, key, getattr(config, key)) for key in labels if hasattr(config, key)]
        config.num_labels = after
        if not any(key == "id2label" for _, key, _ in changed):
            changed.append((config, "num_labels", before))
    for module in _round(model, names):
        for key in ("num_classes", "num_labels"):
            if getattr(module, key, None) == before:
                changed.append((module, key, before))
                setattr(module, key, after)
    return changed


def restore(statements: list[tuple[Any, str, Any]]) -> None:
    """Undo ``restate_classes``."""
    for owner, name, value in reversed(statements):
        setattr(owner, name, value)


def _round(model: nn.Module, names: list[str]) -> list[nn.Module]:
    prefixes = {
        ".".join(name.split(".")[:depth]) for name in names for depth in range(name.count(".") + 1)
    }
    return [model.get_submodule(prefix) for prefix in sorted(prefixes)]
