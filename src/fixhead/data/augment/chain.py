"""From a person's words to one augmentation: ``augmentation("crop:4,flip,cutout:16,mixup:1")``.

Steps work in three stages, and their words come in that order: on uint8 pixels (crop, flip, rrc,
jitter, randaugment, trivial), on normalised images (cutout), on pairs of images (mixup, cutmix).
What is drawn depends on the batch's size and the CPU generator alone, so two arms, and two devices,
see the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..._errors import RequestError
from .mixing import CutMix, Mixing, Mixup
from .pixels import (
    ColourJitter,
    Cutout,
    HorizontalFlip,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    TrivialAugment,
)


class Augmentation(Protocol):
    """A random change of a batch of images; ``str(step)`` is what a person types for it."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other, all drawing from the one generator.

    Calling it runs the steps on pixels; ``normalised`` the steps after normalisation; ``mixing``
    is left to the training loop, because it changes the loss.
    """

    steps: tuple[Augmentation, ...]
    after: tuple[Augmentation, ...] = ()
    mixing: Mixing | None = None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            images = step(images, generator)
        return images

    def normalised(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.after:
            images = step(images, generator)
        return images

    def __str__(self) -> str:
        mixing = () if self.mixing is None else (self.mixing,)
        return ",".join(map(str, (*self.steps, *self.after, *mixing)))


def augmentation(text: str) -> Chain | None:
    """``"crop:4,flip"`` → the chain of these steps; ``"none"`` → None.

    Steps and their values: ``crop:PADDING`` (4), ``flip:PROBABILITY`` (0.5), ``rrc:SMALLEST``
    (0.08), ``jitter:BRIGHTNESS:CONTRAST:SATURATION`` (0.4 each), ``randaugment:N:MAGNITUDE``
    (2, 9), ``trivial``, ``cutout:SIZE`` (16), ``mixup:ALPHA`` (1), ``cutmix:ALPHA`` (1).

    Raises:
        RequestError: an unknown step, a value that the step cannot take, steps out of order, or
            two ways of mixing.
    """
    if text.strip() in ("", "none"):
        return None
    made = [_step(word.strip()) for word in text.split(",")]
    stages = [stage for stage, _ in made]
    if stages != sorted(stages) or stages.count(MIXED) > 1:
        raise RequestError(
            "augmentation needs its steps in the order pixels (crop, flip, rrc, jitter, "
            f"randaugment, trivial), cutout, one of mixup and cutmix, got {text!r}"
        )
    by_stage: list[list[Any]] = [[step for at, step in made if at == stage] for stage in range(3)]
    pixels, after, mixing = by_stage
    return Chain(tuple(pixels), tuple(after), mixing[0] if mixing else None)


PIXELS, NORMALISED, MIXED = range(3)


def _whole(word: str, low: int, high: float = math.inf) -> int:
    value = int(word)
    if not low <= value <= high:
        raise ValueError
    return value


def _share(word: str) -> float:
    value = float(word)
    if not 0 < value <= 1:
        raise ValueError
    return value


def _above(word: str, *, zero: bool = False) -> float:
    value = float(word)
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError
    return value


Maker = Callable[[list[str]], Any]
STEPS: dict[str, tuple[int, int, Maker]] = {
    # name: stage, most values, maker
    "crop": (PIXELS, 1, lambda v: RandomCrop(*(_whole(word, 1) for word in v))),
    "flip": (PIXELS, 1, lambda v: HorizontalFlip(*map(_share, v))),
    "rrc": (PIXELS, 1, lambda v: RandomResizedCrop(*map(_share, v))),
    "jitter": (PIXELS, 3, lambda v: ColourJitter(*(_above(word, zero=True) for word in v))),
    "randaugment": (PIXELS, 2, lambda v: RandAugment(*(_whole(word, 0, 30) for word in v))),
    "trivial": (PIXELS, 0, lambda v: TrivialAugment()),
    "cutout": (NORMALISED, 1, lambda v: Cutout(*(_whole(word, 1) for word in v))),
    "mixup": (MIXED, 1, lambda v: Mixup(*map(_above, v))),
    "cutmix": (MIXED, 1, lambda v: CutMix(*map(_above, v))),
}


def _step(word: str) -> tuple[int, Any]:
    name, *values = word.split(":")
    if name not in STEPS:
        raise RequestError(
            f"augmentation needs steps out of {', '.join(STEPS)} (or none), got {name!r}"
        )
    stage, most, make = STEPS[name]
    try:
        if len(values) > most:
            raise ValueError
        return stage, make(values)
    except ValueError as error:
        raise RequestError(
            f"augmentation {name!r} cannot take the value {':'.join(values)!r}"
        ) from error
