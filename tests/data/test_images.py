"""Every mode and fault of an image file, decoded as stated or refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixhead._errors import RequestError
from fixhead.data.images import Header, decode, read_header


def png(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int = 6, width: int = 5, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_colour_and_grey_come_channels_first() -> None:
    colour, grey = noise(), noise(channels=1)
    np.testing.assert_array_equal(
        decode(png(Image.fromarray(colour)), "x", channels=3), colour.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(decode(png(Image.fromarray(grey)), "x", channels=1), grey[None])


def test_grey_in_a_colour_set_fills_three_equal_channels() -> None:
    grey = noise(channels=1)
    out = decode(png(Image.fromarray(grey)), "x", channels=3)
    np.testing.assert_array_equal(out, np.stack([grey] * 3))


def test_sixteen_bits_keep_their_upper_eight() -> None:
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    out = decode(png(Image.fromarray(values)), "x", channels=1)
    assert out.tolist() == [[[0, 0, 1], [128, 255, 255]]]
    assert read_header(png(Image.fromarray(values)), "x").channels == 1


def test_transparent_pixels_are_laid_over_white() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    out = decode(png(Image.fromarray(pixels)), "x", channels=3)
    assert out[:, 0, 0].tolist() == [10, 20, 30]
    assert out[:, 0, 1].tolist() == [255, 255, 255]


def test_palettes_and_cmyk_become_rgb() -> None:
    colours = Image.fromarray(np.full((4, 4, 3), (255, 0, 0), dtype=np.uint8))
    for content in (png(colours.convert("P")), png(colours.convert("CMYK"), "TIFF")):
        out = decode(content, "x", channels=3)
        assert out[:, 0, 0].tolist() == [255, 0, 0]
        assert read_header(content, "x").channels == 3


def test_exif_rotation_is_applied_to_pixels_and_size() -> None:
    image = Image.fromarray(noise(6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = png(image, exif=exif)
    assert read_header(content, "x") == Header(height=4, width=6, channels=3)
    out = decode(content, "x", channels=3)
    np.testing.assert_array_equal(out, np.rot90(np.asarray(image), -1).transpose(2, 0, 1))


def test_resizing_brings_the_shorter_side_down_and_keeps_the_middle() -> None:
    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:, 8:16] = 200
    out = decode(png(Image.fromarray(pixels)), "x", channels=3, image_size=4)
    assert out.shape == (3, 4, 4)
    assert out[:, :, 1:3].min() > 190


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    pixels = noise(5, 5)
    out = decode(png(Image.fromarray(pixels)), "x", channels=3, image_size=5)
    np.testing.assert_array_equal(out, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.fromarray(noise(channels=1) // (n + 1)) for n in range(3)]
    content = png(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(RequestError, match=r"moving\.x needs to be a single picture, got 3"):
        decode(content, "moving.x", channels=3)


def test_floating_point_pixels_are_refused() -> None:
    content = png(Image.fromarray(np.ones((3, 3), dtype=np.float32)), "TIFF")
    with pytest.raises(RequestError, match=r"f\.tif needs whole-number pixels"):
        decode(content, "f.tif", channels=1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_cut_off_image_is_refused_by_name(kind: str) -> None:
    content = png(Image.fromarray(noise(40, 40)), kind)
    with pytest.raises(RequestError, match=r"image cut\.x cannot be read"):
        decode(content[: len(content) // 2], "cut.x", channels=3)


def test_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(RequestError, match=r"text\.png cannot be read"):
        read_header(tmp_path / "text.png", str(tmp_path / "text.png"))


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(Image.fromarray(noise(20, 20)))
    for limit in (300, 100):  # a warning from PIL, and its error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(RequestError, match="too large"):
            decode(content, "bomb.png", channels=3)
