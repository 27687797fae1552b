"""Backbones from timm and torchvision: the classifier taken off, the features kept.

Whether their features are non-negative is measured on noise in evaluation mode: a final ReLU makes
it true for every image, and a network that ends otherwise shows a negative value at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .._errors import RequestError, require
from .._seeds import stream
from .._torchvision import import_torchvision
from .backbone import Backbone

_PROBES = 3
_PROBE_IMAGES = 2


def timm_module() -> ModuleType:
    """timm, importable beside a torchvision whose operators do not fit this torch."""
    import_torchvision()
    return require("timm", extra="lab")


def timm_names() -> list[str]:
    return list(timm_module().list_models())


def is_timm_name(name: str) -> bool:
    """Whether timm has such a network; a tag of pretrained weights may follow after a dot."""
    return bool(timm_module().is_model(name))


def torchvision_names() -> list[str]:
    """Classifiers only: detection, segmentation and video live in modules of their own."""
    models = import_torchvision().models
    return list(models.list_models(module=models))


def build_timm(name: str, channels: int, image_size: int, pretrained: bool) -> Backbone:
    """``timm.create_model(name, num_classes=0)`` for images of any number of channels.

    Raises:
        RequestError: the weights cannot be had, or the network does not take these images.
    """
    timm = timm_module()
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    try:
        fixed_size = timm.get_pretrained_cfg_value(name, "fixed_input_size")
    except RuntimeError as error:  # a tag that the network does not have
        raise RequestError(f"timm:{name} cannot be had: {_first_line(error)}") from error
    if fixed_size:
        options["img_size"] = image_size
    with _reported_weights(f"timm:{name}", pretrained):
        body = timm.create_model(name, pretrained=pretrained, **options)
    return probed(f"timm:{name}", body, channels, image_size)


def build_torchvision(name: str, channels: int, image_size: int, pretrained: bool) -> Backbone:
    """A torchvision classifier whose last Linear is replaced by the identity.

    Raises:
        RequestError: images without three channels, no such Linear, or weights not to be had.
    """
    if channels != 3:
        raise RequestError(
            f"torchvision:{name} takes images with 3 channels, got {channels}; "
            f"try timm:{name} or one of fixhead's own backbones"
        )
    options: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": not pretrained}
    with _reported_weights(f"torchvision:{name}", pretrained):
        body = import_torchvision().models.get_model(name, **options)
    _remove_last_linear(name, body)
    return probed(f"torchvision:{name}", body, channels, image_size)


def build_full(name: str, channels: int, image_size: int, classes: int) -> nn.Module:
    """A whole classifier, its own last layer for K ``classes`` included: ``timm:NAME``, a bare
    timm name, or ``torchvision:NAME``.

    Raises:
        RequestError: an unknown name, or images that it does not take.
    """
    library, colon, bare = name.partition(":")
    if colon and library == "torchvision":
        if bare not in torchvision_names():
            raise RequestError(f"torchvision has no classifier {bare!r}")
        if channels != 3:
            raise RequestError(f"{name} takes images with 3 channels, got {channels}")
        options: dict[str, Any] = {"weights": None, "num_classes": classes}
        if bare in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": False}
        classifier: nn.Module = import_torchvision().models.get_model(bare, **options)
        return classifier
    timm_name = bare if colon else name
    if (colon and library != "timm") or not is_timm_name(timm_name):
        raise RequestError(
            f"--architecture must be timm:NAME or torchvision:NAME, got {name!r}, which is neither"
        )
    options = {"num_classes": classes, "in_chans": channels}
    if timm_module().get_pretrained_cfg_value(timm_name, "fixed_input_size"):
        options["img_size"] = image_size
    network: nn.Module = timm_module().create_model(timm_name, pretrained=False, **options)
    return network


def _remove_last_linear(name: str, body: nn.Module) -> None:
    linears = [path for path, module in body.named_modules() if type(module) is nn.Linear]
    top = {child for child, _ in list(body.named_children())[-1:]}
    if not linears or linears[-1].split(".")[0] not in top:
        raise RequestError(
            f"torchvision:{name} does not end in a linear layer, which a backbone needs there; "
            f"try timm:{name}"
        )
    parent, _, child = linears[-1].rpartition(".")
    setattr(body.get_submodule(parent), child, nn.Identity())


@contextmanager
def _reported_weights(name: str, pretrained: bool) -> Iterator[None]:
    """Turn whatever a download raises into one sentence; without a download, errors pass."""
    if not pretrained:
        yield
        return
    # Without a network the hub's client logs a line for each of its many retries.
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        raise RequestError(
            f"the pretrained weights of {name} cannot be had ({_first_line(error)}); "
            "check the network, or leave pretrained out"
        ) from error
    finally:
        hub.setLevel(level)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


@torch.no_grad()
def probed(name: str, body: nn.Module, channels: int, image_size: int) -> Backbone:
    """Measure d and the sign of the features on a few batches of noise."""
    generator = stream(0, "probe")
    shape = (_PROBE_IMAGES, channels, image_size, image_size)
    body.eval()
    batches = [torch.randn(shape, generator=generator) for _ in range(_PROBES)]
    try:
        features = [body(batch) for batch in batches]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise RequestError(
            f"{name} cannot take images of {channels}×{image_size}×{image_size} "
            f"({_first_line(error)}); try larger images or another backbone"
        ) from error
    body.train()
    first = features[0]
    if not isinstance(first, torch.Tensor) or first.dim() != 2:
        raise RequestError(f"{name} gives no features (N, d); try another backbone")
    nonnegative = all(bool((batch >= 0).all()) for batch in features)
    return Backbone(name, body, first.shape[1], nonnegative)
