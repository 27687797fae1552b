"""Snow, frost, fog and brightness."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..._errors import RequestError, require
from .draws import Draws
from .filters import clipped_zoom, motion
from .levels import levels, unit

FROST_FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The published code has six and draws among the first five."""


def brightness(images: Tensor, _: Draws, more: float) -> Tensor:
    """V of HSV raised by ``more``: ``x · min(v + c, 1) / v`` with v = max over the channels."""
    values = unit(images)
    v = values.amax(dim=1, keepdim=True)
    raised = (v + more).clamp(0, 1)
    scaled = values * torch.where(v > 0, raised / v.clamp(min=1e-12), 0.0)
    return levels(torch.where(v > 0, scaled, raised))


def fog(images: Tensor, draws: Draws, thickness: float, decay: float) -> Tensor:
    """``(x + c·plasma) · m / (m + c)``, m the image's largest value."""
    values = unit(images)
    most = values.amax(dim=(1, 2, 3), keepdim=True)
    height, width = images.shape[2:]
    cloud = plasma(draws, 1 << (max(height, width) - 1).bit_length(), decay)
    hazy = values + thickness * cloud[:, None, :height, :width]
    return levels(hazy * most / (most + thickness))


def plasma(draws: Draws, size: int, decay: float) -> Tensor:
    """A fractal height map (N, size, size) in 0..1 by the diamond-square algorithm.

    Source: Fournier, Fussell, Carpenter 1982; ``plasma_fractal`` of the published code.
    """
    heights = torch.zeros(
        (len(draws.indices), size, size), dtype=torch.float64, device=draws.indices.device
    )
    step, wobble = size, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[:, 0:size:step, 0:size:step]
        sums = corners + corners.roll(-1, 1)
        sums = sums + sums.roll(-1, 2)
        heights[:, half:size:step, half:size:step] = _wobbled(draws, f"{step}/square", sums, wobble)
        lower_right = heights[:, half:size:step, half:size:step].clone()
        upper_left = heights[:, 0:size:step, 0:size:step].clone()
        sides = lower_right + lower_right.roll(1, 1) + upper_left + upper_left.roll(-1, 2)
        heights[:, 0:size:step, half:size:step] = _wobbled(draws, f"{step}/top", sides, wobble)
        sides = lower_right + lower_right.roll(1, 2) + upper_left + upper_left.roll(-1, 1)
        heights[:, half:size:step, 0:size:step] = _wobbled(draws, f"{step}/left", sides, wobble)
        step, wobble = half, wobble / decay
    heights = heights - heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)


def _wobbled(draws: Draws, name: str, sums: Tensor, wobble: float) -> Tensor:
    return sums / 4 + wobble * draws.between(name, -wobble, wobble, *sums.shape[1:])


def snow(
    images: Tensor,
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    share: float,
) -> Tensor:
    """Flakes blown along a line of −135° to −45°, twice, over a picture that is paler."""
    height, width = images.shape[2:]
    flakes = mean + deviation * draws.normal("flakes", 1, height, width)
    flakes = clipped_zoom(flakes, zoom)
    flakes = torch.where(flakes < threshold, 0.0, flakes)
    blown = motion(levels(flakes).double(), int(radius), sigma, draws.between("angle", -135, -45))
    layer = blown.round() / 255
    values = unit(images)
    pale = torch.maximum(values, _grey(values) * 1.5 + 0.5)
    return levels(share * values + (1 - share) * pale + layer + layer.rot90(2, (2, 3)))


def _grey(values: Tensor) -> Tensor:
    if values.shape[1] != 3:
        return values
    red, green, blue = torch.split(values, 1, dim=1)
    grey: Tensor = 0.299 * red + 0.587 * green + 0.114 * blue
    return grey


def frost(
    images: Tensor,
    draws: Draws,
    share: float,
    cover: float,
    scale: float,
    *,
    pictures: Path | None = None,
) -> Tensor:
    """``a·x + b·frost``, the frost cut out of one of five photographs of frosted glass.

    The photographs belong to the published code and do not come with this package: ``pictures`` is
    the folder that holds them (frost1.png to frost3.png, frost4.jpg, frost5.jpg).

    Raises:
        RequestError: no such folder, or a photograph that is missing or too small.
    """
    if pictures is None:
        raise RequestError(
            "corruption frost needs the folder with the photographs of the published code "
            f"({', '.join(FROST_FILES)}); give --frost DIR"
        )
    textures = _textures(pictures, scale)
    height, width = images.shape[2:]
    which = (draws.uniform("which") * len(textures)).long().tolist()
    place = draws.uniform("place", 2).tolist()
    cuts = [
        _cut(textures[number], spot, height, width)
        for number, spot in zip(which, place, strict=True)
    ]
    layer = torch.stack(cuts).to(images.device).double()
    if images.shape[1] == 1:
        layer = _grey(layer)
    return (share * images.double() + cover * layer).clamp(0, 255).to(torch.uint8)


@cache
def _textures(folder: Path, scale: float) -> list[Tensor]:
    textures = []
    for name in FROST_FILES:
        if not (folder / name).is_file():
            raise RequestError(f"corruption frost needs {folder / name}, and it is missing")
        with require("PIL.Image", extra="lab").open(folder / name) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
        size = (round(pixels.shape[1] * scale), round(pixels.shape[2] * scale))
        if scale != 1:
            pixels = interpolate(pixels[None], size, mode="bilinear", align_corners=False)[0]
        textures.append(pixels.round())
    return textures


def _cut(texture: Tensor, spot: list[float], height: int, width: int) -> Tensor:
    room = (texture.shape[1] - height, texture.shape[2] - width)
    if min(room) < 1:
        raise RequestError(
            f"corruption frost needs photographs larger than {width}x{height}, got "
            f"{texture.shape[2]}x{texture.shape[1]}; use another --table"
        )
    top, left = (math.floor(share * space) for share, space in zip(spot, room, strict=True))
    return texture[:, top : top + height, left : left + width]
