"""The layers that a classification head can take the place of, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from torch import nn

Affine = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Place:
    """Where a layer features → classes sits in a model."""

    name: str
    layer: Affine
    auxiliary: bool = False

    @property
    def features(self) -> int:
        return sizes(self.layer)[0]

    @property
    def classes(self) -> int:
        return sizes(self.layer)[1]

    @property
    def kind(self) -> str:
        return "1x1 convolution" if isinstance(self.layer, nn.Conv2d) else "Linear"

    def __str__(self) -> str:
        return f"{self.name or 'the model itself'} ({self.features} -> {self.classes})"


def is_affine(module: object) -> TypeGuard[Affine]:
    """Whether a module is one linear map of the features, for each image or for each position."""
    if isinstance(module, nn.Conv2d):
        plain = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1
        return plain and module.padding in (0, (0, 0), "valid")
    return isinstance(module, nn.Linear) and not isinstance(module, nn.LazyLinear)


def sizes(layer: Affine) -> tuple[int, int]:
    """(features, classes) of the layer."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels
    return layer.in_features, layer.out_features


def name_of(model: nn.Module, module: nn.Module) -> str | None:
    """The dotted name of ``module`` inside ``model``; None where it is not in it."""
    return next((name for name, own in model.named_modules() if own is module), None)


def affine_layers(model: nn.Module) -> list[Place]:
    """Every layer that could be a head, in the order of registration."""
    return [Place(name, own) for name, own in model.named_modules() if is_affine(own)]


def final_layers(module: nn.Module, classes: int | None) -> list[Affine]:
    """The layers inside a classifier that end in logits.

    The module itself; the last of each branch of a ModuleList; the last of a Sequential; elsewhere
    all that have ``classes`` outputs (two for a head with a distillation branch), or the last one
    where the number of classes is not known. Empty where nothing fits, or where one of several
    could feed another.
    """
    if is_affine(module):
        return [module]
    if isinstance(module, nn.ModuleList):
        return [layer for branch in module for layer in final_layers(branch, classes)]
    inner = [own for own in module.modules() if is_affine(own)]
    if classes is None or isinstance(module, nn.Sequential):
        return inner[-1:]
    fitting = [layer for layer in inner if sizes(layer)[1] == classes]
    chained = len(fitting) > 1 and any(sizes(layer)[0] == classes for layer in fitting[1:])
    return [] if chained else fitting
