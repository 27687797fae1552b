"""Changes of single images: where the pixels go, their colours, torchvision's policies, cutout.

Draws are made on the CPU, whatever device the images are on. torchvision's RandAugment and
TrivialAugment draw one operation for all images that they are handed. A batch, which is in random
order, is therefore handed over in groups of ``GROUP`` images: an image sees each operation as often
as it should, and only images of one group share theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ..._seeds import forked
from ..._torchvision import import_torchvision


def _on_device(images: Tensor, drawn: Tensor) -> Tensor:
    """``drawn``, copied to the images' device without waiting for its pending work."""
    return drawn.to(images.device, non_blocking=True)


TRIES = 10
"""Boxes tried per image before the whole middle is taken, as torchvision does."""


@dataclass(frozen=True)
class RandomCrop:
    """``out[n, c, i, j] = padded[n, c, i + dy_n, j + dx_n]``, dy and dx uniform in 0..2·padding.

    The picture is shifted by up to ``padding`` pixels and what comes in is black, as in
    torchvision's ``RandomCrop(H, padding=4)``.
    """

    padding: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shifts = torch.randint(2 * self.padding + 1, (2, len(images)), generator=generator)
        return crop(images, _on_device(images, shifts), self.padding)

    def __str__(self) -> str:
        return f"crop:{self.padding}"


