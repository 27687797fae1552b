"""The new heads, one for each place, before anything in the model is touched."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..._errors import RequestError
from ..head import ClassificationHead
from .affine import Place
from .convolutional import ConvolutionalHead


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
        weight: object = module.vectors if module.implicit is None else module.implicit.like
    else:
        weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.device, weight.dtype if weight.dtype.is_floating_point else torch.float32
