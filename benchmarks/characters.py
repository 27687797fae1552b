"""Images of thousands of classes: Chinese characters from a font, each one distorted at random.

A class is one of the 20,902 characters U+4E00 … U+9FA5 (drawn by the seed). An image is that
character in one of four faces (Noto Sans and Serif CJK, regular and bold), rendered at 48 pixels,
then turned (up to 10°), sheared (up to 0.15), scaled (0.8 … 1.05), shifted (up to 1 pixel of 32),
bent by a smooth field (up to about 1 pixel), brought to 32 × 32, given a contrast of 0.6 … 1 and
noise (σ = 0.05). Every draw comes from the seed, so that the same call makes the same images.

The fonts are no part of the project: on Debian, ``apt-get install fonts-noto-cjk``.

Look at some: python benchmarks/characters.py sample.png
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from fixhead import RequestError
from fixhead._seeds import stream

FONTS = Path("/usr/share/fonts/opentype/noto")
FACES = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJK-Bold.ttc",
    "NotoSerifCJK-Regular.ttc",
    "NotoSerifCJK-Bold.ttc",
)
FIRST, LAST = 0x4E00, 0x9FA5
DRAWN = 48
SIZE = 32
_BATCH = 2_048


@dataclass(frozen=True)
class Images:
    """Images (N, 1, 32, 32) uint8 and their classes (N,), class by class."""

    images: Tensor
    labels: Tensor


def characters(classes: int, per_class: int, *, part: str, seed: int = 0) -> Images:
    """``per_class`` distorted images of each of ``classes`` characters; parts differ in draws.

    Raises:
        RequestError: more classes than characters, or no font (the sentence says how to get it).
    """
    shapes = glyphs(chosen(classes, seed))
    generator = stream(seed, "characters", part)
    labels = torch.arange(classes).repeat_interleave(per_class)
    faces = torch.randint(len(FACES), (len(labels),), generator=generator)
    pieces = [
        distorted(shapes[label, face].float().unsqueeze(1) / 255, generator)
        for label, face in zip(labels.split(_BATCH), faces.split(_BATCH), strict=True)
    ]
    return Images(torch.cat(pieces), labels)


def chosen(classes: int, seed: int) -> list[str]:
    """The characters that are the classes: fewer classes are the first of more."""
    number = LAST - FIRST + 1
    if not 2 <= classes <= number:
        raise RequestError(f"classes must be 2 … {number}, got {classes}")
    order = torch.randperm(number, generator=stream(seed, "characters"))[:classes]
    return [chr(FIRST + place) for place in order.tolist()]


def glyphs(texts: list[str]) -> Tensor:
    """Each character in each face: (K, 4, 48, 48) uint8, white on black."""
    missing = [face for face in FACES if not (FONTS / face).is_file()]
    if missing:
        raise RequestError(
            f"the characters need the font {FONTS / missing[0]}, and it is missing; install "
            "Debian's package fonts-noto-cjk"
        )
    fonts = [ImageFont.truetype(FONTS / face, int(0.85 * DRAWN)) for face in FACES]
    out = torch.zeros(len(texts), len(FACES), DRAWN, DRAWN, dtype=torch.uint8)
    for place, text in enumerate(texts):
        for number, font in enumerate(fonts):
            picture = Image.new("L", (DRAWN, DRAWN))
            ImageDraw.Draw(picture).text(
                (DRAWN / 2, DRAWN / 2), text, fill=255, font=font, anchor="mm"
            )
            out[place, number] = torch.frombuffer(
                bytearray(picture.tobytes()), dtype=torch.uint8
            ).view(DRAWN, DRAWN)
    return out


def distorted(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (n, 1, 48, 48) in 0 … 1 → (n, 1, 32, 32) uint8."""
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    angle, shear = uniform(-math.pi / 18, math.pi / 18), uniform(-0.15, 0.15)
    scale = 1 / uniform(0.8, 1.05)
    shift = uniform(-2 / SIZE, 2 / SIZE, 2)  # the grid runs over −1 … 1: 1 pixel
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = torch.stack([cos, cos * shear - sin, sin, sin * shear + cos], dim=1).view(-1, 2, 2)
    matrix = torch.cat([rows, shift.unsqueeze(2)], dim=2)
    grid = F.affine_grid(matrix, [count, 1, SIZE, SIZE], align_corners=False)
    field = uniform(-2 / SIZE, 2 / SIZE, 2, 4, 4)
    bent = F.interpolate(field, size=SIZE, mode="bicubic", align_corners=False)
    grid = grid + bent.movedim(1, 3)
    small = F.grid_sample(pictures, grid, align_corners=False)
    contrast = uniform(0.6, 1.0, 1, 1, 1)
    noise = 0.05 * torch.randn(small.shape, generator=generator)
    return (255 * (small * contrast + noise).clamp(0, 1)).round().to(torch.uint8)


def main() -> None:
    shown = characters(12, 12, part="train").images.view(12, 12, SIZE, SIZE)
    sheet = shown.permute(0, 2, 1, 3).reshape(12 * SIZE, 12 * SIZE)
    Image.fromarray(sheet.numpy()).save(sys.argv[1])


if __name__ == "__main__":
    main()
