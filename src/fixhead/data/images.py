"""One image file or byte string → a checked uint8 array (C, H, W). PIL decodes, nothing guesses.

Grey images of 16 bits keep their upper 8 (or the upper 8 of the ``bits`` that a set uses); EXIF
rotation is applied, and nothing else of EXIF matters; transparent pixels are laid over white; CMYK
and palettes become RGB. Moving pictures and floating-point images are refused.
"""

from __future__ import annotations

import io
import struct
import threading
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
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What brings a picture of each orientation upright, by the names of PIL's transpositions."""

_PILS_LIMIT = threading.Lock()


class UnreadableError(RequestError):
    """One image cannot be decoded, or not safely; ``--skip-unreadable`` goes on without it."""


@dataclass(frozen=True)
class Header:
    """What the head of an image file says: height and width as shown, 1 or 3 channels, 8 or 16
    bits."""

    height: int
    width: int
    channels: int
    bits: int = 8

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


def read_header(source: Path | bytes, name: str, *, max_pixels: int | None = None) -> Header:
    """Size, channels and bits of an image without decoding it.

    Raises:
        RequestError: not a readable image (named), or one that moves.
    """
    with _opened(source, name, max_pixels) as image:
        width, height = image.size
        if _orientation(image) in SIDEWAYS:
            width, height = height, width
        bits = 16 if image.mode.startswith("I") else 8
        return Header(height, width, 1 if image.mode in GREY else 3, bits)


def largest_level(source: Path | bytes, name: str, *, max_pixels: int | None = None) -> int:
    """The largest value of a grey image, as it lies.

    Raises:
        RequestError: unreadable (named).
    """
    with _opened(source, name, max_pixels) as image:
        return int(np.asarray(image).max())


def decode(
    source: Path | bytes,
    name: str,
    *,
    channels: int,
    image_size: int | None = None,
    bits: int = 16,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """The image as uint8 (C, H, W); with ``image_size`` s, resized and cut to (C, s, s).

    Resizing brings the shorter side to s (bilinear, antialiased) and keeps the middle. ``bits`` are
    those that the 16-bit images of the set use: a level v becomes ``v >> (bits − 8)``.
    ``max_pixels`` takes the place of PIL's limit (about 89 million).

    Raises:
        RequestError: unreadable, cut off, moving, or of floating-point pixels (named).
    """
    with _opened(source, name, max_pixels) as image:
        return to_pixels(image, name, channels=channels, image_size=image_size, bits=bits)


def to_pixels(
    image: Image, name: str, *, channels: int, image_size: int | None = None, bits: int = 16
) -> NDArray[np.uint8]:
    """``decode`` of a picture that PIL has opened or made.

    Raises:
        RequestError: floating-point pixels (named), or grey ones of more than 16 bits.
    """
    pixels = _in_channels(_upright(image), channels, name, bits)
    if image_size is not None and pixels.size != (image_size, image_size):
        pixels = _resized(pixels, image_size)
    array: NDArray[np.uint8] = np.asarray(pixels, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


@contextmanager
def _opened(source: Path | bytes, name: str, max_pixels: int | None) -> Iterator[Image]:
    pil: Any = require("PIL.Image", extra="lab")
    unreadable = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
    try:
        with _open(source, max_pixels) as image:
            _refuse_huge(image, name, max_pixels or pil.MAX_IMAGE_PIXELS)
            _refuse_moving(image, name)
            yield image
    except RequestError:
        raise
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except unreadable as error:
        raise UnreadableError(
            f"image {name} cannot be read ({error}); repair or remove it, or go on without it by "
            "--skip-unreadable"
        ) from error


def _open(source: Path | bytes, max_pixels: int | None) -> Any:
    pil: Any = require("PIL.Image", extra="lab")
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if max_pixels is None:
        return pil.open(file)
    with _PILS_LIMIT:  # PIL knows one limit for all, which it looks at while it opens a file
        before, pil.MAX_IMAGE_PIXELS = pil.MAX_IMAGE_PIXELS, None
        try:
            return pil.open(file)
        finally:
            pil.MAX_IMAGE_PIXELS = before


def _orientation(image: Image) -> int:
    try:
        found = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # a broken block says nothing about which side is up
        return 1
    return found if isinstance(found, int) else 1


def _upright(image: Image) -> Image:
    turn = UPRIGHT.get(_orientation(image))
    if turn is None:
        return image
    return image.transpose(require("PIL.Image", extra="lab").Transpose[turn])


def _too_large(name: str, what: str) -> UnreadableError:
    return UnreadableError(
        f"image {name} is too large to be decoded safely: {what}; allow it with --max-pixels, or "
        "go on without it by --skip-unreadable"
    )


def _refuse_huge(image: Image, name: str, limit: int | None) -> None:
    # PIL only warns up to twice its limit, and a warning is no business of a decoding thread.
    if limit is not None and image.width * image.height > limit:
        raise _too_large(name, f"{image.width}x{image.height} pixels")


def _refuse_moving(image: Image, name: str) -> None:
    # A phone's MPO file is one photograph with a preview behind it: its first frame is the image.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise UnreadableError(
            f"image {name} needs to be a single picture, got {frames} frames; keep one frame of it"
        )


def _in_channels(image: Image, channels: int, name: str, bits: int) -> Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image
    if image.mode == "F":
        raise UnreadableError(f"image {name} needs whole-number pixels, got floating point")
    if image.mode.startswith("I"):
        image = _from_16_bits(image, name, bits)
    elif image.has_transparency_data:
        image = _over_white(image)
    return image.convert(mode)


def _from_16_bits(image: Image, name: str, bits: int) -> Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableError(f"image {name} needs pixels of 8 or 16 bits, got a wider range")
    fromarray: Any = require("PIL.Image", extra="lab").fromarray
    levels = np.minimum(values.astype(np.uint16) >> (bits - 8), 255)
    result: Image = fromarray(levels.astype(np.uint8))
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
