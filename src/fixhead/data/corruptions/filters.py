"""Filters on whole batches (N, C, H, W), each as the library that the published code calls, and the
random numbers that belong to an image, whatever batch and device it comes in.

Between grey levels 0..255 and the numbers 0..1 of the published code its own rounding is kept:
``np.uint8`` cuts off what is behind the point, and so do we. A corrupted image is half a level
darker on average than one that is rounded, here as in the published files.

``u(key, i, j) = mix(mix(key + g·i) + g·(j + 1)) / 2⁶⁴`` for image i and its j-th number: SplitMix64
as a hash. Every arm sees the same corrupted pixels, in whatever order the images are read.

Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from ..._seeds import derive


def _signed(value: int) -> int:
    """A 64-bit constant as torch's int64 holds it."""
    return value - (1 << 64) if value >> 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


@dataclass(frozen=True)
class Draws:
    """The random numbers of the images ``indices`` (N,) for one corruption."""

    seed: int
    purpose: str
    indices: Tensor

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(N, *shape) of float64, uniform in 0 ≤ u < 1; another ``name`` gives other numbers."""
        key = _signed(derive(self.seed, "corruption", self.purpose, name))
        device = self.indices.device
        starts = _mix(self.indices.long() * GOLDEN + key)
        counter = torch.arange(1, math.prod(shape) + 1, device=device) * GOLDEN
        bits = _logical_shift(_mix(starts[:, None] + counter[None]), 11)
        return (bits.double() * 2.0**-53).view(len(self.indices), *shape)

    def between(self, name: str, low: float, high: float, *shape: int) -> Tensor:
        """(N, *shape), uniform in low ≤ u < high."""
        return low + (high - low) * self.uniform(name, *shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """(N, *shape) of standard normal numbers: Box and Muller 1958."""
        first, second = (self.uniform(f"{name}/{part}", *shape) for part in ("radius", "angle"))
        return torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * math.pi * second)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _logical_shift(x, 30)) * FIRST
    x = (x ^ _logical_shift(x, 27)) * SECOND
    return x ^ _logical_shift(x, 31)


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def unit(images: Tensor) -> Tensor:
    """uint8 levels as float64 in 0..1."""
    return images.double() / 255.0


def levels(values: Tensor) -> Tensor:
    """``⌊255 · clip(x, 0, 1)⌋`` as uint8."""
    return (values.clamp(0, 1) * 255).to(torch.uint8)


def reflect_101(index: Tensor, size: int) -> Tensor:
    """``dcb|abcd|cba``: OpenCV's BORDER_REFLECT_101, folded as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    folded = index.remainder(period)
    return torch.where(folded < size, folded, period - folded)


def reflect(index: Tensor, size: int) -> Tensor:
    """``dcba|abcd|dcba``: scipy's mode "reflect"."""
    folded = index.remainder(2 * size)
    return torch.where(folded < size, folded, 2 * size - 1 - folded)


def nearest(index: Tensor, size: int) -> Tensor:
    """``aaaa|abcd|dddd``: scipy's mode "nearest", ImageMagick's edge."""
    return index.clamp(0, size - 1)


Border = Callable[[Tensor, int], Tensor]


def padded(images: Tensor, rows: int, columns: int, border: Border) -> Tensor:
    """``images`` with ``rows`` more above and below and ``columns`` more left and right."""
    height, width = images.shape[2:]
    above = torch.arange(-rows, height + rows, device=images.device)
    beside = torch.arange(-columns, width + columns, device=images.device)
    return images.index_select(2, border(above, height)).index_select(3, border(beside, width))


