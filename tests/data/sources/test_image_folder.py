"""Image folders: both layouts, and every way in which a folder can be wrong."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixhead._errors import RequestError
from fixhead.data import load


def put(path: Path, level: int = 0, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (level,) * 3 if mode == "RGB" else level).save(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten images each, grey level = 10 · class + number."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(10):
            put(tmp_path / "pets" / name / f"{number}.png", 10 * label + number)
    return tmp_path / "pets"


def halves(root: Path, test: str = "test") -> Path:
    """The same images in the other layout: the last two of every class are the test part."""
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        for file in sorted(folder.iterdir()):
            part = test if int(file.stem) >= 8 else "train"
            place = root / part / folder.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
        folder.rmdir()
    return root


def levels(split) -> list[int]:
    return sorted(np.asarray(split.images)[:, 0, 0, 0].tolist())


def test_a_folder_of_classes_gives_a_fifth_to_the_test_part(root: Path, cache: Path) -> None:
    data = load(str(root), cache_dir=cache)
    assert data.classes == ("cat", "dog")
    assert data.train.counts(2).tolist() == [8, 8]
    assert data.test.counts(2).tolist() == [2, 2]
    assert sorted(levels(data.train) + levels(data.test)) == list(range(20))
    assert "seed 0" in data.notes[0]
    assert (data.name, data.channels, data.image_size) == ("pets", 3, 4)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.images[:, 0, 0, 0] // 10, split.labels)


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_with_both_parts_keeps_them(root: Path, cache: Path, test: str) -> None:
    data = load(str(halves(root, test)), cache_dir=cache)
    assert levels(data.test) == [8, 9, 18, 19]
    assert data.train.counts(2).tolist() == [8, 8]
    assert data.notes == ()


def test_a_changed_file_is_decoded_again(root: Path, cache: Path) -> None:
    load(str(root), cache_dir=cache)
    put(root / "cat" / "3.png", 99)
    data = load(str(root), cache_dir=cache)
    assert 99 in levels(data.train) + levels(data.test)


def test_grey_folders_stay_grey_and_one_colour_image_makes_them_colour(
    tmp_path: Path, cache: Path
) -> None:
    for name in ("a", "b"):
        for number in range(3):
            put(tmp_path / "grey" / name / f"{number}.png", number, mode="L")
    assert load(str(tmp_path / "grey"), cache_dir=cache).channels == 1
    put(tmp_path / "grey" / "b" / "colour.png", 7)
    assert load(str(tmp_path / "grey"), cache_dir=cache).channels == 3


def test_mixed_sizes_ask_for_an_image_size_and_take_it(root: Path, cache: Path) -> None:
    put(root / "dog" / "wide.png", 5, (6, 4))
    with pytest.raises(RequestError, match=r"6x4 .*wide\.png.*give --image-size"):
        load(str(root), cache_dir=cache)
    assert load(str(root), cache_dir=cache, image_size=3).image_size == 3


def test_images_that_are_not_square_ask_for_an_image_size(tmp_path: Path, cache: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / "wide" / name / "0.png", size=(6, 4))
        put(tmp_path / "wide" / name / "1.png", size=(6, 4))
    with pytest.raises(RequestError, match="square, got 6x4"):
        load(str(tmp_path / "wide"), cache_dir=cache)


def test_files_that_are_no_images_are_passed_over_and_named(root: Path, cache: Path) -> None:
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "labels.csv").write_text("")
    (root / "cat" / ".DS_Store").write_text("")
    data = load(str(root), cache_dir=cache)
    assert any("2 files that are no images (labels.csv, notes.txt)" in note for note in data.notes)


def test_images_in_deeper_folders_and_behind_links_belong_to_their_class(
    root: Path, tmp_path: Path, cache: Path
) -> None:
    put(root / "cat" / "more" / "0.png", 50)
    put(tmp_path / "elsewhere" / "0.png", 60)
    (root / "dog" / "linked").symlink_to(tmp_path / "elsewhere")
    data = load(str(root), cache_dir=cache)
    assert (data.train.counts(2) + data.test.counts(2)).tolist() == [11, 11]


def test_a_loop_of_links_is_refused(root: Path, cache: Path) -> None:
    (root / "cat" / "again").symlink_to(root)
    with pytest.raises(RequestError, match="remove the loop"):
        load(str(root), cache_dir=cache)


def test_links_that_lead_round_through_two_folders_are_refused(root: Path, cache: Path) -> None:
    (root / "cat" / "other").symlink_to(root / "dog")
    (root / "dog" / "other").symlink_to(root / "cat")
    with pytest.raises(RequestError, match="remove the loop"):
        load(str(root), cache_dir=cache)


@pytest.mark.parametrize("target", ["missing.png", "link.png"])
def test_a_link_to_nothing_or_to_itself_is_refused_by_name(
    root: Path, cache: Path, target: str
) -> None:
    (root / "cat" / "link.png").symlink_to(root / "cat" / target)
    with pytest.raises(RequestError, match=r"link\.png is a link that leads to no file"):
        load(str(root), cache_dir=cache)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_with_the_name_of_an_image_is_passed_over(root: Path, cache: Path) -> None:
    os.mkfifo(root / "cat" / "pipe.png")
    data = load(str(root), cache_dir=cache)
    assert any("passed over 1 files that are no images (pipe.png)" in note for note in data.notes)


def test_a_folder_that_cannot_be_read_is_named(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def closed(folder: Path) -> Iterator[Path]:
        if folder.name == "dog":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(RequestError, match=r"dog cannot be read \(Permission denied\)"):
        load(str(root), cache_dir=cache)


def test_every_mode_of_image_fits_into_one_folder(tmp_path: Path, cache: Path) -> None:
    """Grey, 16-bit, palette, RGBA, CMYK, 1-bit, turned by EXIF: all become colour of one size."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    colour, deep = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    for label in ("cat", "dog"):
        place = tmp_path / "all" / label
        place.mkdir(parents=True)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            colour.convert(mode).save(place / f"{mode}.png")
        deep.save(place / "deep.png")
        colour.convert("CMYK").save(place / "cmyk.jpg", quality=100)
        colour.save(place / "turned.png", exif=turned)
    data = load(str(tmp_path / "all"), cache_dir=cache, image_size=6)
    assert (len(data.train) + len(data.test), data.channels) == (18, 3)
    images = np.concatenate([data.train.images[:], data.test.images[:]])
    rotated = np.rot90(pixels, -1).transpose(2, 0, 1)
    assert sum(bool((image == rotated).all()) for image in images) == 2
    assert sum(bool((image == pixels.transpose(2, 0, 1)).all()) for image in images) == 4


