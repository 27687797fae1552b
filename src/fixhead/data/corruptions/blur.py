"""Defocus, glass, motion and zoom blur."""

from __future__ import annotations

import torch
from torch import Tensor

from .draws import Draws
from .filters import clipped_zoom, convolve, disk, gaussian, motion, picked, reflect_101, trimmed
from .levels import levels, unit


def defocus_blur(images: Tensor, _: Draws, radius: float, alias_blur: float) -> Tensor:
    """The mean over a disk: a lens out of focus."""
    return levels(convolve(unit(images), trimmed(disk(radius, alias_blur)), reflect_101))


def glass_blur(images: Tensor, draws: Draws, sigma: float, reach: float, rounds: float) -> Tensor:
    """Blurred, pixels taken from their neighbours in order, blurred again.

    The published code means to swap two pixels; because numpy hands out views, it copies the
    neighbour over the pixel instead. The published files are made so, and so is this.
    """
    shuffled = levels(gaussian(unit(images), sigma))
    for turn in range(int(rounds)):
        _take_neighbours(shuffled, draws, int(reach), turn)
    return levels(gaussian(unit(shuffled), sigma))


def _take_neighbours(images: Tensor, draws: Draws, reach: int, turn: int) -> None:
    """In place, pixel by pixel from the lower right: later pixels see what earlier ones took."""
    height, width = images.shape[2:]
    columns = range(width - reach, reach, -1)
    for row in range(height - reach, reach, -1):
        steps = draws.uniform(f"step/{turn}/{row}", 2, len(columns))
        steps = (steps * 2 * reach).floor().long() - reach  # −reach … reach − 1
        for place, column in enumerate(columns):
            y, x = row + steps[:, 1, place], column + steps[:, 0, place]
            images[:, :, row, column] = picked(images, (y * width + x)[:, None, None])[:, :, 0, 0]


def motion_blur(images: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Along a line of an angle of the image's own in ±45°; rounded, as ImageMagick does."""
    angles = draws.between("angle", -45, 45)
    blurred = motion(images.double(), int(radius), sigma, angles)
    return blurred.round().clamp(0, 255).to(torch.uint8)


def zoom_blur(images: Tensor, _: Draws, *factors: float) -> Tensor:
    """The mean of the image and of its enlargements."""
    values = unit(images).float()
    total = values.clone()
    for factor in factors:
        total += clipped_zoom(values, factor)
    return levels(total / (len(factors) + 1))
