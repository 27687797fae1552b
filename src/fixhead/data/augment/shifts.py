"""Where the pixels go: random crop with padding, horizontal flip, random resized crop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ._draws import beside

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
        return crop(images, beside(images, shifts), self.padding)

    def __str__(self) -> str:
        return f"crop:{self.padding}"


@dataclass(frozen=True)
class HorizontalFlip:
    """``out[n, c, i, j] = images[n, c, i, W − 1 − j]`` for each n with ``probability``."""

    probability: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flipped = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(beside(images, flipped)[:, None, None, None], images.flip(-1), images)

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
        return resized_crop(images, beside(images, boxes))

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
