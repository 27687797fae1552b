"""Augmentations on whole batches: draws on the CPU, pixels moved on the images' own device.

An augmentation is called as ``step(images, generator)`` with uint8 images (N, C, H, W) and a CPU
generator, and returns new images of the same shape. What is drawn depends on N and the generator
alone, so two arms (and two devices) see the same crops and flips. ``augmentation("crop:4,flip")``
makes one from a person's words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from .._errors import RequestError


class Augmentation(Protocol):
    """A random change of a batch of images; ``str(step)`` is what a person types for it."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class RandomCrop:
    """``out[n, c, i, j] = padded[n, c, i + dy_n, j + dx_n]``, dy and dx uniform in 0..2·padding.

    The picture is shifted by up to ``padding`` pixels and what comes in is black, as in
    torchvision's ``RandomCrop(H, padding=4)``.
    """

    padding: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shifts = torch.randint(2 * self.padding + 1, (2, len(images)), generator=generator)
        return crop(images, shifts.to(images.device), self.padding)

    def __str__(self) -> str:
        return f"crop:{self.padding}"


@dataclass(frozen=True)
class HorizontalFlip:
    """``out[n, c, i, j] = images[n, c, i, W − 1 − j]`` for each n with ``probability``."""

    probability: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flipped = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)

    def __str__(self) -> str:
        return "flip" if self.probability == 0.5 else f"flip:{self.probability:g}"


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other, all drawing from the one generator."""

    steps: tuple[Augmentation, ...]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            images = step(images, generator)
        return images

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))


def crop(images: Tensor, shifts: Tensor, padding: int) -> Tensor:
    """Each image (C, H, W) cut from its zero-padded self at ``shifts`` (2, N) = (dy, dx)."""
    number, channels, height, width = images.shape
    padded = pad(images, (padding,) * 4).view(number, channels, -1)
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)
    columns = shifts[1, :, None] + torch.arange(width, device=images.device)
    index = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
    index = index.view(number, 1, -1).expand(-1, channels, -1)  # one index for all channels
    return padded.gather(2, index).view_as(images)


def _crop(value: str | None) -> Augmentation:
    padding = int(value or 4)
    if padding < 1:
        raise ValueError
    return RandomCrop(padding)


def _flip(value: str | None) -> Augmentation:
    probability = float(value or 0.5)
    if not 0 < probability <= 1:
        raise ValueError
    return HorizontalFlip(probability)


STEPS: dict[str, Callable[[str | None], Augmentation]] = {"crop": _crop, "flip": _flip}


def augmentation(text: str) -> Chain | None:
    """``"crop:4,flip"`` → the chain of these steps; ``"none"`` → None.

    Raises:
        RequestError: an unknown step, or a value that the step cannot take.
    """
    if text.strip() in ("", "none"):
        return None
    return Chain(tuple(_step(word.strip()) for word in text.split(",")))


def _step(word: str) -> Augmentation:
    name, _, value = word.partition(":")
    if name not in STEPS:
        raise RequestError(
            f"augmentation needs steps out of {', '.join(STEPS)} (or none), got {name!r}"
        )
    try:
        return STEPS[name](value or None)
    except ValueError as error:
        raise RequestError(f"augmentation {name!r} cannot take the value {value!r}") from error
