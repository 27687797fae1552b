"""One image file or byte string → a checked uint8 array (C, H, W). PIL decodes, nothing guesses.

Grey images of 16 bits keep their upper 8; EXIF rotation is applied; transparent pixels are laid
over white; CMYK and palettes become RGB. Moving pictures and floating-point images are refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import RequestError, require

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I"})
EXIF_ORIENTATION = 0x0112
SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Header:
    """What the head of an image file says: height and width as shown, and 1 or 3 channels."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


def read_header(source: Path | bytes, name: str) -> Header:
    """Size and channels of an image without decoding it.

    Raises:
        RequestError: not a readable image (named), or one that moves.
    """
    with _opened(source, name) as image:
        width, height = image.size
        if image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return Header(height, width, 1 if image.mode in GREY else 3)


def decode(
    source: Path | bytes, name: str, *, channels: int, image_size: int | None = None
) -> NDArray[np.uint8]:
    """The image as uint8 (C, H, W); with ``image_size`` s, resized and cut to (C, s, s).

    Resizing brings the shorter side to s (bilinear, antialiased) and keeps the middle.

    Raises:
        RequestError: unreadable, cut off, moving, or of floating-point pixels (named).
    """
    with _opened(source, name) as image:
        upright = require("PIL.ImageOps", extra="lab").exif_transpose(image)
        pixels = _in_channels(upright, channels, name)
        if image_size is not None and pixels.size != (image_size, image_size):
            pixels = _resized(pixels, image_size)
        array: NDArray[np.uint8] = np.asarray(pixels, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Image]:
    pil: Any = require("PIL.Image", extra="lab")
    unreadable = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
    try:
        with pil.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            _refuse_huge(image, name, pil.MAX_IMAGE_PIXELS)
            _refuse_moving(image, name)
            yield image
    except RequestError:
        raise
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        raise RequestError(f"image {name} is too large to be decoded safely: {error}") from error
    except unreadable as error:
        raise RequestError(f"image {name} cannot be read ({error}); repair or remove it") from error


def _refuse_huge(image: Image, name: str, limit: int | None) -> None:
    # PIL only warns up to twice its limit, and a warning is no business of a decoding thread.
    if limit is not None and image.width * image.height > limit:
        raise RequestError(
            f"image {name} is too large to be decoded safely: {image.width}x{image.height} pixels"
        )


def _refuse_moving(image: Image, name: str) -> None:
    # A phone's MPO file is one photograph with a preview behind it: its first frame is the image.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise RequestError(
            f"image {name} needs to be a single picture, got {frames} frames; keep one frame of it"
        )


def _in_channels(image: Image, channels: int, name: str) -> Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image
    if image.mode == "F":
        raise RequestError(f"image {name} needs whole-number pixels, got floating point")
    if image.mode.startswith("I"):
        image = _from_16_bits(image, name)
    elif image.has_transparency_data:
        image = _over_white(image)
    return image.convert(mode)


def _from_16_bits(image: Image, name: str) -> Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise RequestError(f"image {name} needs pixels of 8 or 16 bits, got a wider range")
    fromarray: Any = require("PIL.Image", extra="lab").fromarray
    result: Image = fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    return result


def _over_white(image: Image) -> Image:
    pil: Any = require("PIL.Image", extra="lab")
    layer = image.convert("RGBA")
    result: Image = pil.alpha_composite(pil.new("RGBA", layer.size, "white"), layer)
    return result


def _resized(image: Image, size: int) -> Image:
    bilinear: Any = require("PIL.Image", extra="lab").Resampling.BILINEAR
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = (width - size) // 2, (height - size) // 2
    whole = image.resize((width, height), bilinear)
    return whole.crop((left, top, left + size, top + size))