def test_a_folder_without_images_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="one folder per class"):
        load(str(tmp_path / "empty"), cache_dir=cache)


def test_images_without_class_folders_are_refused(tmp_path: Path, cache: Path) -> None:
    put(tmp_path / "flat" / "0.png")
    with pytest.raises(RequestError, match="got 1 images in"):
        load(str(tmp_path / "flat"), cache_dir=cache)


def test_an_empty_class_is_refused_by_name(root: Path, cache: Path) -> None:
    (root / "bird").mkdir()
    with pytest.raises(RequestError, match=r"class folder .*bird needs images"):
        load(str(root), cache_dir=cache)


def test_one_class_only_is_refused(tmp_path: Path, cache: Path) -> None:
    for number in range(4):
        put(tmp_path / "one" / "cat" / f"{number}.png")
    with pytest.raises(RequestError, match="at least two classes, got 1"):
        load(str(tmp_path / "one"), cache_dir=cache)


def test_a_class_that_training_lacks_is_refused(root: Path, cache: Path) -> None:
    halves(root)
    put(root / "test" / "fish" / "0.png")
    with pytest.raises(RequestError, match=r"test needs the class folders of .*, got fish"):
        load(str(root), cache_dir=cache)


@pytest.mark.parametrize("empty", [False, True])
def test_a_class_that_the_test_part_lacks_is_said(root: Path, cache: Path, empty: bool) -> None:
    halves(root)
    put(root / "train" / "bird" / "0.png")
    if empty:
        (root / "test" / "bird").mkdir()
    data = load(str(root), cache_dir=cache)
    assert "bird" in data.classes
    assert any("test part has no images of 1 of" in n and "bird" in n for n in data.notes)


def test_a_cut_off_image_is_refused_by_name_and_leaves_no_cache(root: Path, cache: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "dog" / "bad.png")
    content = (root / "dog" / "bad.png").read_bytes()
    (root / "dog" / "bad.png").write_bytes(content[:-30])
    with pytest.raises(RequestError, match=r"bad\.png cannot be read"):
        load(str(root), cache_dir=cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_text_with_the_name_of_an_image_is_refused_by_name(root: Path, cache: Path) -> None:
    (root / "cat" / "text.jpg").write_text("no image")
    with pytest.raises(RequestError, match=r"text\.jpg cannot be read"):
        load(str(root), cache_dir=cache)


def test_names_that_are_one_after_normalisation_are_refused(root: Path, cache: Path) -> None:
    for form in ("NFC", "NFD"):
        put(root / unicodedata.normalize(form, "café") / "0.png")
    with pytest.raises(RequestError, match="class names that differ"):
        load(str(root), cache_dir=cache)
