"""Broken, large and odd pictures: listed, left out on request, never refused for a trifle."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, put_image, write_tar
from PIL import Image

from fixhead._errors import RequestError
from fixhead.data import load
from fixhead.data.checks import check, show_check
from fixhead.data.images import decode, read_header
from fixhead.data.reading import Reading


def exif(*entries: bytes) -> bytes:
    """A JPEG of 20 × 10 pixels, black but for a red corner, with these raw EXIF entries."""
    picture = Image.new("RGB", (20, 10))
    picture.paste("red", (0, 0, 8, 4))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    block += struct.pack("<I", 0) + struct.pack("<ii", -5, 0) + b"\0" * 8
    raw = buffer.getvalue()
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + raw[2:]


def orientation(value: int, kind: int = 3) -> bytes:
    return struct.pack("<HHIHH", 0x112, kind, 1, value, 0)


BROKEN = {
    "a rational below zero": struct.pack("<HHII", 0x11A, 10, 1, 38),
    "an offset out of the file": struct.pack("<HHII", 0x8769, 4, 1, 1 << 30),
    "a kind that is none": struct.pack("<HHII", 0x11A, 77, 1, 0),
}


@pytest.mark.parametrize("entry", BROKEN.values(), ids=BROKEN)
def test_exif_that_cannot_be_rewritten_refuses_no_picture(entry: bytes) -> None:
    assert decode(exif(orientation(6), entry), "p.jpg", channels=3).shape == (3, 20, 10)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_is_none_leaves_the_picture_upright(value: int) -> None:
    assert read_header(exif(orientation(value)), "p.jpg").size == (10, 20)
    assert decode(exif(orientation(value)), "p.jpg", channels=3).shape == (3, 10, 20)


@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_brought_upright_as_pil_does(value: int) -> None:
    from PIL import ImageOps

    raw = exif(orientation(value))
    with Image.open(io.BytesIO(raw)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode(raw, "p.jpg", channels=3), expected)


def put_deep(root: Path, bits: int, suffix: str = ".png") -> Path:
    """Two classes of 16-bit pictures that use the lower ``bits``."""
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            levels = draw.integers(0, 1 << bits, (8, 8), dtype=np.uint16)
            levels[0, 0] = (1 << bits) - 1
            Image.fromarray(levels).save(root / name / f"{number}{suffix}")
    return root


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_a_16_bit_file_are_noticed(tmp_path: Path, bits: int, suffix: str) -> None:
    data = load(str(put_deep(tmp_path / "d", bits, suffix)))
    assert any(f"use only {bits} bits" in note for note in data.notes)
    assert data.train.images[:].max() == 255
    assert 0.45 < data.mean[0] < 0.55


def test_all_16_bits_are_as_before(tmp_path: Path) -> None:
    data = load(str(put_deep(tmp_path / "d", 16)))
    assert not any("bits" in note for note in data.notes)


def put_with_broken(root: Path) -> Path:
    for name in ("a", "b"):
        for number in range(8):
            put_image(root / name / f"{number}.png", noise(4, 4, 3, seed=number))
    for path in ("a/1.png", "a/3.png"):
        (root / path).write_bytes(b"x")
    whole = (root / "b" / "0.png").read_bytes()
    (root / "b" / "0.png").write_bytes(whole[: len(whole) // 2])
    return root


def test_a_check_lists_all_broken_files_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = check(str(put_with_broken(tmp_path / "d")))
    assert not found.passed
    assert len(found.unreadable) == 3
    show_check(found)
    said = capsys.readouterr().out
    assert "3 images cannot be decoded" in said
    assert all(name in said for name in ("a/1.png", "a/3.png", "b/0.png"))


def test_without_leave_the_first_is_refused_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\.png cannot be read .* by --skip-unreadable"):
        load(str(put_with_broken(tmp_path / "d")))


def test_broken_files_are_left_out_and_recorded(tmp_path: Path) -> None:
    root = put_with_broken(tmp_path / "d")
    for _ in range(2):  # decoded, and from the cache
        data = load(str(root), reading=Reading(skip_unreadable=True))
        assert len(data.train) + len(data.test) == 13
        assert sum(len(found) for found in data.skipped.values()) == 3
        assert any("left out" in note for note in data.notes)
        kept = data.train.counts(2) + data.test.counts(2)
        assert kept.tolist() == [6, 7]


def test_broken_images_in_streamed_shards_are_left_out_too(tmp_path: Path) -> None:
    members = {}
    for number in range(8):
        members[f"{number}.png"] = b"x" if number == 3 else encoded(noise(4, 4, 3))
        members[f"{number}.cls"] = b"%d" % (number % 2)
    write_tar(tmp_path / "d" / "train-0.tar", members)
    data = load(str(tmp_path / "d"), image_size=4, reading=Reading(skip_unreadable=True))
    assert len(data.train) + len(data.test) == 7
    assert data.train.images[:].shape == (len(data.train), 3, 4, 4)


def test_a_part_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put_image(tmp_path / "d" / "train" / name / "0.png", noise(4, 4))
        (tmp_path / "d" / "test" / name).mkdir(parents=True)
        (tmp_path / "d" / "test" / name / "0.png").write_bytes(b"x")
    with pytest.raises(RequestError, match="no readable image in its test part"):
        load(str(tmp_path / "d"), reading=Reading(skip_unreadable=True))


def test_large_pictures_are_allowed_knowingly(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = encoded(noise(40, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(RequestError, match="allow it with --max-pixels"):
        decode(picture, "x", channels=1)
    assert decode(picture, "x", channels=1, max_pixels=2000).shape == (1, 40, 50)
    with pytest.raises(RequestError, match=r"too large .* 50x40 pixels"):
        decode(picture, "x", channels=1, max_pixels=1999)
    assert Image.MAX_IMAGE_PIXELS == 900
