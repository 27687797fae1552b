"""Contrast, elastic deformation, pixelation and JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from ..._errors import require
from ..encoded import each
from .draws import Draws
from .filters import gaussian, reflect, reflect_101, sampled
from .levels import levels, unit


def contrast(images: Tensor, _: Draws, share: float) -> Tensor:
    """``m + c·(x − m)``, m the mean of each channel."""
    values = unit(images)
    mean = values.mean(dim=(2, 3), keepdim=True)
    return levels((values - mean) * share + mean)


def jpeg(images: Tensor, _: Draws, quality: float) -> Tensor:
    """Written and read again by PIL, on a few threads: the published code does the same."""
    pixels = images.cpu().permute(0, 2, 3, 1).numpy()
    out = np.empty_like(pixels)

    def work(index: int) -> None:
        out[index] = _through_jpeg(pixels[index], int(quality))

    for _done in each(len(out), work):
        pass
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous().to(images.device)


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    pil = require("PIL.Image", extra="lab")
    grey = pixels.shape[2] == 1
    buffer = io.BytesIO()
    pil.fromarray(pixels[:, :, 0] if grey else pixels).save(buffer, "JPEG", quality=quality)
    with pil.open(buffer) as image:
        array = np.asarray(image)
    return array[:, :, None] if grey else array


def pixelate(images: Tensor, _: Draws, share: float) -> Tensor:
    """Shrunk and enlarged by PIL's box filter: each pixel the rounded mean of those it covers."""
    height, width = images.shape[2:]
    small = _resized(images, int(height * share), int(width * share))
    return _resized(small, height, width)


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    """PIL's ``resize(..., BOX)``: along the rows, rounded to whole levels, then the columns."""
    values = images.double()
    across = _box(images.shape[3], width).to(values)
    values = torch.floor(values @ across.T + 0.5)
    down = _box(images.shape[2], height).to(values)
    return torch.floor(down @ values + 0.5).clamp(0, 255).to(torch.uint8)


def _box(before: int, after: int) -> Tensor:
    """The weights (after, before) of PIL's box filter: the mean of the pixels in its support."""
    scale = before / after
    reach = 0.5 * max(scale, 1.0)
    weights = torch.zeros(after, before, dtype=torch.float64)
    for place in range(after):
        centre = (place + 0.5) * scale
        first, last = int(max(centre - reach + 0.5, 0)), int(min(centre + reach + 0.5, before))
        for pixel in range(first, last):
            distance = (pixel - centre + 0.5) / max(scale, 1.0)
            weights[place, pixel] = float(-0.5 < distance <= 0.5)
    return weights / weights.sum(dim=1, keepdim=True)


def elastic(images: Tensor, draws: Draws, size: float, smooth: float, affine: float) -> Tensor:
    """A random affine map, then a smooth random displacement of every pixel.

    Source: Simard, Steinkraus, Platt 2003; the published code.
    """
    moved = sampled(unit(images), *_affine_places(images, draws, affine), reflect_101)
    shape = (1, *images.shape[2:])
    shifts = [
        gaussian(draws.between(axis, -1, 1, *shape), smooth, truncate=3, border=reflect)[:, 0]
        * size
        for axis in ("across", "down")
    ]
    y, x = _grid(images)
    return levels(sampled(moved, y + shifts[1], x + shifts[0], reflect))


def _affine_places(images: Tensor, draws: Draws, spread: float) -> tuple[Tensor, Tensor]:
    """Where each output pixel comes from, when three points move by up to ``spread`` pixels."""
    height, width = images.shape[2:]
    middle = torch.tensor([height // 2, width // 2], dtype=torch.float64, device=images.device)
    reach = min(height, width) // 3
    steps = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64, device=images.device)
    before = middle + reach * steps
    after = before + draws.between("corners", -spread, spread, 3, 2)
    ones = torch.ones(len(images), 3, 1, dtype=torch.float64, device=images.device)
    back = torch.linalg.solve(torch.cat([after, ones], dim=2), before.expand_as(after))
    y, x = _grid(images)
    places = torch.stack([x, y, torch.ones_like(x)], dim=2) @ back[:, None]
    return places[..., 1], places[..., 0]


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[2:]
    lines = (torch.arange(n, dtype=torch.float64, device=images.device) for n in (height, width))
    y, x = torch.meshgrid(*lines, indexing="ij")
    return y, x