@dataclass(frozen=True)
class HorizontalFlip:
    """``out[n, c, i, j] = images[n, c, i, W − 1 − j]`` for each n with ``probability``."""

    probability: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flipped = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(
            _on_device(images, flipped)[:, None, None, None], images.flip(-1), images
        )

    def __str__(self) -> str:
        return "flip" if self.probability == 0.5 else f"flip:{self.probability:g}"


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random box of each image, blown up to the image's size.

    The box covers a share ``U(smallest, 1)`` of the area with an aspect ratio log-uniform in
    3/4..4/3. Ten boxes are tried for each image; if none fits, the middle is taken.

    Source: Szegedy et al. 2015; torchvision's ``RandomResizedCrop``.
    """

    smallest: float = 0.08

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        boxes = draw_boxes(len(images), images.shape[2:], self.smallest, generator)
        return resized_crop(images, _on_device(images, boxes))

    def __str__(self) -> str:
        return "rrc" if self.smallest == 0.08 else f"rrc:{self.smallest:g}"


def crop(images: Tensor, shifts: Tensor, padding: int) -> Tensor:
    """Each image (C, H, W) cut from its zero-padded self at ``shifts`` (2, N) = (dy, dx)."""
    number, channels, height, width = images.shape
    padded = pad(images, (padding,) * 4).view(number, channels, -1)
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)
    columns = shifts[1, :, None] + torch.arange(width, device=images.device)
    index = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
    index = index.view(number, 1, -1).expand(-1, channels, -1)  # one index for all channels
    return padded.gather(2, index).view_as(images)


def draw_boxes(
    number: int, size: tuple[int, ...], smallest: float, generator: torch.Generator
) -> Tensor:
    """Boxes (N, 4) of whole numbers: top, left, height, width."""
    height, width = size
    shape = (number, TRIES)
    area = torch.empty(shape).uniform_(smallest, 1.0, generator=generator) * (height * width)
    bound = math.log(4 / 3)
    ratio = torch.empty(shape).uniform_(-bound, bound, generator=generator).exp()
    wide, high = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (wide >= 1) & (high >= 1) & (wide <= width) & (high <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    some = fits.any(dim=1)
    middle = (min(height, width * 4 / 3), min(width, height * 4 / 3))
    high = torch.where(some, high.gather(1, first)[:, 0], torch.tensor(round(middle[0])).float())
    wide = torch.where(some, wide.gather(1, first)[:, 0], torch.tensor(round(middle[1])).float())
    place = torch.rand((2, number), generator=generator)
    place = torch.where(some, place, 0.5)
    top = (place[0] * (height - high + 1)).floor().clamp(max=height - 1)
    left = (place[1] * (width - wide + 1)).floor().clamp(max=width - 1)
    return torch.stack([top, left, high, wide], dim=1).long()


def resized_crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image's box (top, left, height, width), bilinear, at the size of the whole image.

    Pixels outside the box have no influence: coordinates stop at its outermost pixel centres.
    """
    height, width = images.shape[2:]
    top, left, high, wide = boxes.float().unbind(1)
    rows = _coordinates(top, high, height)
    columns = _coordinates(left, wide, width)
    # grid_sample counts from −1 at the first pixel's centre to 1 at the last one's
    y = rows / max(height - 1, 1) * 2 - 1
    x = columns / max(width - 1, 1) * 2 - 1
    grid = torch.stack(
        [x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3
    )
    sampled = grid_sample(images.float(), grid, align_corners=True, padding_mode="border")
    return sampled.round_().clamp_(0, 255).to(images.dtype)


def _coordinates(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where in the image the centres of ``size`` output pixels lie, for each box: (N, size)."""
    centres = (torch.arange(size, device=start.device) + 0.5)[None] * (length / size)[:, None] - 0.5
    inside = torch.minimum(centres.clamp(min=0), length[:, None] - 1)
    return inside + start[:, None]


GREY = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in a grey level (ITU-R 601, as torchvision rounds them)."""


@dataclass(frozen=True)
class ColourJitter:
    """Each image blended by ``x' = f·x + (1 − f)·y``, f uniform in ``1 ± strength``.

    y is black for brightness, the mean grey level for contrast, the grey image for saturation.
    The factors are an image's own; the order of the three is drawn once per batch.

    Source: Krizhevsky et al. 2012; torchvision's ``ColorJitter`` (without hue).
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])
        spread = torch.rand((len(images), 3), generator=generator) * 2 - 1
        factors = (1 + spread * strengths).clamp_(min=0)
        order = torch.randperm(3, generator=generator).tolist()
        return jitter(images, _on_device(images, factors), order)

    def __str__(self) -> str:
        return f"jitter:{self.brightness:g}:{self.contrast:g}:{self.saturation:g}"


def jitter(images: Tensor, factors: Tensor, order: list[int]) -> Tensor:
    """Brightness (0), contrast (1), saturation (2) by ``factors`` (N, 3), in the given order."""
    out = images.float()
    for which in order:
        factor = factors[:, which, None, None, None]
        out = torch.lerp(_other(out, which), out, factor).clamp_(0, 255)
    return out.round_().to(images.dtype)


def _other(images: Tensor, which: int) -> Tensor:
    if which == 0:
        return torch.zeros_like(images)
    grey = _grey(images)
    return (grey.mean(dim=(1, 2, 3), keepdim=True) if which == 1 else grey).expand_as(images)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images
    weights = torch.tensor(GREY, device=images.device)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)


GROUP = 8


@dataclass(frozen=True)
class TrivialAugment:
    """One operation of one strength, both uniform: Müller & Hutter 2021, torchvision's wide set."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return _in_groups(_transform("TrivialAugmentWide"), images, generator)

    def __str__(self) -> str:
        return "trivial"


@dataclass(frozen=True)
class RandAugment:
    """``operations`` in a row, each of ``magnitude`` of 30: Cubuk et al. 2020."""

    operations: int = 2
    magnitude: int = 9

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        transform = _transform("RandAugment", self.operations, self.magnitude)
        return _in_groups(transform, images, generator)

    def __str__(self) -> str:
        return f"randaugment:{self.operations}:{self.magnitude}"


@cache
def _transform(name: str, *values: int) -> Any:
    import_torchvision()
    from torchvision.transforms import v2

    return getattr(v2, name)(*values)


def _in_groups(transform: Any, images: Tensor, generator: torch.Generator) -> Tensor:
    seed = int(torch.randint(1 << 62, (), generator=generator))
    with forked(seed, "policy"):  # torchvision knows the global generator only
        return torch.cat([transform(group) for group in torch.split(images, GROUP)])


@dataclass(frozen=True)
class Cutout:
    """Zeros in a square of ``size`` pixels round a uniformly drawn centre, after normalisation.

    The centre lies anywhere in the image, so the square may reach over its edge; zero is the mean
    of every channel there.

    Source: DeVries & Taylor 2017.
    """

    size: int = 16

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        number, _, height, width = images.shape
        centres = _on_device(images, torch.rand((2, number), generator=generator))
        rows = self._hidden(centres[0], height)[:, None, :, None]
        columns = self._hidden(centres[1], width)[:, None, None, :]
        return images.masked_fill(rows & columns, 0.0)

    def _hidden(self, centres: Tensor, length: int) -> Tensor:
        start = (centres * length).floor().long() - self.size // 2
        place = torch.arange(length, device=centres.device)[None] - start[:, None]
        return (place >= 0) & (place < self.size)

    def __str__(self) -> str:
        return f"cutout:{self.size}"
