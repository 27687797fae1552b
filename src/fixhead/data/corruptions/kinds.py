"""The fifteen corruptions of Hendrycks & Dietterich 2019, a function each."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..._errors import RequestError, require
from ..encoded import each
from .filters import (
    Draws,
    clipped_zoom,
    convolve,
    disk,
    gaussian,
    levels,
    motion,
    picked,
    reflect,
    reflect_101,
    sampled,
    trimmed,
    unit,
)


def gaussian_noise(images: Tensor, draws: Draws, deviation: float) -> Tensor:
    """``x + σ·n``, n standard normal, for every value of its own."""
    return levels(unit(images) + deviation * draws.normal("noise", *images.shape[1:]))


def impulse_noise(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """Salt and pepper: each value of each channel turns white or black with probability a/2 each.

    As ``skimage.util.random_noise(mode="s&p", amount=a)``.
    """
    shape = images.shape[1:]
    hit = draws.uniform("hit", *shape) < amount
    salt = draws.uniform("salt", *shape) < 0.5
    noisy = torch.where(hit, salt.double(), unit(images))
    return levels(noisy)


def shot_noise(images: Tensor, draws: Draws, photons: float) -> Tensor:
    """``Poisson(c·x) / c``: what c photons at full brightness make of x."""
    counts = poisson(images, draws.uniform("photons", *images.shape[1:]), photons)
    return levels(counts / photons)


def poisson(images: Tensor, uniform: Tensor, photons: float) -> Tensor:
    """The least k with ``P(Poisson(c·x) ≤ k) > u``, for every value x = level/255 and its u.

    One table serves all: there are 256 levels. Level l's row of the table is shifted by l, so that
    the rows follow each other in one ascending line, and one search finds every k.
    """
    rate = photons * torch.arange(256, dtype=torch.float64, device=images.device) / 255
    most = math.ceil(photons + 12 * math.sqrt(photons) + 12)
    k = torch.arange(most + 1, dtype=torch.float64, device=images.device)
    log_mass = k * torch.log(rate)[:, None] - rate[:, None] - torch.lgamma(k + 1)
    log_mass[0] = torch.where(k == 0, 0.0, -math.inf)  # no light, no photons
    below = log_mass.exp().cumsum(1).clamp(max=1.0)
    below[:, -1] = 1.0
    level = images.long()
    line = (below + torch.arange(256, device=images.device)[:, None]).flatten()
    found = torch.searchsorted(line, (uniform + level).contiguous(), right=True)
    return (found - level * (most + 1)).clamp(0, most).double()


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
    small = _resized_by_box(images, int(height * share), int(width * share))
    return _resized_by_box(small, height, width)


def _resized_by_box(images: Tensor, height: int, width: int) -> Tensor:
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


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "defocus-blur": defocus_blur,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
    "jpeg": jpeg,
}