def convolve(images: Tensor, kernel: Tensor, border: Border) -> Tensor:
    """Correlation of every channel with one kernel (h, w), as OpenCV's ``filter2D``."""
    high, wide = kernel.shape
    around = padded(images, high // 2, wide // 2, border)
    flat = around.flatten(0, 1)[:, None]
    weight = kernel.to(images)[None, None]
    return conv2d(flat, weight).view_as(images)


def gaussian(
    images: Tensor, sigma: float, *, truncate: float = 4.0, border: Border = nearest
) -> Tensor:
    """``skimage.filters.gaussian``: w_i ∝ exp(−i²/2σ²), |i| ≤ ⌊truncate·σ + ½⌋, along both axes.

    As two matrix products: the border folds any reach into (H, H) and (W, W) weights.
    """
    if sigma <= 0:
        return images
    down, across = (_blurring(size, sigma, truncate, border) for size in images.shape[2:])
    return down.to(images) @ images @ across.to(images).T


def _blurring(size: int, sigma: float, truncate: float, border: Border) -> Tensor:
    reach = int(truncate * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (steps.double() / sigma) ** 2)
    weights = weights / weights.sum()
    places = border(torch.arange(size)[:, None] + steps, size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, weights.expand(size, -1))


def disk(radius: float, alias_blur: float) -> Tensor:
    """A disk of mass 1, its edge smoothed: the kernel of Hendrycks & Dietterich's defocus.

    Where the disk reaches the kernel's border (radius 8 and up) the smoothing folds some mass back
    in, as in the published code, and the sum is a little off 1.
    """
    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    line = torch.arange(-reach, reach + 1, dtype=torch.float64)
    inside = (line[:, None] ** 2 + line[None] ** 2 <= radius**2).double()
    steps = torch.arange(taps, dtype=torch.float64) - taps // 2
    weights = torch.exp(-0.5 * (steps / alias_blur) ** 2)
    weights = weights / weights.sum()
    kernel = (inside / inside.sum())[None, None]
    blurred = convolve(convolve(kernel, weights[:, None], reflect_101), weights[None], reflect_101)
    return blurred[0, 0]


def trimmed(kernel: Tensor) -> Tensor:
    """The middle of a symmetric kernel without the rows and columns of zeros round it."""
    empty = int((kernel.amax(dim=1) == 0).int().argmin())
    last = len(kernel) - empty
    return kernel[empty:last, empty:last]


def motion(images: Tensor, radius: int, sigma: float, angles: Tensor) -> Tensor:
    """ImageMagick's ``MotionBlurImage``: the mean of pixels along a line that starts at each one.

    ``out(p) = Σ_i k_i · in(p + o_i)``, k_i ∝ exp(−i²/2σ²), i = 0..2·radius, with the offsets
    o_i = ⌈i·(cos a, sin a) − ½⌉ for the image's own angle a (degrees, (N,)).
    """
    steps = torch.arange(2 * radius + 1, dtype=torch.float64, device=images.device)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    turn = torch.deg2rad(angles.double())
    across = torch.ceil(steps[None] * torch.cos(turn)[:, None] - 0.5).long()
    down = torch.ceil(steps[None] * torch.sin(turn)[:, None] - 0.5).long()
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    out = torch.zeros_like(images)
    for tap, weight in enumerate(weights.tolist()):
        y = nearest(rows[None] + down[:, tap, None], height)
        x = nearest(columns[None] + across[:, tap, None], width)
        out += weight * picked(images, y[:, :, None] * width + x[:, None, :])
    return out


def picked(images: Tensor, index: Tensor) -> Tensor:
    """The pixels at flat positions ``index`` (N, H', W') of each image, for all its channels."""
    number, channels = images.shape[:2]
    flat = index.reshape(number, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).view(number, channels, *index.shape[1:])


def sampled(images: Tensor, y: Tensor, x: Tensor, border: Border) -> Tensor:
    """Bilinear samples at (y, x) (N, H', W') of the images continued by ``border``."""
    height, width = images.shape[2:]
    top, left = y.floor(), x.floor()
    down, across = (y - top)[:, None], (x - left)[:, None]
    rows = [border(top.long() + step, height) for step in (0, 1)]
    columns = [border(left.long() + step, width) for step in (0, 1)]
    corner = partial(_corner, images, rows, columns)
    above = torch.lerp(corner(0, 0), corner(0, 1), across)
    below = torch.lerp(corner(1, 0), corner(1, 1), across)
    return torch.lerp(above, below, down)


def _corner(images: Tensor, rows: list[Tensor], columns: list[Tensor], i: int, j: int) -> Tensor:
    return picked(images, rows[i] * images.shape[3] + columns[j])


def clipped_zoom(images: Tensor, factor: float) -> Tensor:
    """The middle of each image, enlarged by ``factor`` (scipy's ``zoom``, order 1), cut to size."""
    cuts = []
    for length in images.shape[2:]:
        part = math.ceil(length / factor)
        cuts.append(((length - part) // 2, part, round(part * factor)))
    (top, high, new_high), (left, wide, new_wide) = cuts
    middle = images[:, :, top : top + high, left : left + wide]
    large = interpolate(middle, (new_high, new_wide), mode="bilinear", align_corners=True)
    height, width = images.shape[2:]
    top, left = (new_high - height) // 2, (new_wide - width) // 2
    return large[:, :, top : top + height, left : left + width]
